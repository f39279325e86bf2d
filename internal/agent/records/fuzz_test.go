package records

import (
	"bytes"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
)

// FuzzDecodeRecord: a record of the journal is one that can be written again, or an error; and writing changes nothing more.
func FuzzDecodeRecord(f *testing.F) {
	framework := testFramework("F", "root")
	task := testTask("F", "t")
	for _, r := range []workload.Record{
		{Identity: &workload.Identity{Agent: "S0", Info: []byte("info"), Epoch: 3, Boot: "b"}},
		{Framework: framework},
		{FrameworkGone: "F"},
		{Accepted: &workload.Accepted{Task: task, Container: "c"}},
		{Container: &workload.Container{Ref: workload.Ref{Framework: "F", Task: "t"}, PID: 4711, Ticks: 5, Wall: 6}},
		{Status: &workload.StatusRecord{Ref: workload.Ref{Framework: "F", Task: "t"}, Status: &mesos.Status{
			TaskID: "t", State: mesosv1.TaskState_TASK_RUNNING, Timestamp: 1.5, Healthy: -1,
		}}},
		{Acked: &workload.AckedRecord{Ref: workload.Ref{Framework: "F", Task: "t"}, UUID: "0123456789abcdef"}},
		{Kill: &workload.KillRecord{Ref: workload.Ref{Framework: "F", Task: "t"}, Grace: 5, Cause: 1}},
		{Check: &workload.CheckRecord{Ref: workload.Ref{Framework: "F", Task: "t"}, Failures: 2, EverHealthy: true}},
		{Gone: &workload.Ref{Framework: "F", Task: "t"}},
		{Delivered: &workload.Ref{Framework: "F", Task: "t"}},
		{ExecutorAccepted: &workload.ExecutorAccepted{Executor: testExecutor("F", "ex"), Container: "c"}},
		{ExecutorContainer: &workload.ExecutorContainer{ExecutorRef: workload.ExecutorRef{Framework: "F", Executor: "ex"}, PID: 4711, Ticks: 5, Wall: 6}},
		{ExecutorShutdown: &workload.ExecutorShutdown{ExecutorRef: workload.ExecutorRef{Framework: "F", Executor: "ex"}, Cause: workload.EndAsked}},
		{ExecutorGone: &workload.ExecutorRef{Framework: "F", Executor: "ex"}},
	} {
		f.Add(must(Encode(&r)))
	}
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b, plain)
		if err != nil {
			return
		}
		once, err := Encode(&r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		r, err = Decode(once, plain)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if twice := must(Encode(&r)); !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x", once, twice)
		}
	})
}
