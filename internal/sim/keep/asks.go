package keep

import (
	"fmt"
	"slices"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/mesos/resource"
)

// Asks are the operations whose ends a framework wants to hear.
type Asks struct {
	all []*asked
}

// asked is one of them. Owner is the framework's id when it asked.
type asked struct {
	id, owner, agent string
	state            mesosv1.OperationState
	status           string // uuid of its end
	done             bool   // it was told of its end, or that nobody knows of it
}

// Sizes are what may be reserved at a time.
var Sizes = []resource.List{setting.Resources("cpus:0.5"), setting.Resources("disk:64"), setting.Resources("disk:16")}

// Plan makes operations on what is left of an offer: it reserves, makes volumes, and undoes both. It gives what is left after them.
func (a *Asks) Plan(w *stage.Stage, k *Ledger, o *cluster.Offer, left resource.List, name string, shared bool) (ops []cluster.Operation, after resource.List) {
	add := func(op cluster.Operation) {
		left = left.Minus(op.Change.Consumed).Plus(op.Change.Converted)
		if w.Chance(0.6) {
			op.ID = fmt.Sprintf("op%d", len(a.all))
			a.all = append(a.all, &asked{id: op.ID, owner: o.Framework, agent: o.Agent})
		}
		ops = append(ops, op)
	}
	if what := Sizes[w.Rand.IntN(len(Sizes))]; o.Role != "*" && w.Chance(0.5) && left.Contains(what) {
		add(k.Reserve(what, o.Role))
	}
	for _, r := range slices.Clone(left) {
		switch p := w.Rand.Float64(); {
		case !r.Reserved() || r.Role() != o.Role:
		case r.PersistenceID() != "" && p < 0.2:
			add(k.Destroy(r))
		case r.PersistenceID() != "":
		case p < 0.2:
			add(k.Unreserve(resource.List{r}))
		case r.Name == "disk" && p < 0.7:
			id := fmt.Sprintf("%s-v%d", name, w.Rand.IntN(3))
			if left.FindVolume(o.Role, id) == nil {
				add(k.Create(r, id, shared && w.Chance(0.4)))
			}
		}
	}
	return ops, left
}

// Mount adds a volume of what is left to what a task is to have, perhaps.
func Mount(w *stage.Stage, size, left resource.List) resource.List {
	for _, v := range left.PersistentVolumes() {
		if w.Chance(0.6) {
			return size.Plus(resource.List{v})
		}
	}
	return size
}

// Told takes word of an operation of a framework. One that has ended in one way does not end in another.
func (a *Asks) Told(w *stage.Stage, framework string, u cluster.OperationUpdate) {
	n := slices.IndexFunc(a.all, func(o *asked) bool { return o.id == u.Operation && o.owner == framework })
	if n < 0 {
		return
	}
	switch u.State {
	case mesosv1.OperationState_OPERATION_PENDING, mesosv1.OperationState_OPERATION_UNREACHABLE, mesosv1.OperationState_OPERATION_RECOVERING:
		return
	default:
	}
	o := a.all[n]
	if u.UUID != "" {
		if o.status != "" && (o.status != u.UUID || o.state != u.State) {
			w.Fail(rule.Once, "operation %s of %s is told to have ended as %s, and it ended as %s", o.id, framework, u.State, o.state)
		}
		o.status, o.state = u.UUID, u.State
	}
	o.done = true
}

// Open lists the operations of a framework whose ends it has not heard.
func (a *Asks) Open(framework string) (refs []cluster.OperationRef) {
	for _, o := range a.all {
		if o.owner == framework && !o.done {
			refs = append(refs, cluster.OperationRef{Operation: o.id, Agent: o.agent})
		}
	}
	return refs
}
