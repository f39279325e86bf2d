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
		if u, ok := in.(*workload.ExecutorUpdate); ok && err == nil && (len(u.Status.UUID) != 16 || u.Status.TaskID == "") {
			t.Errorf("the book gets %+v", u.Status)
		}
	})
}
