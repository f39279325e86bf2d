package agent

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/agentlink"
)

// userOf is whom a framework runs as. One of which nothing else is here is root's to see.
func (r *reader) userOf(framework string) string {
	for _, f := range slices.Concat(r.view.Frameworks, r.view.Former) {
		if f.ID == framework {
			return f.User
		}
	}
	return "root"
}

// operations are those whose ends are not acknowledged: of frameworks that the reader may see, and operators'.
func (r *reader) operations() *genagent.Response_GetOperations {
	out := &genagent.Response_GetOperations{}
	for _, v := range r.view.Operations {
		o := v.Operation
		if o.Framework != "" && !r.may(r.userOf(o.Framework)) {
			continue
		}
		p := &mesosv1.Operation{
			AgentId: &mesosv1.AgentID{Value: &r.view.Agent}, Info: &mesosv1.Offer_Operation{}, LatestStatus: &mesosv1.OperationStatus{},
			Uuid: &mesosv1.UUID{Value: []byte(o.UUID)},
		}
		_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(o.Info, p.Info) // the master has checked it
		_ = proto.Unmarshal(agentlink.OperationStatus(v), p.LatestStatus)        // of our own making
		p.LatestStatus.AgentId = p.AgentId
		p.Statuses = []*mesosv1.OperationStatus{p.LatestStatus}
		if o.Framework != "" {
			p.FrameworkId = &mesosv1.FrameworkID{Value: &o.Framework}
		}
		out.Operations = append(out.Operations, p)
	}
	return out
}
