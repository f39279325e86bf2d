package reads

import (
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos/resource"
)

// use is what there is of a resource and what tasks hold, revocable and not; offered is what lies in offers.
type use struct{ total, used, revocableTotal, revocableUsed, offered resource.Quantity }

// measured are the resources that metrics show; only the first three are the allocator's too, as in the original.
var measured = [...]string{"cpus", "mem", "disk", "gpus"}

// Emit gives the numbers that can be read off a view, under the original's names. The uncounted resources are no part of shares.
func Emit(v *cluster.View, uncounted []string, emit func(name string, value float64)) {
	var uses [len(measured)]use
	each := func(l resource.List, add func(k int, q resource.Quantity, revocable bool)) {
		for i := range l {
			for k, name := range measured {
				if l[i].Name == name && l[i].Kind == resource.Scalar {
					add(k, l[i].Scalar, l[i].Revocable())
				}
			}
		}
	}
	registry := 0
	for a := range v.Agents {
		registry += len(a.Spec.ID) + len(a.Spec.Info)
		if a.Mark != cluster.Admitted || a.Recovered {
			continue
		}
		each(a.Spec.Total, func(k int, q resource.Quantity, revocable bool) {
			if revocable {
				uses[k].revocableTotal += q
			} else {
				uses[k].total += q
			}
		})
	}
	roles := map[string]*[len(measured)]resource.Quantity{} // what each has
	holds := func(role string, l resource.List, add func(u *use, q resource.Quantity, revocable bool)) {
		if roles[role] == nil {
			roles[role] = &[len(measured)]resource.Quantity{}
		}
		each(l, func(k int, q resource.Quantity, revocable bool) {
			roles[role][k] += q
			add(&uses[k], q, revocable)
		})
	}
	used := func(u *use, q resource.Quantity, revocable bool) {
		if revocable {
			u.revocableUsed += q
		} else {
			u.used += q
		}
	}
	connected, disconnected := 0, 0
	for f := range v.Frameworks {
		registry += len(f.Spec.ID) + len(f.Spec.Info)
		if f.Connected {
			connected++
		} else {
			disconnected++
		}
		v.ExecutorsOf(f.Spec.ID, func(x *cluster.Executor) bool {
			holds(x.Role, x.Spec.Resources, used)
			return true
		})
	}
	for f := range v.CompletedFrameworks {
		registry += len(f.Spec.ID) + len(f.Spec.Info)
	}
	var tasks counts
	for t := range v.Tasks {
		if t.Unreachable {
			tasks.add(mesosv1.TaskState_TASK_UNREACHABLE)
			continue
		}
		tasks.add(t.State)
		if !t.Released {
			holds(t.Role, t.Spec.Resources, used)
		}
	}
	offers := 0
	for o := range v.Offers {
		offers++
		holds(o.Role, o.Resources, func(u *use, q resource.Quantity, _ bool) { u.offered += q })
	}
	for role, has := range roles { // order: names are sorted when they are shown
		dominant := 0.0
		for k := range has {
			if slices.Contains(uncounted, measured[k]) {
				continue
			}
			dominant = max(dominant, share(has[k], uses[k].total+uses[k].revocableTotal))
		}
		emit("allocator/mesos/roles/"+role+"/shares/dominant", dominant)
	}

	for k, name := range measured {
		emitUse("master/"+name, &uses[k], emit)
		if name == "gpus" {
			continue
		}
		u := &uses[k]
		emit("allocator/mesos/resources/"+name+"/total", (u.total + u.revocableTotal).Float())
		emit("allocator/mesos/resources/"+name+"/offered_or_allocated", (u.used + u.revocableUsed + u.offered).Float())
	}
	n := Agents(v)
	emit("master/slaves_active", float64(n.Active))
	emit("master/slaves_inactive", float64(n.Inactive))
	emit("master/slaves_connected", float64(n.Connected))
	emit("master/slaves_disconnected", float64(n.Disconnected))
	emit("master/slaves_unreachable", float64(n.Unreachable))
	emit("master/frameworks_active", float64(connected))
	emit("master/frameworks_connected", float64(connected))
	emit("master/frameworks_inactive", float64(disconnected))
	emit("master/frameworks_disconnected", float64(disconnected))
	for _, s := range []mesosv1.TaskState{
		mesosv1.TaskState_TASK_STAGING, mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_RUNNING,
		mesosv1.TaskState_TASK_KILLING, mesosv1.TaskState_TASK_UNREACHABLE,
	} {
		emit("master/tasks_"+strings.ToLower(strings.TrimPrefix(s.String(), "TASK_")), float64(tasks[s]))
	}
	emit("master/outstanding_offers", float64(offers))
	emit("registrar/registry_size_bytes", float64(registry))
}

func emitUse(name string, u *use, emit func(string, float64)) {
	emit(name+"_total", u.total.Float())
	emit(name+"_used", u.used.Float())
	emit(name+"_percent", share(u.used, u.total))
	emit(name+"_revocable_total", u.revocableTotal.Float())
	emit(name+"_revocable_used", u.revocableUsed.Float())
	emit(name+"_revocable_percent", share(u.revocableUsed, u.revocableTotal))
}

func share(part, whole resource.Quantity) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
