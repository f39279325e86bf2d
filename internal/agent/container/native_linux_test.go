package container_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/containertest"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/host/cgroup"
)

func TestMain(m *testing.M) { containertest.Main(m) }

// cage is a runtime directory with cgroups of its own; open may be called again after Close, as a restarted agent would.
type cage struct {
	tb     testing.TB
	dir    string
	parent *cgroup.Parent
	n      int
	mu     sync.Mutex
}

func newCage(tb testing.TB) *cage {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("SKIP-HOST: needs root to make cgroups and change users")
	}
	c := &cage{tb: tb, dir: filepath.Join(tb.TempDir(), "run")}
	sys, err := cgroup.Detect()
	if err != nil {
		tb.Fatal(err)
	}
	c.parent = sys.Prepare(container.CgroupName(c.dir))
	if len(c.parent.Dirs()) == 0 {
		tb.Skip("SKIP-HOST: no cgroup controller can be used here")
	}
	tb.Cleanup(func() {
		c.endShims()
		// A launch that was given up may still have been under way to its shim, on a slow machine.
		for end := time.Now().Add(10 * time.Second); len(c.parent.Names()) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				tb.Errorf("cgroups are left: %v", c.parent.Names())
				break
			}
		}
		if err := c.parent.Remove(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// endShims ends the shims of this cage, which by now have nothing to supervise.
func (c *cage) endShims() {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		pids := container.ShimPIDs(c.dir)
		if len(pids) == 0 || time.Now().After(end) {
			return
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
			syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

func (c *cage) open(edit ...func(*container.Config)) *container.Native {
	c.tb.Helper()
	cfg := container.Config{Dir: c.dir, Launcher: containertest.Launcher(c.tb), Cgroup: c.parent, Log: slog.New(slog.DiscardHandler)}
	for _, e := range edit {
		e(&cfg)
	}
	n, err := container.Open(cfg)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(func() { n.Close() })
	return n
}

func (c *cage) spec(args ...string) container.Spec {
	c.tb.Helper()
	c.mu.Lock()
	c.n++
	id := "c" + strconv.Itoa(c.n)
	c.mu.Unlock()
	sandbox := filepath.Join(filepath.Dir(c.dir), "sandbox", id)
	if err := os.MkdirAll(sandbox, 0o755); err != nil {
		c.tb.Fatal(err)
	}
	return container.Spec{ID: id, Sandbox: sandbox, Path: args[0], Args: args, Env: []string{"PATH=/usr/bin:/bin"}, CPUs: 100, Mem: 64000}
}

func await(tb testing.TB, r container.Runtime) container.Exit {
	tb.Helper()
	select {
	case e, ok := <-r.Exits():
		if !ok {
			tb.Fatal("the exits were closed")
		}
		return e
	case <-time.After(20 * time.Second):
		tb.Fatal("no exit came")
	}
	panic("unreachable")
}

func BenchmarkStartToClean(b *testing.B) { startToClean(b, nil) }

// BenchmarkStartToCleanOfAnImage has layers, and namespaces of processes, mounts and shared memory, as peers have them in
// BenchmarkPeers.
func BenchmarkStartToCleanOfAnImage(b *testing.B) {
	startToClean(b, func(s *container.Spec) {
		rooted(b, s)
		caps := standard.Capabilities()
		s.Effective = &caps
	})
}

// BenchmarkPeers runs the same container by other runtimes' commands.
func BenchmarkPeers(b *testing.B) {
	for _, name := range []string{"crun", "runc", "ctr"} {
		b.Run(name, func(b *testing.B) {
			if _, err := exec.LookPath(name); err != nil {
				b.Skip(err)
			}
			c := newCage(b)
			s := c.spec("/bin/true")
			rooted(b, &s)
			caps := standard.Capabilities()
			s.Effective, s.Hostname = &caps, "peer"
			bundle := b.TempDir()
			config := filepath.Join(bundle, "config.json")
			if err := os.WriteFile(config, runcSpec(b, &s, []string{"/bin/true"}), 0o600); err != nil {
				b.Fatal(err)
			}
			args := []string{"--root", filepath.Join(bundle, "state"), "run", "--bundle", bundle}
			if name == "ctr" {
				args = []string{"--address", containerd(b), "run", "--rm", "--config", config}
			}
			before := cpuTime()
			b.ResetTimer()
			for i := range b.N {
				run := exec.CommandContext(b.Context(), name, append(args, fmt.Sprintf("peer-%d-%d", os.Getpid(), i))...)
				if out, err := run.CombinedOutput(); err != nil {
					b.Skipf("%s: %v\n%s", name, err, out)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
		})
	}
}

// containerd starts one for ctr, with files of its own, and gives its socket.
func containerd(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	config, socket := filepath.Join(dir, "config.toml"), filepath.Join(dir, "socket")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	daemon := exec.Command("containerd", "--config", config)
	if err := daemon.Start(); err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() {
		daemon.Process.Signal(syscall.SIGTERM)
		daemon.Wait()
	})
	for end := time.Now().Add(10 * time.Second); exec.CommandContext(b.Context(), "ctr", "--address", socket, "version").Run() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			b.Skip("containerd does not answer")
		}
	}
	return socket
}

func startToClean(b *testing.B, edit func(*container.Spec)) {
	b.Helper()
	for _, par := range []int{1, 2, 4} {
		b.Run(strconv.Itoa(par)+" at once", func(b *testing.B) {
			c := newCage(b)
			n := c.open()
			if _, err := n.Recover(context.Background()); err != nil {
				b.Fatal(err)
			}
			specs := make([]container.Spec, b.N)
			for i := range specs {
				specs[i] = c.spec("/bin/true")
				if edit != nil {
					edit(&specs[i])
				}
			}
			before := cpuTime()
			b.ResetTimer()
			work := make(chan container.Spec)
			var wg sync.WaitGroup
			ended := map[string]chan struct{}{}
			for _, s := range specs {
				ended[s.ID] = make(chan struct{})
			}
			go func() {
				for e := range n.Exits() {
					n.Forget(e.ID)
					close(ended[e.ID])
				}
			}()
			for range par {
				wg.Go(func() {
					for s := range work {
						if _, err := n.Launch(context.Background(), s); err != nil {
							b.Error(err)
							return
						}
						<-ended[s.ID]
					}
				})
			}
			for _, s := range specs {
				work <- s
			}
			close(work)
			wg.Wait()
			b.StopTimer()
			quit(b, n)
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
		})
	}
}

// cpuTime is the cpu time of this process and its reaped children, which after quit are the shims with all they reaped.
func cpuTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var ru syscall.Rusage
		syscall.Getrusage(who, &ru)
		sum += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	return sum
}

func quit(tb testing.TB, n *container.Native) {
	tb.Helper()
	n.QuitShims(tb)
}

// parent is the process above another: of a container's, its shim.
func parent(t *testing.T, pid uint32) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(pid)) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[1]
}

