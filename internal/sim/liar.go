package sim

import (
	"fmt"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/mesos"
)

// liar is an agent that keeps to no rule, in messages that decode: it registers again and again, with other resources each
// time and with tasks that nobody launched, and tells states of tasks that are not there or not its own, in any order. It is
// none of World.agents, so nothing is promised of it; what is promised of the others must hold beside it. It does not say
// that it runs a task that lives elsewhere: a new master, which knows of tasks by their agents alone, would have to believe
// it. It goes when faults stop: the operator marks its agents gone.
type liar struct {
	w     *World
	c     *stage.Conn
	ready bool // it was welcomed
	ask   *master
	id    string
	links uint64
	runs  []cluster.Run // what it was sent, some of it
}

const liarName = "liar"

func (w *World) newLiar() {
	l := &liar{w: w}
	w.After(w.Between(time.Second, 30*time.Second), l.tick)
}

func (l *liar) tick() {
	w := l.w
	if w.Calm {
		if l.c != nil {
			l.c.Close()
		}
		return
	}
	w.After(w.Between(20*time.Millisecond, 3*time.Second), l.tick)
	switch {
	case l.c == nil:
		l.dial(w.pickMaster())
	case l.ready:
		for range 1 + w.Rand.IntN(4) {
			l.c.Send(stage.Near, l.nonsense())
		}
	}
}

func (l *liar) dial(m *master) {
	c := l.w.Connect(liarName, m.name)
	l.c, l.ready = c, false
	e := &c.Ends[stage.Near]
	e.Recv = l.take
	e.Closed = func() {
		to := l.ask
		l.c, l.ask = nil, nil
		if to != nil && !l.w.Calm {
			l.dial(to)
		}
	}
	l.w.dial(c, m, hello{})
}

func (l *liar) take(message any) {
	switch m := message.(type) {
	case redirect:
		l.ask = m.to
	case welcome:
		l.ready = true
	case cluster.Registered:
		l.id = m.Agent
	case cluster.Run:
		l.runs = append(l.runs, m)
		if len(l.runs) > 8 {
			l.runs = l.runs[1:]
		}
	case cluster.Ping:
		l.c.Send(stage.Near, &cluster.AgentPong{})
	}
}

// nonsense makes the next message.
func (l *liar) nonsense() any {
	w := l.w
	w.Cover.Fault(lies)
	framework, task, launch := l.about()
	switch w.Rand.IntN(10) {
	case 0, 1, 2:
		return l.registration()
	case 3:
		return &cluster.AgentState{Framework: framework, Task: task, State: l.state(), Launch: launch}
	case 4:
		return &cluster.AgentMessage{Framework: framework, Executor: "e", Data: []byte("hm")}
	case 5:
		if w.Chance(0.1) {
			return &cluster.AgentLeave{}
		}
		return &cluster.AgentPong{}
	}
	s := &mesos.Status{TaskID: task, AgentID: l.id, State: l.state(), Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, UUID: l.uuid(), Healthy: -1}
	switch {
	case w.Chance(0.3):
		s.AgentID = w.anyAgent()
	case w.Chance(0.1):
		s.UUID = ""
	}
	return &cluster.AgentUpdate{Framework: framework, Status: s, Latest: l.state(), Launch: launch}
}

// about draws what a message is about: a task that it was sent, one of somebody else, or none that there is.
func (l *liar) about() (framework, task string, launch uint64) {
	w := l.w
	f := w.pickFramework()
	switch {
	case len(l.runs) > 0 && w.Chance(0.4):
		r := l.runs[w.Rand.IntN(len(l.runs))]
		return r.Framework.ID, r.Task.ID, r.Launch * uint64(w.Rand.IntN(2))
	case len(f.insts) > 0 && w.Chance(0.5):
		i := f.insts[w.Rand.IntN(len(f.insts))]
		return []string{i.owner, f.id, "nobody"}[w.Rand.IntN(3)], i.id, uint64(w.Rand.IntN(3))
	}
	return []string{f.id, "nobody", ""}[w.Rand.IntN(3)], fmt.Sprintf("lie%d", w.Rand.IntN(6)), 0
}

func (l *liar) state() mesosv1.TaskState {
	return []mesosv1.TaskState{
		mesosv1.TaskState_TASK_RUNNING, mesosv1.TaskState_TASK_FINISHED, mesosv1.TaskState_TASK_STAGING, mesosv1.TaskState_TASK_LOST,
		mesosv1.TaskState_TASK_UNREACHABLE, mesosv1.TaskState_TASK_UNKNOWN, 99,
	}[l.w.Rand.IntN(7)]
}

func (l *liar) uuid() string { return fmt.Sprintf("lie-%012d", l.w.ID()) }

func (l *liar) registration() *cluster.AgentRegister {
	w := l.w
	in := &cluster.AgentRegister{Links: l.links + uint64(w.Rand.IntN(3)), Spec: &cluster.AgentSpec{
		ID: l.id, Info: []byte(liarName), Hostname: liarName, IP: "10.9.9.9", Port: 5051,
		Total: setting.Resources([]string{"cpus:1;mem:512", "cpus:64;mem:65536", "cpus:0.01;mem:1", "cpus:4;mem:1024;gpus:8"}[w.Rand.IntN(4)]),
	}}
	l.links = max(in.Links, 1) - 1
	if w.Chance(0.2) {
		in.Spec.ID = ""
	}
	for _, id := range []string{"nobody", "", w.pickFramework().id} {
		if w.Chance(0.5) {
			in.Frameworks = append(in.Frameworks, &cluster.FrameworkSpec{ID: id, Name: "f", User: "root", Roles: []string{"*"}, FailoverTimeout: time.Second})
		}
	}
	for range w.Rand.IntN(6) {
		framework, task, launch := l.about()
		if !l.mine(framework, task) {
			task = fmt.Sprintf("lie%d", w.Rand.IntN(6))
		}
		state := l.state()
		r := cluster.TaskReport{Framework: framework, Role: "ops", State: state, UpdateState: state, UpdateUUID: l.uuid(), Launch: launch, Spec: &cluster.TaskSpec{
			ID: task, AgentID: l.id, Resources: taskSizes[w.Rand.IntN(len(taskSizes))], Info: []byte("lie"),
		}}
		in.Tasks = append(in.Tasks, r)
		if w.Chance(0.3) {
			in.Tasks = append(in.Tasks, r) // twice
		}
	}
	return in
}

func (l *liar) mine(framework, task string) bool {
	for _, r := range l.runs {
		if r.Framework.ID == framework && r.Task.ID == task {
			return true
		}
	}
	return false
}
