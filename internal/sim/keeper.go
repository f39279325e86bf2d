package sim

import (
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/keep"
	"github.com/pando-os/pando/mesos/resource"
)

// operation takes word of an operation, and acknowledges it.
func (f *framework) operation(u cluster.OperationUpdate) {
	f.w.Note("%s hears %s %s uuid=%.4x %s", f.name, u.Operation, u.State, u.UUID, u.Message)
	f.ops.Told(f.w.Stage, f.id, u)
	if u.UUID != "" {
		f.call(&cluster.AcknowledgeOperation{Agent: u.Agent, Operation: u.Operation, UUID: u.UUID})
	}
}

// askForOperations reconciles those whose ends were not told.
func (f *framework) askForOperations() {
	if refs := f.ops.Open(f.id); len(refs) > 0 && f.w.Chance(0.05) || len(refs) > 0 && f.w.Calm && f.w.Chance(0.2) {
		f.call(&cluster.ReconcileOperations{Operations: refs})
	}
}

// changeResources lets the operator make an operation on what is free of an agent.
func (w *World) changeResources(agent string, op cluster.Operation) {
	w.operate(1, w.pickMaster(), func(call cluster.CallID) cluster.In {
		return &cluster.ChangeResources{Call: call, Agent: agent, Change: op.Change}
	})
}

// keptOn lists what is kept on the agents of the leader's book.
func (w *World) keptOn(yield func(agent string, r resource.Resource) bool) {
	if !w.leader.alive() {
		return
	}
	w.leader.book.View().Agents(func(a *cluster.Agent) bool {
		for _, r := range a.Spec.Total.Kept() {
			if a.Active() && !yield(a.Spec.ID, r) {
				return false
			}
		}
		return true
	})
}

// tidy lets the operator undo all that is kept once faults are over, until nothing is, and end what he has ended before: a framework
// that was removed before the last fifty is forgotten, and comes back with an agent that was away all the while.
func (w *World) tidy() {
	if w.leader.alive() {
		w.leader.book.View().Frameworks(func(f *cluster.Framework) bool {
			if id := f.Spec.ID; w.check.removed[id] && !f.Connected {
				w.operate(1, w.pickMaster(), func(call cluster.CallID) cluster.In { return &cluster.Teardown{Call: call, Framework: id} })
			}
			return true
		})
	}
	w.keptOn(func(agent string, r resource.Resource) bool {
		w.changeResources(agent, w.check.keep.Undo(r))
		return true
	})
	if !w.over {
		w.After(10*time.Second, w.tidy)
	}
}

// The operator's ways with what agents have.
var keeping = []fault{
	{"an operator reserves something", 4, func(w *World) bool {
		a := w.pickAgent()
		if a.book == nil {
			return false
		}
		role := []string{"dev", "eng/build", "ops"}[w.Rand.IntN(3)]
		w.changeResources(a.book.Identity().Agent, w.check.keep.Reserve(keep.Sizes[w.Rand.IntN(len(keep.Sizes))], role))
		return true
	}},
	{"an operator undoes what is kept", 4, func(w *World) bool {
		n, found := w.Rand.IntN(6), false
		w.keptOn(func(agent string, r resource.Resource) bool {
			if n--; n < 0 {
				found = true
				w.changeResources(agent, w.check.keep.Undo(r))
			}
			return !found
		})
		return found
	}},
}
