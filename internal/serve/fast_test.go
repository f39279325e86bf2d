package serve_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/serve"
)

// fastServer takes bodies that begin with "fast" without net/http, whose handler gets all others.
type fastServer struct {
	addr string
	mu   sync.Mutex
	fast []string // bodies that were taken
	slow []string // what net/http got
}

func startFast(t *testing.T, cfg serve.Config) *fastServer {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fastServer{addr: l.Addr().String()}
	s := serve.Server(cfg, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			b = []byte(err.Error())
		}
		f.note(&f.slow, r.Method+" "+r.URL.Path+" "+string(b))
		fmt.Fprintf(w, "slow %s root=%v", b, serve.Who(r).Root)
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		fast := serve.Fast{Path: "/calls", Take: func(r *serve.FastRequest) bool {
			if bytes.HasPrefix(r.Body, []byte("panic")) {
				panic("as asked")
			}
			if !bytes.HasPrefix(r.Body, []byte("fast")) || string(r.ContentType) != "text/plain" || !r.Who().Root {
				return false
			}
			f.note(&f.fast, string(r.Body)+string(r.StreamID))
			return true
		}}
		if err := s.Serve(fast.Listen(cfg, l)); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return f
}

func (f *fastServer) note(at *[]string, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*at = append(*at, what)
}

func (f *fastServer) got() (fast, slow []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fast, slow, f.fast, f.slow = f.fast, f.slow, nil, nil
	return fast, slow
}

