package serve

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Shared keeps the answers that were made of the latest snapshot, packed too where somebody took them so: clients that
// poll while nothing changes, or all at once, share the bytes and the work. The answers of a snapshot go with the first
// request for a later one.
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
	body, packed  []byte
	err           error
}

// JSON answers with the JSON document that key names, which build makes of the snapshot of (a pointer that is compared).
// Who may not see everything must be part of the key.
func (s *Shared) JSON(w http.ResponseWriter, r *http.Request, of any, key string, build func() []byte) {
	a := s.answer(of, key)
	a.once.Do(func() { a.body = build() })
	if r.URL.RawQuery != "" && r.URL.Query().Get("jsonp") != "" {
		JSON(w, r, a.body)
		return
	}
	a.write(w, r, "application/json")
}

// Write answers with the document of that type that key names, as JSON does. When build fails everybody who asked for it gets
// the error as a 500.
func (s *Shared) Write(w http.ResponseWriter, r *http.Request, of any, key, contentType string, build func() ([]byte, error)) {
	a := s.answer(of, key)
	a.once.Do(func() { a.body, a.err = build() })
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
	a.packing.Do(func() {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one
		_, _ = z.Write(a.body)                          // a buffer takes everything
		_ = z.Close()                                   // as above
		a.packed = b.Bytes()
	})
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(a.packed) // as above
}

func (s *Shared) answer(of any, key string) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of != of || s.made == nil {
		s.of, s.made = of, map[string]*answer{}
	}
	a := s.made[key]
	if a == nil {
		a = &answer{}
		s.made[key] = a
	} else {
		s.hits.Add(1)
	}
	return a
}

// packs says whether a body is worth packing for a client that takes that.
func packs(r *http.Request, body []byte) bool {
	return len(body) >= 1024 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}
