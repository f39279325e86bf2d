package master

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

const streamHeader = "Mesos-Stream-Id"

// serveScheduler answers POST /api/v1/scheduler. The order of the checks is the original's (a client that makes two
// mistakes must see the same one).
func (m *Master) serveScheduler(w http.ResponseWriter, r *http.Request) {
	t := m.term.Load()
	if t == nil {
		m.redirect(w, r)
		return
	}
	if !serve.Post(w, r) {
		return
	}
	body, json, ok := serve.CallBody(w, r)
	if !ok {
		return
	}
	call, err := decodeCall(body, json)
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, "The call cannot be read: "+err.Error())
		return
	}
	m.counts.call(call.GetType())
	if call.GetType() == scheduler.Call_SUBSCRIBE {
		t.serveSubscribe(w, r, call.GetSubscribe())
		return
	}
	if call.GetType() == scheduler.Call_RECONCILE_OPERATIONS {
		if _, ok := serve.Accepts(r); !ok {
			serve.NotAcceptable(w)
			return
		}
	}
	s, ok := t.authorise(w, r, call)
	if !ok {
		return
	}
	s.tally.Load().Call(call.GetType(), call.GetAccept().GetOperations())
	t.serveCall(w, r, call, s)
}

// streamOf finds the stream of a framework, and says whether a call with this token and from this subject is its own.
func (t *term) streamOf(framework, token string, who serve.Subject) (s *stream, own bool) {
	t.mu.RLock()
	s = t.byName[framework]
	t.mu.RUnlock()
	return s, s != nil && token == s.token && (who.Root || who == s.owner)
}

// authorise finds the stream of a call's framework and checks that the call belongs to it.
func (t *term) authorise(w http.ResponseWriter, r *http.Request, call *scheduler.Call) (*stream, bool) {
	id, token := call.GetFrameworkId().GetValue(), r.Header.Get(streamHeader)
	s, own := t.streamOf(id, token, serve.Who(r))
	switch {
	case own:
		return s, true
	case s == nil && t.view.Load().Framework(id) == nil:
		serve.Fail(w, http.StatusBadRequest, "Framework cannot be found; subscribe first.")
	case s == nil:
		serve.Fail(w, http.StatusForbidden, "Framework is not subscribed; subscribe with its id first.")
	case token == "":
		serve.Fail(w, http.StatusBadRequest, "All calls but SUBSCRIBE must carry the header Mesos-Stream-Id of the subscription's answer.")
	case token != s.token:
		serve.Fail(w, http.StatusBadRequest, fmt.Sprintf("The stream ID '%.128s' included in this request didn't match the stream ID currently associated with framework ID %s", token, id))
	default:
		serve.Fail(w, http.StatusForbidden, "The framework belongs to another user of this machine.")
	}
	return nil, false
}

// serveSubscribe opens a stream and lets the book decide what is said on it.
func (t *term) serveSubscribe(w http.ResponseWriter, r *http.Request, call *scheduler.Call_Subscribe) {
	json, ok := serve.Accepts(r)
	if !ok {
		serve.NotAcceptable(w)
		return
	}
	if r.Header.Get(streamHeader) != "" {
		serve.Fail(w, http.StatusBadRequest, "SUBSCRIBE must not carry the header Mesos-Stream-Id; its answer gives one.")
		return
	}
	who := serve.Who(r)
	in, refusal := subscription(call)
	if refusal == "" && !who.May(in.Spec.User) {
		refusal = fmt.Sprintf("framework_info.user is %q, and this process belongs to %q; on loopback a user may run tasks as himself only", in.Spec.User, who.User)
	}
	if refusal == "" && !who.Root && in.Spec.ID != "" {
		if f := t.view.Load().Framework(in.Spec.ID); f != nil && f.Spec.User != who.User {
			refusal = "the framework belongs to another user of this machine"
		}
	}
	user := ""
	if in != nil {
		user = in.Spec.User
	}
	endBody(r)
	s, err := t.openStream(w, uuid.NewString(), json, user, who)
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	if refusal != "" {
		s.send(cluster.Error{Message: refusal})
		return
	}
	in.Stream = s.id
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		s.Close()
		return
	}
	t.streams[s.id] = s
	t.mu.Unlock()
	if err := t.loop.Put(r.Context(), in); err != nil {
		s.Close()
	}
	s.watch()
}

