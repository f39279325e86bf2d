package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// link is the connection to one shim, made anew when it breaks, until the shim is dead.
type link struct {
	n         *Native
	name, dir string
	ended     chan uint32 // the shim's wait status, once, if this process started it

	// Guarded by n.mu.
	used      int // containers in it, those being launched included
	alone     bool
	idleSince time.Time
	up        bool
	quitting  bool
	version   uint32 // of the protocol, as it welcomed us

	mu      sync.Mutex
	conn    *net.UnixConn
	seq     uint64
	waiting map[uint64]*call
	closed  bool
}

// call is a message that waits for its answer.
type call struct {
	msg   *wire.Message
	seen  func(*wire.Message) // called by the reader before it reads on
	reply chan *wire.Message  // nil: the connection was lost
}

const (
	helloTime  = 5 * time.Second
	cancelTime = 2 * time.Second
	sendTime   = 5 * time.Second
)

func newLink(n *Native, name string) *link {
	return &link{n: n, name: name, dir: filepath.Join(n.cfg.Dir, name), ended: make(chan uint32, 1), waiting: map[uint64]*call{}, idleSince: time.Now()}
}

func (l *link) usable() bool { return l.up && !l.quitting }

// room says whether one more container may be in it. What is to be alone may ask for what only the newest know. n.mu is held.
func (l *link) room(alone bool) bool {
	if alone && l.version < wire.Version {
		return false
	}
	if alone || l.alone {
		return l.used == 0
	}
	return l.used < l.n.cfg.PerShim
}

// throughDir calls f with a path of the socket that is short whatever the directory's: UNIX addresses end at 108 bytes.
func throughDir(dir string, f func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return f("/proc/self/fd/" + strconv.Itoa(int(d.Fd())) + "/sock")
}

// dial connects and asks what the shim has. A shim that is dead gives errDead.
func (l *link) dial(ctx context.Context) ([]wire.State, error) {
	conn, err := dialShim(ctx, l.dir)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(helloTime)) // of a connection that is broken the greeting tells
	err = wire.WriteFrame(conn, &wire.Message{Type: wire.Hello, Version: wire.Version})
	var m *wire.Message
	if err == nil {
		m, err = wire.ReadFrame(conn)
	}
	if err == nil && (m.Type != wire.Welcome || !wire.Speaks(m.Version)) {
		err = fmt.Errorf("it speaks version %d of the launcher protocol, this agent %d and older ones", m.Version, wire.Version)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("greet the shim %s: %w", l.name, err)
	}
	_ = conn.SetDeadline(time.Time{}) // of a connection that is broken the reader tells
	l.n.mu.Lock()
	l.version = m.Version
	l.n.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		conn.Close()
		return nil, errClosed
	}
	l.conn = conn
	return m.States, nil
}

var errDead = errors.New("the shim is dead")

// send writes a message; a shim that does not read for long is cut off, and found again or found dead.
func (l *link) send(m *wire.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return errors.New("the shim is not connected")
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(sendTime)) // of a connection that is broken the write tells
	err := wire.WriteFrame(l.conn, m)
	if err != nil {
		l.conn.Close()
	}
	return err
}

// call sends a message and waits for the answer, which seen gets in any case. When ctx ends first, a launch is left to
// seen, and a command is cancelled and its end awaited for a moment.
func (l *link) call(ctx context.Context, m *wire.Message, seen func(*wire.Message)) (*wire.Message, error) {
	c := &call{msg: m, seen: seen, reply: make(chan *wire.Message, 1)}
	l.mu.Lock()
	l.seq++
	m.Seq = l.seq
	l.waiting[m.Seq] = c
	l.mu.Unlock()
	if err := l.send(m); err != nil {
		l.mu.Lock()
		delete(l.waiting, m.Seq)
		l.mu.Unlock()
		return nil, &Error{KindShim, "the launcher cannot be reached: " + err.Error()}
	}
	lost := &Error{KindShim, "the launcher was lost before it answered; its containers were ended"}
	select {
	case r := <-c.reply:
		if r == nil {
			return nil, lost
		}
		return r, nil
	case <-ctx.Done():
	}
	if m.Type == wire.Exec && l.send(&wire.Message{Type: wire.Cancel, Seq: m.Seq}) == nil {
		select {
		case <-c.reply:
		case <-time.After(cancelTime):
		}
	}
	return nil, ctx.Err()
}

// run reads until the shim is dead or the link is closed, and reconnects in between.
func (l *link) run() {
	for {
		l.read()
		l.n.setUp(l, false)
		if l.isClosed() || !l.reconnect() {
			break
		}
	}
	l.failCalls()
}

func (l *link) read() {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	defer conn.Close()
	for {
		m, err := wire.ReadFrame(conn)
		if err != nil {
			return
		}
		if m.Type == wire.Exited {
			for i := range m.States {
				l.n.exited(l, m.States[i])
			}
			continue
		}
		l.mu.Lock()
		c := l.waiting[m.Seq]
		delete(l.waiting, m.Seq)
		l.mu.Unlock()
		if c != nil {
			if c.seen != nil {
				c.seen(m)
			}
			c.reply <- m
		}
	}
}

// reconnect tries until the shim answers or is dead; false: it is dead, or the link closed.
func (l *link) reconnect() bool {
	wait := 10 * time.Millisecond
	for {
		ctx, cancel := context.WithTimeout(context.Background(), helloTime)
		states, err := l.dial(ctx)
		cancel()
		switch {
		case err == nil:
			l.failCalls()
			l.n.reconcile(l, states)
			l.n.setUp(l, true)
			return true
		case errors.Is(err, errDead):
			l.n.shimDied(l)
			return false
		case l.isClosed():
			return false
		}
		l.n.log.Warn("a launcher does not answer", "shim", l.name, "error", err)
		select {
		case <-time.After(wait):
		case <-l.n.done:
			return false
		}
		wait = min(2*wait, helloTime)
	}
}

// failCalls answers everybody who still waits with the loss of the connection. What a launch has made is killed, in case
// the shim still lives: nobody knows of it.
func (l *link) failCalls() {
	l.mu.Lock()
	calls := l.waiting
	l.waiting = map[uint64]*call{}
	l.mu.Unlock()
	for _, c := range calls {
		if c.msg.Type == wire.Launch {
			_ = l.send(&wire.Message{Type: wire.Kill, ID: c.msg.Spec.ID}) // a shim that cannot be reached is dead, and its containers with it
		}
		c.reply <- nil
	}
}

func (l *link) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn != nil {
		l.conn.Close()
	}
}
