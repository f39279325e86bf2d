package events

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/serve"
	v0 "github.com/pando-os/pando/mesos/v0"
)

const (
	// pieceBytes are written at a time: a slow subscriber who reads on has time for each.
	pieceBytes = 1 << 20
	// snapshotTime is how long a subscriber may take to read his snapshot. It holds memory of his own until then.
	snapshotTime = 2 * time.Minute
)

// Subscriber is one stream. What waits for it is bounded; a goroutine lives only while there is something to write.
type Subscriber struct {
	hub  *Hub
	id   uint64
	conn net.Conn
	json bool
	may  func(user string) bool
	who  string
	done chan struct{} // closed with the stream

	mu      sync.Mutex // guards the rest
	queue   []piece
	bytes   int // in the queue and being written
	writing bool
	closed  bool
	last    bool // the stream ends with the queue
	beat    *time.Timer
}

// piece is written to a stream: bytes that others may write too, or a view that is encoded when its turn comes.
type piece struct {
	bytes []byte
	view  *cluster.View
}

// begin sends the snapshot, and heartbeats from now on.
func (s *Subscriber) begin(view *cluster.View) {
	s.put(piece{view: view})
	s.mu.Lock()
	if !s.closed {
		s.beat = time.AfterFunc(s.hub.cfg.Heartbeat, s.pulse) //nolint:forbidigo // no goroutine for each of many streams
	}
	s.mu.Unlock()
	s.send(heartbeat(s.json))
}

func (s *Subscriber) pulse() {
	s.send(heartbeat(s.json))
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.beat.Reset(s.hub.cfg.Heartbeat)
	}
}

func heartbeat(json bool) []byte {
	return serve.AppendChunk(nil, appendMessage(nil, &master.Event{Type: master.Event_HEARTBEAT.Enum()}, json))
}

// send queues bytes, or gives the subscriber up when more waits than may.
func (s *Subscriber) send(b []byte) {
	if len(b) > 0 {
		s.put(piece{bytes: b})
	}
}

func (s *Subscriber) put(p piece) {
	s.mu.Lock()
	if s.closed || s.last {
		s.mu.Unlock()
		return
	}
	if s.bytes+len(p.bytes) > s.hub.cfg.Bytes {
		s.mu.Unlock()
		s.fail("it does not read: more waits for it than may")
		return
	}
	s.queue = append(s.queue, p)
	s.bytes += len(p.bytes)
	start := !s.writing
	s.writing = true
	s.mu.Unlock()
	if start {
		go s.write()
	}
}

// finish ends the stream once what waits is written.
func (s *Subscriber) finish() {
	s.send([]byte(serve.EndOfStream))
	s.mu.Lock()
	s.last = true
	idle := !s.writing
	s.mu.Unlock()
	if idle {
		s.close()
	}
}

// close ends the stream now; it reports whether it was open.
func (s *Subscriber) close() bool {
	s.mu.Lock()
	first := !s.closed
	s.closed, s.queue = true, nil
	if s.beat != nil {
		s.beat.Stop()
	}
	s.mu.Unlock()
	if first {
		close(s.done)
		_ = s.conn.Close() // the client learns of it; nobody here waits for its error
	}
	return first
}

func (s *Subscriber) fail(why string) {
	if s.close() {
		s.hub.cfg.Cut(s.who, why)
	}
}

func (s *Subscriber) write() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 || s.closed {
			s.writing = false
			last := s.last && !s.closed
			s.mu.Unlock()
			if last {
				s.close()
			}
			return
		}
		pieces := s.queue
		s.queue = nil
		s.mu.Unlock()
		if err := s.writeAll(pieces); err != nil {
			s.fail("writing to it failed: " + err.Error())
		}
	}
}

// writeAll writes pieces, as many at a time as are not too long together.
func (s *Subscriber) writeAll(pieces []piece) error {
	var together net.Buffers
	size := 0
	flush := func() error {
		err := s.writeNow(together)
		s.mu.Lock()
		s.bytes -= size
		s.mu.Unlock()
		together, size = nil, 0
		return err
	}
	for i := range pieces {
		p := &pieces[i]
		if p.view == nil {
			together, size = append(together, p.bytes), size+len(p.bytes)
		}
		if p.view != nil || size >= pieceBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		if p.view != nil {
			if err := s.writeSnapshot(p.view); err != nil {
				return err
			}
		}
		*p = piece{} // it may be the last to hold them
	}
	return flush()
}

func (s *Subscriber) writeNow(b net.Buffers) error {
	if len(b) == 0 {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.hub.cfg.Age)); err != nil {
		return err
	}
	_, err := b.WriteTo(s.conn)
	return err
}

// writeSnapshot encodes and writes the first event. Few do so at a time: each holds as much memory as the cluster is large.
func (s *Subscriber) writeSnapshot(view *cluster.View) error {
	leave, err := s.hub.turns.enter(s.who, s.done)
	if err != nil {
		return err
	}
	defer leave()
	until := s.hub.cfg.Clock.Now().Mono + snapshotTime
	payload, err := s.snapshot(view)
	if err != nil {
		return err
	}
	record := append(strconv.AppendInt(nil, int64(len(payload)), 10), '\n')
	head := append(strconv.AppendInt(nil, int64(len(record)+len(payload)), 16), '\r', '\n')
	if err := s.writeNow(net.Buffers{head, record}); err != nil {
		return err
	}
	for len(payload) > 0 {
		if s.hub.cfg.Clock.Now().Mono > until {
			return fmt.Errorf("it took more than %v to read its snapshot", snapshotTime)
		}
		n := min(len(payload), pieceBytes)
		if err := s.writeNow(net.Buffers{payload[:n]}); err != nil {
			return err
		}
		payload = payload[n:]
	}
	return s.writeNow(net.Buffers{[]byte("\r\n")})
}

// snapshot encodes SUBSCRIBED.
func (s *Subscriber) snapshot(view *cluster.View) ([]byte, error) {
	rd := &reads.Reader{View: view, About: s.hub.cfg.About, May: s.may}
	state := rd.V1State(1)
	if s.json {
		b, err := state.Append([]byte(`{"type":"SUBSCRIBED","subscribed":{`), true)
		b = v0.Number(append(b, `,"heartbeat_interval_seconds":`...), s.hub.cfg.Heartbeat.Seconds())
		return append(b, "}}"...), err
	}
	inner, err := state.Append(nil, false)
	if err != nil {
		return nil, err
	}
	tail := appendMessage(nil, &master.Event_Subscribed{HeartbeatIntervalSeconds: new(s.hub.cfg.Heartbeat.Seconds())}, false)
	out := make([]byte, 0, len(inner)+len(tail)+16)
	out = protowire.AppendVarint(protowire.AppendTag(out, 1, protowire.VarintType), uint64(master.Event_SUBSCRIBED))
	out = protowire.AppendVarint(protowire.AppendTag(out, 2, protowire.BytesType), uint64(len(inner)+len(tail)))
	return append(append(out, inner...), tail...), nil
}
