package meter

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func newMeter(t *testing.T) *Meter {
	t.Helper()
	m, err := New(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSnapshotHasTheFlatNamesOfTheOriginal(t *testing.T) {
	m := newMeter(t)
	m.Counter("master/slave_registrations").Add(3)
	m.Gauge("master/elected").Set(1)
	m.GaugeFunc("master/uptime_secs", func() float64 { return 1.5 })
	m.GaugeFunc("master/broken", math.NaN)
	m.Source(func(emit func(string, float64)) { emit("master/tasks_running", 7) })
	timer := m.Timer("registrar/state_store_ms")
	m.Timer("never/observed_ms")
	for i := 1; i <= 101; i++ {
		timer.Observe(time.Duration(i) * time.Millisecond)
	}
	var got map[string]float64
	if err := json.Unmarshal(m.AppendJSON(nil), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"master/slave_registrations": 3, "master/elected": 1, "master/uptime_secs": 1.5, "master/tasks_running": 7,
		"registrar/state_store_ms": 101, "registrar/state_store_ms/count": 101, "registrar/state_store_ms/min": 1,
		"registrar/state_store_ms/max": 101, "registrar/state_store_ms/p50": 51, "registrar/state_store_ms/p90": 91,
		"registrar/state_store_ms/p95": 96, "registrar/state_store_ms/p99": 100, "registrar/state_store_ms/p999": 100.9,
		"registrar/state_store_ms/p9999": 100.99,
	}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

func TestWhatIsLateIsLeftOutOfASnapshot(t *testing.T) {
	m := newMeter(t)
	m.Gauge("made").Set(1)
	counted := 0
	for _, name := range []string{"first", "second"} {
		m.Source(func(emit func(string, float64)) { counted++; emit(name, 2) })
	}
	got := m.SnapshotUntil(func() bool { return counted == 1 })
	if diff := cmp.Diff(map[string]float64{"made": 1, "first": 2}, got); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
}

func TestWholeNumbersKeepTheirPointAndNamesAreEscaped(t *testing.T) {
	m := newMeter(t)
	m.Gauge(`roles/a"b` + "\n").Set(2)
	m.Gauge("z").Set(1e30)
	if got, want := string(m.AppendJSON(nil)), `{"roles/a\"b\u000a":2.0,"z":1e+30}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPrometheusShowsTheSameNumbers(t *testing.T) {
	m := newMeter(t)
	m.Counter("master/slave_registrations").Inc()
	m.Gauge("master/a-b").Set(4)
	m.Gauge("master/a_b").Set(4) // the same name there; must not break the page
	m.Timer("registrar/state_store_ms").Observe(time.Second)
	m.Source(func(emit func(string, float64)) { emit("master/tasks_running", 7) })
	w := httptest.NewRecorder()
	m.Prometheus().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		"pando_master_agent_registrations_total 1", "pando_master_a_b 4", `pando_master_tasks{state="running"} 7`,
		`pando_registrar_state_store_seconds{quantile="0.5"} 1`, "pando_registrar_state_store_seconds_count 1",
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %q in:\n%s", line, w.Body)
		}
	}
}

func TestTimerForgetsWhatIsOlderThanItsWindow(t *testing.T) {
	m := newMeter(t)
	timer := m.Timer("x_ms")
	for range window {
		timer.Observe(time.Hour)
	}
	for range window {
		timer.Observe(time.Millisecond)
	}
	if s := m.Snapshot(); s["x_ms/max"] != 1 || s["x_ms"] != 1 || s["x_ms/count"] != window {
		t.Errorf("got %v", s)
	}
}

func TestDropForgetsANameAndWhatIsBelow(t *testing.T) {
	m := newMeter(t)
	m.Gauge("f/a")
	m.Gauge("f/a/b")
	m.Gauge("f/ab")
	m.Drop("f/a")
	if diff := cmp.Diff(map[string]float64{"f/ab": 0}, m.Snapshot()); diff != "" {
		t.Error(diff)
	}
	m.Gauge("f/a") // may be made again
}

func TestANameMadeTwicePanics(t *testing.T) {
	m := newMeter(t)
	m.Gauge("twice")
	defer func() {
		if recover() == nil {
			t.Error("the second one was accepted")
		}
	}()
	m.Counter("twice")
}
