package events

import (
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/mesos"
)

// event is one change, as the book told it. Exactly one of agent, task and framework alone is set but for a task, which has its
// framework beside it.
type event struct {
	kind      master.Event_Type
	agent     *cluster.Agent
	framework *cluster.Framework
	task      *cluster.Task
	// state and status are of TASK_UPDATED.
	state  mesosv1.TaskState
	status *mesos.Status
}

// of gives the event that subscribers hear of a fact; ok is false for facts that they do not.
func of(f *cluster.Fact) (e event, ok bool) {
	e = event{agent: f.AgentIs, framework: f.FrameworkIs, task: f.TaskIs}
	switch f.Kind {
	case cluster.FactTaskLaunched, cluster.FactTaskAdopted, cluster.FactTaskReturned:
		e.kind = master.Event_TASK_ADDED
		return e, e.task != nil
	case cluster.FactTaskState, cluster.FactTaskReported:
		e.kind, e.state = master.Event_TASK_UPDATED, f.State
		if e.task == nil {
			return e, false
		}
		if e.status = lastStatus(f); f.Kind == cluster.FactTaskState && f.Status == nil && !cluster.Terminal(f.State) {
			return e, false // its update waits behind another, and comes with more than the state
		}
		if f.Status != nil && !cluster.Terminal(f.State) {
			e.state = f.Status.State // likewise
		}
		return e, true
	case cluster.FactAgentRegistered, cluster.FactAgentReregistered:
		e.kind = master.Event_AGENT_ADDED
		return e, e.agent != nil
	case cluster.FactAgentRemoved, cluster.FactAgentUnreachable:
		e.kind = master.Event_AGENT_REMOVED
		return e, e.agent != nil && e.agent.Mark == cluster.Admitted // else it was removed before
	case cluster.FactFrameworkSubscribed:
		e.kind = master.Event_FRAMEWORK_ADDED
		if e.framework.Reregistered != 0 {
			e.kind = master.Event_FRAMEWORK_UPDATED // it was there, away or recovered
		}
		return e, true
	case cluster.FactFrameworkRecovered:
		e.kind = master.Event_FRAMEWORK_ADDED
		return e, true
	case cluster.FactFrameworkFailedOver, cluster.FactFrameworkDisconnected, cluster.FactFrameworkUpdated:
		e.kind = master.Event_FRAMEWORK_UPDATED
		return e, true
	case cluster.FactFrameworkRemoved:
		e.kind = master.Event_FRAMEWORK_REMOVED
		return e, true
	default:
		return e, false
	}
}

// lastStatus is the status of a change of state: the one that came with it, or the last before.
func lastStatus(f *cluster.Fact) *mesos.Status {
	if f.Status != nil {
		return f.Status
	}
	if n := len(f.TaskIs.Statuses); n > 0 {
		return f.TaskIs.Statuses[n-1]
	}
	return &mesos.Status{TaskID: f.Task, AgentID: f.Agent, State: f.State, Healthy: -1}
}

// seen says whether somebody who may see what belongs to some users may see the event. Agents are for everybody.
func (e *event) seen(may func(user string) bool) bool {
	return may == nil || e.agent != nil || e.framework != nil && may(e.framework.Spec.User)
}

// message is the event in the words of the operator's API. What it shares with the book is only read.
func (e *event) message() *master.Event {
	out := &master.Event{Type: &e.kind}
	switch e.kind {
	case master.Event_TASK_ADDED:
		out.TaskAdded = &master.Event_TaskAdded{Task: reads.V1Task(e.task)}
	case master.Event_TASK_UPDATED:
		out.TaskUpdated = &master.Event_TaskUpdated{
			FrameworkId: &mesosv1.FrameworkID{Value: &e.task.Framework}, State: &e.state, Status: reads.V1Status(e.status),
		}
	case master.Event_AGENT_ADDED:
		out.AgentAdded = &master.Event_AgentAdded{Agent: reads.V1Agent(e.agent, nil)}
	case master.Event_AGENT_REMOVED:
		out.AgentRemoved = &master.Event_AgentRemoved{AgentId: &mesosv1.AgentID{Value: &e.agent.Spec.ID}}
	case master.Event_FRAMEWORK_ADDED:
		out.FrameworkAdded = &master.Event_FrameworkAdded{Framework: reads.V1Framework(e.framework)}
	case master.Event_FRAMEWORK_UPDATED:
		out.FrameworkUpdated = &master.Event_FrameworkUpdated{Framework: reads.V1Framework(e.framework)}
	case master.Event_FRAMEWORK_REMOVED:
		out.FrameworkRemoved = &master.Event_FrameworkRemoved{FrameworkInfo: reads.V1Framework(e.framework).GetFrameworkInfo()}
	}
	return out
}

// append appends the event in an encoding.
func (e *event) append(dst []byte, json bool) []byte {
	return appendMessage(dst, e.message(), json)
}

// appendMessage appends a message of the stream. Of what it is made of the shells have checked that it can be encoded.
func appendMessage(dst []byte, m proto.Message, json bool) []byte {
	if json {
		dst, _ = mesos.AppendJSON(dst, m) // it is not nil
		return dst
	}
	dst, _ = proto.MarshalOptions{AllowPartial: true}.MarshalAppend(dst, m) // it holds nothing that cannot be encoded
	return dst
}
