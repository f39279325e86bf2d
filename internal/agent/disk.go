package agent

import (
	"strings"

	"github.com/pando-os/pando/internal/agent/diskwatch"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/host/cgroup"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/mesos/resource"
)

// newDiskWatch makes what looks at the files of containers from time to time, and ends who takes more than he has, where that is wanted;
// nil: nobody looks.
func (a *Agent) newDiskWatch() *diskwatch.Watch {
	if a.cfg.DiskWatch <= 0 {
		return nil
	}
	return &diskwatch.Watch{
		Every: a.cfg.DiskWatch, Places: a.diskPlaces, Clock: a.deps.Clock, Log: a.deps.Log,
		Over: func(container string, u diskwatch.Use) {
			if a.cfg.EnforceDisk {
				_ = a.loop.Put(a.lifetime(), &workload.Overdrawn{Container: container, Used: u.Used, Limit: u.Limit}) // the next look tells again
			}
		},
	}
}

// diskPlaces are the containers that have disk, and where their files are. Those of tasks of a group, and of containers of the API, are
// in the sandbox of the one at the top, but for what they change in images; volumes are nobody's own.
func (a *Agent) diskPlaces() (places []diskwatch.Place) {
	v := a.view.Load()
	add := func(framework, executor, container string, has resource.List) {
		if limit := cgroup.Bytes(int64(has.Scratch())); limit > 0 {
			run := sandbox.Run{Agent: v.Agent, Framework: framework, Executor: executor, Container: container}
			dirs := append(a.imaged.Changes(container), run.Path(a.cfg.WorkDir))
			for _, n := range v.Nested {
				if n.PID != 0 && strings.HasPrefix(n.Spec.Path, container+".") {
					dirs = append(dirs, a.imaged.Changes(n.Spec.Container)...)
				}
			}
			places = append(places, diskwatch.Place{Container: container, Limit: limit, Dirs: dirs})
		}
	}
	within := map[workload.ExecutorRef]resource.List{}
	for _, t := range v.Tasks {
		switch {
		case t.Ended || t.PID == 0:
		case t.Task.Executor == nil:
			add(t.Task.Framework, t.Task.ID, t.Container, t.Task.Resources)
		default:
			ref := workload.ExecutorRef{Framework: t.Task.Framework, Executor: t.Task.Executor.ID}
			within[ref] = within[ref].Plus(t.Task.Resources)
		}
	}
	for _, x := range v.Executors {
		if x.PID != 0 {
			add(x.Spec.Framework, x.Spec.ID, x.Container, x.Spec.Resources.Plus(within[workload.ExecutorRef{Framework: x.Spec.Framework, Executor: x.Spec.ID}]))
		}
	}
	return places
}
