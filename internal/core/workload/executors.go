package workload

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
)

// executor is what the book knows of an executor of a framework's own beside what it shows. Its tasks are below it: they
// share its container, and end with it.
type executor struct {
	view  *ExecutorView
	tasks map[string]struct{} // that are not forgotten
	// stream is its subscription; 0 while it has none.
	stream uint64
	cause  EndCause
	sent   bool          // a task was given to it
	back   bool          // it ran before this process did, so that it is to subscribe again
	alarm  time.Duration // Mono time when it has waited or was waited for too long; zero when nothing is due
	early  *Exit         // an end that was told before the launch was
	over   bool          // it has ended, and what is left of its tasks is being ended
}

type alarm struct {
	at  time.Duration
	ref ExecutorRef
}

func lessExecutor(a, b *ExecutorView) bool {
	return cmp.Or(strings.Compare(a.Spec.Framework, b.Spec.Framework), strings.Compare(a.Spec.ID, b.Spec.ID)) < 0
}

func (v *ExecutorView) ref() ExecutorRef { return ExecutorRef{v.Spec.Framework, v.Spec.ID} }

// stepExecutor takes an input that is about executors.
func (b *Book) stepExecutor(in In, out *Out) {
	switch in := in.(type) {
	case *ShutdownExecutor:
		b.shutdownExecutor(in, out)
	case *SchedulerMessage:
		b.toExecutor(in, out)
	case *ExecutorSubscribe:
		b.subscribe(in, out)
	case *ExecutorClosed:
		b.executorClosed(in, out)
	case *ExecutorUpdate:
		b.updateFrom(in, out)
	case *ExecutorMessage:
		b.fromExecutor(in, out)
	default:
		panic(fmt.Sprintf("workload: an input of type %T", in))
	}
}

// admitExecutor books an executor as accepted.
func (b *Book) admitExecutor(a *ExecutorAccepted) *executor {
	x := &executor{view: &ExecutorView{Spec: a.Executor, Container: a.Container}, tasks: map[string]struct{}{}}
	b.executors[x.view.ref()] = x
	b.boxes[a.Container] = x.view.ref()
	b.shown.Set(x.view)
	return x
}

// change replaces what is shown of an executor.
func (b *Book) change(x *executor, how func(*ExecutorView)) {
	n := *x.view
	how(&n)
	x.view = &n
	b.shown.Set(&n)
}

// executorOf finds the executor of a task; nil for a command task, and when it has ended.
func (b *Book) executorOf(t *Task) *executor {
	if t.Executor == nil {
		return nil
	}
	return b.executors[ExecutorRef{t.Framework, t.Executor.ID}]
}

// tasksIn lists the tasks of an executor in the order in which the master launched them.
func (b *Book) tasksIn(x *executor) []*TaskView {
	var all []*TaskView
	for _, id := range slices.Sorted(maps.Keys(x.tasks)) { // order: sorted
		if v, _ := b.find(Ref{x.view.Spec.Framework, id}); v != nil {
			all = append(all, v)
		}
	}
	slices.SortStableFunc(all, func(p, q *TaskView) int { return cmp.Compare(p.Task.Launch, q.Task.Launch) })
	return all
}

// runIn takes a task on that is for an executor of its framework's own, and starts that if the task brings it into being.
func (b *Book) runIn(in *Run, out *Out) {
	t := in.Task
	ref := ExecutorRef{t.Framework, t.Executor.ID}
	x := b.executors[ref]
	refuse := func(s mesosv1.TaskState, r mesosv1.TaskStatus_Reason, words string) {
		b.refuse(t, s, r, words, out)
		if x == nil && in.StartsExecutor { // the master counts it as there
			b.tellExecutorEnd(ref, unknownStatus, out)
		}
	}
	switch {
	case t.Refused != "":
		refuse(mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, t.Refused)
		return
	case x == nil && !in.StartsExecutor || x != nil && x.cause != NotEnding:
		refuse(b.dropped(t.Framework), mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED,
			fmt.Sprintf("The executor %q has ended or is ending; launch the task with a new one.", t.Executor.ID))
		return
	case x == nil:
		a := &ExecutorAccepted{Executor: t.Executor, Container: b.containerID()}
		out.Save = append(out.Save, Record{ExecutorAccepted: a})
		x = b.admitExecutor(a)
		out.Tell = append(out.Tell, Fact{Kind: FactExecutorAccepted, Framework: t.Framework, Executor: ref.Executor, Container: a.Container})
		out.Do = append(out.Do, Work{Launch: &LaunchWork{Executor: x.view.Spec, Task: t, Container: a.Container, Framework: in.Framework}})
	}
	a := &Accepted{Task: t, Container: x.view.Container}
	out.Save = append(out.Save, Record{Accepted: a})
	v := b.admit(a)
	out.Tell = append(out.Tell, Fact{Kind: FactTaskAccepted, Framework: t.Framework, Task: t.ID, Executor: ref.Executor, Container: a.Container})
	b.resize(x, out)
	if x.stream != 0 {
		b.deliver([]*TaskView{v}, x, out)
	}
}

