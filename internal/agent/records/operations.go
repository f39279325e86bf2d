package records

import (
	"fmt"

	"github.com/pando-os/pando/gen/journal"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

// encodeOperation is Encode for what is about operations.
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
