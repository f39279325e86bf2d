package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/fate"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/mesos"
)

// executor is the process of one, with what it knows.
type executor struct {
	a   *agent
	box *container
	ref workload.ExecutorRef
	fate.Executor
	spec *workload.Executor

	stream *stream // nil while it has none
	due    time.Duration
	tasks  map[string]*hosted
	owed   []*mesos.Status // not acknowledged, oldest first
	busy   time.Duration   // when it had something to do last
	ending bool
}

// hosted is a task of an executor. It is over when its box has an exit and its last update was acknowledged.
type hosted struct {
	box   *container
	acked bool // its first update was
	kill  bool
}

// stream is an executor's subscription at one process of its agent.
type stream struct {
	id   uint64
	x    *executor
	open bool
	due  time.Duration // of the last event under way
}

// describe gives an executor of a framework; the same id is always the same executor.
func (f *framework) describe(id string) *cluster.ExecutorSpec {
	return &cluster.ExecutorSpec{ID: id, Name: id, Resources: executorSize, Info: []byte(f.name + "/" + id)}
}

var executorSize = setting.Resources("cpus:0.1;mem:16")

// spawnExecutor starts its process. A default executor has none, and is a container that others are below.
func (a *agent) spawnExecutor(id string, spec *workload.Executor, u fate.Executor) *container {
	w := a.w
	x := &executor{a: a, ref: workload.ExecutorRef{Framework: spec.Framework, Executor: spec.ID}, Executor: u, spec: spec, tasks: map[string]*hosted{}, busy: w.Now()}
	c := &container{agent: a, id: id, executor: x, pid: uint32(w.ID())}
	x.box = c
	a.containers[id] = c
	w.Note("%s: container %s of %s runs, pid %d", a.name, id[:8], c.name(), c.pid)
	w.check.executorSpawned(a, c)
	if spec.Default {
		return c
	}
	w.After(u.Life, func() { c.end(workload.Exit{Status: 0x100, Known: true}) })
	if !u.Mute {
		w.After(u.Slow, x.connect)
	}
	x.watch()
	return c
}

// watch ends an executor that has had nothing to do for long.
func (x *executor) watch() {
	x.a.w.After(time.Second, func() {
		switch w := x.a.w; {
		case !x.box.running():
			return
		case x.Mute:
		case slices.ContainsFunc(x.hosts(), func(h *hosted) bool { return h.box.running() }):
			x.busy = w.Now()
		case w.Now()-x.busy > x.Patience && len(x.owed) == 0, w.Now()-x.busy > 2*time.Minute:
			w.Note("%s has nothing to do", x.box.name())
			x.box.end(workload.Exit{Known: true})
			return
		}
		x.watch()
	})
}

// hosts lists its tasks in a fixed order.
func (x *executor) hosts() (all []*hosted) {
	for _, id := range slices.Sorted(maps.Keys(x.tasks)) {
		all = append(all, x.tasks[id])
	}
	return all
}

// connect subscribes, for the first time or again, as soon as the agent is there.
func (x *executor) connect() {
	a := x.a
	switch {
	case !x.box.running() || x.stream != nil && x.stream.open:
		return
	case a.p.Dead:
		x.connectLater()
		return
	}
	x.drop()
	s := &stream{id: a.w.ID(), x: x, open: true}
	a.streams[s.id], x.stream = s, s
	in := &workload.ExecutorSubscribe{Stream: s.id, ExecutorRef: x.ref, Updates: slices.Clone(x.owed)}
	for _, id := range slices.Sorted(maps.Keys(x.tasks)) {
		if !x.tasks[id].acked {
			in.Tasks = append(in.Tasks, id)
		}
	}
	a.w.Note("%s subscribes with %d tasks and %d updates", x.box.name(), len(in.Tasks), len(in.Updates))
	x.ask(in)
}

func (x *executor) connectLater() {
	wait := x.a.w.Between(10*time.Millisecond, time.Second)
	if !x.a.w.Calm && x.a.w.Chance(0.05) {
		wait = x.a.w.Between(time.Second, 20*time.Second) // it may come too late
	}
	x.a.w.After(wait, x.connect)
}

// ask brings calls to the process of the agent that runs, in the order in which they were made. With that process it is lost,
// and perhaps with the connection that ends meanwhile.
func (x *executor) ask(calls ...workload.In) {
	a, s := x.a, x.stream
	if a.p.Dead {
		return
	}
	wait := a.w.Between(0, 3*time.Millisecond)
	if a.w.Chance(0.1) {
		wait = a.w.Between(3*time.Millisecond, 300*time.Millisecond)
	}
	x.due = max(x.due, a.w.Now()+wait)
	a.after(x.due-a.w.Now(), func() {
		if s != nil && !s.open && a.w.Chance(0.5) {
			return
		}
		for _, in := range calls {
			a.p.Post(in)
		}
	})
}

// drop forgets its stream: what was under way on it is lost.
func (x *executor) drop() {
	if x.stream != nil {
		x.stream.open = false
		x.stream = nil
	}
}

// broken says that a stream has ended at both ends; the executor tries again.
func (s *stream) broken() {
	a := s.x.a
	delete(a.streams, s.id)
	s.open = false
	if s.x.stream != s {
		return
	}
	s.x.stream = nil
	a.after(a.w.Between(0, 50*time.Millisecond), func() { a.p.Post(&workload.ExecutorClosed{Stream: s.id}) })
	s.x.connectLater()
}

