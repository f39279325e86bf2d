// Package serve holds what the HTTP doors of masters and agents share: routes that forgive what libprocess forgave, the
// check of Host and Origin that keeps web pages out, who is at the other end of a loopback connection, bounded bodies and
// plain error answers.
package serve

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/fault"
)

// MaxBody bounds a request's body, unpacked.
const MaxBody = 64 << 20

// Config is a server's.
type Config struct {
	// Hosts are the names by which this server may be called, beside loopback ones. With Any every name will do.
	Hosts []string
	Any   bool
	// TrustLoopback lifts the check of who owns the other end of a loopback connection.
	TrustLoopback bool
	// Stall is how long a client may make no progress within a request; zero: 30 s.
	Stall time.Duration
	Log   *slog.Logger
}

// Server makes an http.Server that answers with h and keeps strangers out.
func Server(cfg Config, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           cfg.guard(h),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if h, ok := c.(*handed); ok {
				return context.WithValue(ctx, peerKey{}, h.peer)
			}
			return context.WithValue(ctx, peerKey{}, &peer{conn: c, trust: cfg.TrustLoopback})
		},
	}
}

// guard refuses requests that a web page of another origin made, and names that are not this server's (an attacker's name
// that was made to point at loopback).
func (cfg Config) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !cfg.Any && !cfg.ours(r.Host) {
			Fail(w, http.StatusForbidden, "The Host header names "+clip(r.Host)+", which is not this server; call it by its own name or address.")
			return
		}
		if o := r.Header.Get("Origin"); o != "" && !sameOrigin(o, r.Host) {
			Fail(w, http.StatusForbidden, "The request comes from a web page of "+clip(o)+"; pages of other origins have no access.")
			return
		}
		if s := r.Header.Get("Sec-Fetch-Site"); (s == "cross-site" || s == "same-site") && !followsLink(r) {
			Fail(w, http.StatusForbidden, "The request comes from a web page of another site; such pages have no access.")
			return
		}
		w, r = unstalled(w, r, cmp.Or(cfg.Stall, stall))
		h.ServeHTTP(w, r)
	})
}

// followsLink says whether a browser goes to a page, as from a link: its user sees the answer, the page he came from does
// not. A form that is sent is not that.
func followsLink(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

func (cfg Config) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if strings.EqualFold(name, "localhost") || name == "" {
		return true
	}
	if ip := net.ParseIP(name); ip != nil && ip.IsLoopback() {
		return true
	}
	for _, h := range cfg.Hosts {
		if strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

func sameOrigin(origin, host string) bool {
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := strings.CutPrefix(origin, scheme); ok {
			return strings.EqualFold(rest, host)
		}
	}
	return false
}

func clip(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// Fail answers with words alone.
func Fail(w http.ResponseWriter, status int, words string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, words) // a client that is gone needs no words
}

// FailWith answers with an error's words and the status of its kind.
func FailWith(w http.ResponseWriter, err error) {
	if e, ok := errors.AsType[*StatusError](err); ok {
		Fail(w, e.Status, e.Error())
		return
	}
	Fail(w, fault.Of(err).Status(), err.Error())
}

// StatusError is an error with an HTTP status of its own.
type StatusError struct {
	Status int
	Words  string
}

// Error is the words.
func (e *StatusError) Error() string { return e.Words }

// Body reads a request's body whole, unpacked if it is gzipped, and no more than MaxBody of it.
func Body(r *http.Request) ([]byte, error) {
	var in io.Reader = r.Body
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fault.New(fault.Invalid, "the body is not gzip, which Content-Encoding says it is: %v", err)
		}
		in = z
	default:
		return nil, &StatusError{http.StatusUnsupportedMediaType, "Content-Encoding may be gzip or absent."}
	}
	if n := r.ContentLength; n > MaxBody {
		return nil, tooLarge()
	}
	var out []byte
	if n := r.ContentLength; n > 0 && in == io.Reader(r.Body) {
		out = make([]byte, 0, n+1)
	} else {
		out = make([]byte, 0, 4096)
	}
	for {
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := in.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if len(out) > MaxBody {
			return nil, tooLarge()
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "the body cannot be read: %v", err)
		}
	}
}

func tooLarge() error {
	return &StatusError{http.StatusRequestEntityTooLarge, "The body is larger than 64 MiB; send less at once."}
}

// JSON answers with a JSON document, as JSONP when the query asks for it, and gzipped when the client takes that and it
// is worth it.
func JSON(w http.ResponseWriter, r *http.Request, body []byte) {
	h := w.Header()
	if cb := r.URL.Query().Get("jsonp"); cb != "" {
		if !callback(cb) {
			Fail(w, http.StatusBadRequest, "jsonp must be the name of a function: letters, digits, '_', '$' and '.'.")
			return
		}
		h.Set("Content-Type", "text/javascript")
		h.Set("X-Content-Type-Options", "nosniff")
		body = append(append(append(make([]byte, 0, len(body)+len(cb)+3), cb...), '('), body...)
		body = append(body, ')')
	} else {
		h.Set("Content-Type", "application/json")
	}
	Write(w, r, body)
}

// Write answers with a body, gzipped when the client takes that and it is worth it.
func Write(w http.ResponseWriter, r *http.Request, body []byte) {
	if !packs(r, body) {
		_, _ = w.Write(body) // a client that is gone needs no answer
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	pack(w, body)
}

func callback(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && c != '$' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(s) <= 200
}
