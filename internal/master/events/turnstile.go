package events

import (
	"sync"

	"github.com/pando-os/pando/internal/loop"
)

const (
	// snapshots are encoded and written so many at a time, and ownSnapshots of one subscriber's user or address: whoever opens
	// many and reads none of them makes nobody else wait.
	snapshots, ownSnapshots = 4, 2
)

// turnstile lets few in at a time, and fewer of each.
type turnstile struct {
	all chan struct{}

	mu  sync.Mutex // guards own
	own map[string]*ownTurns
}

type ownTurns struct {
	places chan struct{}
	users  int // inside and waiting
}

func newTurnstile() turnstile {
	return turnstile{all: make(chan struct{}, snapshots), own: map[string]*ownTurns{}}
}

// enter waits for a place, unless gone is closed first; then the error is loop.ErrStopped. leave gives the place back.
func (t *turnstile) enter(who string, gone <-chan struct{}) (leave func(), err error) {
	t.mu.Lock()
	o := t.own[who]
	if o == nil {
		o = &ownTurns{places: make(chan struct{}, ownSnapshots)}
		t.own[who] = o
	}
	o.users++
	t.mu.Unlock()
	done := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if o.users--; o.users == 0 {
			delete(t.own, who)
		}
	}
	for i, places := range []chan struct{}{o.places, t.all} {
		select {
		case places <- struct{}{}:
		case <-gone:
			if i == 1 {
				<-o.places
			}
			done()
			return nil, loop.ErrStopped
		}
	}
	return func() { <-t.all; <-o.places; done() }, nil
}
