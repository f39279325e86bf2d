package workload

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/signalname"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// run takes a task on. From the record on the agent owes a terminal status for it.
func (b *Book) run(in *Run, out *Out) {
	ref := Ref{in.Task.Framework, in.Task.ID}
	if b.leaving {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: ref.Framework, Task: ref.Task, Launch: in.Task.Launch, Text: "the agent is leaving"})
		return
	}
	if v, _ := b.find(ref); v != nil {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: ref.Framework, Task: ref.Task, Launch: in.Task.Launch, Text: "the task is here already"})
		return
	}
	if b.frameworks[ref.Framework] == nil {
		b.frameworks[ref.Framework] = in.Framework
		out.Save = append(out.Save, Record{Framework: in.Framework})
	}
	switch {
	case in.Task.foreign():
		b.runIn(in, out)
		return
	case in.Task.pooled():
		b.runGroup(&RunGroup{in.Framework, []*Task{in.Task}, in.StartsExecutor}, out)
		return
	}
	a := &Accepted{Task: in.Task, Container: b.containerID()}
	out.Save = append(out.Save, Record{Accepted: a})
	v := b.admit(a)
	if in.Task.Refused != "" {
		out.Tell = append(out.Tell, Fact{Kind: FactTaskRefused, Framework: ref.Framework, Task: ref.Task, Text: in.Task.Refused})
		b.end(v, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, in.Task.Refused, out)
		return
	}
	out.Tell = append(out.Tell, Fact{Kind: FactTaskAccepted, Framework: ref.Framework, Task: ref.Task, Container: a.Container})
	out.Do = append(out.Do, Work{Launch: &LaunchWork{Task: in.Task, Container: a.Container, Framework: in.Framework}})
}

// launched takes the end of a launch: a process that runs, or the reason why there is none.
func (b *Book) launched(in *Launched, out *Out) {
	if ref, ok := b.boxes[in.Container]; ok {
		b.executorLaunched(b.executors[ref], in, out)
		return
	}
	if n := b.nested.byName[in.Container]; n != nil {
		b.nestedLaunched(n, in, out)
		return
	}
	ref, ok := b.containers[in.Container]
	if !ok {
		b.destroy(in.Container, out)
		return
	}
	v, state := b.find(ref)
	if v.PID != 0 || v.Ended {
		if v.PID == 0 && in.Failure == LaunchOK { // its executor has ended meanwhile
			b.destroy(in.Container, out)
		}
		return
	}
	switch in.Failure {
	case LaunchOK:
		b.started(v, state, in.PID, in.Ticks, out)
		if state.early != nil {
			b.exited(in.Container, *state.early, out)
		}
	case UserUnknown:
		b.end(v, b.dropped(ref.Framework), mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED, in.Words, out)
	case LaunchCanceled:
		b.end(v, mesosv1.TaskState_TASK_KILLED, mesosv1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH, "The task was killed before it started.", out)
	case ExecFailed:
		v = b.updated(v, b.statusHere(v, in.PID, mesosv1.TaskState_TASK_STARTING, ""), out)
		v = b.updated(v, b.statusHere(v, in.PID, mesosv1.TaskState_TASK_RUNNING, ""), out)
		b.finish(v, b.statusHere(v, in.PID, mesosv1.TaskState_TASK_FAILED, "Command exited with status 1"), out)
	default:
		b.end(v, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, in.Words, out)
	}
}

// started books a process and tells STARTING and RUNNING; a kill that came meanwhile is carried out.
func (b *Book) started(v *TaskView, state *taskState, pid uint32, ticks uint64, out *Out) {
	ref := v.ref()
	n := *v
	n.PID, n.Ticks, n.Started = pid, ticks, b.now.Wall
	b.tasks.Set(&n)
	out.Save = append(out.Save, Record{Container: &Container{ref, pid, ticks, b.now.Wall}})
	out.Tell = append(out.Tell, Fact{Kind: FactTaskStarted, Framework: ref.Framework, Task: ref.Task, Container: v.Container, PID: pid})
	v = b.updated(&n, b.statusHere(&n, pid, mesosv1.TaskState_TASK_STARTING, ""), out)
	running := b.statusHere(v, pid, mesosv1.TaskState_TASK_RUNNING, "")
	if v.Task.Check != nil {
		running.Rest = append(running.Rest, v.Task.Check...)
	}
	v = b.updated(v, running, out)
	if state.cause != NotKilled {
		b.killNow(v, state, out)
		return
	}
	out.Do = append(out.Do, Work{Watch: &WatchWork{v.Task, v.Container, pid, v.Started, state.check.Failures, state.check.EverHealthy}})
}

