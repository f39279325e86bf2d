package serve

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Fast answers, without net/http, the POST requests of one path that come by the thousand. It knows only those of the
// plainest form, whose answer is 202 without words. Everything else, the rest of its connection too, is net/http's from its
// first byte on, so nothing is answered in two ways. It reads ahead: requests that came together are answered together.
type Fast struct {
	// Path of the requests, as they write it.
	Path string
	// Take takes a request that is to be answered 202, and says whether it did. When it did not, nothing has happened, and
	// net/http gets the request. It is called by many goroutines, one a connection.
	Take func(*FastRequest) bool
}

// Listen gives a listener for a Server of the same Config, which sees only the connections that need it.
func (f Fast) Listen(cfg Config, l net.Listener) net.Listener {
	out := &fastListener{
		Listener: l, cfg: cfg, take: f.Take, line: []byte("POST " + f.Path + " HTTP/1.1\r\n"),
		handed: make(chan *handed), closed: make(chan struct{}), conns: map[*fastConn]struct{}{},
	}
	go out.accept()
	return out
}

type fastListener struct {
	net.Listener
	cfg    Config
	line   []byte
	take   func(*FastRequest) bool
	handed chan *handed
	failed atomic.Pointer[error] // what the listener beneath said at its end

	once   sync.Once
	closed chan struct{}
	mu     sync.Mutex // guards conns
	conns  map[*fastConn]struct{}
}

// handed is a connection whose first bytes were read already.
type handed struct {
	net.Conn
	rest []byte
	peer *peer
}

// Read gives what was read before, and then what comes.
func (h *handed) Read(p []byte) (int, error) {
	if len(h.rest) == 0 {
		return h.Conn.Read(p)
	}
	n := copy(p, h.rest)
	if h.rest = h.rest[n:]; len(h.rest) == 0 {
		h.rest = nil
	}
	return n, nil
}

func (l *fastListener) accept() {
	defer l.end()
	for delay := time.Duration(0); ; {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			delay = 0
		case passing(err):
			// Too many open files, most likely: it passes, and net/http waits for that in the same way.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			l.cfg.Log.Warn("no connection can be accepted; trying again", "error", err, "in", delay)
			time.Sleep(delay)
			continue
		default:
			l.failed.Store(&err)
			return
		}
		fc := &fastConn{Conn: c, listener: l, peer: &peer{conn: c, trust: l.cfg.TrustLoopback}}
		l.mu.Lock()
		l.conns[fc] = struct{}{}
		l.mu.Unlock()
		go fc.run()
	}
}

// passing says whether an error of Accept passes by itself.
func passing(err error) bool {
	t, ok := err.(interface{ Temporary() bool })
	return ok && t.Temporary()
}

// Accept gives the next connection that is net/http's.
func (l *fastListener) Accept() (net.Conn, error) {
	select {
	case h := <-l.handed:
		return h, nil
	case <-l.closed:
		if err := l.failed.Load(); err != nil {
			return nil, *err
		}
		return nil, net.ErrClosed
	}
}

// Close stops accepting and ends the connections that are not net/http's. A request that was taken is still answered.
func (l *fastListener) Close() error {
	err := l.Listener.Close()
	l.end()
	return err
}

func (l *fastListener) end() {
	l.once.Do(func() {
		close(l.closed)
		l.mu.Lock()
		defer l.mu.Unlock()
		for c := range l.conns {
			_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes it, and it sees that the listener is closed
		}
	})
}

// fastConn is one connection as long as it needs nobody else.
type fastConn struct {
	net.Conn
	listener *fastListener
	peer     *peer

	buf       []byte
	read, end int // what waits in buf
	need      int // of what waits, to make a request; 0: not known
	requests  bool
	begun     time.Time // when the head that waits began to come
	readBy    time.Time // the deadlines that are set
	writeBy   time.Time
	host      []byte // the last that was this server's
	answers   []byte
}

const (
	fastBuffer = 4 << 10
	// fastKept is the largest buffer that a connection keeps while it rests.
	fastKept = 64 << 10
	// headWithin is how long a head may take to come, restWithin how long a connection may say nothing between requests.
	headWithin = 10 * time.Second
	restWithin = 2 * time.Minute
)

