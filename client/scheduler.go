package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
)

// Codec is the form in which messages travel.
type Codec uint8

// The two forms of Mesos v1.
const (
	Protobuf Codec = iota
	JSON
)

func (c Codec) mediaType() string {
	if c == JSON {
		return "application/json"
	}
	return "application/x-protobuf"
}

func (c Codec) encode(m proto.Message) ([]byte, error) {
	if c == JSON {
		return mesos.AppendJSON(nil, m)
	}
	return proto.Marshal(m)
}

func (c Codec) decode(b []byte, m proto.Message) error {
	if c == JSON {
		return mesos.UnmarshalJSON(b, m)
	}
	return mesos.DecodeProto(b, m)
}

const (
	schedulerPath   = "/api/v1/scheduler"
	maxEvent        = 256 << 20        // bytes of one event; a master sends 500 offers at most
	firstHeartbeat  = 15 * time.Second // until SUBSCRIBED says how often they come
	missed          = 5                // heartbeats without any event after which a stream counts as dead
	backoffMin      = 100 * time.Millisecond
	backoffMax      = 5 * time.Second
	backoffHeadroom = 2 // a wait is drawn from [b/2, b)
)

// SchedulerOptions say who subscribes and where.
type SchedulerOptions struct {
	// Masters are the addresses of the cluster, "host:port" each.
	Masters []string
	// Framework is who subscribes. Its id may be set, to take over from an earlier run; otherwise the master gives one, which
	// later subscriptions use. The Scheduler works on a copy.
	Framework *mesosv1.FrameworkInfo
	// SuppressedRoles start without offers.
	SuppressedRoles []string
	// Codec is Protobuf unless set.
	Codec Codec
	// HTTP is the client to use; nil: one that is shared. Its Timeout must be zero, since events arrive for as long as the
	// subscription lasts.
	HTTP *http.Client
	// Clock times heartbeats and waits; nil: the real one.
	Clock clock.Clock
	// Disconnected, when set, is told why a subscription ended or could not be made, before it is tried again. It is called
	// from Run's goroutine.
	Disconnected func(error)
}

// Scheduler is a framework's connection to the leading master.
type Scheduler struct {
	options SchedulerOptions
	masters *masters
	clock   clock.Clock

	mu        sync.Mutex
	framework *mesosv1.FrameworkInfo
	stream    string   // Mesos-Stream-Id of the subscription that stands; empty when none does
	leader    *url.URL // who gave it
}

// RemovedError is how the master ends a subscription for good: the framework was refused, removed, or taken over.
type RemovedError struct{ Message string }

func (e *RemovedError) Error() string { return "the master ended the subscription: " + e.Message }

// NewScheduler checks the options; Run connects.
func NewScheduler(o SchedulerOptions) (*Scheduler, error) {
	if o.Framework == nil {
		return nil, fault.New(fault.Invalid, "the scheduler has no FrameworkInfo")
	}
	m, err := newMasters(o.Masters, o.HTTP)
	if err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	framework := proto.Clone(o.Framework).(*mesosv1.FrameworkInfo)
	return &Scheduler{options: o, masters: m, clock: o.Clock, framework: framework}, nil
}

// FrameworkID is the id the master gave, or the one of the options; empty before the first SUBSCRIBED without one.
func (s *Scheduler) FrameworkID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.framework.GetId().GetValue()
}

// Run subscribes and hands every event, SUBSCRIBED and HEARTBEAT among them, to handle, one at a time. When the
// subscription breaks it is made again, under the same framework id, after a wait that grows to five seconds. Run returns
// ctx's error when ctx ends, handle's error, a *RemovedError when the master ended the framework, and the refusal when
// the master will never accept the subscription.
func (s *Scheduler) Run(ctx context.Context, handle func(*scheduler.Event) error) error {
	wait := backoffMin
	for {
		subscribed, err := s.subscription(ctx, handle)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if final(err) {
			return err
		}
		if s.options.Disconnected != nil {
			s.options.Disconnected(err)
		}
		if subscribed {
			wait = backoffMin
		}
		if err := clock.Sleep(ctx, s.clock, wait/backoffHeadroom+rand.N(wait/backoffHeadroom)); err != nil {
			return err
		}
		wait = min(2*wait, backoffMax)
	}
}

// handlerError marks an error as handle's own.
type handlerError struct{ error }

func (e handlerError) Unwrap() error { return e.error }

// final says whether asking again cannot help.
func final(err error) bool {
	if _, ok := errors.AsType[*RemovedError](err); ok {
		return true
	}
	if _, ok := errors.AsType[handlerError](err); ok {
		return true
	}
	refused, ok := errors.AsType[*StatusError](err)
	return ok && refused.Status >= 400 && refused.Status < 500 && refused.Status != http.StatusTooManyRequests
}

