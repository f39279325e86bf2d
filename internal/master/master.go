// Package master is the shell around the cluster's book: it campaigns for leadership, loads the book, drives it, and
// speaks with schedulers (the Mesos v1 scheduler API), agents (the link) and people (the endpoints of before the v1 API).
package master

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/internal/master/events"
	"github.com/pando-os/pando/internal/master/tally"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/internal/store"
	"github.com/pando-os/pando/mesos"
)

const (
	leaderKey   = "/pando/master/leader"
	agentsKey   = "/pando/master/agents/"
	frameworks  = "/pando/master/frameworks/"
	saveTimeout = 10 * time.Second
)

// Master is one master: leading, or waiting to lead.
type Master struct {
	cfg     Config
	deps    Deps
	started machine.Now
	counts  *counters

	term   atomic.Pointer[term]   // while leading
	leader atomic.Pointer[Leader] // as far as is known

	shared    serve.Shared // answers that equal readers share
	verbosity serve.Verbosity
	nothing   *cluster.View // of a master that does not lead
	fetched   atomic.Int64  // nanoseconds that the last loading of the book took

	ids atomic.Uint64 // of connections, streams and calls, over all terms

	room          room  // for large bodies
	registrations paces // of agents
	hush          hush  // what is logged of those who misbehave
}

// Leader is the address of the leading master, as it stands in the store.
type Leader struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	IP       string `json:"ip"`
	Port     int    `json:"port"`
}

// Addr is host and port.
func (l *Leader) Addr() string { return net.JoinHostPort(l.Hostname, strconv.Itoa(l.Port)) }

// term is one time of leading: a book, its loop and everybody who is connected to it.
type term struct {
	m          *Master
	id         string
	leadership *store.Leadership
	loop       *clusterLoop
	view       atomic.Pointer[cluster.View]
	events     *events.Hub // who follows what happens
	tallies    tally.Ledger

	mu      sync.RWMutex // guards the tables
	streams map[cluster.StreamID]*stream
	byName  map[string]*stream // the subscribed stream of each framework
	links   map[cluster.ConnID]*agentLink
	calls   map[cluster.CallID]chan cluster.Answer
	ended   bool
}

type clusterLoop = loop.Loop[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact]

// New makes a master that does nothing yet.
func New(cfg Config, deps Deps) *Master {
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.Subscribers == 0 {
		cfg.Subscribers = maxSubscribers
	}
	m := &Master{cfg: cfg, deps: deps, started: deps.Clock.Now(), registrations: paces{burst: registerBurst, rate: registerRate}}
	m.nothing = cluster.New(cfg.Book, nil, m.started, rand.New(rand.NewPCG(0, 0))).View()
	m.counts = newCounters(deps.Meter, m)
	m.verbosity.Level, m.verbosity.Duration = deps.Level, mesos.ParseDuration
	return m
}

// Run campaigns and leads, again and again, until the context ends.
func (m *Master) Run(ctx context.Context) error {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	go m.follow(watch)
	for ctx.Err() == nil {
		err := m.lead(ctx)
		if ctx.Err() != nil {
			break
		}
		m.deps.Log.Warn("leadership ended; campaigning again", "error", err)
		if err := clock.Sleep(ctx, m.deps.Clock, time.Second); err != nil {
			break
		}
	}
	return nil
}

// Leading says whether this master leads now.
func (m *Master) Leading() bool { return m.term.Load() != nil }

