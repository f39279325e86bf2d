package shim

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

const (
	// patience is how long a container waits for one who attached to its output and does not read; then he is cut off. The
	// owner of a session is waited for without an end: it is his alone.
	patience = 5 * time.Second
	// ownTime is how long a session waits for its owner, who is on his way when it starts.
	ownTime = 10 * time.Second
	// maxTaps bounds who may be attached to one container at a time.
	maxTaps = 32
	// maxEarly is how much of what a terminal shows before anybody reads it is kept for who comes first, its end.
	maxEarly = 64 << 10
)

// streams is what a container has that can be attached to. The main goroutine opens and closes it; those that copy bytes
// and those that serve connections share it meanwhile.
type streams struct {
	session bool
	owned   chan struct{} // closed when the owner has come, or is not waited for any more

	mu     sync.Mutex // guards the rest
	tty    *os.File   // nil: pipes
	in     *os.File   // where its input is written; nil: it has ended
	taps   []*tap     // replaced, never changed
	writer *tap       // of those the one that gives input
	came   bool       // the owner
	closed bool
	heard  bool   // somebody has read output
	early  []byte // what a terminal showed before
}

// tap is one attached connection.
type tap struct {
	file  *os.File
	flags uint32

	mu   sync.Mutex // held while something is written to it
	lost bool       // guarded by mu
}

// openStreams makes what a container that can be attached to has for its first three descriptors, and gives the ends that
// become them; they stay open here. Its output is to be read from b.pipes.
func (b *box) openStreams() (ends [3]int, f *failure) {
	ends = [3]int{-1, -1, -1}
	st := &streams{session: b.spec.Stdio.Session(), owned: make(chan struct{})}
	if !st.session {
		close(st.owned)
	}
	b.streams = st
	if b.spec.Stdio.Terminal() {
		ours, theirs, err := openTerminal(b.spec.Rows, b.spec.Columns)
		if err != nil {
			return ends, fail(wire.KindSystem, "make a terminal", err)
		}
		st.tty, st.in, b.pipes[0] = ours, ours, ours
		for i := range ends {
			if ends[i], err = unix.FcntlInt(uintptr(theirs), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				f = fail(wire.KindSystem, "make a terminal", err)
			}
		}
		unix.Close(theirs)
		return ends, f
	}
	for i, name := range [3]string{"stdin", "stdout", "stderr"} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return ends, fail(wire.KindSystem, "make a pipe", err)
		}
		ours, theirs := p[0], p[1]
		if i == 0 {
			ours, theirs = p[1], p[0]
		}
		_ = unix.SetNonblock(ours, true) // fails for a bad descriptor only
		file := os.NewFile(uintptr(ours), name)
		if ends[i] = theirs; i == 0 {
			st.in = file
		} else {
			b.pipes[i-1] = file
		}
	}
	return ends, nil
}

// openTerminal makes a terminal of that size and gives its two ends.
func openTerminal(rows, columns uint16) (ours *os.File, theirs int, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, -1, err
	}
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err == nil {
		// By the descriptor and not by the name, which could be another's in this mount namespace.
		peer, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if theirs = int(peer); e != 0 {
			err = e
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, -1, err
	}
	return os.NewFile(uintptr(fd), "terminal"), theirs, nil
}

// pieces are buffers for what is copied to connections.
var pieces = sync.Pool{New: func() any { return new(piece) }}

type piece [wire.PieceHead + wire.MaxPiece]byte

// spread copies one output into a file, if there is one, and to all who are attached, until every writer has closed it or
// the read deadline passes and nothing is left in it. A session's is not read before its owner has come.
func (st *streams) spread(from *os.File, kind wire.PieceKind, to *logFile) {
	if to != nil {
		defer to.close()
	}
	<-st.owned
	raw, err := from.SyscallConn()
	if err != nil {
		return
	}
	for {
		buf, n := (*piece)(nil), 0
		// It takes a buffer only once there is something to read.
		read := func(fd uintptr) bool {
			buf = pieces.Get().(*piece)
			if n = readNow(int(fd), buf[wire.PieceHead:]); n < 0 {
				pieces.Put(buf)
				buf = nil
			}
			return n >= 0
		}
		if raw.Read(read) != nil { // the deadline: what came before it was perhaps held up by who reads, and counts
			_ = raw.Control(func(fd uintptr) { read(fd) }) // of one that is closed nothing is wanted
		}
		if n > 0 {
			if to != nil {
				to.write(buf[wire.PieceHead:][:n])
			}
			wire.PutPieceHead(buf[:], kind, n)
			st.give(buf[:wire.PieceHead+n])
		}
		if buf != nil {
			pieces.Put(buf)
		}
		if n <= 0 {
			return
		}
	}
}

