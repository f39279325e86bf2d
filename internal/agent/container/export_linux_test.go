package container

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// ShimPIDs lists the processes that supervise for the agent with this directory.
func ShimPIDs(dir string) []int {
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, l := range links {
		if at, err := os.Readlink(l); err == nil && filepath.Dir(at) == dir {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(l))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// QuitShims tells all shims, none of which may have a container, to go, and waits for it.
func (n *Native) QuitShims(tb testing.TB) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		n.mu.Lock()
		for _, l := range n.links {
			if !l.quitting && l.used == 0 {
				l.quitting = true
				l.send(&wire.Message{Type: wire.Quit})
			}
		}
		left := len(n.links)
		n.mu.Unlock()
		if left == 0 && len(ShimPIDs(n.cfg.Dir)) == 0 {
			return
		}
		if time.Now().After(end) {
			tb.Errorf("%d shims did not go", left)
			for _, pid := range ShimPIDs(n.cfg.Dir) {
				unix.Kill(pid, unix.SIGKILL)
			}
			return
		}
	}
}

// BreakLinks cuts all connections to shims, as an overflow would.
func (n *Native) BreakLinks() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		l.mu.Lock()
		l.conn.Close()
		l.mu.Unlock()
	}
}
