package agent

import (
	"context"
	"time"

	"github.com/pando-os/pando/internal/core/workload"
)

// farewell is how long a master may take to answer a goodbye. One that is away finds out by its pings.
const farewell = 5 * time.Second

// dismissal is a master's word that this agent must end: it was removed for good.
type dismissal struct{ why string }

func (d *dismissal) Error() string {
	return "the master told this agent to end, and its tasks have ended: " + d.why
}

// Leave takes the agent out of its cluster for good: every task ends, the master forgets the agent and tells schedulers that
// their tasks are lost with it. It returns when that is done, or when ctx ends; then Run is to be ended.
func (a *Agent) Leave(ctx context.Context) error {
	if err := a.vacate(ctx); err != nil {
		return err
	}
	late := a.deps.Clock.NewTimer(farewell)
	defer late.Stop()
	select {
	case <-a.goodbye:
	case <-late.C():
		a.deps.Log.Warn("the agent leaves without a master's answer; the cluster finds out when it misses its pings", "waited", farewell)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// parted says whether the goodbye was said, after which the agent must not come back.
func (a *Agent) parted() bool {
	select {
	case <-a.goodbye:
		return true
	default:
		return false
	}
}

// vacate ends all tasks, without a word to anybody, and returns when nothing of them is here.
func (a *Agent) vacate(ctx context.Context) error {
	if err := a.loop.Put(ctx, &workload.Leave{}); err != nil {
		return err
	}
	select {
	case <-a.left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
