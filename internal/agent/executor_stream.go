package agent

import (
	"context"
	"net/http"
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

// executorStream is one executor's SUBSCRIBE.
type executorStream struct {
	*serve.Stream
	id    uint64
	agent *Agent
	json  bool
}

// executorPulse is an event of the shell's own.
type executorPulse struct{}

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
	s := &executorStream{id: in.Stream, agent: a, json: json}
	var err error
	s.Stream, err = serve.OpenStream(w, serve.StreamHead{ContentType: serve.ContentType(json), Now: a.deps.Clock.Now().Time()},
		loop.OutboxLimits{Bytes: executorBacklog}, s.encode, func(why string) {
			a.deps.Log.Warn("executor's stream cut off", "framework", ref.Framework, "executor", ref.Executor, "why", why)
		})
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	a.mu.Lock()
	base := a.base
	a.streams[s.id] = s
	a.mu.Unlock()
	stop := context.AfterFunc(base, s.Close)
	defer stop()
	if a.loop.Put(base, in) != nil { // it ends with the agent
		s.Close()
	}
	s.watch()
}

// watch waits until the executor goes, and tells the book.
func (s *executorStream) watch() {
	s.Watch()
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
	size := 200
	switch e := event.(type) {
	case workload.ExecutorSubscribed:
		size += len(e.Executor.Spec.Info) + len(e.Framework.Info)
		s.Beat(executorBeat, executorPulse{})
	case workload.LaunchEvent:
		size += len(e.Task.Info)
	case workload.LaunchGroupEvent:
		for _, t := range e.Tasks {
			size += len(t.Info)
		}
	case workload.MessageEvent:
		size += len(e.Data)
	case workload.CloseStream:
		s.Finish()
		return
	}
	s.Send(event, size)
}

// encode appends an event, or nothing of one that cannot be encoded.
func (s *executorStream) encode(dst []byte, it any) []byte {
	e := s.agent.executorEvent(it)
	var out []byte
	var err error
	if s.json {
		out, err = mesos.AppendJSON(dst, e)
	} else {
		out, err = proto.MarshalOptions{}.MarshalAppend(dst, e)
	}
	if err != nil {
		s.agent.deps.Log.Error("an event for an executor cannot be encoded", "error", err)
		return dst[:0]
	}
	return out
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
		return &executor.Event{Type: executor.Event_LAUNCH.Enum(), Launch: &executor.Event_Launch{Task: a.taskFor(e.Task, &framework)}}
	case workload.LaunchGroupEvent:
		return a.launchGroupEvent(e)
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
