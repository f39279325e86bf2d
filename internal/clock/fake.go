package clock

import (
	"context"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/machine"
)

// Fake is a clock that moves only when it is told to.
type Fake struct {
	mu     sync.Mutex
	now    machine.Now
	timers []*fakeTimer  // armed ones, in no order
	armed  chan struct{} // closed and replaced whenever a timer is armed
}

// NewFake makes a fake clock whose wall reading is wall and whose Mono is one second.
func NewFake(wall time.Time) *Fake {
	return &Fake{now: machine.Now{Mono: time.Second, Wall: wall.UnixNano()}, armed: make(chan struct{})}
}

// Now is the time the clock was last moved to.
func (f *Fake) Now() machine.Now {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// NewTimer arms a timer that fires when the clock has been moved by d.
func (f *Fake) NewTimer(d time.Duration) Timer {
	t := &fakeTimer{clock: f, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// Advance moves both readings by d and fires what came due, earliest first; each firing sees its own time.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.now.Mono + d
	for {
		next := -1
		for i, t := range f.timers {
			if t.at <= end && (next < 0 || t.at < f.timers[next].at) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		t := f.timers[next]
		f.moveTo(max(t.at, f.now.Mono))
		f.drop(t)
		t.c <- f.now.Time()
	}
	f.moveTo(end)
}

// Jump moves the wall reading alone, as an administrator does who sets the date.
func (f *Fake) Jump(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.Wall += int64(d)
}

// Await returns when n timers or more are armed, so that a test can move the clock knowing that the code under test waits.
func (f *Fake) Await(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		enough, armed := len(f.timers) >= n, f.armed
		f.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-armed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *Fake) moveTo(mono time.Duration) {
	f.now.Wall += int64(mono - f.now.Mono)
	f.now.Mono = mono
}

func (f *Fake) drop(t *fakeTimer) {
	for i, other := range f.timers {
		if other == t {
			f.timers = append(f.timers[:i], f.timers[i+1:]...)
			return
		}
	}
}

type fakeTimer struct {
	clock *Fake
	at    time.Duration // guarded by clock.mu
	c     chan time.Time
}

func (t *fakeTimer) C() <-chan time.Time { return t.c }

func (t *fakeTimer) Reset(d time.Duration) {
	f := t.clock
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(t)
	t.drain()
	if d <= 0 {
		t.c <- f.now.Time()
		return
	}
	t.at = f.now.Mono + d
	f.timers = append(f.timers, t)
	close(f.armed)
	f.armed = make(chan struct{})
}

func (t *fakeTimer) Stop() {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.clock.drop(t)
	t.drain()
}

func (t *fakeTimer) drain() {
	select {
	case <-t.c:
	default:
	}
}
