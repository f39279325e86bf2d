package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pando-os/pando/internal/fleet"
)

// readers compares the time from launch to TASK_RUNNING with and without clients that read /state all the while, by turns
// in one run. The launches come at a fixed rate, and as many tasks run at a time as rate and run time make.
func readers(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("readers", flag.ExitOnError)
	n := f.Int("agents", 1000, "agents")
	rate := f.Float64("rate", 1000, "launches a second")
	stay := f.Duration("run-time", 10*time.Second, "how long a task runs")
	clients := f.Int("readers", 20, "clients that read /state")
	every := f.Duration("every", 5*time.Second, "how often each does")
	window := f.Duration("window", 20*time.Second, "one turn")
	turns := f.Int("turns", 5, "of each kind")
	plain := f.Bool("plain", false, "the readers do not ask for gzip")
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
	_, leave, err := agents(ctx, *n, fleet.Span{Min: *stay, Max: *stay}, m.addr)
	if err != nil {
		return err
	}
	defer leave()
	total := int(*rate * (*stay + time.Duration(2**turns+4)**window).Seconds())
	l := &fleet.Load{Masters: []string{m.addr}, Tasks: total, InFlight: total, PerOffer: 10, Rate: *rate, Connections: connections}
	stop := launching(ctx, l)
	time.Sleep(*stay + 5*time.Second)

	var p50s, p99s, cpus [2][]float64
	var reads []float64
	size := 0
	for range *turns {
		for with := range 2 {
			cpu, after := m.cpu(), time.Since(l.Began())
			turn, end := context.WithTimeout(ctx, *window)
			if with == 1 {
				r, err := read(turn, "--master", m.addr, fmt.Sprintf("--readers=%d", *clients), fmt.Sprintf("--every=%v", *every), fmt.Sprintf("--plain=%v", *plain))
				if err != nil {
					end()
					return errors.Join(err, stop())
				}
				reads, size = append(reads, r.Took...), r.Bytes
			}
			<-turn.Done()
			end()
			t := l.Latency(after)
			p50s[with], p99s[with] = append(p50s[with], ms(t.P50)), append(p99s[with], ms(t.P99))
			cpus[with] = append(cpus[with], 100*(m.cpu()-cpu).Seconds()/window.Seconds())
		}
	}
	slices.Sort(reads)
	return errors.Join(ctx.Err(), stop(), show(fmt.Sprintf("%d readers beside %.0f launches/s", *clients, *rate), map[string]any{
		"p50_ms_without": median(p50s[0]), "p50_ms_with": median(p50s[1]), "p99_ms_without": median(p99s[0]), "p99_ms_with": median(p99s[1]),
		"all_p99_without": p99s[0], "all_p99_with": p99s[1], "master_percent_without": median(cpus[0]), "master_percent_with": median(cpus[1]),
		"state_bytes": size, "reads": len(reads), "read_p50_ms": median(reads), "read_p99_ms": reads[len(reads)*99/100],
	}))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// reading is what the readers of one turn tell: how long each read took, in milliseconds, and the bytes of the last.
type reading struct {
	Took  []float64 `json:"took_ms"`
	Bytes int       `json:"bytes"`
}

// read lets clients read /state until the context ends. They are a process of their own: they would slow the scheduler
// that is measured, not the master.
func read(ctx context.Context, args ...string) (*reading, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, append([]string{"read"}, args...)...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, c.Process.Pid, 19) // readers elsewhere would not take these processors
	r := &reading{}
	err = json.NewDecoder(out).Decode(r)
	_ = c.Wait() // it was told to end
	return r, err
}

// readState is that process.
func readState(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("read", flag.ExitOnError)
	addr := f.String("master", "", "HOST:PORT")
	clients := f.Int("readers", 20, "clients")
	every := f.Duration("every", 5*time.Second, "how often each reads, beginning at another moment")
	plain := f.Bool("plain", false, "do not ask for gzip")
	_ = f.Parse(args) // it exits
	client := &http.Client{Transport: &http.Transport{DisableCompression: *plain, MaxIdleConnsPerHost: *clients}}
	var mu sync.Mutex
	var all sync.WaitGroup
	var r reading
	var err error
	for i := range *clients {
		all.Go(func() {
			wait := time.NewTimer(*every * time.Duration(i) / time.Duration(*clients))
			for {
				select {
				case <-ctx.Done():
					return
				case <-wait.C:
				}
				wait.Reset(*every)
				begun := time.Now()
				n, e := readOnce(client, *addr)
				mu.Lock()
				if e != nil {
					err = e
				}
				r.Took, r.Bytes = append(r.Took, ms(time.Since(begun))), n
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func readOnce(client *http.Client, addr string) (int, error) {
	resp, err := client.Get("http://" + addr + "/state")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return int(n), err
}
