// Package records turns what the agent's book saves into bytes of its journal, and back.
package records

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/journal"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
)

// Encode makes bytes of one record of the book, which is not a compaction.
func Encode(r *workload.Record) ([]byte, error) {
	var j journal.AgentRecord
	switch {
	case r.Identity != nil:
		j.Record = &journal.AgentRecord_Identity{Identity: &journal.Identity{
			AgentId: r.Identity.Agent, AgentInfo: r.Identity.Info, Epoch: r.Identity.Epoch, BootId: r.Identity.Boot,
			Links: r.Identity.Links,
		}}
	case r.Framework != nil:
		j.Record = &journal.AgentRecord_Framework{Framework: &journal.Framework{FrameworkId: r.Framework.ID, FrameworkInfo: r.Framework.Info}}
	case r.FrameworkGone != "":
		j.Record = &journal.AgentRecord_FrameworkGone{FrameworkGone: &journal.FrameworkGone{FrameworkId: r.FrameworkGone}}
	case r.Accepted != nil:
		t := r.Accepted.Task
		j.Record = &journal.AgentRecord_TaskAccepted{TaskAccepted: &journal.TaskAccepted{
			FrameworkId: t.Framework, TaskId: t.ID, TaskInfo: t.Info, Role: t.Role, User: t.User, ContainerId: r.Accepted.Container,
			Launch: t.Launch, Group: t.Group, GroupSize: uint32(t.GroupSize),
		}}
	case r.Container != nil:
		c := r.Container
		j.Record = &journal.AgentRecord_TaskContainer{TaskContainer: &journal.TaskContainer{
			FrameworkId: c.Framework, TaskId: c.Task, Pid: c.PID, StartTicks: c.Ticks, StartedWall: c.Wall,
		}}
	case r.Status != nil:
		j.Record = &journal.AgentRecord_TaskStatus{TaskStatus: &journal.TaskStatus{
			FrameworkId: r.Status.Framework, TaskId: r.Status.Task, Status: r.Status.Status.AppendProto(nil),
		}}
	case r.Acked != nil:
		j.Record = &journal.AgentRecord_TaskAcked{TaskAcked: &journal.TaskAcked{FrameworkId: r.Acked.Framework, TaskId: r.Acked.Task, Uuid: []byte(r.Acked.UUID)}}
	case r.Kill != nil:
		j.Record = &journal.AgentRecord_TaskKill{TaskKill: &journal.TaskKill{
			FrameworkId: r.Kill.Framework, TaskId: r.Kill.Task, GraceNs: int64(r.Kill.Grace), Cause: uint32(r.Kill.Cause),
		}}
	case r.Check != nil:
		j.Record = &journal.AgentRecord_TaskCheck{TaskCheck: &journal.TaskCheck{
			FrameworkId: r.Check.Framework, TaskId: r.Check.Task, ConsecutiveFailures: r.Check.Failures, EverHealthy: r.Check.EverHealthy,
		}}
	case r.Delivered != nil:
		j.Record = &journal.AgentRecord_TaskDelivered{TaskDelivered: &journal.TaskDelivered{FrameworkId: r.Delivered.Framework, TaskId: r.Delivered.Task}}
	case r.ExecutorAccepted != nil:
		x := r.ExecutorAccepted.Executor
		j.Record = &journal.AgentRecord_ExecutorAccepted{ExecutorAccepted: &journal.ExecutorAccepted{
			FrameworkId: x.Framework, ExecutorInfo: x.Info, Role: x.Role, User: x.User, ContainerId: r.ExecutorAccepted.Container,
		}}
	case r.ExecutorContainer != nil:
		c := r.ExecutorContainer
		j.Record = &journal.AgentRecord_ExecutorContainer{ExecutorContainer: &journal.ExecutorContainer{
			FrameworkId: c.Framework, ExecutorId: c.Executor, Pid: c.PID, StartTicks: c.Ticks, StartedWall: c.Wall,
		}}
	case r.ExecutorShutdown != nil:
		s := r.ExecutorShutdown
		j.Record = &journal.AgentRecord_ExecutorShutdown{ExecutorShutdown: &journal.ExecutorShutdown{
			FrameworkId: s.Framework, ExecutorId: s.Executor, Cause: uint32(s.Cause),
		}}
	case r.ExecutorGone != nil:
		j.Record = &journal.AgentRecord_ExecutorGone{ExecutorGone: &journal.ExecutorGone{FrameworkId: r.ExecutorGone.Framework, ExecutorId: r.ExecutorGone.Executor}}
	case r.OperationEnded != nil, r.OperationAcked != "", r.Kept != nil, r.VolumeRemoved != "":
		encodeOperation(r, &j)
	case r.Gone != nil:
		j.Record = &journal.AgentRecord_TaskGone{TaskGone: &journal.TaskGone{FrameworkId: r.Gone.Framework, TaskId: r.Gone.Task}}
	}
	if j.Record == nil {
		encodeNested(r, &j)
	}
	b, err := proto.Marshal(&j)
	if err != nil {
		return nil, fmt.Errorf("a record cannot be encoded: %w", err)
	}
	return b, nil
}

