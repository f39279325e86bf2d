package serve

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/mesos"
)

// ticking is a clock that moves on whenever it is looked at.
type ticking struct{ now time.Duration }

func (c *ticking) Now() machine.Now {
	c.now += time.Second
	return machine.Now{Mono: c.now}
}

func TestMetricsAreThoseThatAreThereInTime(t *testing.T) {
	m, err := meter.New(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	m.Gauge("b").Set(1)
	for _, name := range []string{"a", "c"} {
		m.Source(func(emit func(string, float64)) { emit(name, 2) })
	}
	within := func(seconds int64) *mesosv1.DurationInfo {
		return &mesosv1.DurationInfo{Nanoseconds: new(seconds * 1e9)}
	}
	for name, tt := range map[string]struct {
		timeout *mesosv1.DurationInfo
		want    string
	}{
		"as long as it takes": {nil, "a b c"}, "time for one source": {within(1), "a b"},
		"time for all": {within(60), "a b c"}, "no time": {within(0), "b"},
	} {
		t.Run(name, func(t *testing.T) {
			metrics, err := Metrics(m, &ticking{}, tt.timeout)
			var names []string
			for _, x := range metrics {
				names = append(names, x.GetName())
			}
			if got := strings.Join(names, " "); err != nil || got != tt.want {
				t.Errorf("%v: %s, want %s", err, got, tt.want)
			}
		})
	}
	if _, err := Metrics(m, &ticking{}, within(-1)); err == nil || !strings.Contains(err.Error(), "get_metrics.timeout") {
		t.Errorf("a negative time: %v", err)
	}
}

func TestTheAnswersEncodingIsWhatTheClientTakes(t *testing.T) {
	for accept, want := range map[string]string{
		"": "json", "*/*": "json", "application/json": "json", "application/x-protobuf": "protobuf", "text/html": "none",
		"application/x-protobuf, application/json;q=0.5": "json", "text/html, application/*": "json",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		got := "none"
		if json, ok := Accepts(r); ok {
			got = map[bool]string{true: "json", false: "protobuf"}[json]
		}
		if got != want {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
}

func TestACallHasATypeAndTheMemberThatGoesWithIt(t *testing.T) {
	for body, want := range map[string]string{
		`{"type":"GET_HEALTH"}`: "", `{"type":"TEARDOWN","teardown":{"framework_id":{"value":"x"}}}`: "", `{"type":"LIST_FILES"}`: "",
		`{}`: "type is missing", `{"type":"NOPE"}`: "type is missing", `{"type":"UNKNOWN"}`: "type is missing",
		`{"type":"TEARDOWN"}`: "teardown is missing", `{"type":"READ_FILE","read_file":{"path":"/"}}`: "offset", `{`: "",
	} {
		err := DecodeCall([]byte(body), true, &master.Call{}, "list_files")
		if body == "{" {
			if err == nil {
				t.Error("half an object is taken")
			}
			continue
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	if err := DecodeCall([]byte{8, 99}, false, &master.Call{}); err == nil {
		t.Error("a type without a name is taken")
	}
}

func TestAListedAnswerHasItsTypeBeforeIt(t *testing.T) {
	l := &mesos.Listing{Name: "get_operations", Number: 20}
	for json, want := range map[bool]string{true: `{"type":"GET_OPERATIONS","get_operations":{}}`, false: "\x08\x13\xa2\x01\x00"} {
		got, err := AppendListed(nil, master.Response_GET_OPERATIONS, l, json)
		if d := cmp.Diff(want, string(got)); err != nil || d != "" {
			t.Errorf("%v: %s", err, d)
		}
	}
}
