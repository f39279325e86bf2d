package serve

import (
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask answers one request with a handler.
func ask(h http.HandlerFunc, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h(w, r)
	return w.Result()
}

func text(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEqualReadersOfASnapshotShareTheWork(t *testing.T) {
	type snapshot struct{ n int }
	var s Shared
	of, made := &snapshot{1}, 0
	document := `{"x":"` + strings.Repeat("y", 4000) + `"}`
	h := func(key string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s.JSON(w, r, of, key, func(dst []byte) []byte { made++; return append(dst, document...) })
		}
	}
	for _, tt := range []struct {
		name, key, target, encoding string
		want                        string
		made                        int
	}{
		{"the first makes it", "a", "/", "", document, 1},
		{"the second does not", "a", "/", "", document, 1},
		{"packed, it is the same one", "a", "/", "gzip", document, 1},
		{"and packed again", "a", "/", "gzip", document, 1},
		{"with a callback, it is not packed before", "a", "/?jsonp=cb", "", "cb(" + document + ")", 1},
		{"another user's is another one", "b", "/", "", document, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := ask(h(tt.key), http.MethodGet, tt.target, "Accept-Encoding", tt.encoding)
			var body io.Reader = r.Body
			if tt.encoding != "" {
				if r.Header.Get("Content-Encoding") != "gzip" {
					t.Fatal("it is not packed")
				}
				z, err := gzip.NewReader(r.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			if got := text(t, body); got != tt.want || made != tt.made {
				t.Errorf("made %d times, want %d; %.80s", made, tt.made, got)
			}
		})
	}
	of = &snapshot{1}
	ask(h("a"), http.MethodGet, "/")
	if made != 3 {
		t.Errorf("a later snapshot's was made %d times in all, want 3", made)
	}
	if got := s.Hits(); got != 4 {
		t.Errorf("%d hits, want 4", got)
	}
}

func TestADocumentThatCannotBeMadeIsToldToEverybody(t *testing.T) {
	var s Shared
	h := func(w http.ResponseWriter, r *http.Request) {
		s.Write(w, r, t, "a", TypeProtobuf, func(dst []byte) ([]byte, error) { return append(dst, "half"...), errors.New("no more of it") })
	}
	for range 2 {
		if r := ask(h, http.MethodGet, "/"); r.StatusCode != http.StatusInternalServerError || !strings.Contains(text(t, r.Body), "no more of it") {
			t.Errorf("it is answered %s", r.Status)
		}
	}
	r := ask(func(w http.ResponseWriter, r *http.Request) {
		s.Write(w, r, t, "b", TypeProtobuf, func(dst []byte) ([]byte, error) { return append(dst, "whole"...), nil })
	}, http.MethodGet, "/")
	if r.Header.Get("Content-Type") != TypeProtobuf || text(t, r.Body) != "whole" {
		t.Errorf("another is answered %s %s", r.Status, r.Header.Get("Content-Type"))
	}
}

func TestTheLogIsLouderForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		level := &slog.LevelVar{}
		level.Set(slog.LevelWarn)
		v := &Verbosity{Level: level, Duration: time.ParseDuration}
		expect := func(when, target string, status int, now slog.Level) {
			t.Helper()
			if r := ask(v.ServeHTTP, http.MethodPost, target); r.StatusCode != status || level.Level() != now {
				t.Errorf("%s: %s and level %s, want %d and %s", when, r.Status, level.Level(), status, now)
			}
		}
		expect("words for a level", "/?level=loud&duration=1m", 400, slog.LevelWarn)
		expect("a level below the usual", "/?level=-1&duration=1m", 400, slog.LevelWarn)
		expect("no duration", "/?level=1", 400, slog.LevelWarn)
		expect("louder", "/?level=1&duration=1m", 200, slog.LevelDebug)
		if got := text(t, ask(v.ServeHTTP, http.MethodGet, "/").Body); got != "1\n" {
			t.Errorf("while it is louder it says %q", got)
		}
		time.Sleep(30 * time.Second)
		expect("louder for longer", "/?level=3&duration=1m", 200, slog.LevelDebug)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if level.Level() != slog.LevelDebug {
			t.Error("the first time's end ended the second")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := text(t, ask(v.ServeHTTP, http.MethodGet, "/").Body); got != "0\n" || level.Level() != slog.LevelWarn {
			t.Errorf("afterwards it says %q and the level is %s", got, level.Level())
		}
		expect("louder again", "/?level=1&duration=1h", 200, slog.LevelDebug)
		expect("back at once", "/?level=0&duration=1s", 200, slog.LevelWarn)
		call := func(level uint32, d time.Duration) *http.Response {
			return ask(func(w http.ResponseWriter, r *http.Request) { v.ServeCall(w, r, level, d) }, http.MethodPost, "/")
		}
		if r := call(7, time.Minute); r.StatusCode != http.StatusOK || level.Level() != slog.LevelDebug || v.Raised() != 1 {
			t.Errorf("louder by a call: %s, level %s", r.Status, level.Level())
		}
		if r := call(1, 0); r.StatusCode != http.StatusBadRequest {
			t.Errorf("louder for no time: %s", r.Status)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if v.Raised() != 0 || level.Level() != slog.LevelWarn {
			t.Errorf("after the call's time the level is %s", level.Level())
		}
	})
	if r := ask((&Verbosity{Duration: time.ParseDuration}).ServeHTTP, http.MethodGet, "/?level=1&duration=1m"); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a change by GET: %s", r.Status)
	}
	if r := ask((&Verbosity{Duration: time.ParseDuration}).ServeHTTP, http.MethodPost, "/?level=1&duration=1m"); r.StatusCode != http.StatusConflict {
		t.Errorf("a log without a level: %s", r.Status)
	}
}

