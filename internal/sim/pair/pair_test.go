// Package pair plays both books together, without a network or disks between: an agent, its master, and executors that do what they like.
package pair

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// pair is a master's book and an agent's, with one link that loses what is under way when it breaks, and executors of one
// framework's own that run on the agent's machine, subscribe, tell, and die when they like.
type pair struct {
	t   *rapid.T
	now time.Duration

	master *cluster.Book
	conn   uint64 // of the present link; 0: none
	links  uint64
	up     []workload.Msg
	down   []any
	offers []string

	agent    *workload.Book
	runs     uint64
	journal  []workload.Record
	launches []*workload.LaunchWork
	boxes    map[string]*mine // by container
	told     []*workload.Exited

	streams uint64
	uuids   int
	ends    map[string]map[string]bool // uuids of terminal updates that the scheduler heard, by task
	ran     []string
}

// mine is an executor's process, or what is left of one that ended.
type mine struct {
	ref    workload.ExecutorRef
	ended  bool
	stream uint64
	tasks  map[string]bool // that it has, true once an update of one was acknowledged
	owed   []*mesos.Status // not acknowledged
}

func newPair(t *rapid.T) *pair {
	p := &pair{t: t, now: time.Second, boxes: map[string]*mine{}, ends: map[string]map[string]bool{}}
	cfg := cluster.Defaults()
	cfg.MasterID = "M"
	p.master = cluster.New(cfg, nil, p.clock(), rand.New(rand.NewPCG(1, 1)))
	p.stepMaster(&cluster.Subscribe{Stream: 1, Spec: &cluster.FrameworkSpec{
		Name: "f", User: "root", Roles: []string{"*"}, Info: []byte("f"), FailoverTimeout: time.Hour, Caps: cluster.Capabilities{PartitionAware: true},
	}})
	p.restart()
	p.relink()
	return p
}

const theFramework = "M-0000"

func (p *pair) clock() machine.Now { return machine.Now{Mono: p.now, Wall: 1e18 + int64(p.now)} }

func (p *pair) stepMaster(in cluster.In) {
	var out cluster.Out
	p.master.Step(p.clock(), in, &out)
	if err := p.master.Audit(); err != nil {
		p.t.Fatalf("after %T: %v", in, err)
	}
	for _, m := range out.Send {
		if m.Conn != 0 {
			if uint64(m.Conn) == p.conn {
				p.down = append(p.down, m.Body)
			}
			continue
		}
		switch b := m.Body.(type) {
		case cluster.Offers:
			for _, o := range b.Offers {
				p.offers = append(p.offers, o.ID)
			}
		case cluster.Rescind:
			p.offers = slices.DeleteFunc(p.offers, func(id string) bool { return id == b.Offer })
		case cluster.Update:
			p.heard(b.Status)
		}
	}
}

// heard is the scheduler: it remembers ends, and acknowledges.
func (p *pair) heard(s *mesos.Status) {
	if s.UUID == "" {
		return
	}
	if cluster.Terminal(s.State) {
		if p.ends[s.TaskID] == nil {
			p.ends[s.TaskID] = map[string]bool{}
		}
		if p.ends[s.TaskID][s.UUID] = true; len(p.ends[s.TaskID]) > 1 {
			p.t.Fatalf("task %s has two ends, the second %s: %s", s.TaskID, s.State, s.Message)
		}
	}
	p.stepMaster(&cluster.Acknowledge{Stream: 1, Framework: theFramework, Agent: s.AgentID, Task: s.TaskID, UUID: s.UUID})
}

func (p *pair) stepAgent(in workload.In) {
	var out workload.Out
	p.agent.Step(p.clock(), in, &out)
	p.journal = append(p.journal, out.Save...)
	for _, m := range out.Send {
		switch {
		case m.Executor != nil:
			p.event(m.Executor)
		case m.Link == p.conn && m.Link != 0:
			p.up = append(p.up, m)
		}
	}
	for _, w := range out.Do {
		switch {
		case w.Launch != nil:
			p.launches = append(p.launches, w.Launch)
		case w.Kill != nil:
			p.die(w.Kill.Container)
		case w.Destroy != "":
			p.die(w.Destroy)
			delete(p.boxes, w.Destroy)
		case w.Forget != "":
			delete(p.boxes, w.Forget)
		}
	}
}

