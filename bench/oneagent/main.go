// Command oneagent takes tasks through one real agent: submit until TASK_FINISHED is seen, with the lean client that
// pando simulate uses. Beside the load it starts /bin/true over and over, to tell how much the machine suffers.
//
// With --hold the tasks are left running and the node is watched meanwhile: memory by the task, and its processor time.
//
//	go run ./bench/oneagent --master 127.0.0.1:5050 --tasks 1000 --in-flight 1000 --pid $(pidof pando)
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/host"
)

func main() {
	l := &fleet.Load{Connections: 2, CPUs: 0.001, Mem: 4}
	master := flag.String("master", "127.0.0.1:5050", "the master")
	flag.IntVar(&l.Tasks, "tasks", 1000, "tasks in all")
	flag.IntVar(&l.InFlight, "in-flight", 200, "tasks at once")
	flag.StringVar(&l.Command, "command", "true", "what a task runs")
	flag.BoolVar(&l.JSON, "json", false, "speak JSON")
	pid := flag.Int("pid", 0, "the node's process, which is watched")
	hold := flag.Duration("hold", 0, "once all tasks run, watch them so long and end them")
	flag.Parse()
	l.Masters, l.PerOffer, l.Stay = []string{*master}, l.InFlight, *hold > 0
	l.Prepare()
	if err := run(l, *pid, *hold); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(l *fleet.Load, pid int, hold time.Duration) error {
	if hold > 0 {
		return sleepers(l, pid, hold)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	stop := make(chan struct{})
	done := make(chan [2]float64)
	var truths []time.Duration
	go func() {
		rss, load := 0.0, 0.0
		for {
			begun := time.Now()
			_ = exec.Command("/bin/true").Run() // it cannot fail
			truths = append(truths, time.Since(begun))
			rss, load = max(rss, mib(host.Resident(pid))), max(load, loadAverage())
			select {
			case <-stop:
				done <- [2]float64{rss, load}
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	begun := time.Now()
	err := l.Run(ctx)
	took := time.Since(begun)
	close(stop)
	peak := <-done
	if err != nil {
		return err
	}
	slices.Sort(truths)
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"tasks": l.Tasks, "in_flight": l.InFlight, "seconds": took.Seconds(), "per_second": float64(l.Tasks) / took.Seconds(),
		"not_finished": l.Failed.Load() + l.Killed.Load() + l.Lost.Load(), "peak_rss_mib": peak[0], "peak_load_average": peak[1],
		"true_p99_ms": float64(truths[len(truths)*99/100].Microseconds()) / 1000,
	})
}

// sleepers starts the tasks, waits until the node is quiet, and watches it.
func sleepers(l *fleet.Load, pid int, hold time.Duration) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	node, shims := mib(host.Resident(pid)), proportional("pando-launcher")
	end := make(chan error, 1)
	go func() { end <- l.Run(ctx) }()
	select {
	case <-l.Full():
	case err := <-end:
		return err
	}
	time.Sleep(5 * time.Second)
	cpu, begun := host.CPUTime(pid), time.Now()
	time.Sleep(hold)
	busy := 100 * (host.CPUTime(pid) - cpu).Seconds() / time.Since(begun).Seconds()
	kib := func(now, before float64) float64 { return (now - before) * 1024 / float64(l.Tasks) }
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"tasks": l.Tasks, "node_kib_per_task": kib(mib(host.Resident(pid)), node), "shims_pss_kib_per_task": kib(proportional("pando-launcher"), shims),
		"node_rss_mib": mib(host.Resident(pid)), "node_cpu_percent": busy, "watched_s": hold.Seconds(),
	})
}

// proportional is the memory of all processes of a program's name, also of one that runs from memory ("/memfd:NAME"), shared pages
// divided among those who share them, in MiB.
func proportional(name string) float64 {
	sum := 0.0
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, d := range dirs {
		exe, err := os.Readlink(d + "/exe")
		if err != nil || !strings.HasPrefix(strings.TrimPrefix(filepath.Base(exe), "memfd:"), name) {
			continue
		}
		b, err := os.ReadFile(d + "/smaps_rollup")
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64) // the kernel's own number
				sum += kb / 1024
			}
		}
	}
	return sum
}

func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	v, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64) // likewise
	return v
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
