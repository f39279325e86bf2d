package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAFormIsReadWhateverItsContentType(t *testing.T) {
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		want                    string
	}{
		{"as browsers and curl send it", "application/x-www-form-urlencoded", "frameworkId=a%2Fb&x=1", 200, "a/b"},
		{"without a type, as the DC/OS command line sends it", "", "frameworkId=a", 200, "a"},
		{"with another type", "text/plain", "frameworkId=a", 200, "a"},
		{"without the field", "", "x=1", 200, ""},
		{"broken in another field", "", "x=%zz&frameworkId=a", 200, "a"},
		{"no form at all", "application/json", `{"frameworkId": "a"}`, 200, ""},
		{"too large", "", strings.Repeat("a", maxForm+1), 413, ""},
	} {
		r := httptest.NewRequest(http.MethodPost, "/teardown", strings.NewReader(c.body))
		r.Header.Del("Content-Type")
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		w := httptest.NewRecorder()
		form, ok := Form(w, r, "send less")
		if got := form.Get("frameworkId"); got != c.want || ok != (c.status == 200) || w.Code != c.status {
			t.Errorf("%s: %q, %t, %d %s", c.name, got, ok, w.Code, w.Body)
		}
	}
}
