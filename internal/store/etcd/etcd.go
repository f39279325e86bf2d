// Package etcd is the store that masters use: etcd inside the process, alone with its data directory (Open), or an etcd
// cluster that exists (Dial).
package etcd

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/store"
)

// Store is a client of etcd.
type Store struct {
	client *clientv3.Client
	limits store.Limits
	closed context.Context    // ends when Close is called
	cancel context.CancelFunc // ends closed
	once   sync.Once          // of Close
	stop   func() error       // lets go of what the client stands on
}

var _ store.Store = (*Store)(nil)

func newStore(client *clientv3.Client, limits store.Limits, stop func() error) *Store {
	s := &Store{client: client, limits: limits, stop: stop}
	s.closed, s.cancel = context.WithCancel(context.Background())
	return s
}

// open says whether Close was called; a client in the same process would answer all the same.
func (s *Store) open() error {
	if s.closed.Err() != nil {
		return fault.New(fault.Unavailable, "the store is closed")
	}
	return nil
}

// Get reads one key.
func (s *Store) Get(ctx context.Context, key string) (store.Pair, error) {
	if err := s.open(); err != nil {
		return store.Pair{}, err
	}
	answer, err := s.client.Get(ctx, key)
	if err != nil {
		return store.Pair{}, unreachable("reading key "+key, err)
	}
	if len(answer.Kvs) == 0 {
		return store.Pair{}, fault.New(fault.NotFound, "no key %q in the store", key)
	}
	return pair(answer.Kvs[0]), nil
}

// page is how many keys one read of List asks for; it bounds what one answer may hold in memory twice.
const page = 2000

// List reads the keys that begin with prefix, page by page, all as of the first page's revision.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Pair, int64, error) {
	if err := s.open(); err != nil {
		return nil, 0, err
	}
	var pairs []store.Pair
	var revision int64
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	if prefix == "" {
		from, end = "\x00", "\x00" // every key, in etcd's words
	}
	for {
		answer, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page),
			clientv3.WithRev(revision), clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
		if err != nil {
			return nil, 0, unreachable("listing keys below "+prefix, err)
		}
		if revision == 0 {
			revision = answer.Header.Revision
		}
		for _, kv := range answer.Kvs {
			pairs = append(pairs, pair(kv))
		}
		if !answer.More {
			return pairs, revision, nil
		}
		from = pairs[len(pairs)-1].Key + "\x00"
	}
}

func pair(kv *mvccpb.KeyValue) store.Pair {
	return store.Pair{Key: string(kv.Key), Value: kv.Value, Revision: kv.ModRevision}
}

// Commit performs a transaction. etcd's client never repeats one that writes, so an error after sending is ErrUnknown
// unless etcd said that it did not do it.
func (s *Store) Commit(ctx context.Context, txn store.Txn) (int64, error) {
	if err := errors.Join(s.open(), ctx.Err()); err != nil {
		return 0, err // certain: nothing was sent
	}
	if err := s.limits.Check(txn); err != nil {
		return 0, err
	}
	conditions := make([]clientv3.Cmp, len(txn.If))
	found := make([]clientv3.Op, len(txn.If))
	for i, c := range txn.If {
		conditions[i] = clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Revision)
		found[i] = clientv3.OpGet(c.Key, clientv3.WithKeysOnly())
	}
	changes := make([]clientv3.Op, len(txn.Then))
	for i, op := range txn.Then {
		switch l, leased := op.Lease.(*lease); {
		case op.Delete:
			changes[i] = clientv3.OpDelete(op.Key)
		case leased:
			changes[i] = clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(l.id))
		default:
			changes[i] = clientv3.OpPut(op.Key, string(op.Value))
		}
	}
	answer, err := s.client.Txn(ctx).If(conditions...).Then(changes...).Else(found...).Commit()
	switch {
	case err == nil && answer.Succeeded:
		return answer.Header.Revision, nil
	case err != nil:
		return 0, notCommitted(err)
	}
	for i, c := range txn.If {
		revision := int64(0)
		if kvs := answer.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			revision = kvs[0].ModRevision
		}
		if revision != c.Revision {
			return 0, store.Refused(c, revision)
		}
	}
	return 0, fault.New(fault.Internal, "etcd refused a transaction whose conditions hold")
}

