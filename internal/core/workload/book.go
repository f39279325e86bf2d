// Package workload is the agent's book: which tasks are wanted here, what their processes are, and which updates are
// owed. It is a machine (DESIGN §1). What it saves is the agent's journal: whatever it acknowledges or promises is in
// there first, so an agent that was killed at any moment goes on where its journal ends.
//
// A task's life here:
//
//	accepted ── launched ── running ─────────── ended ── last update acknowledged: gone
//	    └── refused, canceled, failed ─────────────┘
package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidwall/btree"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Config holds the settings of a book.
type Config struct {
	// Resources are the agent's by its settings, without dynamic reservations and volumes.
	Resources resource.List
	// Boot is the machine's boot id.
	Boot string
	// IP is what tasks that share the machine's network are told to have.
	IP string
	// RetryMin and RetryMax bound the time between two tries of one update.
	RetryMin, RetryMax time.Duration
	// MaxCompleted bounds how many tasks of the past are shown, and how many executors. MaxPastExecutors bounds those of each framework;
	// a command task is an executor to itself.
	MaxCompleted, MaxPastExecutors int
	// RegistrationTimeout is how long an executor has to subscribe once its process runs, and ReregisterTimeout how long once
	// its agent came back.
	RegistrationTimeout, ReregisterTimeout time.Duration
	// ShutdownGrace is how long an executor that is told to end has for it, if it says nothing itself.
	ShutdownGrace time.Duration
}

// Defaults are the original's settings; an agent that came back waits as long for its executors as the original may be told to.
func Defaults() Config {
	return Config{
		RetryMin: 10 * time.Second, RetryMax: 10 * time.Minute, MaxCompleted: 1000, MaxPastExecutors: 150,
		RegistrationTimeout: time.Minute, ReregisterTimeout: 15 * time.Second, ShutdownGrace: 5 * time.Second,
	}
}

// Book is the machine. It has no lock: one loop owns it.
type Book struct {
	cfg Config
	rng *rand.Rand
	now machine.Now

	identity   Identity
	linked     bool
	linkID     uint64
	registered bool
	recovered  bool // Recovered came: containers are known
	recovering bool // it is being worked off
	leaving    bool
	left       bool   // and everything has ended
	goodbye    uint64 // the link over which Unregister was sent

	frameworks map[string]*Framework
	tasks      *btree.BTreeG[*TaskView]
	states     map[Ref]*taskState
	containers map[string]Ref
	networks   map[string][]*mesosv1.NetworkInfo // by container, of those that have some of their own
	completed  []*TaskView
	former     []*Framework // of completed tasks, the latest last
	retries    []retry      // by time

	executors map[ExecutorRef]*executor
	shown     *btree.BTreeG[*ExecutorView]
	past      []*ExecutorView
	boxes     map[string]ExecutorRef // by container
	streams   map[uint64]ExecutorRef
	alarms    []alarm // by time

	nested nestedBook
	ledger
}

// TaskView is one task as it is shown. Values are replaced, never changed.
type TaskView struct {
	Task      *Task
	Container string
	PID       uint32
	Ticks     uint64
	// Started is when its process began, in nanoseconds since the epoch.
	Started int64
	// State is the latest; UpdateState and UpdateUUID belong to the update that is outstanding or was sent last.
	State, UpdateState mesosv1.TaskState
	UpdateUUID         string
	// Statuses are its changes of state, oldest first, one a state, without data.
	Statuses []*mesos.Status
	Ended    bool
	// Queued tasks have an executor that was not given them yet.
	Queued bool
}

// taskState is what the book knows of a task beside what it shows.
type taskState struct {
	// owed are the updates that are not acknowledged, oldest first; only the first is on its way.
	owed    []*mesos.Status
	wait    time.Duration
	retry   time.Duration // Mono time of the next try; zero when none is due
	cause   KillCause
	grace   time.Duration
	told    bool // TASK_KILLING was sent
	silent  bool // its framework is gone: nothing is told any more
	check   CheckRecord
	healthy int8
	early   *Exit // an end that was told before the launch was
	// placing: its volumes are being brought into its executor's sandbox; placed: they are there.
	placing, placed bool
}

