package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/setting"
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
	// Trace writes down everything that happens.
	Trace bool
}

// String shows the parameters as they are printed before a failing seed's trace.
func (p Params) String() string {
	return fmt.Sprintf("seed=%d agents=%d frameworks=%d faults=%s every=%s pings=%d×%s reregister=%s offer_timeout=%s steady=%t",
		p.Seed, p.Agents, p.Frameworks, p.Faults, p.Every, p.Cluster.PingMisses, p.Cluster.PingInterval, p.Cluster.ReregisterTimeout, p.Cluster.OfferTimeout, p.Steady)
}

// setUp draws the parameters that are not given, and makes everybody.
func (w *World) setUp() {
	p := &w.Params
	if p.Agents == 0 {
		switch x := w.rng.Float64(); {
		case x < 0.7:
			p.Agents = 5 + w.rng.IntN(8)
		case x < 0.94:
			p.Agents = 12 + w.rng.IntN(40)
		case x < 0.98:
			p.Agents = 50 + w.rng.IntN(100)
		default:
			p.Agents = 150 + w.rng.IntN(351)
		}
	}
	p.Steady = p.Steady || w.chance(0.4)
	if p.Frameworks == 0 {
		p.Frameworks = 1 + w.rng.IntN(4)
	}
	if p.Faults == 0 {
		// The larger the fleet, the shorter the time, so that a seed costs about the same.
		p.Faults = max(w.between(4*time.Minute, 20*time.Minute)*6/time.Duration(5+p.Agents), 45*time.Second)
	}
	if p.Every == 0 {
		p.Every = w.between(300*time.Millisecond, 6*time.Second)
	}
	if p.Cluster.AllocationInterval == 0 {
		c := cluster.Defaults()
		if w.chance(0.5) {
			c.PingInterval, c.PingMisses = 3*time.Second, 3
		}
		if w.chance(0.5) || p.Agents > 50 { // many pings are sent while a large fleet waits
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
	for n := range 3 {
		w.newMaster(fmt.Sprintf("M%d", n+1))
	}
	for n := range p.Agents {
		total := setting.Resources(fmt.Sprintf("cpus:%d;mem:%d", 1+w.rng.IntN(8), 512<<w.rng.IntN(4)))
		a := w.newAgent(n+1, total)
		w.after(w.between(0, time.Second), a.start)
		a.p = &workProcess{dead: true}
	}
	for n := range p.Frameworks {
		w.newFramework(n + 1)
	}
	if w.chance(0.3) {
		w.newLiar()
	}
	w.after(w.Params.Every, w.fault)
	w.after(auditEvery, w.check.audit)
}

// fault is one way for something to go wrong.
type fault struct {
	name   string
	weight int
	// do lets it happen; false when it cannot happen now.
	do func(w *World) bool
}

// Counted beside the faults are these, to which they lead.
const (
	noAnswer = "an answer of the store that never comes"
	refused  = "a request that the store refuses"
	diskFull = "a save that finds the disk full"
	reboots  = "a machine that reboots"
	repeated = "calls that are sent again, since their connection ended"
)

var consequences = []string{
	noAnswer, refused, diskFull, reboots, repeated, dismissals, departures, comesWithMore, comesWithLess, comesAsOther, joinsAnew, mustNotStart,
	lies, acceptedTwice, floods, streamsInARow, wrongAcknowledgements,
}

var faults = slices.Concat(departing, operations, crowds, executorFaults, []fault{
	{"an agent will crash at a boundary", 24, func(w *World) bool {
		a := w.pickAgent()
		a.p.armed = w.boundary()
		return !a.p.dead
	}},
	{"an agent is killed", 3, func(w *World) bool {
		a := w.pickAgent()
		was := a.p.dead
		a.p.crashIdle()
		return !was
	}},
	{"an agent's disk is full", 2, func(w *World) bool {
		a := w.pickAgent()
		a.full = w.now + w.between(time.Second, time.Minute)
		w.note("%s: the disk is full until %s", a.name, a.full)
		return true
	}},
	{"an agent compacts its journal", 5, func(w *World) bool {
		a := w.pickAgent()
		a.p.post(&workload.Compact{})
		return !a.p.dead
	}},
	{"an agent's clock jumps", 2, func(w *World) bool {
		w.pickAgent().p.skew += w.between(-2*time.Hour, 2*time.Hour)
		return true
	}},
	{"a leader's clock jumps", 1, func(w *World) bool {
		if w.leader == nil {
			return false
		}
		w.leader.p.skew += w.between(-2*time.Hour, 2*time.Hour)
		return true
	}},
	{"a leader will crash at a boundary", 20, func(w *World) bool {
		if !w.leader.alive() || !w.masterFails() {
			return false
		}
		w.leader.p.armed = w.boundary()
		return true
	}},
	{"a leader is killed", 2, func(w *World) bool {
		if !w.leader.alive() || !w.masterFails() {
			return false
		}
		w.leader.m.crash()
		return true
	}},
	{"a standby is killed", 2, func(w *World) bool {
		m := w.pickMaster()
		if !m.up || m.term != nil {
			return false
		}
		m.crash()
		return true
	}},
	{"a leader freezes", 3, func(w *World) bool {
		if !w.leader.alive() || !w.masterFails() {
			return false
		}
		w.leader.m.freeze(w.between(time.Second, time.Minute))
		return true
	}},
	{"a lease is lost", 2, func(w *World) bool {
		if _, revision := w.store.leader(); revision == 0 || !w.masterFails() {
			return false
		}
		w.note("store: the leader's lease is lost")
		w.store.holder.revision = 0
		return true
	}},
	{"the store is slow", 2, func(w *World) bool {
		w.store.slow = w.now + w.between(time.Second, 20*time.Second)
		w.note("store: slow until %s", w.store.slow)
		return true
	}},
	{"the store refuses", 1, func(w *World) bool {
		if !w.masterFails() {
			return false
		}
		w.store.deaf = w.now + w.between(time.Second, 15*time.Second)
		w.note("store: refuses until %s", w.store.deaf)
		return true
	}},
	{"the store does not answer what it does", 2, func(w *World) bool {
		if !w.masterFails() {
			return false
		}
		w.store.mute = w.now + w.between(100*time.Millisecond, 5*time.Second)
		w.note("store: without answers until %s", w.store.mute)
		return true
	}},
	{"a connection is cut", 12, func(w *World) bool { return w.withConn((*conn).cut) }},
	{"a connection stalls", 6, func(w *World) bool {
		return w.withConn(func(c *conn) {
			until := w.now + w.between(100*time.Millisecond, 2*time.Minute)
			c.ends[near].stall, c.ends[far].stall = until, until
		})
	}},
	{"a connection stalls one way", 4, func(w *World) bool {
		return w.withConn(func(c *conn) {
			c.ends[w.rng.IntN(2)].stall = w.now + w.between(100*time.Millisecond, 2*time.Minute)
		})
	}},
	{"a connection is half open", 4, func(w *World) bool {
		return w.withConn(func(c *conn) {
			end := w.rng.IntN(2)
			w.note("conn %d of %s ends at %s alone", c.id, c.names[near], c.names[end])
			c.halve(end)
		})
	}},
	{"an agent is cut off", 5, func(w *World) bool { w.isolate(w.pickAgent().name); return true }},
	{"a framework is cut off", 3, func(w *World) bool { w.isolate(w.pickFramework().name); return true }},
	{"a master is cut off", 2, func(w *World) bool {
		if !w.masterFails() {
			return false
		}
		w.isolate(w.pickMaster().name)
		return true
	}},
	{"a master is cut off from the store", 2, func(w *World) bool {
		if !w.masterFails() {
			return false
		}
		w.part(w.pickMaster().name, storeName, w.chance(0.5))
		return true
	}},
	{"an agent and a master are parted", 4, func(w *World) bool {
		w.part(w.pickAgent().name, w.pickMaster().name, true)
		return true
	}},
	{"an agent and a master are parted one way", 4, func(w *World) bool {
		w.part(w.pickAgent().name, w.pickMaster().name, false)
		return true
	}},
	{"a framework and a master are parted one way", 2, func(w *World) bool {
		w.part(w.pickFramework().name, w.pickMaster().name, false)
		return true
	}},
	{"a framework closes its stream", 5, func(w *World) bool {
		f := w.pickFramework()
		if f.c == nil || f.left {
			return false
		}
		f.c.close()
		f.drop()
		return true
	}},
	{"a framework fails over", 5, func(w *World) bool { // another instance of it takes over
		f := w.pickFramework()
		f.dialLater()
		return f.subscribed
	}},
})

// fault lets something go wrong, and comes again.
func (w *World) fault() {
	if w.calm {
		return
	}
	w.after(w.between(0, 2*w.Params.Every), w.fault)
	sum := 0
	for i := range faults {
		sum += faults[i].weight
	}
	n := w.rng.IntN(sum)
	for i := range faults {
		if n -= faults[i].weight; n < 0 {
			if faults[i].do(w) {
				w.cover.Fault(faults[i].name)
			}
			return
		}
	}
}

func (w *World) boundary() Boundary        { return Boundary(w.rng.IntN(int(boundaries))) }
func (w *World) pickAgent() *agent         { return w.agents[w.rng.IntN(len(w.agents))] }
func (w *World) pickMaster() *master       { return w.masters[w.rng.IntN(len(w.masters))] }
func (w *World) pickFramework() *framework { return w.fws[w.rng.IntN(len(w.fws))] }
func (w *World) masterFails() bool         { return !w.Params.Steady || w.chance(0.1) }

// withConn does something to a connection that is open; false when none is found.
func (w *World) withConn(do func(c *conn)) bool {
	if len(w.conns) == 0 {
		return false
	}
	for range 8 { // most of the old ones are closed
		if c := w.conns[w.rng.IntN(len(w.conns))]; c.ends[near].open && c.ends[far].open {
			do(c)
			return true
		}
	}
	return false
}

// isolate cuts a machine off from everybody.
func (w *World) isolate(name string) {
	until := w.now + w.between(time.Second, 4*time.Minute)
	w.note("%s is cut off until %s", name, until)
	w.block(name, "", until)
	w.block("", name, until)
}

// part stops what goes from one machine to another, and perhaps what comes back.
func (w *World) part(a, b string, both bool) {
	until := w.now + w.between(time.Second, 3*time.Minute)
	if w.chance(0.5) {
		a, b = b, a
	}
	w.note("nothing passes from %s to %s until %s; both ways: %t", a, b, until, both)
	w.block(a, b, until)
	if both {
		w.block(b, a, until)
	}
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
	clear(w.walls)
	w.store.slow, w.store.deaf, w.store.mute = 0, 0, 0
	for _, c := range w.conns {
		c.calmDown()
	}
	for _, a := range w.agents {
		a.full = 0
	}
	for _, f := range w.fws {
		f.want = 1
	}
	w.check.calmed = w.now
	w.rid()
}

// wanted names everything that a long run must see.
func wanted() []string {
	out := slices.Clone(consequences)
	for i := range faults {
		out = append(out, faults[i].name)
	}
	return out
}
