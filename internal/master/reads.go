package master

import (
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/master/reads"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// reads adds the endpoints that only read. Those that show the cluster are the leader's; the others answer anywhere.
func (m *Master) reads(mux *serve.Mux, about *reads.About) {
	// whole serves a document that equal readers of one view share.
	whole := func(path string, render func(*reads.Reader, []byte) []byte) {
		mux.Handle(path, func(w http.ResponseWriter, r *http.Request) {
			rd, who := m.reader(w, r, about)
			if rd == nil {
				return
			}
			m.shared.JSON(w, r, rd.View, path+"\x00"+who.User, func(dst []byte) []byte { return render(rd, dst) })
		})
	}
	// part serves a document that depends on the query.
	part := func(path string, render func(rd *reads.Reader, r *http.Request) ([]byte, error)) {
		mux.Handle(path, func(w http.ResponseWriter, r *http.Request) {
			rd, _ := m.reader(w, r, about)
			if rd == nil {
				return
			}
			body, err := render(rd, r)
			if err != nil {
				serve.FailWith(w, err)
				return
			}
			serve.JSON(w, r, body)
		})
	}
	fixed := func(path string, body []byte) {
		mux.Handle(path, func(w http.ResponseWriter, r *http.Request) { serve.JSON(w, r, body) })
	}

	whole("/state", (*reads.Reader).State)
	whole("/state-summary", (*reads.Reader).Summary)
	whole("/roles", (*reads.Reader).Roles)
	part("/slaves", func(rd *reads.Reader, r *http.Request) ([]byte, error) {
		return rd.Slaves(nil, r.URL.Query().Get("slave_id")), nil
	})
	part("/frameworks", func(rd *reads.Reader, r *http.Request) ([]byte, error) {
		return rd.Frameworks(nil, r.URL.Query().Get("framework_id")), nil
	})
	part("/tasks", func(rd *reads.Reader, r *http.Request) ([]byte, error) {
		q, err := reads.ParseTaskQuery(r.URL.Query())
		if err != nil {
			return nil, err
		}
		return rd.Tasks(nil, q), nil
	})
	part("/weights", func(_ *reads.Reader, r *http.Request) ([]byte, error) {
		return about.AppendWeights(nil), onlyRead(r, "Weights are set with --weights when the master starts")
	})
	part("/maintenance/schedule", func(_ *reads.Reader, r *http.Request) ([]byte, error) {
		return []byte("{}"), onlyRead(r, "This version plans no maintenance yet")
	})
	part("/maintenance/status", func(*reads.Reader, *http.Request) ([]byte, error) { return []byte("{}"), nil })
	for _, path := range []string{"/machine/down", "/machine/up"} {
		part(path, func(*reads.Reader, *http.Request) ([]byte, error) {
			return nil, &serve.StatusError{Status: http.StatusNotImplemented, Words: "This version plans no maintenance yet, so no machine can be taken down or up by it."}
		})
	}
	part("/quota", func(_ *reads.Reader, r *http.Request) ([]byte, error) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return nil, &serve.StatusError{Status: http.StatusNotImplemented, Words: "This version keeps no quota yet: every role may have what it is offered."}
		}
		return []byte(`{"infos":[]}`), nil
	})
	part("/registrar(1)/registry", func(rd *reads.Reader, _ *http.Request) ([]byte, error) {
		return rd.Registry(m.masterInfo(rd.View.MasterID))
	})

	mux.Handle("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	fixed("/version", slices.Concat([]byte{'{'}, about.Build, []byte{'}'}))
	fixed("/flags", slices.Concat([]byte(`{"flags":`), about.Flags, []byte{'}'}))
	mux.Handle("/metrics/snapshot", m.deps.Meter.ServeSnapshot)
	mux.Handle("/metrics", m.deps.Meter.Prometheus().ServeHTTP)
	mux.Handle("/system/stats", func(w http.ResponseWriter, r *http.Request) { serve.JSON(w, r, host.AppendStats(nil)) })
	mux.Handle("/logging/toggle", m.verbosity.ServeHTTP)
	files := &sandbox.Files{} // nothing is attached: the log goes to where the operator sends it
	mux.Handle("/files", files.Handler(nil).ServeHTTP)
	mux.Handle("/", m.servePage)
}

// onlyRead refuses, with the reason, what would change something at an endpoint where that cannot be done here. (Those
// that only ever read take a POST like a GET, as the original does.)
func onlyRead(r *http.Request, why string) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	return &serve.StatusError{Status: http.StatusMethodNotAllowed, Words: why + "; only GET is answered here."}
}

// reader gives the present view to whoever asks, cut down to what he may see, or answers that another master leads.
func (m *Master) reader(w http.ResponseWriter, r *http.Request, about *reads.About) (*reads.Reader, serve.Subject) {
	t := m.leading(w, r)
	if t == nil {
		return nil, serve.Subject{}
	}
	return t.reader(r, about)
}

