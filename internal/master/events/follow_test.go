package events

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// picture is what a subscriber knows: agents by id, frameworks with how they are, tasks with their states.
type picture struct {
	Agents     map[string]string
	Frameworks map[string]string
	Tasks      map[cluster.FrameworkTask]mesosv1.TaskState
}

func frameworkIs(f *cluster.Framework) string {
	return fmt.Sprintf("%x connected %v recovered %v", f.Spec.Info, f.Connected, f.Recovered)
}

// take makes the picture that a snapshot gives. A task whose update waits behind another is in the state that was told last,
// unless it has ended.
func take(v *cluster.View) picture {
	p := picture{map[string]string{}, map[string]string{}, map[cluster.FrameworkTask]mesosv1.TaskState{}}
	for a := range v.Agents {
		if a.Mark == cluster.Admitted {
			p.Agents[a.Spec.ID] = fmt.Sprintf("%x", a.Spec.Info)
		}
	}
	for f := range v.Frameworks {
		p.Frameworks[f.Spec.ID] = frameworkIs(f)
	}
	for t := range v.Tasks {
		p.Tasks[cluster.FrameworkTask{Framework: t.Framework, Task: t.Spec.ID}] = t.State
	}
	return p
}

// hear changes the picture as a subscriber does who hears an event.
func (p picture) hear(e *event) {
	switch m := e.message(); e.kind {
	case master.Event_TASK_ADDED:
		t := m.GetTaskAdded().GetTask()
		p.Tasks[cluster.FrameworkTask{Framework: t.GetFrameworkId().GetValue(), Task: t.GetTaskId().GetValue()}] = t.GetState()
	case master.Event_TASK_UPDATED:
		t := m.GetTaskUpdated()
		p.Tasks[cluster.FrameworkTask{Framework: t.GetFrameworkId().GetValue(), Task: t.GetStatus().GetTaskId().GetValue()}] = t.GetState()
	case master.Event_AGENT_ADDED:
		a := m.GetAgentAdded().GetAgent()
		p.Agents[a.GetAgentInfo().GetId().GetValue()] = fmt.Sprintf("%x", e.agent.Spec.Info)
	case master.Event_AGENT_REMOVED:
		delete(p.Agents, m.GetAgentRemoved().GetAgentId().GetValue())
	case master.Event_FRAMEWORK_ADDED, master.Event_FRAMEWORK_UPDATED:
		p.Frameworks[e.framework.Spec.ID] = frameworkIs(e.framework)
	case master.Event_FRAMEWORK_REMOVED:
		id := m.GetFrameworkRemoved().GetFrameworkInfo().GetId().GetValue()
		delete(p.Frameworks, id)
	}
}

// differs says where the picture is not the book. Of a task that the book has forgotten a subscriber must know that it ended.
func (p picture) differs(v *cluster.View) string {
	want := take(v)
	tasks := map[cluster.FrameworkTask]mesosv1.TaskState{}
	for key, state := range p.Tasks {
		is, there := want.Tasks[key]
		switch {
		case !there && !cluster.Terminal(state) && state != mesosv1.TaskState_TASK_UNREACHABLE:
			tasks[key] = state // and is told as too many
		case there && !cluster.Terminal(is) && !cluster.Terminal(state) && state != mesosv1.TaskState_TASK_UNREACHABLE:
			if t := v.Task(key.Framework, key.Task); state == t.UpdateState || state == t.State {
				tasks[key] = is
			} else {
				tasks[key] = state
			}
		case there:
			tasks[key] = state
		}
	}
	return cmp.Diff(want, picture{p.Agents, p.Frameworks, tasks})
}

