package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/envelope"
	"github.com/pando-os/pando/internal/sim/say"
	"github.com/pando-os/pando/internal/sim/stage"
)

type clusterProcess = stage.Process[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact]

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
	links    map[cluster.ConnID]*stage.Conn
	streams  map[cluster.StreamID]*stage.Conn
	calls    map[uint64]*stage.Conn         // that come by themselves
	asked    map[cluster.CallID]*stage.Conn // of those, who waits for the book's answer
}

func termName(master string, epoch uint64) string { return fmt.Sprintf("%s.%d", master, epoch) }

func (t *term) alive() bool { return t != nil && !t.p.Dead && !t.p.Frozen }

// beat keeps the streams of schedulers alive.
func (t *term) beat() {
	t.w.After(15*time.Second, func() {
		if t.p.Dead {
			return
		}
		if !t.p.Frozen {
			for _, id := range slices.Sorted(maps.Keys(t.streams)) {
				t.streams[id].Send(stage.Far, heartbeat{})
			}
		}
		t.beat()
	})
}

// acceptAgent takes an agent's connection.
func (t *term) acceptAgent(c *stage.Conn) {
	id := cluster.ConnID(t.w.ID())
	t.links[id] = c
	e := &c.Ends[stage.Far]
	e.Recv = func(message any) {
		envelope.Connect(message, id)
		t.p.Post(message)
	}
	e.Closed = func() {
		delete(t.links, id)
		t.p.Post(&cluster.AgentClosed{Conn: id})
	}
	cfg := &t.w.Params.Cluster
	c.Send(stage.Far, welcome{t.epoch, cfg.PingInterval * time.Duration(cfg.PingMisses+1)})
}

// acceptStream takes a scheduler's SUBSCRIBE. Those of its calls whose order is their meaning come over the same connection,
// as if it waited for the answer of each; the others over lines of their own. The stream's number in a call says which
// subscription it means.
func (t *term) acceptStream(c *stage.Conn, in *cluster.Subscribe) {
	id := in.Stream
	t.streams[id] = c
	e := &c.Ends[stage.Far]
	e.Recv = func(message any) { t.p.Post(message) }
	e.Closed = func() {
		delete(t.streams, id)
		t.p.Post(&cluster.StreamClosed{Stream: id})
	}
	t.p.Post(in)
}

func (t *term) Took(now time.Duration, in cluster.In, out *cluster.Out, from stage.Mark) {
	t.w.Cover.Input(in)
	t.w.check.masterTook(t, now, in, out, from)
}

func (t *term) Stepped(out *cluster.Out) {
	for i := range out.Send {
		t.w.Cover.Output(out.Send[i].Body)
	}
	t.w.check.masterStepped(t, out)
}

// save commits records as one transaction that compares the leader's key. A crash of the master does not take back what
// it has sent, and an answer that does not come ends the term.
func (t *term) Save(records []cluster.Record, done func(ok bool)) {
	committed := false
	t.w.Note("%s saves %d records", t.name, len(records))
	t.w.store.Ask(t.m.name, func() {
		if t.p.Dead && t.w.Chance(0.5) {
			return // it was not sent yet when the master crashed
		}
		committed = t.w.store.Commit(t.epoch, records)
	}, func(ok bool) {
		if ok && committed {
			done(true)
			return
		}
		if !t.p.Dead {
			t.stepping = true
			done(false)
		}
	})
}

func (t *term) Torn([]cluster.Record) {}

func (t *term) Send(messages []cluster.Msg) {
	for i := range messages {
		msg := &messages[i]
		switch {
		case msg.Conn != 0:
			c := t.links[msg.Conn]
			if c == nil {
				continue
			}
			if _, ok := msg.Body.(cluster.Disconnect); ok {
				c.Finish()
				delete(t.links, msg.Conn)
				t.p.Post(&cluster.AgentClosed{Conn: msg.Conn})
				continue
			}
			c.Send(stage.Far, msg.Body)
		case msg.Stream != 0:
			c := t.streams[msg.Stream]
			if c == nil {
				continue
			}
			switch msg.Body.(type) {
			case cluster.Error, cluster.Close:
				if _, ok := msg.Body.(cluster.Error); ok {
					c.Send(stage.Far, msg.Body)
				}
				c.Finish()
				delete(t.streams, msg.Stream)
				t.p.Post(&cluster.StreamClosed{Stream: msg.Stream})
				continue
			}
			c.Send(stage.Far, msg.Body)
		case msg.Call != 0:
			t.answer(msg.Call, msg.Body)
		}
	}
}

func (t *term) Do([]cluster.Work) {}

func (t *term) Tell(facts []cluster.Fact) {
	if !t.w.Tracing() {
		return
	}
	for i := range facts {
		f := &facts[i]
		t.w.Note("%s decides %s%s", t.name, f.Kind, say.Words("agent", f.Agent, "framework", f.Framework, "task", f.Task, "state", say.State(f.State), "because", f.Reason.Text(), "", f.Text))
	}
}

// crashed cuts everybody off.
func (t *term) Crashed() {
	for _, id := range slices.Sorted(maps.Keys(t.links)) {
		t.links[id].Cut()
	}
	for _, id := range slices.Sorted(maps.Keys(t.streams)) {
		t.streams[id].Cut()
	}
	for _, id := range slices.Sorted(maps.Keys(t.calls)) {
		t.calls[id].Cut()
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