func (f *fastServer) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// call is a request of the plainest form, with more header lines if wanted.
func call(body string, more ...string) string {
	return "POST /calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n" + strings.Join(append(more, ""), "\r\n") +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// answers reads n answers: their statuses and bodies.
func answers(t *testing.T, r *bufio.Reader, n int) []string {
	t.Helper()
	var out []string
	for range n {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return append(out, err.Error())
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil && resp.StatusCode/100 == 2 {
			t.Error(err) // after a refusal net/http closes, which resets a client that still writes
		}
		_ = resp.Body.Close() // it was read
		text := fmt.Sprintf("%d %.100s", resp.StatusCode, b)
		if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil && resp.StatusCode/100 == 2 {
			t.Error(err)
		}
		if resp.StatusCode/100 != 2 {
			text = text[:3] // the words are net/http's
		}
		out = append(out, strings.TrimSpace(text))
	}
	return out
}

func TestPlainCallsAreAnsweredFastAndAllOthersByNetHTTP(t *testing.T) {
	f := startFast(t, serve.Config{})
	large := "fast" + strings.Repeat("x", 900_000)
	larger := large + large
	for name, c := range map[string]struct {
		requests   string
		want       []string
		fast, slow []string
	}{
		"one call":                        {call("fast 1"), []string{"202"}, []string{"fast 1"}, nil},
		"a call with a stream's id":       {call("fast 1", "Mesos-Stream-Id: abc"), []string{"202"}, []string{"fast 1abc"}, nil},
		"all headers that may be there":   {call("fast", "accept: */*", "ACCEPT-ENCODING: gzip", "User-Agent: x", "Connection: Keep-Alive"), []string{"202"}, []string{"fast"}, nil},
		"three at once":                   {call("fast 1") + call("fast 2") + call("fast 3"), []string{"202", "202", "202"}, []string{"fast 1", "fast 2", "fast 3"}, nil},
		"a large one":                     {call(large), []string{"202"}, []string{large}, nil},
		"one that is not taken":           {call("slow 1"), []string{"200 slow slow 1 root=true"}, nil, []string{"POST /calls slow 1"}},
		"one that is not taken, between":  {call("fast 1") + call("slow 2") + call("fast 3"), []string{"202", "200 slow slow 2 root=true", "200 slow fast 3 root=true"}, []string{"fast 1"}, []string{"POST /calls slow 2", "POST /calls fast 3"}},
		"another path":                    {strings.Replace(call("fast"), "/calls", "/other", 1), []string{"200 slow fast root=true"}, nil, []string{"POST /other fast"}},
		"a path that goes on":             {strings.Replace(call("fast"), "/calls", "/calls/x", 1), []string{"200 slow fast root=true"}, nil, []string{"POST /calls/x fast"}},
		"a GET after a call":              {call("fast 1") + "GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n", []string{"202", "200 slow  root=true"}, []string{"fast 1"}, []string{"GET /state "}},
		"a header that is not known":      {call("fast", "Authorization: Basic eDp5"), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"a page of its own origin":        {call("fast", "Origin: http://localhost"), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"a page of another origin":        {call("fast", "Origin: http://evil.example"), []string{"403"}, nil, nil},
		"another name":                    {strings.Replace(call("fast"), "localhost", "evil.example", 1), []string{"403"}, nil, nil},
		"chunks":                          {"POST /calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfast\r\n0\r\n\r\n", []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"two lengths":                     {call("fast", "Content-Length: 2"), []string{"400"}, nil, nil},
		"two equal lengths":               {call("fast", "Content-Length: 4"), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"a length and chunks":             {call("0\r\n\r\n", "Transfer-Encoding: chunked"), []string{"200 slow  root=true"}, nil, []string{"POST /calls "}},
		"a length with a sign":            {strings.Replace(call("fast"), "h: 4", "h: +4", 1), []string{"400"}, nil, nil},
		"two hosts":                       {call("fast", "Host: localhost"), []string{"400"}, nil, nil},
		"no host":                         {strings.Replace(call("fast"), "Host: localhost\r\n", "", 1), []string{"400"}, nil, nil},
		"a space before a colon":          {call("fast", "Accept : x"), []string{"400"}, nil, nil},
		"a line that goes on":             {call("fast", "Accept: x", " y"), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"a control character":             {call("fast", "Accept: \x01"), []string{"400"}, nil, nil},
		"a line feed alone":               {strings.Replace(call("fast"), "text/plain\r\n", "text/plain\n", 1), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"one that wants to be the last":   {call("fast", "Connection: close"), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"one that waits to be asked":      {call("fast", "Expect: 100-continue"), []string{"100", "200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"an old one":                      {strings.Replace(call("fast"), "HTTP/1.1", "HTTP/1.0", 1), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"a head of more than four KiB":    {call("fast", "Accept: "+strings.Repeat("x", 5000)), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
		"a call whose handler breaks":     {call("fast") + call("panic"), []string{"202", "unexpected EOF"}, []string{"fast"}, nil},
		"something that is no HTTP":       {"\x16\x03\x01 hello\r\n\r\n", []string{"400"}, nil, nil},
		"a body of more than one MiB":     {call(larger), []string{"200 slow " + larger[:70]}, nil, []string{"POST /calls " + larger}},
		"a body of no kind that is known": {strings.Replace(call("fast"), "text/plain", "text/html", 1), []string{"200 slow fast root=true"}, nil, []string{"POST /calls fast"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, cut := range []int{0, 1, 7, 100} { // how many bytes go at once; 0: all
				if cut > 0 && len(c.requests) > 10_000 {
					continue
				}
				conn, r := f.dial(t)
				go send(conn, c.requests, cut)
				got := answers(t, r, len(c.want))
				fast, slow := f.got()
				for i := range got {
					got[i] = got[i][:min(len(got[i]), max(len(c.want[i]), 3))]
				}
				_ = conn.Close() // the next has its own
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("by %d: %s", cut, diff)
				}
				if diff := cmp.Diff(c.fast, fast); diff != "" {
					t.Errorf("by %d, fast: %s", cut, diff)
				}
				if diff := cmp.Diff(c.slow, slow); diff != "" {
					t.Errorf("by %d, slow: %s", cut, diff)
				}
			}
		})
	}
}

// send writes a text so many bytes at a time, with pauses in which the server sees what it has.
func send(conn net.Conn, text string, cut int) {
	if cut == 0 {
		cut = len(text)
	}
	for len(text) > 0 {
		n := min(cut, len(text))
		if _, err := io.WriteString(conn, text[:n]); err != nil {
			return // the server had enough
		}
		text = text[n:]
		if rand.IntN(20) == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

func TestAThousandCallsOfOneConnectionKeepTheirOrder(t *testing.T) {
	f := startFast(t, serve.Config{})
	conn, r := f.dial(t)
	var all strings.Builder
	var want []string
	for i := range 1000 {
		body := fmt.Sprintf("fast %d %s", i, strings.Repeat("x", rand.IntN(3000)))
		want = append(want, body)
		all.WriteString(call(body))
	}
	go send(conn, all.String(), 1+rand.IntN(9000))
	for i, a := range answers(t, r, len(want)) {
		if a != "202" {
			t.Fatalf("answer %d: %s", i, a)
		}
	}
	fast, slow := f.got()
	if diff := cmp.Diff(want, fast); diff != "" || slow != nil {
		t.Error(diff, slow)
	}
}

func TestAConnectionOnTheFastWayThatStandsStillIsGivenUp(t *testing.T) {
	const stall = 100 * time.Millisecond
	f := startFast(t, serve.Config{Stall: stall})
	t.Run("in a body", func(t *testing.T) {
		conn, r := f.dial(t)
		text := call("fast and more to come")
		send(conn, text[:len(text)-3], 0)
		begun := time.Now()
		if got := answers(t, r, 1); got[0] != "unexpected EOF" || time.Since(begun) < stall/2 {
			t.Errorf("%s after %v", got, time.Since(begun))
		}
	})
	t.Run("and not one that rests between calls, or is slow and goes on", func(t *testing.T) {
		conn, r := f.dial(t)
		for range 2 {
			text := call("fast and slow")
			head := len(text) - 13
			send(conn, text[:head], 0)
			for i := head; i < len(text); i += 5 {
				time.Sleep(stall / 2)
				send(conn, text[i:min(i+5, len(text))], 0)
			}
			if got := answers(t, r, 1); got[0] != "202" {
				t.Error(got)
			}
			time.Sleep(2 * stall)
		}
	})
	t.Run("by not reading answers", func(t *testing.T) {
		conn, _ := f.dial(t)
		_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10) // to fill sooner
		many := strings.Repeat(call("fast"), 1000)
		begun := time.Now()
		for time.Since(begun) < 10*time.Second {
			if _, err := io.WriteString(conn, many); err != nil {
				return
			}
		}
		t.Error("the server goes on reading")
	})
}

func TestWhoIsAskedToStopEndsItsFastConnections(t *testing.T) {
	cfg := serve.Config{Log: slog.New(slog.DiscardHandler)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serve.Server(cfg, http.NotFoundHandler())
	done := make(chan error, 1)
	go func() {
		done <- s.Serve(serve.Fast{Path: "/calls", Take: func(*serve.FastRequest) bool { return true }}.Listen(cfg, l))
	}()
	f := &fastServer{addr: l.Addr().String()}
	_, silentR := f.dial(t)
	used, usedR := f.dial(t)
	send(used, call("fast"), 0)
	if got := answers(t, usedR, 1); got[0] != "202" {
		t.Fatal(got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	for name, r := range map[string]*bufio.Reader{"silent": silentR, "used": usedR} {
		if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the %s connection lives on: %v", name, err)
		}
	}
}
