package workload

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
)

// maxOwed bounds the updates of one task that wait for their scheduler. More are not taken from its executor, which keeps
// them; a last status always is.
const maxOwed = 1000

// post gives an event to an executor's stream.
func (b *Book) post(stream uint64, event any, out *Out) {
	out.Send = append(out.Send, Msg{Executor: &ToExecutor{stream, event}})
}

// subscribe lets an executor in: for the first time, again after its agent or its connection was lost, or in the place of
// a subscription that it still has.
func (b *Book) subscribe(in *ExecutorSubscribe, out *Out) {
	x := b.executors[in.ExecutorRef]
	if x == nil || x.view.Spec.Default { // that has no program that could subscribe
		b.post(in.Stream, ShutdownEvent{}, out)
		b.post(in.Stream, CloseStream{}, out)
		return
	}
	if x.stream != 0 {
		b.post(x.stream, CloseStream{}, out)
		b.unsubscribe(x)
	}
	x.stream = in.Stream
	b.streams[in.Stream] = in.ExecutorRef
	if x.cause != NotEnding {
		b.post(in.Stream, ShutdownEvent{}, out)
		return
	}
	b.clearAlarm(x)
	b.change(x, func(v *ExecutorView) { v.State = ExecutorRunning })
	b.post(in.Stream, ExecutorSubscribed{x.view, b.frameworks[in.Framework]}, out)
	out.Tell = append(out.Tell, Fact{Kind: FactExecutorSubscribed, Framework: in.Framework, Executor: in.Executor, Container: x.view.Container})
	for _, s := range in.Updates {
		b.executorUpdate(x, s, true, out)
	}
	for _, was := range b.tasksIn(x) {
		v, state := b.find(was.ref())
		switch {
		case v.Ended || was.Queued && !v.Queued: // it came with another of its group
		case v.Queued:
			b.deliver(slices.DeleteFunc(b.sameGroup(x, v.Task), func(o *TaskView) bool { return o.Ended }), x, out)
		case v.State == mesosv1.TaskState_TASK_STAGING && !slices.Contains(in.Tasks, v.Task.ID):
			b.end(v, b.dropped(in.Framework), mesosv1.TaskStatus_REASON_AGENT_RESTARTED,
				"The agent was restarted before the task came to its executor.", out)
			b.resize(x, out)
		case state.cause != NotKilled:
			b.post(x.stream, KillEvent{v.Task.ID, state.grace}, out)
		}
	}
}

// unsubscribe forgets an executor's stream.
func (b *Book) unsubscribe(x *executor) {
	delete(b.streams, x.stream)
	x.stream = 0
}

// executorClosed notes that an executor's connection is gone. It may come back; when its process ends, that is told.
func (b *Book) executorClosed(in *ExecutorClosed, out *Out) {
	ref, ok := b.streams[in.Stream]
	if !ok {
		return // it was replaced
	}
	b.unsubscribe(b.executors[ref])
	out.Tell = append(out.Tell, Fact{Kind: FactExecutorDisconnected, Framework: ref.Framework, Executor: ref.Executor})
}

// deliver gives a task to its executor, or a group, once all its volumes are there.
func (b *Book) deliver(views []*TaskView, x *executor, out *Out) {
	wait := false
	for _, v := range views {
		wait = b.placing(v, out) || wait
	}
	if wait {
		return
	}
	var tasks []*Task
	for _, v := range views {
		ref := v.ref()
		n := *v
		n.Queued, n.PID = false, x.view.PID
		b.tasks.Set(&n)
		tasks = append(tasks, v.Task)
		out.Save = append(out.Save, Record{Delivered: &ref})
		out.Tell = append(out.Tell, Fact{Kind: FactTaskDelivered, Framework: ref.Framework, Task: ref.Task, Executor: x.view.Spec.ID})
	}
	x.sent = true
	f := b.frameworks[x.view.Spec.Framework]
	if tasks[0].Group != 0 {
		b.post(x.stream, LaunchGroupEvent{tasks, f}, out)
		return
	}
	b.post(x.stream, LaunchEvent{tasks[0], f}, out)
}

// updateFrom takes an update of an executor.
func (b *Book) updateFrom(in *ExecutorUpdate, out *Out) {
	x := b.executors[in.ExecutorRef]
	if x == nil || x.view.Spec.Default {
		b.dropUpdate(in.ExecutorRef, in.Status, "its executor has ended", out)
		return
	}
	b.executorUpdate(x, in.Status, false, out)
}

func (b *Book) dropUpdate(ref ExecutorRef, s *mesos.Status, why string, out *Out) {
	out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: ref.Framework, Executor: ref.Executor, Task: s.TaskID, Text: "an update: " + why})
}

