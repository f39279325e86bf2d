package master_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	gen "github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/mesos"
)

// operate asks the operator API of a master that leads; empty headers are left out.
func operate(t *testing.T, url, method, contentType, accept, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]string{"Content-Type": contentType, "Accept": accept} {
		if v != "" {
			req.Header.Set(name, v)
		}
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

func TestTheOperatorsCallsAreCheckedInTheOriginalsOrder(t *testing.T) {
	url := strings.TrimSuffix(lead(t), "/scheduler")
	const asJSON = "application/json"
	for name, c := range map[string]struct {
		method, contentType, accept, body string
		want                              int
	}{
		"another method":                    {"GET", asJSON, "", "", 405},
		"no content type, and no good body": {"POST", "", "text/html", "{", 400},
		"another content type":              {"POST", "text/plain", "text/html", "{", 415},
		"no JSON":                           {"POST", asJSON, "text/html", "{", 400},
		"no protobuf":                       {"POST", "application/x-protobuf", "", "{}", 400},
		"no type":                           {"POST", asJSON, "text/html", "{}", 400},
		"an unknown type":                   {"POST", asJSON, "", `{"type":"NOPE"}`, 400},
		"a member that is missing":          {"POST", asJSON, "text/html", `{"type":"TEARDOWN"}`, 400},
		"an answer that nobody takes":       {"POST", asJSON, "text/html", `{"type":"GET_HEALTH"}`, 406},
		"a call that comes later":           {"POST", asJSON, "", `{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"x"}}}`, 501},
		"quota, which comes later":          {"POST", asJSON, "", `{"type":"UPDATE_QUOTA","update_quota":{}}`, 501},
		"a time that is negative":           {"POST", asJSON, "", `{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":-1}}}`, 400},
		"no time to log more for":           {"POST", asJSON, "", `{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":0}}}`, 400},
		"a log that cannot be changed":      {"POST", asJSON, "", `{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":9}}}`, 409},
		"a teardown of nobody":              {"POST", asJSON, "", `{"type":"TEARDOWN","teardown":{"framework_id":{"value":"x"}}}`, 400},
		"an agent that nobody knows":        {"POST", asJSON, "", `{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"x"}}}`, 404},
		"health":                            {"POST", asJSON, "", `{"type":"GET_HEALTH"}`, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if r, words := operate(t, url, c.method, c.contentType, c.accept, c.body); r.StatusCode != c.want || words == "" {
				t.Errorf("%s, want %d: %s", r.Status, c.want, words)
			}
		})
	}
}

func TestTheOperatorsReadsAreAnsweredInBothEncodings(t *testing.T) {
	url := strings.TrimSuffix(lead(t), "/scheduler")
	for _, name := range []string{
		"GET_HEALTH", "GET_VERSION", "GET_MASTER", "GET_FLAGS", "GET_METRICS", "GET_LOGGING_LEVEL", "GET_STATE", "GET_AGENTS", "GET_FRAMEWORKS",
		"GET_EXECUTORS", "GET_TASKS", "GET_ROLES", "GET_OPERATIONS", "GET_WEIGHTS", "GET_QUOTA", "GET_MAINTENANCE_STATUS", "GET_MAINTENANCE_SCHEDULE",
	} {
		call := `{"type":"` + name + `","get_metrics":{"timeout":{"nanoseconds":1000000000}}}`
		var asked gen.Call
		if err := mesos.UnmarshalJSON([]byte(call), &asked); err != nil {
			t.Fatal(err)
		}
		encoded, err := proto.Marshal(&asked)
		if err != nil {
			t.Fatal(err)
		}
		var json, protobuf gen.Response
		r, body := operate(t, url, "POST", "application/json", "", call)
		if err := mesos.UnmarshalJSON([]byte(body), &json); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s in JSON: %v: %s", name, err, body)
		}
		r, body = operate(t, url, "POST", "application/x-protobuf", "application/x-protobuf", string(encoded))
		if err := mesos.DecodeProto([]byte(body), &protobuf); err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s in protobuf: %v: %q", name, err, body)
		}
		if json.GetType().String() != name || protobuf.GetType() != json.GetType() {
			t.Errorf("%s is answered %s in JSON, %s in protobuf", name, json.GetType(), protobuf.GetType())
		}
		if len(json.GetGetFlags().GetFlags()) != len(protobuf.GetGetFlags().GetFlags()) || !proto.Equal(json.GetGetMaster(), protobuf.GetGetMaster()) {
			t.Errorf("%s: %v in JSON, %v in protobuf", name, &json, &protobuf)
		}
	}
}