type retry struct {
	at  time.Duration
	ref Ref
}

func lessTask(a, b *TaskView) bool {
	if a.Task.Framework != b.Task.Framework {
		return a.Task.Framework < b.Task.Framework
	}
	return a.Task.ID < b.Task.ID
}

// New makes the book from its journal. Chance (uuids) comes from rng.
func New(cfg Config, journal []Record, now machine.Now, rng *rand.Rand) *Book {
	b := &Book{
		cfg: cfg, rng: rng, now: now,
		frameworks: map[string]*Framework{}, states: map[Ref]*taskState{}, containers: map[string]Ref{}, networks: map[string][]*mesosv1.NetworkInfo{},
		tasks:     btree.NewBTreeGOptions(lessTask, btree.Options{NoLocks: true}),
		executors: map[ExecutorRef]*executor{}, boxes: map[string]ExecutorRef{}, streams: map[uint64]ExecutorRef{},
		shown: btree.NewBTreeGOptions(lessExecutor, btree.Options{NoLocks: true}), nested: newNestedBook(), ledger: newLedger(),
	}
	b.reckon(KeptOf(journal))
	for i := range journal {
		b.replay(&journal[i])
	}
	for _, f := range b.sortedFrameworks() {
		if !b.has(f.ID) { // a crash came between the record of its last task and its own
			b.retire(f.ID)
		}
	}
	return b
}

// replay applies one record of the journal. Records of tasks that are not there were written after their end, by a
// journal that was damaged and mended; they say nothing.
func (b *Book) replay(r *Record) {
	switch {
	case r.Identity != nil:
		b.identity = *r.Identity
	case r.Framework != nil:
		b.frameworks[r.Framework.ID] = r.Framework
	case r.FrameworkGone != "":
		b.retire(r.FrameworkGone)
	case r.Accepted != nil:
		b.admit(r.Accepted)
	case r.Gone != nil:
		b.drop(*r.Gone)
	case r.Container != nil:
		if v, _ := b.find(r.Container.Ref); v != nil {
			n := *v
			n.PID, n.Ticks, n.Started = r.Container.PID, r.Container.Ticks, r.Container.Wall
			b.tasks.Set(&n)
		}
	case r.Status != nil:
		if v, s := b.find(r.Status.Ref); v != nil {
			b.note(v, s, r.Status.Status)
		}
	case r.Acked != nil:
		if v, s := b.find(r.Acked.Ref); v != nil && len(s.owed) > 0 && s.owed[0].UUID == r.Acked.UUID {
			s.owed = s.owed[1:]
			b.retarget(v, s)
		}
	case r.Kill != nil:
		if v, s := b.find(r.Kill.Ref); v != nil {
			s.cause, s.grace, s.silent = r.Kill.Cause, r.Kill.Grace, false
			if s.cause == KillFrameworkGone {
				b.silence(v, s)
			}
		}
	case r.Check != nil:
		if _, s := b.find(r.Check.Ref); s != nil {
			s.check = *r.Check
		}
	case b.replayNested(r):
	case b.replayOperation(r):
	default:
		b.replayExecutor(r)
	}
}

// Journal gives the records from which this very book would be made again: the journal, compacted.
func (b *Book) Journal() []Record {
	id := b.identity
	out := []Record{{Identity: &id}}
	for _, f := range b.sortedFrameworks() {
		out = append(out, Record{Framework: f})
	}
	out = b.operationsJournal(b.executorsJournal(out))
	b.tasks.Scan(func(v *TaskView) bool {
		ref := v.ref()
		s := b.states[ref]
		out = append(out, Record{Accepted: &Accepted{v.Task, v.Container}})
		switch {
		case v.Task.foreign() && !v.Queued:
			out = append(out, Record{Delivered: &ref})
		case !v.Task.foreign() && v.PID != 0:
			out = append(out, Record{Container: &Container{ref, v.PID, v.Ticks, v.Started}})
		}
		if s.cause != NotKilled {
			out = append(out, Record{Kill: &KillRecord{ref, s.grace, s.cause}})
		}
		if s.check.Failures > 0 || s.check.EverHealthy {
			c := s.check
			out = append(out, Record{Check: &c})
		}
		for _, st := range v.Statuses { // told and acknowledged: written together with their ends
			if !slices.ContainsFunc(s.owed, func(o *mesos.Status) bool { return o.UUID == st.UUID }) {
				out = append(out, Record{Status: &StatusRecord{ref, st}}, Record{Acked: &AckedRecord{ref, st.UUID}})
			}
		}
		for _, st := range s.owed {
			out = append(out, Record{Status: &StatusRecord{ref, st}})
		}
		return true
	})
	return b.nestedJournal(out)
}

