// Package meter keeps the numbers of one process under flat names such as "master/tasks_running", and shows the same
// numbers twice: as the JSON map that dashboards of Mesos read, and to Prometheus, under names of its kind. Nothing here is global; a Meter is made
// on the registry it is handed.
package meter

import (
	"cmp"
	"math"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pando-os/pando/internal/fault"
)

// Meter is a set of named numbers. Its methods may be called from any goroutine.
type Meter struct {
	registry *prometheus.Registry

	mu      sync.RWMutex
	series  map[string]series
	sources []func(emit func(name string, value float64))
	zeros   []string

	names names
}

// series is one name's numbers.
type series interface {
	// flat emits the number under name and its statistics under names below it.
	flat(name string, emit func(name string, value float64))
	// prom gives the same for Prometheus.
	prom(s *shown) prometheus.Metric
}

// New makes a Meter and registers it with registry, which the caller may use for collectors of its own as well. It fails
// when the registry already holds a Meter's names.
func New(registry *prometheus.Registry) (*Meter, error) {
	m := &Meter{registry: registry, series: map[string]series{}}
	if err := registry.Register(collector{m}); err != nil {
		return nil, fault.New(fault.Conflict, "registering the meter: %w", err)
	}
	return m, nil
}

// add puts s under name. A name used twice is an error in the program, like a duplicate flag, so it panics.
func (m *Meter) add(name string, s series) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, dup := m.series[name]; dup {
		panic("meter: " + name + " is made twice")
	}
	m.series[name] = s
}

// Drop forgets the name and everything below it ("master/frameworks/abc" and "master/frameworks/abc/…"), for numbers that
// belong to something that has gone.
func (m *Meter) Drop(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.series {
		if n == name || strings.HasPrefix(n, name+"/") {
			delete(m.series, n)
		}
	}
}

// Counter makes a number that only grows.
func (m *Meter) Counter(name string) *Counter {
	c := &Counter{}
	m.add(name, c)
	return c
}

// Gauge makes a number that is set.
func (m *Meter) Gauge(name string) *Gauge {
	g := &Gauge{}
	m.add(name, g)
	return g
}

// GaugeFunc makes a number that is asked for when it is shown. f is called from the readers' goroutines.
func (m *Meter) GaugeFunc(name string, f func() float64) { m.add(name, gaugeFunc(f)) }

// Timer makes a distribution of durations; name ends in _ms, the unit of its flat numbers.
func (m *Meter) Timer(name string) *Timer {
	t := &Timer{}
	m.add(name, t)
	return t
}

// Source adds a function that emits many gauges at once, such as those counted from one published snapshot. It is called
// from the readers' goroutines. A name that is also made on its own, or emitted twice, is the program's error; the last wins.
func (m *Meter) Source(f func(emit func(name string, value float64))) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources = append(m.sources, f)
}

// Zeros are names that readers of the flat numbers expect, and that stand for what this process does not have.
func (m *Meter) Zeros(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.zeros = append(m.zeros, names...)
}

// Snapshot is every number by its flat name. Values that JSON cannot hold (NaN, infinities) are left out.
func (m *Meter) Snapshot() map[string]float64 { return m.SnapshotUntil(func() bool { return false }) }

// SnapshotUntil is a Snapshot without the numbers of the sources that were not begun when late says that it is: those take
// the longer the more there is to count.
func (m *Meter) SnapshotUntil(late func() bool) map[string]float64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make(map[string]float64, len(m.series)*2)
	emit := func(name string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[name] = v
		}
	}
	for _, name := range m.zeros {
		emit(name, 0)
	}
	for name, s := range m.series {
		s.flat(name, emit)
	}
	for _, source := range m.sources {
		if late() {
			break
		}
		source(emit)
	}
	return out
}

