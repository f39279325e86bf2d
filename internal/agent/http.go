package agent

import (
	"net"
	"net/http"
	"slices"
	"strconv"

	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// Handler answers everything that an agent is asked. Nothing here waits for the agent's loop.
func (a *Agent) Handler() http.Handler {
	mux := &serve.Mux{Prefixes: []string{"slave(1)", "agent"}}
	shared := &serve.Shared{}
	mux.Handle("/state", a.onceRecovered(func(w http.ResponseWriter, r *http.Request) {
		rd, who := a.reader(r)
		shared.JSON(w, r, rd.view, who.User, rd.state)
	}))
	mux.Exact(agentlink.SummonsPath, agentlink.TakeSummons(a.heed))
	mux.Exact("/api/v1/executor", a.onceRecovered(a.serveExecutor))
	mux.Handle("/api/v1", a.onceRecovered(a.serveOperator))
	mux.Handle("/containers", a.onceRecovered(a.serveContainers))
	mux.Handle("/images", a.imaged.ServeHTTP)
	mux.Handle("/monitor/statistics", a.onceRecovered(a.serveStatistics))
	fixed := func(path string, body []byte) {
		mux.Handle(path, func(w http.ResponseWriter, r *http.Request) { serve.JSON(w, r, body) })
	}
	fixed("/version", slices.Concat([]byte{'{'}, a.build, []byte{'}'}))
	fixed("/flags", slices.Concat([]byte(`{"flags":`), a.flags, []byte{'}'}))
	mux.Handle("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.Handle("/metrics/snapshot", a.deps.Meter.ServeSnapshot)
	mux.Handle("/metrics", a.deps.Meter.Prometheus().ServeHTTP)
	mux.Handle("/system/stats", func(w http.ResponseWriter, r *http.Request) { serve.JSON(w, r, host.AppendStats(nil)) })
	mux.Handle("/logging/toggle", a.verbosity.ServeHTTP)
	mux.Handle("/files", a.files.Handler(a.maySee).ServeHTTP)
	mux.Handle("/", a.servePage)
	return mux
}

// onceRecovered answers 503 until the book knows which containers there are, before it looks at anything else of a call. Until then
// tasks that have ended would be shown as running. The words are the original's.
func (a *Agent) onceRecovered(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.view.Load().Recovered {
			serve.Fail(w, http.StatusServiceUnavailable, "Agent has not finished recovery")
			return
		}
		h(w, r)
	}
}

// reader gives the present view to whoever asks, cut down to what he may see.
func (a *Agent) reader(r *http.Request) (*reader, serve.Subject) {
	who := serve.Who(r)
	return &reader{agent: a, view: a.view.Load(), may: who.May}, who
}

// settings are what /flags shows: the original's names, and what was set.
func (a *Agent) settings() []byte {
	c := &a.cfg
	return serve.Settings(map[string]string{
		"attributes": mesos.FormatAttributes(c.Attributes), "hostname": c.Hostname, "ip": c.IP, "isolation": c.Isolation,
		"port": strconv.Itoa(c.Port), "resources": c.Resources.String(), "work_dir": c.WorkDir,
		"gc_delay": mesos.FormatDuration(c.GCDelay), "gc_disk_headroom": strconv.FormatFloat(c.GCHeadroom, 'f', -1, 64),
		"executor_registration_timeout": mesos.FormatDuration(c.Book.RegistrationTimeout), "executor_reregistration_timeout": mesos.FormatDuration(c.Book.ReregisterTimeout),
		"max_completed_executors_per_framework": strconv.Itoa(c.Book.MaxPastExecutors),
		"http_executor_domain_sockets":          strconv.FormatBool(c.Socket != ""),
		"executor_shutdown_grace_period":        mesos.FormatDuration(c.ShutdownGrace), "recovery_timeout": mesos.FormatDuration(c.RecoveryTimeout),
		"switch_user": strconv.FormatBool(c.SwitchUser), "strict": strconv.FormatBool(c.Strict),
		"reconfiguration_policy": string(c.Reconfiguration),
	}, c.Flags)
}

// servePage tells a person with a browser what this is.
func (a *Agent) servePage(w http.ResponseWriter, r *http.Request) {
	v := a.view.Load()
	role := "not registered with a master yet"
	if v.Registered {
		role = "registered as " + v.Agent
	}
	p := &serve.Page{
		Title: "Pando agent", Lead: "This is one machine of a Pando cluster: it runs tasks for the cluster's frameworks and tells the master how they are.",
		Facts: [][2]string{
			{"Address", "slave(1)@" + net.JoinHostPort(a.cfg.IP, strconv.Itoa(a.cfg.Port))},
			{"State", role},
			{"Offers", a.view.Load().Total.String()},
			{"Tasks", strconv.Itoa(a.Tasks()) + " running"},
			{"Version", "speaks Mesos " + a.cfg.Version},
		},
		Groups: []serve.LinkGroup{{Title: "Look", Links: []serve.Link{
			{To: "/state", Words: "everything, tasks and their sandboxes included"},
			{To: "/containers", Words: "what runs, with what it uses"},
			{To: "/monitor/statistics", Words: "what each executor uses"},
			{To: "/images", Words: "the images of containers"},
			{To: "/flags", Words: "the settings"},
			{To: "/files/debug", Words: "the sandboxes that /files/browse and /files/read show"},
			{To: "/metrics/snapshot", Words: "numbers, as Mesos names them"},
			{To: "/metrics", Words: "the same for Prometheus"},
			{To: "/health", Words: "an empty 200 while it lives"},
		}}},
	}
	p.Write(w, r)
}
