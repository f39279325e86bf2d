package serve_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/serve"
)

// listen serves h on loopback with everything that a door of a node has.
func listen(t *testing.T, cfg serve.Config, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	s := httptest.NewUnstartedServer(nil)
	s.Config = serve.Server(cfg, h)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestTheGuardKeepsPagesOfOthersOut(t *testing.T) {
	const own = "http://127.0.0.1:5050"
	for name, c := range map[string]struct {
		cfg    serve.Config
		method string
		host   string
		header []string
		passes bool
	}{
		"loopback by number":                        {host: "127.0.0.1:5050", passes: true},
		"loopback by another number":                {host: "127.8.8.8:5050", passes: true},
		"loopback of IPv6":                          {host: "[::1]:5050", passes: true},
		"loopback without a port":                   {host: "localhost", passes: true},
		"loopback in capitals":                      {host: "LOCALHOST:5050", passes: true},
		"a name that was set":                       {cfg: serve.Config{Hosts: []string{"node-1", "10.0.0.1"}}, host: "Node-1:5050", passes: true},
		"an address that was set":                   {cfg: serve.Config{Hosts: []string{"node-1", "10.0.0.1"}}, host: "10.0.0.1:5050", passes: true},
		"no name at all, as HTTP/1.0 has it":        {host: "", passes: true},
		"any name where all are let in":             {cfg: serve.Config{Any: true}, host: "evil.example", passes: true},
		"another name":                              {host: "evil.example"},
		"a name that begins as loopback":            {host: "127.0.0.1.evil.example:5050"},
		"a name that begins as localhost":           {host: "localhost.evil.example"},
		"another address":                           {host: "10.0.0.1:5050"},
		"its own origin":                            {host: "127.0.0.1:5050", header: []string{"Origin", own}, passes: true},
		"its own origin, by TLS in front":           {host: "127.0.0.1:5050", header: []string{"Origin", "https://127.0.0.1:5050"}, passes: true},
		"another port":                              {host: "127.0.0.1:5050", header: []string{"Origin", "http://127.0.0.1:8080"}},
		"the same machine by another name":          {host: "127.0.0.1:5050", header: []string{"Origin", "http://localhost:5050"}},
		"no origin that has a name":                 {host: "127.0.0.1:5050", header: []string{"Origin", "null"}},
		"an origin that is a file":                  {host: "127.0.0.1:5050", header: []string{"Origin", "file://"}},
		"an extension":                              {host: "127.0.0.1:5050", header: []string{"Origin", "chrome-extension://abc"}},
		"another origin where all names are let in": {cfg: serve.Config{Any: true}, host: "a.example", header: []string{"Origin", "http://b.example"}},
		"a script":                                  {host: "127.0.0.1:5050", header: []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}},
		"a script of a neighbour":                   {host: "127.0.0.1:5050", header: []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}},
		"a frame's mode that is none":               {host: "127.0.0.1:5050", header: []string{"Sec-Fetch-Site", "cross-site"}},
		"a link that is followed":                   {host: "127.0.0.1:5050", header: []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, passes: true},
		"a form that is sent":                       {method: http.MethodPost, host: "127.0.0.1:5050", header: []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}},
		"the address bar":                           {host: "127.0.0.1:5050", header: []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, passes: true},
		"a script of its own":                       {method: http.MethodPost, host: "127.0.0.1:5050", header: []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, passes: true},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Log = slog.New(slog.DiscardHandler)
			h := serve.Server(c.cfg, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })).Handler
			if c.method == "" {
				c.method = http.MethodGet
			}
			r := httptest.NewRequest(c.method, "/", nil)
			r.Host = c.host
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if want := map[bool]int{true: http.StatusNoContent, false: http.StatusForbidden}[c.passes]; w.Code != want {
				t.Errorf("%d %s, want %d", w.Code, w.Body, want)
			}
			if !c.passes && w.Body.Len() == 0 {
				t.Error("nothing is said of it")
			}
		})
	}
}

func TestAMuxForgivesWhatTheOriginalForgave(t *testing.T) {
	m := &serve.Mux{Prefixes: []string{"slave(1)", "agent"}}
	say := func(words string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, words) }
	}
	m.Handle("/", say("page"))
	m.Handle("/state", say("state"))
	m.Handle("/files", say("files"))
	m.Handle("/monitor/statistics", say("statistics"))
	m.Exact("/api/v1/scheduler", say("scheduler"))
	for path, want := range map[string]string{
		"/": "page", "//": "page", "/agent": "page", "/slave(1)/": "page",
		"/state": "state", "/state/": "state", "/state.json": "state", "/state/anything/below": "state", "//state": "state",
		"/agent/state": "state", "/slave(1)/state.json": "state", "/slave(1)//state": "state",
		"/files/read": "files", "/files/read.json": "files", "/agent/files/browse": "files",
		"/monitor/statistics.json": "statistics", "/monitor/statistics/x": "statistics",
		"/api/v1/scheduler": "scheduler", "/api/v1/scheduler/": "scheduler",
		"/api/v1/scheduler/x": "404", "/api/v1": "404", "/monitor": "404", "/states": "404", "/agents/state": "404", "/slave(2)/state": "404",
		"/agent/agent/state": "404", "/.json": "404", "/statejson": "404",
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
		got := w.Body.String()
		if w.Code != http.StatusOK {
			got = fmt.Sprint(w.Code)
		}
		if got != want {
			t.Errorf("%s is answered by %s, want %s", path, got, want)
		}
	}
}

func packed(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // a buffer takes everything
	_ = z.Close()     // as above
	return out.Bytes()
}

