package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

func TestTheResourcesAboveAContainerByCallAreItsParents(t *testing.T) {
	has := func(mem string) resource.List { return must(resource.Parse("mem:"+mem, "*")) }
	task := func(id, container string, x *workload.Executor) *workload.TaskView {
		return &workload.TaskView{Task: &workload.Task{ID: id, Executor: x, Resources: has(id)}, Container: container}
	}
	pod, own := &workload.Executor{ID: "pod", Resources: has("10")}, &workload.Executor{ID: "own", Resources: has("20")}
	v := &workload.View{
		Tasks: []*workload.TaskView{task("1", "alone", nil), task("2", "pod.two", pod), task("3", "own", own)},
		Executors: []*workload.ExecutorView{
			{Spec: pod, Container: "pod"}, {Spec: own, Container: "own"},
		},
	}
	got := map[string]float64{}
	for _, c := range []string{"alone", "pod", "pod.two", "own", "another by call"} {
		got[c] = float64(resourcesOf(v, c).Scalar("mem")) / 1000
	}
	if d := cmp.Diff(map[string]float64{"alone": 1, "pod": 10, "pod.two": 2, "own": 20, "another by call": 0}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
