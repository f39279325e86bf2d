package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/keep"
	"github.com/pando-os/pando/internal/sim/say"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/internal/sim/wire"
	"github.com/pando-os/pando/mesos/resource"
)

type workProcess = stage.Process[workload.In, workload.Record, workload.Msg, workload.Work, workload.Fact]

// agent is one machine of the cluster: a disk and containers that outlive the agent's process, and that process.
type agent struct {
	w    *World
	name string
	setting.Setting
	policy  setting.Policy
	worked  setting.Setting // the last with which it could start
	emptied bool            // its work directory, before it starts again
	ip      string
	boot    int

	had        []resource.List // before it was configured anew
	journal    []workload.Record
	containers map[string]*container

	run  int // of the process
	p    *workProcess
	book *workload.Book
	live context
	// launches that are under way, of this process
	launches  map[string]*launch
	streams   map[uint64]*stream // of executors, of this process
	disk      *keep.Disk         // with its volumes
	link      *stage.Conn
	epoch     uint64  // of the link
	ask       *master // who is asked for the leader next
	turn      int     // of the masters, which are asked one after the other
	wait      time.Duration
	dismissed bool          // its master has said that it was marked gone
	leaving   bool          // all that is here ends without a word
	goodbye   *stage.Conn   // over which it was said
	full      time.Duration // its disk takes nothing until then
}

// context ends with the process that made it: what belongs to a process does not outlive it.
type context struct{ ended *bool }

func (w *World) newAgent(n int, total resource.List) *agent {
	a := &agent{w: w, name: fmt.Sprintf("A%d", n), Setting: setting.Setting{Total: total}, ip: fmt.Sprintf("10.0.0.%d", n), containers: map[string]*container{}, disk: keep.NewDisk()}
	w.agents = append(w.agents, a)
	return a
}

// start makes the agent's process from its journal.
func (a *agent) start() {
	w := a.w
	if a.emptied {
		a.empty()
	}
	if !a.identify() {
		return
	}
	a.run++
	a.dismissed, a.leaving, a.goodbye = false, false, nil
	cfg := workload.Defaults()
	cfg.Boot, cfg.IP, cfg.Resources = a.bootID(), a.ip, a.Total
	cfg.RegistrationTimeout = patience / 2 // or a checker could not tell it from one that is never over
	rng := rand.New(rand.NewPCG(w.Rand.Uint64(), w.Rand.Uint64()))
	a.p = stage.NewProcess[workload.In, workload.Record, workload.Msg, workload.Work, workload.Fact](w.Stage, "agent", fmt.Sprintf("%s.%d", a.name, a.run), nil, a, w.Now())
	a.book = workload.New(cfg, slices.Clone(a.journal), a.p.Clock(), rng)
	a.p.Machine = a.book
	w.check.keep.Returned(a.name, workload.KeptOf(a.journal), a.disk)
	ended := false
	a.live, a.launches, a.streams = context{&ended}, map[string]*launch{}, map[uint64]*stream{}
	w.Note("%s starts (boot %d, %d records, %d containers)", a.p.Name, a.boot, len(a.journal), len(a.containers))
	in := &workload.Recovered{}
	for _, id := range slices.Sorted(maps.Keys(a.containers)) {
		in.Containers = append(in.Containers, a.containers[id].found())
	}
	a.p.Post(in)
	a.wait, a.ask = 50*time.Millisecond, nil
	a.dialLater()
}

// after runs something of the process, if it still lives by then.
func (a *agent) after(d time.Duration, do func()) {
	ended := a.live.ended
	a.w.After(d, func() {
		if !*ended {
			do()
		}
	})
}

// dialLater asks a master after a while, again and again until one leads.
func (a *agent) dialLater() {
	a.after(a.wait+a.w.Between(0, a.wait), func() {
		a.wait = min(2*a.wait, time.Second)
		a.dial(a.w.masters[a.turn%len(a.w.masters)])
		a.turn++
	})
}

