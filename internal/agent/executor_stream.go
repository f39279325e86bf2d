package agent

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// executorBeat is between two heartbeats, and before the first: executors built before there were any die of one.
const executorBeat = 30 * time.Minute

// executorBacklog bounds what waits for an executor that does not read.
const executorBacklog = 16 << 20

// executorStream is one executor's SUBSCRIBE: a hijacked connection on which events go out, one HTTP chunk a record.
type executorStream struct {
	id    uint64
	agent *Agent
	json  bool
	out   *loop.Outbox[any]

	mu   sync.Mutex // guards beat
	beat *time.Timer
}

// executorPulse is an event of the shell's own.
type executorPulse struct{}

// rawBytes is written as it is.
type rawBytes string

// serveSubscription opens a stream and lets the book decide what is said on it.
func (a *Agent) serveSubscription(w http.ResponseWriter, r *http.Request, call *executor.Call_Subscribe, ref workload.ExecutorRef) {
	json, ok := serve.Accepts(r)
	if !ok {
		serve.NotAcceptable(w)
		return
	}
	in := &workload.ExecutorSubscribe{Stream: a.streamIDs.Add(1), ExecutorRef: ref}
	for _, t := range call.GetUnacknowledgedTasks() {
		in.Tasks = append(in.Tasks, t.GetTaskId().GetValue())
	}
	for _, u := range call.GetUnacknowledgedUpdates() {
		s, err := statusOf(u.GetStatus())
		if err != nil {
			serve.FailWith(w, err)
			return
		}
		in.Updates = append(in.Updates, s)
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, "The connection cannot be taken over: "+err.Error())
		return
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		_ = conn.Close() // it is broken already
		return
	}
	s := &executorStream{id: in.Stream, agent: a, json: json}
	s.out = loop.NewOutbox(conn, s.encode, loop.OutboxLimits{Bytes: executorBacklog}, func(why string) {
		a.deps.Log.Warn("executor's stream cut off", "framework", ref.Framework, "executor", ref.Executor, "why", why)
	})
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + serve.ContentType(json) + "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nDate: " +
		a.deps.Clock.Now().Time().UTC().Format(http.TimeFormat) + "\r\n\r\n"
	s.out.Send(rawBytes(head), len(head))
	a.mu.Lock()
	base := a.base
	a.streams[s.id] = s
	a.mu.Unlock()
	stop := context.AfterFunc(base, s.out.Close)
	defer stop()
	if a.loop.Put(base, in) != nil { // it ends with the agent
		s.out.Close()
	}
	s.watch(rw)
}

// watch reads the connection until the executor goes, and tells the book.
func (s *executorStream) watch(rw *bufio.ReadWriter) {
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
	a := s.agent
	a.mu.Lock()
	delete(a.streams, s.id)
	base := a.base
	a.mu.Unlock()
	_ = a.loop.Put(base, &workload.ExecutorClosed{Stream: s.id}) // an agent that ends has no streams
}

// toExecutor gives a stream an event of the book. What is for one that is gone is dropped.
func (a *Agent) toExecutor(e *workload.ToExecutor) {
	a.mu.Lock()
	s := a.streams[e.Stream]
	a.mu.Unlock()
	if s != nil {
		s.send(e.Event)
	}
}

func (s *executorStream) send(event any) {
	const end = "0\r\n\r\n"
	size := 200
	switch e := event.(type) {
	case workload.ExecutorSubscribed:
		size += len(e.Executor.Spec.Info) + len(e.Framework.Info)
		s.mu.Lock()
		s.beat = time.AfterFunc(executorBeat, s.pulse) //nolint:forbidigo // no goroutine for each of many streams
		s.mu.Unlock()
	case workload.LaunchEvent:
		size += len(e.Task.Info)
	case workload.LaunchGroupEvent:
		for _, t := range e.Tasks {
			size += len(t.Info)
		}
	case workload.MessageEvent:
		size += len(e.Data)
	case workload.CloseStream:
		s.out.Send(rawBytes(end), len(end))
		s.out.Finish()
		return
	}
	s.out.Send(event, size)
}

