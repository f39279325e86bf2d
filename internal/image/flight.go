package image

import (
	"context"
	"sync"

	"github.com/pando-os/pando/internal/image/failure"
)

// flights lets all who want the same thing at the same time share one call for it. The call goes on while anybody waits, and
// its context ends when nobody does.
type flights[T any] struct {
	base context.Context //nolint:containedctx // what all calls end with: the store's own life
	mu   sync.Mutex
	up   map[string]*flight[T]
	shut bool
	all  sync.WaitGroup
}

type flight[T any] struct {
	waiting int // guarded by flights.mu
	cancel  context.CancelFunc
	done    chan struct{}
	value   T // once done is closed
	err     error
}

func newFlights[T any](base context.Context) *flights[T] {
	return &flights[T]{base: base, up: map[string]*flight[T]{}}
}

// do gives what call gives, made for this caller or, as joined says, for one before. A caller whose context ends stops waiting
// and gets its context's error.
func (g *flights[T]) do(ctx context.Context, key string, call func(context.Context) (T, error)) (value T, joined bool, err error) {
	g.mu.Lock()
	if g.shut {
		g.mu.Unlock()
		return value, false, errClosed
	}
	f, joined := g.up[key]
	if !joined {
		f = g.start(key, call)
	}
	f.waiting++
	g.mu.Unlock()
	select {
	case <-f.done:
		return f.value, joined, f.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		// Whoever comes now starts another one and does not share the end of this.
		if g.up[key] == f {
			delete(g.up, key)
		}
		f.cancel()
	}
	return value, joined, context.Cause(ctx)
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
		g.mu.Unlock()
		close(f.done)
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
