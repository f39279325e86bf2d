package fleet

import (
	"time"

	"github.com/pando-os/pando/internal/core/workload"
)

// atOnce is a run time below which a container ends with the very step that starts it.
const atOnce = time.Millisecond

// container pretends to be one. It outlives a restart of its agent, and goes on while that hangs.
type container struct {
	started bool
	fails   bool
	exit    *workload.Exit
	timer   *time.Timer // of the start, then of the end
}

// do pretends to do what the book asks for. The caller holds the lock.
func (a *agent) do(w *workload.Work, s *scratch) {
	switch {
	case w.Launch != nil:
		a.launch(w.Launch.Container, s)
	case w.Cancel != "":
		if c := a.containers[w.Cancel]; c != nil && !c.started {
			a.forget(w.Cancel)
			s.queue = append(s.queue, &workload.Launched{Container: w.Cancel, Failure: workload.LaunchCanceled})
			a.fleet.counts.ended.Add(1)
			a.fleet.counts.killed.Add(1)
		}
	case w.Kill != nil:
		if c := a.containers[w.Kill.Container]; c != nil && c.started && c.exit == nil {
			a.end(c, workload.Exit{Known: true, Status: 15})
			a.fleet.counts.killed.Add(1)
			s.queue = append(s.queue, &workload.Exited{Container: w.Kill.Container, Exit: *c.exit})
		}
	case w.RemoveVolume != nil:
		s.queue = append(s.queue, &workload.VolumeRemoved{UUID: w.RemoveVolume.UUID})
	case w.PlaceVolumes != nil:
		t := w.PlaceVolumes.Task
		s.queue = append(s.queue, &workload.VolumesPlaced{Ref: workload.Ref{Framework: t.Framework, Task: t.ID}, Container: w.PlaceVolumes.Container})
	case w.Forget != "":
		a.forget(w.Forget)
	case w.Destroy != "":
		a.forget(w.Destroy)
	}
}

func (a *agent) launch(id string, s *scratch) {
	a.fleet.counts.launched.Add(1)
	c := &container{fails: a.fleet.cfg.Tasks.FailureRate > 0 && a.rng.Float64() < a.fleet.cfg.Tasks.FailureRate}
	if a.containers == nil {
		a.containers = map[string]*container{}
	}
	a.containers[id] = c
	if d := a.fleet.cfg.Tasks.Start.draw(a.rng); d > 0 {
		c.timer = time.AfterFunc(d, func() { a.due(id) })
		return
	}
	a.begin(id, c)
	s.queue = append(s.queue, launched(id))
	if c.exit != nil {
		s.queue = append(s.queue, &workload.Exited{Container: id, Exit: *c.exit})
	}
}

func launched(id string) workload.In { return &workload.Launched{Container: id, PID: 1, Ticks: 1} }

// begin starts a container; one that runs for less than a moment has ended by then, too.
func (a *agent) begin(id string, c *container) {
	c.started = true
	a.fleet.counts.running.Add(1)
	t := a.fleet.cfg.Tasks
	d := t.Run.draw(a.rng)
	switch {
	case t.Run.Max == 0 && !c.fails: // until it is killed
	case d < atOnce:
		a.end(c, c.ending())
	default:
		c.timer = time.AfterFunc(d, func() { a.due(id) })
	}
}

// ending is how a container ends by itself.
func (c *container) ending() workload.Exit {
	if c.fails {
		return workload.Exit{Known: true, Status: 1 << 8}
	}
	return workload.Exit{Known: true}
}

func (a *agent) end(c *container, e workload.Exit) {
	if c.timer != nil {
		c.timer.Stop()
	}
	c.exit = &e
	a.fleet.counts.running.Add(-1)
	a.fleet.counts.ended.Add(1)
	if e.Status == 1<<8 {
		a.fleet.counts.failed.Add(1)
	}
}

// due is the next moment of a container: its start, or its end.
func (a *agent) due(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.containers[id]
	if c == nil || c.exit != nil {
		return
	}
	if !c.started {
		a.begin(id, c)
		a.happen(launched(id))
	} else {
		a.end(c, c.ending())
	}
	if c.exit != nil {
		a.happen(&workload.Exited{Container: id, Exit: *c.exit})
	}
}

// happen tells the agent what a container did: now, when it wakes up, or by what it finds when it comes back.
func (a *agent) happen(in workload.In) {
	switch a.mode {
	case up:
		a.step(in)
	case hung:
		a.late = append(a.late, in)
	case away, gone:
	}
}

// forget drops a container. One that still runs is ended.
func (a *agent) forget(id string) {
	c := a.containers[id]
	if c == nil {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.started && c.exit == nil {
		a.end(c, workload.Exit{Known: true, Status: 9})
	}
	delete(a.containers, id)
	if len(a.containers) == 0 {
		a.containers = nil // a map keeps the room that it once needed
	}
}

// found lists the containers for a process that starts. One that was about to start has done so.
func (a *agent) found() []workload.Found {
	var out []workload.Found
	for id, c := range a.containers {
		if !c.started {
			if c.timer != nil {
				c.timer.Stop()
			}
			a.begin(id, c)
		}
		out = append(out, workload.Found{Container: id, PID: 1, Ticks: 1, Exit: c.exit})
	}
	return out
}

// lose takes all containers away with their machine.
func (a *agent) lose() {
	for _, c := range a.containers {
		if c.timer != nil {
			c.timer.Stop()
		}
		if c.started && c.exit == nil {
			a.fleet.counts.running.Add(-1)
		}
		if c.exit == nil {
			a.fleet.counts.gone.Add(1)
		}
	}
	a.containers = nil
}
