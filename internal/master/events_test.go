package master_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	gen "github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/mesos"
)

// follow subscribes to a master's events, and gives them one by one.
func follow(t *testing.T, url string, json bool) (next func() *gen.Event) {
	t.Helper()
	contentType, body := "application/json", `{"type":"SUBSCRIBE"}`
	if !json {
		b, err := proto.Marshal(&gen.Call{Type: gen.Call_SUBSCRIBE.Enum()})
		if err != nil {
			t.Fatal(err)
		}
		contentType, body = "application/x-protobuf", string(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", contentType)
	r, err := http.DefaultClient.Do(req)
	if err != nil || r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != contentType {
		t.Fatalf("SUBSCRIBE: %v %v", r, err)
	}
	t.Cleanup(func() { r.Body.Close() })
	records := mesos.NewRecordReader(r.Body, 1<<20)
	return func() *gen.Event {
		t.Helper()
		b, err := records.Next()
		if err != nil {
			t.Fatal(err)
		}
		e, decode := &gen.Event{}, mesos.DecodeProto
		if json {
			decode = mesos.UnmarshalJSON
		}
		if err := decode(b, e); err != nil {
			t.Fatalf("%v in %q", err, b)
		}
		return e
	}
}

func TestAnOperatorFollowsTheClusterInBothEncodings(t *testing.T) {
	scheduler := lead(t)
	url := strings.TrimSuffix(scheduler, "/scheduler")
	streams := map[string]func() *gen.Event{"JSON": follow(t, url, true), "protobuf": follow(t, url, false)}
	for name, next := range streams {
		first := next()
		s := first.GetSubscribed()
		if first.GetType() != gen.Event_SUBSCRIBED || s.GetHeartbeatIntervalSeconds() != 15 || s.GetGetState().GetGetTasks() == nil {
			t.Errorf("%s begins with %v", name, first)
		}
		if e := next(); e.GetType() != gen.Event_HEARTBEAT {
			t.Errorf("%s goes on with %v", name, e)
		}
	}
	if _, body := operate(t, url, "POST", "application/json", "", `{"type":"GET_METRICS","get_metrics":{}}`); !strings.Contains(body, `"master/operator_event_stream_subscribers","value":2.0`) {
		t.Error("two subscribers are not counted")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, scheduler, strings.NewReader(`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"seen"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close() // it hangs up, and has no failover timeout
	for name, next := range streams {
		for _, want := range []gen.Event_Type{gen.Event_FRAMEWORK_ADDED, gen.Event_FRAMEWORK_UPDATED, gen.Event_FRAMEWORK_REMOVED} {
			e := next()
			info := e.GetFrameworkRemoved().GetFrameworkInfo()
			for _, f := range []*gen.Response_GetFrameworks_Framework{e.GetFrameworkAdded().GetFramework(), e.GetFrameworkUpdated().GetFramework()} {
				if f != nil {
					info = f.GetFrameworkInfo()
				}
			}
			if e.GetType() != want || info.GetName() != "seen" || info.GetId().GetValue() == "" {
				t.Errorf("%s: %v, want %s of the framework", name, e, want)
			}
		}
	}
	// Who begins now finds it among the past.
	if s := follow(t, url, true)().GetSubscribed().GetGetState().GetGetFrameworks(); len(s.GetFrameworks()) != 0 || len(s.GetCompletedFrameworks()) != 1 {
		t.Errorf("a later snapshot has %v", s)
	}
}
