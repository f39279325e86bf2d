package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/mesos"
)

// EndOfStream is the empty chunk with which HTTP wants a stream to end.
const EndOfStream = "0\r\n\r\n"

// StreamHead is how an answer begins that goes on: records on a connection that was taken over, one HTTP chunk each, since
// old clients read them so.
type StreamHead struct {
	// ContentType is the answer's, and MessageType that of the records in it where the first does not tell; may be empty.
	ContentType, MessageType string
	// ID is the Mesos-Stream-Id of those that have one.
	ID  string
	Now time.Time
}

// String is the head as it is written. The connection ends with the stream: a client with a pool must know that, or its next
// call fails on the dead connection.
func (h StreamHead) String() string {
	s := "HTTP/1.1 200 OK\r\nContent-Type: " + h.ContentType + "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
	if h.MessageType != "" {
		s += "Message-Content-Type: " + h.MessageType + "\r\n"
	}
	if h.ID != "" {
		s += "Mesos-Stream-Id: " + h.ID + "\r\n"
	}
	return s + "Date: " + h.Now.UTC().Format(http.TimeFormat) + "\r\n\r\n"
}

// TakeOver gives the connection of a request to its handler, without a deadline. On an error nothing was answered; a
// connection that could be taken is closed then.
func TakeOver(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close() // it is broken already
		return nil, nil, err
	}
	return conn, rw, nil
}

// AwaitLeaving reads and drops what the client of a stream sends until it goes.
func AwaitLeaving(r io.Reader) {
	var buf [512]byte
	for {
		if _, err := r.Read(buf[:]); err != nil {
			return
		}
	}
}

// AppendChunk appends one HTTP chunk that holds one record.
func AppendChunk(dst, payload []byte) []byte {
	digits := 1
	for n := len(payload); n > 9; n /= 10 {
		digits++
	}
	dst = strconv.AppendInt(dst, int64(digits+1+len(payload)), 16)
	dst = append(dst, "\r\n"...)
	dst = mesos.AppendRecord(dst, payload)
	return append(dst, "\r\n"...)
}

// Stream is such an answer whose events come by themselves: what a client does not read waits, within bounds, and one for
// which too much waits is cut off. Nobody who sends waits for it.
type Stream struct {
	in    *bufio.ReadWriter
	out   *loop.Outbox[any]
	event func(dst []byte, event any) []byte

	mu     sync.Mutex // guards the rest
	beat   *time.Timer
	closed bool
}

// raw is written as it is.
type raw string

// OpenStream takes over the connection of a request and answers its head. encode encodes an event, off the sender's
// goroutine; one that it cannot encode is left out. cut is called at most once, when the client is given up.
func OpenStream(w http.ResponseWriter, head StreamHead, limits loop.OutboxLimits, encode func(dst []byte, event any) []byte, cut func(why string)) (*Stream, error) {
	conn, rw, err := TakeOver(w)
	if err != nil {
		return nil, err
	}
	s := &Stream{in: rw, event: encode}
	s.out = loop.NewOutbox(conn, s.encode, limits, cut)
	s.sendRaw(head.String())
	return s, nil
}

// Send queues an event. size is about how many bytes it takes.
func (s *Stream) Send(event any, size int) { s.out.Send(event, size) }

func (s *Stream) sendRaw(words string) { s.out.Send(raw(words), len(words)) }

// Beat sends an event again and again from now on, for the first time once the interval has passed.
func (s *Stream) Beat(every time.Duration, event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.beat != nil {
		return
	}
	s.beat = time.AfterFunc(every, func() { // no goroutine for each of many streams
		s.Send(event, 32)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.beat.Reset(every)
		}
	})
}

// Finish ends the stream as HTTP wants it, once all that waits is written.
func (s *Stream) Finish() {
	s.sendRaw(EndOfStream)
	s.out.Finish()
}

// Close ends the stream now and drops what waits.
func (s *Stream) Close() {
	s.out.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.beat != nil {
		s.beat.Stop()
	}
}

// Watch returns when the client has gone, or was cut off. The stream is closed then.
func (s *Stream) Watch() {
	AwaitLeaving(s.in)
	s.Close()
}

func (s *Stream) encode(dst []byte, items []any) []byte {
	var event []byte
	for _, it := range items {
		if words, ok := it.(raw); ok {
			dst = append(dst, words...)
			continue
		}
		if event = s.event(event[:0], it); len(event) > 0 {
			dst = AppendChunk(dst, event)
		}
	}
	return dst
}

// PacedStream is such an answer whose writer waits for its reader: for what must neither be lost nor gather. Its methods may
// be called at the same time.
type PacedStream struct {
	conn net.Conn
	in   *bufio.ReadWriter

	mu     sync.Mutex // guards the rest; held while something is written
	buffer []byte
	ended  bool
}

// OpenPacedStream takes over the connection of a request and answers its head.
func OpenPacedStream(w http.ResponseWriter, head StreamHead) (*PacedStream, error) {
	conn, rw, err := TakeOver(w)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte(head.String())); err != nil {
		_ = conn.Close() // it is broken already
		return nil, err
	}
	return &PacedStream{conn: conn, in: rw}, nil
}

// Write sends one record and waits until the connection has taken it.
func (s *PacedStream) Write(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return net.ErrClosed
	}
	s.buffer = AppendChunk(s.buffer[:0], payload)
	_, err := s.conn.Write(s.buffer)
	return err
}

// Beat sends a record if no other is being written: then the reader has something to read.
func (s *PacedStream) Beat(payload []byte) {
	if !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if !s.ended {
		_, _ = s.conn.Write(AppendChunk(nil, payload)) // of a connection that is broken Watch tells
	}
}

// Finish ends the stream as HTTP wants it.
func (s *PacedStream) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		_, _ = s.conn.Write([]byte(EndOfStream)) // a client that is gone needs no end
	}
	_ = s.conn.Close() // the client learns of it
}

// Close ends the connection at once; a Write that waits returns.
func (s *PacedStream) Close() { _ = s.conn.Close() } // the client learns of it

// Watch returns when the client has gone, or the stream was ended.
func (s *PacedStream) Watch() { AwaitLeaving(s.in) }