func TestABodyIsReadWholeOrRefused(t *testing.T) {
	s := listen(t, serve.Config{}, func(w http.ResponseWriter, r *http.Request) {
		b, err := serve.Body(r)
		if err != nil {
			serve.FailWith(w, err)
			return
		}
		fmt.Fprintf(w, "%d", len(b))
	})
	hc := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}} // hears the refusal before it sends
	defer hc.CloseIdleConnections()
	full := make([]byte, serve.MaxBody)
	for name, c := range map[string]struct {
		body     []byte
		encoding string
		chunked  bool
		status   int
		says     string
	}{
		"nothing":                          {nil, "", false, 200, "0"},
		"a little":                         {[]byte("abc"), "", false, 200, "3"},
		"a little in chunks":               {[]byte("abc"), "", true, 200, "3"},
		"as much as may be":                {full, "", false, 200, fmt.Sprint(serve.MaxBody)},
		"as much as may be in chunks":      {full, "", true, 200, fmt.Sprint(serve.MaxBody)},
		"a byte more":                      {append(slices.Clip(full), 0), "", false, 413, "64 MiB"},
		"a byte more in chunks":            {append(slices.Clip(full), 0), "", true, 413, "64 MiB"},
		"a packed one":                     {packed([]byte("abc")), "gzip", false, 200, "3"},
		"a small one that grows too large": {packed(make([]byte, serve.MaxBody+1)), "gzip", false, 413, "64 MiB"},
		"one that is not packed":           {[]byte("abc"), "gzip", false, 400, "not gzip"},
		"a packed one that is cut off":     {packed([]byte("abcdefgh"))[:20], "gzip", false, 400, "cannot be read"},
		"one packed in another way":        {[]byte("abc"), "br", false, 415, "gzip"},
	} {
		t.Run(name, func(t *testing.T) {
			var body io.Reader = bytes.NewReader(c.body)
			if c.chunked {
				body = io.MultiReader(body) // its length is not known
			}
			r, err := http.NewRequest(http.MethodPost, s.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			if c.status == http.StatusRequestEntityTooLarge {
				r.Header.Set("Expect", "100-continue")
			}
			if c.encoding != "" {
				r.Header.Set("Content-Encoding", c.encoding)
			}
			resp, err := hc.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body) // what there is of it is compared
			if resp.StatusCode != c.status || !strings.Contains(string(b), c.says) {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, b, c.status, c.says)
			}
		})
	}
}

func TestAClientThatStandsStillIsGivenUpAndASlowOneIsNot(t *testing.T) {
	const stall = 200 * time.Millisecond
	ended := make(chan error, 1)
	s := listen(t, serve.Config{Stall: stall}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if r.URL.Path == "/patient" {
				serve.Unhurried(w, r)
			}
			b, err := serve.Body(r)
			ended <- err
			fmt.Fprintf(w, "%d", len(b))
			return
		}
		_, err := w.Write(make([]byte, 64<<20)) // more than the kernel keeps for a reader
		ended <- err
	})
	dial := func(request string) net.Conn {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // it may be closed
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	t.Run("a body that does not come", func(t *testing.T) {
		conn := dial("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
		if err := <-ended; err == nil {
			t.Error("the body was taken for whole")
		}
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second)) // of one that is closed the read tells
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("the connection was kept: %v", err)
		}
	})
	t.Run("an answer that is not taken", func(t *testing.T) {
		dial("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if err := <-ended; err == nil {
			t.Error("the answer was taken for sent")
		}
	})
	t.Run("a body that comes slowly", func(t *testing.T) {
		const size = 30
		conn := dial(fmt.Sprintf("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size))
		for range size { // longer in all than anybody may stand still
			time.Sleep(stall / 10)
			if _, err := conn.Write([]byte{'x'}); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if b, err := io.ReadAll(conn); err != nil || !bytes.HasSuffix(b, []byte("30")) {
			t.Errorf("%s %v", b, err)
		}
	})
	t.Run("a body that may stand still", func(t *testing.T) {
		conn := dial("POST /patient HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nab")
		for _, b := range []string{"c", "d"} {
			time.Sleep(2 * stall)
			if _, err := io.WriteString(conn, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Run("a connection that rests between two requests", func(t *testing.T) {
		c := s.Client()
		for range 2 {
			resp, err := c.Post(s.URL, "text/plain", strings.NewReader("abc"))
			if err != nil {
				t.Fatal(err)
			}
			<-ended
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "3" {
				t.Errorf("%s %v", b, err)
			}
			_ = resp.Body.Close() // it was read
			time.Sleep(2 * stall)
		}
	})
}

func TestAConnectionThatIsTakenOverHasNoDeadlineOfTheRequest(t *testing.T) {
	const stall = 50 * time.Millisecond
	s := listen(t, serve.Config{Stall: stall}, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		time.Sleep(4 * stall)
		_, _ = io.WriteString(conn, "late but well") // its reader tells
	})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); string(b) != "late but well" {
		t.Errorf("%q %v", b, err)
	}
}

func TestJSONPTakesNamesOnly(t *testing.T) {
	for callback, want := range map[string]string{
		"f": "f({})", "a.b_c$9": "a.b_c$9({})", "": "{}",
		"alert(1)//": "400", "f;g": "400", "f g": "400", "<script>": "400", strings.Repeat("f", 201): "400",
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = "jsonp=" + strings.NewReplacer(" ", "%20", ";", "%3b", "<", "%3c").Replace(callback)
		serve.JSON(w, r, []byte("{}"))
		got := w.Body.String()
		if w.Code != http.StatusOK {
			got = fmt.Sprint(w.Code)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", callback, got, want)
		}
		if w.Code == http.StatusOK && callback != "" && w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Error("a script may be taken for something else")
		}
	}
}