// subscription is one stream, from the SUBSCRIBE call to its end. It tells whether SUBSCRIBED came.
func (s *Scheduler) subscription(ctx context.Context, handle func(*scheduler.Event) error) (subscribed bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := s.options.Codec.encode(s.subscribeCall())
	if err != nil {
		return false, handlerError{fmt.Errorf("encoding SUBSCRIBE: %w", err)}
	}
	response, err := s.masters.do(ctx, func(base *url.URL) (*http.Request, error) {
		return s.request(ctx, base, body, "")
	})
	if err != nil {
		return false, fmt.Errorf("subscribing: %w", err)
	}
	defer response.Body.Close()
	if got := response.Header.Get("Content-Type"); got != s.options.Codec.mediaType() {
		return false, fault.New(fault.Unavailable, "subscribing: the master answers in %q", got)
	}
	s.connected(response)
	defer s.disconnected()

	alive := newWatchdog(s.clock, missed*firstHeartbeat, func(d time.Duration) {
		cancel(fault.New(fault.Unavailable, "the master was silent for %v", d))
	})
	defer alive.stop()
	records := mesos.NewRecordReader(response.Body, maxEvent)
	for {
		record, err := records.Next()
		if err != nil {
			return subscribed, streamEnd(ctx, err)
		}
		event := &scheduler.Event{}
		if err := s.options.Codec.decode(record, event); err != nil {
			return subscribed, fault.New(fault.Unavailable, "the master sent an event that cannot be read: %w", err)
		}
		period := time.Duration(0)
		switch event.GetType() {
		case scheduler.Event_SUBSCRIBED:
			subscribed = true
			s.named(event.GetSubscribed().GetFrameworkId())
			period = missed * time.Duration(event.GetSubscribed().GetHeartbeatIntervalSeconds()*float64(time.Second))
		case scheduler.Event_ERROR:
			return subscribed, &RemovedError{event.GetError().GetMessage()}
		}
		alive.pat(period)
		if err := handle(event); err != nil {
			return subscribed, handlerError{err}
		}
	}
}

// streamEnd says why a stream ended: because we cut it, or as the transport tells.
func streamEnd(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, io.EOF) {
		return fault.New(fault.Unavailable, "the master closed the stream")
	}
	return fault.New(fault.Unavailable, "the stream of events broke: %w", err)
}

func (s *Scheduler) subscribeCall() *scheduler.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &scheduler.Call{
		FrameworkId: s.framework.GetId(),
		Type:        scheduler.Call_SUBSCRIBE.Enum(),
		Subscribe: &scheduler.Call_Subscribe{
			FrameworkInfo:   proto.Clone(s.framework).(*mesosv1.FrameworkInfo),
			SuppressedRoles: s.options.SuppressedRoles,
		},
	}
}

func (s *Scheduler) request(ctx context.Context, base *url.URL, body []byte, stream string) (*http.Request, error) {
	// A body from memory can be sent again after a redirect.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath(schedulerPath).String(), bytes.NewReader(body))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	request.Header.Set("Content-Type", s.options.Codec.mediaType())
	request.Header.Set("Accept", s.options.Codec.mediaType())
	if stream != "" {
		request.Header.Set("Mesos-Stream-Id", stream)
	}
	return request, nil
}

// connected remembers whom to send the calls to: the one that answered, after redirects.
func (s *Scheduler) connected(response *http.Response) {
	u := response.Request.URL
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = response.Header.Get("Mesos-Stream-Id")
	s.leader = &url.URL{Scheme: u.Scheme, Host: u.Host}
}

func (s *Scheduler) disconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.leader = "", nil
}

func (s *Scheduler) named(id *mesosv1.FrameworkID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.framework.Id = id
}

// Call sends one call other than SUBSCRIBE; the framework's id is filled in. A nil error says that the master took it (202),
// not that it did it. Without a subscription it is fault.Unavailable, and what the master refused is a *StatusError; a call
// is never repeated. Call may be used from any goroutine, handle's among them.
func (s *Scheduler) Call(ctx context.Context, call *scheduler.Call) error {
	s.mu.Lock()
	stream, leader, id := s.stream, s.leader, s.framework.GetId()
	s.mu.Unlock()
	if leader == nil {
		return fault.New(fault.Unavailable, "sending %v: the framework is not subscribed", call.GetType())
	}
	call.FrameworkId = id
	body, err := s.options.Codec.encode(call)
	if err != nil {
		return fault.New(fault.Invalid, "encoding %v: %w", call.GetType(), err)
	}
	request, err := s.request(ctx, leader, body, stream)
	if err != nil {
		return err
	}
	response, err := send(s.masters.http, request)
	if err != nil {
		return fmt.Errorf("sending %v: %w", call.GetType(), err)
	}
	// The body is read so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxMessage))
	return response.Body.Close()
}

// Acknowledge tells the master that an update was taken note of; the next one of the same task comes after it. An update
// without a uuid needs none and gets none.
func (s *Scheduler) Acknowledge(ctx context.Context, status *mesosv1.TaskStatus) error {
	if len(status.GetUuid()) == 0 {
		return nil
	}
	return s.Call(ctx, &scheduler.Call{
		Type: scheduler.Call_ACKNOWLEDGE.Enum(),
		Acknowledge: &scheduler.Call_Acknowledge{
			AgentId: status.GetAgentId(), TaskId: status.GetTaskId(), Uuid: status.GetUuid(),
		},
	})
}

// watchdog calls bite once when nobody patted it for as long as it was told to wait. One goroutine pats and stops it.
type watchdog struct {
	pats chan time.Duration
	done chan struct{}
}

func newWatchdog(c clock.Clock, period time.Duration, bite func(time.Duration)) *watchdog {
	w := &watchdog{pats: make(chan time.Duration), done: make(chan struct{})}
	go func() {
		timer := c.NewTimer(period)
		defer timer.Stop()
		for {
			select {
			case p := <-w.pats:
				if p > 0 {
					period = p
				}
				timer.Reset(period)
			case <-timer.C():
				bite(period)
			case <-w.done:
				return
			}
		}
	}()
	return w
}

// pat puts the bite off; a period above zero holds from now on.
func (w *watchdog) pat(period time.Duration) { w.pats <- period }

func (w *watchdog) stop() { close(w.done) }
