package stage

import "time"

// Conn is one connection as TCP gives it: in order both ways, until it is cut. What is under way at a cut is lost from
// some point on. A wall between its two ends makes everything in that direction wait, the news of a cut too. (What TCP
// gives cannot be doubled or come out of order, so the simulator does neither; both happen to what is sent again over the
// next connection.)
type Conn struct {
	// ID tells connections apart in traces.
	ID uint64
	// Names are those of the two machines, Ends the two sides: Near is who dialed, Far who was.
	Names [2]string
	Ends  [2]End

	w *Stage
}

// End is one side of a connection.
type End struct {
	// Open says that this side has not heard of an end. Recv hears what arrives, Closed of the end.
	Open   bool
	Recv   func(message any)
	Closed func()
	// Stall: nothing arrives here until then.
	Stall time.Duration

	queue []packet // on its way to this end
	pumps bool
}

type packet struct {
	at      time.Duration
	message any
	eof     bool
}

// The ends of a connection.
const (
	Near = 0
	Far  = 1
)

// Connect makes a connection that is open at both ends.
func (w *Stage) Connect(from, to string) *Conn {
	c := &Conn{w: w, ID: w.ID(), Names: [2]string{from, to}}
	c.Ends[Near].Open, c.Ends[Far].Open = true, true
	w.conns = append(w.conns, c)
	if len(w.conns) > w.prune {
		var live []*Conn
		for _, x := range w.conns {
			if x.Ends[Near].Open || x.Ends[Far].Open {
				live = append(live, x)
			}
		}
		w.conns, w.prune = live, 256+2*len(live)
	}
	return c
}

// AnyConn draws a connection that is open at both ends; nil when none is found soon.
func (w *Stage) AnyConn() *Conn {
	if len(w.conns) == 0 {
		return nil
	}
	for range 8 { // most of the old ones are closed
		if c := w.conns[w.Rand.IntN(len(w.conns))]; c.Ends[Near].Open && c.Ends[Far].Open {
			return c
		}
	}
	return nil
}

// Hush ends the faults of the network, for good: nothing stalls, nothing stands between two machines.
func (w *Stage) Hush() {
	w.Calm = true
	clear(w.walls)
	for _, c := range w.conns {
		c.calmDown()
	}
}

// way is a direction between two machines; an empty name is any machine.
type way struct{ from, to string }

// Block stops everything that goes one way, until some time.
func (w *Stage) Block(from, to string, until time.Duration) {
	w.walls[way{from, to}] = max(w.walls[way{from, to}], until)
}

// Passes is when something that goes one way now will pass.
func (w *Stage) Passes(from, to string) time.Duration {
	if len(w.walls) == 0 {
		return 0
	}
	return max(w.walls[way{from, to}], w.walls[way{from, ""}], w.walls[way{"", to}])
}

// Reaches says whether two machines reach each other, both ways.
func (w *Stage) Reaches(a, b string) bool {
	return w.Passes(a, b) <= w.Now() && w.Passes(b, a) <= w.Now()
}

// Send sends a message from one end to the other.
func (c *Conn) Send(from int, message any) {
	if c.Ends[from].Open {
		c.w.noteMessage(c, from, message)
		c.put(1-from, packet{c.due(1 - from), message, false})
	}
}

func (c *Conn) due(to int) time.Duration {
	d := c.w.Between(100*time.Microsecond, 2*time.Millisecond)
	if !c.w.Prompt && c.w.Chance(0.01) {
		d = c.w.Between(2*time.Millisecond, 3*time.Second)
	}
	at := c.w.Now() + d
	if q := c.Ends[to].queue; len(q) > 0 {
		at = max(at, q[len(q)-1].at)
	}
	return at
}

func (c *Conn) put(to int, p packet) {
	e := &c.Ends[to]
	e.queue = append(e.queue, p)
	c.pump(to)
}

// Stalled is until when nothing arrives at an end.
func (c *Conn) Stalled(to int) time.Duration {
	return max(c.Ends[to].Stall, c.w.Passes(c.Names[1-to], c.Names[to]))
}

// pump delivers what is due at an end, and comes again for the rest.
func (c *Conn) pump(to int) {
	e := &c.Ends[to]
	if e.pumps || len(e.queue) == 0 {
		return
	}
	e.pumps = true
	c.w.At(max(e.queue[0].at, c.Stalled(to)), func() {
		e.pumps = false
		if c.Stalled(to) <= c.w.Now() && len(e.queue) > 0 && e.queue[0].at <= c.w.Now() {
			p := e.queue[0]
			e.queue = e.queue[1:]
			switch {
			case e.Open && p.eof:
				e.Open = false
				e.Closed()
			case e.Open:
				e.Recv(p.message)
			case !p.eof: // nobody is here any more: the sender is told
				c.hangUp(1-to, c.w.Chance(0.3))
			}
		}
		c.pump(to)
	})
}

// Close ends the connection at the end that dialed. What the master was sent still arrives, up to some point.
func (c *Conn) Close() {
	if !c.Ends[Near].Open {
		return
	}
	c.Ends[Near].Open = false
	c.Ends[Near].queue = nil
	c.hangUp(Far, c.w.Chance(0.5))
}

// Finish ends the connection at the master's end once everything that it sent has arrived.
func (c *Conn) Finish() {
	if c.Ends[Far].Open {
		c.Ends[Far].Open = false
		c.Ends[Far].queue = nil
		c.hangUp(Near, false)
	}
}

// Cut breaks the connection in the middle.
func (c *Conn) Cut() {
	c.hangUp(Near, true)
	c.hangUp(Far, true)
}

// Halve ends the connection at one end, and the other does not hear of it until it sends something.
func (c *Conn) Halve(at int) {
	if e := &c.Ends[at]; e.Open {
		e.queue = nil
		c.hangUp(at, false)
	}
}

func (c *Conn) hangUp(to int, lose bool) {
	e := &c.Ends[to]
	if !e.Open {
		return
	}
	if n := len(e.queue); lose && n > 0 {
		e.queue = e.queue[:c.w.Rand.IntN(n+1)]
	}
	c.put(to, packet{c.due(to), nil, true})
}

// calmDown ends every stall.
func (c *Conn) calmDown() {
	for to := range c.Ends {
		c.Ends[to].Stall = 0
		c.Ends[to].pumps = false
		c.pump(to)
	}
}
