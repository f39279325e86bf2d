package agent

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// FuzzDecodeRecord: a record of the journal is one that can be written again, or an error; and writing changes nothing more.
func FuzzDecodeRecord(f *testing.F) {
	framework := testFramework("F", "root")
	task := testTask("F", "t", "c").Task
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
		f.Add(must(encodeRecord(&r)))
	}
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		once, err := encodeRecord(&r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		r, err = decodeRecord(once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if twice := must(encodeRecord(&r)); !bytes.Equal(once, twice) {
			t.Fatalf("%x became %x", once, twice)
		}
	})
}

// FuzzExecutorCall: whatever a body holds, it is a call that the book may have, or is refused.
func FuzzExecutorCall(f *testing.F) {
	a := &Agent{counts: &counters{messages: must(meter.New(prometheus.NewRegistry())).Counter("m")}}
	subscription := call(executor.Call_SUBSCRIBE)
	update := updateCall("t", mesosv1.TaskState_TASK_RUNNING, "0123456789abcdef")
	subscription.Subscribe = &executor.Call_Subscribe{UnacknowledgedUpdates: []*executor.Call_Update{update.GetUpdate()}}
	for _, c := range []*executor.Call{subscription, update, call(executor.Call_MESSAGE), call(executor.Call_HEARTBEAT)} {
		f.Add(must(mesos.AppendJSON(nil, c)), true)
		f.Add(must(proto.Marshal(c)), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, json bool) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/executor", bytes.NewReader(body))
		r.Header.Set("Content-Type", serve.TypeProtobuf)
		if json {
			r.Header.Set("Content-Type", serve.TypeJSON)
		}
		w := httptest.NewRecorder()
		call, ok := readCall(w, r)
		if !ok {
			if w.Code < 400 {
				t.Errorf("it is refused with %d", w.Code)
			}
			return
		}
		if checkExecutorCall(call) != nil {
			return
		}
		in, err := a.heard(call, workload.ExecutorRef{Framework: "F", Executor: "ex"})
		if u, ok := in.(*workload.ExecutorUpdate); ok && err == nil && (len(u.Status.UUID) != uuidBytes || u.Status.TaskID == "") {
			t.Errorf("the book gets %+v", u.Status)
		}
	})
}
