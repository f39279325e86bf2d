package master

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// stream is one scheduler's SUBSCRIBE: a hijacked connection on which events go out, one HTTP chunk a record, since old
// clients read them so.
type stream struct {
	id    cluster.StreamID
	token string // the Mesos-Stream-Id
	json  bool
	user  string // the framework's: whom its tasks run as
	owner serve.Subject
	term  *term
	lane  *lane
	out   *loop.Outbox[any]

	mu        sync.Mutex // guards the rest
	framework string
	beat      *time.Timer
}

// heartbeat is an event of the shell's own.
type heartbeat struct{}

// openStream takes over the connection of a SUBSCRIBE and answers its head. The stream is not yet known to anybody.
func (t *term) openStream(w http.ResponseWriter, token string, json bool, user string, who serve.Subject) (*stream, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking over the connection: %w", err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close() // it is broken already
		return nil, nil, err
	}
	s := &stream{id: cluster.StreamID(t.m.id()), token: token, json: json, user: user, owner: who, term: t, lane: newLane()}
	s.out = loop.NewOutbox(conn, s.encode, t.m.cfg.Streams, func(why string) {
		t.m.counts.streamsCut.Inc()
		t.m.warn("scheduler's stream cut off", s.name(), "framework", s.name(), "why", why)
	})
	contentType := "application/x-protobuf"
	if json {
		contentType = "application/json"
	}
	// The connection ends with the stream. A client with a pool must know, or its next call fails on the dead connection.
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + contentType + "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nMesos-Stream-Id: " + token +
		"\r\nDate: " + t.m.deps.Clock.Now().Time().UTC().Format(http.TimeFormat) + "\r\n\r\n"
	s.out.Send(rawBytes(head), len(head))
	return s, rw, nil
}

// rawBytes is written as it is.
type rawBytes string

func (s *stream) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.framework
}

// watch reads the connection until the client goes, and tells the book.
func (s *stream) watch(rw *bufio.ReadWriter) {
	var buf [512]byte
	for {
		if _, err := rw.Read(buf[:]); err != nil {
			break
		}
	}
	s.out.Close()
	s.mu.Lock()
	if s.beat != nil {
		s.beat.Stop()
	}
	s.mu.Unlock()
	t := s.term
	t.mu.Lock()
	delete(t.streams, s.id)
	if f := s.name(); t.byName[f] == s {
		delete(t.byName, f)
	}
	t.mu.Unlock()
	_ = t.loop.Put(context.Background(), &cluster.StreamClosed{Stream: s.id}) // a term that has ended has no streams
}

// send gives the stream an event of the book.
func (s *stream) send(body any) {
	switch b := body.(type) {
	case cluster.Subscribed:
		s.mu.Lock()
		s.framework = b.Framework
		s.beat = time.AfterFunc(s.term.m.cfg.Heartbeat, s.pulse) //nolint:forbidigo // no goroutine for each of many streams
		s.mu.Unlock()
		s.out.Send(b, 512)
		s.out.Send(heartbeat{}, 32)
	case cluster.Offers:
		s.out.Send(b, 700*len(b.Offers))
	case cluster.Update:
		s.out.Send(b, 300+len(b.Status.Rest)+len(b.Status.Message))
	case cluster.ExecutorMessage:
		s.out.Send(b, 200+len(b.Data))
	case cluster.Error:
		s.out.Send(b, 200)
		s.finish()
	case cluster.Close:
		s.finish()
	default:
		s.out.Send(b, 200)
	}
}

// finish ends the stream as HTTP wants it, with an empty chunk.
func (s *stream) finish() {
	const end = "0\r\n\r\n"
	s.out.Send(rawBytes(end), len(end))
	s.out.Finish()
}

func (s *stream) pulse() {
	s.out.Send(heartbeat{}, 32)
	s.mu.Lock()
	s.beat.Reset(s.term.m.cfg.Heartbeat)
	s.mu.Unlock()
}

