package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/mesos/resource"
)

// master is a process of bin/pando.
type master struct {
	addr, dir string
	args, env []string
	cmd       *exec.Cmd
}

// newMaster starts one on a directory of its own, and waits until it listens.
func newMaster(ctx context.Context, dir string, env []string, args ...string) (*master, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	m := &master{addr: addr, dir: dir, env: env, args: append([]string{"master", "--data-dir", dir, "--master-port", port}, args...)}
	return m, m.start(ctx)
}

func (m *master) start(ctx context.Context) error {
	m.cmd = exec.Command("bin/pando", m.args...)
	m.cmd.Env = append(os.Environ(), m.env...)
	m.cmd.Stderr = os.Stderr
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("%w; build it with tools/build", err)
	}
	return within(ctx, 20*time.Second, "the master to listen", func() bool {
		c, err := net.Dial("tcp", m.addr)
		return err == nil && c.Close() == nil
	})
}

func (m *master) pid() int           { return m.cmd.Process.Pid }
func (m *master) cpu() time.Duration { return host.CPUTime(m.pid()) }
func (m *master) kib() float64       { return float64(host.Resident(m.pid())) / 1024 }
func (m *master) signal(s os.Signal) { _ = m.cmd.Process.Signal(s) } // one that ended shows in what follows
func (m *master) get(path string) (string, error) {
	resp, err := http.Get("http://" + m.addr + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(b), err
}

// peakMiB is the most memory that the process has had.
func (m *master) peakMiB() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kb float64
	_, _ = fmt.Sscan(rest, &kb) // 0 where it is not told
	return kb / 1024
}

// kill ends it without a goodbye.
func (m *master) kill() {
	m.signal(syscall.SIGCONT)
	m.signal(os.Kill)
	_ = m.cmd.Wait() // it was killed
}

// stop lets it end, with its directory.
func (m *master) stop() {
	m.signal(syscall.SIGTERM)
	gone := time.AfterFunc(5*time.Second, func() { m.signal(os.Kill) })
	_ = m.cmd.Wait() // how it ended does not matter any more
	gone.Stop()
	_ = os.RemoveAll(m.dir) // a temporary directory
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// within waits until something is so.
func within(ctx context.Context, d time.Duration, what string, so func() bool) error {
	for begun := time.Now(); !so(); {
		if time.Since(begun) > d {
			return fmt.Errorf("waited %v for %s", d, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// agents starts a fleet, and waits until it is registered. leave ends it.
func agents(ctx context.Context, n int, run fleet.Span, masters ...string) (f *fleet.Fleet, leave func(), err error) {
	has, err := resource.Parse("cpus:8;mem:16384;disk:100000;ports:[31000-32000]", "*")
	if err != nil {
		return nil, nil, err
	}
	f, err = fleet.New(fleet.Config{
		Masters: masters, Agents: n, Resources: has, Tasks: fleet.Tasks{Run: run}, Seed: 1, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer func() { done <- struct{}{} }()
		_ = f.Run(ctx) // what is missing then is seen
	}()
	return f, func() { cancel(); <-done }, within(ctx, 5*time.Minute, "the agents to register", func() bool { return f.Counts().Registered == int64(n) })
}

// launching is a load that runs until stop, which gives its error.
func launching(ctx context.Context, l *fleet.Load) (stop func() error) {
	l.Prepare()
	ctx, cancel := context.WithCancel(ctx)
	var over atomic.Bool
	end := make(chan error, 1)
	go func() {
		err := l.Run(ctx)
		if over.Load() {
			err = nil // it was told to end
		}
		end <- err
	}()
	return func() error {
		over.Store(true)
		cancel()
		return <-end
	}
}

// simulate runs pando simulate with a master of its own, and reads its report.
func simulate(ctx context.Context, args ...string) (*report, error) {
	c := exec.CommandContext(ctx, "bin/pando", append([]string{"simulate", "-o", "json"}, args...)...)
	c.Stderr = os.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("pando simulate %s: %w", strings.Join(args, " "), err)
	}
	r := &report{}
	return r, json.Unmarshal(out, r)
}

// report is what is used here of what pando simulate prints.
type report struct {
	Ran            int64       `json:"ran"`
	Seconds        float64     `json:"seconds"`
	PerSecond      float64     `json:"tasks_per_second"`
	FirstPerSecond float64     `json:"first_tenth_per_second"`
	LastPerSecond  float64     `json:"last_tenth_per_second"`
	MasterCPUTask  float64     `json:"master_cpu_us_per_task"`
	SelfCPUTask    float64     `json:"simulator_cpu_us_per_task"`
	RegisterCPU    float64     `json:"register_master_cpu_us_per_agent"`
	RegisterSecs   float64     `json:"register_seconds"`
	IdleCPU        float64     `json:"master_idle_cpu_percent"`
	KiBPerAgent    float64     `json:"master_kib_per_agent"`
	P50            float64     `json:"running_after_p50_ms"`
	P99            float64     `json:"running_after_p99_ms"`
	Calls          fleet.Calls `json:"calls"`
}

// scratch is a directory for one run.
func scratch() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "pando-scale-")
	return dir, func() { _ = os.RemoveAll(dir) }, err // a temporary directory
}

// etcd starts one on a directory.
func etcd(ctx context.Context, dir string) (addr string, stop func(), err error) {
	addr, err = freeAddr()
	if err != nil {
		return "", nil, err
	}
	peers, err := freeAddr()
	if err != nil {
		return "", nil, err
	}
	c := exec.Command("etcd", "--log-level", "error", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", "http://"+addr, "--advertise-client-urls", "http://"+addr,
		"--listen-peer-urls", "http://"+peers, "--initial-advertise-peer-urls", "http://"+peers, "--initial-cluster", "default=http://"+peers)
	if err := c.Start(); err != nil {
		return "", nil, fmt.Errorf("%w; Debian has it as etcd-server", err)
	}
	stop = func() {
		_ = c.Process.Kill() // it may have ended
		_ = c.Wait()         // it was killed
	}
	err = within(ctx, 20*time.Second, "etcd to listen", func() bool {
		conn, err := net.Dial("tcp", addr)
		return err == nil && conn.Close() == nil
	})
	if err != nil {
		stop()
	}
	return addr, stop, err
}
