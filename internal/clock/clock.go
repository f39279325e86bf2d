// Package clock is time's only door: whoever needs the time or a timer is handed a Clock, so that a test or the simulator
// can hand them another one.
package clock

import (
	"context"
	"time"

	"github.com/pando-os/pando/internal/machine"
)

// Clock tells the time and wakes those who wait. Its methods may be called from any goroutine.
type Clock interface {
	// Now is the time of this moment, both readings taken together.
	Now() machine.Now
	// NewTimer makes a timer that fires once, d from now; at once when d is not positive.
	NewTimer(d time.Duration) Timer
}

// Timer sends once on C when its time has come. One goroutine owns a timer.
type Timer interface {
	// C receives the wall time of the firing. It holds one value at most, and none after Stop or Reset return.
	C() <-chan time.Time
	// Reset sets the timer to fire d from now, whether it had fired or not.
	Reset(d time.Duration)
	// Stop keeps the timer from firing.
	Stop()
}

// Sleep waits for d on c, or until ctx ends; then it returns ctx's error.
func Sleep(ctx context.Context, c Clock, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Real returns the machine's own clock. Mono counts from the call, so two clocks of one process must not be mixed.
func Real() Clock { return &realClock{start: time.Now()} }

type realClock struct{ start time.Time }

func (c *realClock) Now() machine.Now {
	now := time.Now()
	// One nanosecond is added because a Mono of zero means "never" where deadlines are written down.
	return machine.Now{Mono: now.Sub(c.start) + 1, Wall: now.UnixNano()}
}

func (c *realClock) NewTimer(d time.Duration) Timer { return realTimer{time.NewTimer(d)} }

type realTimer struct{ t *time.Timer }

func (t realTimer) C() <-chan time.Time   { return t.t.C }
func (t realTimer) Reset(d time.Duration) { t.t.Reset(d) }
func (t realTimer) Stop()                 { t.t.Stop() }
