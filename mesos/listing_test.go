package mesos

import (
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
)

// listed gives messages one by one.
func listed[M proto.Message](all []M) func(func(proto.Message) bool) {
	return func(yield func(proto.Message) bool) {
		for _, m := range all {
			if !yield(m) {
				return
			}
		}
	}
}

// stateListing is the listing of an answer to GET_STATE.
func stateListing(s *master.Response_GetState) *Listing {
	return &Listing{Name: "get_state", Number: 9, Inner: []Listing{
		{Name: "get_tasks", Number: 1, Lists: []List{
			{Name: "tasks", Number: 2, Always: true, Each: listed(s.GetGetTasks().GetTasks())},
			{Name: "completed_tasks", Number: 3, Each: listed(s.GetGetTasks().GetCompletedTasks())},
		}},
		{Name: "get_agents", Number: 4, Lists: []List{
			{Name: "recovered_agents", Number: 2, Each: listed(s.GetGetAgents().GetRecoveredAgents())},
		}},
	}}
}

func listedTask(id string) *mesosv1.Task {
	return &mesosv1.Task{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, FrameworkId: &mesosv1.FrameworkID{Value: new("f")},
		AgentId: &mesosv1.AgentID{Value: new("a")}, State: mesosv1.TaskState_TASK_RUNNING.Enum(),
	}
}

func TestAListingIsTheMessageThatItListsInBothEncodings(t *testing.T) {
	names := rapid.SliceOfN(rapid.StringN(0, 300, -1), 0, 20) // some longer than one byte of length, together and alone
	rapid.Check(t, func(t *rapid.T) {
		state := &master.Response_GetState{GetTasks: &master.Response_GetTasks{}, GetAgents: &master.Response_GetAgents{}}
		for _, id := range names.Draw(t, "tasks") {
			state.GetTasks.Tasks = append(state.GetTasks.Tasks, listedTask(id))
		}
		for _, id := range names.Draw(t, "completed") {
			state.GetTasks.CompletedTasks = append(state.GetTasks.CompletedTasks, listedTask(id))
		}
		for _, id := range names.Draw(t, "agents") {
			state.GetAgents.RecoveredAgents = append(state.GetAgents.RecoveredAgents, &mesosv1.AgentInfo{Hostname: &id})
		}
		want, l := &master.Response{GetState: state}, stateListing(state)

		encoded, err := l.Append(nil, false)
		if err != nil {
			t.Fatal(err)
		}
		got := &master.Response{}
		if err := DecodeProto(encoded, got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Errorf("in protobuf: %s", d)
		}
		encoded, err = l.Append([]byte("{"), true)
		if err != nil {
			t.Fatal(err)
		}
		got = &master.Response{}
		if err := UnmarshalJSON(append(encoded, '}'), got); err != nil {
			t.Fatalf("%v: %s", err, encoded)
		}
		for _, a := range got.GetGetState().GetGetAgents().GetRecoveredAgents() {
			a.Port = nil // the one explicit default that JSON writes
		}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Errorf("in JSON: %s", d)
		}
	})
}

func TestEmptyListsAreShownWhereTheOriginalShowsThem(t *testing.T) {
	l := stateListing(&master.Response_GetState{})
	got, err := l.Append(nil, true)
	if want := `"get_state":{"get_tasks":{"tasks":[]},"get_agents":{}}`; err != nil || string(got) != want {
		t.Errorf("%v: %s, want %s", err, got, want)
	}
	got, err = l.Append(nil, false)
	if want := "\x4a\x04\x0a\x00\x22\x00"; err != nil || string(got) != want {
		t.Errorf("%v: %q, want %q", err, got, want)
	}
}

func TestAMessageThatCannotBeEncodedEndsAListing(t *testing.T) {
	seen := 0
	l := &Listing{Name: "get_state", Inner: []Listing{{Name: "get_tasks", Lists: []List{
		{Name: "tasks", Each: func(yield func(proto.Message) bool) {
			for range 5 {
				if seen++; !yield(nil) {
					return
				}
			}
		}},
		{Name: "completed_tasks", Each: func(func(proto.Message) bool) { t.Error("the list behind it was looked at") }},
	}}}}
	if _, err := l.Append(nil, true); err == nil || seen != 1 {
		t.Errorf("after %d messages the error is %v", seen, err)
	}
}

func TestWhatLacksARequiredFieldDoesNotHideTheRest(t *testing.T) {
	state := &master.Response_GetState{GetTasks: &master.Response_GetTasks{Tasks: []*mesosv1.Task{{}, listedTask("whole")}}}
	got, err := stateListing(state).Append(nil, false)
	if err != nil || !strings.Contains(string(got), "whole") {
		t.Errorf("%v: %q", err, got)
	}
	if _, _, n := protowire.ConsumeField(got); n != len(got) {
		t.Errorf("the field has %d bytes of %d", n, len(got))
	}
}

// A listing of 10,000 tasks must not hold 10,000 messages: those that were written are free to go.
func TestAListingHoldsOneMessageAtATime(t *testing.T) {
	for _, json := range []bool{true, false} {
		var seen []weak.Pointer[mesosv1.Task]
		most := 0
		each := func(yield func(proto.Message) bool) {
			for i := range 10_000 {
				task := listedTask("task")
				seen = append(seen, weak.Make(task))
				if !yield(task) {
					return
				}
				if i%2500 != 2499 {
					continue
				}
				runtime.GC()
				alive := 0
				for _, p := range seen {
					if p.Value() != nil {
						alive++
					}
				}
				most = max(most, alive)
			}
		}
		l := &Listing{Name: "get_tasks", Number: 13, Lists: []List{{Name: "tasks", Number: 2, Each: each}}}
		if _, err := l.Append(nil, json); err != nil {
			t.Fatal(err)
		}
		if most > 8 {
			t.Errorf("JSON %v: %d messages live at once", json, most)
		}
	}
}