// subscription makes the book's input of a SUBSCRIBE, or says why it is refused.
func subscription(call *scheduler.Call_Subscribe) (*cluster.Subscribe, string) {
	info := call.GetFrameworkInfo()
	if info.GetId() != nil && info.GetId().GetValue() == "" {
		info.Id = nil // the original takes an empty id for none
	}
	if err := mesos.CheckFrameworkInfo(info); err != nil {
		return nil, err.Error()
	}
	return framework(info, call.GetSuppressedRoles(), call.GetOfferConstraints())
}

// framework makes what subscriptions and updates share.
func framework(info *mesosv1.FrameworkInfo, suppressed []string, constraints *scheduler.OfferConstraints) (*cluster.Subscribe, string) {
	spec, err := frameworkSpec(info, nil)
	if err == nil {
		err = checkFramework(spec.Info, spec)
	}
	if err != nil {
		return nil, err.Error()
	}
	in := &cluster.Subscribe{Spec: spec, Suppressed: slices.Sorted(slices.Values(suppressed))}
	in.Suppressed = slices.Compact(in.Suppressed)
	for _, role := range in.Suppressed {
		if !slices.Contains(spec.Roles, role) {
			return nil, fmt.Sprintf("suppressed_roles: the framework does not have the role %q", role)
		}
	}
	if constraints != nil {
		if in.Constraints, err = mesos.CompileConstraints(constraints, spec.Roles); err != nil {
			return nil, "offer_constraints: " + err.Error()
		}
		if in.ConstraintsInfo, err = proto.Marshal(constraints); err != nil {
			return nil, "offer_constraints: " + err.Error()
		}
	}
	return in, ""
}