// Identity is who the agent is.
func (b *Book) Identity() Identity { return b.identity }

// Deadline is when the book wants to be woken.
func (b *Book) Deadline() time.Duration {
	at := machine.Never
	if b.registered && len(b.retries) > 0 {
		at = b.retries[0].at
	}
	if len(b.alarms) > 0 && (at == machine.Never || b.alarms[0].at < at) {
		at = b.alarms[0].at
	}
	if b.registered && b.due != machine.Never && (at == machine.Never || b.due < at) {
		at = b.due
	}
	return at
}

// Step takes one input; nil means that only time has passed.
func (b *Book) Step(now machine.Now, in In, out *Out) {
	b.now = now
	switch in := in.(type) {
	case nil:
	case *Linked:
		b.link(in, out)
	case *Unlinked:
		b.linked, b.registered = false, false
		out.Tell = append(out.Tell, Fact{Kind: FactUnlinked})
	case *Registered:
		b.register(in, out)
	case *Run:
		b.run(in, out)
	case *RunGroup:
		b.runGroup(in, out)
	case *Kill:
		b.kill(in.Ref, in.Grace, KillAsked, out)
	case *Ack:
		b.ack(in, out)
	case *ShutdownFramework:
		b.shutdownFramework(in.Framework, out)
	case *FrameworkChanged:
		if old := b.frameworks[in.Framework.ID]; old != nil {
			b.frameworks[in.Framework.ID] = in.Framework
			out.Save = append(out.Save, Record{Framework: in.Framework})
		}
	case *Resend:
		b.resend(in.Framework, out)
	case *Joined, *Launched, *Exited, *Health, *Overdrawn, *Recovered:
		b.stepContainer(in, out)
	case *Leave:
		b.leave(out)
	case *Compact:
		out.Save = append(out.Save, Record{Compact: b.Journal()})
	case *Apply, *OperationAck, *VolumeRemoved, *VolumesPlaced:
		b.stepOperation(in, out)
	default:
		if !b.stepNested(in, out) {
			b.stepExecutor(in, out)
		}
	}
	b.alarmsDue(out)
	b.retryDue(out)
	b.operationsDue(out)
	b.depart(out)
}

// stepContainer takes an input about containers.
func (b *Book) stepContainer(in In, out *Out) {
	switch in := in.(type) {
	case *Joined:
		b.joined(in.Container, in.Networks)
	case *Launched:
		b.launched(in, out)
	case *Exited:
		b.exited(in.Container, in.Exit, out)
		b.forgetBelow(in.Container, out)
	case *Health:
		b.health(in, out)
	case *Overdrawn:
		b.overdrawn(in, out)
	case *Recovered:
		b.recover(in, out)
	}
}

// link greets a leader, unless one with a higher epoch was seen: then this one was frozen and does not know it.
func (b *Book) link(in *Linked, out *Out) {
	if in.Epoch < b.identity.Epoch {
		words := fmt.Sprintf("this agent has obeyed epoch %d; a master of epoch %d is not the leader any more", b.identity.Epoch, in.Epoch)
		out.Send = append(out.Send, Msg{Link: in.Link, Refuse: words})
		out.Tell = append(out.Tell, Fact{Kind: FactLeaderRefused, Text: words})
		return
	}
	b.identity.Epoch = in.Epoch
	b.identity.Links++
	id := b.identity
	out.Save = append(out.Save, Record{Identity: &id})
	b.linked, b.linkID = true, in.Link
	r := &Register{Agent: b.identity.Agent, Links: b.identity.Links, Frameworks: b.sortedFrameworks()}
	r.Tasks, r.Executors = b.tasks.Items(), b.shown.Items()
	r.Total, r.Operations = b.total, b.ended.Items()
	out.Send = append(out.Send, Msg{Link: b.linkID, Register: r})
}

