package sim

import "time"

// conn is one connection as TCP gives it: in order both ways, until it is cut. What is under way at a cut is lost from
// some point on. A partition stalls it: everything waits, the news of a cut too.
type conn struct {
	w     *World
	id    uint64
	ends  [2]connEnd // 0: who dialed, 1: the master
	stall time.Duration
}

// connEnd is one side of a connection.
type connEnd struct {
	open   bool
	recv   func(message any)
	closed func()
	queue  []packet // on its way to this end
	pumps  bool
}

type packet struct {
	at      time.Duration
	message any
	eof     bool
}

const (
	near = 0
	far  = 1
)

// connect makes a connection that is open at both ends.
func (w *World) connect() *conn {
	c := &conn{w: w, id: w.id()}
	c.ends[near].open, c.ends[far].open = true, true
	w.conns = append(w.conns, c)
	if len(w.conns) > 256 {
		var live []*conn
		for _, x := range w.conns {
			if x.ends[near].open || x.ends[far].open {
				live = append(live, x)
			}
		}
		w.conns = live
	}
	return c
}

// send sends a message from one end to the other.
func (c *conn) send(from int, message any) {
	if c.ends[from].open {
		c.put(1-from, packet{c.due(1 - from), message, false})
	}
}

func (c *conn) due(to int) time.Duration {
	d := c.w.between(100*time.Microsecond, 2*time.Millisecond)
	if c.w.chance(0.01) {
		d = c.w.between(2*time.Millisecond, 3*time.Second)
	}
	at := c.w.now + d
	if q := c.ends[to].queue; len(q) > 0 {
		at = max(at, q[len(q)-1].at)
	}
	return at
}

func (c *conn) put(to int, p packet) {
	e := &c.ends[to]
	e.queue = append(e.queue, p)
	c.pump(to)
}

// pump delivers what is due at an end, and comes again for the rest.
func (c *conn) pump(to int) {
	e := &c.ends[to]
	if e.pumps || len(e.queue) == 0 {
		return
	}
	e.pumps = true
	c.w.at(max(e.queue[0].at, c.stall), func() {
		e.pumps = false
		if c.stall <= c.w.now && len(e.queue) > 0 && e.queue[0].at <= c.w.now {
			p := e.queue[0]
			e.queue = e.queue[1:]
			switch {
			case !e.open:
			case p.eof:
				e.open = false
				e.closed()
			default:
				e.recv(p.message)
			}
		}
		c.pump(to)
	})
}

// close ends the connection at the end that dialed. What the master was sent still arrives, up to some point.
func (c *conn) close() {
	if !c.ends[near].open {
		return
	}
	c.ends[near].open = false
	c.ends[near].queue = nil
	c.hangUp(far, c.w.chance(0.5))
}

// finish ends the connection at the master's end once everything that it sent has arrived.
func (c *conn) finish() {
	if c.ends[far].open {
		c.ends[far].open = false
		c.ends[far].queue = nil
		c.hangUp(near, false)
	}
}

// cut breaks the connection in the middle.
func (c *conn) cut() {
	c.hangUp(near, true)
	c.hangUp(far, true)
}

func (c *conn) hangUp(to int, lose bool) {
	e := &c.ends[to]
	if !e.open {
		return
	}
	if n := len(e.queue); lose && n > 0 {
		e.queue = e.queue[:c.w.rng.IntN(n+1)]
	}
	c.put(to, packet{c.due(to), nil, true})
}

// pumpAgain goes on after a stall that ended before its time.
func (c *conn) pumpAgain() {
	for to := range c.ends {
		c.ends[to].pumps = false
		c.pump(to)
	}
}
