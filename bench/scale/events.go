package main

import (
	"bufio"
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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	genmaster "github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/fleet"
)

// lag measures how late events come to subscribers of the operator's stream, while tasks come and go at a fixed rate: from the
// time that the agent wrote on a task's status to the end of the record at the subscriber. The scheduler's own p50 and p99 from
// launch to TASK_RUNNING are beside it, without subscribers and with them.
func lag(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("events", flag.ExitOnError)
	n := f.Int("agents", 1000, "agents")
	rate := f.Float64("rate", 1000, "launches a second")
	stay := f.Duration("run-time", time.Second, "how long a task runs")
	clients := f.Int("subscribers", 100, "subscribers")
	window := f.Duration("window", 20*time.Second, "how long each half takes")
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
	total := int(*rate * (*stay + 4**window).Seconds())
	l := &fleet.Load{Masters: []string{m.addr}, Tasks: total, InFlight: total, PerOffer: 10, Rate: *rate, Connections: connections}
	stop := launching(ctx, l)
	time.Sleep(*stay + 5*time.Second)

	half := func() (p50, p99, percent float64) {
		cpu, after := m.cpu(), time.Since(l.Began())
		select {
		case <-ctx.Done():
		case <-time.After(*window):
		}
		t := l.Latency(after)
		return ms(t.P50), ms(t.P99), 100 * (m.cpu() - cpu).Seconds() / window.Seconds()
	}
	p50, p99, percent := half()
	self, err := os.Executable()
	if err != nil {
		return errors.Join(err, stop())
	}
	c := exec.CommandContext(ctx, self, "subscribe", "--master", m.addr, fmt.Sprintf("--subscribers=%d", *clients), fmt.Sprintf("--for=%v", *window))
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return errors.Join(err, stop())
	}
	with50, with99, withPercent := half()
	var heard hearing
	err = json.NewDecoder(out).Decode(&heard)
	return errors.Join(err, c.Wait(), ctx.Err(), stop(), show(fmt.Sprintf("%d subscribers beside %.0f launches/s", *clients, *rate), map[string]any{
		"updates_a_second": heard.Events / (*window - settle).Seconds(), "lag_p50_ms": heard.P50, "lag_p99_ms": heard.P99, "lag_max_ms": heard.Max,
		"p50_ms_without": p50, "p50_ms_with": with50, "p99_ms_without": p99, "p99_ms_with": with99,
		"master_percent_without": percent, "master_percent_with": withPercent, "cut_off": heard.Cut,
	}))
}

// settle is how long the subscribers have for their snapshots: what comes later than that is counted.
const settle = 6 * time.Second

// hearing is what the subscribers tell: how many TASK_UPDATED the one that looks heard, how late, in milliseconds, and how many of
// them lost their stream.
type hearing struct {
	Events float64 `json:"events"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
	Cut    int     `json:"cut"`
}

// subscribe is the process of the subscribers. One of them looks into each record; the others only read, since their work would take
// the processors from the master, which elsewhere it does not.
func subscribe(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("subscribe", flag.ExitOnError)
	addr := f.String("master", "", "HOST:PORT")
	clients := f.Int("subscribers", 100, "subscribers")
	span := f.Duration("for", 20*time.Second, "how long they listen")
	_ = f.Parse(args) // it exits
	ctx, stop := context.WithTimeout(ctx, *span)
	defer stop()
	var mu sync.Mutex
	var all sync.WaitGroup
	var late []float64
	var h hearing
	var failed error
	for i := range *clients {
		all.Go(func() {
			mine, err := listen(ctx, *addr, i == 0)
			mu.Lock()
			defer mu.Unlock()
			late = append(late, mine...)
			if err != nil {
				failed = err
				h.Cut++
			}
		})
	}
	all.Wait()
	if len(late) == 0 {
		return errors.Join(errors.New("no event was heard"), failed)
	}
	slices.Sort(late)
	h.Events, h.P50, h.P99, h.Max = float64(len(late)), late[len(late)/2], late[len(late)*99/100], late[len(late)-1]
	return json.NewEncoder(os.Stdout).Encode(h)
}

// listen reads until the context ends, and gives an error when the stream did before; one that looks gives how late each
// TASK_UPDATED came.
func listen(ctx context.Context, addr string, looks bool) ([]float64, error) {
	counts := time.Now().Add(settle)
	body, err := proto.Marshal(&genmaster.Call{Type: genmaster.Call_SUBSCRIBE.Enum()})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/api/v1", strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Accept", "application/x-protobuf")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	if !looks {
		if _, err = io.Copy(io.Discard, resp.Body); ctx.Err() != nil {
			return nil, nil
		}
		return nil, errors.Join(errors.New("the stream has ended"), err)
	}
	in := bufio.NewReader(resp.Body)
	var late []float64
	for {
		record, err := readRecord(in)
		switch {
		case ctx.Err() != nil:
			return late, nil
		case err != nil:
			return late, err
		}
		now := time.Now()
		var e genmaster.Event
		if err := proto.Unmarshal(record, &e); err != nil {
			return late, err
		}
		if e.GetType() == genmaster.Event_TASK_UPDATED && now.After(counts) {
			late = append(late, float64(now.UnixNano())/1e6-1000*e.GetTaskUpdated().GetStatus().GetTimestamp())
		}
	}
}

func readRecord(in *bufio.Reader) ([]byte, error) {
	head, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(head))
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return b, err
}
