// Command oneagent takes tasks through one real agent: submit until TASK_FINISHED is seen, with the lean client that
// pando simulate uses. Beside the load it starts /bin/true over and over, to tell how much the machine suffers.
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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/fleet"
)

func main() {
	l := &fleet.Load{Connections: 2, CPUs: 0.001, Mem: 4}
	flag.StringVar(&l.Master, "master", "127.0.0.1:5050", "the master")
	flag.IntVar(&l.Tasks, "tasks", 1000, "tasks in all")
	flag.IntVar(&l.InFlight, "in-flight", 200, "tasks at once")
	flag.StringVar(&l.Command, "command", "true", "what a task runs")
	flag.BoolVar(&l.JSON, "json", false, "speak JSON")
	pid := flag.Int("pid", 0, "process whose memory is watched")
	flag.Parse()
	l.PerOffer = l.InFlight
	if err := run(l, *pid); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(l *fleet.Load, pid int) error {
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
			rss, load = max(rss, resident(pid)), max(load, loadAverage())
			select {
			case <-stop:
				done <- [2]float64{rss, load}
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	begun := time.Now()
	err := l.Run(ctx, func(int64) {})
	took := time.Since(begun)
	close(stop)
	peak := <-done
	if err != nil {
		return err
	}
	slices.Sort(truths)
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"tasks": l.Tasks, "in_flight": l.InFlight, "seconds": took.Seconds(), "per_second": float64(l.Tasks) / took.Seconds(),
		"not_finished": l.Bad.Load(), "peak_rss_mib": peak[0], "peak_load_average": peak[1],
		"true_p99_ms": float64(truths[len(truths)*99/100].Microseconds()) / 1000,
	})
}

func resident(pid int) float64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	pages, _ := strconv.ParseFloat(f[1], 64) // the kernel's own number
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	v, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64) // likewise
	return v
}
