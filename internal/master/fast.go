package master

import (
	"context"

	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// Fast answers the scheduler's calls that come by the thousand without net/http: half of the master's time for a task went
// there. It takes what serveScheduler would answer 202 once it is queued, and leaves the rest to it, mistakes too.
func (m *Master) Fast() serve.Fast {
	return serve.Fast{Path: "/api/v1/scheduler", Take: m.take}
}

func (m *Master) take(r *serve.FastRequest) bool {
	t := m.term.Load()
	if t == nil {
		return false
	}
	json := string(r.ContentType) == serve.TypeJSON
	if !json && string(r.ContentType) != serve.TypeProtobuf {
		return false
	}
	if !json {
		if a, ok := mesos.ReadAcknowledgement(r.Body); ok {
			s, own := t.streamOf(a.Framework, string(r.StreamID), r.Who())
			if !own || t.put(context.Background(), s.lane, &cluster.Acknowledge{Stream: s.id, Framework: a.Framework, Agent: a.Agent, Task: a.Task, UUID: a.UUID}) != nil {
				return false
			}
			m.counts.call(scheduler.Call_ACKNOWLEDGE)
			s.tally.Load().Call(scheduler.Call_ACKNOWLEDGE, nil)
			return true
		}
	}
	call, err := decodeCall(r.Body, json)
	if err != nil {
		return false
	}
	switch call.GetType() {
	case scheduler.Call_ACKNOWLEDGE, scheduler.Call_ACCEPT, scheduler.Call_DECLINE, scheduler.Call_KILL, scheduler.Call_REVIVE, scheduler.Call_SUPPRESS:
	default:
		return false
	}
	s, own := t.streamOf(call.GetFrameworkId().GetValue(), string(r.StreamID), r.Who())
	if !own || t.put(context.Background(), s.lane, input(call, s)) != nil {
		return false
	}
	m.counts.call(call.GetType())
	s.tally.Load().Call(call.GetType(), call.GetAccept().GetOperations())
	return true
}
