package master

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// serveOperator answers POST /api/v1. The order of the checks is the original's.
func (m *Master) serveOperator(w http.ResponseWriter, r *http.Request) {
	t := m.leading(w, r)
	if t == nil || !serve.Post(w, r) {
		return
	}
	body, inJSON, ok := operatorBody(w, r)
	if !ok {
		return
	}
	call, err := operatorCall(body, inJSON)
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, "The call cannot be read: "+err.Error())
		return
	}
	outJSON, ok := accepts(r)
	if !ok {
		notAcceptable(w)
		return
	}
	switch call.GetType() {
	case master.Call_TEARDOWN:
		t.teardown(w, r, call.GetTeardown().GetFrameworkId().GetValue())
	case master.Call_MARK_AGENT_GONE:
		t.markAgentGone(w, r, call.GetMarkAgentGone().GetAgentId().GetValue())
	default:
		answer := t.operatorRead(call.GetType())
		if answer == nil {
			serve.Fail(w, http.StatusNotImplemented, "This version does not answer "+call.GetType().String()+" yet. Reads of the cluster are at /state, /slaves, /frameworks, /tasks and /roles; schedulers are told of changes at /api/v1/scheduler.")
			return
		}
		respond(w, r, answer, outJSON)
	}
}

// operatorBody reads the body of a call, in the encoding that its Content-Type names.
func operatorBody(w http.ResponseWriter, r *http.Request) (body []byte, json, ok bool) {
	switch r.Header.Get("Content-Type") {
	case typeJSON:
		json = true
	case typeProtobuf:
	case "":
		serve.Fail(w, http.StatusBadRequest, "Content-Type is missing; set it to "+typeJSON+" or "+typeProtobuf+".")
		return nil, false, false
	default:
		serve.Fail(w, http.StatusUnsupportedMediaType, "Content-Type must be exactly "+typeJSON+" or "+typeProtobuf+", without parameters.")
		return nil, false, false
	}
	body, err := serve.Body(r)
	if err != nil {
		serve.FailWith(w, err)
		return nil, false, false
	}
	return body, json, true
}

// operatorCall decodes a call and checks that it has a known type and the member that goes with it.
func operatorCall(body []byte, json bool) (*master.Call, error) {
	call := &master.Call{}
	if err := checkSize(body, json, call); err != nil {
		return nil, err
	}
	decode := mesos.DecodeProto
	if json {
		decode = mesos.UnmarshalJSON
	}
	if err := decode(body, call); err != nil {
		return nil, err
	}
	name, known := master.Call_Type_name[int32(call.GetType())]
	if !known || call.GetType() == master.Call_UNKNOWN {
		return nil, errors.New("type is missing or unknown; it must be one of master.Call.Type, such as GET_HEALTH")
	}
	m := call.ProtoReflect()
	member := m.Descriptor().Fields().ByName(protoreflect.Name(strings.ToLower(name)))
	if member != nil && !m.Has(member) {
		return nil, errors.New(string(member.Name()) + " is missing; a call of type " + name + " has it")
	}
	return call, nil
}

// operatorRead answers the reads that need little; nil for those that this version does not know.
func (t *term) operatorRead(kind master.Call_Type) *master.Response {
	m := t.m
	switch kind {
	case master.Call_GET_HEALTH:
		return &master.Response{Type: master.Response_GET_HEALTH.Enum(), GetHealth: &master.Response_GetHealth{Healthy: new(true)}}
	case master.Call_GET_VERSION:
		return &master.Response{Type: master.Response_GET_VERSION.Enum(), GetVersion: &master.Response_GetVersion{VersionInfo: serve.VersionInfo(MesosVersion)}}
	case master.Call_GET_MASTER:
		v := t.view.Load()
		return &master.Response{Type: master.Response_GET_MASTER.Enum(), GetMaster: &master.Response_GetMaster{
			MasterInfo: m.masterInfo(t.id), StartTime: new(float64(v.Started) / 1e9), ElectedTime: new(float64(v.Elected) / 1e9),
		}}
	case master.Call_GET_FLAGS:
		out := &master.Response_GetFlags{}
		flags := m.flags()
		for _, name := range slices.Sorted(maps.Keys(flags)) {
			out.Flags = append(out.Flags, &mesosv1.Flag{Name: &name, Value: new(flags[name])})
		}
		return &master.Response{Type: master.Response_GET_FLAGS.Enum(), GetFlags: out}
	case master.Call_GET_METRICS:
		out := &master.Response_GetMetrics{}
		numbers := m.deps.Meter.Snapshot()
		for _, name := range slices.Sorted(maps.Keys(numbers)) {
			out.Metrics = append(out.Metrics, &mesosv1.Metric{Name: &name, Value: new(numbers[name])})
		}
		return &master.Response{Type: master.Response_GET_METRICS.Enum(), GetMetrics: out}
	}
	return nil
}

// respond writes an answer in the encoding that the client takes.
func respond(w http.ResponseWriter, r *http.Request, answer proto.Message, json bool) {
	var body []byte
	var err error
	if json {
		body, err = mesos.AppendJSON(nil, answer)
		w.Header().Set("Content-Type", typeJSON)
	} else {
		body, err = proto.Marshal(answer)
		w.Header().Set("Content-Type", typeProtobuf)
	}
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, "The answer cannot be encoded: "+err.Error())
		return
	}
	serve.Write(w, r, body)
}

// teardown ends a framework. Its own user may do that as root may.
func (t *term) teardown(w http.ResponseWriter, r *http.Request, id string) {
	if !t.mayEnd(w, r, id) {
		return
	}
	a, err := t.ask(r.Context(), func(c cluster.CallID) cluster.In { return &cluster.Teardown{Call: c, Framework: id} })
	if err != nil {
		t.unavailable(w, err)
		return
	}
	answer(w, a)
}

// markAgentGone ends an agent for good, with the tasks of everybody that run there: that is root's to say.
func (t *term) markAgentGone(w http.ResponseWriter, r *http.Request, id string) {
	if who := serve.Who(r); !who.Root {
		serve.Fail(w, http.StatusForbidden, "Only root may mark an agent gone, and you are "+who.User+"; --trust-loopback lifts that.")
		return
	}
	a, err := t.ask(r.Context(), func(c cluster.CallID) cluster.In { return &cluster.MarkAgentGone{Call: c, Agent: id} })
	switch {
	case err != nil:
		t.unavailable(w, err)
	case a.Kind == cluster.Missing:
		serve.Fail(w, http.StatusNotFound, a.Text)
	default:
		answer(w, a)
	}
}