// exited turns the end of a process into the task's last status.
func (b *Book) exited(container string, e Exit, out *Out) {
	if ref, ok := b.boxes[container]; ok {
		b.executorExited(b.executors[ref], e, out)
		return
	}
	if n := b.nested.byName[container]; n != nil {
		b.nestedExited(n, e, out)
		return
	}
	ref, ok := b.containers[container]
	if !ok {
		out.Do = append(out.Do, Work{Forget: container})
		return
	}
	v, state := b.find(ref)
	if v.Ended {
		out.Do = append(out.Do, Work{Forget: container})
		return
	}
	if v.PID == 0 {
		state.early = &e // its Launched is under way
		return
	}
	b.finish(v, b.lastStatus(v, state, e), out)
}

func (b *Book) lastStatus(v *TaskView, state *taskState, e Exit) *mesos.Status {
	switch {
	case e.Orphaned && v.Task.pooled():
		return b.statusBare(mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED,
			"The process that watched over the task's group died and the task was ended with it.")
	case state.cause == KillDisk:
		s := b.statusBare(mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK, diskWords("task"))
		s.Rest = limitation("disk", v.Task.Resources.Scratch().Float())
		return s
	case e.OOM && (state.cause == NotKilled || state.cause == KillGroup):
		who := "task"
		if v.Task.pooled() && !v.Task.Separate {
			who = "task and what shares its memory"
		}
		words, rest := memoryWords(who, e.Limit)
		s := b.statusBare(mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY, words)
		s.Rest = rest
		return s
	case !e.Known:
		return b.statusBare(mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED,
			"The process that watched over the task died and the task was ended with it; its exit status is unknown.")
	}
	words, zero := exitWords(e.Status)
	s := b.statusHere(v, v.PID, mesosv1.TaskState_TASK_FAILED, words)
	switch {
	case e.TimedOut:
		s.HasReason, s.Reason = true, mesosv1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED
	case state.cause != NotKilled:
		s.State = mesosv1.TaskState_TASK_KILLED
		if state.cause == KillUnhealthy {
			s.Healthy = 0
		}
	case zero:
		s.State = mesosv1.TaskState_TASK_FINISHED
	}
	return s
}

// memoryWords says who took more memory than its limit of so many bytes, in words and as an encoded limitation.
func memoryWords(who string, limit int64) (string, []byte) {
	words := fmt.Sprintf("The %s took more memory than the limit of %d MB and was killed; give it more mem or let it use less.", who, limit>>20)
	return words, limitation("mem", float64(limit>>20))
}

// diskWords say who took more disk than it has.
func diskWords(who string) string {
	return fmt.Sprintf("The %s took more disk than it has (resources.disk) and was killed; give it more disk, or let it write less into its sandbox.", who)
}

// limitation encodes what of a resource was passed.
func limitation(name string, megabytes float64) []byte {
	return encodeRest(&mesosv1.TaskStatus{Limitation: &mesosv1.TaskResourceLimitation{Resources: []*mesosv1.Resource{{
		Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &megabytes},
	}}}})
}

// overdrawn ends what took more disk than it has, at once.
func (b *Book) overdrawn(in *Overdrawn, out *Out) {
	if ref, ok := b.boxes[in.Container]; ok {
		b.shutdown(b.executors[ref], EndDisk, out)
		return
	}
	ref, ok := b.containers[in.Container]
	if v, state := b.find(ref); ok && !v.Ended && v.PID != 0 && state.cause == NotKilled {
		b.kill(ref, 0, KillDisk, out)
	}
}

// exitWords says how a process ended; programs read these endings.
func exitWords(status uint32) (words string, zero bool) {
	if sig := status & 0x7f; sig != 0 {
		return "Command terminated with signal " + signalname.Of(int(sig)), false
	}
	code := status >> 8 & 0xff
	return fmt.Sprintf("Command exited with status %d", code), code == 0
}

