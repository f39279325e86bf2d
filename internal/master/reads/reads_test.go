package reads

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
)

// about is a master's own part.
func about() *About {
	return &About{
		PID: "master@127.0.0.1:5050", Hostname: "localhost", Port: 5050,
		Build:        []byte(`"version":"1.11.0","build_date":"2024-08-01 00:00:00","build_time":1.0,"build_user":"pando"`),
		Flags:        []byte(`{"agent_ping_timeout":"15secs","allocation_interval":"1secs","hostname":"localhost","max_agent_ping_timeouts":"5","port":"5050","registry":"etcd","work_dir":"/w"}`),
		Capabilities: []string{"AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"},
	}
}

// recorded gives the bodies of the original's answers by step.
func recorded(tb testing.TB, file string) map[string]any {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	var all struct {
		Steps []struct {
			Step string
			Saw  struct{ Body any }
		}
	}
	if err := json.Unmarshal(b, &all); err != nil {
		tb.Fatal(err)
	}
	out := map[string]any{}
	for _, s := range all.Steps {
		out[s.Step] = s.Saw.Body
	}
	return out
}

// differ lists where got is not what was recorded. "<number>" and "<count>" stand for any number, other words in angle
// brackets for any text; lists of words have no order.
func differ(path string, want, got any) []string {
	text, _ := want.(string)
	switch {
	case text == "<number>" || text == "<count>":
		if _, ok := got.(float64); !ok {
			return []string{fmt.Sprintf("%s: want a number, have %v", path, got)}
		}
		return nil
	case strings.Contains(text, "<"):
		have, ok := got.(string)
		if before, _, _ := strings.Cut(text, "<"); !ok || !strings.HasPrefix(have, before) {
			return []string{fmt.Sprintf("%s: want %s, have %v", path, text, got)}
		}
		return nil
	}
	var out []string
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: want an object, have %v", path, got)}
		}
		for k := range want {
			if _, ok := have[k]; !ok {
				out = append(out, path+"."+k+": missing")
			} else {
				out = append(out, differ(path+"."+k, want[k], have[k])...)
			}
		}
		for k := range have {
			if _, ok := want[k]; !ok {
				out = append(out, path+"."+k+": not there originally")
			}
		}
		slices.Sort(out)
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			return []string{fmt.Sprintf("%s: want %d elements, have %v", path, len(want), got)}
		}
		sortWords(want)
		sortWords(have)
		for i := range want {
			out = append(out, differ(fmt.Sprintf("%s[%d]", path, i), want[i], have[i])...)
		}
	default:
		if want != got {
			out = append(out, fmt.Sprintf("%s: want %v, have %v", path, want, got))
		}
	}
	return out
}

func sortWords(list []any) {
	slices.SortStableFunc(list, func(a, b any) int {
		x, _ := a.(string)
		y, _ := b.(string)
		return strings.Compare(x, y)
	})
}