// register takes the leader's answer: the id, and the tasks that were lost on their way here.
func (b *Book) register(in *Registered, out *Out) {
	if !b.linked {
		return
	}
	kind := FactReregistered
	if b.identity.Agent == "" {
		kind = FactRegistered
	}
	if b.identity.Agent != in.Agent || !slices.Equal(b.identity.Info, in.Info) || b.identity.Boot != b.cfg.Boot {
		b.identity.Agent, b.identity.Info, b.identity.Boot = in.Agent, in.Info, b.cfg.Boot
		id := b.identity
		out.Save = append(out.Save, Record{Identity: &id})
	}
	b.registered = true
	b.speak(out)
	out.Tell = append(out.Tell, Fact{Kind: kind, Text: in.Agent})
	b.tasks.Scan(func(v *TaskView) bool { // whatever is owed is sent at once
		b.sendFirst(v, b.states[v.ref()], out)
		return true
	})
	for _, u := range in.Unknown {
		if v, _ := b.find(u.Ref); v == nil && !b.leaving { // else the goodbye answers for it
			b.owe(u, out)
		}
	}
	b.resendOperations("", out)
	b.oweOperations(in.UnknownOperations, out)
}

// silence forgets what is owed of a task: nobody is left to be told.
func (b *Book) silence(v *TaskView, s *taskState) {
	s.silent, s.owed = true, nil
	n := *v
	n.UpdateState, n.UpdateUUID = n.State, ""
	b.tasks.Set(&n)
}

// speak lets the ends be told of tasks that were to end without a word: an earlier run was leaving and did not come to its
// goodbye. Those of a framework that is gone are silenced again by the order to shut it down, which follows.
func (b *Book) speak(out *Out) {
	if b.leaving {
		return
	}
	b.tasks.Scan(func(v *TaskView) bool {
		b.unsilence(v.ref(), b.states[v.ref()], out)
		return true
	})
}

func (b *Book) unsilence(ref Ref, s *taskState, out *Out) {
	if s.silent {
		s.silent, s.cause = false, KillAsked
		out.Save = append(out.Save, Record{Kill: &KillRecord{ref, s.grace, s.cause}})
	}
}

// owe answers for a task that the master sent and that never came: it is booked as dropped.
func (b *Book) owe(u UnknownTask, out *Out) {
	a := &Accepted{Task: &Task{Framework: u.Framework, ID: u.Task, Name: u.Task, Launch: u.Launch}}
	out.Save = append(out.Save, Record{Accepted: a})
	v := b.admit(a)
	state := mesosv1.TaskState_TASK_DROPPED
	if !u.PartitionAware {
		state = mesosv1.TaskState_TASK_LOST
	}
	b.end(v, state, mesosv1.TaskStatus_REASON_RECONCILIATION, "The task never reached its agent.", out)
}

func (b *Book) sortedFrameworks() []*Framework {
	out := make([]*Framework, 0, len(b.frameworks))
	for _, f := range b.frameworks { // order: sorted below
		out = append(out, f)
	}
	slices.SortFunc(out, func(x, y *Framework) int {
		if x.ID < y.ID {
			return -1
		}
		return 1
	})
	return out
}

func (v *TaskView) ref() Ref { return Ref{v.Task.Framework, v.Task.ID} }

func (b *Book) find(ref Ref) (*TaskView, *taskState) {
	s := b.states[ref]
	if s == nil {
		return nil, nil
	}
	v, _ := b.tasks.Get(&TaskView{Task: &Task{Framework: ref.Framework, ID: ref.Task}})
	return v, s
}