// troupe is a book that chance drives.
type troupe struct {
	t      *rapid.T
	book   *cluster.Book
	now    machine.Now
	out    cluster.Out
	conns  map[cluster.ConnID]string // of agents
	links  uint64
	fws    map[cluster.StreamID]string
	offers map[string]*cluster.Offer
	runs   map[cluster.FrameworkTask]cluster.Run // as the agents have them
	on     map[cluster.FrameworkTask]string
	states map[cluster.FrameworkTask]mesosv1.TaskState
	owed   map[cluster.FrameworkTask]string // uuids
	ids    uint64
	heard  picture
	known  []string // agents that registered once
	mates  []string // frameworks likewise
}

func (x *troupe) id() uint64 { x.ids++; return x.ids }

func (x *troupe) step(in cluster.In) {
	x.out.Reset()
	x.book.Step(x.now, in, &x.out)
	for i := range x.out.Tell {
		if e, ok := of(&x.out.Tell[i]); ok {
			for _, json := range []bool{true, false} {
				got := &master.Event{}
				decode := mesos.DecodeProto
				if json {
					decode = mesos.UnmarshalJSON
				}
				if err := decode(e.append(nil, json), got); err != nil || got.GetType() != e.kind {
					x.t.Fatalf("%s as JSON %v: %v", e.kind, json, err)
				}
			}
			x.heard.hear(&e)
		}
	}
	for _, m := range x.out.Send {
		switch b := m.Body.(type) {
		case cluster.Registered:
			x.conns[m.Conn] = b.Agent
			x.known = append(x.known, b.Agent)
		case cluster.Subscribed:
			x.fws[m.Stream] = b.Framework
			x.mates = append(x.mates, b.Framework)
		case cluster.Offers:
			for _, o := range b.Offers {
				x.offers[o.ID] = o
			}
		case cluster.Rescind:
			delete(x.offers, b.Offer)
		case cluster.Run:
			key := cluster.FrameworkTask{Framework: b.Framework.ID, Task: b.Task.ID}
			x.runs[key], x.on[key], x.states[key] = b, b.Task.AgentID, mesosv1.TaskState_TASK_STAGING
		case cluster.Error, cluster.Close:
			delete(x.fws, m.Stream)
		case cluster.Disconnect, cluster.Shutdown:
			delete(x.conns, m.Conn)
		}
	}
	if d := x.heard.differs(x.book.View()); d != "" {
		x.t.Fatalf("after %T %+v a subscriber does not know what is (-book +subscriber): %s", in, in, d)
	}
}

func anyOf[K comparable, V any](t *rapid.T, m map[K]V, what string) (k K, v V, ok bool) {
	if len(m) == 0 {
		return k, v, false
	}
	k = rapid.SampledFrom(sorted(m)).Draw(t, what)
	return k, m[k], true
}

func sorted[K comparable, V any](m map[K]V) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

func (x *troupe) register() {
	t := x.t
	port := int32(5050 + rapid.IntRange(1, 4).Draw(t, "port"))
	spec := &cluster.AgentSpec{
		Info: mustMarshal(&mesosv1.AgentInfo{Hostname: new("h"), Port: &port}), Hostname: "h", IP: "127.0.0.1", Port: port, Version: "1",
		Total: mustParse("cpus:4;mem:4096"),
	}
	x.links++
	in := &cluster.AgentRegister{Conn: cluster.ConnID(x.id()), Spec: spec, Links: x.links}
	if len(x.known) > 0 && rapid.Bool().Draw(t, "again") {
		spec.ID = rapid.SampledFrom(x.known).Draw(t, "agent")
		if old := x.book.View().Agent(spec.ID); old != nil {
			s := *old.Spec
			spec = &s
			if rapid.Bool().Draw(t, "changed") {
				spec.Info = append(slices.Clip(spec.Info), mustMarshal(&mesosv1.AgentInfo{Hostname: new("g")})...)
			}
			in.Spec = spec
		} else {
			spec.Info = mustMarshal(&mesosv1.AgentInfo{Hostname: new("h"), Port: &port, Id: &mesosv1.AgentID{Value: &spec.ID}})
		}
		for _, key := range sorted(x.runs) {
			run := x.runs[key]
			lost := rapid.IntRange(0, 3).Draw(t, "lost") == 0 // it never arrived, or the agent's disk is gone
			if x.on[key] == spec.ID && x.owed[key] != "acked" && !lost {
				r := cluster.TaskReport{Framework: key.Framework, Spec: run.Task, Role: run.Role, State: x.states[key], UpdateState: x.states[key], Launch: run.Launch}
				if uuid := x.owed[key]; uuid != "" {
					r.UpdateUUID = uuid
					r.Statuses = []*mesos.Status{{TaskID: key.Task, AgentID: spec.ID, State: r.State, UUID: uuid, Healthy: -1}}
				}
				in.Tasks = append(in.Tasks, r)
				fw := *run.Framework
				in.Frameworks = append(in.Frameworks, &fw)
			}
		}
	}
	x.step(in)
}

