package reads

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genmaster "github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos"
)

var listedCalls = []genmaster.Call_Type{
	genmaster.Call_GET_STATE, genmaster.Call_GET_AGENTS, genmaster.Call_GET_FRAMEWORKS, genmaster.Call_GET_EXECUTORS,
	genmaster.Call_GET_TASKS, genmaster.Call_GET_ROLES, genmaster.Call_GET_OPERATIONS,
}

// ask gives the answer to a call as its message, from protobuf.
func ask(tb testing.TB, rd *Reader, call genmaster.Call_Type) *genmaster.Response {
	tb.Helper()
	kind := Listed(call)
	b, err := rd.Listing(call).Append(protowire.AppendVarint([]byte{8}, uint64(kind)), false)
	if err != nil {
		tb.Fatal(err)
	}
	out := &genmaster.Response{}
	if err := proto.Unmarshal(b, out); err != nil {
		tb.Fatalf("%s: %v", call, err)
	}
	return out
}

// full drops empty lists, which only JSON can show.
func full(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if l, ok := x.([]any); ok && len(l) == 0 {
				delete(v, k)
				continue
			}
			v[k] = full(x)
		}
	case []any:
		for i := range v {
			v[i] = full(v[i])
		}
	}
	return v
}

// awayScene has a task on an agent that is unreachable, one that ended, one that never arrived, an offer that lies, and a
// framework of the past.
func awayScene(tb testing.TB) *town {
	tb.Helper()
	t := recordedScene(tb)
	for range 30 {
		t.wait(time.Minute) // no ping is answered
	}
	t.subscribe(2, "bob")
	t.step(&cluster.Teardown{Call: 1, Framework: t.ids[1]})
	t.offers = nil
	t.agent(2)
	t.wait(2 * time.Second)
	t.launch(1, t.offers[0], taskInfo("staging", t.agents[1]))
	t.agent(3)
	t.wait(2 * time.Second)
	return t
}

func TestTheOperatorsListsSayTheSameInBothEncodings(t *testing.T) {
	for name, scene := range map[string]*town{"an empty cluster": newTown(t), "one that works": recordedScene(t), "one that broke": awayScene(t)} {
		rd := &Reader{View: scene.book.View(), About: about()}
		for _, call := range listedCalls {
			t.Run(name+" "+call.String(), func(t *testing.T) {
				message, err := mesos.AppendJSON(nil, ask(t, rd, call))
				if err != nil {
					t.Fatal(err)
				}
				listed, err := rd.Listing(call).Append(fmt.Appendf(nil, `{"type":"%s",`, call), true)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(full(decode(t, message)), full(decode(t, append(listed, '}')))); d != "" {
					t.Errorf("protobuf and JSON differ: %s", d)
				}
			})
		}
	}
}

func TestAnEmptyClusterIsListedAsTheOriginalLists(t *testing.T) {
	rd := &Reader{View: newTown(t).book.View(), About: about()}
	for call, want := range map[genmaster.Call_Type]string{
		genmaster.Call_GET_STATE: `"get_state":{"get_tasks":{"tasks":[],"completed_tasks":[],"unreachable_tasks":[]},"get_executors":{"executors":[]},` +
			`"get_frameworks":{"frameworks":[],"completed_frameworks":[]},"get_agents":{"agents":[],"recovered_agents":[]}}`,
		genmaster.Call_GET_OPERATIONS: `"get_operations":{}`, genmaster.Call_GET_ROLES: `"get_roles":{}`,
	} {
		if got, err := rd.Listing(call).Append(nil, true); err != nil || string(got) != want {
			t.Errorf("%s: %v: %s, want %s", call, err, got, want)
		}
	}
	if kind := Listed(genmaster.Call_GET_HEALTH); kind != genmaster.Response_UNKNOWN || rd.Listing(genmaster.Call_GET_HEALTH) != nil {
		t.Errorf("GET_HEALTH is listed as %s", kind)
	}
}

