// Package sim is a simulated cluster: the real machines of the master and of agents, frameworks that behave well and
// badly, a network, disks and containers, all in one goroutine, in virtual time, and from one seed. Checkers look at
// everything that happens; a failing seed replays exactly.
//
// Only the shells are replaced. What is here instead of them is as unkind as the real ones may be: a connection is in
// order until it is cut and loses what was under way; a save is durable after a while and a crash may lose it, or half of
// it; a process may crash between any two effects of a turn.
package sim

import (
	"runtime/debug"

	"github.com/pando-os/pando/internal/sim/plan"
	"github.com/pando-os/pando/internal/sim/registry"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/internal/sim/share"
	"github.com/pando-os/pando/internal/sim/stage"
)

// World is one simulated cluster. It is used by one goroutine.
type World struct {
	*stage.Stage
	Params Params

	store   *registry.Registry
	masters []*master
	leader  *term // of the highest epoch; it may be over
	agents  []*agent
	fws     []*framework
	check   *checks
	steps   int

	// At the end, see shares.go.
	sharing *share.Count
	over    bool
}

// Failure is what a checker found.
type Failure = stage.Failure

// Params are what a seed is made into.
type Params = plan.Params

// Run plays a world to its end: first with faults, then without, until every wish is met. It returns nil when no checker
// found anything.
func Run(p Params) (w *World, f *Failure) {
	w = &World{Stage: stage.New(p.Seed, p.Trace), Params: p}
	w.check = newChecks(w)
	w.store = registry.New(w.Stage, saveTimeout, w.check.committed)
	defer func() {
		if r := recover(); r != nil {
			w.Fail(rule.NoPanic, "%v\n%s", r, debug.Stack())
			f = w.Failure()
		}
	}()
	w.setUp()
	for w.Failure() == nil && !w.over {
		do, ok := w.Next()
		if !ok {
			w.Fail(rule.Liveness, "nothing will ever happen again")
			break
		}
		switch {
		case !w.Calm && w.Now() >= w.Params.Faults:
			w.calmDown()
		case w.Calm && w.sharing == nil && w.check.settled():
			w.check.final()
			w.over = w.over || !w.canShare()
			if !w.over && w.Failure() == nil {
				w.share()
			}
		}
		w.steps++
		do()
	}
	w.Cover.Events, w.Cover.Time = w.steps, w.Now()
	return w, w.Failure()
}