// kill ends a task. A later kill may only shorten the grace.
func (b *Book) kill(ref Ref, grace time.Duration, cause KillCause, out *Out) {
	v, state := b.find(ref)
	if v == nil || v.Ended {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: ref.Framework, Task: ref.Task, Text: "a kill of no running task"})
		return
	}
	if v.Task.foreign() {
		b.killIn(v, state, grace, cause, out)
		return
	}
	if grace < 0 {
		grace = v.Task.Grace
	}
	if state.cause != NotKilled {
		if grace >= state.grace {
			if v.PID != 0 {
				b.killNow(v, state, out) // it may have been lost with the last run of this process
			}
			return
		}
	} else {
		state.cause = cause
	}
	state.grace = grace
	out.Save = append(out.Save, Record{Kill: &KillRecord{ref, grace, state.cause}})
	out.Tell = append(out.Tell, Fact{Kind: FactTaskKill, Framework: ref.Framework, Task: ref.Task, Container: v.Container})
	if v.PID == 0 {
		b.cancel(v, out)
		return
	}
	b.killNow(v, state, out)
}

func (b *Book) killNow(v *TaskView, state *taskState, out *Out) {
	if f := b.frameworks[v.Task.Framework]; f != nil && f.TaskKilling && !state.told && state.cause != KillDisk && v.State != mesosv1.TaskState_TASK_KILLING {
		state.told = true
		v = b.updated(v, b.statusHere(v, v.PID, mesosv1.TaskState_TASK_KILLING, ""), out)
	}
	out.Do = append(out.Do, Work{Kill: &KillWork{v.Container, state.grace}})
}

// shutdownFramework ends all of a framework; nobody is left to be told.
func (b *Book) shutdownFramework(id string, out *Out) {
	b.forgetOperationsOf(id, out)
	var refs []Ref
	b.tasks.Ascend(&TaskView{Task: &Task{Framework: id}}, func(v *TaskView) bool {
		if v.Task.Framework == id {
			refs = append(refs, v.ref())
		}
		return v.Task.Framework == id
	})
	var mine []*executor
	b.shown.Ascend(&ExecutorView{Spec: &Executor{Framework: id}}, func(v *ExecutorView) bool {
		if v.Spec.Framework == id {
			mine = append(mine, b.executors[v.ref()])
		}
		return v.Spec.Framework == id
	})
	if len(refs)+len(mine) == 0 {
		return
	}
	out.Tell = append(out.Tell, Fact{Kind: FactFrameworkShutdown, Framework: id})
	for _, ref := range refs {
		v, state := b.find(ref)
		if v.Ended {
			b.forget(ref, out)
			continue
		}
		b.clearRetry(ref, state)
		b.silence(v, state)
	}
	for _, ref := range refs {
		v, state := b.find(ref)
		switch {
		case v == nil: // it has ended, some with another of their group
		case state.cause == KillFrameworkGone:
		case v.Task.foreign(): // it ends with its executor
			state.cause = KillFrameworkGone
			out.Save = append(out.Save, Record{Kill: &KillRecord{ref, state.grace, KillFrameworkGone}})
		default:
			state.cause = NotKilled
			b.kill(ref, -1, KillFrameworkGone, out)
		}
	}
	for _, x := range mine {
		b.shutdown(x, EndFrameworkGone, out)
	}
}

// health passes on what the checks of a task found.
func (b *Book) health(in *Health, out *Out) {
	ref, ok := b.containers[in.Container]
	if !ok {
		return
	}
	v, state := b.find(ref)
	if v.Ended || v.PID == 0 || state.cause != NotKilled {
		return
	}
	s := b.statusHere(v, v.PID, mesosv1.TaskState_TASK_RUNNING, "")
	s.HasReason = true
	if in.Healthy >= 0 {
		state.healthy = in.Healthy
		state.check.Failures, state.check.EverHealthy = in.Failures, in.EverHealthy
		c := state.check
		out.Save = append(out.Save, Record{Check: &c})
		s.Reason = mesosv1.TaskStatus_REASON_TASK_HEALTH_CHECK_STATUS_UPDATED
	} else {
		s.Reason = mesosv1.TaskStatus_REASON_TASK_CHECK_STATUS_UPDATED
	}
	s.Healthy = state.healthy
	s.Rest = append(s.Rest, in.Check...)
	b.updated(v, s, out)
	if in.Kill {
		b.kill(ref, -1, KillUnhealthy, out)
	}
}

