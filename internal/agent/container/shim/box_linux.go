package shim

import (
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/host/cgroup"
)

const (
	runSuffix  = ".run"
	exitSuffix = ".exit"

	// drainTime is how long output may still come once nothing of the container is left. It is only needed when a process
	// outside holds its pipe.
	drainTime = time.Second
	// sweepMost bounds the pause between two tries to empty a cgroup.
	sweepMost = 50 * time.Millisecond
)

// box is one container. It ends when four things have happened: its birth is known, its main process is reaped, its cgroup
// is empty and removed, and its output is complete. Only then does anybody learn that it ended. Before that, those below it
// end (below_linux.go).
type box struct {
	spec    *wire.Spec
	state   wire.State
	parent  *box
	below   map[*box]bool
	among   uint32 // a process whose pid namespace its own is born into; 0: the machine's
	sandbox int    // descriptor
	pipes   [2]*os.File
	streams *streams // nil: it cannot be attached to
	conn    *conn    // who launched it, for the answer
	seq     uint64

	told    bool // the outcome of its birth is known
	born    bool // it became its command
	failed  *failure
	reaped  bool
	swept   bool
	copying int

	killAt  time.Time // when SIGKILL is due; zero: no kill is on
	sweepIn time.Duration
	drainBy time.Time
	due     time.Time   // completion deadline
	oom     *os.File    // tells of deaths for memory; nil: cgroup v2, where the kernel ends the whole container by itself
	starved time.Time   // when it told, until the kernel has counted the death
	wake    time.Time   // when advance wants to be called again
	feigned unix.Signal // what it was killed with in the eyes of the world, see askToEnd
}

// launch starts a container; the answer comes once it has become its command, or has failed to.
func (s *shim) launch(c *conn, m *wire.Message) {
	spec := m.Spec
	switch {
	case spec == nil || !valid(spec.ID):
		refuse(c, m.Seq, &failure{wire.KindInvalid, "a container id must be a plain name without a slash"})
		return
	case s.boxes[spec.ID] != nil || s.quit:
		refuse(c, m.Seq, &failure{wire.KindInvalid, "container " + spec.ID + " exists already, or the shim is leaving"})
		return
	}
	b := &box{spec: spec, conn: c, seq: m.Seq, sandbox: -1, below: map[*box]bool{}}
	b.state = wire.State{
		ID: spec.ID, Cgroups: spec.Cgroup.Dirs(), MemLimit: spec.Cgroup.MemLimit,
		Parent: spec.Parent, Shared: spec.Shared, Hollow: len(spec.Args) == 0,
	}
	if f := s.adopt(b); f != nil {
		refuse(c, m.Seq, f)
		return
	}
	if spec.Inherit && b.parent != nil {
		spec = inherit(spec, b.parent.spec)
		spec.Enter, b.among = b.parent.inside()
		b.spec = spec
	} else {
		b.stayNear()
	}
	if b.state.Hollow {
		s.hold(b)
		return
	}
	ch, f := s.start(b)
	if f != nil {
		b.disown()
		refuse(c, m.Seq, f)
		return
	}
	now := time.Now()
	b.state.PID, b.state.Ticks, b.state.Wall = uint32(ch.pid), ch.ticks, now.UnixNano()
	s.boxes[spec.ID] = b
	// The record comes before the command can run: an agent that finds this shim dead finds what it must clean up.
	save(spec.ID+runSuffix, &b.state)
	s.procs[ch.pid] = watched{b.beforeReap, func(ws syscall.WaitStatus) {
		b.reaped = true
		b.state.Status = b.status(ws)
		b.state.EndWall = time.Now().UnixNano()
		s.advance(b)
	}}
	s.watchOOM(b)
	go func() {
		f := ch.raise(spec)
		s.events <- func() {
			if f != nil && b.state.Killed {
				f = &failure{wire.KindKilled, "it was killed before its command was executed"}
			}
			b.told, b.born, b.failed = true, f == nil, f
			if b.born && spec.MaxCompletion > 0 { // the making of the container is not the task's time
				b.due = time.Now().Add(time.Duration(spec.MaxCompletion))
				b.wakeBy(b.due)
			}
			if b.born && s.conns[b.conn] {
				b.conn.send(&wire.Message{Type: wire.Started, Seq: b.seq, States: []wire.State{b.state}})
			}
			if b.born && spec.Stdio.Session() {
				s.awaitOwner(b)
			}
			s.advance(b)
		}
	}()
}

