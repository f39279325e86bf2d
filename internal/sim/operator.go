package sim

import (
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/stage"
)

// The operator marks agents gone, tears frameworks down and kills tasks. When no answer comes, whether it was done is
// unknown, and the same is asked for again.

const operatorName = "operator"

// operate asks a master, and the leader that it names, for what ask makes of a call's id.
func (w *World) operate(tries int, m *master, ask func(cluster.CallID) cluster.In) {
	c := w.Connect(operatorName, m.name)
	in := ask(cluster.CallID(w.ID()))
	over := false
	e := &c.Ends[stage.Near]
	e.Recv = func(message any) {
		over = true
		switch a := message.(type) {
		case redirect:
			w.operate(tries, a.to, ask)
		case cluster.Answer:
			w.Note("the operator is answered: %+v", a)
			w.check.answered(in, a)
		}
	}
	e.Closed = func() {
		if !over && tries > 0 {
			w.After(w.Between(100*time.Millisecond, 5*time.Second), func() { w.operate(tries-1, w.pickMaster(), ask) })
		}
	}
	w.dial(c, m, in)
}

// markGone lets the operator say that an agent will never come back.
func (w *World) markGone(id string) {
	w.operate(3, w.pickMaster(), func(call cluster.CallID) cluster.In { return &cluster.MarkAgentGone{Call: call, Agent: id} })
}

// rid lets the operator mark the agents of liars gone once faults are over, until all are.
func (w *World) rid() {
	if w.leader.alive() {
		for _, id := range w.check.liarsIn(w.leader) {
			w.markGone(id)
		}
	}
	if !w.over {
		w.After(10*time.Second, w.rid)
	}
}

var operations = []fault{
	{"an operator marks an agent gone", 3, func(w *World) bool {
		a := w.pickAgent()
		if a.book == nil || a.book.Identity().Agent == "" || len(w.check.gone) > 2+len(w.agents)/2 {
			return false
		}
		w.markGone(a.book.Identity().Agent)
		return true
	}},
	{"an operator tears a framework down", 1, func(w *World) bool {
		f := w.pickFramework()
		id := f.id
		w.operate(3, w.pickMaster(), func(call cluster.CallID) cluster.In { return &cluster.Teardown{Call: call, Framework: id} })
		return id != ""
	}},
	{"an operator kills a task", 4, func(w *World) bool {
		f := w.pickFramework()
		if len(f.insts) == 0 {
			return false
		}
		i := f.insts[w.Rand.IntN(len(f.insts))]
		grace := time.Duration(-1)
		if w.Chance(0.5) {
			grace = w.Between(0, 5*time.Second)
		}
		w.operate(3, w.pickMaster(), func(call cluster.CallID) cluster.In {
			return &cluster.Kill{Call: call, Framework: i.owner, Task: i.id, Grace: grace}
		})
		return true
	}},
}
