// Package stage is what a simulated cluster is played on: virtual time, chance from a seed, a network of connections that break,
// and processes that crash between any two effects of their machines. It knows nothing of clusters.
package stage

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pando-os/pando/internal/sim/cover"
	"github.com/pando-os/pando/internal/sim/events"
)

// Stage is used by one goroutine.
type Stage struct {
	// Rand is where all chance comes from.
	Rand *rand.Rand
	// Cover counts what happens.
	Cover *cover.Table
	// Calm says that faults have stopped.
	Calm bool
	// Prompt says that no message takes long any more.
	Prompt bool

	now     time.Duration
	queue   events.Queue
	nextID  uint64
	failure *Failure

	conns []*Conn // ended ones among them
	prune int     // beyond so many the ended ones are taken out
	walls map[way]time.Duration

	tracing bool
	trace   []string
}

// New makes a stage on which nothing has happened. Two of the same seed play alike, with a trace or without.
func New(seed uint64, tracing bool) *Stage {
	return &Stage{
		Rand: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), Cover: cover.New(boundaryNames[:]), walls: map[way]time.Duration{}, prune: 256, tracing: tracing,
	}
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

// Fail notes the first thing that a checker found; the play should then end.
func (w *Stage) Fail(checker, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{checker, fmt.Sprintf(format, args...), w.now}
		w.Note("CHECKER %s", w.failure)
	}
}

// Failure is what was found first; nil while nothing is wrong.
func (w *Stage) Failure() *Failure { return w.failure }

// Next takes the next event and moves time to it; false when nothing will ever happen again.
func (w *Stage) Next() (do func(), ok bool) {
	if w.queue.Len() == 0 {
		return nil, false
	}
	w.now, do = w.queue.Pop()
	return do, true
}

// Now is how long the stage has been there.
func (w *Stage) Now() time.Duration { return w.now }

// After calls do when so much time has passed.
func (w *Stage) After(d time.Duration, do func()) { w.At(w.now+d, do) }

// At calls do at a time, or at once when that is over.
func (w *Stage) At(t time.Duration, do func()) { w.queue.Push(max(t, w.now), do) }

// Between draws a duration.
func (w *Stage) Between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(w.Rand.Int64N(int64(hi-lo)))
}

// Chance is true with probability p.
func (w *Stage) Chance(p float64) bool { return w.Rand.Float64() < p }

// ID gives a number that was never given before.
func (w *Stage) ID() uint64 {
	w.nextID++
	return w.nextID
}

// Wall is the true time of day in nanoseconds; each process reads it with an error of its own.
func (w *Stage) Wall() int64 { return 1_700_000_000e9 + int64(w.now) }
