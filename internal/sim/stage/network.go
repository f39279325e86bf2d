package sim

import "time"

// conn is one connection as TCP gives it: in order both ways, until it is cut. What is under way at a cut is lost from
// some point on. A wall between its two ends makes everything in that direction wait, the news of a cut too. (What TCP
// gives cannot be doubled or come out of order, so the simulator does neither; both happen to what is sent again over the
// next connection.)
type conn struct {
	w     *World
	id    uint64
	names [2]string
	ends  [2]connEnd // near: who dialed; far: the master
}

// connEnd is one side of a connection.
type connEnd struct {
	open   bool
	recv   func(message any)
	closed func()
	queue  []packet // on its way to this end
	pumps  bool
	stall  time.Duration // nothing arrives here until then
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
func (w *World) connect(from, to string) *conn {
	c := &conn{w: w, id: w.id(), names: [2]string{from, to}}
	c.ends[near].open, c.ends[far].open = true, true
	w.conns = append(w.conns, c)
	if len(w.conns) > 256+4*len(w.agents) {
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

// way is a direction between two machines; an empty name is any machine.
type way struct{ from, to string }

// block stops everything that goes one way, until some time.
func (w *World) block(from, to string, until time.Duration) {
	w.walls[way{from, to}] = max(w.walls[way{from, to}], until)
}

// passes is when something that goes one way now will pass.
func (w *World) passes(from, to string) time.Duration {
	if len(w.walls) == 0 {
		return 0
	}
	return max(w.walls[way{from, to}], w.walls[way{from, ""}], w.walls[way{"", to}])
}

// reaches says whether two machines reach each other, both ways.
func (w *World) reaches(a, b string) bool {
	return w.passes(a, b) <= w.now && w.passes(b, a) <= w.now
}

// send sends a message from one end to the other.
func (c *conn) send(from int, message any) {
	if c.ends[from].open {
		c.w.noteMessage(c, from, message)
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

// stalled is until when nothing arrives at an end.
func (c *conn) stalled(to int) time.Duration {
	return max(c.ends[to].stall, c.w.passes(c.names[1-to], c.names[to]))
}

// pump delivers what is due at an end, and comes again for the rest.
func (c *conn) pump(to int) {
	e := &c.ends[to]
	if e.pumps || len(e.queue) == 0 {
		return
	}
	e.pumps = true
	c.w.at(max(e.queue[0].at, c.stalled(to)), func() {
		e.pumps = false
		if c.stalled(to) <= c.w.now && len(e.queue) > 0 && e.queue[0].at <= c.w.now {
			p := e.queue[0]
			e.queue = e.queue[1:]
			switch {
			case e.open && p.eof:
				e.open = false
				e.closed()
			case e.open:
				e.recv(p.message)
			case !p.eof: // nobody is here any more: the sender is told
				c.hangUp(1-to, c.w.chance(0.3))
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

// halve ends the connection at one end, and the other does not hear of it until it sends something.
func (c *conn) halve(at int) {
	if e := &c.ends[at]; e.open {
		e.queue = nil
		c.hangUp(at, false)
	}
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

// calmDown ends every stall.
func (c *conn) calmDown() {
	for to := range c.ends {
		c.ends[to].stall = 0
		c.ends[to].pumps = false
		c.pump(to)
	}
}