// reader gives the present view to whoever asks, cut down to what he may see.
func (t *term) reader(r *http.Request, about *reads.About) (*reads.Reader, serve.Subject) {
	rd, who := &reads.Reader{View: t.view.Load(), About: about}, serve.Who(r)
	if !who.Root {
		rd.May = who.May
	}
	return rd, who
}

// flags are the settings by the original's names, and what was set.
func (m *Master) flags() map[string]string {
	book := &m.cfg.Book
	flags := map[string]string{
		"agent_ping_timeout":                    mesos.FormatDuration(book.PingInterval),
		"agent_reregister_timeout":              mesos.FormatDuration(book.ReregisterTimeout),
		"allocation_interval":                   mesos.FormatDuration(book.AllocationInterval),
		"hostname":                              m.cfg.Hostname,
		"ip":                                    m.cfg.IP,
		"max_agent_ping_timeouts":               strconv.Itoa(book.PingMisses),
		"max_completed_frameworks":              strconv.Itoa(book.MaxCompletedFrameworks),
		"max_operator_event_stream_subscribers": strconv.Itoa(m.cfg.Subscribers),
		"max_completed_tasks_per_framework":     strconv.Itoa(book.MaxCompletedTasks),
		"port":                                  strconv.Itoa(m.cfg.Port),
		"registry":                              "etcd",
		"work_dir":                              m.cfg.WorkDir,
	}
	if m.cfg.Cluster != "" {
		flags["cluster"] = m.cfg.Cluster
	}
	maps.Copy(flags, m.cfg.Flags)
	return flags
}

// about gathers what does not change while the master runs.
func (m *Master) about() *reads.About {
	a := &reads.About{
		PID: m.pid(), Hostname: m.cfg.Hostname, Cluster: m.cfg.Cluster, Port: m.cfg.Port,
		Build: serve.Build(MesosVersion), Flags: serve.Settings(m.flags()), Weights: m.cfg.Book.Allocation.Weights,
		Region: m.cfg.Domain.GetFaultDomain().GetRegion().GetName(), Zone: m.cfg.Domain.GetFaultDomain().GetZone().GetName(),
	}
	for _, c := range m.masterInfo("").GetCapabilities() {
		a.Capabilities = append(a.Capabilities, c.GetType().String())
	}
	return a
}

func (m *Master) pid() string {
	return "master@" + net.JoinHostPort(m.cfg.IP, strconv.Itoa(m.cfg.Port))
}

// servePage tells a person with a browser what this is.
func (m *Master) servePage(w http.ResponseWriter, r *http.Request) {
	p := &serve.Page{
		Title: "Pando master", Lead: "Pando makes a data center one computer. This is a cluster's master: it knows the machines, offers what they have to frameworks, and keeps account of what runs.",
		Facts: [][2]string{{"Address", m.pid()}, {"Version", strings.TrimSpace(m.cfg.Version + " (speaks Mesos " + MesosVersion + ")")}},
		Groups: []serve.LinkGroup{
			{Title: "Look", Links: []serve.Link{
				{To: "/state-summary", Words: "machines and frameworks, counted"},
				{To: "/state", Words: "everything, tasks included"},
				{To: "/slaves", Words: "the machines"},
				{To: "/frameworks", Words: "the frameworks and their tasks"},
				{To: "/tasks?limit=20", Words: "the latest tasks"},
				{To: "/roles", Words: "who has which share"},
				{To: "/flags", Words: "the settings"},
				{To: "/metrics/snapshot", Words: "numbers, as Mesos names them"},
				{To: "/metrics", Words: "the same for Prometheus"},
				{To: "/health", Words: "an empty 200 while it lives"},
			}},
			{Title: "Use", Links: []serve.Link{
				{Code: "pando run -- echo hello", Words: "runs a command on the cluster"},
				{Code: "pando status", Words: "says how the cluster is; pando --help lists what else there is"},
				{Code: "POST /api/v1/scheduler", Words: "where frameworks connect: the Mesos v1 scheduler API, unchanged"},
			}},
			{Title: "Read", Links: []serve.Link{{To: "https://github.com/pando-os/pando", Words: "what Pando is, and how to use it"}}},
		},
	}
	t, l := m.term.Load(), m.leader.Load()
	switch {
	case t != nil:
		n := reads.Agents(t.view.Load())
		p.Facts = append(p.Facts, [2]string{"Role", "leads the cluster"}, [2]string{"Machines", strconv.Itoa(n.Active) + " active, " + strconv.Itoa(n.Unreachable) + " unreachable"})
	case l != nil:
		p.Facts = append(p.Facts, [2]string{"Role", "stands by; " + l.Addr() + " leads"})
	default:
		p.Facts = append(p.Facts, [2]string{"Role", "waits for an election"})
	}
	p.Write(w, r)
}
