package master

import (
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
)

func TestATaskIsCountedWhenItEndsAndNotWithTheUpdatesThatFollow(t *testing.T) {
	m, _ := leading(t)
	const starting, finished = mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_FINISHED
	for _, f := range []cluster.Fact{{State: starting, Was: mesosv1.TaskState_TASK_STAGING}, {State: finished, Was: starting}, {State: finished, Was: finished}} {
		f.Kind = cluster.FactTaskState
		m.counts.count(&f)
	}
	n := m.deps.Meter.Snapshot()
	if n["master/tasks_finished"] != 1 || n["master/valid_status_updates"] != 3 {
		t.Errorf("%v tasks have finished with %v updates", n["master/tasks_finished"], n["master/valid_status_updates"])
	}
}
