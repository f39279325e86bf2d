package master

import (
	"net"
	"net/http"
	"strconv"

	"github.com/pando-os/pando/internal/serve"
)

// reads adds the endpoints that only read.
func (m *Master) reads(mux *serve.Mux) {
	mux.Handle("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
}

func (m *Master) pid() string {
	return "master@" + net.JoinHostPort(m.cfg.IP, strconv.Itoa(m.cfg.Port))
}
