package shim

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// conn is one agent. Usually there is one; after a restart the old and the new may overlap.
type conn struct {
	file  *os.File
	out   chan *wire.Message
	done  chan struct{}       // the writer has ended
	execs map[uint64]*running // commands this agent waits for, by its number
}

// outbox bounds what may wait for an agent that does not read; one that falls behind is cut off and asks again with Hello.
const outbox = 1024

// accept takes agents on, without package net: a UNIX socket needs two system calls.
func (s *shim) accept(fd int) {
	_ = unix.SetNonblock(fd, true) // fails for a bad descriptor only, which the next line tells
	l := os.NewFile(uintptr(fd), "listener")
	raw, err := l.SyscallConn()
	if err != nil {
		return
	}
	for {
		nfd := -1
		err := raw.Read(func(fd uintptr) bool {
			n, _, err := unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err == unix.EAGAIN {
				return false
			}
			if err == nil {
				nfd = n
			}
			return true
		})
		if err != nil {
			return
		}
		if nfd < 0 { // out of descriptors, or the peer has gone already
			time.Sleep(10 * time.Millisecond)
			continue
		}
		cred, err := unix.GetsockoptUcred(nfd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil || cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
			unix.Close(nfd)
			continue
		}
		c := &conn{
			file:  os.NewFile(uintptr(nfd), "agent"),
			out:   make(chan *wire.Message, outbox),
			done:  make(chan struct{}),
			execs: map[uint64]*running{},
		}
		s.events <- func() { s.conns[c] = true }
		go c.write()
		go s.read(c)
	}
}

func (s *shim) read(c *conn) {
	for {
		m, err := wire.ReadFrame(c.file)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_, _ = os.Stderr.WriteString("pando-launcher shim: lost an agent: " + err.Error() + "\n") // there is nobody else to tell
			}
			s.events <- func() { s.drop(c) }
			return
		}
		if m.Type == wire.Attach {
			s.attach(c, m)
			return
		}
		s.events <- func() {
			if s.conns[c] {
				s.handle(c, m)
			}
		}
	}
}

// drop forgets an agent; commands it waited for end with it.
func (s *shim) drop(c *conn) {
	if !s.conns[c] {
		return
	}
	delete(s.conns, c)
	for _, x := range c.execs {
		x.kill()
	}
	c.file.Close()
	close(c.out)
}

func (c *conn) write() {
	defer close(c.done)
	for m := range c.out {
		if wire.WriteFrame(c.file, m) != nil {
			c.file.Close() // the reader notices
			for range c.out {
			}
			return
		}
	}
}

// send never waits.
func (c *conn) send(m *wire.Message) {
	select {
	case c.out <- m:
	default:
		c.file.Close()
	}
}

// drain lets the last answers out before the program ends.
func (c *conn) drain() {
	close(c.out)
	select {
	case <-c.done:
	case <-time.After(time.Second):
	}
}
