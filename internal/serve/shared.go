package serve

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// Shared keeps the answers that were made of the latest snapshot, packed too where somebody took them so: clients that
// poll while nothing changes, or all at once, share the bytes and the work. The answers of a snapshot go with the first
// request for a later one, and the memory of those that nobody reads any more is used for the next.
type Shared struct {
	mu   sync.Mutex
	of   any
	made map[string]*answer
	hits atomic.Uint64
}

// Hits says how many requests were answered with what was made for another one.
func (s *Shared) Hits() uint64 { return s.hits.Load() }

type answer struct {
	once, packing sync.Once
	body          []byte
	packed        bytes.Buffer
	users         int // who reads it, and Shared itself while it is of the latest snapshot; Shared's mu guards it
	err           error
}

// answers are those whose memory waits for the next: a large cluster's state takes many megabytes, and making them anew for
// each reader keeps the collector busy, which launches feel.
var answers = sync.Pool{New: func() any { return new(answer) }}

// JSON answers with the JSON document that key names, which build makes of the snapshot of (a pointer that is compared) by
// appending. Who may not see everything must be part of the key.
func (s *Shared) JSON(w http.ResponseWriter, r *http.Request, of any, key string, build func([]byte) []byte) {
	a := s.answer(of, key)
	defer s.leave(a)
	a.once.Do(func() { a.body = build(a.body) })
	if r.URL.RawQuery != "" && r.URL.Query().Get("jsonp") != "" {
		JSON(w, r, a.body)
		return
	}
	a.write(w, r, "application/json")
}

// Write answers with the document of that type that key names, as JSON does. When build fails everybody who asked for it gets
// the error as a 500.
func (s *Shared) Write(w http.ResponseWriter, r *http.Request, of any, key, contentType string, build func([]byte) ([]byte, error)) {
	a := s.answer(of, key)
	defer s.leave(a)
	a.once.Do(func() { a.body, a.err = build(a.body) })
	if a.err != nil {
		Fail(w, http.StatusInternalServerError, "The answer cannot be encoded: "+a.err.Error())
		return
	}
	a.write(w, r, contentType)
}

func (a *answer) write(w http.ResponseWriter, r *http.Request, contentType string) {
	w.Header().Set("Content-Type", contentType)
	if !packs(r, a.body) {
		_, _ = w.Write(a.body) // a client that is gone needs no answer
		return
	}
	a.packing.Do(func() { pack(&a.packed, a.body) })
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(a.packed.Bytes()) // as above
}

func (s *Shared) answer(of any, key string) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of != of || s.made == nil {
		for _, a := range s.made { // order: each is let go by itself
			a.leave()
		}
		s.of, s.made = of, map[string]*answer{}
	}
	a := s.made[key]
	if a == nil {
		a = answers.Get().(*answer)
		a.users = 1
		s.made[key] = a
	} else {
		s.hits.Add(1)
	}
	a.users++
	return a
}

func (s *Shared) leave(a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.leave()
}

// leave gives an answer back that nobody reads or will read. The caller holds the lock.
func (a *answer) leave() {
	if a.users--; a.users > 0 {
		return
	}
	a.once, a.packing, a.body, a.err = sync.Once{}, sync.Once{}, a.body[:0], nil
	a.packed.Reset()
	answers.Put(a)
}

// packSlice is how much is packed before others get the processor: about what takes a tenth of a millisecond.
const packSlice = 16 << 10

var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed) // the level is one
	return z
}}

// pack writes a body gzipped. It takes long for a large one, so it lets others run all the while.
func pack(w io.Writer, body []byte) {
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(w)
	for len(body) > 0 {
		n := min(len(body), packSlice)
		_, _ = z.Write(body[:n]) // a client that is gone needs no answer
		body = body[n:]
		runtime.Gosched()
	}
	_ = z.Close() // as above
}

// packs says whether a body is worth packing for a client that takes that.
func packs(r *http.Request, body []byte) bool {
	return len(body) >= 1024 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}