// start makes all that a container needs and forks its first process. On failure nothing is left.
func (s *shim) start(b *box) (ch *child, f *failure) {
	if err := b.spec.Cgroup.Create(); err != nil {
		return nil, &failure{wire.KindCgroup, err.Error()}
	}
	var logs [2]*logFile
	ends := [3]int{-1, -1, -1}
	defer func() {
		for _, fd := range ends {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
		if f == nil {
			return
		}
		if b.streams != nil {
			b.streams.close()
		}
		for i := range logs {
			if b.pipes[i] != nil {
				b.pipes[i].Close()
			}
			if logs[i] != nil {
				logs[i].close()
			}
		}
		unix.Close(b.sandbox)
		cgroup.Remove(b.state.Cgroups)
	}()
	if !b.spec.Stdio.Session() {
		if f = b.openLogs(&logs); f != nil {
			return nil, f
		}
	}
	if b.spec.Stdio == wire.StdioLogged {
		f = b.openPipes(&ends)
	} else {
		ends, f = b.openStreams()
	}
	if f != nil {
		return nil, f
	}
	stdin := s.null
	if ends[0] >= 0 {
		stdin = ends[0]
	}
	if ch, f = fork(stdin, ends[1], ends[2], b.spec.Namespaces, b.among); f != nil {
		return nil, f
	}
	if b.spec.Stdio.Terminal() && logs[1] != nil { // it shows both as one
		logs[1].close()
	}
	for i, p := range b.pipes {
		if p == nil {
			continue
		}
		b.copying++
		go func() {
			if b.streams != nil {
				b.streams.spread(p, wire.PieceStdout+wire.PieceKind(i), logs[i])
			} else {
				copyOut(p, logs[i])
			}
			s.events <- func() {
				b.copying--
				s.advance(b)
			}
		}()
	}
	return ch, nil
}

// openLogs makes the files that the output goes to.
func (b *box) openLogs(logs *[2]*logFile) *failure {
	var err error
	if b.sandbox, err = openSandbox(b.spec); err != nil {
		return fail(wire.KindSandbox, "open sandbox "+b.spec.Sandbox, err)
	}
	for i, name := range [2]string{"stdout", "stderr"} {
		l := &logFile{dir: b.sandbox, name: name, uid: -1, gid: -1, max: b.spec.LogBytes, keep: b.spec.LogFiles, fd: -1}
		if i == 1 {
			l.max, l.keep = b.spec.ErrBytes, b.spec.ErrFiles
		}
		if b.spec.SetUser {
			l.uid, l.gid = int(b.spec.UID), int(b.spec.GID)
		}
		if err := l.open(); err != nil {
			return fail(wire.KindSandbox, "make "+b.spec.Sandbox+"/"+name, err)
		}
		logs[i] = l
	}
	return nil
}

// openPipes makes pipes for the output of a container that nobody attaches to, and gives the ends that are its own.
func (b *box) openPipes(ends *[3]int) *failure {
	for i, name := range [2]string{"stdout", "stderr"} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return fail(wire.KindSystem, "make a pipe", err)
		}
		_ = unix.SetNonblock(p[0], true) // fails for a bad descriptor only
		b.pipes[i], ends[i+1] = os.NewFile(uintptr(p[0]), name), p[1]
	}
	return nil
}

// kill asks a container to end: SIGTERM to all of it now, SIGKILL to all of it after grace. A later call only shortens.
func (s *shim) kill(b *box, grace time.Duration) {
	s.killBelow(b, grace)
	at := time.Now().Add(grace)
	if b.killAt.IsZero() {
		b.killAt = at
		if grace > 0 && !b.reaped && !b.state.Hollow {
			b.askToEnd()
			b.signal(unix.SIGCONT) // a stopped process would sit the grace out
		}
	} else if at.Before(b.killAt) {
		b.killAt = at
	}
	s.advance(b)
}

// signal sends a signal to everybody in the container; without a cgroup, to the session of its main process, which must
// not have been reaped.
func (b *box) signal(sig unix.Signal) {
	if len(b.state.Cgroups) == 0 {
		signalSession(int(b.state.PID), nil, sig)
		return
	}
	_ = unix.Kill(int(b.state.PID), sig) // it may not have joined yet
	for _, pid := range cgroup.Procs(b.state.Cgroups[0]) {
		if pid != int(b.state.PID) {
			_ = unix.Kill(pid, sig) // it may be gone
		}
	}
}

// slay sends SIGKILL to all of the container. Without a cgroup that is the session of its main process: one that has
// started a session of its own escapes, which only cgroups can help.
func (b *box) slay() {
	if len(b.state.Cgroups) > 0 {
		cgroup.Kill(b.state.Cgroups)
	}
	if !b.reaped && !b.state.Hollow {
		b.signal(unix.SIGKILL)
	}
}

// beforeReap does what needs the main process's number. Without a cgroup it is the last chance to find what it left.
func (b *box) beforeReap() {
	if len(b.state.Cgroups) == 0 {
		signalSession(int(b.state.PID), nil, unix.SIGKILL)
	}
}