func decode(tb testing.TB, b []byte) any {
	tb.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestEveryDocumentIsAsTheOriginalRecordedIt(t *testing.T) {
	want := recorded(t, "testdata/endpoints.json")
	town := recordedScene(t)
	rd := &Reader{View: town.book.View(), About: about()}
	f := town.ids[0]
	for step, got := range map[string][]byte{
		"/state":                  rd.State(nil),
		"/state-summary":          rd.Summary(nil),
		"/slaves":                 rd.Slaves(nil, ""),
		"/frameworks":             rd.Frameworks(nil, ""),
		"/frameworks of one":      rd.Frameworks(nil, f),
		"/tasks":                  rd.Tasks(nil, TaskQuery{Limit: 100}),
		"/tasks of one framework": rd.Tasks(nil, TaskQuery{Framework: f, Limit: 1, Ascending: true}),
		"/tasks of one id":        rd.Tasks(nil, TaskQuery{Framework: f, Task: "runs", Limit: 100}),
		"/roles":                  rd.Roles(nil),
	} {
		t.Run(step, func(t *testing.T) {
			for _, d := range differ(step, want[step], decode(t, got)) {
				t.Error(d)
			}
		})
	}
}

func TestEveryRecordedMetricThatAViewKnowsIsEmittedOnce(t *testing.T) {
	names := map[string]bool{}
	for _, n := range recorded(t, "testdata/endpoints.json")["/metrics/snapshot"].([]any) {
		names[n.(string)] = true
	}
	seen := map[string]float64{}
	Emit(recordedScene(t).book.View(), nil, func(name string, v float64) {
		// Names of roles were left out of the recording.
		if _, twice := seen[name]; twice || !names[name] && !strings.HasPrefix(name, "allocator/mesos/roles/") {
			t.Errorf("%s: emitted twice, or not a name of the original's", name)
		}
		seen[name] = v
	})
	for name, want := range map[string]float64{
		"master/cpus_total": 4, "master/cpus_used": 0.1, "master/cpus_percent": 0.025, "master/mem_used": 32, "master/tasks_running": 1,
		"master/tasks_staging": 0, "master/slaves_active": 1, "master/frameworks_active": 1, "master/outstanding_offers": 0,
		"allocator/mesos/resources/mem/offered_or_allocated": 32, "allocator/mesos/roles/probe/shares/dominant": 0.025,
	} {
		if got, ok := seen[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// ids picks a member of the objects in a list.
func ids(v any, list, member string) []string {
	out := []string{}
	for _, x := range v.(map[string]any)[list].([]any) {
		out = append(out, x.(map[string]any)[member].(string))
	}
	return out
}

func TestAUserSeesHisOwnFrameworksAndEveryAgent(t *testing.T) {
	town := newTown(t)
	town.agent(1)
	town.subscribe(1, "alice")
	town.subscribe(2, "bob")
	town.wait(2 * time.Second)
	for _, o := range town.offers {
		stream := 1 + slices.Index(town.ids, o.Framework)
		town.launch(stream, o, taskInfo("of-"+fmt.Sprint(stream), town.agents[0]))
	}
	town.wait(2 * time.Second)
	for _, o := range town.offers[1:] { // the other one's turn
		stream := 1 + slices.Index(town.ids, o.Framework)
		town.launch(stream, o, taskInfo("of-"+fmt.Sprint(stream), town.agents[0]))
	}
	v := town.book.View()
	alice, bob := town.ids[0], town.ids[1]
	if v.Task(alice, "of-1") == nil || v.Task(bob, "of-2") == nil {
		t.Fatal("not both have a task")
	}
	for _, tt := range []struct {
		who                     string
		may                     func(string) bool
		frameworks, tasks, seen []string
	}{
		{"root", nil, []string{alice, bob}, []string{"of-1", "of-2"}, []string{alice, bob}},
		{"alice", func(u string) bool { return u == "alice" }, []string{alice}, []string{"of-1"}, []string{alice}},
		{"carol", func(u string) bool { return u == "carol" }, []string{}, []string{}, []string{}},
	} {
		t.Run(tt.who, func(t *testing.T) {
			rd := &Reader{View: v, About: about(), May: tt.may}
			state, summary := decode(t, rd.State(nil)), decode(t, rd.Summary(nil))
			tasks := ids(decode(t, rd.Tasks(nil, TaskQuery{Limit: -1})), "tasks", "id")
			slices.Sort(tasks)
			agent := summary.(map[string]any)["slaves"].([]any)[0].(map[string]any)
			seen := []string{}
			for _, id := range agent["framework_ids"].([]any) {
				seen = append(seen, id.(string))
			}
			role := decode(t, rd.Roles(nil)).(map[string]any)["roles"].([]any)[0].(map[string]any)
			for what, d := range map[string]string{
				"/state":                     cmp.Diff(tt.frameworks, ids(state, "frameworks", "id")),
				"/state-summary":             cmp.Diff(tt.frameworks, ids(summary, "frameworks", "id")),
				"/frameworks":                cmp.Diff(tt.frameworks, ids(decode(t, rd.Frameworks(nil, "")), "frameworks", "id")),
				"/tasks":                     cmp.Diff(tt.tasks, tasks),
				"framework_ids of an agent":  cmp.Diff(tt.seen, seen),
				"frameworks of a role":       cmp.Diff(len(tt.frameworks), len(role["frameworks"].([]any))),
				"the agent, for everybody":   cmp.Diff(town.agents, ids(state, "slaves", "id")),
				"sums of it, for everybody":  cmp.Diff(0.2, agent["used_resources"].(map[string]any)["cpus"]),
				"tasks on it, for everybody": cmp.Diff(2.0, agent["TASK_STAGING"]),
			} {
				if d != "" {
					t.Errorf("%s: %s", what, d)
				}
			}
		})
	}
}

func TestTasksArePagedByTheTimeOfTheirFirstStatus(t *testing.T) {
	town := newTown(t)
	town.agent(1)
	town.subscribe(1, "root")
	town.wait(2 * time.Second)
	f, a := town.ids[0], town.agents[0]
	town.launch(1, town.offers[0], taskInfo("c", a), taskInfo("a", a), taskInfo("b", a))
	for _, id := range []string{"b", "c", "a"} {
		town.update(1, 1, f, a, id, mesosv1.TaskState_TASK_RUNNING)
	}
	rd := &Reader{View: town.book.View(), About: about()}
	for _, tt := range []struct {
		name, query string
		want        []string
	}{
		{"the latest first, unless said otherwise", "", []string{"a", "c", "b"}},
		{"the oldest first", "order=asc", []string{"b", "c", "a"}},
		{"a page", "order=asc&limit=1&offset=1", []string{"c"}},
		{"a limit of -1 is none", "limit=-1&offset=0", []string{"a", "c", "b"}},
		{"past the end", "offset=7", []string{}},
		{"by id", "task_id=c", []string{"c"}},
		{"of another framework", "framework_id=nobody", []string{}},
		{"empty parameters are none", "limit=&offset=&task_id=&framework_id=&order=", []string{"a", "c", "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, err := ParseTaskQuery(must(url.ParseQuery(tt.query)))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, ids(decode(t, rd.Tasks(nil, q)), "tasks", "id")); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := ParseTaskQuery(url.Values{"limit": {"many"}}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a limit in words: %v", err)
	}
}

func TestWhatIsAwayIsShownInItsPlace(t *testing.T) {
	town := recordedScene(t)
	f := town.ids[0]
	town.step(&cluster.AgentClosed{Conn: 1})
	state := decode(t, (&Reader{View: town.book.View(), About: about()}).State(nil)).(map[string]any)
	if got := state["slaves"].([]any)[0].(map[string]any)["active"]; got != false || state["deactivated_slaves"] != 1.0 {
		t.Errorf("an agent that is away: active %v, deactivated_slaves %v", got, state["deactivated_slaves"])
	}
	registry := func() (kept, unreachable int) {
		b, err := (&Reader{View: town.book.View(), About: about()}).Registry(&mesosv1.MasterInfo{Id: new("m"), Ip: new(uint32(0)), Port: new(uint32(5050))})
		if err != nil {
			t.Fatal(err)
		}
		all := decode(t, b).(map[string]any)
		list := func(name string) []any { return all[name].(map[string]any)["slaves"].([]any) }
		if kept = len(list("slaves")); kept > 0 && list("slaves")[0].(map[string]any)["info"].(map[string]any)["hostname"] == "" {
			t.Errorf("the registry: %s", b)
		}
		return kept, len(list("unreachable"))
	}
	if kept, unreachable := registry(); kept != 1 || unreachable != 0 {
		t.Errorf("the registry has %d agents and %d that are unreachable", kept, unreachable)
	}
	town.wait(24 * time.Hour) // pings go unanswered
	for range 20 {
		town.wait(time.Minute)
	}
	if kept, unreachable := registry(); kept != 0 || unreachable != 1 {
		t.Errorf("later the registry has %d agents and %d that are unreachable", kept, unreachable)
	}
	state = decode(t, (&Reader{View: town.book.View(), About: about()}).State(nil)).(map[string]any)
	if len(state["slaves"].([]any)) != 0 || state["unreachable_slaves"] != 1.0 {
		t.Errorf("an unreachable agent: slaves %v, unreachable_slaves %v", state["slaves"], state["unreachable_slaves"])
	}
	framework := state["frameworks"].([]any)[0].(map[string]any)
	if d := cmp.Diff([]string{"runs"}, ids(framework, "unreachable_tasks", "id")); d != "" {
		t.Errorf("unreachable tasks: %s", d)
	}
	town.step(&cluster.Teardown{Call: 1, Framework: f})
	state = decode(t, (&Reader{View: town.book.View(), About: about()}).State(nil)).(map[string]any)
	if d := cmp.Diff([]string{f}, ids(state, "completed_frameworks", "id")); d != "" || len(state["frameworks"].([]any)) != 0 {
		t.Errorf("a framework that was torn down: %s", d)
	}
	completed := state["completed_frameworks"].([]any)[0].(map[string]any)
	got := ids(completed, "completed_tasks", "id")
	slices.Sort(got)
	if d := cmp.Diff([]string{"done", "runs"}, got); d != "" {
		t.Errorf("tasks of a framework that was torn down: %s", d)
	}
}

// bigView is 10,000 tasks on 1,000 agents.
func bigView(tb testing.TB) *cluster.View {
	tb.Helper()
	town := newTown(tb)
	for i := range 1000 {
		town.agent(i + 1)
	}
	town.subscribe(1, "root")
	town.wait(2 * time.Second)
	if len(town.offers) != 1000 {
		tb.Fatalf("%d offers", len(town.offers))
	}
	conn := map[string]int{}
	for i, a := range town.agents {
		conn[a] = i + 1
	}
	for i, o := range town.offers {
		var tasks []*mesosv1.TaskInfo
		for k := range 10 {
			tasks = append(tasks, taskInfo(fmt.Sprintf("service.%04d-%d", i, k), o.Agent))
		}
		town.launch(1, o, tasks...)
		for _, task := range tasks {
			for _, s := range []mesosv1.TaskState{mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_RUNNING} {
				town.update(conn[o.Agent], 1, o.Framework, o.Agent, task.GetName(), s)
			}
		}
	}
	return town.book.View()
}

// BenchmarkState makes /state of 10,000 tasks on 1,000 agents anew each time.
func BenchmarkState(b *testing.B) {
	rd := &Reader{View: bigView(b), About: about()}
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		body = rd.State(body[:0])
	}
	b.SetBytes(int64(len(body)))
}

// BenchmarkSummary makes /state-summary of the same.
func BenchmarkSummary(b *testing.B) {
	rd := &Reader{View: bigView(b), About: about()}
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		body = rd.Summary(body[:0])
	}
	b.SetBytes(int64(len(body)))
}