// resize asks for the limits of an executor's container to be what it and its tasks have together.
func (b *Book) resize(x *executor, out *Out) {
	if x.view.PID == 0 || x.cause != NotEnding {
		return // its launch asks for it, or nothing more is to come
	}
	out.Do = append(out.Do, Work{Resize: &ResizeWork{x.view.Container, b.needs(x)}})
}

// needs are the executor's parts and those of its tasks that have not ended.
func (b *Book) needs(x *executor) []Need {
	all := []Need{{x.view.Spec.Resources, nil}}
	for _, v := range b.tasksIn(x) {
		if !v.Ended {
			all = append(all, Need{v.Task.Resources, v.Task})
		}
	}
	return all
}

// diskOf is what an executor and its tasks have of disk, beside their volumes, in megabytes.
func (b *Book) diskOf(x *executor) (megabytes float64) {
	for _, n := range b.needs(x) {
		megabytes += n.Resources.Scratch().Float()
	}
	return megabytes
}

// executorStarted books an executor's process; from now on it has so long to subscribe.
func (b *Book) executorStarted(x *executor, pid uint32, ticks uint64, out *Out) {
	b.change(x, func(v *ExecutorView) { v.PID, v.Ticks, v.Started = pid, ticks, b.now.Wall })
	ref := x.view.ref()
	out.Save = append(out.Save, Record{ExecutorContainer: &ExecutorContainer{ref, pid, ticks, b.now.Wall}})
	out.Tell = append(out.Tell, Fact{Kind: FactExecutorStarted, Framework: ref.Framework, Executor: ref.Executor, Container: x.view.Container, PID: pid})
	if x.view.Spec.Default {
		b.poolStarted(x, out)
		return
	}
	b.follow(x)
	switch {
	case x.cause != NotEnding:
		b.terminate(x, out)
	case x.stream == 0:
		b.setAlarm(x, b.cfg.RegistrationTimeout)
	}
	b.resize(x, out)
}

// executorLaunched takes the end of an executor's launch.
func (b *Book) executorLaunched(x *executor, in *Launched, out *Out) {
	if x.view.PID != 0 {
		return
	}
	failed := func(s mesosv1.TaskState, r mesosv1.TaskStatus_Reason, words string) {
		b.executorEnded(x, unknownStatus, ending{s, r, words, nil}, out)
	}
	switch in.Failure {
	case LaunchOK:
		b.executorStarted(x, in.PID, in.Ticks, out)
		if x.early != nil {
			b.executorExited(x, *x.early, out)
		}
	case UserUnknown:
		failed(b.dropped(x.view.Spec.Framework), mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED, in.Words)
	case LaunchCanceled:
		failed(mesosv1.TaskState_TASK_KILLED, mesosv1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH, "The executor was ended before it started.")
	case ExecFailed:
		failed(mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED, "The executor cannot be executed: "+in.Words)
	default:
		failed(mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, in.Words)
	}
}

// unknownStatus stands for a wait status that nobody knows.
const unknownStatus = -1

// ending is what becomes of an executor's tasks that had not ended before it.
type ending struct {
	state  mesosv1.TaskState
	reason mesosv1.TaskStatus_Reason
	words  string
	rest   []byte
}

// executorExited takes the end of an executor's process.
func (b *Book) executorExited(x *executor, e Exit, out *Out) {
	if x.view.PID == 0 {
		x.early = &e // its Launched is under way
		return
	}
	how := ending{state: mesosv1.TaskState_TASK_FAILED, reason: mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED}
	status := int32(unknownStatus)
	if e.Known {
		status = int32(e.Status)
	}
	if e.Known && !e.Orphaned {
		words, _ := exitWords(e.Status)
		how.words = "The executor ended before the task: " + strings.Replace(words, "Command", "its command", 1) + "."
	} else {
		how.words = "The process that watched over the executor died and the executor was ended with it."
	}
	switch {
	case x.cause == EndUnregistered:
		how.reason = mesosv1.TaskStatus_REASON_EXECUTOR_REGISTRATION_TIMEOUT
		how.words = fmt.Sprintf("The executor did not subscribe within %s of its start and was ended; see its stderr.", b.cfg.RegistrationTimeout)
	case x.cause == EndNotBack:
		how.reason = mesosv1.TaskStatus_REASON_EXECUTOR_REREGISTRATION_TIMEOUT
		how.words = fmt.Sprintf("The executor did not subscribe again within %s of its agent's restart and was ended.", b.cfg.ReregisterTimeout)
	case x.cause == EndDisk:
		how.reason, how.words = mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK, diskWords("executor and its tasks")
		how.rest = limitation("disk", b.diskOf(x))
	case e.OOM && x.cause == NotEnding:
		how.reason = mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY
		how.words, how.rest = memoryWords("executor and its tasks", e.Limit)
	}
	b.executorEnded(x, status, how, out)
}

