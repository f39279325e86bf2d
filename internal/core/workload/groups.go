package workload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
)

// RunGroup starts tasks that run together or not at all: they have one executor, one Group, and stand in the order of their
// launches. If one of them ends otherwise than well, the default executor ends the others; an executor of the framework's own
// is given them together and does as it likes.
type RunGroup struct {
	Framework *Framework
	Tasks     []*Task
	// StartsExecutor is as in Run.
	StartsExecutor bool
}

// LaunchGroupEvent gives an executor a group.
type LaunchGroupEvent struct {
	Tasks     []*Task
	Framework *Framework
}

// foreign says whether a task is run by an executor of its framework's own. All others this agent runs: their containers are
// in its book, and the default executor is nothing but this book and the container that theirs are below.
func (t *Task) foreign() bool { return t.Executor != nil && !t.Executor.Default }

// pooled says whether a task is run by the default executor.
func (t *Task) pooled() bool { return t.Executor != nil && t.Executor.Default }

// ChildOf names a container below another.
func ChildOf(parent, id string) string { return parent + "." + id }

// Top is the container that a task's is below, or the task's own.
func (v *TaskView) Top() string {
	top, _, _ := strings.Cut(v.Container, ".")
	return top
}

// ContainerID is a container as the protocol names it.
func ContainerID(container string) *mesosv1.ContainerID {
	i := strings.LastIndexByte(container, '.')
	id := &mesosv1.ContainerID{Value: new(container[i+1:])}
	if i > 0 {
		id.Parent = ContainerID(container[:i])
	}
	return id
}

// runGroup takes a group on, or ends all of it.
func (b *Book) runGroup(in *RunGroup, out *Out) {
	first := in.Tasks[0]
	missing := slices.DeleteFunc(slices.Clone(in.Tasks), func(t *Task) bool { return b.states[Ref{t.Framework, t.ID}] != nil })
	switch {
	case b.leaving:
		passOver(in.Tasks, "the agent is leaving", out)
		return
	case len(missing) == 0:
		passOver(in.Tasks, "the group is here already", out)
		return
	}
	if b.frameworks[first.Framework] == nil {
		b.frameworks[first.Framework] = in.Framework
		out.Save = append(out.Save, Record{Framework: in.Framework})
	}
	ref := ExecutorRef{first.Framework, first.Executor.ID}
	x := b.executors[ref]
	state, reason, words := b.refuseGroup(in, x, len(missing))
	if words != "" {
		for _, t := range missing {
			b.refuse(t, state, reason, words, out)
		}
		here := slices.DeleteFunc(slices.Clone(in.Tasks), func(t *Task) bool { return slices.Contains(missing, t) })
		passOver(here, "the task is here already", out)
		if x == nil && in.StartsExecutor { // the master counts it as there
			b.tellExecutorEnd(ref, unknownStatus, out)
		}
		return
	}
	fresh := x == nil
	if fresh {
		a := &ExecutorAccepted{Executor: first.Executor, Container: b.containerID()}
		out.Save = append(out.Save, Record{ExecutorAccepted: a})
		x = b.admitExecutor(a)
		out.Tell = append(out.Tell, Fact{Kind: FactExecutorAccepted, Framework: ref.Framework, Executor: ref.Executor, Container: a.Container})
	}
	var views []*TaskView
	for _, t := range in.Tasks {
		a := &Accepted{Task: t, Container: x.view.Container}
		if t.pooled() {
			a.Container = ChildOf(x.view.Container, b.containerID())
		}
		out.Save = append(out.Save, Record{Accepted: a})
		views = append(views, b.admit(a))
		out.Tell = append(out.Tell, Fact{Kind: FactTaskAccepted, Framework: t.Framework, Task: t.ID, Executor: ref.Executor, Container: a.Container})
	}
	if fresh {
		out.Do = append(out.Do, Work{Launch: &LaunchWork{
			Executor: x.view.Spec, Task: first, Container: x.view.Container, Framework: in.Framework, Needs: b.needs(x),
		}})
		return
	}
	b.resize(x, out)
	switch {
	case first.pooled() && x.view.PID != 0:
		for _, v := range views {
			b.launchBelow(x, v, out)
		}
	case x.stream != 0:
		b.deliver(views, x, out)
	}
}

// passOver tells that launches come to nothing.
func passOver(tasks []*Task, why string, out *Out) {
	for _, t := range tasks {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: t.Framework, Task: t.ID, Launch: t.Launch, Text: why})
	}
}

// refuse books a task that cannot be taken on, and its end.
func (b *Book) refuse(t *Task, s mesosv1.TaskState, r mesosv1.TaskStatus_Reason, words string, out *Out) {
	a := &Accepted{Task: t}
	out.Save = append(out.Save, Record{Accepted: a})
	v := b.admit(a)
	out.Tell = append(out.Tell, Fact{Kind: FactTaskRefused, Framework: t.Framework, Task: t.ID, Text: words})
	b.end(v, s, r, words, out)
}

// refuseGroup says why a group cannot be taken on, if so, and what becomes of its tasks then.
func (b *Book) refuseGroup(in *RunGroup, x *executor, missing int) (mesosv1.TaskState, mesosv1.TaskStatus_Reason, string) {
	first := in.Tasks[0]
	for _, t := range in.Tasks {
		if t.Refused != "" {
			words := t.Refused
			if len(in.Tasks) > 1 {
				words = fmt.Sprintf("Of the task %q of the group: %s", t.ID, t.Refused)
			}
			return mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, words
		}
	}
	switch {
	case missing < len(in.Tasks):
		return mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED,
			"A task of the group has the id of one that is still here; acknowledge its last update, or use a new id."
	case x == nil && !in.StartsExecutor || x != nil && x.cause != NotEnding:
		return b.dropped(first.Framework), mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED,
			fmt.Sprintf("The executor %q has ended or is ending; launch the group with a new one.", first.Executor.ID)
	}
	return 0, 0, ""
}

