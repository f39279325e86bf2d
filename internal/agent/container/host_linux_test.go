package container_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/containertest"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// started is a cage with an open runtime.
func started(t *testing.T, edit ...func(*container.Config)) (*cage, *container.Native) {
	t.Helper()
	c := newCage(t)
	n := c.open(edit...)
	if _, err := n.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, n
}

func launch(t *testing.T, n *container.Native, s container.Spec) container.Started {
	t.Helper()
	st, err := n.Launch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// output runs a shell script to its end and gives what it printed.
func output(t *testing.T, c *cage, n *container.Native, script string, edit func(*container.Spec)) string {
	t.Helper()
	s := c.spec("sh", "-c", script)
	if edit != nil {
		edit(&s)
	}
	launch(t, n, s)
	e := await(t, n)
	n.Forget(s.ID)
	if e.WaitStatus != 0 {
		t.Errorf("%s: wait status %#x, stderr %q", script, e.WaitStatus, read(t, s.Sandbox, "stderr"))
	}
	return read(t, s.Sandbox, "stdout")
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestATaskThatOverrunsItsMemorySaysSo(t *testing.T) {
	c, n := started(t)
	s := c.spec("tail", "/dev/zero")
	s.Mem = 32000
	launch(t, n, s)
	e := await(t, n)
	if !e.OOM || e.MemLimit != cgroup.Bytes(32000) || e.WaitStatus != uint32(syscall.SIGKILL) || !e.Known {
		t.Errorf("exit %+v", e)
	}
}

func TestAContainerThatIsGivenMoreMayUseItAndIsHeldToThat(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; tail /dev/zero")
	s.Mem = 32000
	launch(t, n, s)
	if err := n.Resize(s.ID, container.Limits{CPUs: 500, Mem: 96000}); err != nil {
		t.Fatal(err)
	}
	if err := n.Resize(s.ID, container.Limits{CPUs: 1000, Mem: 40000}); err != nil { // it is not taken away again
		t.Fatal(err)
	}
	st, err := n.Stats(s.ID)
	if err != nil || int64(st.MemLimit) > cgroup.Bytes(96000) || int64(st.MemLimit) < cgroup.Bytes(95000) || st.CPUsSoftLimit < 0.9 {
		t.Errorf("it may use %d bytes and %v cpus (%v)", st.MemLimit, st.CPUsSoftLimit, err)
	}
	if err := os.WriteFile(filepath.Join(s.Sandbox, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := await(t, n); !e.OOM || e.MemLimit != cgroup.Bytes(96000) {
		t.Errorf("exit %+v", e)
	}
}

func TestATaskWhoseChildOverrunsItsMemoryEndsAsAWhole(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", "tail /dev/zero; sleep 1000")
	s.Mem = 32000
	launch(t, n, s)
	if e := await(t, n); !e.OOM || e.WaitStatus != uint32(syscall.SIGKILL) || e.Killed || e.TimedOut {
		t.Errorf("exit %+v", e)
	}
}

func TestATaskThatForksWithoutEndCanBeKilled(t *testing.T) {
	c, n := started(t, func(cfg *container.Config) { cfg.PIDs = 40 })
	s := c.spec("sh", "-c", "trap '' TERM; while :; do (trap '' TERM; while :; do sleep 0.01 & done) & done")
	launch(t, n, s)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if st, err := n.Stats(s.ID); err == nil && st.Processes >= 20 {
			break
		}
	}
	n.Kill(s.ID, 10*time.Millisecond)
	await(t, n)
}

func TestACommandBesideATaskLeavesNoProcess(t *testing.T) {
	c, n := started(t)
	s := c.spec("sleep", "1000")
	launch(t, n, s)
	if code, err := n.Run(t.Context(), s.ID, container.Command{Args: []string{"sh", "-c", "sleep 1000 & echo $! >left"}}); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, s.Sandbox, "left")))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); host.Running(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is left", pid)
		}
	}
	n.Kill(s.ID, 0)
	await(t, n)
}

