package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/registry"
	"github.com/pando-os/pando/internal/sim/stage"
)

const (
	// saveTimeout is how long a master waits for an answer of the store, as in production.
	saveTimeout = 10 * time.Second
	// leaseTTL is how long a leader's key outlives its silence.
	leaseTTL = 10 * time.Second
)

// master is one of the machines that may lead. It is a process that campaigns, and while it has won, a term.
type master struct {
	w      *World
	name   string
	up     bool
	frozen bool
	run    int // of the process
	term   *term
	knows  *master // the leader, as far as it has heard
	// epoch and renewed are of the leadership that it has won: the revision of its key, and when its lease was renewed last.
	epoch   uint64
	renewed time.Duration
	busy    bool     // it asks the store something
	backlog []func() // connections that came while it was frozen
}

// What a master that does not lead answers.
type (
	// redirect is a 307 to the leader.
	redirect struct{ to *master }
	// unavailable is a 503: no leader is known.
	unavailable struct{}
	// hello is what an agent says first.
	hello struct{}
	// heartbeat keeps a scheduler's stream alive.
	heartbeat struct{}
	// welcome is what a leader says first on an agent's connection.
	welcome struct {
		epoch   uint64
		silence time.Duration
	}
)

// Say puts these into words, for the trace.
func (m redirect) Say() string  { return "307, ask " + m.to.name }
func (unavailable) Say() string { return "503, no leader is known" }
func (m welcome) Say() string   { return fmt.Sprintf("Welcome epoch=%d", m.epoch) }
func (hello) Say() string       { return "hello" }
func (heartbeat) Say() string   { return "heartbeat" }

func (w *World) newMaster(name string) *master {
	m := &master{w: w, name: name}
	w.masters = append(w.masters, m)
	m.start()
	return m
}

// start begins a run of the process.
func (m *master) start() {
	if m.up {
		return
	}
	m.up, m.frozen, m.busy, m.knows, m.epoch = true, false, false, nil, 0
	m.run++
	m.w.Note("%s starts (run %d)", m.name, m.run)
	m.again(m.w.Between(0, 200*time.Millisecond))
}

// again looks after a while at what is to be done about leadership. It stops with the run.
func (m *master) again(wait time.Duration) {
	run := m.run
	m.w.After(wait, func() {
		if m.up && m.run == run {
			m.look()
		}
	})
}

// look renews the lease of a leader and sees whether it is lost; a standby sees who leads, and campaigns when nobody does.
func (m *master) look() {
	w := m.w
	if m.frozen {
		return // thaw comes back to it
	}
	defer m.again(w.Between(leaseTTL/40, leaseTTL/8))
	heard := w.Reaches(m.name, registry.Name) && w.Now() >= w.store.Deaf
	switch {
	case m.epoch != 0 && heard && w.store.Renew(m.epoch, leaseTTL):
		m.renewed = w.Now()
	case m.epoch != 0 && (heard || w.Now()-m.renewed > leaseTTL):
		m.stepDown("its lease is lost")
	case m.epoch == 0 && heard:
		name, revision := w.store.Leader()
		m.knows = nil
		if revision != 0 {
			m.knows = w.masterNamed(name)
		}
		// Nobody leads, or who leads refuses connections: its process is gone, and its lease need not be waited for.
		if !m.busy && (revision == 0 || !m.knows.up && w.Reaches(m.name, name)) {
			m.campaign(revision)
		}
	}
}

func (w *World) masterNamed(name string) *master {
	return w.masters[slices.IndexFunc(w.masters, func(m *master) bool { return m.name == name })]
}

// campaign puts the leader's key by compare-and-swap; once that is answered it loads the book and leads.
func (m *master) campaign(seen uint64) {
	w, run := m.w, m.run
	m.busy = true
	var epoch uint64
	var won bool
	sent := w.Now()
	w.store.Ask(m.name, func() { epoch, won = w.store.Swap(m.name, seen, leaseTTL) }, func(ok bool) {
		switch {
		case !m.up || m.run != run:
		case !won:
			m.busy = false
		case !ok: // it may have won and does not know: its key goes when it can be told to, or with the lease
			m.w.Note("%s does not know whether it leads", m.name)
			m.resign(epoch)
			m.busy = false
		default:
			m.epoch, m.renewed = epoch, sent
			m.load(epoch)
		}
	})
}

