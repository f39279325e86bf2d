// Package lie is what an agent says that keeps to no rule, in messages that decode.
package lie

import (
	"fmt"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/mesos"
)

// Name is what liars are called.
const Name = "liar"

// Truth is what a liar knows of the others, to lie about them.
type Truth interface {
	// Agent names one, perhaps by an id that it had once.
	Agent() string
	// Framework names one.
	Framework() string
	// Task names one that a framework launched, and the framework as it was called then; no task when it launched none.
	Task() (framework, task string)
}

// Liar makes up messages.
type Liar struct {
	Stage *stage.Stage
	Truth Truth
	// ID is what it was registered as last.
	ID string

	links uint64
	runs  []cluster.Run // what it was sent, some of it
}

// Sent tells it of a task that it was sent.
func (l *Liar) Sent(r cluster.Run) {
	l.runs = append(l.runs, r)
	if len(l.runs) > 8 {
		l.runs = l.runs[1:]
	}
}

// Nonsense makes the next message.
func (l *Liar) Nonsense() any {
	w := l.Stage
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
	s := &mesos.Status{TaskID: task, AgentID: l.ID, State: l.state(), Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, UUID: l.uuid(), Healthy: -1}
	switch {
	case w.Chance(0.3):
		s.AgentID = l.Truth.Agent()
	case w.Chance(0.1):
		s.UUID = ""
	}
	return &cluster.AgentUpdate{Framework: framework, Status: s, Latest: l.state(), Launch: launch}
}

// about draws what a message is about: a task that it was sent, one of somebody else, or none that there is.
func (l *Liar) about() (framework, task string, launch uint64) {
	w := l.Stage
	id := l.Truth.Framework()
	owner, other := l.Truth.Task()
	switch {
	case len(l.runs) > 0 && w.Chance(0.4):
		r := l.runs[w.Rand.IntN(len(l.runs))]
		return r.Framework.ID, r.Task.ID, r.Launch * uint64(w.Rand.IntN(2))
	case other != "" && w.Chance(0.5):
		return []string{owner, id, "nobody"}[w.Rand.IntN(3)], other, uint64(w.Rand.IntN(3))
	}
	return []string{id, "nobody", ""}[w.Rand.IntN(3)], fmt.Sprintf("lie%d", w.Rand.IntN(6)), 0
}

func (l *Liar) state() mesosv1.TaskState {
	return []mesosv1.TaskState{
		mesosv1.TaskState_TASK_RUNNING, mesosv1.TaskState_TASK_FINISHED, mesosv1.TaskState_TASK_STAGING, mesosv1.TaskState_TASK_LOST,
		mesosv1.TaskState_TASK_UNREACHABLE, mesosv1.TaskState_TASK_UNKNOWN, 99,
	}[l.Stage.Rand.IntN(7)]
}

func (l *Liar) uuid() string { return fmt.Sprintf("lie-%012d", l.Stage.ID()) }

func (l *Liar) registration() *cluster.AgentRegister {
	w := l.Stage
	in := &cluster.AgentRegister{Links: l.links + uint64(w.Rand.IntN(3)), Spec: &cluster.AgentSpec{
		ID: l.ID, Info: []byte(Name), Hostname: Name, IP: "10.9.9.9", Port: 5051,
		Total: setting.Resources([]string{"cpus:1;mem:512", "cpus:64;mem:65536", "cpus:0.01;mem:1", "cpus:4;mem:1024;gpus:8"}[w.Rand.IntN(4)]),
	}}
	l.links = max(in.Links, 1) - 1
	if w.Chance(0.2) {
		in.Spec.ID = ""
	}
	for _, id := range []string{"nobody", "", l.Truth.Framework()} {
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
			ID: task, AgentID: l.ID, Resources: setting.Resources([]string{"cpus:0.5;mem:32", "cpus:2;mem:512"}[w.Rand.IntN(2)]), Info: []byte("lie"),
		}}
		in.Tasks = append(in.Tasks, r)
		if w.Chance(0.3) {
			in.Tasks = append(in.Tasks, r) // twice
		}
	}
	return in
}

func (l *Liar) mine(framework, task string) bool {
	for _, r := range l.runs {
		if r.Framework.ID == framework && r.Task.ID == task {
			return true
		}
	}
	return false
}
