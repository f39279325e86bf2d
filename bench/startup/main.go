// Command startup measures from the exec of pando up on a fresh directory to the OFFERS event at a scheduler that has been
// trying since, and what the node's processes take when it idles.
//
//	go run ./bench/startup --pando bin/pando --runs 5 --idle 30s
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/host"
)

func main() {
	pando := flag.String("pando", "bin/pando", "the binary")
	runs := flag.Int("runs", 5, "starts")
	idle := flag.Duration("idle", 30*time.Second, "how long to wait before the memory is read, on the last run")
	flag.Parse()
	var times []float64
	var rss, cpu float64
	for i := range *runs {
		wait := time.Duration(0)
		if i == *runs-1 {
			wait = *idle
		}
		t, r, c, err := once(*pando, wait)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		times, rss, cpu = append(times, t.Seconds()), r, c
	}
	slices.Sort(times)
	st, err := os.Stat(*pando)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	b, _ := json.Marshal(map[string]any{ // numbers alone; it cannot fail
		"first_offer_s_median": times[len(times)/2], "first_offer_s_max": times[len(times)-1],
		"idle_rss_mib": rss, "idle_cpu_percent": cpu, "binary_mb": float64(st.Size()) / 1e6,
	})
	fmt.Println(string(b))
}

func once(pando string, idle time.Duration) (first time.Duration, rss, cpu float64, err error) {
	dir, err := os.MkdirTemp("", "pando-startup-")
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is a temporary one
	const master = "127.0.0.1:6250"
	var words bytes.Buffer
	c := exec.Command(pando, "up", "--data-dir", dir, "--master-port", "6250", "--agent-port", "6251")
	c.Stderr = &words
	begun := time.Now()
	if err := c.Start(); err != nil {
		return 0, 0, 0, err
	}
	defer func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		if werr := c.Wait(); err != nil && werr != nil {
			err = fmt.Errorf("%w; pando says: %s", err, words.String())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for first == 0 {
		first, err = offer(ctx, master, begun)
		if ctx.Err() != nil {
			return 0, 0, 0, err
		}
	}
	if idle == 0 {
		return first, 0, 0, nil
	}
	time.Sleep(idle)
	before := host.CPUTime(c.Process.Pid)
	time.Sleep(10 * time.Second)
	cpu = 100 * (host.CPUTime(c.Process.Pid) - before).Seconds() / 10
	for _, pid := range family(c.Process.Pid, dir) {
		rss += float64(host.Resident(pid)) / (1 << 20)
	}
	return first, rss, cpu, nil
}

var errOffer = errors.New("an offer came")

// offer subscribes once and waits for an offer.
func offer(ctx context.Context, master string, begun time.Time) (time.Duration, error) {
	user, name := "root", "startup"
	s, err := client.NewScheduler(client.SchedulerOptions{
		Masters: []string{master}, Framework: &mesosv1.FrameworkInfo{User: &user, Name: &name},
	})
	if err != nil {
		return 0, err
	}
	for { // the client's own patience is longer than what is measured
		c, err := net.Dial("tcp", master)
		if err == nil {
			_ = c.Close() // it was only to see whether somebody listens
			break
		}
		if ctx.Err() != nil {
			return 0, err
		}
		time.Sleep(time.Millisecond)
	}
	var at time.Duration
	err = s.Run(ctx, func(e *scheduler.Event) error {
		if e.GetType() == scheduler.Event_OFFERS {
			at = time.Since(begun)
			return errOffer
		}
		return nil
	})
	if errors.Is(err, errOffer) {
		err = nil
	}
	return at, err
}

// family is a node's processes: its own and the launchers of its data directory.
func family(pid int, dir string) []int {
	out := []int{pid}
	links, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is right
	for _, l := range links {
		if exe, err := os.Readlink(l); err == nil && strings.HasPrefix(exe, dir) {
			if n, err := strconv.Atoi(strings.Split(l, "/")[2]); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}
