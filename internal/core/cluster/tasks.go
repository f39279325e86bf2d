package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
)

const (
	taskKilled             = mesosv1.TaskState_TASK_KILLED
	reasonFrameworkRemoved = mesosv1.TaskStatus_REASON_FRAMEWORK_REMOVED
	reconciliation         = mesosv1.TaskStatus_REASON_RECONCILIATION
)

// Terminal says whether a task in this state has ended. UNREACHABLE has not, and UNKNOWN says nothing.
func Terminal(s mesosv1.TaskState) bool {
	switch s {
	case mesosv1.TaskState_TASK_FINISHED, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskState_TASK_KILLED,
		mesosv1.TaskState_TASK_ERROR, mesosv1.TaskState_TASK_LOST, mesosv1.TaskState_TASK_DROPPED,
		mesosv1.TaskState_TASK_GONE, mesosv1.TaskState_TASK_GONE_BY_OPERATOR:
		return true
	default:
		return false
	}
}

// agentUpdate takes a reliable update in and passes it on. The agent keeps it until it is acknowledged.
func (b *Book) agentUpdate(in *AgentUpdate, out *Out) {
	state := b.conns[in.Conn]
	if state == nil {
		return
	}
	s := in.Status
	dropped := func(r Reason) {
		out.Tell = append(out.Tell, Fact{Kind: FactUpdateDropped, Agent: state.id, Framework: in.Framework, Task: s.TaskID, Reason: r})
	}
	if s.AgentID != state.id || s.UUID == "" { // schedulers tell by these who speaks
		dropped(UpdateMisaddressed)
		return
	}
	t := b.tasks.Get(FrameworkTask{in.Framework, s.TaskID})
	if t != nil && t.Agent != state.id {
		t = nil // another one of its name
	}
	if !expected(t) && !b.mayTalk(state, 1) {
		dropped(UpdatesTooMany)
		return
	}
	f := b.frameworks.Get(in.Framework)
	if f == nil {
		dropped(FrameworkUnknown)
		out.Send = append(out.Send, Msg{Conn: in.Conn, Body: ShutdownFramework{in.Framework}})
		return
	}
	if t != nil && past(t, in.Launch) {
		out.Send = append(out.Send, Msg{Conn: in.Conn, Body: Ack{in.Framework, s.TaskID, s.UUID}})
		return
	}
	if t != nil {
		n := *t
		n.State, n.UpdateState, n.UpdateUUID = in.Latest, s.State, s.UUID
		if s.UUID != t.UpdateUUID {
			n.Statuses = pushStatus(t.Statuses, s)
		}
		if Terminal(in.Latest) && !t.Released {
			b.release(t)
			n.Released, n.KillGrace = true, nil
		}
		b.tasks.Set(&n)
		if s.UUID != t.UpdateUUID || n.State != t.State {
			out.Tell = append(out.Tell, Fact{Kind: FactTaskState, Agent: state.id, Framework: in.Framework, Task: s.TaskID, State: n.State, Was: t.State, Status: s, FrameworkIs: f, TaskIs: &n})
		}
	} else if Terminal(in.Latest) {
		b.dropTwin(state, FrameworkTask{in.Framework, s.TaskID})
	}
	b.tell(in.Framework, s, out)
}

// agentState notes what a task has come to while its update waits behind another. What an ended task held is free from now
// on; its scheduler hears of it when it has acknowledged what is before.
func (b *Book) agentState(in *AgentState, out *Out) {
	state := b.conns[in.Conn]
	t := b.tasks.Get(FrameworkTask{in.Framework, in.Task})
	if state == nil || t == nil || t.Agent != state.id || t.Unreachable || past(t, in.Launch) || Terminal(t.State) {
		return
	}
	n := *t
	n.State = in.State
	if Terminal(in.State) && !t.Released {
		b.release(t)
		n.Released, n.KillGrace = true, nil
	}
	b.tasks.Set(&n)
	out.Tell = append(out.Tell, Fact{
		Kind: FactTaskState, Agent: state.id, Framework: in.Framework, Task: in.Task, State: in.State, Was: t.State,
		FrameworkIs: b.frameworks.Get(in.Framework), TaskIs: &n,
	})
}

// past says whether a launch of this number was over before the task was launched on the same agent. Its id was free by
// then, so its last update is acknowledged, and the agent has not heard of that.
func past(t *Task, launch uint64) bool { return launch != 0 && t.launch != 0 && t.launch != launch }