// admit books a task as accepted.
func (b *Book) admit(a *Accepted) *TaskView {
	v := &TaskView{Task: a.Task, Container: a.Container, State: mesosv1.TaskState_TASK_STAGING, UpdateState: mesosv1.TaskState_TASK_STAGING}
	ref := v.ref()
	b.tasks.Set(v)
	b.states[ref] = &taskState{healthy: -1, check: CheckRecord{Ref: ref}}
	if !a.Task.foreign() {
		if a.Container != "" {
			b.containers[a.Container] = ref
			if x := b.executorOf(a.Task); x != nil {
				x.tasks[a.Task.ID] = struct{}{}
			}
		}
		return v
	}
	if x := b.executorOf(a.Task); x != nil && a.Container == x.view.Container {
		x.tasks[a.Task.ID] = struct{}{}
		n := *v
		n.Queued, n.PID = true, x.view.PID
		b.tasks.Set(&n)
		v = &n
	}
	return v
}

// drop forgets a task.
func (b *Book) drop(ref Ref) {
	v, s := b.find(ref)
	if v == nil {
		return
	}
	b.clearRetry(ref, s)
	b.tasks.Delete(v)
	delete(b.states, ref)
	if x := b.executorOf(v.Task); x != nil {
		delete(x.tasks, ref.Task)
	}
	if _, own := b.containers[v.Container]; own { // else it is its executor's
		delete(b.containers, v.Container)
		delete(b.networks, v.Container)
	}
	b.completed = pushPast(b.completed, v, b.cfg.MaxCompleted, b.cfg.MaxPastExecutors, func(o *TaskView) bool {
		return v.Task.Executor == nil && o.Task.Executor == nil && o.Task.Framework == v.Task.Framework
	})
}

// pushPast adds one to a list of the past, which readers may have, and drops the oldest: of all beyond a bound, and of those that are
// like it.
func pushPast[T any](list []T, v T, all, like int, is func(T) bool) []T {
	n, oldest := 0, len(list)
	for i, o := range slices.Backward(list) {
		if is(o) {
			n, oldest = n+1, i
		}
	}
	switch list = append(list, v); {
	case is(v) && n >= like:
		list = slices.Concat(list[:oldest], list[oldest+1:])
	case len(list) > all:
		list = slices.Clone(list[1:])
	}
	return list
}

// forget writes a task's end into the journal, and its framework's with the last of its tasks.
func (b *Book) forget(ref Ref, out *Out) {
	v, _ := b.find(ref)
	b.drop(ref)
	out.Save = append(out.Save, Record{Gone: &ref})
	out.Tell = append(out.Tell, Fact{Kind: FactTaskForgotten, Framework: ref.Framework, Task: ref.Task, Launch: v.Task.Launch})
	b.retireIdle(ref.Framework, out)
}

// retireIdle forgets a framework of which nothing is left here.
func (b *Book) retireIdle(id string, out *Out) {
	if _, ok := b.frameworks[id]; ok && !b.has(id) {
		b.retire(id)
		out.Save = append(out.Save, Record{FrameworkGone: id})
	}
}

// has says whether any task or executor of a framework is here.
func (b *Book) has(framework string) (found bool) {
	b.shown.Ascend(&ExecutorView{Spec: &Executor{Framework: framework}}, func(v *ExecutorView) bool {
		found = v.Spec.Framework == framework
		return false
	})
	if found {
		return true
	}
	b.tasks.Ascend(&TaskView{Task: &Task{Framework: framework}}, func(v *TaskView) bool {
		found = v.Task.Framework == framework
		return false
	})
	return found
}

// maxFormer bounds how many frameworks without tasks are remembered; the original's setting.
const maxFormer = 50

// retire remembers a framework of which nothing is left here, for as long as its past is shown.
func (b *Book) retire(id string) {
	f := b.frameworks[id]
	if f == nil {
		return
	}
	delete(b.frameworks, id)
	b.former = append(slices.DeleteFunc(slices.Clone(b.former), func(x *Framework) bool { return x.ID == id }), f)
	if n := len(b.former) - maxFormer; n > 0 {
		b.former = b.former[n:]
	}
}

// dropped is the state of a task that never ran as its framework may be told it: those that know nothing of partitions hear
// TASK_LOST.
func (b *Book) dropped(framework string) mesosv1.TaskState {
	if f := b.frameworks[framework]; f != nil && !f.PartitionAware {
		return mesosv1.TaskState_TASK_LOST
	}
	return mesosv1.TaskState_TASK_DROPPED
}