// executorUpdate books an update of an executor, and acknowledges it: both come after the journal has it. An update that
// comes again is acknowledged again. again says that the executor subscribes and has had no acknowledgement.
func (b *Book) executorUpdate(x *executor, s *mesos.Status, again bool, out *Out) {
	ref := x.view.ref()
	acknowledge := func() {
		if x.stream != 0 {
			b.post(x.stream, AcknowledgedEvent{s.TaskID, s.UUID}, out)
		}
	}
	v, state := b.find(Ref{ref.Framework, s.TaskID})
	switch {
	case v == nil || v.Task.Executor == nil || v.Task.Executor.ID != ref.Executor || v.Queued:
		if again { // its end was told and is forgotten, and nobody waits for this
			acknowledge()
		}
		b.dropUpdate(ref, s, "its executor does not have the task", out)
		return
	case v.Ended || knows(v, state, s.UUID):
		acknowledge()
		return
	case state.silent:
		acknowledge()
		if Terminal(s.State) {
			b.finish(v, s, out)
		}
		return
	case len(state.owed) >= maxOwed && !Terminal(s.State):
		b.dropUpdate(ref, s, "too many of the task wait for its scheduler", out)
		return
	}
	n := *s
	n.Rest = b.stamp(x, s.Rest)
	v = b.updated(v, &n, out)
	acknowledge()
	if v.Ended {
		b.resize(x, out)
	}
}

// knows says whether an update was taken before.
func knows(v *TaskView, state *taskState, uuid string) bool {
	same := func(s *mesos.Status) bool { return s.UUID == uuid }
	return slices.ContainsFunc(state.owed, same) || slices.ContainsFunc(v.Statuses, same)
}

// stamp adds what the agent knows of an executor's container to what its status says.
func (b *Book) stamp(x *executor, rest []byte) []byte {
	var s mesosv1.TaskStatus
	if (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(rest, &s) != nil {
		return rest // it was read when it came
	}
	if s.ContainerStatus == nil {
		s.ContainerStatus = &mesosv1.ContainerStatus{}
	}
	c := s.ContainerStatus
	if c.ContainerId == nil {
		c.ContainerId = &mesosv1.ContainerID{Value: new(x.view.Container)}
	}
	if c.ExecutorPid == nil && x.view.PID != 0 {
		c.ExecutorPid = new(x.view.PID)
	}
	if len(c.GetNetworkInfos()) == 0 {
		c.NetworkInfos = b.networksOf(x.view.Container)
	}
	return encodeRest(&s)
}

// killIn ends a task by way of its executor. One that has not come to it ends here.
func (b *Book) killIn(v *TaskView, state *taskState, grace time.Duration, cause KillCause, out *Out) {
	ref := v.ref()
	if state.cause == NotKilled || grace >= 0 && (state.grace < 0 || grace < state.grace) {
		if state.cause == NotKilled {
			state.cause = cause
		}
		state.grace = grace
		out.Save = append(out.Save, Record{Kill: &KillRecord{ref, grace, state.cause}})
	}
	out.Tell = append(out.Tell, Fact{Kind: FactTaskKill, Framework: ref.Framework, Task: ref.Task, Container: v.Container})
	x := b.executorOf(v.Task)
	switch {
	case x == nil:
	case v.Queued:
		for _, o := range b.sameGroup(x, v.Task) {
			if !o.Ended {
				b.end(o, mesosv1.TaskState_TASK_KILLED, mesosv1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH, "The task was killed before it came to its executor.", out)
			}
		}
		b.resize(x, out)
		if !x.sent && b.idle(x) {
			b.shutdown(x, EndIdle, out)
		}
	case x.stream != 0:
		b.post(x.stream, KillEvent{ref.Task, grace}, out)
	}
}

// idle says whether all tasks of an executor have ended.
func (b *Book) idle(x *executor) bool {
	return !slices.ContainsFunc(b.tasksIn(x), func(v *TaskView) bool { return !v.Ended })
}

// toExecutor passes a scheduler's bytes on, if the executor is there to hear them.
func (b *Book) toExecutor(in *SchedulerMessage, out *Out) {
	x := b.executors[in.ExecutorRef]
	if x == nil || x.stream == 0 {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: in.Framework, Executor: in.Executor, Text: "a message to an executor that is not connected"})
		return
	}
	b.post(x.stream, MessageEvent{in.Data}, out)
}

// fromExecutor passes an executor's bytes on, if there is a master to hear them.
func (b *Book) fromExecutor(in *ExecutorMessage, out *Out) {
	if b.executors[in.ExecutorRef] == nil || !b.registered {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: in.Framework, Executor: in.Executor, Text: "a message of an executor without a master"})
		return
	}
	out.Send = append(out.Send, Msg{Link: b.linkID, Message: &Message{in.ExecutorRef, in.Data}})
}
