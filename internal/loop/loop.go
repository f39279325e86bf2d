// Package loop drives a machine: one goroutine, a mailbox, a saver. It is written once, so that the order of effects
// (DESIGN §1) is kept in one place: what a step sends, does, tells and shows is released only when everything saved
// before it is durable, in the order of the steps.
//
// The loop never waits for a save: it keeps stepping, and the saver commits what has gathered as one transaction.
package loop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pando-os/pando/internal/machine"
)

// Clock gives time to the loop; clock.Clock is one.
type Clock interface {
	Now() machine.Now
}

// Hands is what a shell lends to the loop. All but Save are called in the order of the steps, one at a time, and must
// not block: queues belong behind them.
type Hands[R, M, W, F any] interface {
	// Save makes records durable as one transaction. It is called by the saver alone, one call at a time. An error ends
	// the loop: the machine's state is then ahead of what is durable, so it must be dropped and loaded again.
	Save(ctx context.Context, records []R) error
	Send(messages []M)
	Do(work []W)
	Tell(now machine.Now, facts []F)
	// Show publishes what Snapshot returned at the end of the turn.
	Show(view any)
}

// Config bounds a loop.
type Config struct {
	// Mailbox is how many inputs may wait; Put then waits, Post refuses. Zero: 65,536.
	Mailbox int
	// Turn is how many inputs are stepped before what they ask for is released. Zero: 256.
	Turn int
	// Ahead is how many turns the loop may be ahead of the saver. Zero: 64.
	Ahead int
}

// ErrStopped is what Put and Post return once the loop has ended.
var ErrStopped = errors.New("the loop has ended")

// ErrFull is what Post returns when the mailbox is full.
var ErrFull = errors.New("the mailbox is full; try again")

// Loop runs one machine.
type Loop[In, R, M, W, F any] struct {
	machine  machine.Machine[In, R, M, W, F]
	hands    Hands[R, M, W, F]
	clock    Clock
	snapshot func() any
	cfg      Config

	mu      sync.Mutex // guards box, stopped
	box     []In
	stopped bool
	wake    chan struct{} // something is in the box
	room    chan struct{} // the box was emptied
	done    chan struct{}

	pending atomic.Int64 // turns handed to the saver and not released
	saves   chan *turn[R, M, W, F]
	free    chan *turn[R, M, W, F]
}

// turn is what some steps in a row asked for.
type turn[R, M, W, F any] struct {
	out  machine.Out[R, M, W, F]
	now  machine.Now
	view any
}

// New makes a loop that is not running. snapshot is called by the loop after each turn and must cost little; nil when
// nothing is shown.
func New[In, R, M, W, F any](m machine.Machine[In, R, M, W, F], h Hands[R, M, W, F], c Clock, snapshot func() any, cfg Config) *Loop[In, R, M, W, F] {
	if cfg.Mailbox == 0 {
		cfg.Mailbox = 65_536
	}
	if cfg.Turn == 0 {
		cfg.Turn = 256
	}
	if cfg.Ahead == 0 {
		cfg.Ahead = 64
	}
	return &Loop[In, R, M, W, F]{
		machine: m, hands: h, clock: c, snapshot: snapshot, cfg: cfg,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{}),
		saves: make(chan *turn[R, M, W, F], cfg.Ahead), free: make(chan *turn[R, M, W, F], cfg.Ahead+2),
	}
}

// Post puts an input into the mailbox without waiting.
func (l *Loop[In, R, M, W, F]) Post(in In) error {
	l.mu.Lock()
	switch {
	case l.stopped:
		l.mu.Unlock()
		return ErrStopped
	case len(l.box) >= l.cfg.Mailbox:
		l.mu.Unlock()
		return ErrFull
	}
	l.box = append(l.box, in)
	first := len(l.box) == 1
	l.mu.Unlock()
	if first {
		signal(l.wake)
	}
	return nil
}

