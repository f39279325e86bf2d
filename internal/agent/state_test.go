package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// counting is a runtime in which everything runs and uses something.
type counting struct{ container.Runtime }

func (counting) Stats(string) (container.Stats, error) {
	return container.Stats{
		Timestamp: 1, CPUsUserSecs: 2, CPUsSystemSecs: 3, CPUsSoftLimit: 0.2, MemTotal: 4, MemLimit: 5, MemSoftLimit: 6,
	}, nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newTestAgent opens an agent in a directory of its own.
func newTestAgent(t *testing.T, c clock.Clock) *Agent {
	t.Helper()
	a, err := Open(Config{
		Hostname: "localhost", IP: "127.0.0.1", Port: 5051, WorkDir: t.TempDir(), Boot: "b", Isolation: "cgroups/cpu,cgroups/mem",
		GCDelay: time.Hour, Resources: must(resource.Parse("cpus:4;mem:4096;disk:10000;ports:[31000-32000]", "*")),
		Attributes: must(mesos.ParseAttributes("rack:r1;zone:z1;level:10")), Version: "1.11.0", Book: workload.Defaults(),
	}, Deps{Runtime: counting{}, Clock: c, Log: slog.New(slog.DiscardHandler), Meter: must(meter.New(prometheus.NewRegistry()))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.journal.Close(); err != nil {
			t.Error(err)
		}
	})
	v := *a.view.Load()
	v.Recovered = true // its loop does not run
	a.Show(&v)
	return a
}

func testFramework(id, user string) *workload.Framework {
	info := &mesosv1.FrameworkInfo{
		Id: &mesosv1.FrameworkID{Value: &id}, Name: new("watched"), User: &user, Roles: []string{"probe"},
		Capabilities: []*mesosv1.FrameworkInfo_Capability{{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}},
	}
	return &workload.Framework{ID: id, Name: "watched", User: user, Info: must(proto.Marshal(info))}
}

func testTask(framework, id, container string, states ...mesosv1.TaskState) *workload.TaskView {
	info := &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: new("S0")},
		Command: &mesosv1.CommandInfo{Value: new("echo one; echo two; sleep 300")},
	}
	rest := must(proto.MarshalOptions{AllowPartial: true}.Marshal(&mesosv1.TaskStatus{ContainerStatus: &mesosv1.ContainerStatus{
		ContainerId: &mesosv1.ContainerID{Value: &container},
		NetworkInfos: []*mesosv1.NetworkInfo{{IpAddresses: []*mesosv1.NetworkInfo_IPAddress{{
			Protocol: mesosv1.NetworkInfo_IPv4.Enum(), IpAddress: new("127.0.0.1"),
		}}}},
	}}))
	v := &workload.TaskView{Container: container, Task: &workload.Task{
		Framework: framework, ID: id, Name: id, Role: "probe", User: "root", Info: must(proto.Marshal(info)),
		Resources: must(resource.Parse("cpus:0.1;mem:64", "*")),
	}}
	for _, s := range states {
		v.State, v.PID = s, 4711
		v.Ended = s >= mesosv1.TaskState_TASK_FINISHED && s <= mesosv1.TaskState_TASK_LOST
		v.Statuses = append(v.Statuses, &mesos.Status{TaskID: id, State: s, Timestamp: 1.5, Healthy: -1, Rest: rest})
	}
	return v
}

// get asks the agent, as root.
func get(t *testing.T, a *Agent, path string) (int, []byte) {
	t.Helper()
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, must(io.ReadAll(w.Result().Body))
}