func TestWhatIsAwayIsListedInItsPlace(t *testing.T) {
	town := awayScene(t)
	state := ask(t, &Reader{View: town.book.View(), About: about()}, genmaster.Call_GET_STATE).GetGetState()
	tasks := func(list []*mesosv1.Task) []string {
		out := []string{}
		for _, x := range list {
			out = append(out, x.GetTaskId().GetValue()+" "+x.GetState().String())
		}
		slices.Sort(out)
		return out
	}
	var agents, frameworks []string
	for _, a := range state.GetGetAgents().GetAgents() {
		agents = append(agents, fmt.Sprint(a.GetPid(), len(a.GetAllocatedResources()), len(a.GetOfferedResources())))
	}
	for _, f := range append(state.GetGetFrameworks().GetFrameworks(), state.GetGetFrameworks().GetCompletedFrameworks()...) {
		frameworks = append(frameworks, fmt.Sprint(f.GetFrameworkInfo().GetId().GetValue() == town.ids[0], f.GetConnected(), len(f.GetOffers()), f.UnregisteredTime != nil))
	}
	slices.Sort(agents)
	for what, d := range map[string]string{
		"tasks":             cmp.Diff([]string{"staging TASK_STAGING"}, tasks(state.GetGetTasks().GetTasks())),
		"unreachable tasks": cmp.Diff([]string{"runs TASK_UNREACHABLE"}, tasks(state.GetGetTasks().GetUnreachableTasks())),
		"completed tasks":   cmp.Diff([]string{"done TASK_FINISHED"}, tasks(state.GetGetTasks().GetCompletedTasks())),
		"agents":            cmp.Diff([]string{"slave(1)@127.0.0.1:50522 0", "slave(1)@127.0.0.1:50530 4"}, agents),
		"frameworks":        cmp.Diff([]string{"true true 1 false", "false false 0 true"}, frameworks),
	} {
		if d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
}

func TestAUserIsListedWhatIsHisAndEveryAgent(t *testing.T) {
	town := recordedScene(t)
	for who, want := range map[string]string{"root": "1 1 2 1 1", "bob": "0 0 0 1 0"} {
		rd := &Reader{View: town.book.View(), About: about(), May: func(user string) bool { return user == who }}
		s := ask(t, rd, genmaster.Call_GET_STATE).GetGetState()
		role := ask(t, rd, genmaster.Call_GET_ROLES).GetGetRoles().GetRoles()[0]
		got := fmt.Sprint(len(s.GetGetFrameworks().GetFrameworks()), len(s.GetGetTasks().GetTasks()),
			len(s.GetGetTasks().GetTasks())+len(s.GetGetTasks().GetCompletedTasks()), len(s.GetGetAgents().GetAgents()), len(role.GetFrameworks()))
		if got != want {
			t.Errorf("%s sees %s, want %s", who, got, want)
		}
	}
}

// GET_STATE of 10,000 tasks must not hold the cluster a second time, as messages.
func TestALargeClusterIsListedOneMessageAtATime(t *testing.T) {
	rd := &Reader{View: bigView(t), About: about()}
	l := rd.V1State(9)
	var seen []weak.Pointer[mesosv1.Task]
	most := 0
	tasks := &l.Inner[0].Lists[0]
	each := tasks.Each
	tasks.Each = func(yield func(proto.Message) bool) {
		each(func(m proto.Message) bool {
			seen = append(seen, weak.Make(m.(*mesosv1.Task)))
			on := yield(m)
			if len(seen)%5000 == 0 {
				runtime.GC()
				most = max(most, len(seen)-len(slices.DeleteFunc(slices.Clone(seen), func(p weak.Pointer[mesosv1.Task]) bool { return p.Value() != nil })))
			}
			return on
		})
	}
	if _, err := l.Append(nil, true); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 10_000 || most > 8 {
		t.Errorf("of %d tasks %d messages lived at once", len(seen), most)
	}
}

// BenchmarkV1State makes GET_STATE of 10,000 tasks on 1,000 agents anew each time.
func BenchmarkV1State(b *testing.B) {
	rd := &Reader{View: bigView(b), About: about()}
	for name, json := range map[string]bool{"JSON": true, "protobuf": false} {
		b.Run(name, func(b *testing.B) {
			var body []byte
			b.ReportAllocs()
			for b.Loop() {
				body, _ = rd.V1State(9).Append(body[:0], json) // it is encoded in the tests
			}
			b.SetBytes(int64(len(body)))
		})
	}
}