// acknowledge passes an acknowledgement on, and completes a task whose end was acknowledged.
func (b *Book) acknowledge(in *Acknowledge, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil {
		return
	}
	state := b.states[in.Agent]
	if state == nil || state.conn == 0 {
		b.dropCall(in.Framework, AgentAway, out)
		return
	}
	t := b.tasks.Get(FrameworkTask{in.Framework, in.Task})
	switch {
	case t == nil || t.Agent != in.Agent:
		b.dropCall(in.Framework, TaskUnknown, out)
		// The agent may still hold an update of a task that this master never knew, or knows by another one of its name.
		out.Send = append(out.Send, Msg{Conn: state.conn, Body: Ack{in.Framework, in.Task, in.UUID}})
		return
	case t.UpdateUUID != in.UUID:
		b.dropCall(in.Framework, AcknowledgementStale, out)
		return
	}
	out.Send = append(out.Send, Msg{Conn: state.conn, Body: Ack{in.Framework, in.Task, in.UUID}})
	out.Tell = append(out.Tell, Fact{Kind: FactTaskAcknowledged, Agent: in.Agent, Framework: in.Framework, Task: in.Task, State: t.UpdateState})
	if Terminal(t.UpdateState) {
		b.complete(t)
		return
	}
	n := *t
	n.UpdateUUID = ""
	b.tasks.Set(&n)
}

// kill passes a kill on and remembers it until the agent tells the task's end.
func (b *Book) kill(in *Kill, out *Out) {
	answer := func(k AnswerKind, words string) {
		if in.Call != 0 {
			out.Send = append(out.Send, Msg{Call: in.Call, Body: Answer{k, words}})
		}
	}
	f := b.frameworks.Get(in.Framework)
	if in.Call == 0 {
		f = b.mine(in.Stream, in.Framework, out)
	}
	if f == nil {
		answer(Missing, fmt.Sprintf("no framework has the id %q", in.Framework))
		return
	}
	t := b.tasks.Get(FrameworkTask{in.Framework, in.Task})
	switch {
	case t == nil || t.Unreachable:
		answer(Missing, fmt.Sprintf("framework %s has no running task %q", in.Framework, in.Task))
		if in.Call == 0 {
			b.reconcileOne(f, TaskRef{in.Task, in.Agent}, out)
		}
		return
	case in.Agent != "" && in.Agent != t.Agent:
		b.dropCall(in.Framework, TaskMismatch, out)
		return
	case t.Released:
		answer(Done, "")
		return
	}
	grace := in.Grace
	if t.KillGrace != nil && *t.KillGrace >= 0 && (grace < 0 || *t.KillGrace < grace) {
		grace = *t.KillGrace // a later kill may only shorten the grace
	}
	n := *t
	n.KillGrace = &grace
	b.tasks.Set(&n)
	out.Tell = append(out.Tell, Fact{Kind: FactTaskKill, Agent: t.Agent, Framework: in.Framework, Task: in.Task})
	if s := b.states[t.Agent]; s != nil && s.conn != 0 {
		out.Send = append(out.Send, Msg{Conn: s.conn, Body: KillTask{in.Framework, in.Task, int64(grace)}})
	}
	answer(Done, "")
}

// reconcile answers what the book knows of tasks.
func (b *Book) reconcile(in *Reconcile, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil {
		return
	}
	if len(in.Tasks) > 0 {
		for _, r := range in.Tasks {
			b.reconcileOne(f, r, out)
		}
		return
	}
	tasksOf(b.tasks.Ordered(), in.Framework, func(t *Task) bool {
		if !t.Unreachable {
			b.tell(in.Framework, b.statusOf(t, reconciliation, "Reconciliation: the latest state of the task."), out)
		}
		return true
	})
}

// reconcileOne answers for one task; nothing while its agent may still come back after an election.
func (b *Book) reconcileOne(f *Framework, r TaskRef, out *Out) {
	if t := b.tasks.Get(FrameworkTask{f.Spec.ID, r.Task}); t != nil && !t.Unreachable {
		b.tell(f.Spec.ID, b.statusOf(t, reconciliation, "Reconciliation: the latest state of the task."), out)
		return
	}
	a := b.agents.Get(r.Agent)
	if (a != nil && a.Recovered) || (r.Agent == "" && b.recoveredCount > 0) {
		return
	}
	state, words := mesosv1.TaskState_TASK_UNKNOWN, "Reconciliation: neither the task nor its agent is known."
	var since int64
	switch {
	case a == nil:
	case a.Mark == Unreachable:
		state, words, since = mesosv1.TaskState_TASK_UNREACHABLE, "Reconciliation: the agent is unreachable.", a.Since
	case a.Mark == Gone:
		state, words = mesosv1.TaskState_TASK_GONE_BY_OPERATOR, "Reconciliation: the agent was marked gone."
	default:
		state, words = mesosv1.TaskState_TASK_GONE, "Reconciliation: the agent does not know the task."
	}
	s := b.status(r.Task, r.Agent, b.aware(f, state), reconciliation, words)
	s.UnreachableTime = since
	b.tell(f.Spec.ID, s, out)
}

// message passes bytes to an executor, best effort.
func (b *Book) message(in *Message, out *Out) {
	if f := b.mine(in.Stream, in.Framework, out); f == nil {
		return
	}
	s := b.states[in.Agent]
	if s == nil || s.conn == 0 {
		b.dropCall(in.Framework, AgentAway, out)
		return
	}
	out.Send = append(out.Send, Msg{Conn: s.conn, Body: SchedulerMessage{in.Framework, in.Executor, in.Data}})
}

