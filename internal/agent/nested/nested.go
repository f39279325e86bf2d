// Package nested answers the calls of the agent's v1 API about containers that somebody starts by it: below another or
// standing alone, with their input and output as streams.
package nested

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/internal/serve"
)

const (
	// maxWaiters bounds the calls that wait for an end at a time.
	maxWaiters = 1000
	// maxLaunch bounds a launch, in bytes: it is held until the container has started.
	maxLaunch = 1 << 20
)

// Deps is what the calls need of their agent.
type Deps struct {
	Runtime container.Runtime
	// View is the book as it is shown, and Put gives it an input.
	View    func() *workload.View
	Put     func(context.Context, workload.In) error
	Clock   clock.Clock
	Log     *slog.Logger
	WorkDir string
	// User is whom a container that stands alone runs as when nobody says.
	User string
}

// Server answers the calls. Answer and Ended pass on what the book says.
type Server struct {
	deps Deps
	ids  atomic.Uint64

	mu      sync.Mutex // guards the rest
	calls   map[uint64]chan workload.NestedAnswer
	waiters map[string][]chan *workload.NestedView // by the runtime's name
	waiting int
	stopped bool
}

// New makes a server.
func New(d Deps) *Server {
	return &Server{deps: d, calls: map[uint64]chan workload.NestedAnswer{}, waiters: map[string][]chan *workload.NestedView{}}
}

// Answer passes on what came of a call.
func (s *Server) Answer(a *workload.NestedAnswer) {
	s.mu.Lock()
	c := s.calls[a.Call]
	delete(s.calls, a.Call)
	s.mu.Unlock()
	if c != nil {
		c <- *a // it has room for the one
	}
}

// Ended tells those who wait for it how a container ended.
func (s *Server) Ended(v *workload.NestedView) {
	s.mu.Lock()
	list := s.waiters[v.Spec.Container]
	delete(s.waiters, v.Spec.Container)
	s.waiting -= len(list)
	s.mu.Unlock()
	for _, c := range list {
		c <- v // it has room for the one
	}
}

// Concerns says whether a call is about containers of the API.
func Concerns(call *genagent.Call) bool {
	switch call.GetType() {
	case genagent.Call_LAUNCH_NESTED_CONTAINER, genagent.Call_LAUNCH_CONTAINER, genagent.Call_LAUNCH_NESTED_CONTAINER_SESSION,
		genagent.Call_ATTACH_CONTAINER_OUTPUT, genagent.Call_ATTACH_CONTAINER_INPUT, genagent.Call_WAIT_NESTED_CONTAINER,
		genagent.Call_WAIT_CONTAINER, genagent.Call_KILL_NESTED_CONTAINER, genagent.Call_KILL_CONTAINER,
		genagent.Call_REMOVE_NESTED_CONTAINER, genagent.Call_REMOVE_CONTAINER:
		return true
	default:
		return false
	}
}

// Serve answers a call that concerns containers of the API. base ends with the agent.
func (s *Server) Serve(base context.Context, w http.ResponseWriter, r *http.Request, call *genagent.Call, m serve.Media) {
	kind := call.GetType()
	if m.Records && kind != genagent.Call_LAUNCH_NESTED_CONTAINER_SESSION && kind != genagent.Call_ATTACH_CONTAINER_OUTPUT {
		serve.NotAcceptable(w)
		return
	}
	switch kind {
	case genagent.Call_LAUNCH_NESTED_CONTAINER:
		c := call.GetLaunchNestedContainer()
		if c.GetContainerId().GetParent() == nil {
			serve.Fail(w, http.StatusBadRequest, "launch_nested_container.container_id.parent is missing; name the container that it is to be below.")
			return
		}
		s.launch(w, r, &genagent.Call_LaunchContainer{ContainerId: c.GetContainerId(), Command: c.GetCommand(), Container: c.GetContainer()})
	case genagent.Call_LAUNCH_CONTAINER:
		s.launch(w, r, call.GetLaunchContainer())
	case genagent.Call_LAUNCH_NESTED_CONTAINER_SESSION:
		s.session(base, w, r, call.GetLaunchNestedContainerSession(), m)
	case genagent.Call_ATTACH_CONTAINER_OUTPUT:
		s.attachOutput(base, w, r, call.GetAttachContainerOutput().GetContainerId(), m)
	case genagent.Call_ATTACH_CONTAINER_INPUT:
		serve.Fail(w, http.StatusUnsupportedMediaType, "ATTACH_CONTAINER_INPUT is a stream of records; set Content-Type to "+serve.TypeRecordIO+".")
	case genagent.Call_WAIT_NESTED_CONTAINER:
		s.wait(w, r, call.GetWaitNestedContainer().GetContainerId(), m, true)
	case genagent.Call_WAIT_CONTAINER:
		s.wait(w, r, call.GetWaitContainer().GetContainerId(), m, false)
	case genagent.Call_KILL_NESTED_CONTAINER:
		s.kill(w, r, call.GetKillNestedContainer())
	case genagent.Call_KILL_CONTAINER:
		s.kill(w, r, call.GetKillContainer())
	case genagent.Call_REMOVE_NESTED_CONTAINER:
		s.remove(w, r, call.GetRemoveNestedContainer().GetContainerId())
	case genagent.Call_REMOVE_CONTAINER:
		s.remove(w, r, call.GetRemoveContainer().GetContainerId())
	}
}