func TestWhatIsToBeAloneSharesItsShimWithNobody(t *testing.T) {
	c := newCage(t)
	n := c.open()
	if _, err := n.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ids []string
	defer func() {
		for _, id := range ids {
			n.Kill(id, 0)
		}
		for range ids {
			await(t, n)
		}
	}()
	shim := func(alone bool) (string, string) {
		s := c.spec("sleep", "1000")
		s.Alone = alone
		st, err := n.Launch(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
		return parent(t, st.PID), s.ID
	}
	one, _ := shim(false)
	alone, id := shim(true)
	other, _ := shim(true)
	two, _ := shim(false)
	if one != two || alone == one || other == one || alone == other {
		t.Errorf("the shims are %s and %s of plain ones, %s and %s of those alone", one, two, alone, other)
	}
	n.Close()
	n = c.open()
	if _, err := n.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Resize(id, container.Limits{CPUs: 100, Mem: 64000}); err != nil && container.KindOf(err) != container.KindCgroup {
		t.Fatal(err)
	}
	for range 20 { // more than one shim takes
		if s, _ := shim(false); s == alone {
			t.Fatal("after a restart it shares")
		}
	}
}

func TestNativeKeepsTheContractOfContainers(t *testing.T) {
	containertest.Suite(t, func(t *testing.T) containertest.Rig {
		t.Helper()
		c := newCage(t)
		return containertest.Rig{
			Open: func() container.Runtime { return c.open() },
			Sandbox: func(id string) string {
				d := filepath.Join(filepath.Dir(c.dir), "sandbox", id)
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
				return d
			},
		}
	})
}
