package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/fate"
	"github.com/pando-os/pando/internal/sim/reach"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/mesos/resource"
)

// launch is one that is under way; it ends with the agent's process.
type launch struct {
	canceled bool
	hurry    func() // goes on at once; nil: it cannot
}

// container is a process that runs, or the record of its end: a task's, or an executor's, or a task's within an executor's.
type container struct {
	agent    *agent
	id       string
	inst     *instance // nil for an executor's
	executor *executor
	within   *container
	pid      uint32
	exit     *workload.Exit
	gone     bool // with its machine
	killed   bool
	killAt   time.Duration
}

func (c *container) running() bool {
	return c.exit == nil && !c.gone && (c.within == nil || c.within.running())
}

// name says what it is of.
func (c *container) name() string {
	if c.executor != nil {
		return "executor " + c.executor.ref.Framework + "/" + c.executor.ref.Executor
	}
	return c.inst.key
}

// holds says what it has of its machine, and whose framework's it is.
func (c *container) holds() (owner string, what resource.List) {
	if c.executor != nil {
		return c.executor.ref.Framework, c.executor.spec.Resources
	}
	return c.inst.owner, c.inst.spec.Resources
}

// stubborn containers do not heed SIGTERM.
func (c *container) stubborn() bool {
	return c.executor != nil && c.executor.Stubborn || c.inst != nil && c.inst.script.Stubborn
}

func (c *container) found() workload.Found {
	return workload.Found{Container: c.id, PID: c.pid, Ticks: uint64(c.pid) * 7, Exit: c.exit, Networks: reach.Networks(c.id)}
}

// launch is what an agent's hands do for a Launch: they fetch, start the process, and tell. A crash of the agent ends it
// anywhere; a container that was started stays. Its Exit may be told first.
func (a *agent) launch(w *workload.LaunchWork) {
	l := &launch{}
	a.launches[w.Container] = l
	inst := a.w.check.instance(w.Task.Info)
	failure, start := inst.script.Failure, func() *container { return a.spawn(w.Container, inst, nil) }
	switch {
	case w.Parent != "":
		start = func() *container {
			up := a.containers[w.Parent]
			if up == nil || !up.running() {
				return nil
			}
			return a.spawn(w.Container, inst, up)
		}
	case w.Executor != nil:
		u := fate.OfExecutor(a.w.Stage)
		failure, start = u.Failure, func() *container { return a.spawnExecutor(w.Container, w.Executor, u) }
	}
	tell := func(in workload.Launched) {
		delete(a.launches, w.Container)
		in.Container = w.Container
		a.p.Post(&in)
	}
	fetch := a.w.Between(time.Millisecond, 50*time.Millisecond)
	if a.w.Chance(0.1) {
		fetch = a.w.Between(50*time.Millisecond, 20*time.Second)
	}
	step := func() {
		if a.launches[w.Container] != l {
			return // a cancel came before
		}
		if l.canceled {
			tell(workload.Launched{Failure: workload.LaunchCanceled})
			return
		}
		a.p.Post(&workload.Joined{Container: w.Container, Networks: reach.Networks(w.Container)})
		if failure != workload.LaunchOK {
			tell(workload.Launched{Failure: failure, Words: "it was to fail"})
			return
		}
		c := start()
		if c == nil {
			tell(workload.Launched{Failure: workload.LaunchRefused, Words: "what it was to be below has ended"})
			return
		}
		a.after(a.w.Between(0, 30*time.Millisecond), func() {
			if l.canceled && a.w.Chance(0.5) { // both may come first
				c.end(workload.Exit{Status: 9, Known: true})
				a.forget(c.id)
				tell(workload.Launched{Failure: workload.LaunchCanceled})
				return
			}
			tell(workload.Launched{PID: c.pid, Ticks: uint64(c.pid) * 7})
		})
	}
	if reach.Stalls(w.Container) {
		fetch, failure, l.hurry = reach.Stalled, workload.LaunchRefused, step
	}
	a.after(fetch, step)
}

// cancel stops a launch that has not started a process.
func (a *agent) cancel(id string) {
	if l := a.launches[id]; l != nil {
		l.canceled = true
		if l.hurry != nil {
			l.hurry()
		}
	}
}

