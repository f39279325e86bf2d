package master

import (
	"context"
	"net/http"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/master/events"
	"github.com/pando-os/pando/internal/serve"
)

// maxSubscribers is how many operators' streams there may be, unless it is set.
const maxSubscribers = 1000

// newEvents makes the hub of a term.
func (m *Master) newEvents() *events.Hub {
	c := events.Config{
		Max: m.cfg.Subscribers, Bytes: m.cfg.Streams.Bytes, Age: m.cfg.Streams.Age, Heartbeat: m.cfg.Heartbeat,
		Clock: m.deps.Clock, About: m.about(),
		Cut: func(who, why string) {
			m.counts.operatorsCut.Inc()
			m.warn("operator's stream cut off", who, "subscriber", who, "why", why)
		},
	}
	if c.Bytes == 0 {
		c.Bytes = 64 << 20
	}
	if c.Age == 0 {
		c.Age = 30 * time.Second
	}
	return events.New(c)
}

// subscribers is how many operators' streams there are.
func (m *Master) subscribers() int {
	if t := m.term.Load(); t != nil {
		return t.events.Len()
	}
	return 0
}

// serveEvents answers SUBSCRIBE of the operator's API: it takes over the connection, and the hub writes to it from the fact
// on that answers the Observe.
func (t *term) serveEvents(w http.ResponseWriter, r *http.Request, json bool) {
	who, peer := serve.Who(r), peerOf(r)
	may := who.May
	if who.Root {
		may = nil
	}
	endBody(r)
	conn, rw, err := serve.TakeOver(w)
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	defer func() { _ = conn.Close() }() // it may be closed by then
	head := serve.StreamHead{ContentType: serve.ContentType(json), Now: t.m.deps.Clock.Now().Time()}
	if _, err := conn.Write([]byte(head.String())); err != nil {
		return
	}
	id := t.m.id()
	s, err := t.events.Add(id, conn, json, may, peer)
	if err != nil {
		return // the client asks again, and finds who leads now
	}
	defer t.events.Remove(s)
	if t.loop.Put(context.WithoutCancel(r.Context()), &cluster.Observe{ID: id}) != nil {
		return // the term has ended
	}
	serve.AwaitLeaving(rw)
}
