package master

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/serve"
)

const (
	// smallBody is what every request may send without asking for room.
	smallBody = 1 << 20
	// bodyRoom is what the larger bodies that are under way may take together, and peerRoom those of one peer: a user of this
	// machine, or an address.
	bodyRoom = 512 << 20
	peerRoom = bodyRoom / 2
	// largeBodyTime is how long a large body may take to come.
	largeBodyTime = 2 * time.Minute
	// gzipRatio is the most that gzip unpacks of a byte.
	gzipRatio = 1032
)

// room is what large bodies take of the memory.
type room struct {
	mu    sync.Mutex // guards the rest
	used  int
	peers map[string]int
}

func (r *room) take(peer string, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used+n > bodyRoom || r.peers[peer]+n > peerRoom {
		return false
	}
	if r.peers == nil {
		r.peers = map[string]int{}
	}
	r.used += n
	r.peers[peer] += n
	return true
}

func (r *room) give(peer string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
	if r.peers[peer] -= n; r.peers[peer] <= 0 {
		delete(r.peers, peer)
	}
}

// bounded keeps large bodies within the room there is, counts those that are refused, and lets a request take memory as its
// body comes, not as its length is announced.
func (m *Master) bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		packed := r.Header.Get("Content-Encoding") == "gzip"
		if !packed && r.ContentLength >= 0 && r.ContentLength <= smallBody {
			h.ServeHTTP(w, r)
			return
		}
		b := &roomyBody{ReadCloser: r.Body, m: m, peer: peerOf(r), ratio: 1}
		if packed {
			b.ratio = gzipRatio
		}
		r = r.WithContext(r.Context()) // the server looks at its own request's body
		r.Body = b
		if r.ContentLength > smallBody && r.ContentLength <= serve.MaxBody {
			r.ContentLength = -1
		}
		defer b.release()
		h.ServeHTTP(&bodyAnswer{w, b}, r)
	})
}

// peerOf names whom a request counts for.
func peerOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if who := serve.Who(r); !who.Root {
		return "user " + who.User
	}
	return host
}

// roomyBody takes room for what comes of a body beyond what is small.
type roomyBody struct {
	io.ReadCloser
	m     *Master
	peer  string
	ratio int

	came, taken int
	since       time.Duration
	full        bool
}

// errNoRoom is what a body's reader gets that there is no room for.
var errNoRoom = &serve.StatusError{Status: http.StatusServiceUnavailable, Words: "Too many large requests are under way; send it again in a moment."}

// Read reads on, if there is room.
func (b *roomyBody) Read(p []byte) (int, error) {
	if b.full {
		return 0, errNoRoom
	}
	n, err := b.ReadCloser.Read(p)
	b.came += n
	want := min(b.came*b.ratio, serve.MaxBody)
	if want <= smallBody {
		return n, err
	}
	now := b.m.deps.Clock.Now().Mono
	if b.since == 0 {
		b.since = now
	}
	if more := want - b.taken; more > 0 {
		more = min((more+smallBody-1)/smallBody*smallBody, serve.MaxBody+smallBody-b.taken) // by the megabyte
		if now-b.since > largeBodyTime || !b.m.room.take(b.peer, more) {
			b.full = true
			return 0, errNoRoom
		}
		b.taken += more
	}
	return n, err
}

// release gives the room back. A SUBSCRIBE does it before its stream begins.
func (b *roomyBody) release() {
	if b.taken > 0 {
		b.m.room.give(b.peer, b.taken)
		b.taken = 0
	}
}

// endBody gives the room of a request's body back before its handler ends.
func endBody(r *http.Request) {
	if b, ok := r.Body.(*roomyBody); ok {
		b.release()
	}
}

// bodyAnswer looks at how a request with a body is answered.
type bodyAnswer struct {
	http.ResponseWriter
	body *roomyBody
}

// Unwrap lets the connection be taken over.
func (a *bodyAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader counts a refusal.
func (a *bodyAnswer) WriteHeader(status int) {
	kind := ""
	switch {
	case a.body.full:
		kind, status = "crowded", http.StatusServiceUnavailable
		a.Header().Set("Retry-After", "1")
	case status == http.StatusRequestEntityTooLarge:
		kind = "large"
	}
	if kind != "" {
		m := a.body.m
		m.counts.bodiesRefused[kind].Inc()
		m.warn("request refused for its body", kind+" "+strings.TrimPrefix(a.body.peer, "user "), "kind", kind, "peer", a.body.peer)
	}
	a.ResponseWriter.WriteHeader(status)
}
