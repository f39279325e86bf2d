package agent

import "github.com/pando-os/pando/internal/core/workload"

// watch starts the checks of a task that runs.
func (a *Agent) watch(w *workload.WatchWork) { _ = w }

// unwatch ends the checks of a container.
func (a *Agent) unwatch(id string) {
	a.mu.Lock()
	cancel := a.watchers[id]
	delete(a.watchers, id)
	a.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