// recover brings the journal and the containers that are found into line, once after a start.
func (b *Book) recover(in *Recovered, out *Out) {
	if b.recovered {
		return
	}
	b.recovered, b.recovering = true, true
	found := make(map[string]*Found, len(in.Containers))
	for i := range in.Containers {
		f := &in.Containers[i]
		found[f.Container] = f
		b.joined(f.Container, f.Networks)
		_, box := b.boxes[f.Container]
		if _, ok := b.containers[f.Container]; !ok && !box && b.nested.byName[f.Container] == nil {
			b.discard(f, out)
		}
	}
	var all, tornTasks []*TaskView
	b.tasks.Scan(func(v *TaskView) bool { all = append(all, v); return true })
	for _, v := range all {
		state := b.states[v.ref()]
		f := found[v.Container]
		switch {
		case v.Ended && state.silent:
			b.forget(v.ref(), out)
		case b.torn(v):
			tornTasks = append(tornTasks, v)
		case v.Task.foreign() && (v.Ended || v.Container != "" && b.executorOf(v.Task) != nil): // its executor is looked for below
		case v.Task.foreign():
			b.vanished(v, state, out)
		case v.Ended:
			if f != nil {
				out.Do = append(out.Do, Work{Forget: v.Container})
			}
		case f == nil:
			b.vanished(v, state, out)
		case f.Exit != nil:
			if v.PID == 0 {
				b.started(v, state, f.PID, f.Ticks, out)
				v, _ = b.find(v.ref())
			}
			b.finish(v, b.lastStatus(v, state, *f.Exit), out)
		case v.PID == 0:
			b.started(v, state, f.PID, f.Ticks, out)
		case state.cause != NotKilled:
			b.killNow(v, state, out)
		default:
			out.Do = append(out.Do, Work{Watch: &WatchWork{v.Task, v.Container, v.PID, v.Started, state.check.Failures, state.check.EverHealthy}})
		}
	}
	for _, v := range tornTasks {
		b.refuseTorn(v, out)
	}
	b.recovering = false
	b.recoverExecutors(found, out)
	b.recoverNested(found, out)
	b.removeDoomed(out)
}

// vanished ends a task of which no container is found.
func (b *Book) vanished(v *TaskView, state *taskState, out *Out) {
	ref := v.ref()
	switch {
	case v.PID == 0 && state.cause != NotKilled:
		b.end(v, mesosv1.TaskState_TASK_KILLED, mesosv1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH, "The task was killed before it started.", out)
	case v.PID == 0:
		b.end(v, b.dropped(ref.Framework), mesosv1.TaskStatus_REASON_AGENT_RESTARTED, "The agent was restarted before the task started.", out)
	case b.identity.Boot != b.cfg.Boot:
		b.end(v, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED, "The machine was rebooted while the task ran; its exit status is unknown.", out)
	default:
		b.end(v, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED, "The task ended while its agent was away and nothing recorded how; its exit status is unknown.", out)
	}
}

// finish tells a task's last status and cleans up after its container.
func (b *Book) finish(v *TaskView, s *mesos.Status, out *Out) {
	state := b.states[v.ref()]
	container := v.Container
	if b.linked && !b.registered && !b.leaving { // its master is about to hear that it runs, and waits for its end from then on
		b.unsilence(v.ref(), state, out)
	}
	b.updated(v, s, out)
	if container != "" && !v.Task.foreign() {
		out.Do = append(out.Do, Work{Forget: container})
	}
	if state.silent {
		b.forget(v.ref(), out)
	}
	if container != "" && v.Task.pooled() {
		b.endedBelow(v.Task, s.State == mesosv1.TaskState_TASK_FINISHED, out)
	}
}

// end tells a last status of the agent's own, which knows of no process.
func (b *Book) end(v *TaskView, s mesosv1.TaskState, reason mesosv1.TaskStatus_Reason, words string, out *Out) {
	b.finish(v, b.statusBare(s, reason, words), out)
}