// event is what an executor hears.
func (p *pair) event(e *workload.ToExecutor) {
	for _, id := range slices.Sorted(maps.Keys(p.boxes)) {
		x := p.boxes[id]
		if x.stream != e.Stream || x.ended {
			continue
		}
		switch e := e.Event.(type) {
		case workload.LaunchEvent:
			if _, has := x.tasks[e.Task.ID]; has {
				p.t.Fatalf("task %s is given to its executor twice", e.Task.ID)
			}
			x.tasks[e.Task.ID] = false
		case workload.AcknowledgedEvent:
			x.tasks[e.Task] = true
			x.owed = slices.DeleteFunc(x.owed, func(s *mesos.Status) bool { return s.UUID == e.UUID })
		case workload.KillEvent:
			p.tell(x, e.Task, mesosv1.TaskState_TASK_KILLED)
		case workload.CloseStream:
			x.stream = 0
		case workload.ShutdownEvent:
			p.die(id)
		}
	}
}

// tell is an update of an executor. One that the agent does not hear it keeps.
func (p *pair) tell(x *mine, task string, state mesosv1.TaskState) {
	p.uuids++
	s := &mesos.Status{TaskID: task, State: state, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, UUID: fmt.Sprint("x", p.uuids), Healthy: -1}
	x.owed = append(x.owed, s)
	if x.stream != 0 {
		p.stepAgent(&workload.ExecutorUpdate{ExecutorRef: x.ref, Status: s})
	}
}

// die ends an executor's process; its agent hears of it later.
func (p *pair) die(container string) {
	if x := p.boxes[container]; x != nil && !x.ended {
		x.ended, x.stream = true, 0
		p.told = append(p.told, &workload.Exited{Container: container, Exit: workload.Exit{Status: 9, Known: true}})
	}
}

// restart makes the agent's book from its journal; what was under way is lost, and so are the streams.
func (p *pair) restart() {
	p.runs++
	p.cut()
	p.launches, p.told = nil, nil
	cfg := workload.Defaults()
	cfg.Boot = "b"
	p.agent = workload.New(cfg, slices.Clone(p.journal), p.clock(), rand.New(rand.NewPCG(p.runs, 3)))
	in := &workload.Recovered{}
	for _, id := range slices.Sorted(maps.Keys(p.boxes)) {
		x := p.boxes[id]
		x.stream = 0
		f := workload.Found{Container: id, PID: 7}
		if x.ended {
			f.Exit = &workload.Exit{Status: 9, Known: true}
		}
		in.Containers = append(in.Containers, f)
	}
	p.stepAgent(in)
}

func (p *pair) cut() {
	p.up, p.down = nil, nil
	if p.conn == 0 {
		return
	}
	old := p.conn
	p.conn = 0
	p.stepMaster(&cluster.AgentClosed{Conn: cluster.ConnID(old)})
	if p.agent != nil {
		p.stepAgent(&workload.Unlinked{})
	}
}

func (p *pair) relink() {
	p.cut()
	p.links++
	p.conn = p.links
	p.stepAgent(&workload.Linked{Link: p.conn, Epoch: 1})
}

// carry brings the next message of the agent to its master.
func (p *pair) carry() {
	if len(p.up) == 0 {
		return
	}
	m := p.up[0]
	p.up = p.up[1:]
	conn := cluster.ConnID(p.conn)
	switch {
	case m.Register != nil:
		in := &cluster.AgentRegister{Conn: conn, Links: m.Register.Links, Spec: &cluster.AgentSpec{
			ID: m.Register.Agent, Info: []byte("a"), Hostname: "a", IP: "10.0.0.1", Port: 5051, Total: amount("cpus:4;mem:4096"),
		}}
		for _, f := range m.Register.Frameworks {
			in.Frameworks = append(in.Frameworks, &cluster.FrameworkSpec{ID: f.ID, Name: "f", User: "root", Roles: []string{"*"}, Info: f.Info})
		}
		for _, x := range m.Register.Executors {
			in.Executors = append(in.Executors, cluster.ExecutorReport{Framework: x.Spec.Framework, Role: x.Spec.Role, Spec: &cluster.ExecutorSpec{
				ID: x.Spec.ID, Resources: x.Spec.Resources, Info: x.Spec.Info,
			}})
		}
		for _, v := range m.Register.Tasks {
			in.Tasks = append(in.Tasks, cluster.TaskReport{
				Framework: v.Task.Framework, Role: v.Task.Role, State: v.State, Statuses: v.Statuses, UpdateState: v.UpdateState, UpdateUUID: v.UpdateUUID, Launch: v.Task.Launch,
				Spec: &cluster.TaskSpec{ID: v.Task.ID, AgentID: m.Register.Agent, Resources: v.Task.Resources, Info: v.Task.Info},
			})
		}
		p.stepMaster(in)
	case m.Update != nil:
		p.stepMaster(&cluster.AgentUpdate{Conn: conn, Framework: m.Update.Framework, Status: m.Update.Status, Latest: m.Update.Latest, Launch: m.Update.Launch})
	case m.State != nil:
		p.stepMaster(&cluster.AgentState{Conn: conn, Framework: m.State.Framework, Task: m.State.Task, State: m.State.State, Launch: m.State.Launch})
	case m.ExecutorEnd != nil:
		p.stepMaster(&cluster.AgentExecutorEnd{Conn: conn, Framework: m.ExecutorEnd.Framework, Executor: m.ExecutorEnd.Executor, Status: m.ExecutorEnd.Status})
	}
}

