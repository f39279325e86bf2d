package container

import "sync"

// exitQueue hands exits on in order and never makes who puts wait. It is not bounded: it holds at most one exit for each
// container that ran.
type exitQueue struct {
	out  chan Exit
	wake chan struct{}
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	waiting []Exit
}

func newExitQueue() *exitQueue {
	q := &exitQueue{out: make(chan Exit), wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.pump()
	return q
}

func (q *exitQueue) put(e Exit) {
	q.mu.Lock()
	q.waiting = append(q.waiting, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *exitQueue) close() { q.once.Do(func() { close(q.done) }) }

func (q *exitQueue) pump() {
	defer close(q.out)
	for {
		q.mu.Lock()
		batch := q.waiting
		q.waiting = nil
		q.mu.Unlock()
		for _, e := range batch {
			select {
			case q.out <- e:
			case <-q.done:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-q.wake:
		case <-q.done:
			return
		}
	}
}
