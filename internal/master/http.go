package master

import (
	"encoding/json"
	"net"
	"net/http"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
)

// Handler answers everything that a master is asked.
func (m *Master) Handler() http.Handler {
	mux, about := &serve.Mux{Prefixes: []string{"master"}}, m.about()
	mux.Handle("/api/v1", func(w http.ResponseWriter, r *http.Request) { m.serveOperator(w, r, about) })
	mux.Exact("/api/v1/scheduler", m.serveScheduler)
	mux.Exact(agentlink.Path, m.serveLink)
	mux.Exact("/pando/v1/kill", m.serveKill)
	mux.Exact("/pando/v1/task", m.serveTask)
	mux.Exact("/teardown", m.serveTeardown)
	m.forms(mux)
	mux.Exact("/redirect", m.serveRedirect)
	m.reads(mux, about)
	return m.bounded(mux)
}

// redirect sends a client to the leader, with path and query kept, or says that there is none.
func (m *Master) redirect(w http.ResponseWriter, r *http.Request) {
	l := m.leader.Load()
	if l == nil || l.Port == m.cfg.Port && l.IP == m.cfg.IP {
		w.Header().Set("Retry-After", "1")
		serve.Fail(w, http.StatusServiceUnavailable, "No leader elected; ask again in a moment.")
		return
	}
	w.Header().Set("Location", "//"+l.Addr()+r.URL.RequestURI())
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// serveRedirect tells where the leader is.
func (m *Master) serveRedirect(w http.ResponseWriter, _ *http.Request) {
	l := m.leader.Load()
	if l == nil {
		serve.Fail(w, http.StatusServiceUnavailable, "No leader elected; ask again in a moment.")
		return
	}
	w.Header().Set("Location", "//"+l.Addr())
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// leading gives the term to a handler that only a leader may answer.
func (m *Master) leading(w http.ResponseWriter, r *http.Request) *term {
	t := m.term.Load()
	if t == nil {
		m.redirect(w, r)
	}
	return t
}

// serveKill ends a task of any framework; the original has no such call. It is authorised as a teardown is.
func (m *Master) serveKill(w http.ResponseWriter, r *http.Request) {
	t := m.leading(w, r)
	if t == nil || !serve.Post(w, r) {
		return
	}
	body, err := serve.Body(r)
	if err != nil {
		serve.FailWith(w, err)
		return
	}
	var in struct {
		Framework string `json:"framework_id"`
		Task      string `json:"task_id"`
	}
	if r.Header.Get("Content-Type") != serve.TypeJSON {
		serve.Fail(w, http.StatusUnsupportedMediaType, "Content-Type must be "+serve.TypeJSON+".")
		return
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Framework == "" || in.Task == "" {
		serve.Fail(w, http.StatusBadRequest, `The body must be {"framework_id": "…", "task_id": "…"}.`)
		return
	}
	if !t.mayEnd(w, r, in.Framework) {
		return
	}
	a, err := t.ask(r.Context(), func(c cluster.CallID) cluster.In {
		return &cluster.Kill{Call: c, Framework: in.Framework, Task: in.Task, Grace: -1}
	})
	switch {
	case err != nil:
		t.unavailable(w, err)
	case a.Kind == cluster.Missing:
		serve.Fail(w, http.StatusNotFound, a.Text)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// serveTeardown ends a framework, as the original's form does.
func (m *Master) serveTeardown(w http.ResponseWriter, r *http.Request) {
	t := m.leading(w, r)
	if t == nil || !serve.Post(w, r) {
		return
	}
	form, ok := serve.Form(w, r, "it needs the field frameworkId alone")
	if !ok {
		return
	}
	id := form.Get("frameworkId")
	if id == "" {
		serve.Fail(w, http.StatusBadRequest, "The form must have the field frameworkId.")
		return
	}
	t.teardown(w, r, id)
}

// mayEnd says whether the asking user may end what belongs to a framework.
func (t *term) mayEnd(w http.ResponseWriter, r *http.Request, framework string) bool {
	who := serve.Who(r)
	f := t.view.Load().Framework(framework)
	if f == nil || who.May(f.Spec.User) {
		return true
	}
	serve.Fail(w, http.StatusForbidden, "The framework runs as "+f.Spec.User+", and you are "+who.User+".")
	return false
}

// masterInfo is what schedulers are told of this master.
func (m *Master) masterInfo(id string) *mesosv1.MasterInfo {
	ip := uint32(0)
	if p := net.ParseIP(m.cfg.IP).To4(); p != nil {
		ip = uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24 // network order, as the original has it
	}
	return &mesosv1.MasterInfo{
		Id: &id, Ip: &ip, Port: new(uint32(m.cfg.Port)), Pid: new(m.pid()), Hostname: &m.cfg.Hostname,
		Version: new(MesosVersion), Address: &mesosv1.Address{Hostname: &m.cfg.Hostname, Ip: &m.cfg.IP, Port: new(int32(m.cfg.Port))},
		Domain: m.cfg.Domain,
		Capabilities: []*mesosv1.MasterInfo_Capability{
			{Type: mesosv1.MasterInfo_Capability_AGENT_UPDATE.Enum()},
			{Type: mesosv1.MasterInfo_Capability_AGENT_DRAINING.Enum()},
			{Type: mesosv1.MasterInfo_Capability_QUOTA_V2.Enum()},
		},
	}
}

// MesosVersion is the version of the original whose behaviour this is.
const MesosVersion = "1.11.0"
