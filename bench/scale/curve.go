package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
)

// connections for a load's calls.
const connections = 4

// curve loads masters with ever more agents, encodings by turns, and an empty handler with the same requests after each.
func curve(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("curve", flag.ExitOnError)
	sizes := f.String("agents", "100,1000,3000,10000", "agents, point by point")
	encodings := f.String("encodings", "protobuf,json", "of the calls")
	perTask := f.Int("tasks", 100_000, "tasks of a point")
	starting := f.Bool("starting", false, "TASK_STARTING is sent and acknowledged too: three updates a task instead of two")
	runs := f.Int("runs", 3, "runs of each point, interleaved")
	_ = f.Parse(args) // it exits
	type sample struct{ rate, first, last, master, self, empty, registered, idle, kib, p50, p99 []float64 }
	got := map[string]*sample{}
	for range *runs {
		for _, agents := range words(*sizes) {
			for _, encoding := range words(*encodings) {
				n, err := strconv.Atoi(agents)
				if err != nil {
					return err
				}
				r, err := simulate(ctx, "--agents", agents, "--tasks", strconv.Itoa(*perTask), "--in-flight", strconv.Itoa(min(4000, n*20)),
					"--connections", strconv.Itoa(connections), "--encoding", encoding, "--idle", "5s", fmt.Sprintf("--starting=%v", *starting))
				if err != nil {
					return err
				}
				contentType := "application/x-protobuf"
				if encoding == "json" {
					contentType = "application/json"
				}
				floor, err := empty(ctx, r.Calls, contentType, connections)
				if err != nil {
					return err
				}
				key := agents + " agents, " + encoding
				s := got[key]
				if s == nil {
					s = &sample{}
					got[key] = s
				}
				for to, v := range map[*[]float64]float64{
					&s.rate: r.PerSecond, &s.first: r.FirstPerSecond, &s.last: r.LastPerSecond, &s.master: r.MasterCPUTask, &s.self: r.SelfCPUTask,
					&s.empty: float64(floor.Microseconds()) / float64(r.Ran), &s.registered: r.RegisterCPU, &s.idle: r.IdleCPU, &s.kib: r.KiBPerAgent,
					&s.p50: r.P50, &s.p99: r.P99,
				} {
					*to = append(*to, v)
				}
			}
		}
	}
	for _, agents := range words(*sizes) {
		for _, encoding := range words(*encodings) {
			key := agents + " agents, " + encoding
			s := got[key]
			if err := show(key, map[string]float64{
				"per_second": median(s.rate), "first_tenth": median(s.first), "last_tenth": median(s.last), "master_us_per_task": median(s.master),
				"empty_us_per_task": median(s.empty), "above_us_per_task": median(s.master) - median(s.empty), "agents_and_framework_us_per_task": median(s.self),
				"master_alone_per_core_second": 1e6 / median(s.master), "registration_us": median(s.registered), "idle_percent": median(s.idle),
				"kib_per_agent": median(s.kib), "p50_ms": median(s.p50), "p99_ms": median(s.p99),
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// flat takes many tasks through one master, whose pace should not sink.
func flat(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("flat", flag.ExitOnError)
	agents := f.String("agents", "10000", "agents")
	tasks := f.String("tasks", "1000000", "tasks")
	encodings := f.String("encodings", "protobuf", "of the calls, by turns")
	_ = f.Parse(args) // it exits
	for _, encoding := range words(*encodings) {
		r, err := simulate(ctx, "--agents", *agents, "--tasks", *tasks, "--in-flight", "4000", "--encoding", encoding, "--idle", "0s")
		if err != nil {
			return err
		}
		if err := show(*tasks+" tasks, "+encoding, map[string]float64{
			"per_second": r.PerSecond, "first_tenth": r.FirstPerSecond, "last_tenth": r.LastPerSecond, "master_us_per_task": r.MasterCPUTask,
		}); err != nil {
			return err
		}
	}
	return nil
}