// Decode is Encode's inverse. wire reads the tasks in it.
func Decode(b []byte, wire *agentlink.Agent) (workload.Record, error) {
	var j journal.AgentRecord
	var r workload.Record
	if err := proto.Unmarshal(b, &j); err != nil {
		return r, err
	}
	switch x := j.GetRecord().(type) {
	case *journal.AgentRecord_Identity:
		r.Identity = &workload.Identity{
			Agent: x.Identity.GetAgentId(), Info: x.Identity.GetAgentInfo(), Epoch: x.Identity.GetEpoch(), Boot: x.Identity.GetBootId(),
			Links: x.Identity.GetLinks(),
		}
	case *journal.AgentRecord_Framework:
		f, err := agentlink.Framework(x.Framework.GetFrameworkInfo())
		if err != nil {
			return r, err
		}
		r.Framework = f
	case *journal.AgentRecord_FrameworkGone:
		r.FrameworkGone = x.FrameworkGone.GetFrameworkId()
	case *journal.AgentRecord_TaskAccepted:
		a := x.TaskAccepted
		t, err := wire.Task(a.GetTaskInfo(), a.GetFrameworkId(), a.GetTaskId(), a.GetRole(), a.GetUser())
		if err != nil {
			return r, err
		}
		t.Launch, t.Group, t.GroupSize = a.GetLaunch(), a.GetGroup(), int(a.GetGroupSize())
		r.Accepted = &workload.Accepted{Task: t, Container: a.GetContainerId()}
	case *journal.AgentRecord_TaskContainer:
		c := x.TaskContainer
		r.Container = &workload.Container{Ref: agentlink.Ref(c), PID: c.GetPid(), Ticks: c.GetStartTicks(), Wall: c.GetStartedWall()}
	case *journal.AgentRecord_TaskStatus:
		s, err := mesos.ParseStatus(x.TaskStatus.GetStatus())
		if err != nil {
			return r, err
		}
		r.Status = &workload.StatusRecord{Ref: agentlink.Ref(x.TaskStatus), Status: &s}
	case *journal.AgentRecord_TaskAcked:
		r.Acked = &workload.AckedRecord{Ref: agentlink.Ref(x.TaskAcked), UUID: string(x.TaskAcked.GetUuid())}
	case *journal.AgentRecord_TaskKill:
		k := x.TaskKill
		r.Kill = &workload.KillRecord{Ref: agentlink.Ref(k), Grace: time.Duration(k.GetGraceNs()), Cause: workload.KillCause(k.GetCause())}
	case *journal.AgentRecord_TaskCheck:
		c := x.TaskCheck
		r.Check = &workload.CheckRecord{Ref: agentlink.Ref(c), Failures: c.GetConsecutiveFailures(), EverHealthy: c.GetEverHealthy()}
	case *journal.AgentRecord_TaskGone:
		g := agentlink.Ref(x.TaskGone)
		r.Gone = &g
	case *journal.AgentRecord_TaskDelivered:
		d := agentlink.Ref(x.TaskDelivered)
		r.Delivered = &d
	case *journal.AgentRecord_ExecutorAccepted:
		a := x.ExecutorAccepted
		e, err := agentlink.Executor(a.GetExecutorInfo(), a.GetFrameworkId(), a.GetRole(), a.GetUser())
		if err != nil {
			return r, err
		}
		r.ExecutorAccepted = &workload.ExecutorAccepted{Executor: e, Container: a.GetContainerId()}
	case *journal.AgentRecord_ExecutorContainer:
		c := x.ExecutorContainer
		r.ExecutorContainer = &workload.ExecutorContainer{ExecutorRef: executorRef(c), PID: c.GetPid(), Ticks: c.GetStartTicks(), Wall: c.GetStartedWall()}
	case *journal.AgentRecord_ExecutorShutdown:
		r.ExecutorShutdown = &workload.ExecutorShutdown{ExecutorRef: executorRef(x.ExecutorShutdown), Cause: workload.EndCause(x.ExecutorShutdown.GetCause())}
	case *journal.AgentRecord_ExecutorGone:
		g := executorRef(x.ExecutorGone)
		r.ExecutorGone = &g
	case *journal.AgentRecord_OperationEnded, *journal.AgentRecord_OperationAcked, *journal.AgentRecord_KeptResources, *journal.AgentRecord_VolumeRemoved:
		return decodeOperation(&j)
	default:
		if decodeNested(&j, &r) {
			return r, nil
		}
		return r, errors.New("a record of an unknown kind; was it written by a newer version?")
	}
	return r, nil
}

func executorRef(x interface {
	GetFrameworkId() string
	GetExecutorId() string
},
) workload.ExecutorRef {
	return workload.ExecutorRef{Framework: x.GetFrameworkId(), Executor: x.GetExecutorId()}
}
