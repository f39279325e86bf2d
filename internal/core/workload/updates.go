package workload

import (
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
)

// update books a status as owed, and sends it when it is the first in line.
func (b *Book) update(v *TaskView, s *mesos.Status, out *Out) {
	ref := v.ref()
	state := b.states[ref]
	if state.silent {
		if Terminal(s.State) { // what is shown of it when it is forgotten, which is next
			n := *v
			n.State = s.State
			b.tasks.Set(&n)
		}
		return
	}
	if s.UUID == "" { // an executor's has its own
		s.UUID = b.uuid()
	}
	s.TaskID, s.ExecutorID, s.AgentID = ref.Task, ref.Task, b.identity.Agent
	if x := v.Task.Executor; x != nil {
		s.ExecutorID = x.ID
	}
	if s.Timestamp == 0 {
		s.Timestamp = b.now.Seconds()
	}
	out.Save = append(out.Save, Record{Status: &StatusRecord{ref, s}})
	executor := ""
	if x := v.Task.Executor; x != nil {
		executor = x.ID
	}
	out.Tell = append(out.Tell, Fact{Kind: FactTaskState, Framework: ref.Framework, Task: ref.Task, Executor: executor, State: s.State, Status: s, Container: v.Container, Launch: v.Task.Launch})
	first := len(state.owed) == 0
	v = b.note(v, state, s)
	if first {
		b.sendFirst(v, state, out)
		return
	}
	b.sendState(v, out)
}

// sendState tells the master a newer state of a task than its outstanding update says, so that what an ended task held is
// free although nobody acknowledges. An update that goes out with this very step says it along.
func (b *Book) sendState(v *TaskView, out *Out) {
	if !b.registered {
		return
	}
	for i := range out.Send {
		if u := out.Send[i].Update; u != nil && u.Framework == v.Task.Framework && u.Status.TaskID == v.Task.ID && u.Launch == v.Task.Launch {
			u.Latest = v.State
			return
		}
	}
	out.Send = append(out.Send, Msg{Link: b.linkID, State: &State{v.ref(), v.State, v.Task.Launch}})
}

// note puts a status into the stream of a task and its history.
func (b *Book) note(v *TaskView, state *taskState, s *mesos.Status) *TaskView {
	state.owed = append(state.owed, s)
	n := *v
	n.State = s.State
	n.Ended = n.Ended || Terminal(s.State)
	bare := s.WithoutData()
	if k := len(n.Statuses); k > 0 && n.Statuses[k-1].State == s.State {
		n.Statuses = slices.Clone(n.Statuses)
		n.Statuses[k-1] = &bare
	} else {
		n.Statuses = append(slices.Clip(n.Statuses), &bare)
	}
	if len(state.owed) == 1 {
		n.UpdateState, n.UpdateUUID = s.State, s.UUID
	}
	b.tasks.Set(&n)
	return &n
}

// retarget makes the first owed update the outstanding one.
func (b *Book) retarget(v *TaskView, state *taskState) *TaskView {
	n := *v
	n.UpdateUUID = ""
	if len(state.owed) > 0 {
		n.UpdateState, n.UpdateUUID = state.owed[0].State, state.owed[0].UUID
	}
	b.tasks.Set(&n)
	return &n
}

// sendFirst sends the outstanding update, if there is one and a master to hear it, and sets its first retry.
func (b *Book) sendFirst(v *TaskView, state *taskState, out *Out) {
	if !b.registered || len(state.owed) == 0 {
		return
	}
	out.Send = append(out.Send, Msg{Link: b.linkID, Update: &Update{v.Task.Framework, state.owed[0], v.State, v.Task.Launch}})
	state.wait = b.cfg.RetryMin
	b.setRetry(v.ref(), state)
}

// ack ends the outstanding update; an acknowledgement of any other is stale. With the last one the task is gone.
func (b *Book) ack(in *Ack, out *Out) {
	v, state := b.find(in.Ref)
	if v == nil || len(state.owed) == 0 || state.owed[0].UUID != in.UUID {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: in.Framework, Task: in.Task, Text: "an acknowledgement of no outstanding update"})
		return
	}
	ended := Terminal(state.owed[0].State)
	out.Tell = append(out.Tell, Fact{Kind: FactTaskAcked, Framework: in.Framework, Task: in.Task, State: state.owed[0].State})
	b.clearRetry(in.Ref, state)
	if ended {
		b.forget(in.Ref, out)
		return
	}
	out.Save = append(out.Save, Record{Acked: &AckedRecord{in.Ref, in.UUID}})
	state.owed = state.owed[1:]
	v = b.retarget(v, state)
	b.sendFirst(v, state, out)
}

// resend sends a framework's outstanding updates at once, and the ends of operations that it has not acknowledged.
func (b *Book) resend(framework string, out *Out) {
	b.tasks.Ascend(&TaskView{Task: &Task{Framework: framework}}, func(v *TaskView) bool {
		if v.Task.Framework != framework {
			return false
		}
		b.sendFirst(v, b.states[v.ref()], out)
		return true
	})
	b.resendOperations(framework, out)
}

// retryDue sends again what was not acknowledged in time, and waits twice as long for the next try.
func (b *Book) retryDue(out *Out) {
	for b.registered && len(b.retries) > 0 && b.retries[0].at <= b.now.Mono {
		ref := b.retries[0].ref
		v, state := b.find(ref)
		b.clearRetry(ref, state)
		out.Send = append(out.Send, Msg{Link: b.linkID, Update: &Update{ref.Framework, state.owed[0], v.State, v.Task.Launch}})
		state.wait = min(state.wait*2, b.cfg.RetryMax)
		b.setRetry(ref, state)
	}
}

func (b *Book) setRetry(ref Ref, state *taskState) {
	b.clearRetry(ref, state)
	state.retry = b.now.Mono + state.wait
	i, _ := slices.BinarySearchFunc(b.retries, state.retry, func(r retry, at time.Duration) int {
		if r.at <= at {
			return -1
		}
		return 1
	})
	b.retries = slices.Insert(b.retries, i, retry{state.retry, ref})
}

func (b *Book) clearRetry(ref Ref, state *taskState) {
	if state.retry == 0 {
		return
	}
	i, _ := slices.BinarySearchFunc(b.retries, state.retry, func(r retry, at time.Duration) int { return int(r.at - at) })
	for ; i < len(b.retries) && b.retries[i].at == state.retry; i++ {
		if b.retries[i].ref == ref {
			b.retries = slices.Delete(b.retries, i, i+1)
			break
		}
	}
	state.retry = 0
}

// uuid makes a random one, version 4, as 16 bytes.
func (b *Book) uuid() string {
	var u [16]byte
	for i := 0; i < 16; i += 8 {
		x := b.rng.Uint64()
		for k := range 8 {
			u[i+k] = byte(x >> (8 * k))
		}
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return string(u[:])
}

// Terminal says whether a task in this state has ended.
func Terminal(s mesosv1.TaskState) bool {
	switch s {
	case mesosv1.TaskState_TASK_FINISHED, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskState_TASK_KILLED,
		mesosv1.TaskState_TASK_ERROR, mesosv1.TaskState_TASK_LOST, mesosv1.TaskState_TASK_DROPPED, mesosv1.TaskState_TASK_GONE:
		return true
	default:
		return false
	}
}