func TestLaunchesGivenUpLeaveNothing(t *testing.T) {
	c, n := started(t)
	var wg sync.WaitGroup
	for i := range 40 {
		s := c.spec("sleep", "1000")
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*400*time.Microsecond)
			defer cancel()
			if _, err := n.Launch(ctx, s); err == nil {
				n.Kill(s.ID, 0)
			}
		})
	}
	wg.Wait()
	// One that was given up may still be on its way to a shim, so that nothing is there must last.
	quiet := time.Now()
	for end := time.Now().Add(20 * time.Second); time.Since(quiet) < time.Second; time.Sleep(5 * time.Millisecond) {
		if len(c.parent.Names()) > 0 {
			quiet = time.Now()
		}
		if time.Now().After(end) {
			t.Fatalf("containers are left: %v", c.parent.Names())
		}
	}
}

func TestABrokenConnectionToAShimLosesNothing(t *testing.T) {
	c, n := started(t)
	stays, ends := c.spec("sleep", "1000"), c.spec("sh", "-c", "read x < go; exit 4")
	if err := syscall.Mkfifo(filepath.Join(ends.Sandbox, "go"), 0o600); err != nil {
		t.Fatal(err)
	}
	launch(t, n, stays)
	launch(t, n, ends)
	n.BreakLinks()
	if err := os.WriteFile(filepath.Join(ends.Sandbox, "go"), []byte("x\n"), 0); err != nil {
		t.Fatal(err)
	}
	n.BreakLinks()
	if e := await(t, n); e.ID != ends.ID || e.WaitStatus != 4<<8 || !e.Known {
		t.Errorf("exit %+v", e)
	}
	n.BreakLinks()
	n.Kill(stays.ID, 0) // lost or not, it is repeated
	if e := await(t, n); e.ID != stays.ID || e.WaitStatus != uint32(syscall.SIGKILL) || e.ShimDied {
		t.Errorf("exit %+v", e)
	}
}

