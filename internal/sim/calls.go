package sim

import (
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/envelope"
)

// taken is a 202: the call is queued.
type taken struct{}

// Say puts it into words, for the trace.
func (taken) Say() string { return "202" }

// line is one of the connections that a scheduler has beside its stream for its calls, as an HTTP client with a pool has.
type line struct {
	m    *master
	c    *conn
	owed []cluster.In // sent and not answered, oldest first
}

// maxLines is how many a scheduler has at most; one that has a single line has its calls in order.
const maxLines = 3

// post sends a call over any line. So calls overtake each other.
func (f *framework) post(in cluster.In) {
	n := f.w.rng.IntN(len(f.lines))
	if l := f.lines[n]; l != nil && l.m == f.at && l.c.ends[near].open {
		l.owed = append(l.owed, in)
		l.c.send(near, in)
		return
	}
	l := &line{m: f.at, c: f.w.connect(f.name, f.at.name), owed: []cluster.In{in}}
	f.lines[n] = l
	e := &l.c.ends[near]
	e.recv = func(message any) {
		switch {
		case message != taken{}: // it does not lead
			l.owed = nil
		case len(l.owed) > 0:
			l.owed = l.owed[1:]
		}
	}
	e.closed = func() { f.again(l) }
	f.w.dial(l.c, l.m, in)
}

// again sends what was not answered when its line ended over another one, as clients do that try a POST again: the master
// may have had it. After a new subscription these are calls of a stream that was replaced.
func (f *framework) again(l *line) {
	owed := l.owed
	l.owed = nil
	if len(owed) == 0 {
		return
	}
	f.w.after(f.w.between(50*time.Millisecond, time.Second), func() {
		if !f.subscribed || f.at != l.m {
			return
		}
		f.w.cover.Fault(repeated)
		for _, in := range owed {
			f.post(in)
		}
	})
}

// acceptCall takes a call that comes by itself. A scheduler's is answered when it is queued, an operator's by the book.
func (t *term) acceptCall(c *conn, in cluster.In) {
	t.calls[c.id] = c
	c.ends[far].closed = func() { delete(t.calls, c.id) }
	t.p.post(in)
	if id := envelope.Call(in); id != 0 {
		t.asked[id] = c
		return
	}
	c.send(far, taken{})
}

// answer ends a call that waits.
func (t *term) answer(id cluster.CallID, body any) {
	if c := t.asked[id]; c != nil {
		delete(t.asked, id)
		delete(t.calls, c.id)
		c.send(far, body)
		c.finish()
	}
}
