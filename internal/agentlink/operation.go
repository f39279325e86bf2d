package agentlink

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// OperationOf makes the book's value of an encoded Offer.Operation.
func OperationOf(uuid, framework string, info []byte) (*workload.Operation, error) {
	var p mesosv1.Offer_Operation
	if err := proto.Unmarshal(info, &p); err != nil {
		return nil, fmt.Errorf("operation: %w", err)
	}
	op := &workload.Operation{UUID: uuid, Framework: framework, ID: p.GetId().GetValue(), Info: info}
	o, err := mesos.CheckOperation(&p)
	if err != nil { // a newer master's, perhaps
		op.Refused = err.Error()
	} else {
		op.Change = o.Change
	}
	return op, nil
}

// Operation makes the book's value of a message.
func Operation(p *link.Operation) (*workload.Operation, error) {
	return OperationOf(string(p.GetUuid()), p.GetFrameworkId(), p.GetOperation())
}

func operation(o *workload.Operation) *link.Operation {
	return &link.Operation{Uuid: []byte(o.UUID), FrameworkId: o.Framework, Operation: o.Info}
}

// OperationStatus encodes the end of an operation as an OperationStatus.
func OperationStatus(v *workload.OperationView) []byte {
	s := &mesosv1.OperationStatus{State: v.State.Enum(), Uuid: &mesosv1.UUID{Value: []byte(v.UUID)}}
	if v.Operation.ID != "" {
		s.OperationId = &mesosv1.OperationID{Value: &v.Operation.ID}
	}
	if v.Message != "" {
		s.Message = &v.Message
	}
	b, err := proto.Marshal(s)
	if err != nil {
		panic("agentlink: a status that cannot be encoded: " + err.Error())
	}
	return b
}

// OperationEnd reads what OperationStatus has written.
func OperationEnd(o *workload.Operation, status []byte) (*workload.OperationView, error) {
	var s mesosv1.OperationStatus
	if err := proto.Unmarshal(status, &s); err != nil {
		return nil, fmt.Errorf("operation %x: status: %w", o.UUID, err)
	}
	return &workload.OperationView{Operation: o, State: s.GetState(), Message: s.GetMessage(), UUID: string(s.GetUuid().GetValue())}, nil
}

// AppendResources encodes each of a list's resources.
func AppendResources(dst [][]byte, l resource.List) [][]byte {
	for _, p := range l.ToProto("", resource.PostRefinement) {
		b, err := proto.Marshal(p)
		if err != nil {
			panic("agentlink: a resource that cannot be encoded: " + err.Error())
		}
		dst = append(dst, b)
	}
	return dst
}

// Resources reads what AppendResources has written.
func Resources(encoded [][]byte) (resource.List, error) {
	all := make([]*mesosv1.Resource, len(encoded))
	for i, b := range encoded {
		all[i] = &mesosv1.Resource{}
		if err := proto.Unmarshal(b, all[i]); err != nil {
			return nil, fmt.Errorf("resources[%d]: %w", i, err)
		}
	}
	l, _, err := resource.FromProto(all)
	return l, err
}