// obey brings the next order of the master to the agent.
func (p *pair) obey() {
	if len(p.down) == 0 {
		return
	}
	body := p.down[0]
	p.down = p.down[1:]
	switch m := body.(type) {
	case cluster.Registered:
		in := &workload.Registered{Agent: m.Agent, Info: []byte("a")}
		for _, u := range m.Unknown {
			in.Unknown = append(in.Unknown, workload.UnknownTask{Ref: workload.Ref{Framework: u.Framework, Task: u.Task}, PartitionAware: true, Launch: u.Launch})
		}
		p.stepAgent(in)
	case cluster.Run:
		e := m.Task.Executor
		p.stepAgent(&workload.Run{
			Framework: &workload.Framework{ID: m.Framework.ID, Name: "f", User: "root", Info: m.Framework.Info, PartitionAware: true}, StartsExecutor: m.StartsExecutor,
			Task: &workload.Task{
				Framework: m.Framework.ID, ID: m.Task.ID, Role: m.Role, Resources: m.Task.Resources, Launch: m.Launch,
				Executor: &workload.Executor{Framework: m.Framework.ID, ID: e.ID, Role: m.Role, Resources: e.Resources, Info: e.Info, Grace: -1},
			},
		})
	case cluster.KillTask:
		p.stepAgent(&workload.Kill{Ref: workload.Ref{Framework: m.Framework, Task: m.Task}, Grace: time.Duration(m.Grace)})
	case cluster.Ack:
		p.stepAgent(&workload.Ack{Ref: workload.Ref{Framework: m.Framework, Task: m.Task}, UUID: m.UUID})
	case cluster.EndExecutor:
		p.stepAgent(&workload.ShutdownExecutor{ExecutorRef: workload.ExecutorRef{Framework: m.Framework, Executor: m.Executor}})
	case cluster.ShutdownFramework:
		p.t.Fatalf("the framework is shut down, and nobody wanted that")
	}
}

func amount(text string) resource.List {
	l, err := resource.Parse(text, "*")
	if err != nil {
		panic(err)
	}
	return l
}

// launch accepts the first offer with a task for an executor.
func (p *pair) launch(executor string) {
	if len(p.offers) == 0 {
		return
	}
	offer := p.offers[0]
	p.offers = p.offers[1:]
	id := fmt.Sprint("t", len(p.ran))
	p.ran = append(p.ran, id)
	p.stepMaster(&cluster.Accept{Stream: 1, Framework: theFramework, Offers: []string{offer}, Refuse: 0, Operations: []cluster.Operation{{
		Type: mesosv1.Offer_Operation_LAUNCH, Tasks: []*cluster.TaskSpec{{
			ID: id, Name: id, AgentID: "M-S0", User: "root", Resources: amount("cpus:0.2;mem:64"), Info: []byte(id), ExecutorID: executor,
			Executor: &cluster.ExecutorSpec{ID: executor, Resources: amount("cpus:0.5;mem:64"), Info: []byte(executor)},
		}},
	}}})
}

// started ends the launch of an executor that is under way longest.
func (p *pair) started(ok bool) {
	if len(p.launches) == 0 {
		return
	}
	w := p.launches[0]
	p.launches = p.launches[1:]
	in := &workload.Launched{Container: w.Container, PID: 7}
	if ok {
		p.boxes[w.Container] = &mine{ref: workload.ExecutorRef{Framework: theFramework, Executor: w.Executor.ID}, tasks: map[string]bool{}}
	} else {
		in.Failure, in.PID = workload.LaunchRefused, 0
	}
	p.stepAgent(in)
}

// subscribe has an executor that runs subscribe, again or for the first time.
func (p *pair) subscribe(x *mine) {
	p.streams++
	x.stream = p.streams
	in := &workload.ExecutorSubscribe{Stream: x.stream, ExecutorRef: x.ref, Updates: slices.Clone(x.owed)}
	for _, id := range slices.Sorted(maps.Keys(x.tasks)) {
		if !x.tasks[id] {
			in.Tasks = append(in.Tasks, id)
		}
	}
	p.stepAgent(in)
}

