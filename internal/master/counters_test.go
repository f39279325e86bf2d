package master

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos"
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

func TestEndsAreCountedUnderTheOriginalsNames(t *testing.T) {
	m, _ := leading(t)
	reserve, err := proto.Marshal(&mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_RESERVE.Enum(), Reserve: &mesosv1.Offer_Operation_Reserve{}})
	if err != nil {
		t.Fatal(err)
	}
	lost := &mesos.Status{State: mesosv1.TaskState_TASK_LOST, Source: mesosv1.TaskStatus_SOURCE_AGENT, HasReason: true, Reason: mesosv1.TaskStatus_REASON_AGENT_RESTARTED}
	begun := &mesos.Status{State: mesosv1.TaskState_TASK_STARTING, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, HasReason: true}
	done := &mesos.Status{State: mesosv1.TaskState_TASK_FINISHED, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR}
	for _, f := range []cluster.Fact{
		{Kind: cluster.FactTaskState, State: lost.State}, // its status waits behind others
		{Kind: cluster.FactTaskState, State: lost.State, Was: lost.State, Status: begun},
		{Kind: cluster.FactTaskState, State: lost.State, Was: lost.State, Status: lost},
		{Kind: cluster.FactTaskState, State: done.State, Status: done},
		{Kind: cluster.FactOperationEnded, Operation: &cluster.AgentOperation{Info: reserve, State: mesosv1.OperationState_OPERATION_FINISHED, Status: "uuid"}},
		{Kind: cluster.FactOperationEnded, Operation: &cluster.AgentOperation{Info: reserve, State: mesosv1.OperationState_OPERATION_GONE_BY_OPERATOR}},
		{Kind: cluster.FactOperationRefused, OperationType: mesosv1.Offer_Operation_CREATE_DISK},
		{Kind: cluster.FactAgentRemoved, Text: cluster.AgentLeft},
		{Kind: cluster.FactAgentRemoved, Text: "whatever else"},
		{Kind: cluster.FactExecutorEnded},
	} {
		m.counts.count(&f)
	}
	want := map[string]float64{
		"master/task_lost/source_slave/reason_slave_restarted": 1, "master/tasks_lost": 1, "master/tasks_finished": 1,
		"master/operations/reserve/finished": 1, "master/operations/finished": 1, "master/operations/reserve/gone_by_operator": 1,
		"master/operations/create_disk/error": 1, "master/operations/error": 1, "master/operations/total": 0, "master/operations/reserve/pending": 0,
		"master/messages_operation_status_update": 1, "master/valid_operation_status_updates": 1,
		"master/slave_removals": 2, "master/slave_removals/reason_unregistered": 1, "master/slave_removals/reason_unhealthy": 1,
		"master/messages_unregister_slave": 1, "master/messages_exited_executor": 1,
	}
	all, got := m.deps.Meter.Snapshot(), map[string]float64{}
	for name := range want {
		if v, ok := all[name]; ok {
			got[name] = v
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
