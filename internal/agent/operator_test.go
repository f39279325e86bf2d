package agent

import (
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
)

// busyAgent has a task in each state that it tells apart, and one of the past.
func busyAgent(t *testing.T) *Agent {
	t.Helper()
	a := newTestAgent(t, clock.Real())
	queued := testTask("F", "queued", "c0")
	queued.State = mesosv1.TaskState_TASK_STAGING
	a.view.Store(&workload.View{
		Recovered: true,
		Agent:     "S0", Registered: true, Frameworks: []*workload.Framework{testFramework("F", "root")},
		Tasks: []*workload.TaskView{
			queued, testTask("F", "runs", "c1", mesosv1.TaskState_TASK_RUNNING),
			testTask("F", "ended", "c2", mesosv1.TaskState_TASK_FINISHED),
		},
		Completed: []*workload.TaskView{testTask("F", "past", "c3", mesosv1.TaskState_TASK_FAILED)},
	})
	return a
}

// operate asks the agent's operator API, as root.
func operate(t *testing.T, a *Agent, method, contentType, accept, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, "/api/v1", strings.NewReader(body))
	for name, v := range map[string]string{"Content-Type": contentType, "Accept": accept} {
		if v != "" {
			r.Header.Set(name, v)
		}
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestAnAgentAnswersItsOperatorTheSameInBothEncodings(t *testing.T) {
	a := busyAgent(t)
	const asJSON, asProto = "application/json", "application/x-protobuf"
	for _, name := range []string{
		"GET_HEALTH", "GET_FLAGS", "GET_VERSION", "GET_METRICS", "GET_LOGGING_LEVEL", "GET_STATE", "GET_CONTAINERS", "GET_FRAMEWORKS",
		"GET_EXECUTORS", "GET_TASKS", "GET_AGENT", "GET_OPERATIONS", "GET_RESOURCE_PROVIDERS",
	} {
		call := &genagent.Call{Type: genagent.Call_Type(genagent.Call_Type_value[name]).Enum(), GetMetrics: &genagent.Call_GetMetrics{}}
		var answers [2]genagent.Response
		code, body := operate(t, a, "POST", asJSON, "", string(must(mesos.AppendJSON(nil, call))))
		if err := mesos.UnmarshalJSON([]byte(body), &answers[0]); err != nil || code != 200 {
			t.Errorf("%s in JSON: %d %v: %s", name, code, err, body)
		}
		code, body = operate(t, a, "POST", asProto, asProto, string(must(proto.Marshal(call))))
		if err := mesos.DecodeProto([]byte(body), &answers[1]); err != nil || code != 200 {
			t.Errorf("%s in protobuf: %d %v: %q", name, code, err, body)
		}
		// Defaults that JSON spells out are the one difference.
		one, other := must(mesos.AppendJSON(nil, &answers[0])), must(mesos.AppendJSON(nil, &answers[1]))
		if name != "GET_METRICS" && string(one) != string(other) || answers[0].GetType().String() != name {
			t.Errorf("%s: in JSON %s, in protobuf %s", name, one, other)
		}
	}
}

func TestAnAgentsTasksAreListedByHowTheyAre(t *testing.T) {
	a := busyAgent(t)
	_, body := operate(t, a, "POST", "application/json", "", `{"type":"GET_STATE"}`)
	var got genagent.Response
	if err := mesos.UnmarshalJSON([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	names := func(list []*mesosv1.Task) (out string) {
		for _, x := range list {
			out += x.GetName() + " " + x.GetState().String() + ";"
		}
		return out
	}
	s, tasks := got.GetGetState(), got.GetGetState().GetGetTasks()
	for what, is := range map[string]string{
		"queued TASK_STAGING;": names(tasks.GetQueuedTasks()), "runs TASK_RUNNING;": names(tasks.GetLaunchedTasks()),
		"ended TASK_FINISHED;": names(tasks.GetTerminatedTasks()), "past TASK_FAILED;": names(tasks.GetCompletedTasks()),
		"3 1 1": fmt.Sprint(len(s.GetGetExecutors().GetExecutors()), len(s.GetGetExecutors().GetCompletedExecutors()), len(s.GetGetFrameworks().GetFrameworks())),
	} {
		if is != what {
			t.Errorf("have %q, want %q", is, what)
		}
	}
	rd := &reader{agent: a, view: a.view.Load(), may: func(user string) bool { return user == "bob" }}
	b, err := rd.listing(genagent.Call_GET_STATE).Append(nil, true)
	if err != nil || strings.Contains(string(b), "runs") || strings.Contains(string(b), "watched") {
		t.Errorf("another user sees %v %s", err, b)
	}
}

func TestAnAgentRefusesItsOperatorInTheOriginalsOrder(t *testing.T) {
	a := busyAgent(t)
	const asJSON = "application/json"
	for name, c := range map[string]struct {
		method, contentType, accept, body string
		want                              int
	}{
		"another method":               {"GET", asJSON, "", "", 405},
		"no content type":              {"POST", "", "text/html", "{", 400},
		"another content type":         {"POST", "text/plain", "text/html", "{", 415},
		"no JSON":                      {"POST", asJSON, "text/html", "{", 400},
		"no type":                      {"POST", asJSON, "", "{}", 400},
		"a member that is missing":     {"POST", asJSON, "text/html", `{"type":"LIST_FILES"}`, 400},
		"an answer that nobody takes":  {"POST", asJSON, "text/html", `{"type":"GET_HEALTH"}`, 406},
		"a file that is not there":     {"POST", asJSON, "", `{"type":"READ_FILE","read_file":{"path":"/x","offset":0}}`, 404},
		"a time that is negative":      {"POST", asJSON, "", `{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":-1}}}`, 400},
		"a log that cannot be changed": {"POST", asJSON, "", `{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":9}}}`, 409},
	} {
		t.Run(name, func(t *testing.T) {
			if code, words := operate(t, a, c.method, c.contentType, c.accept, c.body); code != c.want || (words == "") != (code == 404) {
				t.Errorf("%d %q, want %d", code, words, c.want)
			}
		})
	}
}

func TestAnAgentsFilesAreReadInPieces(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "out"), []byte(strings.Repeat("0123456789", 10_000)), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	a.files.Attach("/here", dir)
	ask := func(call string) *genagent.Response {
		t.Helper()
		code, body := operate(t, a, "POST", "application/json", "", call)
		got := &genagent.Response{}
		if err := mesos.UnmarshalJSON([]byte(body), got); err != nil || code != 200 {
			t.Fatalf("%d %v %s", code, err, body)
		}
		return got
	}
	for rest, want := range map[string]string{
		`"offset":0`: "65536", `"offset":99995`: "56789", `"offset":3,"length":4`: "3456", `"offset":3,"length":0`: "", `"offset":100000`: "",
		fmt.Sprint(`"offset":`, uint64(math.MaxUint64)): "", fmt.Sprint(`"offset":0,"length":`, uint64(math.MaxUint64)): "65536",
	} {
		f := ask(`{"type":"READ_FILE","read_file":{"path":"/here/out",` + rest + `}}`).GetReadFile()
		got := string(f.GetData())
		if len(got) > 1000 {
			got = fmt.Sprint(len(got))
		}
		if got != want || f.GetSize() != 100_000 {
			t.Errorf("%s: %q of %d, want %q", rest, got, f.GetSize(), want)
		}
	}
	var modes []string
	for _, f := range ask(`{"type":"LIST_FILES","list_files":{"path":"/here"}}`).GetListFiles().GetFileInfos() {
		modes = append(modes, fmt.Sprintf("%s %o", f.GetPath(), f.GetMode()))
	}
	if got := strings.Join(modes, ", "); got != "/here/out 100640, /here/sub 40755" {
		t.Errorf("listed are %s", got)
	}
}
