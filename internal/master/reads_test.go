package master

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/internal/meter"
)

// heldBook is a book whose steps wait until they are let go.
type heldBook struct {
	*cluster.Book
	entered, release chan struct{}
}

func (b *heldBook) Step(now machine.Now, in cluster.In, out *cluster.Out) {
	if in != nil {
		b.entered <- struct{}{}
		<-b.release
	}
	b.Book.Step(now, in, out)
}

// newTestMaster makes a master that knows nobody and does not lead.
func newTestMaster(tb testing.TB) *Master {
	tb.Helper()
	m, err := meter.New(prometheus.NewRegistry())
	if err != nil {
		tb.Fatal(err)
	}
	return New(Config{Hostname: "localhost", IP: "127.0.0.1", Port: 5050, WorkDir: "/w", Book: cluster.Defaults()},
		Deps{Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), Meter: m})
}

// leadHeld makes it lead, with a book that can be held.
func leadHeld(t *testing.T, m *Master) (*term, *heldBook) {
	t.Helper()
	cfg := m.cfg.Book
	cfg.MasterID = "m"
	book := &heldBook{
		Book:    cluster.New(cfg, nil, m.deps.Clock.Now(), rand.New(rand.NewPCG(1, 2))),
		entered: make(chan struct{}), release: make(chan struct{}),
	}
	tm := &term{m: m, id: "m", events: m.newEvents()}
	tm.view.Store(book.View())
	tm.loop = loop.New[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact](
		book, unsaved{tm}, m.deps.Clock, func() any { return book.View() }, loop.Config{},
	)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tm.loop.Run(ctx) // it ends with the test
	}()
	t.Cleanup(func() { cancel(); <-done })
	m.term.Store(tm)
	return tm, book
}

// unsaved are a term's hands without a store.
type unsaved struct{ *term }

func (unsaved) Save(context.Context, []cluster.Record) error { return nil }

// get asks a handler.
func get(t *testing.T, h http.Handler, path string) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	r := w.Result()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