func (a *agent) dial(m *master) {
	c := a.w.Connect(a.name, m.name)
	ended := a.live.ended
	heard := a.w.Now()
	e := &c.Ends[stage.Near]
	e.Recv = func(message any) {
		if !*ended {
			heard = a.w.Now()
			a.take(c, message)
		}
	}
	e.Closed = func() {
		if !*ended {
			a.unlink(c)
		}
	}
	silence := a.w.Params.Cluster.PingInterval * time.Duration(a.w.Params.Cluster.PingMisses+1)
	var watch func()
	watch = func() {
		switch {
		case !e.Open:
		case a.w.Now()-heard > silence || a.link != c && a.w.Now()-heard > 5*time.Second:
			a.w.Note("%s gives up its link: silence", a.p.Name)
			c.Close()
			a.unlink(c)
		default:
			a.after(silence/4, watch)
		}
	}
	a.after(5100*time.Millisecond, watch)
	a.w.dial(c, m, hello{})
}

// unlink follows the end of a connection: the book hears of it, and another is tried.
func (a *agent) unlink(c *stage.Conn) {
	if a.link == c {
		a.link = nil
		a.p.Post(&workload.Unlinked{})
	}
	if a.dismissed {
		return
	}
	if a.goodbye == c {
		a.depart()
		return
	}
	if m := a.ask; m != nil { // it was sent there
		a.ask = nil
		a.dial(m)
		return
	}
	a.dialLater()
}

// take turns a master's order into an input of the book.
func (a *agent) take(c *stage.Conn, message any) {
	switch m := message.(type) {
	case redirect:
		a.ask = m.to
	case welcome:
		a.link, a.epoch, a.wait = c, m.epoch, 50*time.Millisecond
		a.p.Post(&workload.Linked{Link: c.ID, Epoch: m.epoch})
		if all := a.running(); len(all) > 0 && !a.w.Calm && a.w.Chance(0.2) { // something ends while the agent registers
			x := all[a.w.Rand.IntN(len(all))]
			if x.within != nil && x.pid == 0 {
				x = x.within
			}
			a.after(a.w.Between(0, 50*time.Millisecond), func() { x.end(workload.Exit{Status: 0x300, Known: true}) })
		}
	case cluster.Registered:
		a.w.check.registered(a, m.Agent)
		in := &workload.Registered{Agent: m.Agent, Info: a.Info()}
		for _, u := range m.Unknown {
			in.Unknown = append(in.Unknown, workload.UnknownTask{Ref: workload.Ref{Framework: u.Framework, Task: u.Task}, PartitionAware: u.PartitionAware, Launch: u.Launch})
		}
		for _, o := range m.UnknownOperations {
			in.UnknownOperations = append(in.UnknownOperations, a.w.operationOf(o))
		}
		a.order(in)
	case cluster.Run:
		a.w.check.specs[string(m.Framework.Info)] = m.Framework
		in := &workload.Run{Framework: wire.Framework(m.Framework), Task: wire.Task(&m), StartsExecutor: m.StartsExecutor}
		if a.w.check.instance(m.Task.Info).script.Refused {
			in.Task.Refused = cannot
		}
		a.order(in)
	case cluster.RunGroup:
		a.w.check.specs[string(m.Framework.Info)] = m.Framework
		in := wire.Group(&m)
		for _, t := range in.Tasks {
			if a.w.check.instance(t.Info).script.Refused {
				t.Refused = cannot
			}
		}
		a.order(in)
		if !m.StartsExecutor && len(m.Tasks) > 1 && a.w.Chance(0.3) { // its disk may have a part of it
			a.p.Armed = stage.BeforeSave
		}
	case cluster.KillTask:
		a.order(&workload.Kill{Ref: workload.Ref{Framework: m.Framework, Task: m.Task}, Grace: time.Duration(m.Grace)})
	case cluster.Ack:
		a.order(&workload.Ack{Ref: workload.Ref{Framework: m.Framework, Task: m.Task}, UUID: m.UUID})
	case cluster.ShutdownFramework:
		a.order(&workload.ShutdownFramework{Framework: m.Framework})
	case cluster.FrameworkChanged:
		a.w.check.specs[string(m.Framework.Info)] = m.Framework
		a.order(&workload.FrameworkChanged{Framework: wire.Framework(m.Framework)})
	case cluster.Resend:
		a.order(&workload.Resend{Framework: m.Framework})
	case cluster.Apply:
		a.order(&workload.Apply{Operation: a.w.operationOf(m.Operation)})
	case cluster.OperationAck:
		a.order(&workload.OperationAck{Operation: m.Operation, UUID: m.UUID})
	case cluster.EndExecutor:
		a.order(&workload.ShutdownExecutor{ExecutorRef: workload.ExecutorRef{Framework: m.Framework, Executor: m.Executor}})
	case cluster.SchedulerMessage:
		a.order(&workload.SchedulerMessage{ExecutorRef: workload.ExecutorRef{Framework: m.Framework, Executor: m.Executor}, Data: m.Data})
	case cluster.Ping:
		c.Send(stage.Near, &cluster.AgentPong{})
	case cluster.Shutdown:
		a.dismiss(c)
	}
}