func (x *troupe) act() {
	t := x.t
	switch rapid.SampledFrom([]string{
		"register", "register", "subscribe", "launch", "launch", "launch", "update", "update", "update", "state", "ack", "ack", "wait",
		"close", "leave", "hang up", "teardown", "gone", "sleep", "master",
	}).Draw(t, "act") {
	case "register":
		x.register()
	case "subscribe":
		spec := &cluster.FrameworkSpec{Name: "f", User: "root", Roles: []string{"*"}, Caps: cluster.Capabilities{PartitionAware: rapid.Bool().Draw(t, "aware")}}
		spec.FailoverTimeout = time.Duration(rapid.IntRange(0, 1).Draw(t, "timeout")) * time.Hour
		info := &mesosv1.FrameworkInfo{User: new("root"), Name: new("f")}
		if len(x.mates) > 0 && rapid.Bool().Draw(t, "back") {
			spec.ID = rapid.SampledFrom(x.mates).Draw(t, "framework")
			info.Id = &mesosv1.FrameworkID{Value: &spec.ID}
		}
		spec.Info = mustMarshal(info)
		x.step(&cluster.Subscribe{Stream: cluster.StreamID(x.id()), Spec: spec})
	case "launch":
		if id, o, ok := anyOf(t, x.offers, "offer"); ok {
			delete(x.offers, id)
			for stream, f := range x.fws {
				if f == o.Framework {
					name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "task")
					info := &mesosv1.TaskInfo{Name: &name, TaskId: &mesosv1.TaskID{Value: &name}, AgentId: &mesosv1.AgentID{Value: &o.Agent}}
					x.step(&cluster.Accept{Stream: stream, Framework: f, Offers: []string{id}, Operations: []cluster.Operation{{
						Type:  mesosv1.Offer_Operation_LAUNCH,
						Tasks: []*cluster.TaskSpec{{ID: name, Name: name, AgentID: o.Agent, Resources: mustParse("cpus:1;mem:32"), Info: mustMarshal(info)}},
					}}})
					break
				}
			}
		}
	case "update", "state":
		key, run, ok := anyOf(t, x.runs, "task")
		if !ok || cluster.Terminal(x.states[key]) {
			return
		}
		x.states[key] = rapid.SampledFrom([]mesosv1.TaskState{
			mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_RUNNING, mesosv1.TaskState_TASK_FINISHED,
		}).Draw(t, "state")
		x.owed[key] = fmt.Sprintf("%016d", x.id())
		for conn, agent := range x.conns {
			if agent != x.on[key] {
				continue
			}
			if rapid.Bool().Draw(t, "overtakes") {
				x.step(&cluster.AgentState{Conn: conn, Framework: key.Framework, Task: key.Task, State: x.states[key], Launch: run.Launch})
				return // its update was not sent yet
			}
			x.step(&cluster.AgentUpdate{Conn: conn, Framework: key.Framework, Latest: x.states[key], Launch: run.Launch, Status: &mesos.Status{
				TaskID: key.Task, AgentID: agent, State: x.states[key], UUID: x.owed[key], Healthy: -1,
			}})
			return
		}
	case "ack":
		if key, uuid, ok := anyOf(t, x.owed, "owed"); ok {
			for stream, f := range x.fws {
				if f == key.Framework {
					v := x.book.View().Task(key.Framework, key.Task)
					x.step(&cluster.Acknowledge{Stream: stream, Framework: f, Agent: x.on[key], Task: key.Task, UUID: uuid})
					if v != nil && v.UpdateUUID == uuid && cluster.Terminal(v.UpdateState) {
						x.owed[key] = "acked"
					}
					break
				}
			}
		}
	case "wait":
		x.sleep(3 * time.Second)
	case "sleep": // no ping is answered
		for range 20 {
			x.sleep(10 * time.Second)
		}
	case "close":
		if conn, _, ok := anyOf(t, x.conns, "conn"); ok {
			delete(x.conns, conn)
			x.step(&cluster.AgentClosed{Conn: conn})
		}
	case "leave":
		if conn, _, ok := anyOf(t, x.conns, "conn"); ok {
			x.step(&cluster.AgentLeave{Conn: conn})
		}
	case "hang up":
		if stream, _, ok := anyOf(t, x.fws, "stream"); ok {
			delete(x.fws, stream)
			x.step(&cluster.StreamClosed{Stream: stream})
		}
	case "teardown":
		if len(x.mates) > 0 {
			x.step(&cluster.Teardown{Call: 1, Framework: rapid.SampledFrom(x.mates).Draw(t, "framework")})
		}
	case "gone":
		if len(x.known) > 0 && rapid.IntRange(0, 3).Draw(t, "really") == 0 {
			x.step(&cluster.MarkAgentGone{Call: 1, Agent: rapid.SampledFrom(x.known).Draw(t, "agent")})
		}
	case "master": // a new one takes over from what was recorded; its subscribers begin anew
		x.failOver()
	}
}