// readNow reads without waiting; -1 says that nothing is there yet, 0 that nothing comes any more.
func readNow(fd int, b []byte) int {
	for {
		n, err := unix.Read(fd, b)
		switch err {
		case nil:
			return n
		case unix.EINTR:
		case unix.EAGAIN:
			return -1
		default: // EIO says that nobody has the terminal open any more
			return 0
		}
	}
}

// give writes a piece to all who read output.
func (st *streams) give(b []byte) {
	st.mu.Lock()
	taps := st.taps
	if st.tty != nil && !st.heard {
		st.early = append(st.early, b[wire.PieceHead:]...)
		st.early = st.early[max(0, len(st.early)-maxEarly):]
	}
	st.mu.Unlock()
	for _, t := range taps {
		if t.flags&wire.AttachOutput == 0 {
			continue
		}
		t.mu.Lock()
		if !t.lost {
			if t.flags&wire.AttachOwner == 0 {
				_ = t.file.SetWriteDeadline(time.Now().Add(patience)) // of a closed one the write tells
			}
			if _, err := t.file.Write(b); err != nil {
				t.lost = true
				_ = t.file.Close() // who serves it notices, and forgets it
			}
		}
		t.mu.Unlock()
	}
}

// join takes on a connection that is to be attached, and gives what it missed that nobody has read; a failure says why not. It holds
// t.mu: nothing is written to it until that is given back.
func (st *streams) join(t *tap) (early []byte, f *failure) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.closed:
		return nil, &failure{wire.KindGone, "the container has ended"}
	case len(st.taps) >= maxTaps:
		return nil, &failure{wire.KindBusy, "as many are attached to the container as may be; let another go first"}
	case t.flags&wire.AttachOwner != 0 && (!st.session || st.came):
		return nil, &failure{wire.KindBusy, "the container has an owner already, or is to have none"}
	case t.flags&wire.AttachInput != 0 && st.writer != nil:
		return nil, &failure{wire.KindBusy, "another connection gives the container its input; only one may at a time"}
	case t.flags&wire.AttachInput != 0 && st.in == nil:
		return nil, &failure{wire.KindBusy, "the input of the container has ended"}
	}
	if t.flags&wire.AttachOutput != 0 {
		early, st.early, st.heard = st.early, nil, true
	}
	if t.flags&wire.AttachInput != 0 {
		st.writer = t
	}
	st.taps = append(append([]*tap{}, st.taps...), t)
	if t.flags&wire.AttachOwner != 0 {
		st.came = true
		close(st.owned)
	}
	return early, nil
}

// part forgets a connection.
func (st *streams) part(t *tap) {
	st.mu.Lock()
	defer st.mu.Unlock()
	var rest []*tap
	for _, o := range st.taps {
		if o != t {
			rest = append(rest, o)
		}
	}
	st.taps = rest
	if st.writer == t {
		st.writer = nil
	}
}

// close ends all connections: what was written to them before arrives still.
func (st *streams) close() {
	st.mu.Lock()
	in, tty, taps := st.in, st.tty, st.taps
	st.in, st.closed = nil, true
	if st.session && !st.came {
		st.came = true
		close(st.owned)
	}
	st.mu.Unlock()
	if in != nil {
		_ = in.Close() // what was to be written has nobody to read it
	}
	if tty != nil {
		_ = tty.Close() // it may have been the input
	}
	for _, t := range taps {
		_ = t.file.Close() // who serves it notices
	}
}

// hurry lets nobody hold the container's end up any more: an owner who does not read has that long, and one who has not come
// is not waited for.
func (st *streams) hurry(within time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.session && !st.came {
		st.came = true
		close(st.owned)
	}
	for _, t := range st.taps {
		_ = t.file.SetWriteDeadline(time.Now().Add(within)) // of a closed one the write tells
	}
}

// input writes what came for the container to read, and waits until it has room. Nothing ends the input, but not of a terminal:
// clients send it there when their person leaves, and what reads the terminal is to go on.
func (st *streams) input(data []byte) error {
	st.mu.Lock()
	in, end := st.in, len(data) == 0 && st.tty == nil
	if end {
		st.in = nil
	}
	st.mu.Unlock()
	switch {
	case in == nil:
		return os.ErrClosed
	case end:
		return in.Close()
	case len(data) == 0:
		return nil
	}
	_, err := in.Write(data)
	return err
}

// resize gives the terminal another size; what has it open is told by SIGWINCH. Without a terminal there is none to change.
func (st *streams) resize(rows, columns uint16) {
	st.mu.Lock()
	tty := st.tty
	st.mu.Unlock()
	if tty == nil {
		return
	}
	if raw, err := tty.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // of a closed one nobody needs a size
			_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}) // likewise
		})
	}
}

