// Package bounds computes what containers should have and must not pass from what tasks and executors ask for.
package bounds

import (
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

// Extra is added to what somebody has, in thousandths of a cpu and of a megabyte.
type Extra struct{ CPUs, Mem int64 }

// OfExecutor is what the original adds to a task for the executor beside it. Clients that compute with it go on doing so, and the
// limits of what they see are the same.
var OfExecutor = Extra{CPUs: 100, Mem: 32_000}

// Of are those of some resources and limits. quota makes cpus a hard limit.
func Of(has resource.List, limits map[string]*mesosv1.Value_Scalar, more Extra, quota bool) container.Limits {
	l := container.Limits{CPUs: int64(has.Scalar("cpus")) + more.CPUs, Mem: int64(has.Scalar("mem")) + more.Mem}
	if quota {
		l.CPULimit = l.CPUs
	}
	if x, ok := limits["cpus"]; ok {
		l.CPULimit = limit(x.GetValue(), more.CPUs)
	}
	if x, ok := limits["mem"]; ok {
		l.MemLimit = limit(x.GetValue(), more.Mem)
	}
	return l
}

// limit is a limit of the task with what the original adds; infinity is -1.
func limit(v float64, extra int64) int64 {
	if math.IsInf(v, 1) {
		return -1
	}
	return int64(math.Round(v*1000)) + extra
}

// Sum adds up what an executor and its tasks have together. Where a task names limits of its own, or cpus are hard limits,
// the others' parts count as their limits; infinity is that of all.
func Sum(needs []workload.Need, quota bool) container.Limits {
	var l container.Limits
	cpuLimit, memLimit, cpuLimited, memLimited := int64(0), int64(0), quota, false
	add := func(to *int64, part int64) {
		if *to < 0 || part < 0 {
			*to = -1
			return
		}
		*to += part
	}
	for _, n := range needs {
		cpus, mem := int64(n.Resources.Scalar("cpus")), int64(n.Resources.Scalar("mem"))
		l.CPUs, l.Mem = l.CPUs+cpus, l.Mem+mem
		var info mesosv1.TaskInfo
		if n.Task != nil {
			_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(n.Task.Info, &info) // it was read before
			if x, ok := info.GetLimits()["cpus"]; ok {
				cpus, cpuLimited = limit(x.GetValue(), 0), true
			}
			if x, ok := info.GetLimits()["mem"]; ok {
				mem, memLimited = limit(x.GetValue(), 0), true
			}
		}
		add(&cpuLimit, cpus)
		add(&memLimit, mem)
	}
	if cpuLimited {
		l.CPULimit = cpuLimit
	}
	if memLimited {
		l.MemLimit = memLimit
	}
	return l
}
