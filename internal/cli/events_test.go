package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stream serves events, as RecordIO, to whoever subscribes, and then ends.
func stream(t *testing.T, events ...string) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != `{"type":"SUBSCRIBE"}` || r.Method+r.URL.Path != "POST/api/v1" {
			t.Errorf("%s %s: %v %s", r.Method, r.URL, err, b)
		}
		for _, e := range events {
			_, _ = fmt.Fprintf(w, "%d\n%s", len(e), e)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

var happened = []string{
	`{"type":"SUBSCRIBED","subscribed":{"heartbeat_interval_seconds":15.0,"get_state":{"get_agents":{"agents":[{"agent_info":{"hostname":"h1","id":{"value":"S0"}},"active":true,"version":"1"}],` +
		`"recovered_agents":[{"hostname":"h2","id":{"value":"S1"}}]},"get_frameworks":{"frameworks":[{"framework_info":{"user":"u","name":"shop","id":{"value":"F"}},"active":false,"connected":false,"recovered":false}]},` +
		`"get_tasks":{"tasks":[{"name":"t","task_id":{"value":"t"},"framework_id":{"value":"F"},"agent_id":{"value":"S0"},"state":"TASK_RUNNING"}]}}}}`,
	`{"type":"HEARTBEAT"}`,
	`{"type":"TASK_UPDATED","task_updated":{"framework_id":{"value":"F"},"state":"TASK_FAILED","status":{"task_id":{"value":"t"},"state":"TASK_FAILED","message":"it\u001bbroke"}}}`,
	`{"type":"TASK_ADDED","task_added":{"task":{"name":"v","task_id":{"value":"v"},"framework_id":{"value":"F"},"agent_id":{"value":"S0"},"state":"TASK_STAGING"}}}`,
	`{"type":"AGENT_ADDED","agent_added":{"agent":{"agent_info":{"hostname":"h2","id":{"value":"S1"}},"active":true,"version":"1"}}}`,
	`{"type":"AGENT_REMOVED","agent_removed":{"agent_id":{"value":"S0"}}}`,
	`{"type":"FRAMEWORK_ADDED","framework_added":{"framework":{"framework_info":{"user":"u","name":"new","id":{"value":"G"}},"active":true,"connected":true,"recovered":false}}}`,
	`{"type":"FRAMEWORK_UPDATED","framework_updated":{"framework":{"framework_info":{"user":"u","name":"new","id":{"value":"G"}},"active":false,"connected":false,"recovered":true}}}`,
	`{"type":"FRAMEWORK_REMOVED","framework_removed":{"framework_info":{"user":"u","name":"new","id":{"value":"G"}}}}`,
	`{"type":"A_LATER_ONE","a_later_one":{}}`,
}

func TestEventsAreALineEach(t *testing.T) {
	s := newShell(t, stream(t, happened...))
	there := `agent               S0  h1
agent recovered     S1  h2
framework           F  shop  away
task                F/t  running  on S0
`
	after := `task updated        F/t  failed  it?broke
task added          F/v  staging  on S0
agent added         S1  h2
agent removed       S0
framework added     G  new  connected
framework updated   G  new  recovered
framework removed   G  new
`
	clock := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  `)
	s.expect(exitOK, "events")
	if d := cmp.Diff(there, clock.ReplaceAllString(s.out.String(), "")); d != "" {
		t.Errorf("what is there: %s", d)
	}
	s.expect(exitUnavailable, "events", "-f") // the master ends the stream
	if d := cmp.Diff(there+after, clock.ReplaceAllString(s.out.String(), "")); d != "" {
		t.Errorf("what happens: %s", d)
	}
	if !strings.Contains(s.err.String(), "ended the stream") {
		t.Errorf("the end is told as %s", &s.err)
	}
}

func TestEventsInJSONAreWhatTheMasterSent(t *testing.T) {
	s := newShell(t, stream(t, happened...))
	s.expect(exitUnavailable, "events", "-f", "-o", "json")
	if d := cmp.Diff(strings.Join(happened, "\n")+"\n", s.out.String()); d != "" {
		t.Error(d)
	}
	s.expect(exitOK, "events", "-o", "json")
	if d := cmp.Diff(happened[0]+"\n", s.out.String()); d != "" {
		t.Error(d)
	}
	broken := newShell(t, stream(t, `{"type":"SUBSCRIBED"`))
	if code := broken.run("events"); code == exitOK {
		t.Errorf("half an event is taken: %s", &broken.out)
	}
}

func TestEventsExplainThemselves(t *testing.T) {
	s := newShell(t, "127.0.0.1:1")
	s.expect(exitOK, "events", "--help")
	if !strings.Contains(s.out.String(), "pando events -f -o json | jq") {
		t.Errorf("--help has no example: %s", &s.out)
	}
	s.expect(exitOK, "__complete", "ev")
	if !strings.Contains(s.out.String(), "events\t") {
		t.Errorf("ev is completed to %s", &s.out)
	}
}
