package records

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
)

// testExecutor is an executor of a framework's own as its agent knows it.
func testExecutor(framework, id string) *workload.Executor {
	info := must(proto.MarshalOptions{Deterministic: true}.Marshal(&mesosv1.ExecutorInfo{
		ExecutorId: &mesosv1.ExecutorID{Value: &id}, FrameworkId: &mesosv1.FrameworkID{Value: &framework}, Name: new("n"), Source: new("s"),
		Command: &mesosv1.CommandInfo{Value: new("exec")},
		Resources: []*mesosv1.Resource{{
			Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(0.5)},
		}},
	}))
	return must(agentlink.Executor(info, framework, "probe", "root"))
}

// The samples are what the first version that knew of executors wrote.
func TestRecordsOfExecutorsAreReadAsTheyWereFirstWritten(t *testing.T) {
	ref := workload.ExecutorRef{Framework: "F", Executor: "ex"}
	for _, c := range []struct {
		sample string
		record workload.Record
	}{
		{"7a060a0146120174", workload.Record{Delivered: &workload.Ref{Framework: "F", Task: "t"}}},
		{"5a430a0146122e0a040a0265782a130a046370757310001a0909000000000000e03f3a061a046578656342030a01464a016e5201731a0570726f62652204726f6f742a0163", workload.Record{ExecutorAccepted: &workload.ExecutorAccepted{Executor: testExecutor("F", "ex"), Container: "c"}}},
		{"620e0a01461202657818e72420052806", workload.Record{ExecutorContainer: &workload.ExecutorContainer{ExecutorRef: ref, PID: 4711, Ticks: 5, Wall: 6}}},
		{"6a090a0146120265781803", workload.Record{ExecutorShutdown: &workload.ExecutorShutdown{ExecutorRef: ref, Cause: workload.EndNotBack}}},
		{"72070a014612026578", workload.Record{ExecutorGone: &ref}},
	} {
		got, err := Decode(must(hex.DecodeString(c.sample)), plain)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.record, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.sample, d)
		}
		if b := must(Encode(&c.record)); hex.EncodeToString(b) != c.sample {
			t.Errorf("it is written as %x now, not %s", b, c.sample)
		}
	}
}

func TestRecordsOfContainersOfTheAPIAreReadAsTheyWereFirstWritten(t *testing.T) {
	for _, c := range []struct {
		sample string
		record workload.Record
	}{
		{"d201180a03742e6b1201631a01702201752a01463201653a022f73", workload.Record{NestedAccepted: &workload.Nested{Path: "t.k", Container: "c", Parent: "p", User: "u", Framework: "F", Executor: "e", Sandbox: "/s"}}},
		{"da010e0a03742e6b108002180120012805", workload.Record{NestedEnded: &workload.NestedEnded{Path: "t.k", Exit: workload.Exit{Status: 256, Known: true, OOM: true, Limit: 5}}}},
		{"e201050a03742e6b", workload.Record{NestedGone: "t.k"}},
	} {
		got, err := Decode(must(hex.DecodeString(c.sample)), plain)
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(c.record, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.sample, d)
		}
		if b := must(Encode(&c.record)); hex.EncodeToString(b) != c.sample {
			t.Errorf("it is written as %x now, not %s", b, c.sample)
		}
	}
}

// plain reads tasks for an agent that can run all.
var plain = &agentlink.Agent{Unsupported: func(*mesosv1.TaskInfo) string { return "" }}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func testFramework(id, user string) *workload.Framework {
	info := must(proto.Marshal(&mesosv1.FrameworkInfo{Id: &mesosv1.FrameworkID{Value: &id}, Name: new("f"), User: &user}))
	return &workload.Framework{ID: id, Name: "f", User: user, Info: info}
}

// testTask is a task as an agent reads it from its journal.
func testTask(framework, id string) *workload.Task {
	info := must(proto.Marshal(&mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: new("S0")}, Command: &mesosv1.CommandInfo{Value: new("true")},
	}))
	return must(plain.Task(info, framework, id, "*", "root"))
}