// cannot is why an agent refuses a task.
const cannot = "this agent cannot do that"

// order passes a leader's order on to the book.
func (a *agent) order(in workload.In) {
	a.w.check.ordered(a, in)
	a.p.Post(in)
}

func (a *agent) Took(_ time.Duration, in workload.In, _ *workload.Out, _ stage.Mark) {
	a.w.Cover.Input(in)
	if _, ok := in.(*workload.Leave); ok {
		a.leaving = true
	}
}

func (a *agent) Stepped(out *workload.Out) {
	a.w.Cover.Agent(out)
	a.w.check.agentStepped(a, out)
}

// save appends to the journal, which takes a while. A disk that is full takes a part, and the process ends.
func (a *agent) Save(records []workload.Record, done func(ok bool)) {
	p := a.p
	wait := a.w.Between(200*time.Microsecond, 20*time.Millisecond)
	if a.w.Chance(0.02) {
		wait = a.w.Between(20*time.Millisecond, 2*time.Second) // a slow disk
	}
	a.w.After(wait, func() {
		switch {
		case p.Dead: // torn has seen to it
		case a.w.Now() < a.full:
			a.w.Cover.Fault(diskFull)
			a.Torn(records)
			done(false)
		default:
			a.durable(records)
			done(true)
		}
	})
}

func (a *agent) durable(records []workload.Record) {
	if a.w.Tracing() {
		a.w.Note("%s has saved %s", a.p.Name, say.Records(records))
	}
	for i := range records {
		r := records[i]
		if r.Compact != nil {
			a.journal = slices.Clone(r.Compact)
			continue
		}
		a.journal = append(a.journal, r)
	}
	a.w.check.durable(a, records)
}

// torn: of an append that was under way, some first part may be there. A compaction is there or not.
func (a *agent) Torn(records []workload.Record) {
	n := a.w.Rand.IntN(len(records) + 1)
	a.w.Note("%s: %d of %d records of the last save are on the disk", a.p.Name, n, len(records))
	a.durable(records[:n])
}

func (a *agent) Send(messages []workload.Msg) {
	for i := range messages {
		m := &messages[i]
		switch {
		case m.Executor != nil:
			a.deliver(m.Executor)
		case a.link == nil || a.link.ID != m.Link:
		case m.Refuse != "":
			a.w.Note("%s refuses its master: %s", a.p.Name, m.Refuse)
			c := a.link
			c.Close()
			a.unlink(c)
		case m.Unregister:
			a.goodbye = a.link
			a.link.Send(stage.Near, &cluster.AgentLeave{})
		case m.Register != nil:
			a.link.Send(stage.Near, a.registration(m.Register))
		case m.Update != nil:
			a.w.check.updateSent(a, m.Update)
			a.link.Send(stage.Near, &cluster.AgentUpdate{Framework: m.Update.Framework, Status: m.Update.Status, Latest: m.Update.Latest, Launch: m.Update.Launch})
		case m.ExecutorEnd != nil:
			a.link.Send(stage.Near, &cluster.AgentExecutorEnd{Framework: m.ExecutorEnd.Framework, Executor: m.ExecutorEnd.Executor, Status: m.ExecutorEnd.Status})
		case m.Operation != nil:
			a.link.Send(stage.Near, &cluster.AgentOperationEnd{End: wire.End(m.Operation)})
		case m.Message != nil:
			a.link.Send(stage.Near, &cluster.AgentMessage{Framework: m.Message.Framework, Executor: m.Message.Executor, Data: m.Message.Data})
		case m.State != nil:
			a.link.Send(stage.Near, &cluster.AgentState{Framework: m.State.Framework, Task: m.State.Task, State: m.State.State, Launch: m.State.Launch})
		}
	}
}

