package agent

import (
	"net/http"

	"github.com/pando-os/pando/internal/serve"
)

// Handler answers everything that an agent is asked.
func (a *Agent) Handler() http.Handler {
	mux := &serve.Mux{Prefixes: []string{"slave(1)", "agent"}}
	mux.Handle("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.Handle("/files", a.files.Handler(func(r *http.Request, attached string) bool { return true }).ServeHTTP)
	return mux
}
