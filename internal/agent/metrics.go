package agent

import (
	"strings"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/mesos/resource"
)

// unheard are names of the original's that dashboards ask for and that stand for what this agent does not have. They are
// always zero.
var unheard = []string{
	"containerizer/mesos/filesystem/containers_new_rootfs",
	"containerizer/mesos/provisioner/bind/remove_rootfs_errors", "containerizer/mesos/provisioner/remove_container_errors",
	"slave/executors_preempted", "slave/invalid_framework_messages", "slave/invalid_status_updates", "slave/recovery_errors",
}

// emit gives the numbers that are made of the view when they are asked for.
func (a *Agent) emit(emit func(name string, value float64)) {
	host.ReadSystem().Emit(emit)
	v := a.view.Load()
	var used resource.List
	states := map[mesosv1.TaskState]int{}
	var registering, running float64
	own := map[workload.ExecutorState]float64{}
	for _, t := range v.Tasks {
		states[t.State]++
		switch {
		case t.Ended && t.Task.Executor != nil:
			continue
		case t.Task.Executor != nil: // its executor is counted below
		case t.Ended:
			continue
		case t.PID == 0:
			registering++
		default:
			running++
		}
		used = used.Plus(executorResources(t.Task))
	}
	for _, x := range v.Executors {
		own[x.State]++
		used = used.Plus(x.Spec.Resources)
	}
	for _, name := range []string{"cpus", "mem", "disk", "gpus"} {
		emitUse("slave/"+name, a.cfg.Resources.NonRevocable().Scalar(name), used.NonRevocable().Scalar(name), emit)
		emitUse("slave/"+name+"_revocable", a.cfg.Resources.Revocable().Scalar(name), used.Revocable().Scalar(name), emit)
	}
	for _, s := range []mesosv1.TaskState{
		mesosv1.TaskState_TASK_STAGING, mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_RUNNING, mesosv1.TaskState_TASK_KILLING,
	} {
		emit("slave/tasks_"+strings.ToLower(strings.TrimPrefix(s.String(), "TASK_")), float64(states[s]))
	}
	// A command's executor is its container: it is killed while its task is.
	killing := 0.0
	for _, t := range v.Tasks {
		if t.State == mesosv1.TaskState_TASK_KILLING && t.Task.Executor == nil {
			killing++
		}
	}
	emit("slave/executors_registering", registering+own[workload.ExecutorRegistering])
	emit("slave/executors_running", running-killing+own[workload.ExecutorRunning])
	emit("slave/executors_terminating", killing+own[workload.ExecutorTerminating])
	emit("slave/frameworks_active", float64(len(v.Frameworks)))
	emit("gc/path_removals_pending", float64(a.collectable.Load()))
	emit("slave/executor_directory_max_allowed_age_secs", time.Duration(a.maxAge.Load()).Seconds())
	var cached, room int64
	if a.deps.Fetcher != nil && a.deps.Fetcher.Cache != nil {
		cached, room = a.deps.Fetcher.Cache.Size()
	}
	emit("containerizer/fetcher/cache_size_used_bytes", float64(cached))
	emit("containerizer/fetcher/cache_size_total_bytes", float64(room))
}

func emitUse(name string, total, used resource.Quantity, emit func(string, float64)) {
	emit(name+"_total", total.Float())
	emit(name+"_used", used.Float())
	percent := 0.0
	if total > 0 {
		percent = float64(used) / float64(total)
	}
	emit(name+"_percent", percent)
}
