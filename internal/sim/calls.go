package sim

import (
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/envelope"
	"github.com/pando-os/pando/internal/sim/stage"
)

// taken is a 202: the call is queued.
type taken struct{}

// Say puts it into words, for the trace.
func (taken) Say() string { return "202" }

// line is one of the connections that a scheduler has beside its stream for its calls, as an HTTP client with a pool has.
type line struct {
	m    *master
	c    *stage.Conn
	owed []cluster.In // sent and not answered, oldest first
}

// maxLines is how many a scheduler has at most; one that has a single line has its calls in order.
const maxLines = 3

// post sends a call over any line. So calls overtake each other.
func (f *framework) post(in cluster.In) {
	n := f.w.Rand.IntN(len(f.lines))
	if l := f.lines[n]; l != nil && l.m == f.at && l.c.Ends[stage.Near].Open {
		l.owed = append(l.owed, in)
		l.c.Send(stage.Near, in)
		return
	}
	l := &line{m: f.at, c: f.w.Connect(f.name, f.at.name), owed: []cluster.In{in}}
	f.lines[n] = l
	e := &l.c.Ends[stage.Near]
	e.Recv = func(message any) {
		switch {
		case message != taken{}: // it does not lead
			l.owed = nil
		case len(l.owed) > 0:
			l.owed = l.owed[1:]
		}
	}
	e.Closed = func() { f.again(l) }
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
	f.w.After(f.w.Between(50*time.Millisecond, time.Second), func() {
		if !f.subscribed || f.at != l.m {
			return
		}
		f.w.Cover.Fault(repeated)
		for _, in := range owed {
			f.post(in)
		}
	})
}

// acceptCall takes a call that comes by itself. A scheduler's is answered when it is queued, an operator's by the book.
func (t *term) acceptCall(c *stage.Conn, in cluster.In) {
	t.calls[c.ID] = c
	c.Ends[stage.Far].Closed = func() { delete(t.calls, c.ID) }
	t.p.Post(in)
	if id := envelope.Call(in); id != 0 {
		t.asked[id] = c
		return
	}
	c.Send(stage.Far, taken{})
}

// answer ends a call that waits.
func (t *term) answer(id cluster.CallID, body any) {
	if c := t.asked[id]; c != nil {
		delete(t.asked, id)
		delete(t.calls, c.ID)
		c.Send(stage.Far, body)
		c.Finish()
	}
}
