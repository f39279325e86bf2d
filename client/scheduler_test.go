package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
)

// fakeMaster answers the scheduler API as little as a test needs: each subscription is handed to script, every other call is
// put into calls.
type fakeMaster struct {
	t      *testing.T
	codec  Codec
	script func(call *scheduler.Call, s *stream)
	calls  chan received
}

type received struct {
	call   *scheduler.Call
	stream string
}

// stream is the answer to one SUBSCRIBE.
type stream struct {
	t     *testing.T
	codec Codec
	w     http.ResponseWriter
	ended <-chan struct{} // the subscriber has gone
}

func (s *stream) send(e *scheduler.Event) {
	b, err := s.codec.encode(e)
	if err != nil {
		s.t.Error(err)
	}
	_, _ = s.w.Write(mesos.AppendRecord(nil, b)) // the subscriber may have gone
	_ = http.NewResponseController(s.w).Flush()
}

func (s *stream) subscribed(id string, heartbeat float64) {
	s.send(&scheduler.Event{Type: scheduler.Event_SUBSCRIBED.Enum(), Subscribed: &scheduler.Event_Subscribed{
		FrameworkId: &mesosv1.FrameworkID{Value: &id}, HeartbeatIntervalSeconds: &heartbeat,
	}})
}

func (m *fakeMaster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := &scheduler.Call{}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = m.codec.decode(body, call)
	}
	if err != nil || r.URL.Path != schedulerPath || r.Header.Get("Content-Type") != m.codec.mediaType() {
		m.t.Errorf("got %s %s, %v", r.URL, r.Header, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if call.GetType() == scheduler.Call_SUBSCRIBE {
		w.Header().Set("Content-Type", m.codec.mediaType())
		w.Header().Set("Mesos-Stream-Id", "stream-1")
		m.script(call, &stream{m.t, m.codec, w, r.Context().Done()})
		return
	}
	m.calls <- received{call, r.Header.Get("Mesos-Stream-Id")}
	w.WriteHeader(http.StatusAccepted)
}

func serve(t *testing.T, codec Codec, script func(*scheduler.Call, *stream)) (*fakeMaster, string) {
	t.Helper()
	m := &fakeMaster{t, codec, script, make(chan received, 10)}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return m, server.URL
}

func newScheduler(t *testing.T, o SchedulerOptions) *Scheduler {
	t.Helper()
	if o.Framework == nil {
		o.Framework = &mesosv1.FrameworkInfo{User: new("u"), Name: new("n")}
	}
	s, err := NewScheduler(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var errEnough = errors.New("the test has seen enough")

func TestASchedulerHearsAndSpeaksInBothForms(t *testing.T) {
	for name, codec := range map[string]Codec{"protobuf": Protobuf, "JSON": JSON} {
		t.Run(name, func(t *testing.T) {
			status := &mesosv1.TaskStatus{
				TaskId: &mesosv1.TaskID{Value: new("t")}, State: mesosv1.TaskState_TASK_RUNNING.Enum(),
				AgentId: &mesosv1.AgentID{Value: new("a")}, Uuid: []byte("0123456789abcdef"),
			}
			master, address := serve(t, codec, func(call *scheduler.Call, s *stream) {
				if call.FrameworkId != nil || call.GetSubscribe().GetFrameworkInfo().GetName() != "n" {
					t.Errorf("subscribed with %v", call)
				}
				s.subscribed("f-1", 15)
				s.send(&scheduler.Event{Type: scheduler.Event_HEARTBEAT.Enum()})
				s.send(&scheduler.Event{Type: scheduler.Event_UPDATE.Enum(), Update: &scheduler.Event_Update{Status: status}})
				<-s.ended
			})
			s := newScheduler(t, SchedulerOptions{Masters: []string{address}, Codec: codec})
			var types []string
			err := s.Run(t.Context(), func(e *scheduler.Event) error {
				types = append(types, e.GetType().String())
				if u := e.GetUpdate(); u != nil {
					if err := s.Acknowledge(t.Context(), u.Status); err != nil {
						t.Error(err)
					}
					return errEnough
				}
				return nil
			})
			if !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"SUBSCRIBED", "HEARTBEAT", "UPDATE"}, types); diff != "" {
				t.Error(diff)
			}
			want := &scheduler.Call{
				FrameworkId: &mesosv1.FrameworkID{Value: new("f-1")}, Type: scheduler.Call_ACKNOWLEDGE.Enum(),
				Acknowledge: &scheduler.Call_Acknowledge{TaskId: status.TaskId, AgentId: status.AgentId, Uuid: status.Uuid},
			}
			got := <-master.calls
			if diff := cmp.Diff(want, got.call, protocmp.Transform()); diff != "" || got.stream != "stream-1" {
				t.Errorf("stream %q: %s", got.stream, diff)
			}
		})
	}
}

func TestARedirectIsFollowedAndCallsGoToTheLeader(t *testing.T) {
	leader, address := serve(t, Protobuf, func(_ *scheduler.Call, s *stream) {
		s.subscribed("f-1", 15)
		<-s.ended
	})
	standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := url.Parse(address)
		w.Header().Set("Location", "//"+u.Host+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	t.Cleanup(standby.Close)
	s := newScheduler(t, SchedulerOptions{Masters: []string{standby.URL}})
	err := s.Run(t.Context(), func(*scheduler.Event) error {
		standby.Close() // whoever asks it again fails
		if err := s.Call(t.Context(), &scheduler.Call{Type: scheduler.Call_REVIVE.Enum()}); err != nil {
			t.Error(err)
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) || len(leader.calls) != 1 {
		t.Fatal(err)
	}
}

func TestABrokenStreamIsSubscribedAgainUnderTheSameID(t *testing.T) {
	var times atomic.Int32
	_, address := serve(t, Protobuf, func(call *scheduler.Call, s *stream) {
		n := times.Add(1)
		if n > 1 && call.GetFrameworkId().GetValue() != "f-1" || n > 1 && call.GetSubscribe().GetFrameworkInfo().GetId().GetValue() != "f-1" {
			t.Errorf("subscription %d has no id: %v", n, call)
		}
		s.subscribed("f-1", 15)
	})
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(down.Close)
	var reasons []error
	s := newScheduler(t, SchedulerOptions{
		Masters:      []string{down.URL, address},
		Disconnected: func(err error) { reasons = append(reasons, err) },
	})
	seen := 0
	err := s.Run(t.Context(), func(*scheduler.Event) error {
		if seen++; seen == 2 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || len(reasons) != 1 || !fault.Is(reasons[0], fault.Unavailable) {
		t.Fatalf("%v; told %v", err, reasons)
	}
	if err := s.Call(t.Context(), &scheduler.Call{Type: scheduler.Call_REVIVE.Enum()}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a call without a subscription: %v", err)
	}
}

func TestASilentMasterIsLeft(t *testing.T) {
	c := clock.NewFake(time.Unix(0, 0))
	_, address := serve(t, Protobuf, func(_ *scheduler.Call, s *stream) {
		s.subscribed("f-1", 2)
		<-s.ended
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan error, 1)
	s := newScheduler(t, SchedulerOptions{Masters: []string{address}, Clock: c, Disconnected: func(err error) { told <- err }})
	heard := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(*scheduler.Event) error { heard <- struct{}{}; return nil }) }()
	<-heard
	c.Advance(missed*2*time.Second - 1)
	select {
	case err := <-told:
		t.Fatal("left too early: ", err)
	default:
	}
	c.Advance(1)
	if err := <-told; !strings.Contains(err.Error(), "silent for 10s") {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestWhatTheMasterWillNeverAcceptEndsRun(t *testing.T) {
	_, address := serve(t, Protobuf, func(_ *scheduler.Call, s *stream) {
		s.send(&scheduler.Event{Type: scheduler.Event_ERROR.Enum(), Error: &scheduler.Event_Error{Message: new("no such role")}})
	})
	err := newScheduler(t, SchedulerOptions{Masters: []string{address}}).Run(t.Context(), nil)
	if removed, ok := errors.AsType[*RemovedError](err); !ok || removed.Message != "no such role" {
		t.Errorf("after an ERROR: %v", err)
	}
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "bad roles", http.StatusBadRequest)
	}))
	defer refusing.Close()
	err = newScheduler(t, SchedulerOptions{Masters: []string{refusing.URL}}).Run(t.Context(), nil)
	if refused, ok := errors.AsType[*StatusError](err); !ok || refused.Status != 400 || refused.Message != "bad roles" || !fault.Is(err, fault.Invalid) {
		t.Errorf("after a 400: %v", err)
	}
}

func TestASchedulerWorksOnACopyOfItsFramework(t *testing.T) {
	info := &mesosv1.FrameworkInfo{User: new("u"), Name: new("n")}
	before := proto.Clone(info)
	_, address := serve(t, Protobuf, func(_ *scheduler.Call, s *stream) { s.subscribed("f-1", 15); <-s.ended })
	s := newScheduler(t, SchedulerOptions{Masters: []string{address}, Framework: info})
	_ = s.Run(t.Context(), func(*scheduler.Event) error { return errEnough })
	if s.FrameworkID() != "f-1" || !proto.Equal(before, info) {
		t.Errorf("id %q, options %v", s.FrameworkID(), info)
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for _, o := range []SchedulerOptions{
		{Masters: []string{"a:1"}},
		{Framework: &mesosv1.FrameworkInfo{}},
		{Framework: &mesosv1.FrameworkInfo{}, Masters: []string{"ftp://a"}},
		{Framework: &mesosv1.FrameworkInfo{}, Masters: []string{"http://a/path"}},
	} {
		if _, err := NewScheduler(o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