func (c *fastConn) run() {
	handOver := false
	defer func() {
		if p := recover(); p != nil {
			c.listener.cfg.Log.Error("a request broke its handler", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			c.answer() // to those before it; the connection ends all the same
			handOver = false
		}
		c.listener.mu.Lock()
		delete(c.listener.conns, c)
		c.listener.mu.Unlock()
		if !handOver || !c.handOver() {
			_ = c.Close() // its peer learns of it
		}
	}()
	handOver = c.serve()
}

// serve answers requests until the connection ends, or something comes that is net/http's.
func (c *fastConn) serve() (handOver bool) {
	c.buf = make([]byte, fastBuffer)
	var r FastRequest
	r.peer = c.peer
	for {
		v := c.takeAll(&r)
		if !c.answer() {
			return false
		}
		if v == beside {
			return true
		}
		if !c.more() {
			return false
		}
	}
}

// takeAll takes every whole request that waits.
func (c *fastConn) takeAll(r *FastRequest) verdict {
	for c.end > c.read && c.end-c.read >= c.need {
		v, size := r.parse(c.buf[c.read:c.end], c.listener.line)
		if v == whole && (!c.ours(r.Host) || !c.listener.take(r)) {
			v = beside
		}
		if v != whole {
			c.need = size
			return v
		}
		c.read, c.need, c.requests, c.begun = c.read+size, 0, true, time.Time{}
		c.answers = append(c.answers, accepted()...)
	}
	return part
}

// ours is Config.ours, which most requests of a connection ask with the same name.
func (c *fastConn) ours(host []byte) bool {
	if len(c.host) > 0 && bytes.Equal(host, c.host) {
		return true
	}
	if !c.listener.cfg.Any && !c.listener.cfg.ours(string(host)) {
		return false
	}
	c.host = append(c.host[:0], host...)
	return true
}

// dated is an answer and the second that it names.
type dated struct {
	second int64
	answer []byte
}

var lastAccepted atomic.Pointer[dated]

// accepted is the answer 202 as net/http writes it. It is made anew each second.
func accepted() []byte {
	now := time.Now()
	if d := lastAccepted.Load(); d != nil && d.second == now.Unix() {
		return d.answer
	}
	d := &dated{now.Unix(), now.UTC().AppendFormat([]byte("HTTP/1.1 202 Accepted\r\nDate: "), http.TimeFormat)}
	d.answer = append(d.answer, "\r\nContent-Length: 0\r\n\r\n"...)
	lastAccepted.Store(d)
	return d.answer
}

// answer writes the answers that wait.
func (c *fastConn) answer() bool {
	if len(c.answers) == 0 {
		return true
	}
	now := time.Now()
	if stall := c.stall(); c.writeBy.Sub(now) < stall/2 {
		c.writeBy = now.Add(stall)
		_ = c.SetWriteDeadline(c.writeBy) // of a broken connection the write tells
	}
	_, err := c.Write(c.answers)
	c.answers = c.answers[:0]
	return err == nil
}

func (c *fastConn) stall() time.Duration { return cmp.Or(c.listener.cfg.Stall, stall) }

// more reads on. It reports false when the connection is over.
func (c *fastConn) more() bool {
	if c.read == c.end {
		c.read, c.end = 0, 0
		if len(c.buf) > fastKept {
			c.buf = make([]byte, fastBuffer)
		}
	} else if want := max(c.need, c.end-c.read+1); c.read+want > len(c.buf) {
		waiting := c.buf[c.read:c.end]
		if want > len(c.buf) {
			c.buf = make([]byte, max(want, min(2*len(c.buf), fastRequest)))
		}
		c.read, c.end = 0, copy(c.buf, waiting)
	}
	c.setDeadline()
	select {
	case <-c.listener.closed: // looked at after the deadline is set, which would else undo the one that woke it
		return false
	default:
	}
	n, err := c.Read(c.buf[c.end:])
	if n == len(c.buf)-c.end && len(c.buf) < fastKept && c.need == 0 {
		grown := make([]byte, 2*len(c.buf)) // more came than there is room for: read more at once next time
		copy(grown, c.buf)
		c.buf = grown
	}
	c.end += n
	return err == nil || n > 0
}

// setDeadline bounds the next read: by the time that a head may take, the standing still of a body, or rest.
func (c *fastConn) setDeadline() {
	now := time.Now()
	var by time.Time
	switch waiting := c.end > c.read; {
	case waiting && c.need > 0:
		by = now.Add(c.stall())
	case waiting || !c.requests:
		if c.begun.IsZero() {
			c.begun = now
		}
		by = c.begun.Add(headWithin)
	default:
		by = now.Add(restWithin)
		if d := by.Sub(c.readBy); d >= 0 && d < restWithin/8 {
			return
		}
	}
	c.readBy = by
	_ = c.SetReadDeadline(by) // of a broken connection the read tells
}

// handOver gives the connection to net/http, with what waits. It reports false when nobody takes it any more.
func (c *fastConn) handOver() bool {
	if c.SetDeadline(time.Time{}) != nil {
		return false
	}
	h := &handed{Conn: c.Conn, rest: bytes.Clone(c.buf[c.read:c.end]), peer: c.peer}
	select {
	case c.listener.handed <- h:
		return true
	case <-c.listener.closed:
		return false
	}
}