// Put puts an input into the mailbox and waits for room.
func (l *Loop[In, R, M, W, F]) Put(ctx context.Context, in In) error {
	for {
		err := l.Post(in)
		if !errors.Is(err, ErrFull) {
			return err
		}
		select {
		case <-l.room:
			signal(l.room) // others may wait too
		case <-l.done:
			return ErrStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Done is closed when the loop has ended and nothing of it is released any more.
func (l *Loop[In, R, M, W, F]) Done() <-chan struct{} { return l.done }

// Run steps the machine until the context ends or a save fails; the error says which. What was saved is released before
// it returns; what was not is dropped.
func (l *Loop[In, R, M, W, F]) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	saver := make(chan struct{})
	go func() {
		defer close(saver)
		if err := l.save(ctx); err != nil {
			cancel(fmt.Errorf("save: %w", err))
		}
	}()
	l.steps(ctx)
	l.mu.Lock()
	l.stopped, l.box = true, nil
	l.mu.Unlock()
	close(l.saves)
	<-saver
	close(l.done)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (l *Loop[In, R, M, W, F]) steps(ctx context.Context) {
	timer := time.NewTimer(time.Hour) //nolint:forbidigo // the wait alone; what time it is then, the clock says
	defer timer.Stop()
	var batch, spare []In
	at := 0
	for ctx.Err() == nil {
		if at == len(batch) {
			clear(batch)
			l.mu.Lock()
			batch, l.box, spare, at = l.box, spare[:0], batch, 0
			l.mu.Unlock()
			if len(batch) > 0 {
				signal(l.room)
			}
		}
		now := l.clock.Now()
		due := l.machine.Deadline()
		if at == len(batch) && (due == machine.Never || due > now.Mono) {
			wait := time.Hour
			if due != machine.Never {
				wait = due - now.Mono
			}
			timer.Reset(wait)
			select {
			case <-l.wake:
			case <-timer.C:
			case <-ctx.Done():
			}
			continue
		}
		t := l.turn()
		t.now = now
		if at == len(batch) {
			var none In
			l.machine.Step(now, none, &t.out)
		}
		for n := 0; at < len(batch) && n < l.cfg.Turn; n++ {
			l.machine.Step(now, batch[at], &t.out)
			at++
		}
		if l.snapshot != nil {
			t.view = l.snapshot()
		}
		l.finish(ctx, t)
	}
}

// finish releases a turn at once when nothing before it waits to be saved, and hands it to the saver otherwise.
func (l *Loop[In, R, M, W, F]) finish(ctx context.Context, t *turn[R, M, W, F]) {
	if len(t.out.Save) == 0 && l.pending.Load() == 0 {
		l.release(t)
		return
	}
	l.pending.Add(1)
	select {
	case l.saves <- t:
	case <-ctx.Done():
	}
}

// save commits turns in order, as many at once as have gathered.
func (l *Loop[In, R, M, W, F]) save(ctx context.Context) error {
	var group []*turn[R, M, W, F]
	var records []R
	for t := range l.saves {
		group = append(group[:0], t)
		for more := true; more; {
			select {
			case t, ok := <-l.saves:
				if more = ok; ok {
					group = append(group, t)
				}
			default:
				more = false
			}
		}
		records = records[:0]
		for _, t := range group {
			records = append(records, t.out.Save...)
		}
		if len(records) > 0 {
			if err := l.hands.Save(ctx, records); err != nil {
				return err
			}
		}
		for _, t := range group {
			l.release(t)
			l.pending.Add(-1)
		}
	}
	return nil
}

func (l *Loop[In, R, M, W, F]) release(t *turn[R, M, W, F]) {
	if l.snapshot != nil {
		l.hands.Show(t.view)
	}
	if len(t.out.Send) > 0 {
		l.hands.Send(t.out.Send)
	}
	if len(t.out.Do) > 0 {
		l.hands.Do(t.out.Do)
	}
	if len(t.out.Tell) > 0 {
		l.hands.Tell(t.now, t.out.Tell)
	}
	t.out.Reset()
	t.view = nil
	select {
	case l.free <- t:
	default:
	}
}

func (l *Loop[In, R, M, W, F]) turn() *turn[R, M, W, F] {
	select {
	case t := <-l.free:
		return t
	default:
		return &turn[R, M, W, F]{}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
