package check

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/machine"
)

// Driver is the shell of one check: it wakes the machine, looks when that says so, and tells what it found.
type Driver struct {
	Container string
	Plan      Plan
	Looker    Looker
	Clock     clock.Clock
	// Tell gives a verdict to the task's book. What the check wants recorded goes with it: that journal is the only one.
	Tell func(context.Context, *workload.Health) error
}

// Drive works until the context ends, or nobody wants to be told any more.
func (d *Driver) Drive(ctx context.Context, w *Watch) {
	results := make(chan In, 1)
	timer := d.Clock.NewTimer(0)
	defer timer.Stop()
	var out Out
	var in In
	for {
		w.Step(d.Clock.Now(), in, &out)
		in = In{}
		if d.report(ctx, &out) != nil {
			return
		}
		for _, look := range out.Do {
			go func() {
				r := d.Looker.Look(ctx, d.Container, look)
				results <- In{Look: look.ID, Result: &r} // one look at a time is under way, so there is room
			}()
		}
		out.Reset()
		wait := time.Hour
		if due := w.Deadline(); due != machine.Never {
			wait = due - d.Clock.Now().Mono
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

// report passes verdicts on.
func (d *Driver) report(ctx context.Context, out *Out) error {
	for _, v := range out.Send {
		h := &workload.Health{Container: d.Container, Healthy: -1, Kill: v.Kill, Failures: v.Failures}
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
			b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(&mesosv1.TaskStatus{CheckStatus: d.Plan.Status(v.Result)})
			if err != nil {
				return err
			}
			h.Check = b
		}
		if err := d.Tell(ctx, h); err != nil {
			return err
		}
	}
	return nil
}
