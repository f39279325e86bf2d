package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/fate"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/share"
	"github.com/pando-os/pando/mesos/resource"
)

// canShare says whether a world is small and full enough for it.
func (w *World) canShare() bool {
	n := 0
	for _, f := range w.fws {
		if !f.left {
			n++
		}
	}
	return n > 1 && len(w.agents) <= 24
}

// share begins it.
func (w *World) share() {
	w.Note("the cluster is shared")
	w.Prompt = true // whoever answers an offer late has it until then, and less of the rest
	var cpus resource.Quantity
	for _, a := range w.agents {
		cpus += a.Total.Scalar("cpus")
	}
	size := setting.Resources(fmt.Sprintf("cpus:%.3f;mem:1", float64(cpus)/1000/share.Tasks))
	w.sharing = share.New(size)
	for _, f := range w.fws {
		if f.left {
			continue
		}
		f.sharing = true
		if f.quiet {
			f.quiet = false
			f.call(&cluster.Revive{})
		}
		for _, id := range slices.Sorted(maps.Keys(f.offers)) {
			if o := f.offers[id]; o != nil {
				f.use(o)
			}
		}
	}
	w.After(share.For, w.sample)
}

// fill answers an offer with as many tasks as fit.
func (f *framework) fill(o *cluster.Offer) {
	left := o.Resources
	var tasks []*cluster.TaskSpec
	for left.Contains(f.w.sharing.Size) {
		left = left.Minus(f.w.sharing.Size)
		i := f.newTask(o, f.w.sharing.Size)
		i.script = fate.Task{Life: f.w.Between(2*time.Second, 8*time.Second)}
		tasks = append(tasks, i.spec)
	}
	if len(tasks) == 0 {
		f.call(&cluster.Decline{Offers: []string{o.ID}, Refuse: time.Hour})
		return
	}
	f.accept([]string{o.ID}, tasks, 0)
}

// sample counts what everybody has, and after the last sample ends the world.
func (w *World) sample() {
	s := w.sharing
	w.leader.book.View().Tasks(func(t *cluster.Task) bool {
		if t.State == mesosv1.TaskState_TASK_RUNNING {
			s.Has(t.Role, t.Framework)
		}
		return true
	})
	if s.Sampled() < share.Samples {
		w.After(time.Second, w.sample)
		return
	}
	w.over = true
	w.Cover.Shared++
	for _, f := range w.fws {
		for _, r := range f.spec.Roles {
			if !f.left {
				s.Competes(r, f.id)
			}
		}
	}
	s.Judge(share.Tasks, w.Fail)
}
