package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/fleet"
)

// memory tells what an agent and a task that runs take of the master. Its collector is set to leave little behind, so that
// what is resident is what lives.
func memory(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("memory", flag.ExitOnError)
	n := f.Int("agents", 10_000, "agents")
	tasks := f.Int("tasks", 100_000, "tasks that stay")
	_ = f.Parse(args) // it exits
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	m, err := newMaster(ctx, dir, []string{"GOGC=10"})
	if err != nil {
		return err
	}
	defer m.stop()
	time.Sleep(2 * time.Second)
	rss, heap := m.kib(), m.liveKiB()
	_, leave, err := agents(ctx, *n, fleet.Span{}, m.addr)
	if err != nil {
		return err
	}
	defer leave()
	time.Sleep(10 * time.Second)
	rss1, heap1 := m.kib(), m.liveKiB()
	l := &fleet.Load{Masters: []string{m.addr}, Tasks: *tasks, InFlight: 4000, PerOffer: max(10, *tasks / *n), Stay: true, Connections: connections}
	stop := launching(ctx, l)
	if err := within(ctx, 5*time.Minute, "all tasks to run", func() bool { return l.Running.Load() == int64(*tasks) }); err != nil {
		return errors.Join(err, stop())
	}
	time.Sleep(20 * time.Second)
	rss2, heap2 := m.kib(), m.liveKiB()
	err = stop()
	return errors.Join(err, show(fmt.Sprintf("%d agents, %d tasks", *n, *tasks), map[string]float64{
		"kib_per_agent": (rss1 - rss) / float64(*n), "heap_kib_per_agent": (heap1 - heap) / float64(*n),
		"kib_per_task": (rss2 - rss1) / float64(*tasks), "heap_kib_per_task": (heap2 - heap1) / float64(*tasks), "rss_mib": rss2 / 1024,
	}))
}

// liveKiB is the heap as the master tells it.
func (m *master) liveKiB() float64 {
	text, err := m.get("/metrics")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(text, "\ngo_memstats_heap_alloc_bytes ")
	var bytes float64
	_, _ = fmt.Sscan(rest, &bytes) // 0 where it is not told
	return bytes / 1024
}