// target is a container that a call names.
type target struct {
	path, container           string // its ids, and the runtime's name
	user, framework, executor string
	sandbox                   string
	runs                      bool
	nested                    *workload.NestedView // nil: a task's or an executor's
}

// find looks a container up by its path; nil: it is not there.
func (s *Server) find(v *workload.View, path string) *target {
	if n := v.FindNested(path); n != nil {
		return &target{path, n.Spec.Container, n.Spec.User, n.Spec.Framework, n.Spec.Executor, n.Spec.Sandbox, n.PID != 0 && n.Exit == nil, n}
	}
	run := func(framework, executor, container string) string {
		top, below, _ := strings.Cut(container, ".")
		dir := sandbox.Run{Agent: v.Agent, Framework: framework, Executor: executor, Container: top}.Path(s.deps.WorkDir)
		if below != "" {
			dir = filepath.Join(dir, sandbox.Containers, below)
		}
		return dir
	}
	for _, x := range v.Executors {
		if x.Container == path {
			return &target{path, path, x.Spec.User, x.Spec.Framework, x.Spec.ID, run(x.Spec.Framework, x.Spec.ID, path), x.PID != 0, nil}
		}
	}
	for _, t := range v.Tasks {
		if t.Container == path && !t.Ended {
			executor := t.Task.ID
			if x := t.Task.Executor; x != nil {
				executor = x.ID
			}
			return &target{path, path, t.Task.User, t.Task.Framework, executor, run(t.Task.Framework, executor, path), t.PID != 0, nil}
		}
	}
	return nil
}

// named finds the container that a call is about, and answers when it may not be touched by who calls. A nil target with ok
// says that it is not there; then top says whether the container at the top is.
func (s *Server) named(w http.ResponseWriter, r *http.Request, id *mesosv1.ContainerID) (t *target, top, ok bool) {
	path, err := pathOf(id)
	if err != nil {
		serve.FailWith(w, err)
		return nil, false, false
	}
	v, who := s.deps.View(), serve.Who(r)
	if t = s.find(v, path); t == nil {
		root, _, _ := strings.Cut(path, ".")
		return nil, s.find(v, root) != nil, true
	}
	if !who.May(t.user) {
		serve.Fail(w, http.StatusForbidden, "The container is of another user of this machine.")
		return nil, false, false
	}
	return t, true, true
}

// ask gives the book an input and waits for its answer. It waits even when its client is gone: there is an end to it, and
// somebody must know what was started.
func (s *Server) ask(input func(call uint64) workload.In) (workload.NestedAnswer, error) {
	id, c := s.ids.Add(1), make(chan workload.NestedAnswer, 1)
	s.mu.Lock()
	s.calls[id] = c
	s.mu.Unlock()
	if err := s.deps.Put(context.Background(), input(id)); err != nil {
		s.mu.Lock()
		delete(s.calls, id)
		s.mu.Unlock()
		return workload.NestedAnswer{}, err
	}
	a, open := <-c
	if !open {
		return a, context.Canceled
	}
	return a, nil
}

// Stop answers everybody who waits: the agent ends.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		close(c)
	}
	for _, list := range s.waiters {
		for _, c := range list {
			close(c)
		}
	}
	s.stopped = true
	s.calls, s.waiters, s.waiting = map[uint64]chan workload.NestedAnswer{}, map[string][]chan *workload.NestedView{}, 0
}

