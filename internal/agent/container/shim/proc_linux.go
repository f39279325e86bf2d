package shim

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// child is a first process on its way to become its command, with the pipe it reports on.
type child struct {
	pid   int
	ticks uint64
	up    *os.File
}

// birth is how a child ended its first phase: as its command (nil) or not.
type birth = *failure

// fork starts this very program in the role init. It gets the three descriptors; they stay open here. Only the main goroutine may call it: the child dies with the thread that forked it. It has new namespaces, or is born among the processes of a
// container.
func fork(stdin, stdout, stderr int, namespaces uint64, among uint32) (*child, *failure) {
	var pair [2]int
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fail(wire.KindSystem, "make a socket pair", err)
	}
	// From within another pid namespace our number is 0, which is taken for our death. Until it asks for the signal itself, the
	// end of its socket tells it.
	dies := syscall.SIGKILL
	if among != 0 || namespaces&unix.CLONE_NEWPID != 0 {
		dies = 0
	}
	var pid int
	f := bornIn(among, func() {
		pid, err = syscall.ForkExec("/proc/self/exe", []string{"pando-launcher", "init"}, &syscall.ProcAttr{
			// One thread at work and no collector: it lives for a millisecond.
			Env:   []string{"GOMAXPROCS=1", "GOGC=off"},
			Files: []uintptr{uintptr(stdin), uintptr(stdout), uintptr(stderr), uintptr(pair[1])},
			Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: dies, Cloneflags: uintptr(namespaces)},
		})
	})
	unix.Close(pair[1])
	if f != nil {
		unix.Close(pair[0])
		return nil, f
	}
	if err != nil {
		unix.Close(pair[0])
		return nil, fail(wire.KindSystem, "start a process", err)
	}
	_ = unix.SetNonblock(pair[0], true) // fails for a bad descriptor only
	return &child{pid: pid, ticks: startTicks(pid), up: os.NewFile(uintptr(pair[0]), "child")}, nil
}

// raise sends the child its spec and waits for it to become its command. It blocks, so it runs on a goroutine.
func (c *child) raise(s *wire.Spec) birth {
	defer c.up.Close()
	if err := wire.WriteFrame(c.up, &wire.Message{Type: wire.Exec, Spec: s}); err != nil {
		return fail(wire.KindSystem, "speak to the first process", err)
	}
	ready := false
	for {
		m, err := wire.ReadFrame(c.up)
		switch {
		case err == nil && m.Type == wire.Ready:
			ready = true
		case err == nil:
			return &failure{m.Kind, m.Text}
		case ready: // closed by exec
			return nil
		default:
			return &failure{wire.KindSystem, "the first process ended before it could execute the command; its limits may be too low for it to start"}
		}
	}
}

// startTicks reads when a process started, in clock ticks since boot. The process must not have been reaped.
func startTicks(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name in parentheses may hold anything; what follows its last parenthesis is words. Field 3 is the first of them.
	i := strings.LastIndexByte(string(b), ')')
	if i < 0 {
		return 0
	}
	f := strings.Fields(string(b[i+1:]))
	if len(f) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(f[19], 10, 64)
	return n
}

// signalSession sends a signal to every process of the session that pid leads, out of candidates or, when those are nil,
// of the whole machine. pid must not have been reaped, so that its number is still its own.
func signalSession(pid int, candidates []int, sig unix.Signal) {
	if candidates == nil {
		candidates = everyone()
	}
	for _, p := range candidates {
		if p == pid {
			continue
		}
		if sid, err := unix.Getsid(p); err == nil && sid == pid {
			_ = unix.Kill(p, sig) // it may be gone
		}
	}
	_ = unix.Kill(pid, sig) // as above
}

func everyone() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	pids := make([]int, 0, len(names))
	for _, n := range names {
		if p, err := strconv.Atoi(n); err == nil {
			pids = append(pids, p)
		}
	}
	return pids
}
