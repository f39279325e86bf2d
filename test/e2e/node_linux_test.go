package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// patience is how long anything is waited for that must come; nothing that goes well takes near as long.
const patience = 60 * time.Second

// node is a pando process of a test, with directories and ports of its own that it keeps over restarts.
type node struct {
	t             *testing.T
	kind          string // up, master or agent
	bin           string
	dir           string
	args          []string
	place         string          // of its data, when that is not below dir
	user          string          // whom it runs as; empty: this process's user
	wrap          func(*exec.Cmd) // changes how it is started; nil: nothing
	master, agent string          // addresses; empty when it has none

	cmd  *exec.Cmd
	out  record
	gone chan struct{} // closed when the process has ended
}

// record is a file of output; it is read while it grows.
type record string

func (r record) String() string {
	b, err := os.ReadFile(string(r))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

var paths atomic.Int32

// fresh is a path that nobody has used.
func fresh() string { return filepath.Join(base, strconv.Itoa(int(paths.Add(1)))) }

func bin(t *testing.T, version string) string {
	t.Helper()
	all, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return all[version]
}

// newNode makes a node that does not run yet. What it starts has ended, and what it made is gone, when the test ends.
func newNode(t *testing.T, kind string, args ...string) *node {
	t.Helper()
	n := &node{t: t, kind: kind, bin: bin(t, "one"), dir: fresh(), args: args}
	must(t, os.Mkdir(n.dir, 0o711))
	if kind != "agent" {
		n.master = freeAddr(t)
	}
	if kind != "master" {
		n.agent = freeAddr(t)
	}
	t.Cleanup(n.clean)
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ip is a loopback address of this process's own, so that others who test at the same time cannot take its ports.
var ip = fmt.Sprintf("127.%d.%d.%d", 16+os.Getpid()>>16&127, os.Getpid()>>8&255, os.Getpid()&255)

// freeAddr finds a port below the kernel's range for outgoing connections, so that none of those takes it while its
// node is down.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 200 {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, 20000+ports.Add(1)%10000))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port")
	return ""
}

var ports atomic.Int32

func (n *node) data() string {
	if n.place != "" {
		return n.place
	}
	return filepath.Join(n.dir, "data")
}

func (n *node) run() string { return filepath.Join(n.dir, "run") }

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// command is the command line by which the node starts.
func (n *node) command(more ...string) *exec.Cmd {
	args := []string{n.kind, "--data-dir", n.data(), "--ip", ip}
	if n.master != "" {
		args = append(args, "--master-port", portOf(n.master))
	}
	if n.agent != "" {
		args = append(args, "--agent-port", portOf(n.agent), "--runtime-dir", n.run(), "--resources", "cpus:16;mem:16384;disk:10000")
	}
	return n.pando(append(append(args, n.args...), more...)...)
}

// pando makes a command of the node's binary, as the node's user, with a home that is of this test.
func (n *node) pando(args ...string) *exec.Cmd {
	args = append([]string{n.bin}, args...)
	if n.user != "" {
		args = append([]string{"setpriv", "--reuid=" + n.user, "--regid=" + group(n.user), "--clear-groups"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = n.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir, "XDG_STATE_HOME=" + n.dir}
	return cmd
}

func group(user string) string {
	if user == "nobody" {
		return "nogroup"
	}
	return user
}

// start starts the node and waits until it works.
func (n *node) start() {
	n.t.Helper()
	n.launchNow()
	n.await()
}

// launchNow starts the node and waits for nothing.
func (n *node) launchNow() {
	n.t.Helper()
	n.cmd, n.out, n.gone = n.command(), record(fresh()), make(chan struct{})
	out, err := os.Create(string(n.out))
	must(n.t, err)
	defer out.Close()
	n.cmd.Stdout, n.cmd.Stderr = out, out
	if n.wrap != nil {
		n.wrap(n.cmd)
	}
	must(n.t, n.cmd.Start())
	gone := n.gone
	go func() { _ = n.cmd.Wait(); close(gone) }() // how it ended is looked at where it matters
}

func (n *node) await() {
	n.t.Helper()
	eventually(n.t, "the node to work", func() error {
		select {
		case <-n.gone:
			n.t.Fatalf("the node ended: %s", n.out)
		default:
		}
		var r struct {
			PID   int
			Ready bool
		}
		b, err := os.ReadFile(filepath.Join(n.data(), "pando.pid"))
		if err != nil || json.Unmarshal(b, &r) != nil || !r.Ready || r.PID != n.cmd.Process.Pid {
			return fmt.Errorf("its pid file says %q (%v)", b, err)
		}
		return nil
	})
}

// signal sends a signal and waits for the end; it gives the exit code.
func (n *node) signal(s syscall.Signal) int {
	n.t.Helper()
	must(n.t, n.cmd.Process.Signal(s))
	return n.ended()
}

func (n *node) ended() int {
	n.t.Helper()
	select {
	case <-n.gone:
	case <-time.After(patience):
		n.t.Fatalf("the node did not end: %s", n.out)
	}
	return n.cmd.ProcessState.ExitCode()
}

func (n *node) running() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.gone:
		return false
	default:
		return true
	}
}

// clean ends the node and everything that it started, and looks whether that left something.
func (n *node) clean() {
	if n.running() {
		_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may end by itself just now
		select {
		case <-n.gone:
		case <-time.After(10 * time.Second):
			n.t.Errorf("the node did not stop on SIGTERM: %s", n.out)
			_ = n.cmd.Process.Kill() // as above
			<-n.gone
		}
	}
	if n.t.Failed() && n.out != "" {
		n.t.Logf("%s said:\n%s", n.kind, n.out)
	}
	if n.agent == "" {
		return
	}
	// Containers die with the launchers that hold them, which run from memory and are known by their names.
	for pid := range processes() {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && (strings.HasPrefix(string(name), n.dir+"/") || strings.HasPrefix(string(name), n.data()+"/")) {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
		}
	}
	deadline := time.Now().Add(patience)
	for left := leftovers(n.dir, n.data()); len(left) > 0; left = leftovers(n.dir, n.data()) {
		if time.Now().After(deadline) {
			n.t.Errorf("left running: %s", strings.Join(left, "; "))
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.cleanCgroups()
}

// cleanCgroups removes the cgroups of the node's containers, and those above them. Programs that became another user do not die with
// their launcher; a node that is up ends them, and here it is not.
func (n *node) cleanCgroups() {
	name := container.CgroupName(n.run())
	if _, err := cgroup.Detect(); err != nil {
		return
	}
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + name) // the pattern is good
	for _, root := range append(roots, "/sys/fs/cgroup/"+name) {
		var all []string
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		cgroup.Kill(all)
		for _, a := range slices.Backward(all) {
			if err := removeSoon(a); err != nil {
				n.t.Errorf("a cgroup stays: %v", err)
			}
		}
	}
}

// removeSoon removes a cgroup as soon as the last process in it is buried.
func removeSoon(dir string) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// leftovers are the processes that run from below one of the directories, or in it.
func leftovers(dirs ...string) []string {
	var out []string
	for pid := range processes() {
		for _, link := range []string{"exe", "cwd"} {
			to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, link))
			if err == nil && slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(to, dir+"/") }) {
				line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it is for showing
				out = append(out, fmt.Sprintf("%d: %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
				break
			}
		}
	}
	return out
}

// processes are the pids that there are.
func processes() map[int]bool {
	out := map[int]bool{}
	entries, _ := os.ReadDir("/proc") // it is there
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out[pid] = true
		}
	}
	return out
}

// eventually waits until check finds nothing wrong.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// outcome runs a command to its end and gives its exit code and what it said.
func outcome(t *testing.T, cmd *exec.Cmd) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer stop()
	err := cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}