func (x *troupe) view() *cluster.View {
	if x.book == nil {
		x.book = cluster.New(cluster.Defaults(), nil, x.now, rand.New(rand.NewPCG(1, 2)))
	}
	return x.book.View()
}

func (x *troupe) sleep(d time.Duration) {
	x.now.Mono, x.now.Wall = x.now.Mono+d, x.now.Wall+int64(d)
	x.step(nil)
}

// failOver makes another book of the agents that are known; frameworks are brought by agents, or come by themselves.
func (x *troupe) failOver() {
	var records []cluster.Record
	for a := range x.view().Agents {
		records = append(records, cluster.Record{Agent: &cluster.AgentRecord{Spec: a.Spec, Mark: a.Mark, Registered: a.Registered}})
	}
	cfg := cluster.Defaults()
	cfg.MasterID = fmt.Sprintf("M%d", x.id())
	x.book = cluster.New(cfg, records, x.now, rand.New(rand.NewPCG(1, x.ids)))
	x.heard = take(x.book.View())
	clear(x.conns)
	clear(x.fws)
	clear(x.offers)
	x.links = 0
}

// Whatever happens to a cluster, the events of a stream turn its snapshot into what the book says.
func TestTheStreamTurnsItsSnapshotIntoWhatIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := &troupe{
			t: t, now: machine.Now{Mono: time.Second, Wall: 1_700_000_000e9}, conns: map[cluster.ConnID]string{}, fws: map[cluster.StreamID]string{},
			offers: map[string]*cluster.Offer{}, runs: map[cluster.FrameworkTask]cluster.Run{}, on: map[cluster.FrameworkTask]string{},
			states: map[cluster.FrameworkTask]mesosv1.TaskState{}, owed: map[cluster.FrameworkTask]string{},
		}
		x.failOver()
		x.register()
		for range rapid.IntRange(1, 60).Draw(t, "acts") {
			x.act()
		}
	})
}

func mustMarshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func mustParse(s string) resource.List {
	l, err := resource.Parse(s, "*")
	if err != nil {
		panic(err)
	}
	return l
}