func decode(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// recorded gives the body of one of the original's answers.
func recorded(t *testing.T, step string) any {
	t.Helper()
	var all struct {
		Steps []struct {
			Step string
			Saw  struct{ Body any }
		}
	}
	if err := json.Unmarshal(must(os.ReadFile("testdata/endpoints.json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all.Steps {
		if s.Step == step {
			return s.Saw.Body
		}
	}
	t.Fatalf("%s was not recorded", step)
	return nil
}

// shape replaces every number and every text that the recording has no words for, so that what is left can be compared.
func shape(want, got any) any {
	text, _ := want.(string)
	switch have := got.(type) {
	case float64:
		if text == "<number>" {
			return text
		}
	case string:
		if before, _, ok := strings.Cut(text, "<"); ok && strings.HasPrefix(have, before) {
			return text
		}
	case map[string]any:
		w, _ := want.(map[string]any)
		for k := range have {
			have[k] = shape(w[k], have[k])
		}
	case []any:
		w, _ := want.([]any)
		for i := range have {
			if i < len(w) {
				have[i] = shape(w[i], have[i])
			}
		}
		slices.SortStableFunc(have, func(a, b any) int {
			x, _ := a.(string)
			y, _ := b.(string)
			return strings.Compare(x, y)
		})
	}
	return got
}

func TestWhatAnAgentShowsIsAsTheOriginalRecordedIt(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	a.master = "127.0.0.1"
	a.view.Store(&workload.View{
		Recovered: true,
		Agent:     "S0", Registered: true, Frameworks: []*workload.Framework{testFramework("F", "root")}, Total: a.cfg.Resources,
		Tasks: []*workload.TaskView{testTask("F", "runs", "c1", mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_RUNNING)},
	})
	for _, path := range []string{"/state", "/slave(1)/state", "/containers", "/monitor/statistics"} {
		t.Run(path, func(t *testing.T) {
			status, body := get(t, a, path)
			got := decode(t, body)
			if m, ok := got.(map[string]any); ok { // of the flags some were recorded
				flags := m["flags"].(map[string]any)
				for k := range flags {
					if !slices.Contains([]string{"attributes", "hostname", "isolation", "port", "resources", "work_dir"}, k) {
						delete(flags, k)
					}
				}
			}
			want := recorded(t, path)
			if d := cmp.Diff(want, shape(want, got)); status != http.StatusOK || d != "" {
				t.Errorf("%d %s", status, d)
			}
		})
	}
}

func TestTasksStandWhereTheirLifeIs(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	a.view.Store(&workload.View{
		Recovered: true,
		Agent:     "S0", Frameworks: []*workload.Framework{testFramework("F", "root")}, Former: []*workload.Framework{testFramework("G", "root"), testFramework("H", "root")},
		Tasks: []*workload.TaskView{
			testTask("F", "ended", "c1", mesosv1.TaskState_TASK_FINISHED), testTask("F", "queued", "c2"), testTask("F", "runs", "c3", mesosv1.TaskState_TASK_RUNNING),
		},
		Completed: []*workload.TaskView{testTask("G", "long ago", "c4", mesosv1.TaskState_TASK_FAILED), testTask("F", "before", "c5", mesosv1.TaskState_TASK_FINISHED)},
	})
	_, body := get(t, a, "/state")
	state := decode(t, body).(map[string]any)
	where := []string{}
	for _, list := range []string{"frameworks", "completed_frameworks"} {
		for _, f := range state[list].([]any) {
			for _, executors := range []string{"executors", "completed_executors"} {
				for _, e := range f.(map[string]any)[executors].([]any) {
					for _, tasks := range []string{"tasks", "queued_tasks", "completed_tasks"} {
						for _, x := range e.(map[string]any)[tasks].([]any) {
							where = append(where, fmt.Sprint(list, " ", executors, " ", tasks, " ", x.(map[string]any)["id"]))
						}
					}
				}
			}
		}
	}
	if d := cmp.Diff([]string{
		"frameworks executors completed_tasks ended", "frameworks executors queued_tasks queued", "frameworks executors tasks runs",
		"frameworks completed_executors completed_tasks before", "completed_frameworks completed_executors completed_tasks long ago",
	}, where); d != "" {
		t.Error(d)
	}
	if got := state["unreserved_resources_allocated"].(map[string]any)["cpus"]; got != 0.4 {
		t.Errorf("%v cpus are allocated, want 0.4: what ended holds nothing", got)
	}
}

func TestContainersArePickedByQuery(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	a.view.Store(&workload.View{
		Recovered: true,
		Agent:     "S0", Frameworks: []*workload.Framework{testFramework("F", "root"), testFramework("G", "root")},
		Tasks: []*workload.TaskView{
			testTask("F", "a", "c1", mesosv1.TaskState_TASK_RUNNING), testTask("F", "b", "c2", mesosv1.TaskState_TASK_RUNNING),
			testTask("G", "a", "c3", mesosv1.TaskState_TASK_RUNNING), testTask("G", "ended", "c4", mesosv1.TaskState_TASK_FINISHED),
		},
	})
	for query, want := range map[string]string{
		"": "c1 c2 c3", "container_id=c2": "c2", "framework_id=F": "c1 c2", "framework_id=F&executor_id=a": "c1", "container_id=none": "",
		"executor_id=a": "400", "container_id=c1&framework_id=F": "400",
	} {
		t.Run(query, func(t *testing.T) {
			status, body := get(t, a, "/containers?"+query)
			if status != http.StatusOK {
				if fmt.Sprint(status) != want {
					t.Errorf("%d %s, want %s", status, body, want)
				}
				return
			}
			got := []string{}
			for _, c := range decode(t, body).([]any) {
				got = append(got, c.(map[string]any)["container_id"].(string))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%v, want %s", got, want)
			}
		})
	}
}

func TestAUserSeesHisOwnTasksOnly(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	view := &workload.View{
		Recovered: true,
		Agent:     "S0", Frameworks: []*workload.Framework{testFramework("F", "alice"), testFramework("G", "bob")}, Former: []*workload.Framework{testFramework("H", "bob")},
		Tasks: []*workload.TaskView{
			testTask("F", "a", "c1", mesosv1.TaskState_TASK_RUNNING), testTask("G", "b", "c2", mesosv1.TaskState_TASK_RUNNING),
		},
		Completed: []*workload.TaskView{testTask("H", "c", "c3", mesosv1.TaskState_TASK_FINISHED)},
	}
	a.view.Store(view)
	rd := &reader{agent: a, view: view, may: func(u string) bool { return u == "alice" }}
	state := decode(t, rd.state(nil)).(map[string]any)
	frameworks := state["frameworks"].([]any)
	if len(frameworks) != 1 || frameworks[0].(map[string]any)["id"] != "F" || len(state["completed_frameworks"].([]any)) != 0 {
		t.Errorf("alice sees %v and %v", frameworks, state["completed_frameworks"])
	}
	seen := []string{}
	rd.running(func(*box) bool { return true }, func(b *box, _ *container.Stats) { seen = append(seen, b.container) })
	if d := cmp.Diff([]string{"c1"}, seen); d != "" {
		t.Error(d)
	}
	of := func(framework string) sandbox.Run {
		return sandbox.Run{Agent: "S0", Framework: framework, Executor: "e", Container: "c"}
	}
	for path, want := range map[string]string{
		of("F").Path(a.cfg.WorkDir): "alice", of("F").Latest(a.cfg.WorkDir): "alice", of("F").Virtual(): "alice", of("H").Path(a.cfg.WorkDir): "bob",
		of("unknown").Path(a.cfg.WorkDir): "", "/slave/log": "", "/frameworks": "", filepath.Join(a.cfg.WorkDir, "frameworks/F"): "",
	} {
		if got, ok := a.ownerOf(path); got != want || ok != (want != "") {
			t.Errorf("%s belongs to %q (%v), want %q", path, got, ok, want)
		}
	}
}

func TestExecutorsAreCalledAsTheOriginalCallsThem(t *testing.T) {
	yes, no := new(true), new(false)
	for want, c := range map[string]*mesosv1.CommandInfo{
		"sh -c 'true'":            {Shell: yes, Value: new("true")},
		"sh -c '123456789012345'": {Value: new("123456789012345")},
		"sh -c '123456789012...'": {Value: new("1234567890123456")},
		"[a, b]":                  {Shell: no, Value: new("a"), Arguments: []string{"b"}},
		"NO COMMAND":              {},
		"NO EXECUTABLE":           {Shell: no},
	} {
		info := must(proto.MarshalOptions{AllowPartial: true}.Marshal(&mesosv1.TaskInfo{Command: c}))
		if got := executorName(&workload.Task{ID: "t", Info: info}); got != "Command Executor (Task: t) (Command: "+want+")" {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestEveryNameOfTheOriginalsMetricsIsThere(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	a.view.Store(&workload.View{
		Recovered: true,
		Agent:     "S0", Frameworks: []*workload.Framework{testFramework("F", "root")},
		Tasks: []*workload.TaskView{testTask("F", "runs", "c1", mesosv1.TaskState_TASK_RUNNING), testTask("F", "queued", "c2")},
	})
	for _, f := range []workload.Fact{
		{Kind: workload.FactTaskState, State: mesosv1.TaskState_TASK_RUNNING},
		{Kind: workload.FactTaskState, State: mesosv1.TaskState_TASK_FAILED},
		{Kind: workload.FactTaskState, Executor: "e", State: mesosv1.TaskState_TASK_FINISHED},
		{Kind: workload.FactExecutorEnded, Executor: "e"},
	} {
		a.Tell(a.started, []workload.Fact{f})
	}
	_, body := get(t, a, "/metrics/snapshot")
	var got map[string]float64
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"slave/cpus_used": 0.4, "slave/cpus_percent": 0.1, "slave/executors_running": 1, "slave/executors_registering": 1, "slave/tasks_running": 1,
		"slave/tasks_failed": 1, "slave/tasks_finished": 1, "slave/executors_terminated": 2,
		"slave/executor_directory_max_allowed_age_secs": 3600,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, name := range recorded(t, "/metrics/snapshot").([]any) {
		if _, ok := got[name.(string)]; !ok {
			t.Errorf("%s is missing", name)
		}
		delete(got, name.(string))
	}
	for name := range got {
		if strings.HasPrefix(name, "gc/path_removals_") {
			continue // the recording leaves it out
		}
		t.Errorf("%s is not a name of the original's", name)
	}
}