// executorEnded ends the tasks that an executor leaves behind, tells its master, and forgets it.
func (b *Book) executorEnded(x *executor, status int32, how ending, out *Out) {
	b.clearAlarm(x)
	x.over = true
	ref := x.view.ref()
	for _, v := range b.tasksIn(x) {
		if v.Ended {
			continue
		}
		if v.Task.pooled() && v.PID == 0 {
			out.Do = append(out.Do, Work{Cancel: v.Container})
		}
		s := b.statusBare(how.state, how.reason, how.words)
		s.Rest = how.rest
		b.finish(v, s, out)
	}
	if x.stream != 0 {
		b.post(x.stream, CloseStream{}, out)
		b.unsubscribe(x)
	}
	b.dropExecutor(ref)
	out.Save = append(out.Save, Record{ExecutorGone: &ref})
	out.Do = append(out.Do, Work{Forget: x.view.Container})
	out.Tell = append(out.Tell, Fact{Kind: FactExecutorEnded, Framework: ref.Framework, Executor: ref.Executor, Container: x.view.Container, Text: how.words})
	b.tellExecutorEnd(ref, status, out)
	b.retireIdle(ref.Framework, out)
}

// tellExecutorEnd tells the master, also before it has answered the registration, which may have named the executor. Without
// one the next registration says it, by what it does not name.
func (b *Book) tellExecutorEnd(ref ExecutorRef, status int32, out *Out) {
	if b.linked {
		out.Send = append(out.Send, Msg{Link: b.linkID, ExecutorEnd: &ExecutorEnd{ref, status}})
	}
}

// dropExecutor forgets an executor.
func (b *Book) dropExecutor(ref ExecutorRef) {
	x := b.executors[ref]
	if x == nil {
		return
	}
	delete(b.executors, ref)
	delete(b.boxes, x.view.Container)
	delete(b.networks, x.view.Container)
	b.shown.Delete(x.view)
	b.past = pushPast(b.past, x.view, b.cfg.MaxCompleted, b.cfg.MaxPastExecutors, func(o *ExecutorView) bool { return o.Spec.Framework == ref.Framework })
}

// shutdown ends an executor: it is asked to, and after its grace it is not asked any more.
func (b *Book) shutdown(x *executor, cause EndCause, out *Out) {
	if x.cause != NotEnding {
		return
	}
	x.cause = cause
	ref := x.view.ref()
	b.change(x, func(v *ExecutorView) { v.State = ExecutorTerminating })
	out.Save = append(out.Save, Record{ExecutorShutdown: &ExecutorShutdown{ref, cause}})
	out.Tell = append(out.Tell, Fact{Kind: FactExecutorShutdown, Framework: ref.Framework, Executor: ref.Executor, Container: x.view.Container, Text: cause.String()})
	b.clearAlarm(x)
	b.terminate(x, out)
}

// terminate carries a shutdown out, as far as can be now.
func (b *Book) terminate(x *executor, out *Out) {
	if x.view.Spec.Default {
		b.terminatePool(x, out)
		return
	}
	grace := b.graceOf(x)
	if x.stream != 0 {
		b.post(x.stream, ShutdownEvent{}, out)
	}
	switch c := x.view.Container; {
	case x.view.PID == 0:
		out.Do = append(out.Do, Work{Cancel: c})
	case x.cause == EndUnregistered || x.cause == EndNotBack || x.cause == EndDisk:
		out.Do = append(out.Do, Work{Kill: &KillWork{c, 0}})
	case x.stream == 0: // nobody hears the word
		out.Do = append(out.Do, Work{Kill: &KillWork{c, grace}})
	default:
		b.setAlarm(x, grace)
	}
}

// graceOf is how long an executor has to end.
func (b *Book) graceOf(x *executor) time.Duration {
	if x.view.Spec.Grace < 0 {
		return b.cfg.ShutdownGrace
	}
	return x.view.Spec.Grace
}

// shutdownExecutor obeys a scheduler.
func (b *Book) shutdownExecutor(in *ShutdownExecutor, out *Out) {
	x := b.executors[in.ExecutorRef]
	if x == nil {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: in.Framework, Executor: in.Executor, Text: "a shutdown of no executor"})
		return
	}
	b.shutdown(x, EndAsked, out)
}

