package records

import (
	"github.com/pando-os/pando/gen/journal"
	"github.com/pando-os/pando/internal/core/workload"
)

// encodeNested makes an entry of a record about a container of the API.
func encodeNested(r *workload.Record, j *journal.AgentRecord) {
	switch {
	case r.NestedAccepted != nil:
		n := r.NestedAccepted
		j.Record = &journal.AgentRecord_NestedAccepted{NestedAccepted: &journal.NestedAccepted{
			Path: n.Path, ContainerId: n.Container, Parent: n.Parent, User: n.User, FrameworkId: n.Framework, ExecutorId: n.Executor, Sandbox: n.Sandbox,
		}}
	case r.NestedEnded != nil:
		n := r.NestedEnded
		j.Record = &journal.AgentRecord_NestedEnded{NestedEnded: &journal.NestedEnded{
			Path: n.Path, Status: n.Exit.Status, Known: n.Exit.Known, Oom: n.Exit.OOM, MemLimit: n.Exit.Limit,
		}}
	case r.NestedGone != "":
		j.Record = &journal.AgentRecord_NestedGone{NestedGone: &journal.NestedGone{Path: r.NestedGone}}
	}
}

// decodeNested is encodeNested's inverse; false: the entry is about something else.
func decodeNested(j *journal.AgentRecord, r *workload.Record) bool {
	switch x := j.GetRecord().(type) {
	case *journal.AgentRecord_NestedAccepted:
		n := x.NestedAccepted
		r.NestedAccepted = &workload.Nested{
			Path: n.GetPath(), Container: n.GetContainerId(), Parent: n.GetParent(), User: n.GetUser(), Framework: n.GetFrameworkId(),
			Executor: n.GetExecutorId(), Sandbox: n.GetSandbox(),
		}
	case *journal.AgentRecord_NestedEnded:
		n := x.NestedEnded
		r.NestedEnded = &workload.NestedEnded{Path: n.GetPath(), Exit: workload.Exit{
			Status: n.GetStatus(), Known: n.GetKnown(), OOM: n.GetOom(), Limit: n.GetMemLimit(),
		}}
	case *journal.AgentRecord_NestedGone:
		r.NestedGone = x.NestedGone.GetPath()
	default:
		return false
	}
	return true
}
