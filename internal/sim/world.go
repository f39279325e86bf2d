// Package sim is a simulated cluster: the real machines of the master and of agents, frameworks that behave well and
// badly, a network, disks and containers, all in one goroutine, in virtual time, and from one seed. Checkers look at
// everything that happens; a failing seed replays exactly.
//
// Only the shells are replaced. What is here instead of them is as unkind as the real ones may be: a connection is in
// order until it is cut and loses what was under way; a save is durable after a while and a crash may lose it, or half of
// it; a process may crash between any two effects of a turn.
package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/pando-os/pando/internal/sim/cover"
	"github.com/pando-os/pando/internal/sim/events"
	"github.com/pando-os/pando/internal/sim/rule"
)

// World is one simulated cluster. It is used by one goroutine.
type World struct {
	Params Params

	rng    *rand.Rand
	now    time.Duration
	events events.Queue
	calm   bool // faults have stopped

	store   *store
	masters []*master
	leader  *term // of the highest epoch; it may be over
	agents  []*agent
	fws     []*framework
	conns   []*conn
	nextID  uint64

	walls   map[way]time.Duration
	check   *checks
	cover   *cover.Table
	trace   []string
	steps   int
	failure *Failure

	// At the end, see shares.go.
	sharing *sharing
	over    bool
}

// Failure is what a checker found.
type Failure struct {
	// Checker is the name of the one that found it.
	Checker string
	// Words say what is wrong.
	Words string
	// At is the virtual time.
	At time.Duration
}

// Error names the checker first.
func (f *Failure) Error() string { return fmt.Sprintf("%s: at %s: %s", f.Checker, f.At, f.Words) }

// after calls do when the virtual time has come.
func (w *World) after(d time.Duration, do func()) { w.at(w.now+d, do) }

func (w *World) at(t time.Duration, do func()) {
	w.events.Push(max(t, w.now), do)
}

// between draws a duration.
func (w *World) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.rng.Int64N(int64(hi-lo)))
}

// chance is true with probability p.
func (w *World) chance(p float64) bool { return w.rng.Float64() < p }

// id gives a number that was never given before.
func (w *World) id() uint64 {
	w.nextID++
	return w.nextID
}

// wall is the true time of day; each process reads it with an error of its own.
func (w *World) wall() int64 { return 1_700_000_000e9 + int64(w.now) }

// fail notes the first thing that a checker found; the run then ends.
func (w *World) fail(checker, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{checker, fmt.Sprintf(format, args...), w.now}
		w.note("CHECKER %s", w.failure)
	}
}

// Run plays a world to its end: first with faults, then without, until every wish is met. It returns nil when no checker
// found anything.
func Run(p Params) (w *World, f *Failure) {
	w = &World{Params: p, rng: rand.New(rand.NewPCG(p.Seed, 0x9e3779b97f4a7c15)), walls: map[way]time.Duration{}, cover: cover.New(boundaryNames[:])}
	w.store, w.check = newStore(w), newChecks(w)
	defer func() {
		if r := recover(); r != nil {
			w.fail(rule.NoPanic, "%v\n%s", r, debug.Stack())
			f = w.failure
		}
	}()
	w.setUp()
	for w.failure == nil && !w.over {
		if w.events.Len() == 0 {
			w.fail(rule.Liveness, "nothing will ever happen again")
			break
		}
		at, do := w.events.Pop()
		w.now = at
		switch {
		case !w.calm && w.now >= w.Params.Faults:
			w.calmDown()
		case w.calm && w.sharing == nil && w.check.settled():
			w.check.final()
			w.over = w.over || !w.canShare()
			if !w.over && w.failure == nil {
				w.share()
			}
		}
		w.steps++
		do()
	}
	w.cover.Events, w.cover.Time = w.steps, w.now
	return w, w.failure
}
