package sim

import (
	"fmt"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

// Params are what a seed is made into.
type Params struct {
	Seed               uint64
	Agents, Frameworks int
	// Faults is for how long they come, and Every how often about.
	Faults, Every time.Duration
	Cluster       cluster.Config
	// Steady masters fail seldom, so that what one remembers matters.
	Steady bool
	// TraceLines is how many of the last events are kept.
	TraceLines int
}

// String shows the parameters as they are printed before a failing seed's trace.
func (p Params) String() string {
	return fmt.Sprintf("seed=%d agents=%d frameworks=%d faults=%s every=%s pings=%d×%s reregister=%s offer_timeout=%s steady=%t",
		p.Seed, p.Agents, p.Frameworks, p.Faults, p.Every, p.Cluster.PingMisses, p.Cluster.PingInterval, p.Cluster.ReregisterTimeout, p.Cluster.OfferTimeout, p.Steady)
}

// setUp draws the parameters that are not given, and makes everybody.
func (w *World) setUp() {
	p := &w.Params
	if p.TraceLines == 0 {
		p.TraceLines = traceLines
	}
	if p.Agents == 0 {
		p.Agents = 1 + w.rng.IntN(6)
		if w.chance(0.2) {
			p.Agents = 6 + w.rng.IntN(15)
		}
	}
	p.Steady = p.Steady || w.chance(0.4)
	if p.Frameworks == 0 {
		p.Frameworks = 1 + w.rng.IntN(4)
	}
	if p.Faults == 0 {
		p.Faults = w.between(4*time.Minute, 20*time.Minute)
	}
	if p.Every == 0 {
		p.Every = w.between(300*time.Millisecond, 6*time.Second)
	}
	if p.Cluster.AllocationInterval == 0 {
		c := cluster.Defaults()
		if w.chance(0.5) {
			c.PingInterval, c.PingMisses = 3*time.Second, 3
		}
		if w.chance(0.5) {
			c.ReregisterTimeout = w.between(20*time.Second, 3*time.Minute)
		}
		if w.chance(0.3) {
			c.OfferTimeout = w.between(5*time.Second, time.Minute)
		}
		if w.chance(0.3) {
			c.MaxCompletedTasks = 3
		}
		p.Cluster = c
	}
	w.elect()
	for n := range p.Agents {
		total, err := resource.Parse(fmt.Sprintf("cpus:%d;mem:%d", 1+w.rng.IntN(8), 512<<w.rng.IntN(4)), "*")
		if err != nil {
			panic(err)
		}
		a := w.newAgent(n+1, total)
		w.after(w.between(0, time.Second), a.start)
		a.p = &workProcess{dead: true}
	}
	for n := range p.Frameworks {
		w.newFramework(n + 1)
	}
	w.after(w.Params.Every, w.fault)
	w.after(auditEvery, w.check.audit)
}

// isolated says whether nobody can reach a peer.
func (w *World) isolated(name string) bool { return !w.calm && w.now < w.check.islands[name] }

// fault lets something go wrong, and comes again.
func (w *World) fault() {
	if w.calm {
		return
	}
	w.after(w.between(0, 2*w.Params.Every), w.fault)
	b := Boundary(w.rng.IntN(int(boundaries)))
	a := w.agents[w.rng.IntN(len(w.agents))]
	f := w.fws[w.rng.IntN(len(w.fws))]
	switch p := w.rng.Float64(); {
	case p < 0.25:
		a.p.armed = b
	case p < 0.45:
		if w.masterFails() {
			w.leader.p.armed = b
		}
	case p < 0.47:
		if !a.p.dead && a.link != nil { // it says goodbye, and comes back
			a.w.note("%s leaves", a.p.name)
			a.link.send(near, &cluster.AgentLeave{})
			a.p.crashIdle()
		}
	case p < 0.5:
		a.p.crashIdle()
	case p < 0.53:
		if w.masterFails() {
			w.leader.p.crashIdle()
		}
	case p < 0.56:
		if w.leader.alive() && w.masterFails() {
			w.leader.freeze(w.between(time.Second, time.Minute))
		}
	case p < 0.68:
		if c := w.anyConn(); c != nil {
			c.cut()
		}
	case p < 0.76:
		if c := w.anyConn(); c != nil {
			c.stall = max(c.stall, w.now+w.between(100*time.Millisecond, 2*time.Minute))
		}
	case p < 0.82:
		w.isolate(a.name, a.link)
	case p < 0.85:
		w.isolate(f.name, f.c)
	case p < 0.9:
		if f.c != nil && !f.left {
			f.c.close()
			f.drop()
		}
	case p < 0.95:
		f.dialLater() // another instance of it takes over
	default:
		if !a.p.dead {
			a.p.post(&workload.Compact{})
		}
	}
}

func (w *World) masterFails() bool { return !w.Params.Steady || w.chance(0.1) }

func (w *World) isolate(name string, c *conn) {
	until := w.now + w.between(time.Second, 4*time.Minute)
	w.note("%s is cut off until %s", name, until)
	w.check.islands[name] = until
	if c != nil {
		c.stall = max(c.stall, until)
	}
}

func (w *World) anyConn() *conn {
	if len(w.conns) == 0 {
		return nil
	}
	return w.conns[w.rng.IntN(len(w.conns))]
}

// crashIdle kills a process between two turns.
func (p *process[In, R, M, K, F]) crashIdle() {
	if !p.dead {
		p.crash()
	}
}

// calmDown ends all faults. From here on every wish must be met in time.
func (w *World) calmDown() {
	w.calm = true
	w.note("faults stop")
	for _, c := range w.conns {
		if c.stall > w.now {
			c.stall = w.now
			c.pumpAgain()
		}
	}
	for _, f := range w.fws {
		f.want = 1
	}
	w.check.calmed = w.now
}