// encode appends events as chunks of one record each.
func (s *stream) encode(dst []byte, items []any) []byte {
	var event, record []byte
	for _, it := range items {
		if raw, ok := it.(rawBytes); ok {
			dst = append(dst, raw...)
			continue
		}
		event = s.appendEvent(event[:0], it)
		record = mesos.AppendRecord(record[:0], event)
		dst = strconv.AppendInt(dst, int64(len(record)), 16)
		dst = append(dst, "\r\n"...)
		dst = append(dst, record...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// appendEvent encodes one event: the frequent ones by hand, the others by way of the generated types.
func (s *stream) appendEvent(dst []byte, it any) []byte {
	switch b := it.(type) {
	case cluster.Update:
		return mesos.AppendUpdateEvent(dst, b.Status, s.json)
	case cluster.Offers:
		offers := make([]*mesos.Offer, len(b.Offers))
		for i, o := range b.Offers {
			offers[i] = reads.WireOffer(o)
		}
		return mesos.AppendOffersEvent(dst, offers, s.json)
	}
	e := s.event(it)
	if s.json {
		out, err := mesos.AppendJSON(dst, e)
		if err != nil {
			s.term.m.deps.Log.Error("an event cannot be encoded", "error", err)
			return dst
		}
		return out
	}
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, e)
	if err != nil {
		s.term.m.deps.Log.Error("an event cannot be encoded", "error", err)
		return dst
	}
	return out
}

func (s *stream) event(it any) *scheduler.Event {
	switch b := it.(type) {
	case heartbeat:
		return &scheduler.Event{Type: scheduler.Event_HEARTBEAT.Enum()}
	case cluster.Subscribed:
		return &scheduler.Event{Type: scheduler.Event_SUBSCRIBED.Enum(), Subscribed: &scheduler.Event_Subscribed{
			FrameworkId: &mesosv1.FrameworkID{Value: &b.Framework}, HeartbeatIntervalSeconds: new(s.term.m.cfg.Heartbeat.Seconds()),
			MasterInfo: s.term.m.masterInfo(s.term.id),
		}}
	case cluster.Rescind:
		return &scheduler.Event{Type: scheduler.Event_RESCIND.Enum(), Rescind: &scheduler.Event_Rescind{OfferId: &mesosv1.OfferID{Value: &b.Offer}}}
	case cluster.OperationUpdate:
		st := &mesosv1.OperationStatus{OperationId: &mesosv1.OperationID{Value: &b.Operation}, State: &b.State}
		if b.Message != "" {
			st.Message = &b.Message
		}
		if b.UUID != "" {
			st.Uuid = &mesosv1.UUID{Value: []byte(b.UUID)}
		}
		if b.Agent != "" {
			st.AgentId = &mesosv1.AgentID{Value: &b.Agent}
		}
		return &scheduler.Event{Type: scheduler.Event_UPDATE_OPERATION_STATUS.Enum(), UpdateOperationStatus: &scheduler.Event_UpdateOperationStatus{Status: st}}
	case cluster.ExecutorMessage:
		return &scheduler.Event{Type: scheduler.Event_MESSAGE.Enum(), Message: &scheduler.Event_Message{
			AgentId: &mesosv1.AgentID{Value: &b.Agent}, ExecutorId: &mesosv1.ExecutorID{Value: &b.Executor}, Data: b.Data,
		}}
	case cluster.Failure:
		f := &scheduler.Event_Failure{AgentId: &mesosv1.AgentID{Value: &b.Agent}}
		if b.Executor != "" {
			f.ExecutorId, f.Status = &mesosv1.ExecutorID{Value: &b.Executor}, &b.Status
		}
		return &scheduler.Event{Type: scheduler.Event_FAILURE.Enum(), Failure: f}
	case cluster.Error:
		return &scheduler.Event{Type: scheduler.Event_ERROR.Enum(), Error: &scheduler.Event_Error{Message: &b.Message}}
	}
	panic(fmt.Sprintf("master: an event of type %T", it))
}
