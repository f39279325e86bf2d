package sim

import (
	"fmt"
	"slices"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/wire"
	"github.com/pando-os/pando/mesos/resource"
)

// launchGroup plans tasks that run together, as far as an offer has room: in a default executor, or in one of the framework's
// own. Some groups are wrong, and nothing of those may run.
func (f *framework) launchGroup(o *cluster.Offer, ops []cluster.Operation, left resource.List) (all []cluster.Operation, after resource.List) {
	w := f.w
	id := fmt.Sprintf("%s%d", wire.Pool, w.Rand.IntN(2))
	if f.executors > 0 && w.Chance(0.5) {
		id = fmt.Sprintf("e%d", w.Rand.IntN(f.executors))
	}
	if here := f.executorOn(o.Agent); here != "" && w.Chance(0.7) {
		id = here
	}
	if !left.Contains(executorSize) {
		return ops, left
	}
	x := f.describe(id)
	after = left.Minus(executorSize) // it may be there already
	var tasks []*cluster.TaskSpec
	var keys []string
	for n := 1 + w.Rand.IntN(5); n > 0 && f.want > 0; n-- {
		size := taskSizes[w.Rand.IntN(len(taskSizes))]
		if !after.Contains(size) {
			break
		}
		after = after.Minus(size)
		f.want--
		i := f.newTask(o, size)
		i.spec.Executor, i.spec.ExecutorID = x, x.ID
		tasks, keys = append(tasks, i.spec), append(keys, i.key)
	}
	if len(tasks) == 0 {
		return ops, left
	}
	w.check.together.Asked(id[0] == wire.Pool[0], keys)
	if !w.Calm && w.Chance(0.1) {
		switch w.Rand.IntN(3) {
		case 0: // a task twice
			tasks = append(tasks, tasks[0])
		case 1: // more than there is
			tasks[len(tasks)-1].Resources = left.Plus(left)
		case 2: // two executors
			tasks[len(tasks)-1].Executor = f.describe(wire.Pool + "9")
		}
		w.Cover.Fault(wrongGroups)
	}
	return append(ops, cluster.Operation{Type: mesosv1.Offer_Operation_LAUNCH_GROUP, Tasks: tasks}), after
}

// executorOn names an executor that the framework has on an agent; empty when it knows of none.
func (f *framework) executorOn(agent string) string {
	for _, i := range slices.Backward(f.insts) {
		if i.agent == agent && i.owner == f.id && !i.done() && i.spec.ExecutorID != "" {
			return i.spec.ExecutorID
		}
	}
	return ""
}
