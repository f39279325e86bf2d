package shim

import (
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// idleExit is how long a shim without containers waits for an agent.
const idleExit = time.Minute

// shim is the state of the supervisor; only the main goroutine touches it.
type shim struct {
	events chan func()
	boxes  map[string]*box
	procs  map[int]watched // whom to tell when a child ends
	conns  map[*conn]bool
	null   int
	idle   time.Time // since when there is neither a container nor an agent
	quit   bool
}

// watched is what follows the end of a child: before its number is given back, and after.
type watched struct {
	before func()
	after  func(syscall.WaitStatus)
}

// Main supervises until it is told to go, or is not needed. The agent has made the working directory and the listening
// socket in it (fd 3): so an agent can connect before this program has even started.
func Main() int {
	unix.CloseOnExec(3)
	name := [16]byte{'p', 'a', 'n', 'd', 'o', '-', 'l', 'a', 'u', 'n', 'c', 'h', 'e', 'r'}
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0) // it is for people: the file has no name
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		_, _ = os.Stderr.WriteString("pando-launcher shim: open /dev/null: " + err.Error() + "\n") // there is nobody else to tell
		return 71
	}
	// Orphans of a container come to us, so that they are reaped and its cgroup can go.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // every kernel since 3.4 can
	// The machine's own shortage of memory should cost one task, not all that share this shim. Refused to the unprivileged.
	_ = os.WriteFile(oomScore, []byte("-900"), 0)
	unix.Umask(0o022)
	s := &shim{
		events: make(chan func(), 64),
		boxes:  map[string]*box{},
		procs:  map[int]watched{},
		conns:  map[*conn]bool{},
		null:   null,
		idle:   time.Now(),
	}
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGPIPE, unix.SIGTERM)
	chld := make(chan os.Signal, 1)
	signal.Notify(chld, unix.SIGCHLD)
	go s.accept(3)
	timer := time.NewTimer(idleExit)
	for {
		select {
		case do := <-s.events:
			do()
		case <-chld:
			s.reap()
		case <-timer.C:
		}
		now := time.Now()
		next := now.Add(time.Hour)
		for _, b := range s.boxes {
			if b.wake.IsZero() {
				continue
			}
			if !now.Before(b.wake) {
				b.wake = time.Time{}
				s.advance(b)
			}
			if !b.wake.IsZero() && b.wake.Before(next) {
				next = b.wake
			}
		}
		if s.leave(now) {
			return 0
		}
		if !s.idle.IsZero() && s.idle.Add(idleExit).Before(next) {
			next = s.idle.Add(idleExit)
		}
		timer.Reset(time.Until(next))
	}
}

// leave says whether to exit, and keeps account of idleness. It takes the directory along when no record is left in it.
func (s *shim) leave(now time.Time) bool {
	if len(s.boxes) > 0 || len(s.conns) > 0 && !s.quit {
		s.idle = time.Time{}
		return false
	}
	if s.idle.IsZero() {
		s.idle = now
	}
	if !s.quit && now.Sub(s.idle) < idleExit {
		return false
	}
	for c := range s.conns {
		c.drain()
	}
	_ = unix.Unlink("sock") // nobody answers there any more, which tells as much
	left := false
	entries, _ := os.ReadDir(".")
	for _, e := range entries {
		left = left || strings.HasSuffix(e.Name(), exitSuffix)
	}
	if wd, err := os.Getwd(); err == nil && !left {
		_ = unix.Unlink("log") // the directory then stays, and the agent tidies it
		_ = os.Remove(wd)      // as above
	}
	return true
}

// reap collects every child that has ended. Each is looked at before its number is given back, since what is left of its
// session can only be found by that number.
func (s *shim) reap() {
	for {
		pid, ok := ended()
		if !ok {
			return
		}
		w, known := s.procs[pid]
		if known {
			w.before()
		}
		var ws syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
			continue
		}
		if known {
			delete(s.procs, pid)
			w.after(ws)
		}
	}
}

// ended peeks at a child that is a zombie.
func ended() (int, bool) {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		pid := siginfoPID(&info)
		return pid, err == nil && pid > 0
	}
}

// handle answers one message of an agent.
func (s *shim) handle(c *conn, m *wire.Message) {
	switch m.Type {
	case wire.Hello:
		w := &wire.Message{Type: wire.Welcome, Version: min(max(m.Version, 1), wire.Version)}
		for _, b := range s.boxes {
			if b.born {
				w.States = append(w.States, b.state)
			}
		}
		w.States = append(w.States, records()...)
		c.send(w)
	case wire.Launch:
		s.launch(c, m)
	case wire.Kill:
		if b := s.boxes[m.ID]; b != nil {
			b.state.Killed = b.state.Killed || !b.reaped
			s.kill(b, time.Duration(m.Grace))
		}
		c.send(&wire.Message{Type: wire.OK, Seq: m.Seq})
	case wire.Exec:
		s.exec(c, m)
	case wire.Cancel:
		if x := c.execs[m.Seq]; x != nil {
			x.kill()
		}
	case wire.Signal:
		s.signalOne(c, m)
	case wire.Quit:
		if len(s.boxes) > 0 {
			refuse(c, m.Seq, &failure{wire.KindInvalid, "the shim still has containers"})
			return
		}
		s.quit = true
		c.send(&wire.Message{Type: wire.OK, Seq: m.Seq})
	default:
		refuse(c, m.Seq, &failure{wire.KindInvalid, "this launcher does not know that message; it speaks version 2"})
	}
}

func refuse(c *conn, seq uint64, f *failure) {
	c.send(&wire.Message{Type: wire.Refused, Seq: seq, Kind: f.kind, Text: f.text})
}

// valid keeps ids from being paths: they name files here and directories in cgroups.
func valid(id string) bool {
	return id != "" && len(id) <= 200 && id[0] != '.' && !strings.ContainsAny(id, "/\x00\n")
}

// siginfoPID reads si_pid, which follows four 32-bit words on 64-bit Linux; the wrapper leaves it without a name.
func siginfoPID(info *unix.Siginfo) int {
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), 16)))
}
