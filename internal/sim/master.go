package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
)

type clusterProcess = process[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact]

// master is one time of leading: a book made of what the last leader saved, and everybody who is connected to it.
type master struct {
	w       *World
	name    string
	epoch   uint64
	elected time.Duration
	book    *cluster.Book
	p       *clusterProcess
	links   map[cluster.ConnID]*conn
	streams map[cluster.StreamID]*conn
}

// welcome is what a master says first on an agent's connection.
type welcome struct {
	epoch   uint64
	silence time.Duration
}

// elect makes a new leader. The one before, if it lives, does not know.
func (w *World) elect() {
	w.store.epoch++
	m := &master{
		w: w, name: fmt.Sprintf("M%d", w.store.epoch), epoch: w.store.epoch, elected: w.now,
		links: map[cluster.ConnID]*conn{}, streams: map[cluster.StreamID]*conn{},
	}
	cfg := w.Params.Cluster
	cfg.MasterID, cfg.Started = m.name, w.wall()
	rng := rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64()))
	m.p = newProcess[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact](w, "master", m.name, nil, m, w.now)
	m.book = cluster.New(cfg, w.store.load(), m.p.clock(), rng)
	m.p.machine = m.book
	w.leader = m
	w.masters = append(w.masters, m)
	w.note("%s leads with epoch %d", m.name, m.epoch)
	w.check.elected(m)
	m.p.arm()
}

func (m *master) alive() bool { return m != nil && !m.p.dead && !m.p.frozen }

// freeze stops a leader for a while without killing it; another is elected meanwhile.
func (m *master) freeze(d time.Duration) {
	m.p.frozen = true
	m.w.note("%s freezes for %s", m.name, d)
	m.w.after(m.w.between(0, d), func() {
		if m.w.leader == m {
			m.w.elect()
		}
	})
	m.w.after(d, func() {
		if !m.p.dead {
			m.w.note("%s wakes up", m.name)
			m.p.frozen, m.p.turning = false, false
			m.p.arm()
		}
	})
	m.w.after(d+m.w.between(0, 20*time.Second), m.p.crash) // it finds that its lease is lost
}

// acceptAgent takes an agent's connection.
func (m *master) acceptAgent(c *conn) {
	id := cluster.ConnID(m.w.id())
	m.links[id] = c
	e := &c.ends[far]
	e.recv = func(message any) {
		switch in := message.(type) {
		case *cluster.AgentRegister:
			in.Conn = id
		case *cluster.AgentUpdate:
			in.Conn = id
		case *cluster.AgentState:
			in.Conn = id
		case *cluster.AgentPong:
			in.Conn = id
		case *cluster.AgentLeave:
			in.Conn = id
		}
		m.p.post(message)
	}
	e.closed = func() {
		delete(m.links, id)
		m.p.post(&cluster.AgentClosed{Conn: id})
	}
	cfg := &m.w.Params.Cluster
	c.send(far, welcome{m.epoch, cfg.PingInterval * time.Duration(cfg.PingMisses+1)})
}

// acceptStream takes a scheduler's SUBSCRIBE. Its other calls come over the same connection; the stream's number in them
// says which subscription they mean.
func (m *master) acceptStream(c *conn, in *cluster.Subscribe) {
	id := in.Stream
	m.streams[id] = c
	e := &c.ends[far]
	e.recv = func(message any) { m.p.post(message) }
	e.closed = func() {
		delete(m.streams, id)
		m.p.post(&cluster.StreamClosed{Stream: id})
	}
	m.p.post(in)
}

func (m *master) stepped(out *cluster.Out) {
	m.w.check.masterStepped(m, out)
}

func (m *master) durable(records []cluster.Record) bool {
	return m.w.store.commit(m.epoch, records)
}

// torn: a transaction under way is committed whole or not at all.
func (m *master) torn(records []cluster.Record) {
	if m.w.chance(0.5) {
		m.w.store.commit(m.epoch, records)
	}
}

func (m *master) send(messages []cluster.Msg) {
	for i := range messages {
		msg := &messages[i]
		switch {
		case msg.Conn != 0:
			c := m.links[msg.Conn]
			if c == nil {
				continue
			}
			if _, ok := msg.Body.(cluster.Disconnect); ok {
				c.finish()
				delete(m.links, msg.Conn)
				m.p.post(&cluster.AgentClosed{Conn: msg.Conn})
				continue
			}
			c.send(far, msg.Body)
		case msg.Stream != 0:
			c := m.streams[msg.Stream]
			if c == nil {
				continue
			}
			switch msg.Body.(type) {
			case cluster.Error, cluster.Close:
				if _, ok := msg.Body.(cluster.Error); ok {
					c.send(far, msg.Body)
				}
				c.finish()
				delete(m.streams, msg.Stream)
				m.p.post(&cluster.StreamClosed{Stream: msg.Stream})
				continue
			}
			c.send(far, msg.Body)
		}
	}
}

func (m *master) do([]cluster.Work) {}

func (m *master) tell(facts []cluster.Fact) {
	for i := range facts {
		f := &facts[i]
		m.w.note("%s %s agent=%s framework=%s task=%s %s %s", m.name, f.Kind, f.Agent, f.Framework, f.Task, f.State, f.Text)
	}
}

// crashed cuts everybody off; another leader is elected after a while.
func (m *master) crashed() {
	w := m.w
	for _, id := range sortedIDs(m.links) {
		m.links[id].cut()
	}
	for _, id := range sortedIDs(m.streams) {
		m.streams[id].cut()
	}
	m.links, m.streams = nil, nil
	for i, x := range w.masters {
		if x == m {
			w.masters = append(w.masters[:i:i], w.masters[i+1:]...)
			break
		}
	}
	if w.leader == m {
		w.after(w.between(10*time.Millisecond, 15*time.Second), func() {
			if w.leader == m {
				w.elect()
			}
		})
	}
}