func (a *agent) registration(r *workload.Register) *cluster.AgentRegister {
	in := &cluster.AgentRegister{Links: r.Links, Spec: &cluster.AgentSpec{
		ID: r.Agent, Info: []byte(a.name), Hostname: a.name, IP: a.ip, Port: 5051, Total: r.Total, Attributes: a.Protos(),
	}}
	for _, f := range r.Frameworks {
		in.Frameworks = append(in.Frameworks, a.w.check.specs[string(f.Info)])
	}
	in.Spec.Capabilities = []mesosv1.AgentInfo_Capability_Type{
		mesosv1.AgentInfo_Capability_HIERARCHICAL_ROLE, mesosv1.AgentInfo_Capability_RESERVATION_REFINEMENT, mesosv1.AgentInfo_Capability_AGENT_OPERATION_FEEDBACK,
	}
	for _, v := range r.Operations {
		in.Operations = append(in.Operations, wire.End(v))
	}
	in.Executors, in.Tasks = wire.Reports(r.Executors), wire.TaskReports(r.Agent, r.Tasks)
	return in
}

func (a *agent) Do(work []workload.Work) {
	for i := range work {
		w := &work[i]
		switch {
		case w.Launch != nil:
			a.launch(w.Launch)
		case w.Cancel != "":
			a.cancel(w.Cancel)
		case w.Kill != nil:
			k := *w.Kill
			a.after(a.w.Between(0, 5*time.Millisecond), func() { a.kill(k.Container, k.Grace) })
		case w.Left:
			a.vacated()
		case w.RemoveVolume != nil:
			d := w.RemoveVolume
			a.disk.Discard(d)
			a.after(a.w.Between(0, time.Second), func() { a.p.Post(&workload.VolumeRemoved{UUID: d.UUID}) })
		case w.ClearVolume != nil:
			a.disk.Clear(w.ClearVolume.UUID)
		case w.PlaceVolumes != nil:
			in := &workload.VolumesPlaced{Ref: workload.Ref{Framework: w.PlaceVolumes.Task.Framework, Task: w.PlaceVolumes.Task.ID}, Container: w.PlaceVolumes.Container}
			if a.w.Chance(0.05) {
				in.Words = "it was not to be"
			}
			a.after(a.w.Between(0, 100*time.Millisecond), func() { a.p.Post(in) })
		case w.Forget != "":
			id := w.Forget
			a.after(a.w.Between(0, 5*time.Millisecond), func() { a.forget(id) })
		case w.Destroy != "":
			id := w.Destroy
			a.after(a.w.Between(0, 5*time.Millisecond), func() { a.kill(id, 0); a.forget(id) })
		}
	}
}

func (a *agent) Tell(facts []workload.Fact) {
	if !a.w.Tracing() {
		return
	}
	for i := range facts {
		f := &facts[i]
		a.w.Note("%s decides %s%s", a.p.Name, f.Kind, say.Words("framework", f.Framework, "task", f.Task, "state", say.State(f.State), "", f.Text))
	}
}

// operationOf makes the agent's value of what a master sent.
func (w *World) operationOf(o *cluster.AgentOperation) *workload.Operation {
	return wire.Operation(o, w.check.keep.ChangeOf(o.Info))
}

// crashed ends what belonged to the process; a new one starts after a while, sometimes with the whole machine.
func (a *agent) Crashed() {
	*a.live.ended = true
	if a.link != nil {
		a.link.Cut()
		a.link = nil
	}
	for _, id := range slices.Sorted(maps.Keys(a.streams)) {
		x := a.streams[id].x
		x.drop()
		x.connectLater()
		if a.w.Chance(0.2) { // it gives its agent up
			a.w.After(a.w.Between(0, 10*time.Second), func() { x.box.end(workload.Exit{Status: 0x200, Known: true}) })
		}
	}
	a.streams = nil
	if a.w.Chance(0.2) {
		a.boot++
		a.w.Cover.Fault(reboots)
		a.w.Note("%s: the machine reboots", a.name)
		for _, id := range slices.Sorted(maps.Keys(a.containers)) {
			a.containers[id].gone = true
		}
		a.containers = map[string]*container{}
	}
	wait := a.w.Between(10*time.Millisecond, 5*time.Second)
	if a.w.Chance(0.1) {
		wait = a.w.Between(5*time.Second, 3*time.Minute)
	}
	a.w.After(wait, a.start)
}
