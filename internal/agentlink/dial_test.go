package agentlink

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDialSaysWhatTheMasterAnswered(t *testing.T) {
	for _, c := range []struct {
		name, location  string
		status          int
		elsewhere, fail string
	}{
		{name: "no leader", status: http.StatusServiceUnavailable, fail: "no leader here"},
		{name: "another one leads", status: http.StatusTemporaryRedirect, location: "//there:5050" + Path, elsewhere: "there:5050"},
		{name: "a redirect to nowhere", status: http.StatusTemporaryRedirect, location: "/", fail: "redirects to nowhere"},
		{name: "not a master", status: http.StatusNotFound, fail: "404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != Protocol || r.URL.Path != Path {
					t.Errorf("asked for %s with Upgrade %q", r.URL.Path, r.Header.Get("Upgrade"))
				}
				if c.location != "" {
					w.Header().Set("Location", c.location)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, "no leader here")
			}))
			defer s.Close()
			conn, _, elsewhere, err := Dial(t.Context(), strings.TrimPrefix(s.URL, "http://"))
			if conn != nil || elsewhere != c.elsewhere || (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
				t.Errorf("Dial = %v, %q, %v", conn, elsewhere, err)
			}
		})
	}
}