// advance takes a container as far towards its end as it can go now, and says when to try again.
func (s *shim) advance(b *box) {
	now := time.Now()
	b.letGo(now)
	if !b.reaped {
		s.starvation(b, now)
		if !b.due.IsZero() && !now.Before(b.due) {
			b.due = time.Time{}
			if b.killAt.IsZero() {
				b.state.TimedOut = true
				s.kill(b, time.Duration(b.spec.KillGrace))
				return
			}
		}
		b.wakeBy(b.due)
		if !b.killAt.IsZero() {
			if now.Before(b.killAt) {
				b.wakeBy(b.killAt)
			} else { // and again, until it is gone
				b.slay()
				b.wakeBy(now.Add(sweepMost))
			}
		}
		return
	}
	if !b.told || s.waitsBelow(b, now) {
		return
	}
	if !b.swept && !b.sweep(now) {
		return
	}
	if b.copying > 0 {
		if b.drainBy.IsZero() {
			b.drainBy = now.Add(drainTime)
			for _, p := range b.pipes {
				_ = p.SetReadDeadline(b.drainBy) // a closed one is drained
			}
		}
		if b.streams != nil && (!b.born || !b.killAt.IsZero()) {
			b.streams.hurry(drainTime)
		}
		return
	}
	s.end(b)
}

// watchOOM has a container ended as a whole when the kernel kills one process of it for memory: what is left of a task
// after that is not to be trusted, and users of the original know it so. On cgroup v2 the kernel does it (memory.oom.group).
func (s *shim) watchOOM(b *box) {
	if b.spec.Shared { // the one above watches for all
		return
	}
	fd := cgroup.NotifyOOM(b.spec.Cgroup.OOMFile)
	if fd < 0 {
		return
	}
	b.oom = os.NewFile(uintptr(fd), "oom")
	go func(f *os.File) {
		var count [8]byte
		if _, err := f.Read(count[:]); err != nil { // closed: the container ended
			return
		}
		s.events <- func() {
			if !b.reaped {
				b.starved = time.Now()
				s.advance(b)
			}
		}
	}(b.oom)
}

// starvation asks whether the kernel has killed for memory, once it has said that it is about to; the count comes a moment
// after the news.
func (s *shim) starvation(b *box, now time.Time) {
	switch {
	case b.starved.IsZero():
	case b.oomKills() > 0:
		b.starved = time.Time{}
		b.state.OOM = true
		b.killAt = now
		s.starveBelow(b)
	case now.Sub(b.starved) > time.Second: // it found the memory elsewhere
		b.starved = time.Time{}
	default:
		b.wakeBy(now.Add(2 * time.Millisecond))
	}
}

// sweep empties the cgroup and removes it: a container that ends leaves no process. It asks first what the kernel killed.
func (b *box) sweep(now time.Time) bool {
	if b.state.Status != 0 && !b.state.OOM {
		b.state.OOM = cgroup.OOMKills(b.spec.Cgroup.OOMFile) > 0
	}
	if b.swept = cgroup.Remove(b.state.Cgroups); b.swept {
		return true
	}
	b.slay()
	b.sweepIn = min(max(2*b.sweepIn, time.Millisecond), sweepMost)
	b.wakeBy(now.Add(b.sweepIn))
	return false
}

// end records the exit, then tells it.
func (s *shim) end(b *box) {
	unix.Close(b.sandbox)
	if b.streams != nil {
		b.streams.close()
	}
	if b.oom != nil {
		b.oom.Close()
	}
	delete(s.boxes, b.spec.ID)
	above := b.parent
	b.disown()
	if b.state.OOM && b.spec.Shared && above != nil && above.killAt.IsZero() && !above.reaped {
		above.state.OOM, above.killAt = true, time.Now() // it was the other's limit, and what it had is not to be trusted
		above.wakeBy(above.killAt)
		s.starveBelow(above)
	}
	if !b.born {
		_ = unix.Unlink(b.spec.ID + runSuffix) // an exit beside it counts first
		if s.conns[b.conn] {
			refuse(b.conn, b.seq, b.failed)
		}
		return
	}
	b.state.Exited = true
	save(b.spec.ID+exitSuffix, &b.state)
	_ = unix.Unlink(b.spec.ID + runSuffix) // an exit beside it counts first
	for c := range s.conns {
		c.send(&wire.Message{Type: wire.Exited, States: []wire.State{b.state}})
	}
}

// wakeBy asks for a call of advance at t, or at an earlier time already asked for.
func (b *box) wakeBy(t time.Time) {
	if !t.IsZero() && (b.wake.IsZero() || t.Before(b.wake)) {
		b.wake = t
	}
}

// save writes a record so that it is there whole or not at all.
func save(name string, st *wire.State) {
	tmp := name + ".tmp"
	err := os.WriteFile(tmp, st.Append(nil), 0o600)
	if err == nil {
		err = unix.Rename(tmp, name)
	}
	if err != nil {
		_, _ = os.Stderr.WriteString("pando-launcher shim: write " + name + ": " + err.Error() + "\n") // there is nobody else to tell
	}
}

// records reads the exits that no agent has told us to forget.
func records() []wire.State {
	var states []wire.State
	entries, _ := os.ReadDir(".")
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), exitSuffix) {
			continue
		}
		var st wire.State
		if b, err := os.ReadFile(e.Name()); err == nil && st.Decode(b) == nil {
			states = append(states, st)
		}
	}
	return states
}