func TestATaskThatEndsLeavesNoProcess(t *testing.T) {
	c, n := started(t)
	for _, script := range []string{
		"setsid sleep 1000 & echo $!",
		"(setsid sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' &) ; sleep 0.1",
	} {
		pid, err := strconv.Atoi(strings.TrimSpace(output(t, c, n, script, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if host.Running(pid) {
			t.Errorf("%s: process %d is left", script, pid)
		}
	}
}

func TestWithoutCgroupsATaskLeavesNoProcessOfItsSession(t *testing.T) {
	c, n := started(t, func(cfg *container.Config) { cfg.Cgroup = nil })
	pid, err := strconv.Atoi(strings.TrimSpace(output(t, c, n, "sleep 1000 & echo $!", nil)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); host.Running(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is left", pid)
		}
	}
	if _, err := n.Stats("c1"); container.KindOf(err) != container.KindGone {
		t.Error(err)
	}
}

func TestAProcessThatEscapedDoesNotHoldUpTheExit(t *testing.T) {
	c, n := started(t)
	// As root it can leave the cgroup; it keeps the output open.
	script := "sleep 1000 & echo $!; for d in " + strings.Join(c.parent.Dirs(), " ") + "; do echo $! > $d/../../cgroup.procs; done"
	s := c.spec("sh", "-c", script)
	launch(t, n, s)
	e := await(t, n)
	if e.WaitStatus != 0 {
		t.Errorf("exit %+v, stderr %q", e, read(t, s.Sandbox, "stderr"))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, s.Sandbox, "stdout")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("it did not escape: %v", err)
	}
}

func TestAKillReachesTheWholeSession(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", "sleep 1000; true")
	launch(t, n, s)
	n.Kill(s.ID, time.Minute)
	if e := await(t, n); e.WaitStatus != uint32(syscall.SIGTERM) {
		t.Errorf("exit %+v", e)
	}
}

func TestOutputIsCompleteAndRotatedAtLines(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", "seq 1 5000; echo no newline at the end | tr -d '\\n'")
	s.Stdout = container.Log{Bytes: 8000, Files: 2}
	launch(t, n, s)
	await(t, n)
	var all strings.Builder
	for _, name := range []string{"stdout.2", "stdout.1", "stdout"} {
		part := read(t, s.Sandbox, name)
		if len(part) > 8000 {
			t.Errorf("%s has %d bytes", name, len(part))
		}
		if name != "stdout" && !strings.HasSuffix(part, "\n") {
			t.Errorf("%s ends within a line", name)
		}
		all.WriteString(part)
	}
	if _, err := os.Stat(filepath.Join(s.Sandbox, "stdout.3")); err == nil {
		t.Error("more files are kept than were asked for")
	}
	var want strings.Builder
	for i := 1; i <= 5000; i++ {
		fmt.Fprintln(&want, i)
	}
	want.WriteString("no newline at the end")
	if !strings.HasSuffix(want.String(), all.String()) || all.Len() < 16000 {
		t.Errorf("the rotated files are not the end of the output; %d bytes", all.Len())
	}
}

func TestALinkInTheSandboxDoesNotLeadOutOfIt(t *testing.T) {
	c, n := started(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := c.spec("true")
	if err := os.Symlink(victim, filepath.Join(s.Sandbox, "stdout")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Launch(t.Context(), s); container.KindOf(err) != container.KindSandbox {
		t.Errorf("error %v", err)
	}
	// The same while it runs: what replaces stdout before a rotation is not followed.
	s = c.spec("sh", "-c", "seq 1 2000; rm -f stdout; ln -s "+victim+" stdout; sleep 0.1; seq 1 9000")
	s.Stdout = container.Log{Bytes: 20000, Files: 1}
	launch(t, n, s)
	await(t, n)
	if got := read(t, victim); got != "" {
		t.Errorf("%d bytes were written through a link", len(got))
	}
}

func TestATaskRunsAsItsUserAndNothingElse(t *testing.T) {
	c, n := started(t)
	u, err := host.LookupUser("nobody")
	if err != nil {
		t.Skip("SKIP-HOST: there is no user nobody")
	}
	asNobody := func(s *container.Spec) { s.User = "nobody" }
	got := output(t, c, n, "id -u; id -g; id -G; umask; pwd; env; echo through >/dev/stdout; ls /proc/self/fd | wc -l; grep ^Sig[IB] /proc/self/status", asNobody)
	groups := make([]string, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = strconv.Itoa(int(g))
	}
	sandbox := filepath.Join(filepath.Dir(c.dir), "sandbox", "c1")
	want := strings.Join([]string{
		strconv.Itoa(int(u.UID)), strconv.Itoa(int(u.GID)), strings.Join(groups, " "), "0022", sandbox, "PATH=/usr/bin:/bin", "PWD=" + sandbox,
		"through", "4", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000",
	}, "\n") + "\n"
	if d := cmp.Diff(sorted(want), sorted(got)); d != "" {
		t.Error(d)
	}
	st, err := os.Stat(filepath.Join(sandbox, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	if sys := st.Sys().(*syscall.Stat_t); sys.Uid != u.UID || sys.Gid != u.GID || st.Mode().Perm() != 0o644 {
		t.Errorf("stdout is %d:%d %v", sys.Uid, sys.Gid, st.Mode())
	}
}

// sorted makes the order of the environment not matter, and drops what the shell adds by itself.
func sorted(s string) map[string]int {
	m := map[string]int{}
	for l := range strings.SplitSeq(s, "\n") {
		if !strings.HasPrefix(l, "_=") && !strings.HasPrefix(l, "OLDPWD=") && !strings.HasPrefix(l, "SHLVL=") {
			m[l]++
		}
	}
	return m
}

func TestResourceLimitsAreSetOrRefused(t *testing.T) {
	c, n := started(t)
	got := output(t, c, n, "ulimit -n; ulimit -Hn", func(s *container.Spec) {
		s.Rlimits = []container.Rlimit{{Type: unix.RLIMIT_NOFILE, Soft: 100, Hard: 200}}
	})
	if got != "100\n200\n" {
		t.Errorf("limits %q", got)
	}
	s := c.spec("true")
	// More than fs.nr_open can be, which even a process with all capabilities is refused.
	s.Rlimits = []container.Rlimit{{Type: unix.RLIMIT_NOFILE, Soft: 10, Hard: 1 << 40}}
	if _, err := n.Launch(t.Context(), s); container.KindOf(err) != container.KindRlimit {
		t.Errorf("error %v", err)
	}
}

func TestCapabilitiesAreWhatTheSpecSays(t *testing.T) {
	c, n := started(t)
	const chown, kill, netBind = unix.CAP_CHOWN, unix.CAP_KILL, unix.CAP_NET_BIND_SERVICE
	mask := func(caps ...int) string {
		var m uint64
		for _, b := range caps {
			m |= 1 << b
		}
		return fmt.Sprintf("%016x", m)
	}
	list := func(caps ...int) *[]int { return &caps }
	for _, tt := range []struct {
		name      string
		user      string
		bounding  *[]int
		effective *[]int
		eff, bnd  string
	}{
		{"root within a bounding set", "", list(chown, kill), nil, mask(chown, kill), mask(chown, kill)},
		{"root with effective ones only", "root", nil, list(kill), mask(kill), mask(kill)},
		{"root with fewer than its bounding set", "root", list(chown, kill), list(kill), mask(kill), mask(chown, kill)},
		{"root with none", "root", nil, list(), mask(), mask()},
		{"a user with one", "nobody", nil, list(netBind), mask(netBind), mask(netBind)},
		{"a user has none by itself", "nobody", list(chown), nil, mask(), mask(chown)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := output(t, c, n, "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status", func(s *container.Spec) {
				s.User, s.Bounding, s.Effective, s.NoNewPrivs = tt.user, tt.bounding, tt.effective, true
			})
			want := "CapEff:\t" + tt.eff + "\nCapBnd:\t" + tt.bnd + "\nNoNewPrivs:\t1\n"
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTwoHundredQuickTasksLeaveNothing(t *testing.T) {
	c, n := started(t)
	const tasks = 200
	got := map[string]bool{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(got) < tasks {
			e, ok := <-n.Exits()
			if !ok {
				return
			}
			if got[e.ID] = true; e.WaitStatus != 0 || !e.Known {
				t.Errorf("exit %+v", e)
			}
			n.Forget(e.ID)
		}
	}()
	var wg sync.WaitGroup
	for range tasks {
		s := c.spec("true")
		wg.Go(func() {
			if _, err := n.Launch(context.Background(), s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("exits are missing")
	}
	if left := c.parent.Names(); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	n.QuitShims(t)
	left, err := filepath.Glob(filepath.Join(c.dir, "shim-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("directories are left: %v %v", left, err)
	}
}

func TestAContainerWhoseShimDiesEndsAndSaysSo(t *testing.T) {
	c, n := started(t)
	s := c.spec("sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1000")
	st := launch(t, n, s)
	var inner int
	for end := time.Now().Add(10 * time.Second); inner == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		inner, _ = strconv.Atoi(strings.TrimSpace(read(t, s.Sandbox, "stdout")))
	}
	// Only the one that supervises; the spare one lives on.
	parent, err := strconv.Atoi(strings.Fields(read(t, "/proc", strconv.Itoa(int(st.PID)), "stat"))[3])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(parent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e := await(t, n)
	if e.ID != s.ID || !e.ShimDied || e.Known && e.WaitStatus != uint32(syscall.SIGKILL) {
		t.Errorf("exit %+v", e)
	}
	for _, pid := range []int{int(st.PID), inner} {
		for end := time.Now().Add(5 * time.Second); host.Running(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %d is left", pid)
			}
		}
	}
	// The record survives the agent too.
	n.Close()
	n = c.open()
	states, err := n.Recover(t.Context())
	if err != nil || len(states) != 1 || states[0].Exit == nil || !states[0].Exit.ShimDied {
		t.Fatalf("recovered %+v, %v", states, err)
	}
	if err := n.Forget(s.ID); err != nil {
		t.Error(err)
	}
}

func TestAStoppedAgentLeavesOnlyShimsWithContainers(t *testing.T) {
	c, n := started(t)
	s := c.spec("sleep", "1000")
	launch(t, n, s)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); len(container.ShimPIDs(c.dir)) != 1; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the shims %v are left, and there is one container", container.ShimPIDs(c.dir))
		}
	}
	n = c.open()
	if states, err := n.Recover(t.Context()); err != nil || len(states) != 1 || states[0].Exit != nil {
		t.Fatalf("recovered %+v, %v", states, err)
	}
	if err := n.Kill(s.ID, 0); err != nil {
		t.Fatal(err)
	}
	if e := await(t, n); e.ID != s.ID {
		t.Errorf("exit %+v", e)
	}
	if err := n.Forget(s.ID); err != nil {
		t.Error(err)
	}
}

// TestClientThatIsKilled is not a test of its own: it is the agent that the next one kills.
func TestClientThatIsKilled(t *testing.T) {
	dir := os.Getenv("PANDO_TEST_CLIENT_DIR")
	if dir == "" {
		t.Skip("runs only as the child of another test")
	}
	sys, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	n, err := container.Open(container.Config{Dir: dir, Launcher: os.Getenv("PANDO_TEST_CLIENT_LAUNCHER"), Cgroup: sys.Prepare(container.CgroupName(dir))})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"sleep", "1000"}, {"sh", "-c", "read x < fifo; echo after; exit 5"}} {
		sandbox := filepath.Join(filepath.Dir(dir), args[0])
		st, err := n.Launch(t.Context(), container.Spec{ID: args[0], Sandbox: sandbox, Path: args[0], Args: args, Env: []string{"PATH=/usr/bin:/bin"}})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("started", args[0], st.PID, st.StartTicks)
	}
	select {}
}

func TestTasksOutliveAKilledAgentAndTellTheirEndToTheNext(t *testing.T) {
	c := newCage(t)
	base := filepath.Dir(c.dir)
	for _, d := range []string{"sleep", "sh"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(base, "sh", "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The shims of the killed agent become ours, to be reaped by endShims: not every process 1 does it.
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	t.Cleanup(func() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestClientThatIsKilled$")
	cmd.Env = append(os.Environ(), "PANDO_TEST_CLIENT_DIR="+c.dir, "PANDO_TEST_CLIENT_LAUNCHER="+containertest.Launcher(t))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want := map[string]container.Started{}
	for lines := bufio.NewScanner(out); len(want) < 2 && lines.Scan(); {
		var id string
		var st container.Started
		if n, _ := fmt.Sscanf(lines.Text(), "started %s %d %d", &id, &st.PID, &st.StartTicks); n == 3 {
			want[id] = st
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(want) != 2 {
		t.Fatalf("the client did not start its tasks: %s", stderr.String())
	}
	// One of them ends while there is no agent.
	fifo, err := os.OpenFile(filepath.Join(base, "sh", "fifo"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fifo.WriteString("go\n")
	fifo.Close()
	for end := time.Now().Add(10 * time.Second); host.Running(int(want["sh"].PID)) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	n := c.open()
	states, err := n.Recover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		w := want[s.ID]
		if s.PID != w.PID || s.StartTicks != w.StartTicks || s.Wall == 0 {
			t.Errorf("recovered %+v, started %+v", s, w)
		}
		if s.ID == "sleep" {
			if s.Exit != nil || !host.Alive(int(s.PID), s.StartTicks) {
				t.Errorf("the sleeping task did not survive: %+v", s.Exit)
			}
			continue
		}
		e := s.Exit
		if e == nil { // it is just ending
			got := await(t, n)
			e = &got
		}
		if e.WaitStatus != 5<<8 || !e.Known {
			t.Errorf("exit %+v", e)
		}
	}
	if got := read(t, base, "sh", "stdout"); got != "after\n" {
		t.Errorf("output %q", got)
	}
	if len(states) != 2 {
		t.Errorf("recovered %+v", states)
	}
	n.Kill("sleep", 0)
	await(t, n)
	n.Forget("sleep")
	n.Forget("sh")
}

func TestWhatTheAgentInheritedIsNotPassedOn(t *testing.T) {
	c := newCage(t)
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil { // without close-on-exec, as a careless parent leaves it
		t.Fatal(err)
	}
	r := os.NewFile(uintptr(pipe[0]), "pipe")
	defer r.Close()
	n := c.open()
	s := c.spec("sleep", "1000")
	launch(t, n, s)
	unix.Close(pipe[1])
	got := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		got <- err
	}()
	select {
	case err := <-got:
		if err != io.EOF {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("somebody holds the pipe")
	}
	n.Kill(s.ID, 0)
	await(t, n)
}

func TestTwoAgentsCannotShareADirectory(t *testing.T) {
	c, _ := started(t)
	_, err := container.Open(container.Config{Dir: c.dir})
	if err == nil || !strings.Contains(err.Error(), "in use by another agent") {
		t.Errorf("error %v", err)
	}
}
