package agent

import (
	"context"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/check"
	"github.com/pando-os/pando/internal/core/workload"
)

// watch starts the checks of a task that runs. Each has a goroutine, which only sleeps between two looks.
func (a *Agent) watch(w *workload.WatchWork) {
	info, err := a.keptOf(w.Task).whole(w.Task)
	if err != nil {
		a.deps.Log.Error("a task is not checked any more", "framework", w.Task.Framework, "task", w.Task.ID, "error", err)
		return
	}
	if info.GetHealthCheck() == nil && info.GetCheck() == nil {
		return
	}
	a.unwatch(w.Container)
	a.mu.Lock()
	ctx, cancel := context.WithCancel(a.base)
	a.watchers[w.Container] = cancel
	a.mu.Unlock()
	list := checkSecrets(info)
	if len(list) == 0 {
		a.check(ctx, w, info)
		return
	}
	a.work.Go(func() {
		if err := a.resolve(ctx, list); err != nil {
			a.deps.Log.Error("a task is not checked any more: its secrets cannot be resolved", "framework", w.Task.Framework, "task", w.Task.ID, "error", err)
			return
		}
		a.check(ctx, w, info)
	})
}

// check starts a task's checks, which have all that they need.
func (a *Agent) check(ctx context.Context, w *workload.WatchWork, info *mesosv1.TaskInfo) {
	now := a.deps.Clock.Now()
	started := now.Mono - time.Duration(now.Wall-w.Started)
	if h := info.GetHealthCheck(); h != nil {
		if p, err := check.OfHealth(h); err == nil { // the master refused what cannot be read
			from := &check.Record{Failures: w.Failures, Healthy: w.EverHealthy}
			a.work.Go(func() { a.drive(ctx, w.Container, p, check.New(p, started, from)) })
		}
	}
	if c := info.GetCheck(); c != nil {
		if p, err := check.OfCheck(c); err == nil { // likewise
			a.work.Go(func() { a.drive(ctx, w.Container, p, check.New(p, started, nil)) })
		}
	}
}

func (a *Agent) drive(ctx context.Context, container string, p check.Plan, w *check.Watch) {
	d := check.Driver{
		Container: container, Plan: p, Looker: check.Looker{Runtime: a.deps.Runtime}, Clock: a.deps.Clock,
		Tell: func(ctx context.Context, h *workload.Health) error { return a.loop.Put(ctx, h) },
	}
	if nets := a.deps.Networks.Of(container); nets != nil {
		d.Looker.Dial = nets.Dial
	}
	d.Drive(ctx, w)
}

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
