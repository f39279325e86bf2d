package meter

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// window is how many of the latest durations the percentiles are taken from; the original's limit is about the same.
const window = 1000

// percentiles are the names below a timer's own, and the share of the window each stands for.
var percentiles = []struct {
	name  string
	share float64
}{{"/p50", .5}, {"/p90", .9}, {"/p95", .95}, {"/p99", .99}, {"/p999", .999}, {"/p9999", .9999}}

// Timer is a distribution of durations: the last one, and statistics over the latest thousand.
type Timer struct {
	mu    sync.Mutex
	ring  []time.Duration // grows to window, then is overwritten from next on
	next  int
	count uint64
	sum   time.Duration
}

// Observe takes one duration.
func (t *Timer) Observe(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
	t.sum += d
	if len(t.ring) < window {
		t.ring = append(t.ring, d)
		return
	}
	t.ring[t.next] = d
	t.next = (t.next + 1) % window
}

// sorted is the window in order, the latest duration, and the totals since the start.
func (t *Timer) sorted() (ordered []time.Duration, last time.Duration, count uint64, sum time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ordered = slices.Clone(t.ring)
	if n := len(ordered); n > 0 {
		last = ordered[(t.next+n-1)%n]
	}
	slices.Sort(ordered)
	return ordered, last, t.count, t.sum
}

// at is the value below which share of the sorted durations lie, interpolated between neighbours.
func at(ordered []time.Duration, share float64) float64 {
	position := share * float64(len(ordered)-1)
	i := int(position)
	low := float64(ordered[i])
	if i+1 == len(ordered) {
		return low
	}
	return low + (position-float64(i))*float64(ordered[i+1]-ordered[i])
}

// flat emits nothing before the first duration: the percentiles of nothing are no number.
func (t *Timer) flat(name string, emit func(string, float64)) {
	ordered, last, _, _ := t.sorted()
	if len(ordered) == 0 {
		return
	}
	const ms = float64(time.Millisecond)
	emit(name, float64(last)/ms)
	emit(name+"/count", float64(len(ordered)))
	emit(name+"/min", float64(ordered[0])/ms)
	emit(name+"/max", float64(ordered[len(ordered)-1])/ms)
	for _, p := range percentiles {
		emit(name+p.name, at(ordered, p.share)/ms)
	}
}

func (t *Timer) prom(s *shown) prometheus.Metric {
	ordered, _, count, sum := t.sorted()
	quantiles := map[float64]float64{}
	if len(ordered) > 0 {
		for _, p := range percentiles {
			quantiles[p.share] = at(ordered, p.share) / float64(time.Second)
		}
	}
	desc := prometheus.NewDesc(strings.TrimSuffix(s.name, "_ms")+"_seconds", s.help, s.labels, nil)
	return prometheus.MustNewConstSummary(desc, count, sum.Seconds(), quantiles, s.value...)
}