// deliver brings an event to the executor whose stream it is for.
func (a *agent) deliver(e *workload.ToExecutor) {
	s := a.streams[e.Stream]
	if s == nil {
		return
	}
	s.due = max(s.due, a.w.Now()+a.w.Between(0, 10*time.Millisecond))
	a.w.At(s.due, func() {
		if s.open && s.x.box.running() {
			s.x.hear(s, e.Event)
		}
	})
}

func (x *executor) hear(s *stream, event any) {
	w := x.a.w
	switch e := event.(type) {
	case workload.LaunchEvent:
		x.host(e.Task)
	case workload.LaunchGroupEvent:
		for _, t := range e.Tasks {
			x.host(t)
		}
	case workload.KillEvent:
		if h := x.tasks[e.Task]; h != nil && h.box.running() && !h.kill {
			h.kill = true
			wait := w.Between(0, time.Second)
			if h.box.inst.script.Stubborn {
				wait = max(e.Grace, wait)
			}
			w.After(wait, func() { x.finish(h, mesosv1.TaskState_TASK_KILLED) })
		}
	case workload.AcknowledgedEvent:
		x.acknowledged(e)
	case workload.MessageEvent:
		x.ask(&workload.ExecutorMessage{ExecutorRef: x.ref, Data: e.Data})
	case workload.ShutdownEvent:
		x.shutdown()
	case workload.CloseStream:
		s.open = false
		delete(x.a.streams, s.id)
		if x.stream == s {
			x.stream = nil
			x.connectLater()
		}
	}
}

// host takes a task on.
func (x *executor) host(t *workload.Task) {
	w := x.a.w
	inst := w.check.instance(t.Info)
	h := &hosted{box: &container{agent: x.a, id: x.box.id, inst: inst, within: x.box}}
	x.tasks[t.ID] = h
	x.busy = w.Now()
	w.Note("%s runs %s", x.box.name(), inst.key)
	w.check.spawned(x.a, h.box)
	if w.Chance(0.5) {
		x.tell(h, mesosv1.TaskState_TASK_STARTING)
	}
	w.After(w.Between(0, 100*time.Millisecond), func() {
		if !h.box.running() {
			return
		}
		x.tell(h, mesosv1.TaskState_TASK_RUNNING)
		end := mesosv1.TaskState_TASK_FINISHED
		if inst.script.Status != 0 {
			end = mesosv1.TaskState_TASK_FAILED
		}
		w.After(inst.script.Life, func() { x.finish(h, end) })
	})
}

// finish ends a task, unless it has ended, and tells.
func (x *executor) finish(h *hosted, state mesosv1.TaskState) {
	if !h.box.running() {
		return
	}
	h.box.exit = &workload.Exit{Known: true}
	x.a.w.Note("%s: %s is over, %s", x.box.name(), h.box.inst.key, state)
	x.tell(h, state)
}

// tell is an update. It is owed until it was acknowledged.
func (x *executor) tell(h *hosted, state mesosv1.TaskState) {
	w := x.a.w
	s := &mesos.Status{TaskID: h.box.inst.id, State: state, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, UUID: fmt.Sprintf("x%015d", w.ID()), Healthy: -1}
	x.owed = append(x.owed, s)
	if x.stream == nil {
		return
	}
	in := &workload.ExecutorUpdate{ExecutorRef: x.ref, Status: s}
	if !x.Gossip || w.Calm {
		x.ask(in)
		return
	}
	other := *s
	other.TaskID, other.UUID = "a task of its dreams", fmt.Sprintf("x%015d", w.ID())
	x.ask(in, in, &workload.ExecutorUpdate{ExecutorRef: x.ref, Status: &other})
}

func (x *executor) acknowledged(e workload.AcknowledgedEvent) {
	n := slices.IndexFunc(x.owed, func(s *mesos.Status) bool { return s.UUID == e.UUID })
	if n < 0 {
		return
	}
	last := cluster.Terminal(x.owed[n].State)
	x.owed = slices.Delete(x.owed, n, n+1)
	h := x.tasks[e.Task]
	switch {
	case h == nil:
	case last:
		delete(x.tasks, e.Task)
	default:
		h.acked = true
	}
}

// shutdown ends its tasks and itself.
func (x *executor) shutdown() {
	if x.ending || x.Stubborn {
		return
	}
	x.ending = true
	for _, h := range x.hosts() {
		x.finish(h, mesosv1.TaskState_TASK_KILLED)
	}
	x.a.w.After(x.a.w.Between(0, 3*time.Second), func() { x.box.end(workload.Exit{Known: true}) })
}

// gone follows the end of its process: the agent that runs sees its connection end, before or after it hears of the process.
func (x *executor) gone() {
	if s := x.stream; s != nil && s.open {
		s.broken()
	}
}

// The ways of executors to go wrong, beside those of their processes.
var executorFaults = []fault{
	{"an executor's connection is cut", 16, func(w *World) bool {
		a := w.pickAgent()
		for _, id := range slices.Sorted(maps.Keys(a.streams)) {
			w.Note("the connection of %s is cut", a.streams[id].x.box.name())
			a.streams[id].broken()
			return true
		}
		return false
	}},
	{"an executor subscribes twice", 3, func(w *World) bool {
		a := w.pickAgent()
		for _, id := range slices.Sorted(maps.Keys(a.streams)) {
			x := a.streams[id].x
			x.drop()
			x.connect()
			return true
		}
		return false
	}},
	{"an executor dies", 4, func(w *World) bool {
		a := w.pickAgent()
		for _, id := range slices.Sorted(maps.Keys(a.containers)) {
			if c := a.containers[id]; c.executor != nil && c.running() {
				c.end(workload.Exit{Status: 9, Known: true})
				return true
			}
		}
		return false
	}},
}
