package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/envelope"
	"github.com/pando-os/pando/internal/sim/say"
)

type clusterProcess = process[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact]

// term is one time of leading: a book made of what the last leader saved, and everybody who is connected to it.
type term struct {
	m        *master
	w        *World
	name     string
	epoch    uint64
	begun    time.Duration
	stepping bool // it ends, and its process does not
	book     *cluster.Book
	p        *clusterProcess
	links    map[cluster.ConnID]*conn
	streams  map[cluster.StreamID]*conn
	calls    map[uint64]*conn         // that come by themselves
	asked    map[cluster.CallID]*conn // of those, who waits for the book's answer
}

func termName(master string, epoch uint64) string { return fmt.Sprintf("%s.%d", master, epoch) }

func (t *term) alive() bool { return t != nil && !t.p.dead && !t.p.frozen }

// beat keeps the streams of schedulers alive.
func (t *term) beat() {
	t.w.after(15*time.Second, func() {
		if t.p.dead {
			return
		}
		if !t.p.frozen {
			for _, id := range slices.Sorted(maps.Keys(t.streams)) {
				t.streams[id].send(far, heartbeat{})
			}
		}
		t.beat()
	})
}

// acceptAgent takes an agent's connection.
func (t *term) acceptAgent(c *conn) {
	id := cluster.ConnID(t.w.id())
	t.links[id] = c
	e := &c.ends[far]
	e.recv = func(message any) {
		envelope.Connect(message, id)
		t.p.post(message)
	}
	e.closed = func() {
		delete(t.links, id)
		t.p.post(&cluster.AgentClosed{Conn: id})
	}
	cfg := &t.w.Params.Cluster
	c.send(far, welcome{t.epoch, cfg.PingInterval * time.Duration(cfg.PingMisses+1)})
}

// acceptStream takes a scheduler's SUBSCRIBE. Those of its calls whose order is their meaning come over the same connection,
// as if it waited for the answer of each; the others over lines of their own. The stream's number in a call says which
// subscription it means.
func (t *term) acceptStream(c *conn, in *cluster.Subscribe) {
	id := in.Stream
	t.streams[id] = c
	e := &c.ends[far]
	e.recv = func(message any) { t.p.post(message) }
	e.closed = func() {
		delete(t.streams, id)
		t.p.post(&cluster.StreamClosed{Stream: id})
	}
	t.p.post(in)
}

func (t *term) took(now time.Duration, in cluster.In, out *cluster.Out, from mark) {
	t.w.cover.Input(in)
	t.w.check.masterTook(t, now, in, out, from)
}

func (t *term) stepped(out *cluster.Out) {
	for i := range out.Send {
		t.w.cover.Output(out.Send[i].Body)
	}
	t.w.check.masterStepped(t, out)
}

// save commits records as one transaction that compares the leader's key. A crash of the master does not take back what
// it has sent, and an answer that does not come ends the term.
func (t *term) save(records []cluster.Record, done func(ok bool)) {
	committed := false
	t.w.noteSave(t.name, len(records))
	t.w.store.ask(t.m, func() {
		if t.p.dead && t.w.chance(0.5) {
			return // it was not sent yet when the master crashed
		}
		committed = t.w.store.commit(t.epoch, records)
	}, func(ok bool) {
		if ok && committed {
			done(true)
			return
		}
		if !t.p.dead {
			t.stepping = true
			done(false)
		}
	})
}

func (t *term) torn([]cluster.Record) {}

func (t *term) send(messages []cluster.Msg) {
	for i := range messages {
		msg := &messages[i]
		switch {
		case msg.Conn != 0:
			c := t.links[msg.Conn]
			if c == nil {
				continue
			}
			if _, ok := msg.Body.(cluster.Disconnect); ok {
				c.finish()
				delete(t.links, msg.Conn)
				t.p.post(&cluster.AgentClosed{Conn: msg.Conn})
				continue
			}
			c.send(far, msg.Body)
		case msg.Stream != 0:
			c := t.streams[msg.Stream]
			if c == nil {
				continue
			}
			switch msg.Body.(type) {
			case cluster.Error, cluster.Close:
				if _, ok := msg.Body.(cluster.Error); ok {
					c.send(far, msg.Body)
				}
				c.finish()
				delete(t.streams, msg.Stream)
				t.p.post(&cluster.StreamClosed{Stream: msg.Stream})
				continue
			}
			c.send(far, msg.Body)
		case msg.Call != 0:
			t.answer(msg.Call, msg.Body)
		}
	}
}

func (t *term) do([]cluster.Work) {}

func (t *term) tell(facts []cluster.Fact) {
	if !t.w.tracing() {
		return
	}
	for i := range facts {
		f := &facts[i]
		t.w.note("%s decides %s%s", t.name, f.Kind, say.Words("agent", f.Agent, "framework", f.Framework, "task", f.Task, "state", say.State(f.State), "because", f.Reason.Text(), "", f.Text))
	}
}

// crashed cuts everybody off.
func (t *term) crashed() {
	for _, id := range slices.Sorted(maps.Keys(t.links)) {
		t.links[id].cut()
	}
	for _, id := range slices.Sorted(maps.Keys(t.streams)) {
		t.streams[id].cut()
	}
	for _, id := range slices.Sorted(maps.Keys(t.calls)) {
		t.calls[id].cut()
	}
	t.links, t.streams, t.calls, t.asked = nil, nil, nil, nil
	m, epoch := t.m, t.epoch
	if m.term == t {
		m.term, m.knows = nil, nil
	}
	if !t.stepping {
		m.crash()
		return
	}
	if m.epoch == epoch { // its save was refused or is unknown
		m.epoch = 0
		m.resign(epoch)
	}
}