// alive lists the executors that run.
func (p *pair) alive() (all []*mine) {
	for _, id := range slices.Sorted(maps.Keys(p.boxes)) {
		if !p.boxes[id].ended {
			all = append(all, p.boxes[id])
		}
	}
	return all
}

// settle lets everything that is under way arrive.
func (p *pair) settle() {
	for range 10_000 {
		switch {
		case len(p.up) > 0:
			p.carry()
		case len(p.down) > 0:
			p.obey()
		case len(p.told) > 0:
			e := p.told[0]
			p.told = p.told[1:]
			p.stepAgent(e)
		case len(p.launches) > 0:
			p.started(true)
		default:
			return
		}
	}
	p.t.Fatal("they do not come to rest")
}

// TestMasterAndAgentAgreeOnExecutorsWhateverIsLost plays links that break, agents that restart and executors that die between
// any two messages. When all executors have ended and everything has arrived, every task has had one end, and the whole agent
// is free again.
func TestMasterAndAgentAgreeOnExecutorsWhateverIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t)
		executor := rapid.SampledFrom([]string{"e1", "e2"})
		some := func(t *rapid.T) *mine {
			all := p.alive()
			if len(all) == 0 {
				return nil
			}
			return all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"launch":    func(t *rapid.T) { p.launch(executor.Draw(t, "executor")) },
			"carry":     func(*rapid.T) { p.carry() },
			"obey":      func(*rapid.T) { p.obey() },
			"carry all": func(*rapid.T) { p.settle() },
			"started":   func(t *rapid.T) { p.started(rapid.IntRange(0, 3).Draw(t, "fails") > 0) },
			"subscribe": func(t *rapid.T) {
				if x := some(t); x != nil {
					p.subscribe(x)
				}
			},
			"update": func(t *rapid.T) {
				x := some(t)
				if x == nil || len(x.tasks) == 0 {
					return
				}
				task := rapid.SampledFrom(slices.Sorted(maps.Keys(x.tasks))).Draw(t, "task")
				p.tell(x, task, rapid.SampledFrom([]mesosv1.TaskState{mesosv1.TaskState_TASK_RUNNING, mesosv1.TaskState_TASK_FINISHED}).Draw(t, "state"))
			},
			"die": func(t *rapid.T) {
				if x := some(t); x != nil {
					for id, y := range p.boxes {
						if x == y {
							p.die(id)
						}
					}
				}
			},
			"hear of ends": func(*rapid.T) {
				if len(p.told) > 0 {
					e := p.told[0]
					p.told = p.told[1:]
					p.stepAgent(e)
				}
			},
			"kill": func(t *rapid.T) {
				if len(p.ran) > 0 {
					p.stepMaster(&cluster.Kill{Stream: 1, Framework: theFramework, Task: rapid.SampledFrom(p.ran).Draw(t, "task"), Grace: -1})
				}
			},
			"end an executor": func(t *rapid.T) {
				p.stepMaster(&cluster.ShutdownExecutor{Stream: 1, Framework: theFramework, Agent: "M-S0", Executor: executor.Draw(t, "executor")})
			},
			"break the link": func(*rapid.T) { p.relink() },
			"restart":        func(*rapid.T) { p.restart(); p.relink() },
			"wait": func(t *rapid.T) {
				p.now += time.Duration(rapid.SampledFrom([]int{1, 6, 70}).Draw(t, "seconds")) * time.Second
				p.stepAgent(nil)
				for d := p.master.Deadline(); d != machine.Never && d <= p.now && p.conn != 0; d = p.master.Deadline() {
					p.stepMaster(&cluster.AgentPong{Conn: cluster.ConnID(p.conn)})
				}
			},
		})
		p.relink()
		p.settle()
		for _, id := range slices.Sorted(maps.Keys(p.boxes)) {
			p.die(id)
		}
		p.settle()
		v := p.agent.View()
		if len(v.Tasks)+len(v.Executors)+len(v.Frameworks)+len(p.boxes) != 0 {
			t.Fatalf("the agent has %d tasks, %d executors, %d frameworks and %d containers left", len(v.Tasks), len(v.Executors), len(v.Frameworks), len(p.boxes))
		}
		p.master.View().ExecutorsOf(theFramework, func(x *cluster.Executor) bool {
			t.Errorf("the master still has executor %s", x.Spec.ID)
			return true
		})
		p.master.View().TasksOf(theFramework, func(x *cluster.Task) bool {
			t.Errorf("the master still has task %s in %s", x.Spec.ID, x.State)
			return true
		})
	})
}