// spawn starts a task's process, by itself or below a default executor's container.
func (a *agent) spawn(id string, inst *instance, within *container) *container {
	c := &container{agent: a, id: id, inst: inst, within: within, pid: uint32(a.w.ID())}
	a.containers[id] = c
	a.w.Note("%s: container %s of %s runs, pid %d", a.name, id[:8], inst.key, c.pid)
	a.w.check.spawned(a, c)
	if a.w.Chance(0.2) {
		a.checkHealth(c)
	}
	s := inst.script
	a.w.After(s.Life/2, func() { c.overdraw(a.w.Now()) })
	a.w.After(s.Life, func() { c.end(workload.Exit{Status: s.Status, Known: true, OOM: s.OOM, Limit: 64 << 20}) })
	return c
}

// checkHealth tells the agent that runs how a container is, as long as it runs. Some are not well.
func (a *agent) checkHealth(c *container) {
	a.w.After(a.w.Between(time.Second, 20*time.Second), func() {
		if !c.running() {
			return
		}
		a.checkHealth(c)
		if !a.p.Dead {
			sick := a.w.Chance(0.03)
			h := &workload.Health{Container: c.id, Healthy: 1, EverHealthy: true, Kill: sick}
			if sick {
				h.Healthy, h.Failures = 0, 3
			}
			a.p.Post(h)
		}
	})
}

// overdraw has some containers take more disk than they have, which their agents see every few seconds, and end them.
func (c *container) overdraw(since time.Duration) {
	a := c.agent
	if c.pid%37 != 0 || !c.running() {
		return
	}
	if a.p.Dead {
		since = a.w.Now()
	} else if a.p.Post(&workload.Overdrawn{Container: c.id, Used: 2, Limit: 1}); a.w.Now()-since > patience {
		a.w.Fail(rule.KillDone, "%s takes more disk than it has for %s, and its agent lets it go on", c.name(), a.w.Now()-since)
	}
	a.w.After(5*time.Second, func() { c.overdraw(since) })
}

// end is the end of the container's process. The agent that runs then hears of it, sometimes twice.
func (c *container) end(e workload.Exit) {
	if !c.running() {
		return
	}
	a := c.agent
	if a.w.Chance(0.02) {
		e = workload.Exit{} // its shim died, and it with it
		if c.within != nil && c.pid != 0 {
			c = c.within // whose shim it was
		}
	}
	for _, y := range a.below(c) {
		y.end(e)
	}
	if !c.running() {
		return // the end of one below it was its own
	}
	c.exit = &e
	a.w.Note("%s: container %s of %s ended, status %#x", a.name, c.id[:8], c.name(), e.Status)
	if c.executor != nil {
		c.executor.gone()
	}
	if a.p.Dead {
		return
	}
	for times := 1; times > 0; {
		a.after(a.w.Between(0, 20*time.Millisecond), func() { a.p.Post(&workload.Exited{Container: c.id, Exit: e}) })
		if !a.w.Chance(0.05) {
			times--
		}
	}
}

// below lists the containers that run below another one.
func (a *agent) below(c *container) (all []*container) {
	if c.executor == nil || !c.executor.spec.Default {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(a.containers)) {
		if y := a.containers[id]; y.within == c && y.running() {
			all = append(all, y)
		}
	}
	return all
}

// kill sends SIGTERM, and SIGKILL after grace; the shim does it even if the agent crashes meanwhile.
func (a *agent) kill(id string, grace time.Duration) {
	c := a.containers[id]
	if c == nil || !c.running() {
		return
	}
	at := a.w.Now() + grace
	if c.killed && at >= c.killAt {
		return
	}
	first := !c.killed
	c.killed, c.killAt = true, at
	if first && !c.stubborn() {
		a.w.After(min(grace, a.w.Between(0, time.Second)), func() { c.end(workload.Exit{Status: 15, Known: true}) })
	}
	a.w.At(at, func() { c.end(workload.Exit{Status: 9, Known: true}) })
}

// forget removes the record of an end.
func (a *agent) forget(id string) {
	if c := a.containers[id]; c != nil && !c.running() {
		delete(a.containers, id)
	}
}

// running lists what runs on a machine in a fixed order: containers, and the tasks within those of executors.
func (a *agent) running() (all []*container) {
	for _, id := range slices.Sorted(maps.Keys(a.containers)) {
		c := a.containers[id]
		if !c.running() {
			continue
		}
		all = append(all, c)
		if c.executor == nil {
			continue
		}
		for _, h := range c.executor.hosts() {
			if h.box.running() {
				all = append(all, h.box)
			}
		}
	}
	return all
}
