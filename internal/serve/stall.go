package serve

import (
	"io"
	"net/http"
	"time"
)

// stall is how long a client may make no progress, neither sending the body it announced nor taking the answer, before its
// connection is given up. A slow one that goes on has all the time it wants.
const stall = 30 * time.Second

// unstalled bounds the standing still of a request and its answer. Who takes the connection over sets deadlines of his own.
func unstalled(w http.ResponseWriter, r *http.Request, stall time.Duration) (http.ResponseWriter, *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(stall)) // of a connection that is broken the next write tells
	if r.ContentLength != 0 {
		b := &body{ReadCloser: r.Body, conn: rc, stall: stall}
		b.extend(time.Now())
		r = r.WithContext(r.Context()) // the server looks at its own request's body to know what to do with the rest
		r.Body = b
	}
	if r.Method != http.MethodGet {
		return w, r // the answers to the others are short
	}
	return &patient{ResponseWriter: w, conn: rc, stall: stall, set: time.Now()}, r
}

// body moves the deadline on with each piece that comes, and takes it away at the body's end.
type body struct {
	io.ReadCloser
	conn    *http.ResponseController
	stall   time.Duration
	set     time.Time
	patient bool // it may stand still
}

func (b *body) extend(now time.Time) {
	b.set = now
	_ = b.conn.SetReadDeadline(now.Add(b.stall)) // as above
}

// Read reads on.
func (b *body) Read(p []byte) (int, error) {
	if now := time.Now(); !b.patient && now.Sub(b.set) > b.stall/8 {
		b.extend(now)
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.conn.SetWriteDeadline(time.Now().Add(b.stall)) // the answer's time begins now
	}
	if err == io.EOF {
		// The server listens on for the client's leaving. After any other error it waits for the rest of the body before it
		// closes, and the deadline that stands ends that.
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// patient moves the deadline on with each piece of the answer that is taken.
type patient struct {
	http.ResponseWriter
	conn  *http.ResponseController
	stall time.Duration
	set   time.Time
}

// Unwrap lets the connection be taken over.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Write writes a piece after another, so that a long one makes progress too.
func (p *patient) Write(b []byte) (int, error) {
	const piece = 256 << 10
	written := 0
	for {
		if now := time.Now(); now.Sub(p.set) > p.stall/8 {
			p.set = now
			_ = p.conn.SetWriteDeadline(now.Add(p.stall)) // as above
		}
		n, err := p.ResponseWriter.Write(b[written:min(len(b), written+piece)])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}
