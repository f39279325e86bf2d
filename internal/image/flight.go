package image

import (
	"context"
	"sync"

	"github.com/pando-os/pando/internal/image/failure"
)

// flights lets all who want the same thing at the same time share one call for it. The call goes on while anybody waits, and
// its context ends when nobody does.
type flights[T any] struct {
	base context.Context
	// idle is told of a value when all who waited for it have left, having taken it or given up; nil: it is not.
	idle func(T)
	mu   sync.Mutex
	up   map[string]*flight[T]
	shut bool
	all  sync.WaitGroup
}

type flight[T any] struct {
	waiting int  // guarded by flights.mu
	landed  bool // guarded by flights.mu: the call gave a value
	cancel  context.CancelFunc
	done    chan struct{}
	value   T // once done is closed
	err     error
}

func newFlights[T any](base context.Context, idle func(T)) *flights[T] {
	return &flights[T]{base: base, idle: idle, up: map[string]*flight[T]{}}
}

// do lets take have what call gives, made for this caller or, as joined says, for one before. A caller whose context ends stops
// waiting and gets its context's error.
func (g *flights[T]) do(ctx context.Context, key string, call func(context.Context) (T, error), take func(T) error) (joined bool, err error) {
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return false, errClosed
	}
	f, joined := g.up[key]
	if !joined {
		f = g.start(key, call)
	}
	f.waiting++
	g.mu.Unlock()
	defer g.leave(key, f)
	select {
	case <-f.done:
		if f.err != nil {
			return joined, f.err
		}
		return joined, take(f.value)
	case <-ctx.Done():
		return joined, context.Cause(ctx)
	}
}

// leave is the end of one caller's waiting; the last one ends the call too.
func (g *flights[T]) leave(key string, f *flight[T]) {
	g.mu.Lock()
	f.waiting--
	last, landed := f.waiting == 0, f.landed
	if last {
		// Whoever comes now starts another one and does not share the end of this.
		if g.up[key] == f {
			delete(g.up, key)
		}
		f.cancel()
	}
	g.mu.Unlock()
	if last && landed && g.idle != nil {
		g.idle(f.value)
	}
}

// start begins a call; g.mu is held.
func (g *flights[T]) start(key string, call func(context.Context) (T, error)) *flight[T] {
	ctx, cancel := context.WithCancel(g.base)
	f := &flight[T]{cancel: cancel, done: make(chan struct{})}
	g.up[key] = f
	g.all.Go(func() {
		defer cancel()
		f.value, f.err = call(ctx)
		g.mu.Lock()
		if g.up[key] == f {
			delete(g.up, key)
		}
		f.landed = f.err == nil
		late := f.landed && f.waiting == 0
		g.mu.Unlock()
		close(f.done)
		if late && g.idle != nil {
			g.idle(f.value)
		}
	})
	return f
}

// wait starts no more calls and waits for the others to end; base has ended.
func (g *flights[T]) wait() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	g.all.Wait()
}

var errClosed = failure.New(failure.Canceled, "the image store is closed")
