package agent

import (
	"strings"
	"time"

	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/meter"
)

// counters are what the shell counts by itself; what can be read off the book is computed when it is asked for.
type counters struct {
	launchErrors, updates *meter.Counter
	destroyErrors         *meter.Counter // tries to take containers out of their networks
	messages              *meter.Counter // of executors
	terminated            *meter.Counter // executors, command tasks among them
	fetched, unfetched    *meter.Counter
	collected             *meter.Counter // sandboxes
	uncollected           *meter.Counter // those that could not be removed, each time
	states                map[string]*meter.Counter
}

func newCounters(a *Agent) *counters {
	m := a.deps.Meter
	c := &counters{
		launchErrors: m.Counter("slave/container_launch_errors"), destroyErrors: m.Counter("containerizer/mesos/container_destroy_errors"), updates: m.Counter("slave/valid_status_updates"),
		messages: m.Counter("slave/valid_framework_messages"), terminated: m.Counter("slave/executors_terminated"),
		fetched: m.Counter("containerizer/fetcher/task_fetches_succeeded"), unfetched: m.Counter("containerizer/fetcher/task_fetches_failed"),
		collected: m.Counter("gc/path_removals_succeeded"), uncollected: m.Counter("gc/path_removals_failed"),
		states: map[string]*meter.Counter{},
	}
	for _, s := range []string{"finished", "failed", "killed", "lost", "gone"} {
		c.states[s] = m.Counter("slave/tasks_" + s)
	}
	m.GaugeFunc("slave/registered", func() float64 {
		if a.view.Load().Registered {
			return 1
		}
		return 0
	})
	m.GaugeFunc("slave/uptime_secs", func() float64 { return float64(a.deps.Clock.Now().Wall-a.started.Wall) / 1e9 })
	m.GaugeFunc("slave/recovery_time_secs", func() float64 { return time.Duration(a.recovery.Load()).Seconds() })
	m.Zeros(unheard...)
	m.Source(a.emit)
	return c
}

// count is called by the loop's releases alone.
func (c *counters) count(f *workload.Fact) {
	if f.Kind == workload.FactExecutorEnded {
		c.terminated.Inc()
	}
	if f.Kind != workload.FactTaskState {
		return
	}
	c.updates.Inc()
	if k := c.states[strings.ToLower(strings.TrimPrefix(f.State.String(), "TASK_"))]; k != nil {
		k.Inc()
		if f.Executor == "" {
			c.terminated.Inc()
		}
	}
}
