package bounds

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTheLimitsOfAnExecutorsContainerAreThoseOfAllThatIsInIt(t *testing.T) {
	need := func(res string, limits map[string]*mesosv1.Value_Scalar) workload.Need {
		info := must(proto.MarshalOptions{AllowPartial: true}.Marshal(&mesosv1.TaskInfo{Limits: limits}))
		return workload.Need{Resources: must(resource.Parse(res, "*")), Task: &workload.Task{Info: info}}
	}
	own := workload.Need{Resources: must(resource.Parse("cpus:0.1;mem:32", "*"))}
	scalar := func(v float64) *mesosv1.Value_Scalar { return &mesosv1.Value_Scalar{Value: &v} }
	inf := scalar(math.Inf(1))
	for _, c := range []struct {
		name  string
		needs []workload.Need
		quota bool
		want  container.Limits
	}{
		{"one alone", []workload.Need{own}, false, container.Limits{CPUs: 100, Mem: 32_000}},
		{"with a task", []workload.Need{own, need("cpus:1;mem:64", nil)}, false, container.Limits{CPUs: 1100, Mem: 96_000}},
		{"with hard limits of cpus", []workload.Need{own, need("cpus:1;mem:64", nil)}, true, container.Limits{CPUs: 1100, Mem: 96_000, CPULimit: 1100}},
		{
			"with a task that has limits",
			[]workload.Need{own, need("cpus:1;mem:64", map[string]*mesosv1.Value_Scalar{"cpus": scalar(2), "mem": scalar(100)}), need("cpus:1;mem:64", nil)},
			false,
			container.Limits{CPUs: 2100, Mem: 160_000, CPULimit: 3100, MemLimit: 196_000},
		},
		{
			"with a task that has none",
			[]workload.Need{need("cpus:1;mem:64", map[string]*mesosv1.Value_Scalar{"mem": inf}), own},
			false,
			container.Limits{CPUs: 1100, Mem: 96_000, MemLimit: -1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, Sum(c.needs, c.quota)); d != "" {
				t.Error(d)
			}
		})
	}
}
