package registry

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/image/failure"
)

// watch ends a request that makes no progress.
type watch struct {
	moved  atomic.Bool
	cancel context.CancelCauseFunc
}

// watch gives a context that ends when nothing has come for the time of Stall, at most twice that, with words as its cause.
// The caller stops the watch.
func (c *Client) watch(ctx context.Context) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{cancel: cancel}
	go func() {
		for clock.Sleep(ctx, c.cfg.Clock, c.cfg.Stall) == nil {
			if !w.moved.Swap(false) {
				cancel(stalled(c.cfg.Stall))
				return
			}
		}
	}()
	return ctx, w
}

func stalled(after time.Duration) error {
	return passing{failure.New(failure.Unreachable, "no byte has come from the registry for %v; it is too slow, or raise the stall timeout", after)}
}

func (w *watch) stop() { w.cancel(nil) }

// reader tells the watch of what comes.
func (w *watch) reader(from io.Reader) io.Reader { return &watched{w, from} }

type watched struct {
	w    *watch
	from io.Reader
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if n > 0 {
		r.w.moved.Store(true)
	}
	return n, err
}
