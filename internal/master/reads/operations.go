package reads

import (
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
)

// v1Operations visits the operations that are under way or not acknowledged: those of frameworks that the reader may see, and
// operators', which are everybody's to see.
func (r *Reader) v1Operations(yield func(proto.Message) bool) {
	r.View.Operations(func(o *cluster.AgentOperation) bool {
		if f := r.View.Framework(o.Framework); f != nil && !r.may(f) {
			return true
		}
		return yield(v1Operation(o))
	})
}

func v1Operation(o *cluster.AgentOperation) *mesosv1.Operation {
	info := &mesosv1.Offer_Operation{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(o.Info, info) // the shell has checked it
	s := &mesosv1.OperationStatus{State: &o.State, AgentId: &mesosv1.AgentID{Value: &o.Agent}}
	if o.ID != "" {
		s.OperationId = &mesosv1.OperationID{Value: &o.ID}
	}
	if o.Message != "" {
		s.Message = &o.Message
	}
	if o.Status != "" {
		s.Uuid = &mesosv1.UUID{Value: []byte(o.Status)}
	}
	out := &mesosv1.Operation{
		AgentId: &mesosv1.AgentID{Value: &o.Agent}, Info: info, LatestStatus: s, Statuses: []*mesosv1.OperationStatus{s},
		Uuid: &mesosv1.UUID{Value: []byte(o.UUID)},
	}
	if o.Framework != "" {
		out.FrameworkId = &mesosv1.FrameworkID{Value: &o.Framework}
	}
	return out
}
