// Package plan is what a seed is made into before a play begins: how large the cluster is, and how much goes wrong for how long.
package plan

import (
	"fmt"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/removal"
	"github.com/pando-os/pando/internal/sim/stage"
)

// Params are what a seed is made into.
type Params struct {
	Seed               uint64
	Agents, Frameworks int
	// Faults is for how long they come, and Every how often about.
	Faults, Every time.Duration
	Cluster       cluster.Config
	// Steady masters fail seldom, so that what one remembers matters.
	Steady bool
	// Trace writes down everything that happens.
	Trace bool
}

// String shows the parameters as they are printed before a failing seed's trace.
func (p Params) String() string {
	return fmt.Sprintf("seed=%d agents=%d frameworks=%d faults=%s every=%s pings=%d×%s reregister=%s offer_timeout=%s removals=%q steady=%t",
		p.Seed, p.Agents, p.Frameworks, p.Faults, p.Every, p.Cluster.PingMisses, p.Cluster.PingInterval, p.Cluster.ReregisterTimeout, p.Cluster.OfferTimeout, p.Cluster.RemovalRate.String(), p.Steady)
}

// Draw draws what is not given.
func (p *Params) Draw(w *stage.Stage) {
	if p.Agents == 0 {
		switch x := w.Rand.Float64(); {
		case x < 0.7:
			p.Agents = 5 + w.Rand.IntN(8)
		case x < 0.94:
			p.Agents = 12 + w.Rand.IntN(40)
		case x < 0.98:
			p.Agents = 50 + w.Rand.IntN(100)
		default:
			p.Agents = 150 + w.Rand.IntN(351)
		}
	}
	p.Steady = p.Steady || w.Chance(0.4)
	if p.Frameworks == 0 {
		p.Frameworks = 1 + w.Rand.IntN(4)
	}
	if p.Faults == 0 {
		// The larger the fleet, the shorter the time, so that a seed costs about the same.
		p.Faults = max(w.Between(4*time.Minute, 20*time.Minute)*6/time.Duration(5+p.Agents), 45*time.Second)
	}
	if p.Every == 0 {
		p.Every = w.Between(300*time.Millisecond, 6*time.Second)
	}
	if p.Cluster.AllocationInterval == 0 {
		c := cluster.Defaults()
		if w.Chance(0.5) {
			c.PingInterval, c.PingMisses = 3*time.Second, 3
		}
		if w.Chance(0.5) || p.Agents > 50 { // many pings are sent while a large fleet waits
			c.ReregisterTimeout = w.Between(20*time.Second, 3*time.Minute)
		}
		if w.Chance(0.3) {
			c.OfferTimeout = w.Between(5*time.Second, time.Minute)
		}
		if w.Chance(0.3) {
			c.MaxCompletedTasks = 3
		}
		if w.Chance(0.2) && p.Agents <= 50 {
			c.RemovalRate = removal.Rate{Agents: 1 + w.Rand.IntN(5), Per: w.Between(10*time.Second, time.Minute)}
		}
		p.Cluster = c
	}
}
