package master

import (
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/meter"
)

// callNames are the original's names for how often schedulers called what.
var callNames = map[scheduler.Call_Type]string{
	scheduler.Call_ACKNOWLEDGE:                  "master/messages_status_update_acknowledgement",
	scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS: "master/messages_operation_status_update_acknowledgement",
	scheduler.Call_MESSAGE:                      "master/messages_framework_to_executor",
	scheduler.Call_RECONCILE:                    "master/messages_reconcile_tasks",
	scheduler.Call_RECONCILE_OPERATIONS:         "master/messages_reconcile_operations",
	scheduler.Call_REVIVE:                       "master/messages_revive_offers",
	scheduler.Call_SUPPRESS:                     "master/messages_suppress_offers",
}

// unheard are names of the original's that dashboards ask for and that stand for what this master does not have: actors'
// queues, an agents' shutdown that is scheduled. They are always zero.
func unheard() []string {
	names := []string{
		"master/event_queue_dispatches", "master/event_queue_http_requests", "master/event_queue_messages",
		"allocator/mesos/event_queue_dispatches", "registrar/queued_operations",
		"master/invalid_executor_to_framework_messages", "master/invalid_framework_to_executor_messages", "master/invalid_operation_status_updates",
		"master/messages_authenticate", "master/messages_deactivate_framework", "master/messages_update_slave", "master/recovery_slave_removals",
		"master/slave_shutdowns_canceled", "master/slave_shutdowns_completed", "master/slave_shutdowns_scheduled",
	}
	for _, end := range []string{"", "/count", "/max", "/min", "/p50", "/p90", "/p95", "/p99", "/p999", "/p9999"} {
		names = append(names, "allocator/mesos/allocation_run_latency_ms"+end) // a run waits for nothing
	}
	return names
}

// emit gives the numbers that are made when they are asked for.
func (m *Master) emit(emit func(name string, value float64)) {
	host.ReadSystem().Emit(emit)
	emit("master/http_cache_hits", float64(m.shared.Hits()))
	emit("master/operator_event_stream_subscribers", float64(m.subscribers()))
	same := func(name string, kind cluster.FactKind) { emit(name, float64(m.counts.facts[kind].Value())) }
	same("master/messages_register_slave", cluster.FactAgentRegistered)
	same("master/messages_reregister_slave", cluster.FactAgentReregistered)
	same("master/messages_status_update", cluster.FactTaskState)
	emit("master/valid_executor_to_framework_messages", float64(m.counts.executorMessages.Value()))
	emit("master/valid_operation_status_updates", float64(m.counts.operationUpdates.Value()))
	emit("master/valid_framework_to_executor_messages", float64(m.counts.byCall[scheduler.Call_MESSAGE].Value()))
	view := m.nothing // who does not lead knows of nothing
	if t := m.term.Load(); t != nil {
		view = t.view.Load()
		if m.cfg.PerFramework {
			t.tallies.Emit(view, emit)
		}
	}
	reads.Emit(view, m.cfg.Book.Allocation.Uncounted, emit)
	m.counts.ends.emit(view, emit)
}

// timedBook is a book whose cycles of allocation are timed. The book has no clock, so a cycle's time is that of the step
// that made offers.
type timedBook struct {
	*cluster.Book
	clock clock.Clock
	runs  *meter.Timer
}

// Step is the book's.
func (b timedBook) Step(now machine.Now, in cluster.In, out *cluster.Out) {
	told, start := len(out.Tell), b.clock.Now().Mono
	b.Book.Step(now, unwrap(in), out)
	for i := range out.Tell[told:] {
		if out.Tell[told+i].Kind == cluster.FactAllocated {
			b.runs.Observe(b.clock.Now().Mono - start)
			return
		}
	}
}
