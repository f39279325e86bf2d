package container

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// resolveStreams says to the shim what the streams of a container are.
func resolveStreams(s *Spec, w *wire.Spec) {
	w.Inherit = s.Session
	switch {
	case s.Session && s.Terminal != nil:
		w.Stdio = wire.StdioSessionTerminal
	case s.Session:
		w.Stdio = wire.StdioSession
	case s.Terminal != nil:
		w.Stdio = wire.StdioTerminal
	}
	if t := s.Terminal; t != nil {
		w.Rows, w.Columns = t.Rows, t.Columns
	}
}

// Attach implements Runtime. The connection to the shim is one of its own, so that it holds up nobody else's.
func (n *Native) Attach(ctx context.Context, id string, how Attachment) (*Stream, error) {
	n.mu.Lock()
	h := n.held[id]
	ok := h != nil && !h.exited && !h.launching
	var version uint32
	if ok {
		version = h.link.version
	}
	n.mu.Unlock()
	switch {
	case !ok:
		return nil, &Error{KindGone, "container " + id + " is not running"}
	case version < wire.Streams:
		return nil, &Error{KindInvalid, "container " + id + " was started by an older launcher and cannot be attached to"}
	}
	conn, err := dialShim(ctx, h.link.dir)
	if err != nil {
		return nil, &Error{KindShim, "the launcher cannot be reached: " + err.Error()}
	}
	_ = conn.SetDeadline(time.Now().Add(helloTime)) // of a connection that is broken the greeting tells
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = wire.WriteFrame(conn, &wire.Message{Type: wire.Attach, ID: id, Status: uint32(how)})
	var m *wire.Message
	for err == nil && (m == nil || m.Type == wire.Exited) { // of others, before ours was heard
		m, err = wire.ReadFrame(conn)
	}
	switch {
	case err == nil && m.Type == wire.Refused:
		err = &Error{kinds[m.Kind], m.Text}
	case err == nil && m.Type != wire.OK:
		err = &Error{KindShim, "the launcher gave an answer that is none"}
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close() // nothing is lost with it
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{}) // of a connection that is broken the stream tells
	return NewStream(conn), nil
}

// Signal implements Runtime.
func (n *Native) Signal(id string, signal int) error {
	n.mu.Lock()
	h := n.held[id]
	ok := h != nil && !h.exited && !h.launching
	n.mu.Unlock()
	if !ok {
		return &Error{KindGone, "container " + id + " is not running"}
	}
	ctx, cancel := context.WithTimeout(n.context(), helloTime)
	defer cancel()
	m, err := h.link.call(ctx, &wire.Message{Type: wire.Signal, ID: id, Status: uint32(signal)}, nil)
	if err == nil && m.Type == wire.Refused {
		err = &Error{kinds[m.Kind], m.Text}
	}
	return err
}

// dialShim connects to the shim of a directory. One that is dead gives errDead.
func dialShim(ctx context.Context, dir string) (*net.UnixConn, error) {
	var conn *net.UnixConn
	err := throughDir(dir, func(path string) error {
		c, err := (&net.Dialer{Timeout: helloTime}).DialContext(ctx, "unix", path)
		if err == nil {
			conn = c.(*net.UnixConn)
		}
		return err
	})
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, errDead
	}
	return conn, err
}
