// Package events holds what is going to happen in a simulated cluster, in the order of virtual time; what is to happen at one
// time happens in the order in which it was asked for.
package events

import (
	"container/heap"
	"time"
)

// Queue is the events that are to come. The zero Queue is empty.
type Queue struct {
	h   ordered
	seq uint64
}

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

// Len is how many there are.
func (q *Queue) Len() int { return len(q.h) }

// Push adds one.
func (q *Queue) Push(at time.Duration, do func()) {
	q.seq++
	heap.Push(&q.h, event{at, q.seq, do})
}

// Pop takes the next one off; there must be one.
func (q *Queue) Pop() (at time.Duration, do func()) {
	e := heap.Pop(&q.h).(event)
	return e.at, e.do
}

type ordered []event

func (h ordered) Len() int { return len(h) }
func (h ordered) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h ordered) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds an event; it is container/heap's to call.
func (h *ordered) Push(x any) { *h = append(*h, x.(event)) }

// Pop takes the last event off; it is container/heap's to call.
func (h *ordered) Pop() any {
	old := *h
	n := len(old) - 1
	e := old[n]
	old[n] = event{}
	*h = old[:n]
	return e
}
