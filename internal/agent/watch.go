package agent

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/check"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/machine"
)

// watch starts the checks of a task that runs. Each has a goroutine, which only sleeps between two looks.
func (a *Agent) watch(w *workload.WatchWork) {
	var info mesosv1.TaskInfo
	if proto.Unmarshal(w.Task.Info, &info) != nil || info.GetHealthCheck() == nil && info.GetCheck() == nil {
		return // what cannot be read was never launched
	}
	a.unwatch(w.Container)
	a.mu.Lock()
	ctx, cancel := context.WithCancel(a.base)
	a.watchers[w.Container] = cancel
	a.mu.Unlock()
	now := a.deps.Clock.Now()
	started := now.Mono - time.Duration(now.Wall-w.Started)
	if h := info.GetHealthCheck(); h != nil {
		if p, err := check.OfHealth(h); err == nil { // the master refused what cannot be read
			from := &check.Record{Failures: w.Failures, Healthy: w.EverHealthy}
			a.work.Go(func() { a.drive(ctx, w.Container, &p, check.New(p, started, from)) })
		}
	}
	if c := info.GetCheck(); c != nil {
		if p, err := check.OfCheck(c); err == nil { // likewise
			a.work.Go(func() { a.drive(ctx, w.Container, &p, check.New(p, started, nil)) })
		}
	}
}

// drive is the shell of one check: it wakes the machine, looks when it says so, and tells the book what it found.
func (a *Agent) drive(ctx context.Context, container string, p *check.Plan, w *check.Watch) {
	looker := &check.Looker{Runtime: a.deps.Runtime}
	if nets := a.deps.Networks.Of(container); nets != nil {
		looker.Dial = nets.Dial
	}
	results := make(chan check.In, 1)
	timer := a.deps.Clock.NewTimer(0)
	defer timer.Stop()
	var out check.Out
	var in check.In
	for {
		w.Step(a.deps.Clock.Now(), in, &out)
		in = check.In{}
		if a.report(ctx, container, p, &out) != nil {
			return
		}
		for _, look := range out.Do {
			go func() {
				r := looker.Look(ctx, container, look)
				results <- check.In{Look: look.ID, Result: &r} // one look at a time is under way, so there is room
			}()
		}
		out.Reset()
		wait := time.Hour
		if due := w.Deadline(); due != machine.Never {
			wait = due - a.deps.Clock.Now().Mono
		}
		timer.Reset(wait)
		select {
		case in = <-results:
		case <-timer.C():
		case <-ctx.Done():
			return
		}
	}
}

// report passes a check's verdicts on. What it wants recorded goes with them: the book's journal is the only one.
func (a *Agent) report(ctx context.Context, container string, p *check.Plan, out *check.Out) error {
	for _, v := range out.Send {
		h := &workload.Health{Container: container, Healthy: -1, Kill: v.Kill, Failures: v.Failures}
		if v.Healthy != nil {
			h.Healthy = 0
			if *v.Healthy {
				h.Healthy, h.EverHealthy = 1, true
			}
			for _, r := range out.Save {
				h.Failures, h.EverHealthy = r.Failures, r.Healthy
			}
		}
		if v.Result != nil {
			b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(&mesosv1.TaskStatus{CheckStatus: p.Status(v.Result)})
			if err != nil {
				return err
			}
			h.Check = b
		}
		if err := a.loop.Put(ctx, h); err != nil {
			return err
		}
	}
	return nil
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
