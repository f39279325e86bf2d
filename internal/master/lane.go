package master

import (
	"context"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
)

const (
	// laneInputs is how many inputs of one sender wait for the book at a time, and laneHeavy how many of those that cost as
	// much as thousands. Whoever sends more waits, and nobody else does.
	laneInputs = 256
	laneHeavy  = 1
	// heavyParts is how many tasks or offers make an input heavy.
	heavyParts = 200
)

// lane is one sender's share of the book's mailbox.
type lane struct{ light, heavy chan struct{} }

func newLane() *lane {
	return &lane{make(chan struct{}, laneInputs), make(chan struct{}, laneHeavy)}
}

// ticket is an input that gives its place in a lane back once it is stepped.
type ticket struct {
	in    cluster.In
	place chan struct{}
}

// put queues a sender's input; it waits while that sender has too many there, or the mailbox is full.
func (t *term) put(ctx context.Context, l *lane, in cluster.In) error {
	place := l.light
	if heavy(in) {
		place = l.heavy
	}
	select {
	case place <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.loop.Done():
		return loop.ErrStopped
	}
	err := t.loop.Put(ctx, ticket{in, place})
	if err != nil {
		<-place
	}
	return err
}

// heavy says whether an input takes the book as long as many others.
func heavy(in cluster.In) bool {
	n := 0
	switch in := in.(type) {
	case *cluster.Accept:
		n = len(in.Offers)
		for i := range in.Operations {
			n += len(in.Operations[i].Tasks)
		}
	case *cluster.Decline:
		n = len(in.Offers)
	case *cluster.Reconcile:
		return len(in.Tasks) == 0 || len(in.Tasks) > heavyParts
	case *cluster.ReconcileOperations:
		n = len(in.Operations)
	}
	return n > heavyParts
}

// unwrap gives the input of a ticket and its place back.
func unwrap(in cluster.In) cluster.In {
	t, ok := in.(ticket)
	if !ok {
		return in
	}
	<-t.place
	return t.in
}
