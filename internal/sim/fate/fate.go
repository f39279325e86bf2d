// Package fate draws what is going to happen to a task, or to an executor, by itself.
package fate

import (
	"time"

	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/stage"
)

// forever is longer than any play.
const forever = 1000 * time.Hour

// Task is what a task is going to do.
type Task struct {
	Life     time.Duration // until it ends by itself
	Status   uint32        // as wait(2) gives it
	OOM      bool
	Stubborn bool // it ignores SIGTERM
	Refused  bool // the agent cannot run it
	Failure  workload.LaunchFailure
}

// OfTask draws that of a task.
func OfTask(w *stage.Stage) Task {
	s := Task{Life: w.Between(0, 30*time.Second), Stubborn: w.Chance(0.3)}
	switch p := w.Rand.Float64(); {
	case w.Calm:
		s.Life = time.Second
	case p < 0.1:
		s.Life = w.Between(0, 20*time.Millisecond)
	case p < 0.3:
		s.Life = w.Between(time.Minute, 10*time.Minute)
	case p < 0.4:
		s.Life = forever
	case p < 0.45:
		s.Failure = workload.LaunchFailure(1 + w.Rand.IntN(3))
	case p < 0.48:
		s.Refused = true
	case p < 0.55:
		s.Status = 0x100
	case p < 0.6:
		s.Status, s.OOM = 9, true
	}
	return s
}

// Executor is what an executor of a framework's own is going to be like.
type Executor struct {
	Failure  workload.LaunchFailure
	Mute     bool          // it never subscribes
	Slow     time.Duration // until it subscribes
	Life     time.Duration // until it dies by itself
	Patience time.Duration // until it ends itself, once it has nothing to do
	Stubborn bool          // it hears neither SHUTDOWN nor SIGTERM
	Gossip   bool          // it tells of tasks that it does not have, and everything twice
}

// OfExecutor draws that of an executor.
func OfExecutor(w *stage.Stage) Executor {
	u := Executor{
		Slow: w.Between(0, 2*time.Second), Life: forever, Patience: w.Between(time.Second, 2*time.Minute),
		Stubborn: w.Chance(0.2), Gossip: w.Chance(0.2),
	}
	switch p := w.Rand.Float64(); {
	case w.Calm:
		u.Patience = time.Second
	case p < 0.06:
		u.Failure = workload.LaunchFailure(1 + w.Rand.IntN(3))
	case p < 0.12:
		u.Mute = true
	case p < 0.35:
		u.Life = w.Between(0, 2*time.Minute)
	}
	return u
}
