// Package diskwatch tells how much disk containers take, by looking at their files from time to time, and who has taken more than he
// has. What fills a disk between two looks is seen at the next.
package diskwatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/clock"
)

// Place is a container whose files are looked at.
type Place struct {
	Container string
	// Dirs are where its files are, none below another.
	Dirs []string
	// Limit is in bytes; 0: there is none.
	Limit int64
}

// Use is how much disk a container was last seen to take, in bytes.
type Use struct{ Used, Limit int64 }

// Watch looks at all containers, one after the other. Its methods may be called from any goroutine.
type Watch struct {
	// Every is the pause between two looks at a container. It is longer where a look takes long: looking takes a tenth of a processor at
	// most.
	Every time.Duration
	// Places are those of now.
	Places func() []Place
	// Over is called at each look for who takes more than he has.
	Over  func(container string, u Use)
	Clock clock.Clock
	Log   *slog.Logger

	mu   sync.Mutex
	uses map[string]Use
}

// share is the part of a processor that looking may take: one of so many.
const share = 10

// Run looks until the context ends.
func (w *Watch) Run(ctx context.Context) {
	for pause := w.Every; clock.Sleep(ctx, w.Clock, pause) == nil; {
		begun := w.Clock.Now().Mono
		w.look(ctx)
		pause = max(w.Every, share*(w.Clock.Now().Mono-begun))
	}
}

// look looks once at every container.
func (w *Watch) look(ctx context.Context) {
	uses := map[string]Use{}
	for _, p := range w.Places() {
		u := Use{Limit: p.Limit}
		for _, dir := range p.Dirs {
			n, err := usage(ctx, dir)
			if err != nil && ctx.Err() == nil {
				w.Log.Warn("the disk that a container takes cannot be told", "container", p.Container, "error", err)
			}
			u.Used += n
		}
		if ctx.Err() != nil {
			return
		}
		uses[p.Container] = u
		if u.Limit > 0 && u.Used > u.Limit {
			w.Over(p.Container, u)
		}
	}
	w.mu.Lock()
	w.uses = uses
	w.mu.Unlock()
}

// Of is what a container took when it was last looked at; false: it was not yet.
func (w *Watch) Of(container string) (Use, bool) {
	if w == nil {
		return Use{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := w.uses[container]
	return u, ok
}