// launchBelow starts a task of the default executor, whose own container is there.
func (b *Book) launchBelow(x *executor, v *TaskView, out *Out) {
	out.Do = append(out.Do, Work{Launch: &LaunchWork{
		Task: v.Task, Executor: x.view.Spec, Container: v.Container, Parent: x.view.Container, Framework: b.frameworks[v.Task.Framework],
	}})
}

// poolStarted follows the start of a default executor's container: its tasks can start below it.
func (b *Book) poolStarted(x *executor, out *Out) {
	b.change(x, func(v *ExecutorView) { v.State = ExecutorRunning })
	if x.cause != NotEnding {
		b.terminate(x, out)
		return
	}
	b.settle(x, out)
	for _, v := range b.tasksIn(x) {
		if !v.Ended && v.PID == 0 {
			b.launchBelow(x, v, out)
		}
	}
}

// cancel stops the launch of a task. Before its executor's container is there it has not begun.
func (b *Book) cancel(v *TaskView, out *Out) {
	if x := b.executorOf(v.Task); x != nil && v.Task.pooled() && x.view.PID == 0 {
		b.end(v, mesosv1.TaskState_TASK_KILLED, mesosv1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH, "The task was killed before it started.", out)
		return
	}
	out.Do = append(out.Do, Work{Cancel: v.Container})
}

// sameGroup lists the tasks of the executor that belong together with one of them, which is among them.
func (b *Book) sameGroup(x *executor, t *Task) []*TaskView {
	return slices.DeleteFunc(b.tasksIn(x), func(v *TaskView) bool { return v.Task.ID != t.ID && (t.Group == 0 || v.Task.Group != t.Group) })
}

// endedBelow follows the end of a task of the default executor: one that did not end well takes the others of its group
// along, and with the last task of all the executor ends.
func (b *Book) endedBelow(t *Task, well bool, out *Out) {
	x := b.executorOf(t)
	if x == nil || x.over || b.recovering { // then how the others are is not known yet
		return
	}
	if !well {
		b.killGroup(x, t, out)
	}
	b.settle(x, out)
}

// killGroup ends what still runs of a task's group.
func (b *Book) killGroup(x *executor, t *Task, out *Out) {
	for _, o := range b.sameGroup(x, t) {
		if v, s := b.find(o.ref()); v != nil && !v.Ended && s.cause == NotKilled { // the end of one may have ended others
			cause := KillGroup
			if s.silent {
				cause = KillFrameworkGone
			}
			b.kill(v.ref(), -1, cause, out)
		}
	}
}

// settle brings a default executor into line with its tasks: its limits are what they need, and without any it ends.
func (b *Book) settle(x *executor, out *Out) {
	switch {
	case b.executors[x.view.ref()] != x:
	case !b.idle(x):
		b.resize(x, out)
	case x.cause == NotEnding:
		b.shutdown(x, EndIdle, out)
	case x.view.PID != 0: // else its launch is canceled already
		b.terminate(x, out)
	}
}

// terminatePool carries the shutdown of a default executor out, as far as can be now: its tasks are killed, then its
// container.
func (b *Book) terminatePool(x *executor, out *Out) {
	b.clearAlarm(x)
	c := x.view.Container
	switch {
	case x.view.PID == 0:
		out.Do = append(out.Do, Work{Cancel: c})
	case x.cause == EndDisk:
		for _, o := range b.tasksIn(x) {
			if v, s := b.find(o.ref()); v != nil && !v.Ended && s.cause == NotKilled {
				b.kill(v.ref(), 0, KillDisk, out)
			}
		}
		out.Do = append(out.Do, Work{Kill: &KillWork{c, 0}})
	case b.idle(x):
		out.Do = append(out.Do, Work{Kill: &KillWork{c, 0}})
	default:
		b.setAlarm(x, b.graceOf(x))
		for _, o := range b.tasksIn(x) {
			if v, s := b.find(o.ref()); v != nil && !v.Ended && s.cause == NotKilled {
				b.kill(v.ref(), -1, KillAsked, out)
			}
		}
	}
}

// recoverPool goes on with a default executor whose container outlived the agent's process. Its tasks were looked at before.
func (b *Book) recoverPool(x *executor, f *Found, out *Out) {
	if x.view.PID == 0 {
		b.executorStarted(x, f.PID, f.Ticks, out)
	}
	b.change(x, func(v *ExecutorView) { v.State = ExecutorRunning })
	if x.cause != NotEnding {
		b.terminate(x, out)
		return
	}
	for _, v := range b.tasksIn(x) {
		if v.Ended && v.State != mesosv1.TaskState_TASK_FINISHED {
			b.killGroup(x, v.Task, out)
		}
	}
	b.settle(x, out)
}

// torn says whether a task waits for an executor of its framework's own in a group of which the journal does not have all:
// a crash cut the record of its acceptance short.
func (b *Book) torn(v *TaskView) bool {
	x := b.executorOf(v.Task)
	return x != nil && v.Queued && !v.Ended && v.Task.Group != 0 && len(b.sameGroup(x, v.Task)) < v.Task.GroupSize
}

// refuseTorn ends what the journal has of a group whose acceptance was cut short. Nothing of it can have begun.
func (b *Book) refuseTorn(v *TaskView, out *Out) {
	b.end(v, b.dropped(v.Task.Framework), mesosv1.TaskStatus_REASON_AGENT_RESTARTED, "The agent was restarted before it had taken the whole group on.", out)
}
