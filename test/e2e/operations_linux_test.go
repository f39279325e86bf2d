package e2e

import (
	"bytes"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// reserve accepts the present offers to reserve disk under an operation's id.
func (f *framework) reserve(id string, mb float64) {
	f.t.Helper()
	f.offered()
	f.mu.Lock()
	a := &scheduler.Call_Accept{Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(0)}}
	for name, o := range f.offers {
		a.OfferIds = append(a.OfferIds, o.GetId())
		delete(f.offers, name)
	}
	f.want = false
	f.mu.Unlock()
	a.Operations = []*mesosv1.Offer_Operation{{
		Type: mesosv1.Offer_Operation_RESERVE.Enum(), Id: &mesosv1.OperationID{Value: &id},
		Reserve: &mesosv1.Offer_Operation_Reserve{Resources: []*mesosv1.Resource{{
			Name: new("disk"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &mb},
			AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("test")},
			Reservations:   []*mesosv1.Resource_ReservationInfo{{Type: mesosv1.Resource_ReservationInfo_DYNAMIC.Enum(), Role: new("test")}},
		}}},
	}}
	must(f.t, f.s.Call(f.t.Context(), &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: a}))
}

// heard waits for word of an operation that is not among the first n, and gives it.
func (f *framework) heard(id string, n int) (s *mesosv1.OperationStatus) {
	f.t.Helper()
	f.until("word of operation "+id, func() bool {
		if len(f.operations[id]) <= n {
			return false
		}
		s = f.operations[id][n]
		return true
	})
	return s
}

func (f *framework) words(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.operations[id])
}

func TestAnOperationsEndIsToldUntilItIsAcknowledgedWhateverDies(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	agent := n.id()
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT))
	f.reserve("op", 64)
	first := f.heard("op", 0)
	if first.GetState() != mesosv1.OperationState_OPERATION_FINISHED || len(first.GetUuid().GetValue()) != 16 || first.GetAgentId().GetValue() != agent {
		t.Fatalf("the operation's end is told as %v", first)
	}

	n.signal(syscall.SIGKILL)
	before, times := f.words("op"), f.subscriptions()
	n.start()
	f.resubscribed(times)
	again := f.heard("op", before)
	if again.GetState() != first.GetState() || !bytes.Equal(again.GetUuid().GetValue(), first.GetUuid().GetValue()) {
		t.Errorf("after all were killed the end is another: %v, and it was %v", again, first)
	}
	must(t, f.s.Call(t.Context(), &scheduler.Call{
		Type: scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS.Enum(),
		AcknowledgeOperationStatus: &scheduler.Call_AcknowledgeOperationStatus{
			AgentId: again.GetAgentId(), OperationId: again.GetOperationId(), Uuid: again.GetUuid().GetValue(),
		},
	}))
	f.reserve("later", 16) // by whose end the agent has read the acknowledgement, which went before it
	f.heard("later", 0)

	n.signal(syscall.SIGKILL)
	before, times = f.words("op"), f.subscriptions()
	n.start()
	f.resubscribed(times)
	if got := n.says("reserve", "ls", "-o", "json"); !bytes.Contains([]byte(got), []byte("disk:80")) {
		t.Errorf("what is reserved after two operations and two crashes: %s", got)
	}
	f.heard("later", 1) // which nobody has acknowledged
	must(t, f.s.Call(t.Context(), &scheduler.Call{
		Type: scheduler.Call_RECONCILE_OPERATIONS.Enum(),
		ReconcileOperations: &scheduler.Call_ReconcileOperations{Operations: []*scheduler.Call_ReconcileOperations_Operation{
			{OperationId: &mesosv1.OperationID{Value: new("op")}, AgentId: again.GetAgentId()},
		}},
	}))
	if s := f.heard("op", before); s.GetState() != mesosv1.OperationState_OPERATION_UNKNOWN || s.GetUuid() != nil {
		t.Errorf("an operation that was acknowledged is told again, as %v", s)
	}
}