func TestAReaderDoesNotWaitForAStepThatIsHeld(t *testing.T) {
	m := newTestMaster(t)
	tm, book := leadHeld(t, m)
	h := m.Handler()
	spec := &cluster.AgentSpec{Hostname: "held", IP: "127.0.0.1", Port: 5051}
	if err := tm.loop.Post(&cluster.AgentRegister{Conn: 1, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	<-book.entered // and stays there until it is released
	for _, path := range []string{"/state", "/state-summary", "/tasks", "/slaves", "/frameworks", "/roles", "/metrics/snapshot", "/metrics"} {
		if r, body := get(t, h, path); r.StatusCode != http.StatusOK || strings.Contains(body, `"held"`) {
			t.Errorf("%s while a step is held: %s %s", path, r.Status, body)
		}
	}
	before := tm.view.Load()
	close(book.release)
	for tm.view.Load() == before {
		time.Sleep(time.Millisecond)
	}
	if _, body := get(t, h, "/state"); !strings.Contains(body, `"hostname":"held"`) {
		t.Errorf("/state after the step: %s", body)
	}
}

func TestOnlyALeaderShowsTheCluster(t *testing.T) {
	m := newTestMaster(t)
	h := m.Handler()
	for _, path := range []string{"/state", "/state-summary", "/slaves", "/frameworks", "/tasks", "/roles", "/weights", "/maintenance/schedule"} {
		if r, _ := get(t, h, path); r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s of a master that knows no leader: %s", path, r.Status)
		}
	}
	m.leader.Store(&Leader{Hostname: "other", IP: "127.0.0.2", Port: 5050})
	if r, _ := get(t, h, "/master/state?x=1"); r.StatusCode != http.StatusTemporaryRedirect || r.Header.Get("Location") != "//other:5050/master/state?x=1" {
		t.Errorf("/master/state of a standby: %s %s", r.Status, r.Header.Get("Location"))
	}
	for _, path := range []string{"/health", "/version", "/flags", "/metrics", "/metrics/snapshot", "/files/debug", "/system/stats.json", "/logging/toggle", "/"} {
		if r, body := get(t, h, path); r.StatusCode != http.StatusOK {
			t.Errorf("%s of a standby: %s %s", path, r.Status, body)
		}
	}
}

func TestAnOperatorsStreamIsTheLeaders(t *testing.T) {
	m := newTestMaster(t)
	ask := func() *http.Response {
		r := httptest.NewRequest(http.MethodPost, "/api/v1", strings.NewReader(`{"type":"SUBSCRIBE"}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, r)
		return w.Result()
	}
	if r := ask(); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("of a master that knows no leader: %s", r.Status)
	}
	m.leader.Store(&Leader{Hostname: "other", IP: "127.0.0.2", Port: 5050})
	if r := ask(); r.StatusCode != http.StatusTemporaryRedirect || r.Header.Get("Location") != "//other:5050/api/v1" {
		t.Errorf("of a standby: %s %s", r.Status, r.Header.Get("Location"))
	}
	tm, book := leadHeld(t, m)
	close(book.release)
	s := httptest.NewServer(m.Handler())
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1", strings.NewReader(`{"type":"SUBSCRIBE"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	<-book.entered // its Observe
	tm.end()       // it leads no more
	if b, err := io.ReadAll(r.Body); err == nil || len(b) != 0 {
		t.Errorf("the stream of one that leads no more: %v %q", err, b)
	}
}

func TestPathsAreTakenAsOldClientsWriteThem(t *testing.T) {
	m := newTestMaster(t)
	leadHeld(t, m)
	m.leader.Store(&Leader{Hostname: "localhost", IP: "127.0.0.1", Port: 5050})
	h := m.Handler()
	for path, want := range map[string]int{
		"/state": 200, "/state/": 200, "/state/anything": 200, "/state.json": 200, "/master/state": 200, "/master/state.json": 200,
		"/master/tasks.json": 200, "/system/stats.json": 200, "/master": 200, "/metrics/snapshot?timeout=1000ms": 200,
		"/redirect": 307, "/master/redirect": 307, "/redirect/x": 404, "/nothing": 404, "/master/nothing": 404, "/tasks?offset=x": 400,
		"/quota": 200, "/registrar(1)/registry": 200, "/machine/down": 501, "/state?jsonp=cb": 200, "/state?jsonp=alert(1)": 400,
	} {
		if r, body := get(t, h, path); r.StatusCode != want {
			t.Errorf("%s: %s, want %d: %s", path, r.Status, want, body)
		}
	}
	for path, want := range map[string]int{"/state-summary": 200, "/tasks": 200, "/quota": 501, "/machine/up": 501, "/api/v1/operator": 400, "/weights": 405, "/maintenance/schedule": 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader("")))
		if w.Code != want {
			t.Errorf("POST %s: %d, want %d", path, w.Code, want)
		}
	}
}

func TestTheSnapshotHasEveryNameThatTheOriginalHas(t *testing.T) {
	b, err := os.ReadFile("reads/testdata/endpoints.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Steps []struct {
			Step string
			Saw  struct{ Body any }
		}
	}
	if err := json.Unmarshal(b, &recorded); err != nil {
		t.Fatal(err)
	}
	m := newTestMaster(t)
	leadHeld(t, m)
	m.counts.runs.Observe(time.Millisecond) // a timer has no numbers before its first
	m.counts.stores.Observe(time.Millisecond)
	_, body := get(t, m.Handler(), "/metrics/snapshot")
	var got map[string]float64
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	for _, s := range recorded.Steps {
		if s.Step != "/metrics/snapshot" {
			continue
		}
		for _, name := range s.Saw.Body.([]any) {
			if _, ok := got[name.(string)]; !ok {
				t.Errorf("%s is missing", name)
			}
			delete(got, name.(string))
		}
	}
	for name := range got {
		if !strings.HasPrefix(name, "pando/") && !strings.Contains(name, "/reason_") { // which the recording leaves out
			t.Errorf("%s is not a name of the original's; names of our own begin with pando/", name)
		}
	}
}

func TestNoNumberIsMadeTwice(t *testing.T) {
	m := newTestMaster(t)
	seen := []string{}
	m.emit(func(name string, _ float64) { seen = append(seen, name) })
	slices.Sort(seen)
	if once := slices.Compact(slices.Clone(seen)); len(once) != len(seen) {
		t.Errorf("%d names are emitted, %d of them once", len(seen), len(once))
	}
}
