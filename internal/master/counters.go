package master

import (
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/meter"
)

// counters are what the shell counts by itself; what can be read off the book is computed when it is asked for.
type counters struct {
	calls, streamsCut, linksCut *meter.Counter
	facts                       map[cluster.FactKind]*meter.Counter
	states                      map[mesosv1.TaskState]*meter.Counter
	dropped                     *meter.Counter
	byCall                      map[scheduler.Call_Type]*meter.Counter
	runs, stores                *meter.Timer
	refusals                    map[cluster.Reason]*meter.Counter
	linksRefused, bodiesRefused map[string]*meter.Counter
	invalidUpdates, invalidAcks *meter.Counter
	unsaid, operatorsCut        *meter.Counter
	ends                        *ends
	leavers                     *meter.Counter
	removals                    map[string]*meter.Counter
	executorMessages            *meter.Counter
	operationUpdates            *meter.Counter
	invalidOperationAcks        *meter.Counter
}

func newCounters(m *meter.Meter, master *Master) *counters {
	c := &counters{
		calls: m.Counter("pando/master/scheduler_calls"), streamsCut: m.Counter("pando/master/streams_cut_off"),
		linksCut: m.Counter("pando/master/links_cut_off"), dropped: m.Counter("master/dropped_messages"),
		facts: map[cluster.FactKind]*meter.Counter{
			cluster.FactAgentRegistered:       m.Counter("master/slave_registrations"),
			cluster.FactAgentReregistered:     m.Counter("master/slave_reregistrations"),
			cluster.FactAgentRemoved:          m.Counter("master/slave_removals"),
			cluster.FactAgentGivenUp:          m.Counter("master/slave_unreachable_scheduled"),
			cluster.FactAgentSpared:           m.Counter("master/slave_unreachable_canceled"),
			cluster.FactAgentUnreachable:      m.Counter("master/slave_unreachable_completed"),
			cluster.FactTaskAcknowledged:      m.Counter("master/valid_status_update_acknowledgements"),
			cluster.FactTaskState:             m.Counter("master/valid_status_updates"),
			cluster.FactTaskLaunched:          m.Counter("master/messages_launch_tasks"),
			cluster.FactTaskKill:              m.Counter("master/messages_kill_task"),
			cluster.FactOffersDeclined:        m.Counter("master/messages_decline_offers"),
			cluster.FactFrameworkSubscribed:   m.Counter("master/messages_register_framework"),
			cluster.FactFrameworkFailedOver:   m.Counter("master/messages_reregister_framework"),
			cluster.FactFrameworkRemoved:      m.Counter("master/messages_unregister_framework"),
			cluster.FactExecutorEnded:         m.Counter("master/messages_exited_executor"),
			cluster.FactOperationAcknowledged: m.Counter("master/valid_operation_status_update_acknowledgements"),
			cluster.FactAllocated:             m.Counter("allocator/mesos/allocation_runs"),
		},
		states: map[mesosv1.TaskState]*meter.Counter{}, byCall: map[scheduler.Call_Type]*meter.Counter{}, ends: newEnds(m),
		runs: m.Timer("allocator/mesos/allocation_run_ms"), stores: m.Timer("registrar/state_store_ms"),
	}
	c.refusals, c.linksRefused, c.bodiesRefused = map[cluster.Reason]*meter.Counter{}, map[string]*meter.Counter{}, map[string]*meter.Counter{}
	for _, r := range cluster.Reasons() {
		c.refusals[r] = m.Counter("pando/master/refusals/" + r.Name())
	}
	for _, kind := range linkFaults {
		c.linksRefused[kind] = m.Counter("pando/master/links_refused/" + kind)
	}
	for _, kind := range []string{"large", "crowded"} {
		c.bodiesRefused[kind] = m.Counter("pando/master/bodies_refused/" + kind)
	}
	c.invalidUpdates, c.invalidAcks = m.Counter("master/invalid_status_updates"), m.Counter("master/invalid_status_update_acknowledgements")
	c.unsaid = m.Counter("pando/master/log_lines_left_out")
	c.operatorsCut = m.Counter("pando/master/operator_streams_cut_off")
	c.leavers, c.executorMessages = m.Counter("master/messages_unregister_slave"), m.Counter("master/messages_executor_to_framework")
	c.operationUpdates, c.invalidOperationAcks = m.Counter("master/messages_operation_status_update"), m.Counter("master/invalid_operation_status_update_acknowledgements")
	c.removals = map[string]*meter.Counter{}
	for _, why := range []string{"unhealthy", "unregistered", "registered"} {
		c.removals[why] = m.Counter("master/slave_removals/reason_" + why)
	}
	m.Zeros(unheard()...)
	for call, name := range callNames {
		c.byCall[call] = m.Counter(name)
	}
	for _, s := range []string{"FINISHED", "FAILED", "KILLED", "LOST", "DROPPED", "GONE", "GONE_BY_OPERATOR", "ERROR"} {
		c.states[mesosv1.TaskState(mesosv1.TaskState_value["TASK_"+s])] = m.Counter("master/tasks_" + strings.ToLower(s))
	}
	m.GaugeFunc("master/elected", func() float64 {
		if master.term.Load() != nil {
			return 1
		}
		return 0
	})
	m.GaugeFunc("registrar/state_fetch_ms", func() float64 { return float64(master.fetched.Load()) / 1e6 })
	m.GaugeFunc("master/uptime_secs", func() float64 {
		return float64(master.deps.Clock.Now().Wall-master.started.Wall) / 1e9
	})
	m.Source(master.emit)
	return c
}

// call counts a scheduler's call.
func (c *counters) call(t scheduler.Call_Type) {
	c.calls.Inc()
	if n := c.byCall[t]; n != nil {
		n.Inc()
	}
}

// count is called by the loop's releases alone.
func (c *counters) count(f *cluster.Fact) {
	if k := c.facts[f.Kind]; k != nil {
		k.Inc()
	}
	if r := c.refusals[f.Reason]; r != nil {
		r.Inc()
	}
	switch f.Kind {
	case cluster.FactCallDropped:
		c.dropped.Inc()
		switch f.Reason {
		case cluster.AcknowledgementStale, cluster.TaskUnknown:
			c.invalidAcks.Inc()
		case cluster.OperationUnknown:
			c.invalidOperationAcks.Inc()
		}
	case cluster.FactUpdateDropped:
		c.dropped.Inc()
		c.invalidUpdates.Inc()
	case cluster.FactTaskRefused: // tasks that came too late for their offers are lost, not wrong
		c.state(f.Status.State)
		c.ends.task(f.Status)
	case cluster.FactAgentRemoved:
		switch f.Text {
		case cluster.AgentLeft:
			c.leavers.Inc()
			c.removals["unregistered"].Inc()
		case cluster.AgentReplaced:
			c.removals["registered"].Inc()
		default:
			c.removals["unhealthy"].Inc()
		}
	case cluster.FactOperationRefused:
		c.ends.operation(f.OperationType, mesosv1.OperationState_OPERATION_ERROR)
	case cluster.FactOperationEnded:
		if f.Operation.Status != "" { // its agent says so
			c.operationUpdates.Inc()
		}
		c.ends.operation(operationType(f.Operation.Info), f.Operation.State)
	case cluster.FactTaskState:
		if !cluster.Terminal(f.Was) { // each update of a task that has ended says so while it waits for the acknowledgement of another
			c.state(f.State)
		}
		c.ends.task(f.Status) // comes later than the end, behind the statuses before it
	}
}

func (c *counters) state(s mesosv1.TaskState) {
	if k := c.states[s]; k != nil {
		k.Inc()
	}
}
