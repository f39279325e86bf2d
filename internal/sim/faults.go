package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/registry"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
)

// setUp draws the parameters that are not given, and makes everybody.
func (w *World) setUp() {
	p := &w.Params
	p.Draw(w.Stage)
	for n := range 3 {
		w.newMaster(fmt.Sprintf("M%d", n+1))
	}
	for n := range p.Agents {
		total := setting.Resources(fmt.Sprintf("cpus:%d;mem:%d;disk:%d", 1+w.Rand.IntN(8), 512<<w.Rand.IntN(4), 256))
		a := w.newAgent(n+1, total)
		w.After(w.Between(0, time.Second), a.start)
		a.p = &workProcess{Dead: true}
	}
	for n := range p.Frameworks {
		w.newFramework(n + 1)
	}
	if w.Chance(0.3) {
		w.newLiar()
	}
	w.After(w.Params.Every, w.fault)
	w.After(auditEvery, w.check.audit)
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
	diskFull = "a save that finds the disk full"
	reboots  = "a machine that reboots"
	repeated = "calls that are sent again, since their connection ended"
)

var consequences = []string{
	registry.NoAnswer, registry.Refused, diskFull, reboots, repeated, dismissals, departures, comesWithMore, comesWithLess, comesAsOther, joinsAnew, mustNotStart,
	lies, acceptedTwice, floods, streamsInARow, wrongAcknowledgements, wrongGroups,
}

var faults = slices.Concat(departing, operations, keeping, crowds, executorFaults, []fault{
	{"an agent will crash at a boundary", 24, func(w *World) bool {
		a := w.pickAgent()
		a.p.Armed = w.boundary()
		return !a.p.Dead
	}},
	{"an agent is killed", 3, func(w *World) bool {
		a := w.pickAgent()
		was := a.p.Dead
		a.p.Crash()
		return !was
	}},
	{"an agent's disk is full", 2, func(w *World) bool {
		a := w.pickAgent()
		a.full = w.Now() + w.Between(time.Second, time.Minute)
		w.Note("%s: the disk is full until %s", a.name, a.full)
		return true
	}},
	{"an agent compacts its journal", 5, func(w *World) bool {
		a := w.pickAgent()
		a.p.Post(&workload.Compact{})
		return !a.p.Dead
	}},
	{"an agent's clock jumps", 2, func(w *World) bool {
		w.pickAgent().p.Skew += w.Between(-2*time.Hour, 2*time.Hour)
		return true
	}},
	{"a leader's clock jumps", 1, func(w *World) bool {
		if w.leader == nil {
			return false
		}
		w.leader.p.Skew += w.Between(-2*time.Hour, 2*time.Hour)
		return true
	}},
	{"a leader will crash at a boundary", 20, func(w *World) bool {
		if !w.leader.alive() || !w.masterFails() {
			return false
		}
		w.leader.p.Armed = w.boundary()
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
		w.leader.m.freeze(w.Between(time.Second, time.Minute))
		return true
	}},
	{"a lease is lost", 2, func(w *World) bool {
		if _, revision := w.store.Leader(); revision == 0 || !w.masterFails() {
			return false
		}
		w.store.Lose()
		return true
	}},
	{"the store is slow", 2, func(w *World) bool {
		w.store.Slow = w.Now() + w.Between(time.Second, 20*time.Second)
		w.Note("store: slow until %s", w.store.Slow)
		return true
	}},
	{"the store refuses", 1, func(w *World) bool {
		if !w.masterFails() {
			return false
		}
		w.store.Deaf = w.Now() + w.Between(time.Second, 15*time.Second)
		w.Note("store: refuses until %s", w.store.Deaf)
		return true
	}},
	{"the store does not answer what it does", 2, func(w *World) bool {
		if !w.masterFails() {
			return false
		}
		w.store.Mute = w.Now() + w.Between(100*time.Millisecond, 5*time.Second)
		w.Note("store: without answers until %s", w.store.Mute)
		return true
	}},
	{"a connection is cut", 12, func(w *World) bool { return w.withConn((*stage.Conn).Cut) }},
	{"a connection stalls", 6, func(w *World) bool {
		return w.withConn(func(c *stage.Conn) {
			until := w.Now() + w.Between(100*time.Millisecond, 2*time.Minute)
			c.Ends[stage.Near].Stall, c.Ends[stage.Far].Stall = until, until
		})
	}},
	{"a connection stalls one way", 4, func(w *World) bool {
		return w.withConn(func(c *stage.Conn) {
			c.Ends[w.Rand.IntN(2)].Stall = w.Now() + w.Between(100*time.Millisecond, 2*time.Minute)
		})
	}},
	{"a connection is half open", 4, func(w *World) bool {
		return w.withConn(func(c *stage.Conn) {
			end := w.Rand.IntN(2)
			w.Note("conn %d of %s ends at %s alone", c.ID, c.Names[stage.Near], c.Names[end])
			c.Halve(end)
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
		w.part(w.pickMaster().name, registry.Name, w.Chance(0.5))
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
		f.c.Close()
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
	if w.Calm {
		return
	}
	w.After(w.Between(0, 2*w.Params.Every), w.fault)
	sum := 0
	for i := range faults {
		sum += faults[i].weight
	}
	n := w.Rand.IntN(sum)
	for i := range faults {
		if n -= faults[i].weight; n < 0 {
			if faults[i].do(w) {
				w.Cover.Fault(faults[i].name)
			}
			return
		}
	}
}

func (w *World) boundary() stage.Boundary  { return stage.Boundary(w.Rand.IntN(int(stage.Boundaries))) }
func (w *World) pickAgent() *agent         { return w.agents[w.Rand.IntN(len(w.agents))] }
func (w *World) pickMaster() *master       { return w.masters[w.Rand.IntN(len(w.masters))] }
func (w *World) pickFramework() *framework { return w.fws[w.Rand.IntN(len(w.fws))] }
func (w *World) masterFails() bool         { return !w.Params.Steady || w.Chance(0.1) }

// withConn does something to a connection that is open; false when none is found.
func (w *World) withConn(do func(c *stage.Conn)) bool {
	c := w.AnyConn()
	if c != nil {
		do(c)
	}
	return c != nil
}

// isolate cuts a machine off from everybody.
func (w *World) isolate(name string) {
	until := w.Now() + w.Between(time.Second, 4*time.Minute)
	w.Note("%s is cut off until %s", name, until)
	w.Block(name, "", until)
	w.Block("", name, until)
}

// part stops what goes from one machine to another, and perhaps what comes back.
func (w *World) part(a, b string, both bool) {
	until := w.Now() + w.Between(time.Second, 3*time.Minute)
	if w.Chance(0.5) {
		a, b = b, a
	}
	w.Note("nothing passes from %s to %s until %s; both ways: %t", a, b, until, both)
	w.Block(a, b, until)
	if both {
		w.Block(b, a, until)
	}
}

// calmDown ends all faults. From here on every wish must be met in time.
func (w *World) calmDown() {
	w.Hush()
	w.Note("faults stop")
	w.store.Slow, w.store.Deaf, w.store.Mute = 0, 0, 0
	for _, a := range w.agents {
		a.full = 0
	}
	for _, f := range w.fws {
		f.want = 1
	}
	w.check.calmed = w.Now()
	w.rid()
	w.tidy()
}

// wanted names everything that a long run must see.
func wanted() []string {
	out := slices.Clone(consequences)
	for i := range faults {
		out = append(out, faults[i].name)
	}
	return out
}
