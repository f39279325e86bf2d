// Package mem is a store in memory, for tests and the simulator: the same promises as etcd's, but nothing outlives the
// process.
package mem

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/store"
)

// remembered is how many commits a watcher may lag behind.
const remembered = 4096

// Server holds the keys; the stores opened on it are its clients and can come and go, like processes.
type Server struct {
	clock clock.Clock

	mu       sync.Mutex
	entries  map[string]entry
	revision int64
	history  []store.Change // the latest commits, at most remembered, oldest first
	changed  chan struct{}  // closed and replaced at every commit
}

type entry struct {
	pair  store.Pair
	lease *lease
}

// NewServer makes an empty one. The clock counts the leases.
func NewServer(c clock.Clock) *Server {
	return &Server{clock: c, entries: map[string]entry{}, changed: make(chan struct{})}
}

// Open makes a client of the server.
func (s *Server) Open() *Store {
	ctx, cancel := context.WithCancel(context.Background())
	return &Store{server: s, alive: ctx, close: cancel}
}

// Store is one client of a Server.
type Store struct {
	server *Server
	alive  context.Context
	close  context.CancelFunc
}

var _ store.Store = (*Store)(nil)

func (s *Store) check(ctx context.Context) error {
	if s.alive.Err() != nil {
		return fault.New(fault.Unavailable, "the store is closed")
	}
	return ctx.Err()
}

// Get reads one key.
func (s *Store) Get(ctx context.Context, key string) (store.Pair, error) {
	if err := s.check(ctx); err != nil {
		return store.Pair{}, err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	e, ok := s.server.entries[key]
	if !ok {
		return store.Pair{}, fault.New(fault.NotFound, "no key %q in the store", key)
	}
	return e.pair, nil
}

// List reads the keys that begin with prefix.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Pair, int64, error) {
	if err := s.check(ctx); err != nil {
		return nil, 0, err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	var pairs []store.Pair
	for key, e := range s.server.entries {
		if strings.HasPrefix(key, prefix) {
			pairs = append(pairs, e.pair)
		}
	}
	sort.Slice(pairs, func(i, j int) bool { return pairs[i].Key < pairs[j].Key })
	return pairs, s.server.revision, nil
}

// Commit performs a transaction.
func (s *Store) Commit(ctx context.Context, txn store.Txn) (int64, error) {
	if err := s.check(ctx); err != nil {
		return 0, err
	}
	if err := s.Limits().Check(txn); err != nil {
		return 0, err
	}
	return s.server.commit(txn)
}

// Limits are etcd's, as the embedded one is set.
func (s *Store) Limits() store.Limits { return store.Limits{Ops: 1 << 13, Bytes: 8 << 20} }

// Close ends the client's watches and leaves its leases to run out.
func (s *Store) Close() error {
	s.close()
	return nil
}

func (s *Server) commit(txn store.Txn) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range txn.If {
		if found := s.entries[c.Key].pair.Revision; found != c.Revision {
			return 0, store.Refused(c, found)
		}
	}
	for _, op := range txn.Then {
		if l, ok := op.Lease.(*lease); ok && l.ended() {
			return 0, fault.New(fault.Gone, "the lease of key %q has ended", op.Key)
		}
	}
	return s.apply(txn.Then), nil
}

// apply performs changes under the lock and returns the revision they made. A transaction that changed nothing keeps the
// revision, as in etcd.
func (s *Server) apply(ops []store.Op) int64 {
	change := store.Change{Revision: s.revision + 1}
	for _, op := range ops {
		if op.Delete {
			if _, ok := s.entries[op.Key]; ok {
				delete(s.entries, op.Key)
				change.Deletes = append(change.Deletes, op.Key)
			}
			continue
		}
		l, _ := op.Lease.(*lease)
		p := store.Pair{Key: op.Key, Value: slices.Clone(op.Value), Revision: change.Revision}
		s.entries[op.Key] = entry{p, l}
		change.Puts = append(change.Puts, p)
	}
	if len(change.Puts)+len(change.Deletes) == 0 {
		return s.revision
	}
	s.revision++
	if len(s.history) == remembered {
		s.history = slices.Delete(s.history, 0, remembered/2)
	}
	s.history = append(s.history, change)
	close(s.changed)
	s.changed = make(chan struct{})
	return s.revision
}

// Watch sends what happens below prefix after a revision.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) <-chan store.Change {
	out := make(chan store.Change)
	go func() {
		defer close(out)
		for {
			changes, more := s.server.since(after)
			for _, c := range changes {
				after = c.Revision
				if c = below(prefix, c); c.Err == nil && len(c.Puts)+len(c.Deletes) == 0 {
					continue
				}
				select {
				case out <- c:
				case <-ctx.Done():
					return
				}
				if c.Err != nil {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			case <-s.alive.Done():
				select {
				case out <- store.Change{Err: fault.New(fault.Unavailable, "the store is closed")}:
				case <-ctx.Done():
				}
				return
			}
		}
	}()
	return out
}

// since is what was committed after a revision, and a channel that is closed when there is more.
func (s *Server) since(after int64) ([]store.Change, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if oldest := s.revision - int64(len(s.history)); after < oldest {
		return []store.Change{{Err: fault.New(fault.Gone,
			"the store remembers commits after revision %d, not those after %d: list again", oldest, after)}}, s.changed
	}
	i := sort.Search(len(s.history), func(i int) bool { return s.history[i].Revision > after })
	return slices.Clone(s.history[i:]), s.changed
}

// below is the part of a change that is below prefix.
func below(prefix string, c store.Change) store.Change {
	out := store.Change{Revision: c.Revision, Err: c.Err}
	for _, p := range c.Puts {
		if strings.HasPrefix(p.Key, prefix) {
			out.Puts = append(out.Puts, p)
		}
	}
	for _, key := range c.Deletes {
		if strings.HasPrefix(key, prefix) {
			out.Deletes = append(out.Deletes, key)
		}
	}
	return out
}

// Grant starts a lease.
func (s *Store) Grant(ctx context.Context, ttl time.Duration) (store.Lease, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	l := &lease{server: s.server, ttl: max(ttl, time.Second), over: make(chan struct{}), done: make(chan struct{})}
	go l.run(s.alive)
	return l, nil
}

// lease lives as long as its client, and ttl longer when the client was closed without revoking it.
type lease struct {
	server *Server
	ttl    time.Duration
	over   chan struct{} // the server has ended it
	once   sync.Once
	done   chan struct{} // its holder must take it as ended
}

func (l *lease) run(alive context.Context) {
	defer l.end()
	select {
	case <-l.over:
		close(l.done)
		return
	case <-alive.Done():
		close(l.done)
	}
	timer := l.server.clock.NewTimer(l.ttl)
	defer timer.Stop()
	select {
	case <-l.over:
	case <-timer.C():
	}
}

func (l *lease) end() {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	l.once.Do(func() { close(l.over) })
	var keys []string
	for key, e := range l.server.entries {
		if e.lease == l {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	ops := make([]store.Op, len(keys))
	for i, key := range keys {
		ops[i] = store.Delete(key)
	}
	l.server.apply(ops)
}

func (l *lease) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// Done is closed when the lease has ended or its client was closed.
func (l *lease) Done() <-chan struct{} { return l.done }

// Revoke ends the lease and removes its keys.
func (l *lease) Revoke(context.Context) error {
	l.end()
	return nil
}
