package master

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/master/tally"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// stream is one scheduler's SUBSCRIBE.
type stream struct {
	*serve.Stream
	id    cluster.StreamID
	token string // the Mesos-Stream-Id
	json  bool
	user  string // the framework's: whom its tasks run as
	owner serve.Subject
	term  *term
	lane  *lane
	tally atomic.Pointer[tally.Framework] // nil until it is subscribed

	mu        sync.Mutex // guards the rest
	framework string
}

// heartbeat is an event of the shell's own.
type heartbeat struct{}

// openStream takes over the connection of a SUBSCRIBE and answers its head. The stream is not yet known to anybody.
func (t *term) openStream(w http.ResponseWriter, token string, json bool, user string, who serve.Subject) (*stream, error) {
	s := &stream{id: cluster.StreamID(t.m.id()), token: token, json: json, user: user, owner: who, term: t, lane: newLane()}
	var err error
	s.Stream, err = serve.OpenStream(w, serve.StreamHead{ContentType: serve.ContentType(json), ID: token, Now: t.m.deps.Clock.Now().Time()},
		t.m.cfg.Streams, s.appendEvent, func(why string) {
			t.m.counts.streamsCut.Inc()
			t.m.warn("scheduler's stream cut off", s.name(), "framework", s.name(), "why", why)
		})
	return s, err
}

// rawBytes is written as it is.
type rawBytes string

func (s *stream) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.framework
}

// watch waits until the client goes, and tells the book.
func (s *stream) watch() {
	s.Watch()
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
		s.mu.Unlock()
		of := s.term.tallies.Of(b.Framework)
		of.Call(scheduler.Call_SUBSCRIBE, nil)
		s.tally.Store(of)
		s.Beat(s.term.m.cfg.Heartbeat, heartbeat{})
		s.Send(b, 512)
		s.Send(heartbeat{}, 32)
	case cluster.Offers:
		s.Send(b, 700*len(b.Offers))
	case cluster.Update:
		s.Send(b, 300+len(b.Status.Rest)+len(b.Status.Message))
	case cluster.ExecutorMessage:
		s.Send(b, 200+len(b.Data))
	case cluster.Error:
		s.Send(b, 200)
		s.Finish()
	case cluster.Close:
		s.Finish()
	default:
		s.Send(b, 200)
	}
}

// appendEvent encodes one event: the frequent ones by hand, the others by way of the generated types.
func (s *stream) appendEvent(dst []byte, it any) []byte {
	switch b := it.(type) {
	case cluster.Update:
		s.tally.Load().Event(scheduler.Event_UPDATE)
		return mesos.AppendUpdateEvent(dst, b.Status, s.json)
	case cluster.Offers:
		s.tally.Load().Event(scheduler.Event_OFFERS)
		offers := make([]*mesos.Offer, len(b.Offers))
		for i, o := range b.Offers {
			offers[i] = reads.WireOffer(o)
		}
		return mesos.AppendOffersEvent(dst, offers, s.json)
	}
	e := s.event(it)
	s.tally.Load().Event(e.GetType())
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