func (s *executorStream) pulse() {
	s.out.Send(executorPulse{}, 32)
	s.mu.Lock()
	s.beat.Reset(executorBeat)
	s.mu.Unlock()
}

// encode appends events as chunks of one record each.
func (s *executorStream) encode(dst []byte, items []any) []byte {
	var event, record []byte
	for _, it := range items {
		if raw, ok := it.(rawBytes); ok {
			dst = append(dst, raw...)
			continue
		}
		var err error
		e := s.agent.executorEvent(it)
		if s.json {
			event, err = mesos.AppendJSON(event[:0], e)
		} else {
			event, err = proto.MarshalOptions{}.MarshalAppend(event[:0], e)
		}
		if err != nil {
			s.agent.deps.Log.Error("an event for an executor cannot be encoded", "error", err)
			continue
		}
		record = mesos.AppendRecord(record[:0], event)
		dst = strconv.AppendInt(dst, int64(len(record)), 16)
		dst = append(dst, "\r\n"...)
		dst = append(dst, record...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// executorEvent makes the protocol's message of an event.
func (a *Agent) executorEvent(it any) *executor.Event {
	switch e := it.(type) {
	case workload.ExecutorSubscribed:
		var info mesosv1.ExecutorInfo
		var framework mesosv1.FrameworkInfo
		read(e.Executor.Spec.Info, &info)
		read(e.Framework.Info, &framework)
		info.Resources = allocated(info.GetResources(), e.Executor.Spec.Role, &framework)
		return &executor.Event{Type: executor.Event_SUBSCRIBED.Enum(), Subscribed: &executor.Event_Subscribed{
			ExecutorInfo: &info, FrameworkInfo: &framework, AgentInfo: a.agentInfo(a.view.Load().Agent),
			ContainerId: &mesosv1.ContainerID{Value: &e.Executor.Container},
		}}
	case workload.LaunchEvent:
		var framework mesosv1.FrameworkInfo
		read(e.Framework.Info, &framework)
		return &executor.Event{Type: executor.Event_LAUNCH.Enum(), Launch: &executor.Event_Launch{Task: taskFor(e.Task, &framework)}}
	case workload.LaunchGroupEvent:
		return launchGroupEvent(e)
	case workload.KillEvent:
		k := &executor.Event_Kill{TaskId: &mesosv1.TaskID{Value: &e.Task}}
		if e.Grace >= 0 {
			k.KillPolicy = &mesosv1.KillPolicy{GracePeriod: &mesosv1.DurationInfo{Nanoseconds: new(int64(e.Grace))}}
		}
		return &executor.Event{Type: executor.Event_KILL.Enum(), Kill: k}
	case workload.AcknowledgedEvent:
		return &executor.Event{Type: executor.Event_ACKNOWLEDGED.Enum(), Acknowledged: &executor.Event_Acknowledged{
			TaskId: &mesosv1.TaskID{Value: &e.Task}, Uuid: []byte(e.UUID),
		}}
	case workload.MessageEvent:
		return &executor.Event{Type: executor.Event_MESSAGE.Enum(), Message: &executor.Event_Message{Data: e.Data}}
	case workload.ShutdownEvent:
		return &executor.Event{Type: executor.Event_SHUTDOWN.Enum()}
	}
	return &executor.Event{Type: executor.Event_HEARTBEAT.Enum()}
}

// read decodes what was checked when it came; what cannot be read says nothing.
func read(b []byte, m proto.Message) {
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(b, m)
}

// allocated writes resources as an executor of the framework knows them: with the role that they were offered to, unless the
// framework is from before there were several.
func allocated(list []*mesosv1.Resource, role string, f *mesosv1.FrameworkInfo) []*mesosv1.Resource {
	l, _, err := resource.FromProto(list)
	if err != nil {
		return list // they were read when they came
	}
	format := resource.PreRefinement
	if mesos.Has(f, mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT) {
		format = resource.PostRefinement
	}
	if !mesos.Has(f, mesosv1.FrameworkInfo_Capability_MULTI_ROLE) {
		role = ""
	}
	return l.ToProto(role, format)
}