// fail answers with what came of a call that was not done.
func fail(w http.ResponseWriter, a workload.NestedAnswer, err error) {
	if err != nil {
		serve.Fail(w, http.StatusServiceUnavailable, "The agent is ending; try again.")
		return
	}
	switch a.Outcome {
	case workload.NestedExists:
		w.WriteHeader(http.StatusAccepted)
	case workload.NestedTooMany:
		serve.Fail(w, http.StatusServiceUnavailable, a.Words)
	case workload.NestedRuns:
		serve.Fail(w, http.StatusInternalServerError, a.Words)
	default:
		serve.Fail(w, http.StatusBadRequest, a.Words)
	}
}

// launch answers LAUNCH_NESTED_CONTAINER and LAUNCH_CONTAINER.
func (s *Server) launch(w http.ResponseWriter, r *http.Request, call *genagent.Call_LaunchContainer) {
	spec, ok := s.spec(w, r, call)
	if !ok {
		return
	}
	a, err := s.ask(func(id uint64) workload.In { return &workload.LaunchNested{Call: id, Spec: spec} })
	if err != nil || a.Outcome != workload.NestedDone {
		fail(w, a, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// spec makes the book's value of a launch, or answers with what is wrong with it.
func (s *Server) spec(w http.ResponseWriter, r *http.Request, call *genagent.Call_LaunchContainer) (*workload.Nested, bool) {
	path, err := pathOf(call.GetContainerId())
	if err == nil {
		err = check(call)
	}
	if err != nil {
		serve.FailWith(w, err)
		return nil, false
	}
	who, user := serve.Who(r), call.GetCommand().GetUser()
	n := &workload.Nested{Path: path, User: user}
	if n.Launch, err = proto.Marshal(call); err != nil {
		serve.FailWith(w, err)
		return nil, false
	}
	if len(n.Launch) > maxLaunch {
		serve.Fail(w, http.StatusBadRequest, fmt.Sprintf("The call has %d bytes, and no more than %d may be; put large things into the sandbox.", len(n.Launch), maxLaunch))
		return nil, false
	}
	if parent := call.GetContainerId().GetParent(); parent == nil {
		if n.User == "" {
			if n.User = who.User; who.Root {
				n.User = s.deps.User
			}
		}
		n.Sandbox = filepath.Join(s.deps.WorkDir, sandbox.Containers, path)
	} else {
		up, _, ok := s.named(w, r, parent)
		if !ok {
			return nil, false
		}
		if up == nil || !up.runs {
			serve.Fail(w, http.StatusBadRequest, "The container that it is to be below (container_id.parent) is not running on this agent.")
			return nil, false
		}
		if up.nested != nil && up.nested.Spec.Session {
			serve.Fail(w, http.StatusBadRequest, "The container that it is to be below (container_id.parent) is a session; name the one that the session is in.")
			return nil, false
		}
		n.Parent, n.Framework, n.Executor = up.container, up.framework, up.executor
		if n.User == "" {
			n.User = up.user
		}
		n.Sandbox = filepath.Join(up.sandbox, sandbox.Containers, call.GetContainerId().GetValue())
	}
	if !who.May(n.User) {
		serve.Fail(w, http.StatusForbidden, "command.user is another user of this machine; on loopback a user may run containers as himself only.")
		return nil, false
	}
	return n, true
}

// wait answers WAIT_NESTED_CONTAINER and WAIT_CONTAINER, once the container has ended.
func (s *Server) wait(w http.ResponseWriter, r *http.Request, id *mesosv1.ContainerID, m serve.Media, old bool) {
	t, _, ok := s.named(w, r, id)
	if !ok {
		return
	}
	if t == nil || t.nested == nil {
		serve.Fail(w, http.StatusNotFound, "No container of that id was started by this API, or it was removed.")
		return
	}
	c := make(chan *workload.NestedView, 1)
	s.mu.Lock()
	if s.stopped || s.waiting >= maxWaiters {
		s.mu.Unlock()
		serve.Fail(w, http.StatusServiceUnavailable, "The agent is ending, or as many calls wait for the ends of containers as may; try again.")
		return
	}
	s.waiters[t.container] = append(s.waiters[t.container], c)
	s.waiting++
	s.mu.Unlock()
	defer s.stopWaiting(t.container, c)
	v := s.deps.View().FindNested(t.path) // it may have ended before we began to wait
	if v == nil || v.Spec.Container != t.container || v.Exit == nil {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // as long as it takes
		select {
		case v, ok = <-c:
			if !ok {
				serve.Fail(w, http.StatusServiceUnavailable, "The agent is ending; ask again.")
				return
			}
		case <-r.Context().Done():
			return
		}
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(30 * time.Second)) // of a connection that is broken the write tells
	serve.Respond(w, r, waited(v, old), m.JSON)
}

func (s *Server) stopWaiting(container string, c chan *workload.NestedView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.waiters[container]
	for i, o := range list {
		if o == c {
			s.waiters[container] = append(list[:i:i], list[i+1:]...)
			s.waiting--
		}
	}
	if len(s.waiters[container]) == 0 {
		delete(s.waiters, container)
	}
}

// waited says how a container ended.
func waited(v *workload.NestedView, old bool) *genagent.Response {
	e := v.Exit
	out := &genagent.Response_WaitContainer{}
	if e.Known {
		out.ExitStatus = new(int32(e.Status))
	} else {
		out.Message = new("How the container ended is not known.")
	}
	if e.OOM {
		out.State, out.Reason = mesosv1.TaskState_TASK_FAILED.Enum(), mesosv1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY.Enum()
		out.Message = new("The container took more memory than its limit and was killed.")
		out.Limitation = &mesosv1.TaskResourceLimitation{Resources: []*mesosv1.Resource{{
			Name: new("mem"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(float64(e.Limit >> 20))},
		}}}
	}
	if old {
		return &genagent.Response{Type: genagent.Response_WAIT_NESTED_CONTAINER.Enum(), WaitNestedContainer: &genagent.Response_WaitNestedContainer{
			ExitStatus: out.ExitStatus, State: out.State, Reason: out.Reason, Limitation: out.Limitation, Message: out.Message,
		}}
	}
	return &genagent.Response{Type: genagent.Response_WAIT_CONTAINER.Enum(), WaitContainer: out}
}

const (
	sigKill   = 9
	maxSignal = 64
)

// kill answers KILL_NESTED_CONTAINER and KILL_CONTAINER. SIGKILL is for all of the container, others for its first process.
func (s *Server) kill(w http.ResponseWriter, r *http.Request, call interface {
	GetContainerId() *mesosv1.ContainerID
	GetSignal() int32
},
) {
	signal := int(call.GetSignal())
	if signal == 0 {
		signal = sigKill
	}
	if signal < 0 || signal > maxSignal {
		serve.Fail(w, http.StatusBadRequest, "signal is none that there is; give one of 1 to 64, or leave it out for SIGKILL.")
		return
	}
	t, _, ok := s.named(w, r, call.GetContainerId())
	switch {
	case !ok:
		return
	case t == nil, t.nested != nil && t.nested.Exit != nil:
		serve.Fail(w, http.StatusNotFound, "No container of that id is running.")
		return
	}
	var err error
	switch {
	case t.nested != nil && (signal == sigKill || !t.runs):
		err = s.deps.Put(r.Context(), &workload.KillNested{Container: t.container})
	case signal == sigKill:
		err = s.deps.Runtime.Kill(t.container, 0)
	default:
		err = s.deps.Runtime.Signal(t.container, signal)
	}
	if container.KindOf(err) == container.KindGone {
		serve.Fail(w, http.StatusNotFound, "No container of that id is running.")
		return
	}
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, "The signal cannot be sent: "+err.Error())
		return
	}
	w.WriteHeader(http.StatusOK)
}

// remove answers REMOVE_NESTED_CONTAINER and REMOVE_CONTAINER.
func (s *Server) remove(w http.ResponseWriter, r *http.Request, id *mesosv1.ContainerID) {
	t, _, ok := s.named(w, r, id)
	switch {
	case !ok:
		return
	case t == nil:
		w.WriteHeader(http.StatusOK)
		return
	case t.nested == nil:
		serve.Fail(w, http.StatusInternalServerError, "The container is a task's or an executor's; it is removed when that has ended.")
		return
	}
	a, err := s.ask(func(call uint64) workload.In { return &workload.RemoveNested{Call: call, Path: t.path} })
	if err != nil || a.Outcome != workload.NestedDone {
		fail(w, a, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}
