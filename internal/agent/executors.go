package agent

import (
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

const (
	// maxSaid bounds an executor's message and its status: each travels to the master in one frame beside others.
	maxSaid = 8 << 20
	// maxCall bounds the body of a call.
	maxCall = 24 << 20
	// maxUnacknowledged bounds the tasks, and the updates, of one SUBSCRIBE.
	maxUnacknowledged = 100_000
)

// serveExecutor answers POST /api/v1/executor, for the processes that this agent has started.
func (a *Agent) serveExecutor(w http.ResponseWriter, r *http.Request) {
	if !serve.Post(w, r) {
		return
	}
	call, ok := readCall(w, r)
	if !ok {
		return
	}
	if call.GetType() == executor.Call_HEARTBEAT {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if err := checkExecutorCall(call); err != nil {
		serve.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	ref := workload.ExecutorRef{Framework: call.GetFrameworkId().GetValue(), Executor: call.GetExecutorId().GetValue()}
	x, framework := a.executor(ref)
	switch {
	case framework == nil:
		serve.Fail(w, http.StatusBadRequest, "Framework cannot be found on this agent.")
		return
	case x == nil:
		serve.Fail(w, http.StatusBadRequest, "Executor cannot be found on this agent.")
		return
	}
	if who := serve.Who(r); !who.May(x.Spec.User) {
		serve.Fail(w, http.StatusForbidden, "The executor runs as another user of this machine.")
		return
	}
	if call.GetType() == executor.Call_SUBSCRIBE {
		a.serveSubscription(w, r, call.GetSubscribe(), ref)
		return
	}
	if x.State == workload.ExecutorRegistering {
		serve.Fail(w, http.StatusBadRequest, "Executor is not subscribed; SUBSCRIBE first.")
		return
	}
	in, err := a.heard(call, ref)
	if err != nil {
		serve.FailWith(w, err)
		return
	}
	if in == nil {
		serve.Fail(w, http.StatusNotImplemented, "The call "+call.GetType().String()+" is not known.")
		return
	}
	if err := a.loop.Put(r.Context(), in); err != nil {
		serve.Fail(w, http.StatusServiceUnavailable, "The agent is ending; try again.")
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// executor finds an executor and its framework in what the book shows; nil for what is not there.
func (a *Agent) executor(ref workload.ExecutorRef) (x *workload.ExecutorView, f *workload.Framework) {
	v := a.view.Load()
	for _, k := range v.Frameworks {
		if k.ID == ref.Framework {
			f = k
		}
	}
	for _, k := range v.Executors {
		if k.Spec.Framework == ref.Framework && k.Spec.ID == ref.Executor && !k.Spec.Default { // no program speaks for that
			x = k
		}
	}
	return x, f
}

// readCall reads the body of an executor's call, or answers with what is wrong with it.
func readCall(w http.ResponseWriter, r *http.Request) (*executor.Call, bool) {
	if r.ContentLength > maxCall {
		serve.Fail(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("The body has %d bytes, and no more than %d may be; put large things into the sandbox and send their names.", r.ContentLength, maxCall))
		return nil, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxCall)
	body, json, ok := serve.CallBody(w, r)
	if !ok {
		return nil, false
	}
	call := &executor.Call{}
	var err error
	if json {
		err = mesos.UnmarshalJSON(body, call)
	} else if err = agentlink.CheckElements(body, call.ProtoReflect().Descriptor()); err == nil {
		err = mesos.DecodeProto(body, call)
	}
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, "The call cannot be read: "+err.Error())
		return nil, false
	}
	return call, true
}

// checkExecutorCall refuses what an executor must not say, as far as that can be told without knowing who it is.
func checkExecutorCall(call *executor.Call) error {
	switch call.GetType() {
	case executor.Call_SUBSCRIBE:
		s := call.GetSubscribe()
		if s == nil {
			return errors.New("subscribe: is missing; give it, empty if there is nothing unacknowledged")
		}
		if n := max(len(s.GetUnacknowledgedTasks()), len(s.GetUnacknowledgedUpdates())); n > maxUnacknowledged {
			return fmt.Errorf("subscribe: there are %d tasks or updates, and no more than %d may be", n, maxUnacknowledged)
		}
		for i, u := range s.GetUnacknowledgedUpdates() {
			if err := checkUpdate(u.GetStatus(), call.GetExecutorId().GetValue()); err != nil {
				return fmt.Errorf("subscribe.unacknowledged_updates[%d].%w", i, err)
			}
		}
	case executor.Call_UPDATE:
		if call.GetUpdate() == nil {
			return errors.New("update: is missing; give the status")
		}
		if err := checkUpdate(call.GetUpdate().GetStatus(), call.GetExecutorId().GetValue()); err != nil {
			return fmt.Errorf("update.%w", err)
		}
	case executor.Call_MESSAGE:
		if call.GetMessage() == nil {
			return errors.New("message: is missing; give the data")
		}
	case executor.Call_UNKNOWN:
		if call.Type == nil {
			return errors.New("type: is missing; say which call this is")
		}
	}
	return nil
}

// checkUpdate refuses a status that is no update of an executor.
func checkUpdate(s *mesosv1.TaskStatus, executorID string) error {
	switch {
	case s.GetTaskId().GetValue() == "":
		return errors.New("status.task_id: is empty; name the task")
	case mesos.CheckUUID(s.GetUuid()) != nil: // its scheduler could not acknowledge it
		return fmt.Errorf("status.uuid: %x is no UUID; give each update one of 16 bytes, with a version", s.GetUuid())
	case s.GetSource() != mesosv1.TaskStatus_SOURCE_EXECUTOR:
		return fmt.Errorf("status.source: is %s; an executor's is SOURCE_EXECUTOR", s.GetSource())
	case s.GetState() == mesosv1.TaskState_TASK_STAGING:
		return errors.New("status.state: TASK_STAGING is before the executor has the task; begin with TASK_STARTING or TASK_RUNNING")
	case s.ExecutorId != nil && s.GetExecutorId().GetValue() != executorID:
		return fmt.Errorf("status.executor_id: is %q, and the call's is %q; leave it out", s.GetExecutorId().GetValue(), executorID)
	}
	if c := s.GetCheckStatus(); c != nil {
		has := 0
		for _, set := range []bool{c.Command != nil, c.Http != nil, c.Tcp != nil} {
			if set {
				has++
			}
		}
		if c.Type == nil || has != 1 {
			return errors.New("status.check_status: needs type and the one of command, http and tcp that fits it")
		}
	}
	return nil
}

// heard makes the book's input of a call that was checked; nil for one that is not known.
func (a *Agent) heard(call *executor.Call, ref workload.ExecutorRef) (workload.In, error) {
	tooLarge := func(what string, n int) error {
		return &serve.StatusError{
			Status: http.StatusRequestEntityTooLarge,
			Words:  fmt.Sprintf("%s: it has %d bytes, and no more than %d may be; put it into the sandbox and send its name.", what, n, maxSaid),
		}
	}
	switch call.GetType() {
	case executor.Call_UPDATE:
		if n := proto.Size(call.GetUpdate()); n > maxSaid {
			return nil, tooLarge("update", n)
		}
		s, err := statusOf(call.GetUpdate().GetStatus())
		if err != nil {
			return nil, err
		}
		return &workload.ExecutorUpdate{ExecutorRef: ref, Status: s}, nil
	case executor.Call_MESSAGE:
		if n := len(call.GetMessage().GetData()); n > maxSaid {
			return nil, tooLarge("message.data", n)
		}
		a.counts.messages.Inc()
		return &workload.ExecutorMessage{ExecutorRef: ref, Data: call.GetMessage().GetData()}, nil
	default:
		return nil, nil
	}
}

// statusOf makes the book's value of a status.
func statusOf(s *mesosv1.TaskStatus) (*mesos.Status, error) {
	b, err := proto.Marshal(s)
	if err != nil {
		return nil, err
	}
	out, err := mesos.ParseStatus(b)
	return &out, err
}
