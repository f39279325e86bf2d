// Package events is the operator's stream of events: a snapshot of the cluster and then every change of it, for many
// subscribers. The master's loop hands facts over and goes on; encoding and writing are done elsewhere, once for each encoding.
// A subscriber begins with the view after the fact that answers his Observe, so nothing between snapshot and stream is missed
// or told twice.
package events

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/serve"
)

const (
	// gather is how long events wait for company after some were sent: a hundred subscribers are written to a hundred times a
	// second each, however much happens.
	gather = 10 * time.Millisecond
	// maxQueue is how many events may wait to be encoded. There are so many only where the machine has no time left.
	maxQueue = 1 << 18
)

// Config is a hub's.
type Config struct {
	// Max is how many subscribers there may be at a time; the oldest makes room for a new one.
	Max int
	// Bytes may wait for a subscriber who does not read, and one write may take Age.
	Bytes int
	Age   time.Duration
	// Heartbeat is the time between two HEARTBEAT events.
	Heartbeat time.Duration
	Clock     clock.Clock
	About     *reads.About
	// Cut is told of a subscriber who was given up, and why.
	Cut func(who, why string)
}

// Hub has the subscribers of one master, for as long as it leads. Its methods may be called from any goroutine, Tell from one
// at a time.
type Hub struct {
	cfg   Config
	count atomic.Int64 // of subscribers, the waiting ones among them
	turns turnstile    // of snapshots
	done  chan struct{}

	mu      sync.Mutex // guards the rest
	all     []*Subscriber
	waiting map[uint64]*Subscriber // for the fact from which on they hear
	active  []*Subscriber
	queue   []entry
	working bool
	closed  bool
}

// entry is an event, or a subscriber who begins with a view.
type entry struct {
	event
	begins *Subscriber
	view   *cluster.View
}

// New makes a hub without subscribers.
func New(cfg Config) *Hub {
	return &Hub{cfg: cfg, waiting: map[uint64]*Subscriber{}, done: make(chan struct{}), turns: newTurnstile()}
}

// Len is how many subscribers there are.
func (h *Hub) Len() int { return int(h.count.Load()) }

// Add makes a subscriber of a connection whose answer's head was written. He hears nothing until Tell is given the
// FactObserved with his id. may says whose frameworks he may see; nil: everybody's. who names him, and whom his snapshots count
// for. The caller calls Remove when the client has gone. The error is loop.ErrStopped once the hub is closed.
func (h *Hub) Add(id uint64, conn net.Conn, json bool, may func(user string) bool, who string) (*Subscriber, error) {
	s := &Subscriber{hub: h, id: id, conn: conn, json: json, may: may, who: who, done: make(chan struct{})}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, loop.ErrStopped
	}
	var oldest *Subscriber
	if h.cfg.Max > 0 && len(h.all) >= h.cfg.Max {
		oldest = h.all[0]
		h.forget(oldest)
	}
	h.all = append(h.all, s)
	h.waiting[id] = s
	h.count.Store(int64(len(h.all)))
	h.mu.Unlock()
	if oldest != nil {
		oldest.finish()
	}
	return s, nil
}

// Remove ends a subscriber.
func (h *Hub) Remove(s *Subscriber) {
	h.mu.Lock()
	h.forget(s)
	h.mu.Unlock()
	s.close()
}

// forget takes a subscriber off the lists, with mu held.
func (h *Hub) forget(s *Subscriber) {
	is := func(x *Subscriber) bool { return x == s }
	h.all = slices.DeleteFunc(h.all, is)
	h.active = slices.DeleteFunc(h.active, is)
	delete(h.waiting, s.id)
	h.count.Store(int64(len(h.all)))
}

// Tell hands over what happened, in order; view is the book after all of it. It never waits, and costs next to nothing while
// nobody listens.
func (h *Hub) Tell(facts []cluster.Fact, view *cluster.View) {
	if h.count.Load() == 0 {
		return
	}
	var begin []*Subscriber
	h.mu.Lock()
	for i := range facts {
		f := &facts[i]
		if f.Kind == cluster.FactObserved {
			if s := h.waiting[uint64(f.N)]; s != nil {
				delete(h.waiting, s.id)
				begin = append(begin, s)
			}
			continue
		}
		if e, ok := of(f); ok {
			h.queue = append(h.queue, entry{event: e})
		}
	}
	for _, s := range begin { // behind all of these facts, which the view has
		h.queue = append(h.queue, entry{begins: s, view: view})
	}
	var late []*Subscriber
	if len(h.queue) > maxQueue {
		h.queue, late = nil, slices.Clone(h.all)
	}
	start := !h.working && !h.closed && len(h.queue) > 0
	h.working = h.working || start
	h.mu.Unlock()
	for _, s := range late {
		s.fail("the machine has no time to encode what happens")
	}
	if start {
		go h.work()
	}
}

// Close ends every stream.
func (h *Hub) Close() {
	h.mu.Lock()
	all, first := h.all, !h.closed
	h.all, h.active, h.queue, h.waiting, h.closed = nil, nil, nil, map[uint64]*Subscriber{}, true
	h.count.Store(0)
	h.mu.Unlock()
	if first {
		close(h.done)
	}
	for _, s := range all {
		s.close()
	}
}

// work delivers what is queued, until nothing is.
func (h *Hub) work() {
	var spare []entry
	pause := h.cfg.Clock.NewTimer(gather)
	defer pause.Stop()
	for {
		h.mu.Lock()
		if len(h.queue) == 0 || h.closed {
			h.working = false
			h.mu.Unlock()
			return
		}
		batch := h.queue
		h.queue = spare[:0]
		h.mu.Unlock()
		h.deliver(batch)
		clear(batch)
		spare = batch
		pause.Reset(gather)
		select {
		case <-pause.C():
		case <-h.done:
		}
	}
}

// deliver sends events to the active subscribers, and lets new ones begin where they do.
func (h *Hub) deliver(batch []entry) {
	start := 0
	for i := range batch {
		s := batch[i].begins
		if s == nil {
			continue
		}
		h.send(batch[start:i])
		start = i + 1
		h.mu.Lock()
		if slices.Contains(h.all, s) { // he may have gone
			h.active = append(h.active, s)
		}
		h.mu.Unlock()
		s.begin(batch[i].view)
	}
	h.send(batch[start:])
}

// send encodes events for those encodings that somebody takes, and gives everybody the same bytes.
func (h *Hub) send(events []entry) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	active := slices.Clone(h.active)
	h.mu.Unlock()
	var encoded [2]*run
	for _, s := range active {
		at := 0
		if s.json {
			at = 1
		}
		if encoded[at] == nil {
			encoded[at] = encode(events, s.json)
		}
		encoded[at].give(s, events)
	}
}

// run is some events in a row, encoded as chunks; ends are where each ends.
type run struct {
	bytes []byte
	ends  []int
}

func encode(events []entry, json bool) *run {
	r := &run{ends: make([]int, len(events))}
	var one []byte
	for i := range events {
		one = events[i].append(one[:0], json)
		r.bytes = serve.AppendChunk(r.bytes, one)
		r.ends[i] = len(r.bytes)
	}
	return r
}

// give sends a subscriber those that he may see.
func (r *run) give(s *Subscriber, events []entry) {
	if s.may == nil {
		s.send(r.bytes)
		return
	}
	from, to := 0, 0
	for i := range events {
		if !events[i].seen(s.may) {
			s.send(r.bytes[from:to])
			from = r.ends[i]
		}
		to = r.ends[i]
	}
	s.send(r.bytes[from:to])
}
