package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pando-os/pando/mesos"
)

func TestHowCallsAboutContainersAreRefused(t *testing.T) {
	s := newScope(t, true, task("top", "exec sleep 1000"))
	const asJSON, asProto, records = "application/json", "application/x-protobuf", "application/recordio"
	top := `{"value":"` + s.top.GetValue() + `"}`
	ghost, stranger := `{"value":"ghost","parent":`+top+`}`, `{"value":"x","parent":{"value":"no-such"}}`
	record := func(words ...string) string {
		var b []byte
		for _, w := range words {
			b = mesos.AppendRecord(b, []byte(w))
		}
		return string(b)
	}
	input := func(inner string) string {
		return `{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":` + inner + `}`
	}
	first := func(id string) string { return input(`{"type":"CONTAINER_ID","container_id":` + id + `}`) }
	call := func(kind, id, more string) string {
		return `{"type":"` + kind + `","` + strings.ToLower(kind) + `":{"container_id":` + id + more + `}}`
	}
	command := `,"command":{"value":"true"}`
	for _, c := range []struct {
		name, body string
		headers    []string
		want       int
	}{
		{"records without their encoding", record(first(ghost)), []string{"Content-Type", records}, 400},
		{"records in an encoding that there is not", record(first(ghost)), []string{"Content-Type", records, "Message-Content-Type", "text/html"}, 415},
		{"an encoding of records without records", call("WAIT_CONTAINER", ghost, ""), []string{"Content-Type", asJSON, "Message-Content-Type", asJSON}, 415},
		{"records of another call", record(call("WAIT_CONTAINER", ghost, "")), []string{"Content-Type", records, "Message-Content-Type", asJSON}, 415},
		{"input that is no records", first(ghost), []string{"Content-Type", asJSON}, 415},
		{"input that names nothing first", record(input(`{"type":"PROCESS_IO","process_io":{"type":"DATA","data":{"type":"STDIN","data":"aGk="}}}`)), []string{"Content-Type", records, "Message-Content-Type", asJSON}, 400},
		{"input of no record", "", []string{"Content-Type", records, "Message-Content-Type", asJSON}, 400},
		{"input that is cut short", "1000\n{", []string{"Content-Type", records, "Message-Content-Type", asJSON}, 400},
		{"input that is too long", "99999999\n{", []string{"Content-Type", records, "Message-Content-Type", asJSON}, 400},
		{"input for a ghost", record(first(ghost)), []string{"Content-Type", records, "Message-Content-Type", asJSON}, 500},
		{"input below a stranger", record(first(stranger)), []string{"Content-Type", records, "Message-Content-Type", asJSON}, 404},
		{"output below a stranger", call("ATTACH_CONTAINER_OUTPUT", stranger, ""), []string{"Content-Type", asJSON}, 404},
		{"output of what has none", call("ATTACH_CONTAINER_OUTPUT", top, ""), []string{"Content-Type", asJSON, "Accept", records}, 500},
		{"an answer in records where there are none", call("WAIT_CONTAINER", ghost, ""), []string{"Content-Type", asJSON, "Accept", records, "Message-Accept", asJSON}, 406},
		{"an inner encoding where there are no records", call("WAIT_CONTAINER", ghost, ""), []string{"Content-Type", asJSON, "Accept", asJSON, "Message-Accept", asJSON}, 406},
		{"an inner encoding that there is not", call("ATTACH_CONTAINER_OUTPUT", ghost, ""), []string{"Content-Type", asJSON, "Accept", records, "Message-Accept", "text/html"}, 406},
		{"a session without a parent", call("LAUNCH_NESTED_CONTAINER_SESSION", `{"value":"x"}`, command), []string{"Content-Type", asJSON, "Accept", records}, 400},
		{"a session of nothing", call("LAUNCH_NESTED_CONTAINER_SESSION", ghost, ""), []string{"Content-Type", asJSON, "Accept", records}, 400},
		{"a path for an id", call("LAUNCH_CONTAINER", `{"value":"../../etc"}`, command), []string{"Content-Type", asJSON}, 400},
		{"a signal that there is not", call("KILL_CONTAINER", top, `,"signal":99`), []string{"Content-Type", asJSON}, 400},
		{"the task's own container to be removed", call("REMOVE_CONTAINER", top, ""), []string{"Content-Type", asJSON}, 500},
		{"the task's own container to be waited for", call("WAIT_CONTAINER", top, ""), []string{"Content-Type", asJSON}, 404},
		{"a name that is taken", call("LAUNCH_CONTAINER", top, command), []string{"Content-Type", asJSON}, 202},
		{"a launch that is long", call("LAUNCH_CONTAINER", ghost, `,"command":{"value":"`+strings.Repeat("x", 1<<20)+`"}`), []string{"Content-Type", asJSON}, 400},
		{"no protobuf", "hello", []string{"Content-Type", asProto}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ask(t, http.DefaultClient, http.MethodPost, "http://"+s.agent+"/api/v1", c.body, c.headers...)
			if r.status != c.want || (r.body == "") != (c.want == 202) {
				t.Errorf("%d %q, want %d", r.status, r.body, c.want)
			}
		})
	}
	if p := processesOf(t)["top"]; len(p) != 1 {
		t.Errorf("the task has the processes %v", p)
	}
}
