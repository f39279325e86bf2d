package agent

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/journal"
	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

// encodeOperation is encodeRecord for what is about operations.
func encodeOperation(r *workload.Record, j *journal.AgentRecord) {
	switch {
	case r.OperationEnded != nil:
		o := r.OperationEnded.Operation
		e := &journal.OperationEnded{
			Uuid: []byte(o.UUID), FrameworkId: o.Framework, Operation: o.Info, Status: agentlink.OperationStatus(r.OperationEnded.OperationView),
		}
		if r.OperationEnded.Kept != nil {
			e.Kept = encodeKept(r.OperationEnded.Kept)
		}
		j.Record = &journal.AgentRecord_OperationEnded{OperationEnded: e}
	case r.OperationAcked != "":
		j.Record = &journal.AgentRecord_OperationAcked{OperationAcked: &journal.OperationAcked{Uuid: []byte(r.OperationAcked)}}
	case r.Kept != nil:
		j.Record = &journal.AgentRecord_KeptResources{KeptResources: encodeKept(r.Kept)}
	case r.VolumeRemoved != "":
		j.Record = &journal.AgentRecord_VolumeRemoved{VolumeRemoved: &journal.VolumeRemoved{Uuid: []byte(r.VolumeRemoved)}}
	}
}

func encodeKept(k *workload.Kept) *journal.KeptResources {
	out := &journal.KeptResources{Resources: agentlink.AppendResources(nil, k.Resources)}
	for _, d := range k.Doomed {
		out.Doomed = append(out.Doomed, &journal.DoomedVolume{Uuid: []byte(d.UUID), Volume: agentlink.AppendResources(nil, resource.List{*d.Volume})[0]})
	}
	return out
}

// decodeOperation is encodeOperation's inverse.
func decodeOperation(j *journal.AgentRecord) (r workload.Record, err error) {
	switch x := j.GetRecord().(type) {
	case *journal.AgentRecord_OperationEnded:
		e := x.OperationEnded
		op, err := agentlink.OperationOf(string(e.GetUuid()), e.GetFrameworkId(), e.GetOperation())
		if err != nil {
			return r, err
		}
		r.OperationEnded = &workload.OperationEnded{}
		if r.OperationEnded.OperationView, err = agentlink.OperationEnd(op, e.GetStatus()); err != nil {
			return r, err
		}
		if e.Kept != nil {
			r.OperationEnded.Kept, err = decodeKept(e.GetKept())
		}
		return r, err
	case *journal.AgentRecord_OperationAcked:
		r.OperationAcked = string(x.OperationAcked.GetUuid())
	case *journal.AgentRecord_KeptResources:
		r.Kept, err = decodeKept(x.KeptResources)
	case *journal.AgentRecord_VolumeRemoved:
		r.VolumeRemoved = string(x.VolumeRemoved.GetUuid())
	}
	return r, err
}

func decodeKept(k *journal.KeptResources) (*workload.Kept, error) {
	l, err := agentlink.Resources(k.GetResources())
	if err != nil {
		return nil, fmt.Errorf("kept: %w", err)
	}
	out := &workload.Kept{Resources: l}
	for _, d := range k.GetDoomed() {
		v, err := agentlink.Resources([][]byte{d.GetVolume()})
		if err != nil || len(v) != 1 {
			return nil, fmt.Errorf("doomed: no volume: %w", err)
		}
		out.Doomed = append(out.Doomed, workload.Doomed{UUID: string(d.GetUuid()), Volume: &v[0]})
	}
	return out, nil
}

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