// lead waits for leadership, and leads until it is lost.
func (m *Master) lead(ctx context.Context) error {
	me := &Leader{ID: uuid.NewString(), Hostname: m.cfg.Hostname, IP: m.cfg.IP, Port: m.cfg.Port}
	value, err := json.Marshal(me)
	if err != nil {
		return fmt.Errorf("leader's address: %w", err)
	}
	e := store.Election{Key: leaderKey, Value: value, TTL: m.cfg.LeaseTTL}
	if m.cfg.Alone {
		e.Usurp = store.Alone
	} else {
		e.Usurp = func(holder store.Pair) bool { return deadLeader(ctx, holder) }
	}
	won, err := store.Campaign(ctx, m.deps.Store, e)
	if err != nil {
		return err
	}
	defer func() {
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = won.Resign(rctx) // the lease runs out by itself
	}()
	loading := m.deps.Clock.Now().Mono
	records, err := m.load(ctx)
	if err != nil {
		return err
	}
	m.fetched.Store(int64(m.deps.Clock.Now().Mono - loading))
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	cfg := m.cfg.Book
	cfg.MasterID, cfg.Started = me.ID, m.started.Wall
	book := cluster.New(cfg, records, m.deps.Clock.Now(), rand.New(rand.NewChaCha8(seed)))
	t := &term{
		m: m, id: me.ID, leadership: won,
		streams: map[cluster.StreamID]*stream{}, byName: map[string]*stream{}, links: map[cluster.ConnID]*agentLink{},
		calls: map[cluster.CallID]chan cluster.Answer{}, events: m.newEvents(),
	}
	t.view.Store(book.View())
	t.loop = loop.New[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact](
		timedBook{book, m.deps.Clock, m.counts.runs}, t, m.deps.Clock, func() any { return book.View() }, loop.Config{},
	)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-won.Lost():
			cancel(errors.New("the leader's lease was lost"))
		case <-ctx.Done():
		}
	}()
	m.leader.Store(me)
	m.term.Store(t)
	m.deps.Log.Info("leading", "master", me.ID, "epoch", won.Epoch(), "agents_and_frameworks_recovered", len(records))
	var summoning sync.WaitGroup
	if !m.cfg.Alone { // whoever is alone with the store had no leader before that could be frozen
		summoning.Go(func() { t.summon(ctx, me) })
	}
	err = t.loop.Run(ctx)
	m.term.CompareAndSwap(t, nil)
	m.leader.CompareAndSwap(me, nil)
	t.end()
	cancel(err)
	summoning.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// deadLeader says whether the holder of leadership refuses connections: then its process is gone and its lease need not be
// waited for. One that does not answer may only be slow.
func deadLeader(ctx context.Context, holder store.Pair) bool {
	var l Leader
	if json.Unmarshal(holder.Value, &l) != nil || l.Port == 0 {
		return false
	}
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(l.IP, strconv.Itoa(l.Port)))
	if err == nil {
		_ = c.Close() // it lives; nothing was said
		return false
	}
	return errors.Is(err, errRefused)
}

// follow keeps what is known of the leader up to date.
func (m *Master) follow(ctx context.Context) {
	for ctx.Err() == nil {
		pairs, rev, err := m.deps.Store.List(ctx, leaderKey)
		if err == nil {
			m.noteLeader(pairs)
			for change := range m.deps.Store.Watch(ctx, leaderKey, rev) {
				if change.Err != nil {
					break
				}
				if len(change.Deletes) > 0 {
					m.noteLeader(nil)
				}
				m.noteLeader(change.Puts)
			}
		}
		_ = clock.Sleep(ctx, m.deps.Clock, time.Second) // the loop looks at ctx
	}
}

func (m *Master) noteLeader(pairs []store.Pair) {
	if m.term.Load() != nil {
		return
	}
	if len(pairs) == 0 {
		m.leader.Store(nil)
		return
	}
	var l Leader
	if json.Unmarshal(pairs[0].Value, &l) == nil && l.Port != 0 {
		m.leader.Store(&l)
	}
}

// id gives a number that was never given before.
func (m *Master) id() uint64 { return m.ids.Add(1) }

// end closes every stream and link of a term that is over.
func (t *term) end() {
	t.mu.Lock()
	t.ended = true
	streams, links, calls := t.streams, t.links, t.calls
	t.streams, t.byName = map[cluster.StreamID]*stream{}, map[string]*stream{}
	t.links, t.calls = map[cluster.ConnID]*agentLink{}, map[cluster.CallID]chan cluster.Answer{}
	t.mu.Unlock()
	for _, s := range streams {
		s.Close()
	}
	for _, l := range links {
		l.out.Close()
	}
	for _, c := range calls {
		close(c)
	}
	t.events.Close()
}

// ask puts a call that waits for its step into the mailbox, and waits.
func (t *term) ask(ctx context.Context, in func(cluster.CallID) cluster.In) (cluster.Answer, error) {
	id := cluster.CallID(t.m.id())
	c := make(chan cluster.Answer, 1)
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return cluster.Answer{}, loop.ErrStopped
	}
	t.calls[id] = c
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.calls, id)
		t.mu.Unlock()
	}()
	if err := t.loop.Put(ctx, in(id)); err != nil {
		return cluster.Answer{}, err
	}
	select {
	case a, ok := <-c:
		if !ok {
			return a, loop.ErrStopped
		}
		return a, nil
	case <-ctx.Done():
		return cluster.Answer{}, ctx.Err()
	}
}