// discard forgets what was found and nobody knows, once it has ended.
func (b *Book) discard(f *Found, out *Out) {
	if f.Exit != nil { // nothing tells it again
		out.Do = append(out.Do, Work{Forget: f.Container})
		return
	}
	b.destroy(f.Container, out)
}

func (b *Book) destroy(container string, out *Out) {
	out.Tell = append(out.Tell, Fact{Kind: FactOrphanDestroyed, Container: container})
	out.Do = append(out.Do, Work{Destroy: container})
}

// updated is update, giving the task as it is afterwards.
func (b *Book) updated(v *TaskView, s *mesos.Status, out *Out) *TaskView {
	b.update(v, s, out)
	v, _ = b.find(v.ref())
	return v
}

// statusHere makes a status of a process that runs or ran: it names container, address and pid.
func (b *Book) statusHere(v *TaskView, pid uint32, state mesosv1.TaskState, words string) *mesos.Status {
	return &mesos.Status{
		State: state, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, Message: words, Healthy: -1,
		Rest: encodeRest(&mesosv1.TaskStatus{ContainerStatus: &mesosv1.ContainerStatus{
			ContainerId:  ContainerID(v.Container),
			NetworkInfos: b.networksOf(v.Container), ExecutorPid: new(pid),
		}}),
	}
}

// joined notes the networks that a container has of its own, if the book knows the container.
func (b *Book) joined(container string, networks []*mesosv1.NetworkInfo) {
	_, box := b.boxes[container]
	if _, task := b.containers[container]; len(networks) > 0 && (task || box) {
		b.networks[container] = networks
	}
}

// networksOf say where what runs in a container is reached: in its own networks, or where the agent is.
func (b *Book) networksOf(container string) []*mesosv1.NetworkInfo {
	if own := b.networks[container]; own != nil {
		return own
	}
	return []*mesosv1.NetworkInfo{{IpAddresses: []*mesosv1.NetworkInfo_IPAddress{{
		Protocol: mesosv1.NetworkInfo_IPv4.Enum(), IpAddress: new(b.cfg.IP),
	}}}}
}

// statusBare makes a status of the agent's own.
func (b *Book) statusBare(state mesosv1.TaskState, reason mesosv1.TaskStatus_Reason, words string) *mesos.Status {
	return &mesos.Status{
		State: state, Source: mesosv1.TaskStatus_SOURCE_AGENT, HasReason: true, Reason: reason, Message: words, Healthy: -1,
	}
}

func encodeRest(s *mesosv1.TaskStatus) []byte {
	out, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(s)
	if err != nil {
		panic("workload: a status that cannot be encoded: " + err.Error())
	}
	return out
}

func (b *Book) containerID() string {
	u := b.uuid()
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// View is the book at one moment, for readers that never wait for the machine.
type View struct {
	// Recovered says that the book knows which containers outlived an earlier run. Before, what is below may be long over.
	Recovered  bool
	Agent      string
	Registered bool
	Frameworks []*Framework
	// Former are frameworks of which nothing is left here but completed tasks, the latest last.
	Former []*Framework
	// Tasks are those that are not forgotten, by framework and id; Completed the last of those that are, oldest first.
	Tasks     []*TaskView
	Completed []*TaskView
	// Executors are those that have not ended, by framework and id; PastExecutors the last of those that have, oldest first.
	Executors     []*ExecutorView
	PastExecutors []*ExecutorView
	// Nested are containers of the API that are not forgotten, by path.
	Nested []*NestedView
	// Total is all that the agent has; Operations are those whose ends are not acknowledged.
	Total      resource.List
	Operations []*OperationView
}

// View gives the book as it is now.
func (b *Book) View() *View {
	return &View{
		Recovered: b.recovered, Agent: b.identity.Agent, Registered: b.registered, Frameworks: b.sortedFrameworks(),
		Former: b.former, Tasks: b.tasks.Items(), Completed: b.completed, Executors: b.shown.Items(), PastExecutors: b.past,
		Nested: b.nestedViews(),
		Total:  b.total, Operations: b.ended.Items(),
	}
}