// notCommitted sorts etcd's errors: those it gives before proposing the transaction are certain, the rest leave it open.
func notCommitted(err error) error {
	for _, certain := range []struct {
		err  error
		kind fault.Kind
	}{
		{rpctypes.ErrLeaseNotFound, fault.Gone},
		{rpctypes.ErrNoSpace, fault.Busy},
		{rpctypes.ErrTooManyOps, fault.Invalid},
		{rpctypes.ErrRequestTooLarge, fault.Invalid},
		{rpctypes.ErrDuplicateKey, fault.Invalid},
		{rpctypes.ErrEmptyKey, fault.Invalid},
		{rpctypes.ErrTooManyRequests, fault.Busy},
		{rpctypes.ErrPermissionDenied, fault.Denied},
		{rpctypes.ErrAuthFailed, fault.Denied},
		{rpctypes.ErrUserEmpty, fault.Denied},
	} {
		if errors.Is(rpctypes.Error(err), certain.err) {
			return fault.New(certain.kind, "etcd did not take the transaction: %w", err)
		}
	}
	return store.Unknown(err)
}

func unreachable(deed string, err error) error {
	return fault.New(fault.Unavailable, "%s: %w", deed, err)
}

// Watch sends what happens below prefix after a revision.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) <-chan store.Change {
	out := make(chan store.Change)
	ctx, cancel := context.WithCancel(ctx)
	// Without a leader a watch on one member of a cluster would stay silent for good; etcd then ends it instead.
	events := s.client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1))
	go func() {
		defer close(out)
		defer cancel()
		send := func(c store.Change) bool {
			select {
			case out <- c:
				return c.Err == nil
			case <-ctx.Done():
				return false
			}
		}
		for {
			select {
			case answer, ok := <-events:
				if !ok {
					send(store.Change{Err: fault.New(fault.Unavailable, "etcd ended the watch of %s", prefix)})
					return
				}
				if err := answer.Err(); err != nil {
					send(store.Change{Err: watchError(prefix, answer, err)})
					return
				}
				for _, c := range commits(answer.Events) {
					if !send(c) {
						return
					}
				}
			case <-s.closed.Done():
				send(store.Change{Err: fault.New(fault.Unavailable, "the store is closed")})
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func watchError(prefix string, answer clientv3.WatchResponse, err error) error {
	if answer.CompactRevision != 0 {
		return fault.New(fault.Gone, "the store remembers commits from revision %d on: list %s again", answer.CompactRevision, prefix)
	}
	return unreachable("watching "+prefix, err)
}

// commits gathers events by the revision that made them. etcd sends the events of one revision in one answer, since the
// watch did not ask for fragments.
func commits(events []*clientv3.Event) []store.Change {
	var out []store.Change
	for _, e := range events {
		revision := e.Kv.ModRevision // of a delete as well
		if len(out) == 0 || out[len(out)-1].Revision != revision {
			out = append(out, store.Change{Revision: revision})
		}
		c := &out[len(out)-1]
		if e.Type == clientv3.EventTypeDelete {
			c.Deletes = append(c.Deletes, string(e.Kv.Key))
		} else {
			c.Puts = append(c.Puts, pair(e.Kv))
		}
	}
	return out
}

// Limits are the bounds of one transaction.
func (s *Store) Limits() store.Limits { return s.limits }

// Close ends the client, and etcd with it when it is embedded. Closing again does nothing.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.cancel()
		if err = s.client.Close(); errors.Is(err, context.Canceled) {
			err = nil // how the client says that it was closed
		}
		err = errors.Join(err, s.stop())
	})
	return err
}

// Grant starts a lease and keeps it alive.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	seconds := int64(math.Ceil(max(ttl, time.Second).Seconds()))
	granted, err := s.client.Grant(ctx, seconds)
	if err != nil {
		return nil, unreachable("granting a lease", err)
	}
	alive, stop := context.WithCancel(s.closed)
	l := &lease{id: granted.ID, client: s.client, stop: stop, done: make(chan struct{})}
	answers, err := s.client.KeepAlive(alive, granted.ID)
	if err != nil {
		stop()
		return nil, unreachable("keeping a lease alive", err)
	}
	go l.watch(alive, answers)
	return l, nil
}

type lease struct {
	id     clientv3.LeaseID
	client *clientv3.Client
	stop   context.CancelFunc
	done   chan struct{}
}

// watch reads the renewals until they end. etcd's client closes the channel when the lease has run out by its own count,
// which starts at the last renewal that was answered, so the holder stops no later than etcd lets go of the keys.
func (l *lease) watch(alive context.Context, answers <-chan *clientv3.LeaseKeepAliveResponse) {
	defer close(l.done)
	for {
		select {
		case _, ok := <-answers:
			if !ok {
				return
			}
		case <-alive.Done():
			return
		}
	}
}

// Done is closed when the lease may have ended.
func (l *lease) Done() <-chan struct{} { return l.done }

// Revoke ends the lease and removes its keys.
func (l *lease) Revoke(ctx context.Context) error {
	l.stop()
	if _, err := l.client.Revoke(ctx, l.id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return unreachable("revoking a lease", err)
	}
	return nil
}
