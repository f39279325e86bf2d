package master

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/maintenance"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/gen/mesosv1/quota"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/serve"
)

// serveOperator answers POST /api/v1. The order of the checks is the original's.
func (m *Master) serveOperator(w http.ResponseWriter, r *http.Request, about *reads.About) {
	t := m.leading(w, r)
	if t == nil || !serve.Post(w, r) {
		return
	}
	body, inJSON, ok := serve.CallBody(w, r)
	if !ok {
		return
	}
	call := &master.Call{}
	err := checkSize(body, inJSON, call)
	if err == nil {
		err = serve.DecodeCall(body, inJSON, call)
	}
	if err != nil {
		serve.Fail(w, http.StatusBadRequest, "The call cannot be read: "+err.Error())
		return
	}
	outJSON, ok := serve.Accepts(r)
	if !ok {
		serve.NotAcceptable(w)
		return
	}
	switch call.GetType() {
	case master.Call_TEARDOWN:
		t.teardown(w, r, call.GetTeardown().GetFrameworkId().GetValue())
	case master.Call_MARK_AGENT_GONE:
		t.markAgentGone(w, r, call.GetMarkAgentGone().GetAgentId().GetValue())
	case master.Call_SET_LOGGING_LEVEL:
		c := call.GetSetLoggingLevel()
		m.verbosity.ServeCall(w, r, c.GetLevel(), time.Duration(c.GetDuration().GetNanoseconds()))
	case master.Call_SUBSCRIBE:
		t.serveEvents(w, r, outJSON)
	case master.Call_GET_METRICS:
		m.serveMetrics(w, r, call.GetGetMetrics(), outJSON)
	case master.Call_LIST_FILES, master.Call_READ_FILE:
		// A master has no files to show: its log goes where the operator sends it.
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
	default:
		if agent, op := operatorsOperation(call); op != nil {
			t.changeResources(w, r, agent, op)
			return
		}
		t.operatorRead(w, r, call.GetType(), outJSON, about)
	}
}

// operatorRead answers what changes nothing.
func (t *term) operatorRead(w http.ResponseWriter, r *http.Request, call master.Call_Type, json bool, about *reads.About) {
	rd, who := t.reader(r, about)
	if kind := reads.Listed(call); kind != master.Response_UNKNOWN {
		key := call.String() + "\x00" + serve.ContentType(json) + "\x00" + who.User
		t.m.shared.Write(w, r, rd.View, key, serve.ContentType(json), func(dst []byte) ([]byte, error) {
			return serve.AppendListed(dst, kind, rd.Listing(call), json)
		})
		return
	}
	answer := t.operatorFacts(call, rd)
	if answer == nil {
		serve.Fail(w, http.StatusNotImplemented, "This version does not answer "+call.String()+" yet; docs/operator-api.md says which calls it answers.")
		return
	}
	serve.Respond(w, r, answer, json)
}

// operatorFacts answers the reads that need little; nil for those that this version does not know. There are no quotas and
// no maintenance yet, so those who look for them find none.
func (t *term) operatorFacts(call master.Call_Type, rd *reads.Reader) *master.Response {
	m := t.m
	switch call {
	case master.Call_GET_HEALTH:
		return &master.Response{Type: master.Response_GET_HEALTH.Enum(), GetHealth: &master.Response_GetHealth{Healthy: new(true)}}
	case master.Call_GET_VERSION:
		return &master.Response{Type: master.Response_GET_VERSION.Enum(), GetVersion: &master.Response_GetVersion{VersionInfo: serve.VersionInfo(MesosVersion)}}
	case master.Call_GET_LOGGING_LEVEL:
		return &master.Response{Type: master.Response_GET_LOGGING_LEVEL.Enum(), GetLoggingLevel: &master.Response_GetLoggingLevel{Level: new(uint32(m.verbosity.Raised()))}}
	case master.Call_GET_MASTER:
		return &master.Response{Type: master.Response_GET_MASTER.Enum(), GetMaster: &master.Response_GetMaster{
			MasterInfo: m.masterInfo(t.id), StartTime: new(float64(rd.View.Started) / 1e9), ElectedTime: new(float64(rd.View.Elected) / 1e9),
		}}
	case master.Call_GET_WEIGHTS:
		return &master.Response{Type: master.Response_GET_WEIGHTS.Enum(), GetWeights: rd.About.V1Weights()}
	case master.Call_GET_QUOTA:
		return &master.Response{Type: master.Response_GET_QUOTA.Enum(), GetQuota: &master.Response_GetQuota{Status: &quota.QuotaStatus{}}}
	case master.Call_GET_MAINTENANCE_STATUS:
		return &master.Response{Type: master.Response_GET_MAINTENANCE_STATUS.Enum(), GetMaintenanceStatus: &master.Response_GetMaintenanceStatus{Status: &maintenance.ClusterStatus{}}}
	case master.Call_GET_MAINTENANCE_SCHEDULE:
		return &master.Response{Type: master.Response_GET_MAINTENANCE_SCHEDULE.Enum(), GetMaintenanceSchedule: &master.Response_GetMaintenanceSchedule{Schedule: &maintenance.Schedule{}}}
	case master.Call_GET_FLAGS:
		out := &master.Response_GetFlags{}
		flags := m.flags()
		for _, name := range slices.Sorted(maps.Keys(flags)) {
			out.Flags = append(out.Flags, &mesosv1.Flag{Name: &name, Value: new(flags[name])})
		}
		return &master.Response{Type: master.Response_GET_FLAGS.Enum(), GetFlags: out}
	}
	return nil
}

// serveMetrics answers with the numbers that are there in the time that the call gives.
func (m *Master) serveMetrics(w http.ResponseWriter, r *http.Request, call *master.Call_GetMetrics, json bool) {
	metrics, err := serve.Metrics(m.deps.Meter, m.deps.Clock, call.GetTimeout())
	if err != nil {
		serve.FailWith(w, err)
		return
	}
	serve.Respond(w, r, &master.Response{Type: master.Response_GET_METRICS.Enum(), GetMetrics: &master.Response_GetMetrics{Metrics: metrics}}, json)
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