// agentMessage passes bytes to a scheduler, best effort.
func (b *Book) agentMessage(in *AgentMessage, out *Out) {
	s := b.conns[in.Conn]
	f := b.frameworks.Get(in.Framework)
	if s == nil || f == nil || !f.Connected {
		b.dropCall(in.Framework, FrameworkUnknown, out)
		return
	}
	if !b.mayTalk(s, 1+len(in.Data)/messageCost) {
		out.Tell = append(out.Tell, Fact{Kind: FactUpdateDropped, Agent: s.id, Framework: in.Framework, Reason: UpdatesTooMany})
		return
	}
	out.Send = append(out.Send, Msg{Stream: f.Stream, Body: ExecutorMessage{s.id, in.Executor, in.Data}})
}

// release gives a task's resources back, once.
func (b *Book) release(t *Task) {
	if t.Released {
		return
	}
	b.alloc.Release(t.Agent, t.Framework, t.Role, t.Spec.Resources, 0)
	b.soon(b.cfg.Gather)
}

// complete moves a task to the past, of which so much is kept for each framework.
func (b *Book) complete(t *Task) {
	b.release(t)
	b.tasks.Remove(t)
	if s := b.states[t.Agent]; s != nil {
		delete(s.tasks, FrameworkTask{t.Framework, t.Spec.ID})
	}
	n := *t
	n.Released, n.UpdateUUID, n.Spec = true, "", t.Spec.past()
	n.seq = b.nextDone
	b.nextDone++
	b.done.Set(&n)
	if x := b.extras[t.Framework]; x != nil {
		x.completed++
		if x.completed > b.cfg.MaxCompletedTasks {
			b.forgetDone(t.Framework, b.cfg.MaxCompletedTasks)
		}
	}
}

// forgetDone drops a framework's oldest completed tasks until keep are left.
func (b *Book) forgetDone(framework string, keep int) {
	x := b.extras[framework]
	if x == nil {
		return
	}
	var old []*Task
	b.done.Ascend(&Task{Framework: framework, Spec: noTask}, func(t *Task) bool {
		if t.Framework != framework || len(old) >= x.completed-keep {
			return false
		}
		old = append(old, t)
		return true
	})
	for _, t := range old {
		b.done.Delete(t)
	}
	x.completed -= len(old)
}

// tell sends a status to a framework that is there to hear it.
func (b *Book) tell(framework string, s *mesos.Status, out *Out) {
	if f := b.frameworks.Get(framework); f != nil && f.Connected {
		out.Send = append(out.Send, Msg{Stream: f.Stream, Body: Update{s}})
	}
}

// aware is the state as a framework may be told it: those that know nothing of partitions hear TASK_LOST.
func (b *Book) aware(f *Framework, s mesosv1.TaskState) mesosv1.TaskState {
	if f != nil && f.Spec.Caps.PartitionAware {
		return s
	}
	return mesosv1.TaskState_TASK_LOST
}

// status makes an update of the master's own; it has no uuid and wants no acknowledgement.
func (b *Book) status(task, agent string, state mesosv1.TaskState, reason mesosv1.TaskStatus_Reason, words string) *mesos.Status {
	return &mesos.Status{
		TaskID: task, AgentID: agent, State: state, Source: mesosv1.TaskStatus_SOURCE_MASTER, HasReason: true, Reason: reason,
		Message: words, Timestamp: b.now.Seconds(), Healthy: -1,
	}
}

// statusOf repeats what was told last of a task, with what its last status said of container and health.
func (b *Book) statusOf(t *Task, reason mesosv1.TaskStatus_Reason, words string) *mesos.Status {
	s := b.status(t.Spec.ID, t.Agent, t.UpdateState, reason, words)
	if n := len(t.Statuses); n > 0 {
		last := t.Statuses[n-1]
		s.Rest, s.Healthy = last.Rest, last.Healthy
	}
	return s
}

// pushStatus adds a change of state to a history. Updates of one state replace each other; data is not kept, nor is what is
// unusually long, or more than the last changes.
func pushStatus(list []*mesos.Status, s *mesos.Status) []*mesos.Status {
	bare := s.WithoutData()
	if len(bare.Message) > keptWords {
		bare.Message = strings.Clone(strings.ToValidUTF8(bare.Message[:keptWords], ""))
	}
	if len(bare.Rest) > keptRest {
		bare.Rest = nil
	}
	if len(list) >= keptChanges {
		list = list[1:]
	}
	if n := len(list); n > 0 && list[n-1].State == s.State {
		out := slices.Clone(list)
		out[n-1] = &bare
		return out
	}
	out := make([]*mesos.Status, len(list), len(list)+1)
	copy(out, list)
	return append(out, &bare)
}