// alarmsDue does what executors have waited, or were waited for, too long for.
func (b *Book) alarmsDue(out *Out) {
	for len(b.alarms) > 0 && b.alarms[0].at <= b.now.Mono {
		x := b.executors[b.alarms[0].ref]
		b.clearAlarm(x)
		switch {
		case x.cause != NotEnding:
			out.Do = append(out.Do, Work{Kill: &KillWork{x.view.Container, 0}})
		case x.back:
			b.shutdown(x, EndNotBack, out)
		default:
			b.shutdown(x, EndUnregistered, out)
		}
	}
}

func (b *Book) setAlarm(x *executor, wait time.Duration) {
	b.clearAlarm(x)
	x.alarm = b.now.Mono + wait
	i, _ := slices.BinarySearchFunc(b.alarms, x.alarm, func(a alarm, at time.Duration) int {
		if a.at <= at {
			return -1
		}
		return 1
	})
	b.alarms = slices.Insert(b.alarms, i, alarm{x.alarm, x.view.ref()})
}

func (b *Book) clearAlarm(x *executor) {
	if x.alarm == 0 {
		return
	}
	x.alarm = 0
	b.alarms = slices.DeleteFunc(b.alarms, func(a alarm) bool { return a.ref == x.view.ref() })
}

// recoverExecutors brings the executors and the containers that are found into line.
func (b *Book) recoverExecutors(found map[string]*Found, out *Out) {
	for _, view := range b.shown.Items() {
		x := b.executors[view.ref()]
		f := found[view.Container]
		switch {
		case f == nil:
			b.executorEnded(x, unknownStatus, b.vanishedExecutor(x), out)
		case f.Exit != nil:
			if view.PID == 0 {
				b.executorStarted(x, f.PID, f.Ticks, out)
			}
			b.executorExited(x, *f.Exit, out)
		case view.Spec.Default:
			b.recoverPool(x, f, out)
		case view.PID == 0:
			b.executorStarted(x, f.PID, f.Ticks, out)
		case x.cause != NotEnding:
			b.terminate(x, out)
		default:
			x.back = true
			b.setAlarm(x, b.cfg.ReregisterTimeout)
			b.resize(x, out)
		}
	}
}

// vanishedExecutor says what becomes of the tasks of an executor of which no container is found.
func (b *Book) vanishedExecutor(x *executor) ending {
	failed, terminated := mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED
	switch {
	case x.view.PID == 0:
		return ending{b.dropped(x.view.Spec.Framework), mesosv1.TaskStatus_REASON_AGENT_RESTARTED, "The agent was restarted before the executor started.", nil}
	case b.identity.Boot != b.cfg.Boot:
		return ending{failed, terminated, "The machine was rebooted while the executor ran.", nil}
	}
	return ending{failed, terminated, "The executor ended while its agent was away and nothing recorded how.", nil}
}

// replayExecutor applies one record about an executor.
func (b *Book) replayExecutor(r *Record) {
	switch {
	case r.ExecutorAccepted != nil:
		b.admitExecutor(r.ExecutorAccepted)
	case r.ExecutorContainer != nil:
		c := r.ExecutorContainer
		if x := b.executors[c.ExecutorRef]; x != nil {
			b.change(x, func(v *ExecutorView) { v.PID, v.Ticks, v.Started = c.PID, c.Ticks, c.Wall })
			b.follow(x)
		}
	case r.ExecutorShutdown != nil:
		if x := b.executors[r.ExecutorShutdown.ExecutorRef]; x != nil {
			x.cause = r.ExecutorShutdown.Cause
			b.change(x, func(v *ExecutorView) { v.State = ExecutorTerminating })
		}
	case r.ExecutorGone != nil:
		b.dropExecutor(*r.ExecutorGone)
	case r.Delivered != nil:
		if v, _ := b.find(*r.Delivered); v != nil {
			n := *v
			n.Queued = false
			b.tasks.Set(&n)
			if x := b.executorOf(v.Task); x != nil {
				x.sent = true
			}
		}
	}
}

// executorsJournal appends the records from which the executors would be made again.
func (b *Book) executorsJournal(out []Record) []Record {
	b.shown.Scan(func(v *ExecutorView) bool {
		ref := v.ref()
		out = append(out, Record{ExecutorAccepted: &ExecutorAccepted{v.Spec, v.Container}})
		if v.PID != 0 {
			out = append(out, Record{ExecutorContainer: &ExecutorContainer{ref, v.PID, v.Ticks, v.Started}})
		}
		if c := b.executors[ref].cause; c != NotEnding {
			out = append(out, Record{ExecutorShutdown: &ExecutorShutdown{ref, c}})
		}
		return true
	})
	return out
}

// follow shows the executor's process in its tasks.
func (b *Book) follow(x *executor) {
	for _, v := range b.tasksIn(x) {
		n := *v
		n.PID = x.view.PID
		b.tasks.Set(&n)
	}
}