// AppendJSON appends the Snapshot as one JSON object with sorted names. Whole numbers carry ".0", as the original writes
// them, so that readers with typed numbers see one type.
func (m *Meter) AppendJSON(b []byte) []byte {
	snapshot := m.Snapshot()
	names := make([]string, 0, len(snapshot))
	for n := range snapshot {
		names = append(names, n)
	}
	sort.Strings(names)
	b = append(b, '{')
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendName(b, n)
		b = append(b, ':')
		start := len(b)
		b = strconv.AppendFloat(b, snapshot[n], 'g', -1, 64)
		if !strings.ContainsAny(string(b[start:]), ".e") {
			b = append(b, ".0"...)
		}
	}
	return append(b, '}')
}

// appendName writes a name as a JSON string. Names hold what users chose (roles, framework names), so they are escaped.
func appendName(b []byte, name string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range name { // an invalid byte becomes U+FFFD here, which is what JSON allows
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// ServeSnapshot answers with the Snapshot as JSON. The original's limit of two answers a second is not kept.
func (m *Meter) ServeSnapshot(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(m.AppendJSON(nil)) // a client that is gone needs no answer
}

// Prometheus serves the registry, this Meter's numbers among the rest, in Prometheus' text format.
func (m *Meter) Prometheus() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// collector shows a Meter to Prometheus. It describes nothing in advance, since names come and go.
type collector struct{ m *Meter }

func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.m.mu.RLock()
	defer c.m.mu.RUnlock()
	seen := map[string]bool{} // two flat names can come out as one here; the registry refuses doubles
	emit := func(name string, metric func(*shown) prometheus.Metric) {
		s := c.m.names.show(name)
		if id := strings.Join(append([]string{s.name}, s.value...), "\xff"); s.name != "" && !seen[id] {
			seen[id] = true
			ch <- metric(s)
		}
	}
	for name, s := range c.m.series {
		emit(name, s.prom)
	}
	for _, source := range c.m.sources {
		source(func(name string, v float64) {
			emit(name, func(s *shown) prometheus.Metric { return s.number(prometheus.GaugeValue, v) })
		})
	}
}

// number makes a metric of a number under its flat name.
func (s *shown) number(t prometheus.ValueType, v float64) prometheus.Metric {
	name := s.name
	switch {
	case s.grows:
		t = prometheus.CounterValue
	case t == prometheus.CounterValue:
		name += "_total"
	}
	return prometheus.MustNewConstMetric(prometheus.NewDesc(name, s.help, s.labels, nil), t, v*cmp.Or(s.scale, 1), s.value...)
}

// Counter is a number that only grows.
type Counter struct{ n atomic.Uint64 }

// Add adds n.
func (c *Counter) Add(n int) { c.n.Add(uint64(n)) }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Value is the sum so far.
func (c *Counter) Value() uint64 { return c.n.Load() }

func (c *Counter) flat(name string, emit func(string, float64)) { emit(name, float64(c.Value())) }

func (c *Counter) prom(s *shown) prometheus.Metric {
	return s.number(prometheus.CounterValue, float64(c.Value()))
}

// Gauge is a number that is set.
type Gauge struct{ bits atomic.Uint64 }

// Set replaces the number.
func (g *Gauge) Set(v float64) { g.bits.Store(math.Float64bits(v)) }

// Add adds d, which may be negative.
func (g *Gauge) Add(d float64) {
	for {
		old := g.bits.Load()
		if g.bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+d)) {
			return
		}
	}
}

// Value is what was set last.
func (g *Gauge) Value() float64 { return math.Float64frombits(g.bits.Load()) }

func (g *Gauge) flat(name string, emit func(string, float64)) { emit(name, g.Value()) }

func (g *Gauge) prom(s *shown) prometheus.Metric { return s.number(prometheus.GaugeValue, g.Value()) }

type gaugeFunc func() float64

func (f gaugeFunc) flat(name string, emit func(string, float64)) { emit(name, f()) }

func (f gaugeFunc) prom(s *shown) prometheus.Metric { return s.number(prometheus.GaugeValue, f()) }