// serveCall passes a call on to the book. It is answered 202 once it is queued, whatever comes of it; only what must ask
// the book waits for it.
func (t *term) serveCall(w http.ResponseWriter, r *http.Request, call *scheduler.Call, s *stream) {
	id := call.GetFrameworkId().GetValue()
	switch call.GetType() {
	case scheduler.Call_UPDATE_FRAMEWORK:
		t.serveUpdateFramework(w, r, call.GetUpdateFramework(), s)
		return
	case scheduler.Call_TEARDOWN:
		a, err := t.ask(r.Context(), func(c cluster.CallID) cluster.In { return &cluster.Teardown{Stream: s.id, Call: c, Framework: id} })
		if err != nil {
			t.unavailable(w, err)
			return
		}
		_ = a // the original answers 202 whatever came of it
		w.WriteHeader(http.StatusAccepted)
		return
	case scheduler.Call_REQUEST, scheduler.Call_ACCEPT_INVERSE_OFFERS, scheduler.Call_DECLINE_INVERSE_OFFERS:
		// Inverse offers do not exist yet, so there is nobody whom these concern; the original answers 202
		// and drops them too. REQUEST it ignores always.
		w.WriteHeader(http.StatusAccepted)
		return
	}
	in := input(call, s)
	if in == nil {
		serve.Fail(w, http.StatusNotImplemented, "The call "+call.GetType().String()+" is not known.")
		return
	}
	if err := t.put(r.Context(), s.lane, in); err != nil {
		t.unavailable(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// input makes the book's input of a call that nobody waits for; nil for the others.
func input(call *scheduler.Call, s *stream) cluster.In {
	id := call.GetFrameworkId().GetValue()
	switch call.GetType() {
	case scheduler.Call_ACCEPT:
		return accept(call.GetAccept(), id, s)
	case scheduler.Call_DECLINE:
		d := call.GetDecline()
		return &cluster.Decline{Stream: s.id, Framework: id, Offers: ids(d.GetOfferIds()), Refuse: refusal(d.GetFilters())}
	case scheduler.Call_REVIVE:
		return &cluster.Revive{Stream: s.id, Framework: id, Roles: call.GetRevive().GetRoles()}
	case scheduler.Call_SUPPRESS:
		return &cluster.Suppress{Stream: s.id, Framework: id, Roles: call.GetSuppress().GetRoles()}
	case scheduler.Call_KILL:
		k := call.GetKill()
		grace := int64(-1)
		if g := k.GetKillPolicy().GetGracePeriod(); g != nil {
			grace = g.GetNanoseconds()
		}
		return &cluster.Kill{Stream: s.id, Framework: id, Task: k.GetTaskId().GetValue(), Agent: k.GetAgentId().GetValue(), Grace: time.Duration(grace)}
	case scheduler.Call_ACKNOWLEDGE:
		a := call.GetAcknowledge()
		return &cluster.Acknowledge{Stream: s.id, Framework: id, Agent: a.GetAgentId().GetValue(), Task: a.GetTaskId().GetValue(), UUID: string(a.GetUuid())}
	case scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		a := call.GetAcknowledgeOperationStatus()
		return &cluster.AcknowledgeOperation{
			Stream: s.id, Framework: id, Agent: a.GetAgentId().GetValue(), Operation: a.GetOperationId().GetValue(), UUID: string(a.GetUuid()),
		}
	case scheduler.Call_SHUTDOWN:
		x := call.GetShutdown()
		return &cluster.ShutdownExecutor{Stream: s.id, Framework: id, Agent: x.GetAgentId().GetValue(), Executor: x.GetExecutorId().GetValue()}
	case scheduler.Call_RECONCILE:
		rec := &cluster.Reconcile{Stream: s.id, Framework: id}
		for _, x := range call.GetReconcile().GetTasks() {
			rec.Tasks = append(rec.Tasks, cluster.TaskRef{Task: x.GetTaskId().GetValue(), Agent: x.GetAgentId().GetValue()})
		}
		return rec
	case scheduler.Call_RECONCILE_OPERATIONS:
		rec := &cluster.ReconcileOperations{Stream: s.id, Framework: id}
		for _, x := range call.GetReconcileOperations().GetOperations() {
			rec.Operations = append(rec.Operations, cluster.OperationRef{Operation: x.GetOperationId().GetValue(), Agent: x.GetAgentId().GetValue()})
		}
		return rec
	case scheduler.Call_MESSAGE:
		x := call.GetMessage()
		return &cluster.Message{Stream: s.id, Framework: id, Agent: x.GetAgentId().GetValue(), Executor: x.GetExecutorId().GetValue(), Data: bytes.Clone(x.GetData())}
	}
	return nil
}

func accept(a *scheduler.Call_Accept, id string, s *stream) *cluster.Accept {
	in := &cluster.Accept{Stream: s.id, Framework: id, Offers: ids(a.GetOfferIds()), Refuse: refusal(a.GetFilters())}
	for _, op := range a.GetOperations() {
		if op.GetType() != mesosv1.Offer_Operation_LAUNCH && op.GetType() != mesosv1.Offer_Operation_LAUNCH_GROUP {
			in.Operations = append(in.Operations, operation(op))
			continue
		}
		o := cluster.Operation{ID: op.GetId().GetValue(), Type: op.GetType()}
		switch op.GetType() {
		case mesosv1.Offer_Operation_LAUNCH:
			for _, task := range op.GetLaunch().GetTaskInfos() {
				o.Tasks = append(o.Tasks, taskSpec(task, id, s.user, s.owner))
			}
		case mesosv1.Offer_Operation_LAUNCH_GROUP:
			o.Tasks = groupSpecs(op.GetLaunchGroup(), id, s.user, s.owner)
		}
		in.Operations = append(in.Operations, o)
	}
	return in
}

func (t *term) serveUpdateFramework(w http.ResponseWriter, r *http.Request, call *scheduler.Call_UpdateFramework, s *stream) {
	info := call.GetFrameworkInfo()
	if err := mesos.CheckFrameworkInfo(info); err != nil {
		serve.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	sub, refusal := framework(info, call.GetSuppressedRoles(), call.GetOfferConstraints())
	if refusal != "" {
		serve.Fail(w, http.StatusBadRequest, refusal)
		return
	}
	sub.Stream = s.id
	a, err := t.ask(r.Context(), func(c cluster.CallID) cluster.In { return &cluster.UpdateFramework{Call: c, Subscribe: *sub} })
	if err != nil {
		t.unavailable(w, err)
		return
	}
	answer(w, a)
}

// answer turns the book's answer into a status.
func answer(w http.ResponseWriter, a cluster.Answer) {
	switch a.Kind {
	case cluster.Done:
		w.WriteHeader(http.StatusOK)
	case cluster.Conflict:
		serve.Fail(w, http.StatusConflict, a.Text)
	default:
		serve.Fail(w, http.StatusBadRequest, a.Text)
	}
}

// unavailable answers a call that the term could not take any more.
func (t *term) unavailable(w http.ResponseWriter, err error) {
	if errors.Is(err, loop.ErrStopped) {
		serve.Fail(w, http.StatusServiceUnavailable, "This master stopped leading; ask again.")
		return
	}
	serve.Fail(w, http.StatusServiceUnavailable, "The call was not taken: "+err.Error())
}
