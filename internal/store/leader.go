package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/fault"
)

// Election is a campaign for one key that one candidate at a time holds.
type Election struct {
	// Key is what the candidates compete for.
	Key string
	// Value is what others read there, such as the address of the leader.
	Value []byte
	// TTL is how long the key outlives a leader that fell silent; 10 s when zero.
	TTL time.Duration
	// Usurp, when set, is asked about a leader that holds the key; true takes its place at once by compare-and-swap. It is right
	// for a node that is alone with its store (its own dead leadership is all it can meet), and for a standby that knows the
	// holder is dead. It is asked when a holder is first seen and again every quarter of TTL, twice a second at least.
	Usurp func(holder Pair) bool
}

// usurpEvery bounds how long a dead holder stands before somebody looks.
const usurpEvery = 500 * time.Millisecond

// Alone is the Usurp of a node whose lock on the data directory is leadership already.
func Alone(Pair) bool { return true }

// Leadership is an election won. It ends when Lost is closed; nothing the holder commits with Held as a condition can land
// after another one's election.
type Leadership struct {
	key   string
	epoch int64
	lease Lease
	lost  chan struct{}
	stop  context.CancelFunc
}

// Epoch is the revision that made this candidate leader. Later leaders of the same key have greater ones.
func (l *Leadership) Epoch() int64 { return l.epoch }

// Held is the condition that this leadership still stands; every transaction of a leader carries it.
func (l *Leadership) Held() Condition { return Unchanged(l.key, l.epoch) }

// Lost is closed when the leadership has ended or can no longer be vouched for.
func (l *Leadership) Lost() <-chan struct{} { return l.lost }

// Resign gives the key back, so that a successor need not wait for the lease.
func (l *Leadership) Resign(ctx context.Context) error {
	l.stop()
	return l.lease.Revoke(ctx)
}

// Campaign waits until the election is won, or ctx ends.
func Campaign(ctx context.Context, s Store, e Election) (*Leadership, error) {
	if e.TTL <= 0 {
		e.TTL = 10 * time.Second
	}
	lease, err := s.Grant(ctx, e.TTL)
	if err != nil {
		return nil, fmt.Errorf("campaigning for %s: %w", e.Key, err)
	}
	l, err := e.win(ctx, s, lease)
	if err != nil {
		// The lease is worth nothing now. It would run out by itself, but a key that an unknown commit may have put is gone
		// sooner this way.
		revoke, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = lease.Revoke(revoke)
		return nil, fmt.Errorf("campaigning for %s: %w", e.Key, err)
	}
	return l, nil
}

func (e *Election) win(ctx context.Context, s Store, lease Lease) (*Leadership, error) {
	for {
		holder, err := s.Get(ctx, e.Key)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		free := err != nil || e.Usurp != nil && e.Usurp(holder)
		if free {
			epoch, err := s.Commit(ctx, Txn{
				If:   []Condition{{Key: e.Key, Revision: holder.Revision}},
				Then: []Op{{Key: e.Key, Value: e.Value, Lease: lease}},
			})
			if err == nil {
				return e.hold(s, lease, epoch), nil
			}
			if !errors.Is(err, ErrRefused) {
				return nil, err
			}
			continue // somebody was faster; see who
		}
		if err := e.await(ctx, s, lease, holder); err != nil {
			return nil, err
		}
	}
}

// await returns when the holder's key has changed, or when it is time to ask Usurp again.
func (e *Election) await(ctx context.Context, s Store, lease Lease, holder Pair) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	if e.Usurp != nil {
		watching, cancel = context.WithTimeout(watching, min(e.TTL/4, usurpEvery))
		defer cancel()
	}
	changes := s.Watch(watching, e.Key, holder.Revision)
	for {
		select {
		case <-lease.Done():
			return fault.New(fault.Unavailable, "the candidate's own lease ended while it waited")
		case c, ok := <-changes:
			if !ok {
				return ctx.Err()
			}
			if c.Err != nil && !fault.Is(c.Err, fault.Gone) {
				return c.Err
			}
			return nil // changed, or watched too late to know: look again
		}
	}
}

// hold watches over a leadership: it is lost with its lease, or when the key is put or deleted by somebody else.
func (e *Election) hold(s Store, lease Lease, epoch int64) *Leadership {
	ctx, stop := context.WithCancel(context.Background())
	l := &Leadership{key: e.Key, epoch: epoch, lease: lease, lost: make(chan struct{}), stop: stop}
	changes := s.Watch(ctx, e.Key, epoch)
	go func() {
		defer close(l.lost)
		defer stop()
		for {
			select {
			case <-lease.Done():
				return
			case c, ok := <-changes:
				if !ok || c.Err != nil {
					return
				}
				for _, p := range c.Puts {
					if p.Key == e.Key {
						return
					}
				}
				if slices.Contains(c.Deletes, e.Key) {
					return
				}
			}
		}
	}()
	return l
}
