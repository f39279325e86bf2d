package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/pando-os/pando/internal/fleet"
)

// comeback kills a master with all its agents registered, starts it again at once, and tells when they are all back, when
// offers flow, and when every task is known again.
func comeback(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("comeback", flag.ExitOnError)
	n := f.Int("agents", 10_000, "agents")
	tasks := f.Int("tasks", 100_000, "tasks that run on them")
	repeats := f.Int("repeats", 5, "how often the master is killed")
	_ = f.Parse(args) // it exits
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	m, err := newMaster(ctx, dir, nil)
	if err != nil {
		return err
	}
	defer m.stop()
	fl, leave, err := agents(ctx, *n, fleet.Span{}, m.addr)
	if err != nil {
		return err
	}
	defer leave()
	l := &fleet.Load{Masters: []string{m.addr}, Tasks: *tasks, InFlight: 4000, PerOffer: max(10, *tasks / *n), Stay: true, Connections: connections, Failover: time.Minute}
	stop := launching(ctx, l)
	p := &fleet.Load{Masters: []string{m.addr}, Tasks: 1_000_000, InFlight: 1_000_000, PerOffer: 1, Rate: 20, Stay: true, Failover: time.Minute}
	if err := within(ctx, 5*time.Minute, "all tasks to run", func() bool { return l.Running.Load() == int64(*tasks) }); err != nil {
		return errors.Join(err, stop())
	}
	stopProbe := launching(ctx, p)
	time.Sleep(2 * time.Second)
	before := m.kib() / 1024
	var back, offers, known, cpu, peak []float64
	for range *repeats {
		subscriptions, offered := p.Subscriptions.Load(), int64(0)
		begun := time.Now()
		m.kill()
		if err := m.start(ctx); err != nil {
			return errors.Join(err, stop(), stopProbe())
		}
		var when [3]time.Duration // all back, offers, tasks known
		err := within(ctx, time.Minute, "all agents, offers and tasks", func() bool {
			since := time.Since(begun)
			if p.Subscriptions.Load() == subscriptions {
				offered = p.Offers.Load()
			} else if when[1] == 0 && p.Offers.Load() > offered {
				when[1] = since
			}
			if s := fl.Counts(); when[0] == 0 && s.Registered == int64(*n) && since > 200*time.Millisecond {
				when[0] = since
			}
			if when[2] == 0 && l.Subscriptions.Load() > 1 && when[0] > 0 && l.Open() == 0 {
				when[2] = since
			}
			return when[0] > 0 && when[1] > 0 && when[2] > 0
		})
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %v", err, when), stop(), stopProbe())
		}
		back, offers, known = append(back, when[0].Seconds()), append(offers, when[1].Seconds()), append(known, when[2].Seconds())
		cpu, peak = append(cpu, m.cpu().Seconds()), append(peak, m.peakMiB())
		time.Sleep(3 * time.Second)
	}
	lost := l.Lost.Load() + l.Failed.Load() + l.Killed.Load()
	return errors.Join(stop(), stopProbe(), show(fmt.Sprintf("%d agents, %d tasks, the master killed %d times", *n, *tasks, *repeats), map[string]any{
		"agents_back_s": median(back), "offers_s": median(offers), "tasks_known_s": median(known), "all_agents_back_s": back, "all_offers_s": offers,
		"master_cpu_s": median(cpu), "peak_mib": median(peak), "before_mib": before, "lost": lost,
	}))
}