// attach makes of a connection one that carries a container's streams, and serves it until it ends. The goroutine that reads
// the connection calls it.
func (s *shim) attach(c *conn, m *wire.Message) {
	type found struct {
		box *box
		f   *failure
	}
	answer := make(chan found, 1)
	s.events <- func() {
		if !s.conns[c] {
			answer <- found{f: &failure{wire.KindGone, "the connection was cut off"}}
			return
		}
		delete(s.conns, c) // it is told nothing else any more
		close(c.out)
		b := s.boxes[m.ID]
		switch {
		case b == nil || !b.born:
			answer <- found{f: &failure{wire.KindGone, "container " + m.ID + " is not running"}}
		case b.streams == nil:
			answer <- found{f: &failure{wire.KindInvalid, "container " + m.ID + " has neither a terminal nor is it a session, so it cannot be attached to"}}
		default:
			answer <- found{box: b}
		}
	}
	a := <-answer
	<-c.done
	defer c.file.Close()
	t := &tap{file: c.file, flags: m.Status}
	t.mu.Lock()
	var early []byte
	if a.f == nil {
		early, a.f = a.box.streams.join(t)
	}
	if a.f != nil {
		t.mu.Unlock()
		_ = wire.WriteFrame(c.file, &wire.Message{Type: wire.Refused, Seq: m.Seq, Kind: a.f.kind, Text: a.f.text}) // one that is gone needs no answer
		return
	}
	st := a.box.streams
	defer st.part(t)
	err := wire.WriteFrame(c.file, &wire.Message{Type: wire.OK, Seq: m.Seq})
	for len(early) > 0 && err == nil {
		var buf piece
		n := copy(buf[wire.PieceHead:], early)
		wire.PutPieceHead(buf[:], wire.PieceStdout, n)
		early = early[n:]
		_ = c.file.SetWriteDeadline(time.Now().Add(patience)) // of a closed one the write tells
		_, err = c.file.Write(buf[:wire.PieceHead+n])
	}
	t.mu.Unlock()
	if err == nil {
		st.serve(t)
	}
	if t.flags&wire.AttachOwner != 0 {
		s.events <- func() {
			if s.boxes[a.box.spec.ID] == a.box {
				a.box.state.Killed = a.box.state.Killed || !a.box.reaped
				s.kill(a.box, 0)
			}
		}
	}
}

// serve takes what comes over a connection until it ends. What is no input is left unheard, so that nobody is held up.
func (st *streams) serve(t *tap) {
	if t.flags&wire.AttachInput == 0 {
		_, _ = io.Copy(io.Discard, t.file) // until it ends, however
		return
	}
	buf := make([]byte, wire.MaxPiece)
	for {
		kind, data, err := wire.ReadPiece(t.file, buf)
		if err != nil {
			return
		}
		switch kind {
		case wire.PieceStdin:
			if st.input(data) != nil { // nobody reads it any more
				return
			}
		case wire.PieceWindow:
			if rows, columns, ok := wire.WindowOf(data); ok {
				st.resize(rows, columns)
			}
		}
	}
}

// awaitOwner ends a session whose owner does not come.
func (s *shim) awaitOwner(b *box) {
	time.AfterFunc(ownTime, func() {
		s.events <- func() {
			b.streams.mu.Lock()
			came := b.streams.came
			b.streams.mu.Unlock()
			if !came && s.boxes[b.spec.ID] == b {
				b.state.Killed = b.state.Killed || !b.reaped
				s.kill(b, 0)
			}
		}
	})
}

// signalOne sends a signal to a container's main process.
func (s *shim) signalOne(c *conn, m *wire.Message) {
	b := s.boxes[m.ID]
	if b == nil || !b.born || b.reaped || b.state.Hollow {
		refuse(c, m.Seq, &failure{wire.KindGone, "container " + m.ID + " is not running"})
		return
	}
	if err := unix.Kill(int(b.state.PID), syscall.Signal(m.Status)); err != nil && err != unix.ESRCH { // it ends just now
		refuse(c, m.Seq, fail(wire.KindInvalid, "send the signal", err))
		return
	}
	c.send(&wire.Message{Type: wire.OK, Seq: m.Seq})
}

// inherit makes a container's description what it has of its own over that of the one it is below: an interactive session
// is to see what that sees, as its user, within its limits and capabilities.
func inherit(s, from *wire.Spec) *wire.Spec {
	out := *from
	out.ID, out.Path, out.Args, out.Env = s.ID, s.Path, s.Args, merge(from.Env, s.Env)
	out.Cgroup, out.Shared = s.Cgroup, s.Shared // the way into the sandbox is as trusted as the other's
	out.Stdio, out.Rows, out.Columns, out.Inherit = s.Stdio, s.Rows, s.Columns, true
	out.MaxCompletion, out.KillGrace = s.MaxCompletion, s.KillGrace
	out.Root, out.Namespaces = nil, 0 // it enters the other's
	if s.SetUser {
		out.SetUser, out.UID, out.GID, out.Groups = true, s.UID, s.GID, s.Groups
	}
	if s.Rlimits != nil {
		out.Rlimits = s.Rlimits
	}
	return &out
}