func (m *master) load(epoch uint64) {
	run := m.run
	var records []cluster.Record
	m.w.store.Ask(m.name, func() { records = m.w.store.Load() }, func(ok bool) {
		switch {
		case !m.up || m.run != run:
		case m.epoch != epoch: // it was lost meanwhile
			m.busy = false
		case !ok:
			m.stepDown("the book could not be loaded")
			m.busy = false
		default:
			m.busy = false
			m.begin(records)
		}
	})
}

// begin starts a term.
func (m *master) begin(records []cluster.Record) {
	w := m.w
	t := &term{
		m: m, w: w, name: termName(m.name, m.epoch), epoch: m.epoch, begun: w.Now(),
		links: map[cluster.ConnID]*stage.Conn{}, streams: map[cluster.StreamID]*stage.Conn{},
		calls: map[uint64]*stage.Conn{}, asked: map[cluster.CallID]*stage.Conn{},
	}
	cfg := w.Params.Cluster
	cfg.MasterID, cfg.Started = t.name, w.Wall()
	rng := rand.New(rand.NewPCG(w.Rand.Uint64(), w.Rand.Uint64()))
	t.p = stage.NewProcess[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact](w.Stage, "master", t.name, nil, t, w.Now())
	t.p.Frozen = m.frozen
	t.book = cluster.New(cfg, records, t.p.Clock(), rng)
	t.p.Machine = t.book
	m.term, m.knows = t, m
	if w.leader == nil || w.leader.epoch < t.epoch {
		w.leader = t
	}
	w.Note("%s leads with epoch %d and %d records", t.name, t.epoch, len(records))
	w.check.elected(t)
	t.p.Start()
	t.beat()
}

// stepDown ends a leadership and leaves the process alive.
func (m *master) stepDown(why string) {
	epoch := m.epoch
	m.w.Note("%s steps down: %s", m.name, why)
	m.epoch = 0
	if t := m.term; t != nil {
		t.stepping = true
		t.p.Crash()
	}
	m.resign(epoch)
}

// resign gives the leader's key back, if the store can be reached.
func (m *master) resign(epoch uint64) {
	if epoch != 0 && m.w.Reaches(m.name, registry.Name) {
		m.w.After(m.w.store.Latency(), func() { m.w.store.Revoke(epoch) })
	}
}

// crash ends the process; it starts again after a while.
func (m *master) crash() {
	if !m.up {
		return
	}
	w := m.w
	m.up, m.frozen = false, false
	w.Note("%s is down", m.name)
	if t := m.term; t != nil {
		t.p.Crash()
	}
	backlog := m.backlog
	m.backlog, m.epoch = nil, 0
	for _, take := range backlog {
		take() // which finds nobody
	}
	wait := w.Between(10*time.Millisecond, 15*time.Second)
	if w.Chance(0.2) {
		wait = w.Between(15*time.Second, 2*time.Minute)
	}
	w.After(wait, m.start)
}

// freeze stops a master for a while without killing it. Its connections stay; its lease runs out.
func (m *master) freeze(d time.Duration) {
	w, run := m.w, m.run
	m.frozen = true
	if m.term != nil {
		m.term.p.Frozen = true
	}
	w.Note("%s freezes for %s", m.name, d)
	w.After(d, func() {
		if !m.up || m.run != run {
			return
		}
		w.Note("%s wakes up", m.name)
		m.frozen = false
		if t := m.term; t != nil {
			t.p.Thaw()
		}
		backlog := m.backlog
		m.backlog = nil
		for _, take := range backlog {
			take()
		}
		m.again(w.Between(0, 5*time.Second)) // it acts before it finds that its lease is lost
	})
}

// accept takes the first message of a connection.
func (m *master) accept(c *stage.Conn, message any) {
	switch {
	case !m.up:
		c.Finish()
	case m.frozen:
		m.backlog = append(m.backlog, func() {
			m.accept(c, message)
			if e := &c.Ends[stage.Far]; !e.Open { // who dialed has given up meanwhile
				e.Closed()
			}
		})
	case m.term == nil:
		if m.knows != nil && m.knows != m {
			c.Send(stage.Far, redirect{m.knows})
		} else {
			c.Send(stage.Far, unavailable{})
		}
		c.Finish()
	default:
		switch in := message.(type) {
		case hello:
			m.term.acceptAgent(c)
		case *cluster.Subscribe:
			m.term.acceptStream(c, in)
		default:
			m.term.acceptCall(c, in)
		}
	}
}

// dial opens a connection to a master and says the first word. The caller has set what its end does.
func (w *World) dial(c *stage.Conn, m *master, first any) {
	e := &c.Ends[stage.Far]
	e.Recv = func(message any) { m.accept(c, message) }
	e.Closed = func() {}
	c.Send(stage.Near, first)
}
