package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/pando-os/pando/internal/fleet"
)

// failover kills, and freezes, the leader of three masters while a scheduler launches, and tells when offers flow again, when
// every agent is back, and when every task is known to the new leader. The streams of a frozen leader stay open: what it
// froze with hears of the new one when it wakes up, so offers are counted at a scheduler that comes meanwhile.
func failover(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("failover", flag.ExitOnError)
	n := f.Int("agents", 1000, "agents")
	tasks := f.Int("tasks", 10_000, "tasks that run on them")
	repeats := f.Int("repeats", 5, "of each fault")
	lease := f.Duration("lease", 10*time.Second, "of the leader")
	_ = f.Parse(args) // it exits
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	store, stopStore, err := etcd(ctx, dir)
	if err != nil {
		return err
	}
	defer stopStore()
	var masters []*master
	var addrs []string
	for i := range 3 {
		m, err := newMaster(ctx, filepath.Join(dir, fmt.Sprint("m", i)), nil, "--store", "etcd://"+store, "--lease-ttl", lease.String())
		if err != nil {
			return err
		}
		defer m.stop()
		masters, addrs = append(masters, m), append(addrs, m.addr)
	}
	fl, leave, err := agents(ctx, *n, fleet.Span{}, addrs...)
	if err != nil {
		return err
	}
	defer leave()
	l := &fleet.Load{Masters: addrs, Tasks: *tasks, InFlight: 2000, PerOffer: 10, Stay: true, Connections: connections, Failover: 2 * time.Minute}
	stop := launching(ctx, l)
	if err := within(ctx, time.Minute, "all tasks to run", func() bool { return l.Running.Load() == int64(*tasks) }); err != nil {
		return errors.Join(err, stop())
	}
	p := &fleet.Load{Masters: addrs, Tasks: 1_000_000, InFlight: 1_000_000, PerOffer: 1, Rate: 100, Stay: true, Failover: 2 * time.Minute}
	stopProbe := launching(ctx, p)
	time.Sleep(2 * time.Second)
	for _, frozen := range []bool{false, true} {
		var back, offers, known []float64
		for range *repeats {
			when, err := once(ctx, masters, fl, l, p, *n, frozen)
			if err != nil {
				return errors.Join(fmt.Errorf("%w: %v", err, when), stop(), stopProbe())
			}
			offers, back, known = append(offers, when[0].Seconds()), append(back, when[1].Seconds()), append(known, when[2].Seconds())
		}
		what := "killed"
		if frozen {
			what = fmt.Sprintf("frozen, with a lease of %v", *lease)
		}
		if err := show(fmt.Sprintf("%d agents, %d tasks, the leader %s", *n, *tasks, what), map[string]any{
			"offers_s": median(offers), "agents_back_s": median(back), "tasks_known_s": median(known), "all_offers_s": offers, "all_known_s": known,
			"lost_of_those_that_ran": l.Lost.Load() + l.Failed.Load() + l.Killed.Load(),
		}); err != nil {
			return errors.Join(err, stop(), stopProbe())
		}
	}
	time.Sleep(2 * time.Second)
	launched, ran, lost := p.Launched.Load(), p.Running.Load(), p.Lost.Load()
	return errors.Join(stop(), stopProbe(), show("launches meanwhile", map[string]int64{
		"launched": launched, "run": ran, "lost_on_their_way_and_told": lost, "unknown": launched - ran - lost,
	}))
}

// once lets the leader fail, waits until all is well with another, and brings it back.
func once(ctx context.Context, masters []*master, fl *fleet.Fleet, l, p *fleet.Load, n int, frozen bool) (when [3]time.Duration, err error) {
	leader := leaderOf(masters)
	if leader == nil {
		return when, errors.New("no master leads")
	}
	subscribed, subscribedProbe, offered := l.Subscriptions.Load(), p.Subscriptions.Load(), int64(0)
	begun := time.Now()
	if frozen {
		leader.signal(syscall.SIGSTOP)
		others := slices.DeleteFunc(slices.Clone(masters), func(m *master) bool { return m == leader })
		fresh := &fleet.Load{Tasks: 1_000_000, InFlight: 1_000_000, PerOffer: 1, Rate: 100, Stay: true, Failover: 2 * time.Minute}
		stop := func() error { return nil }
		defer func() { err = errors.Join(err, stop()) }()
		err = within(ctx, 2*time.Minute, "offers and agents", func() bool {
			if fresh.Masters == nil {
				if m := leaderOf(others); m != nil { // as a scheduler would, that asks who leads
					fresh.Masters = []string{m.addr}
					stop = launching(ctx, fresh)
				}
			}
			if when[0] == 0 && fresh.Offers.Load() > 0 {
				when[0] = time.Since(begun)
			}
			when[1] = time.Since(begun)
			return when[0] > 0 && fl.Missing() == 0 && fl.Counts().Registered == int64(n)
		})
		leader.signal(syscall.SIGCONT)
		if err != nil {
			return when, err
		}
	} else {
		leader.kill()
	}
	err = within(ctx, 2*time.Minute, "offers, agents and tasks", func() bool {
		since := time.Since(begun)
		if p.Subscriptions.Load() == subscribedProbe {
			offered = p.Offers.Load()
		} else if when[0] == 0 && p.Offers.Load() > offered {
			when[0] = since
		}
		if when[0] > 0 && when[1] == 0 && fl.Missing() == 0 && fl.Counts().Registered == int64(n) {
			when[1] = since
		}
		if when[1] > 0 && when[2] == 0 && l.Subscriptions.Load() > subscribed && l.Open() == 0 && p.Open() == 0 {
			when[2] = since
		}
		return when[2] > 0
	})
	if !frozen {
		err = errors.Join(err, leader.start(ctx))
	}
	time.Sleep(3 * time.Second)
	return when, err
}

// leaderOf asks every master whether it leads.
func leaderOf(masters []*master) *master {
	c := &http.Client{Timeout: time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer c.CloseIdleConnections()
	for _, m := range masters {
		resp, err := c.Get("http://" + m.addr + "/state-summary")
		if err != nil {
			continue
		}
		_ = resp.Body.Close() // only the status counts
		if resp.StatusCode == http.StatusOK {
			return m
		}
	}
	return nil
}
