package serve

import (
	"net/http"
	"strings"
)

// Mux finds a handler by the longest prefix of a path's segments, which is how libprocess did it: /state, /state/ and
// /state/anything are one. Names may come with a process's name before them (/master/state, /slave(1)/state) and with
// .json behind (/state.json), as old clients write them.
type Mux struct {
	// Prefixes are the process's names, such as "master".
	Prefixes []string
	routes   map[string]http.Handler
	exact    map[string]bool
	root     http.Handler
}

// Handle sets the handler of a path such as /api/v1/scheduler.
func (m *Mux) Handle(path string, h http.HandlerFunc) {
	if m.routes == nil {
		m.routes, m.exact = map[string]http.Handler{}, map[string]bool{}
	}
	if path == "/" {
		m.root = h
		return
	}
	m.routes[path] = h
}

// Exact sets the handler of a path below which nothing else is found.
func (m *Mux) Exact(path string, h http.HandlerFunc) {
	m.Handle(path, h)
	m.exact[path] = true
}

// ServeHTTP answers with the handler found, or 404.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := "/" + strings.Trim(squeeze(r.URL.Path), "/")
	for _, p := range m.Prefixes {
		if rest, ok := strings.CutPrefix(path, "/"+p); ok && (rest == "" || rest[0] == '/') {
			path = "/" + strings.TrimPrefix(rest, "/")
			break
		}
	}
	if path == "/" && m.root != nil {
		m.root.ServeHTTP(w, r)
		return
	}
	for p := path; p != "" && p != "/"; p = p[:strings.LastIndexByte(p, '/')] {
		if h := m.find(p, p == path); h != nil {
			h.ServeHTTP(w, r)
			return
		}
	}
	Fail(w, http.StatusNotFound, "Nothing is served at "+clip(r.URL.Path)+".")
}

func (m *Mux) find(p string, whole bool) http.Handler {
	h, ok := m.routes[p]
	if !ok {
		p = strings.TrimSuffix(p, ".json")
		h = m.routes[p]
	}
	if h == nil || m.exact[p] && !whole {
		return nil
	}
	return h
}

// squeeze makes one slash of several.
func squeeze(p string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

// Post answers 405 to every other method; it reports whether the request may go on.
func Post(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", http.MethodPost)
	Fail(w, http.StatusMethodNotAllowed, "Only POST is allowed here, and this was a "+clip(r.Method)+".")
	return false
}
