package container_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// pod starts a container without a command.
func (c *cage) pod(t *testing.T, n *container.Native, mem int64) container.Spec {
	t.Helper()
	s, _ := c.holder(t, n, mem)
	return s
}

func (c *cage) holder(t *testing.T, n *container.Native, mem int64) (container.Spec, container.Started) {
	t.Helper()
	s := c.spec("")
	s.Path, s.Args, s.Alone, s.Mem = "", nil, true, mem
	return s, launch(t, n, s)
}

func (c *cage) below(parent string, share bool, args ...string) container.Spec {
	c.tb.Helper()
	s := c.spec(args...)
	s.Parent, s.ShareCgroup = parent, share
	return s
}

// ends waits for so many exits and writes each as a line.
func ends(t *testing.T, n *container.Native, count int) []string {
	t.Helper()
	var lines []string
	for range count {
		e := await(t, n)
		n.Forget(e.ID)
		lines = append(lines, fmt.Sprintf("%s %#x oom=%v limit=%d killed=%v shim died=%v", e.ID, e.WaitStatus, e.OOM, e.MemLimit, e.Killed, e.ShimDied))
	}
	return lines
}

func TestContainersThatShareAGroupReachItsLimitTogetherAndAllEnd(t *testing.T) {
	c, n := started(t)
	pod := c.pod(t, n, 48000)
	quiet := c.below(pod.ID, true, "sleep", "1000")
	launch(t, n, quiet)
	launch(t, n, c.below(pod.ID, true, "tail", "/dev/zero"))
	lines := ends(t, n, 3)
	for _, l := range lines {
		if !strings.Contains(l, fmt.Sprintf("oom=true limit=%d", cgroup.Bytes(48000))) {
			t.Errorf("unexpected exit %s", l)
		}
	}
	if !strings.HasPrefix(lines[2], pod.ID+" ") {
		t.Errorf("the one above is not the last: %q", lines)
	}
}

func TestAContainerThatPassesItsOwnLimitBelowAnotherEndsAlone(t *testing.T) {
	c, n := started(t)
	pod := c.pod(t, n, 256000)
	quiet, greedy := c.below(pod.ID, false, "sleep", "1000"), c.below(pod.ID, false, "tail", "/dev/zero")
	greedy.Mem = 32000
	launch(t, n, quiet)
	launch(t, n, greedy)
	e := await(t, n)
	if e.ID != greedy.ID || !e.OOM || e.MemLimit != cgroup.Bytes(32000) {
		t.Errorf("exit %+v", e)
	}
	if code, err := n.Run(t.Context(), quiet.ID, container.Command{Args: []string{"true"}}); err != nil || code != 0 {
		t.Errorf("the other has gone: %d, %v", code, err)
	}
	n.Kill(pod.ID, 0)
	ends(t, n, 2)
}

func TestAKillBelowAnotherReachesItsProcessesAndNoOthers(t *testing.T) {
	c, n := started(t)
	top := c.spec("sleep", "1000")
	st := launch(t, n, top)
	stays := c.below(top.ID, true, "sleep", "1000")
	sibling := launch(t, n, stays)
	goes := c.below(top.ID, true, "sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1000")
	launch(t, n, goes)
	var inner int
	for end := time.Now().Add(10 * time.Second); inner == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		inner, _ = strconv.Atoi(strings.TrimSpace(read(t, goes.Sandbox, "stdout")))
	}
	n.Kill(goes.ID, 0)
	if e := await(t, n); e.ID != goes.ID || host.Running(inner) {
		t.Errorf("exit %+v; process %d runs: %v", e, inner, host.Running(inner))
	}
	for _, pid := range []uint32{st.PID, sibling.PID} {
		if !host.Running(int(pid)) {
			t.Errorf("process %d is gone", pid)
		}
	}
	n.Kill(top.ID, 0)
	ends(t, n, 2)
}

func TestContainersOfADeadShimEndTheLowestFirst(t *testing.T) {
	for _, agent := range []string{"alive", "dead"} {
		t.Run("with the agent "+agent, func(t *testing.T) {
			c, n := started(t)
			pod, holder := c.holder(t, n, 96000)
			middle := c.below(pod.ID, false, "sleep", "1000")
			st := launch(t, n, middle)
			low := c.below(middle.ID, true, "sleep", "1000")
			launch(t, n, low)
			parent, err := strconv.Atoi(strings.Fields(read(t, "/proc", strconv.Itoa(int(st.PID)), "stat"))[3])
			if err != nil || parent != int(holder.PID) {
				t.Fatal(parent, holder, err)
			}
			if agent == "dead" {
				n.Close()
			}
			if err := syscall.Kill(parent, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			var ids []string
			if agent == "alive" {
				for range 3 {
					e := await(t, n)
					if !e.ShimDied || e.ID == pod.ID && (!e.Known || e.WaitStatus != uint32(syscall.SIGKILL)) {
						t.Errorf("exit %+v", e)
					}
					ids = append(ids, e.ID)
				}
				if d := cmp.Diff([]string{low.ID, middle.ID, pod.ID}, ids); d != "" {
					t.Error(d)
				}
				return
			}
			states, err := c.open().Recover(t.Context())
			if err != nil || len(states) != 3 {
				t.Fatalf("recovered %+v, %v", states, err)
			}
			for _, s := range states {
				if s.Exit == nil || !s.Exit.ShimDied {
					t.Errorf("recovered %+v", s)
				}
			}
			if host.Running(int(st.PID)) {
				t.Error("a process is left")
			}
		})
	}
}

func TestTheGroupOfOneBelowAnotherIsBelowTheOthers(t *testing.T) {
	c, n := started(t)
	pod := c.pod(t, n, 96000)
	for _, share := range []bool{true, false} {
		s := c.below(pod.ID, share, "sleep", "1000")
		st := launch(t, n, s)
		if groups := read(t, "/proc", strconv.Itoa(int(st.PID)), "cgroup"); !strings.Contains(groups, "/"+pod.ID+"/"+s.ID+"\n") {
			t.Errorf("it is in\n%s", groups)
		}
		n.Kill(s.ID, 0)
		ends(t, n, 1)
	}
	n.Kill(pod.ID, 0)
	ends(t, n, 1)
	for _, d := range c.parent.Dirs() {
		if _, err := os.Stat(filepath.Join(d, pod.ID)); err == nil {
			t.Errorf("%s is left", d)
		}
	}
}
