package loop

import (
	"net"
	"sync"
	"time"
)

// Outbox is what waits to be written to one peer. Send never blocks: a peer that does not read is cut off when what waits
// passes a bound in bytes, or when a write takes longer than a bound in time. A goroutine lives only while there is
// something to write.
type Outbox[T any] struct {
	conn   net.Conn
	encode func(dst []byte, items []T) []byte
	limits OutboxLimits
	cut    func(why string)

	mu      sync.Mutex // guards the rest
	queue   []T
	bytes   int
	writing bool
	closed  bool
	last    bool // the connection closes when the queue is empty
}

// OutboxLimits bound an Outbox.
type OutboxLimits struct {
	// Bytes that may wait, by the sizes given to Send; zero: 64 MiB.
	Bytes int
	// Age is how long one write may take; zero: 30 s.
	Age time.Duration
}

// NewOutbox makes an outbox on a connection. encode appends what items look like on the wire; it runs off the caller's
// goroutine. cut is called at most once, when the peer is given up; the connection is closed by then.
func NewOutbox[T any](conn net.Conn, encode func(dst []byte, items []T) []byte, limits OutboxLimits, cut func(why string)) *Outbox[T] {
	if limits.Bytes == 0 {
		limits.Bytes = 64 << 20
	}
	if limits.Age == 0 {
		limits.Age = 30 * time.Second
	}
	return &Outbox[T]{conn: conn, encode: encode, limits: limits, cut: cut}
}

// Send puts an item into the queue. size is about how many bytes it takes.
func (o *Outbox[T]) Send(item T, size int) {
	o.mu.Lock()
	if o.closed || o.last {
		o.mu.Unlock()
		return
	}
	if o.bytes+size > o.limits.Bytes {
		o.mu.Unlock()
		o.fail("it does not read: more waits for it than may")
		return
	}
	o.queue = append(o.queue, item)
	o.bytes += size
	start := !o.writing
	o.writing = true
	o.mu.Unlock()
	if start {
		go o.write()
	}
}

// Finish closes the connection once everything in the queue is written.
func (o *Outbox[T]) Finish() {
	o.mu.Lock()
	o.last = true
	idle := !o.writing
	o.mu.Unlock()
	if idle {
		o.Close()
	}
}

// Close closes the connection and drops what waits. cut is not called.
func (o *Outbox[T]) Close() {
	o.mu.Lock()
	o.closed, o.queue = true, nil
	o.mu.Unlock()
	_ = o.conn.Close() // the peer learns of it; nobody here waits for its error
}

func (o *Outbox[T]) fail(why string) {
	o.mu.Lock()
	first := !o.closed
	o.closed, o.queue = true, nil
	o.mu.Unlock()
	if first {
		_ = o.conn.Close() // as above
		o.cut(why)
	}
}

// buffers are what outboxes encode into; one is in use only while something is written. Large ones are not kept.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const keptBuffer = 64 << 10

func (o *Outbox[T]) write() {
	pooled := buffers.Get().(*[]byte)
	buf := *pooled
	defer func() {
		if cap(buf) <= keptBuffer {
			*pooled = buf
			buffers.Put(pooled)
		}
	}()
	var spare []T
	for {
		o.mu.Lock()
		if len(o.queue) == 0 || o.closed {
			o.writing = false
			last := o.last && !o.closed
			o.mu.Unlock()
			if last {
				o.Close()
			}
			return
		}
		items := o.queue
		o.queue, o.bytes = spare[:0], 0
		o.mu.Unlock()
		buf = o.encode(buf[:0], items)
		clear(items)
		spare = items
		err := o.conn.SetWriteDeadline(time.Now().Add(o.limits.Age))
		if err == nil {
			_, err = o.conn.Write(buf)
		}
		if err != nil {
			o.fail("writing to it failed: " + err.Error())
		}
	}
}