func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	p := &Page{
		Title: "<T>", Lead: "lead", Facts: [][2]string{{"a", "<b>"}},
		Groups: []LinkGroup{{Title: "g", Links: []Link{{To: "/x", Words: "w"}, {Code: "pando run", Words: "v"}}}},
	}
	r := ask(p.Write, http.MethodGet, "/")
	body := text(t, r.Body)
	if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	for _, not := range []string{"<T>", "<b>", "src=", "url(", "@import", "<script"} {
		if strings.Contains(body, not) {
			t.Errorf("%s is in the page", not)
		}
	}
	for _, want := range []string{"&lt;T&gt;", `href="/x"`, "<code>pando run</code>"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in the page", want)
		}
	}
}

// slowWriter holds what it is given until it is let go, and only then reads it.
type slowWriter struct {
	*httptest.ResponseRecorder
	held, let chan struct{}
}

func (w *slowWriter) Write(b []byte) (int, error) {
	close(w.held)
	<-w.let
	return w.ResponseRecorder.Write(b)
}

func TestASlowReaderKeepsItsAnswerWhileOthersAreMadeAnew(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		var s Shared
		document := func(n int) string { return strings.Repeat(string(rune('a'+n)), 4000+n) }
		serve := func(w http.ResponseWriter, n int, of any) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Encoding", encoding)
			s.JSON(w, r, of, "", func(dst []byte) []byte { return append(dst, document(n)...) })
		}
		read := func(w *httptest.ResponseRecorder) string {
			if encoding == "" {
				return w.Body.String()
			}
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			return text(t, z)
		}
		slow, done := &slowWriter{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}, make(chan struct{})
		go func() {
			defer close(done)
			serve(slow, 0, new(int))
		}()
		<-slow.held
		for n := 1; n < 20; n++ {
			w := httptest.NewRecorder()
			serve(w, n, new(int))
			if got := read(w); got != document(n) {
				t.Fatalf("%q: answer %d is %.20s…, %d bytes", encoding, n, got, len(got))
			}
		}
		close(slow.let)
		<-done
		if got := read(slow.ResponseRecorder); got != document(0) {
			t.Errorf("%q: the slow reader gets %.20s…, %d bytes", encoding, got, len(got))
		}
	}
}
