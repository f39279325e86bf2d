package agent

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/fake"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/mesos/resource"
)

// searching is a runtime that looks for its containers until it is told to find them.
type searching struct {
	container.Runtime
	find chan struct{}
}

func (s searching) Recover(ctx context.Context) ([]container.State, error) {
	select {
	case <-s.find:
	case <-ctx.Done():
	}
	return s.Runtime.Recover(ctx)
}

func TestAnAgentThatStillRecoversSaysSoAndNothingElse(t *testing.T) {
	runtime := searching{fake.NewMachine(nil).Open(), make(chan struct{})}
	a := must(Open(Config{
		Masters: []string{"127.0.0.1:1"}, Hostname: "localhost", IP: "127.0.0.1", Port: 5051, WorkDir: t.TempDir(), Boot: "b", AnyUser: true,
		GCDelay: time.Hour, Resources: must(resource.Parse("cpus:4;mem:4096", "*")), Version: "1.11.0", Book: workload.Defaults(),
	}, Deps{Runtime: runtime, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), Meter: must(meter.New(prometheus.NewRegistry()))}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	server := httptest.NewServer(a.Handler())
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		server.Close()
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	}()
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		r := must(http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body)))
		r.Header.Set("Content-Type", "application/json")
		resp := must(http.DefaultClient.Do(r))
		defer resp.Body.Close()
		return resp.StatusCode, string(must(io.ReadAll(resp.Body)))
	}
	const subscribe = `{"type":"SUBSCRIBE","executor_id":{"value":"e"},"framework_id":{"value":"f"},"subscribe":{}}`
	cases := []struct {
		method, path, body string
		after              int
	}{
		{http.MethodGet, "/state", "", http.StatusOK},
		{http.MethodGet, "/slave(1)/state.json", "", http.StatusOK},
		{http.MethodGet, "/containers", "", http.StatusOK},
		{http.MethodGet, "/monitor/statistics", "", http.StatusOK},
		{http.MethodPost, "/api/v1", `{"type":"GET_HEALTH"}`, http.StatusOK},
		{http.MethodPost, "/api/v1", `{"type":"GET_STATE"}`, http.StatusOK},
		{http.MethodPost, "/api/v1", `{"type":"WAIT_CONTAINER","wait_container":{"container_id":{"value":"c"}}}`, http.StatusNotFound},
		{http.MethodPost, "/api/v1", "nonsense", http.StatusBadRequest},
		{http.MethodGet, "/api/v1", "", http.StatusMethodNotAllowed},
		{http.MethodPost, "/api/v1/executor", subscribe, http.StatusBadRequest},
		{http.MethodPost, "/api/v1/executor", "nonsense", http.StatusBadRequest},
	}
	for _, c := range cases {
		if code, words := ask(c.method, c.path, c.body); code != http.StatusServiceUnavailable || words != "Agent has not finished recovery" {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, code, words)
		}
	}
	for _, path := range []string{"/health", "/version", "/flags", "/metrics/snapshot", "/"} {
		if code, words := ask(http.MethodGet, path, ""); code != http.StatusOK {
			t.Errorf("%s, which asks for no container: %d %s", path, code, words)
		}
	}
	close(runtime.find)
	h := &house{t, a, server.URL}
	h.await("the agent to know its containers", func(v *workload.View) bool { return v.Recovered })
	for _, c := range cases {
		if code, words := ask(c.method, c.path, c.body); code != c.after {
			t.Errorf("once it has recovered, %s %s %s: %d %s", c.method, c.path, c.body, code, words)
		}
	}
}
