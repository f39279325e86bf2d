package agent

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/agent/support"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/fake"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// house is an agent that runs, with an executor ex of framework F that was given the task t.
type house struct {
	*testing.T
	agent *Agent
	url   string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	a, err := Open(Config{
		Masters: []string{"127.0.0.1:1"}, Hostname: "localhost", IP: "127.0.0.1", Port: 5051, WorkDir: t.TempDir(), Boot: "b", AnyUser: true,
		GCDelay: time.Hour, Resources: must(resource.Parse("cpus:4;mem:4096", "*")), Version: "1.11.0", Book: workload.Defaults(),
	}, Deps{
		Runtime: fake.NewMachine(func(container.Spec) fake.Behaviour { return fake.Behaviour{After: -1} }).Open(),
		Clock:   clock.Real(), Log: slog.New(slog.DiscardHandler), Meter: must(meter.New(prometheus.NewRegistry())),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	srv := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		srv.Close()
		if err := a.deps.Runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{t, a, srv.URL}
	h.await("the agent", func(v *workload.View) bool { return v.Recovered })
	for _, in := range []workload.In{&workload.Linked{Link: 1, Epoch: 1}, &workload.Registered{Agent: "S0", Info: a.info("S0")}} {
		if err := a.loop.Post(in); err != nil {
			t.Fatal(err)
		}
	}
	h.await("the agent's id", func(v *workload.View) bool { return v.Agent == "S0" })
	h.run("t")
	h.await("the executor's process", func(v *workload.View) bool { return len(v.Executors) == 1 && v.Executors[0].PID != 0 })
	return h
}

// run gives the agent a task for the executor.
func (h *house) run(id string) {
	h.Helper()
	info := &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: new("S0")},
		Executor: &mesosv1.ExecutorInfo{
			ExecutorId: &mesosv1.ExecutorID{Value: new("ex")}, FrameworkId: &mesosv1.FrameworkID{Value: new("F")},
			Command: &mesosv1.CommandInfo{Value: new("exec")},
		},
		Resources: []*mesosv1.Resource{{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(0.5)}}},
	}
	wire := agentlink.Agent{Unsupported: support.Lacks}
	task := must(wire.Task(must(proto.Marshal(info)), "F", "", "probe", "root"))
	if err := h.agent.loop.Post(&workload.Run{Framework: testFramework("F", "root"), Task: task, StartsExecutor: true}); err != nil {
		h.Fatal(err)
	}
}

func (h *house) await(what string, is func(*workload.View) bool) {
	h.Helper()
	for end := time.Now().Add(10 * time.Second); !is(h.agent.view.Load()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("%s is not there after 10 s: %+v", what, h.agent.view.Load())
		}
	}
}

func call(kind executor.Call_Type) *executor.Call {
	return &executor.Call{ExecutorId: &mesosv1.ExecutorID{Value: new("ex")}, FrameworkId: &mesosv1.FrameworkID{Value: new("F")}, Type: &kind}
}

func updateCall(task string, state mesosv1.TaskState, uuid string) *executor.Call {
	c := call(executor.Call_UPDATE)
	c.Update = &executor.Call_Update{Status: &mesosv1.TaskStatus{
		TaskId: &mesosv1.TaskID{Value: &task}, State: &state, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: []byte(uuid),
	}}
	return c
}

// post sends a body and gives the answer.
func (h *house) post(body io.Reader, header map[string]string) *http.Response {
	h.Helper()
	r := must(http.NewRequestWithContext(h.Context(), http.MethodPost, h.url+"/slave(1)/api/v1/executor", body))
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { w.Body.Close() })
	return w
}

func (h *house) call(c *executor.Call, json bool) *http.Response {
	h.Helper()
	if json {
		return h.post(bytes.NewReader(must(mesos.AppendJSON(nil, c))), map[string]string{"Content-Type": serve.TypeJSON, "Accept": serve.TypeJSON})
	}
	return h.post(bytes.NewReader(must(proto.Marshal(c))), map[string]string{"Content-Type": serve.TypeProtobuf, "Accept": serve.TypeProtobuf})
}

// accepted makes a call that must be answered 202.
func (h *house) accepted(c *executor.Call, json bool) {
	h.Helper()
	if w := h.call(c, json); w.StatusCode != http.StatusAccepted {
		h.Fatalf("%s is answered %d %s", c.GetType(), w.StatusCode, must(io.ReadAll(w.Body)))
	}
}

// subscription is a stream as its executor reads it.
type subscription struct {
	*house
	json    bool
	records *mesos.RecordReader
}

func (h *house) subscribe(json bool) *subscription {
	h.Helper()
	c := call(executor.Call_SUBSCRIBE)
	c.Subscribe = &executor.Call_Subscribe{}
	w := h.call(c, json)
	want := serve.TypeProtobuf
	if json {
		want = serve.TypeJSON
	}
	if w.StatusCode != http.StatusOK || w.Header.Get("Content-Type") != want {
		h.Fatalf("SUBSCRIBE is answered %d %s", w.StatusCode, w.Header.Get("Content-Type"))
	}
	return &subscription{h, json, mesos.NewRecordReader(bufio.NewReader(w.Body), 1<<20)}
}

func (s *subscription) next() *executor.Event {
	s.Helper()
	b, err := s.records.Next()
	if err != nil {
		s.Fatal(err)
	}
	e := &executor.Event{}
	if s.json {
		err = mesos.UnmarshalJSON(b, e)
	} else {
		err = mesos.DecodeProto(b, e)
	}
	if err != nil {
		s.Fatal(err)
	}
	return e
}

// want reads the next event, which must be of a type.
func (s *subscription) want(kind executor.Event_Type) *executor.Event {
	s.Helper()
	e := s.next()
	if e.GetType() != kind {
		s.Fatalf("the event is %v, want %s", e, kind)
	}
	return e
}

func TestAnExecutorIsToldAndHeard(t *testing.T) {
	for name, json := range map[string]bool{"in JSON": true, "in protobuf": false} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.subscribe(json)
			x := h.agent.view.Load().Executors[0]
			first := s.want(executor.Event_SUBSCRIBED).GetSubscribed()
			if first.GetContainerId().GetValue() != x.Container || first.GetFrameworkInfo().GetId().GetValue() != "F" || first.GetAgentInfo().GetHostname() != "localhost" ||
				first.GetExecutorInfo().GetExecutorId().GetValue() != "ex" {
				t.Errorf("SUBSCRIBED says %v", first)
			}
			task := s.want(executor.Event_LAUNCH).GetLaunch().GetTask()
			if task.GetTaskId().GetValue() != "t" || task.GetResources()[0].GetAllocationInfo().GetRole() != "probe" {
				t.Errorf("LAUNCH says %v", task)
			}
			h.accepted(updateCall("t", mesosv1.TaskState_TASK_RUNNING, "0123456789abcdef"), json)
			ack := s.want(executor.Event_ACKNOWLEDGED).GetAcknowledged()
			if ack.GetTaskId().GetValue() != "t" || string(ack.GetUuid()) != "0123456789abcdef" {
				t.Errorf("ACKNOWLEDGED says %v", ack)
			}
			ref := workload.ExecutorRef{Framework: "F", Executor: "ex"}
			for _, in := range []workload.In{
				&workload.SchedulerMessage{ExecutorRef: ref, Data: []byte("hi")},
				&workload.Kill{Ref: workload.Ref{Framework: "F", Task: "t"}, Grace: time.Second}, &workload.Kill{Ref: workload.Ref{Framework: "F", Task: "t"}, Grace: -1},
				&workload.ShutdownExecutor{ExecutorRef: ref},
			} {
				if err := h.agent.loop.Post(in); err != nil {
					t.Fatal(err)
				}
			}
			if m := s.want(executor.Event_MESSAGE).GetMessage(); string(m.GetData()) != "hi" {
				t.Errorf("MESSAGE says %v", m)
			}
			if k := s.want(executor.Event_KILL).GetKill(); k.GetTaskId().GetValue() != "t" || k.GetKillPolicy().GetGracePeriod().GetNanoseconds() != 1e9 {
				t.Errorf("KILL says %v", k)
			}
			if k := s.want(executor.Event_KILL).GetKill(); k.KillPolicy != nil {
				t.Errorf("a KILL without a grace says %v", k)
			}
			s.want(executor.Event_SHUTDOWN)
			h.accepted(call(executor.Call_HEARTBEAT), json)
		})
	}
}

func TestTheLaterOfTwoSubscriptionsHolds(t *testing.T) {
	h := newHouse(t)
	first := h.subscribe(true)
	first.want(executor.Event_SUBSCRIBED)
	first.want(executor.Event_LAUNCH)
	second := h.subscribe(false)
	second.want(executor.Event_SUBSCRIBED)
	if _, err := first.records.Next(); err != io.EOF {
		t.Errorf("the first one goes on: %v", err)
	}
	h.accepted(updateCall("t", mesosv1.TaskState_TASK_FINISHED, "0123456789abcdef"), true)
	second.want(executor.Event_ACKNOWLEDGED)
}

func TestWhatExecutorsMayNotSay(t *testing.T) {
	h := newHouse(t)
	if w := h.call(updateCall("t", mesosv1.TaskState_TASK_RUNNING, "0123456789abcdef"), true); w.StatusCode != http.StatusBadRequest {
		t.Errorf("an UPDATE before SUBSCRIBE is answered %d", w.StatusCode)
	}
	s := h.subscribe(true)
	s.want(executor.Event_SUBSCRIBED)
	of := func(change func(*executor.Call)) string {
		c := updateCall("t", mesosv1.TaskState_TASK_RUNNING, "0123456789abcdef")
		change(c)
		return string(must(mesos.AppendJSON(nil, c)))
	}
	in := map[string]string{"Content-Type": serve.TypeJSON}
	for _, c := range []struct {
		name, body string
		header     map[string]string
		status     int
		words      string
	}{
		{"no content type", "{}", nil, 400, "Content-Type"},
		{"another content type", "{}", map[string]string{"Content-Type": "text/plain"}, 415, "Content-Type"},
		{"no JSON", "{", in, 400, "cannot be read"},
		{"no ids", `{"type":"MESSAGE"}`, in, 400, "executor_id"},
		{"no type", of(func(c *executor.Call) { c.Type = nil }), in, 400, "type"},
		{"an unknown framework", of(func(c *executor.Call) { c.FrameworkId.Value = new("G") }), in, 400, "Framework cannot"},
		{"an unknown executor", of(func(c *executor.Call) { c.ExecutorId.Value = new("other") }), in, 400, "Executor cannot"},
		{"no update", of(func(c *executor.Call) { c.Update = nil }), in, 400, "update"},
		{"no message", of(func(c *executor.Call) { c.Type = executor.Call_MESSAGE.Enum() }), in, 400, "message"},
		{"no subscribe", of(func(c *executor.Call) { c.Type = executor.Call_SUBSCRIBE.Enum() }), in, 400, "subscribe"},
		{"a call of another age", of(func(c *executor.Call) { c.Type = executor.Call_UNKNOWN.Enum() }), in, 501, "not known"},
		{"a short uuid", of(func(c *executor.Call) { c.Update.Status.Uuid = []byte("1") }), in, 400, "status.uuid"},
		{"bytes that are no uuid", of(func(c *executor.Call) { c.Update.Status.Uuid = make([]byte, 16) }), in, 400, "status.uuid"},
		{"no uuid", of(func(c *executor.Call) { c.Update.Status.Uuid = nil }), in, 400, "status.uuid"},
		{"another source", of(func(c *executor.Call) { c.Update.Status.Source = mesosv1.TaskStatus_SOURCE_AGENT.Enum() }), in, 400, "status.source"},
		{"a task that goes back", of(func(c *executor.Call) { c.Update.Status.State = mesosv1.TaskState_TASK_STAGING.Enum() }), in, 400, "status.state"},
		{"another executor's id", of(func(c *executor.Call) { c.Update.Status.ExecutorId = &mesosv1.ExecutorID{Value: new("other")} }), in, 400, "status.executor_id"},
		{"a check without a result", of(func(c *executor.Call) { c.Update.Status.CheckStatus = &mesosv1.CheckStatusInfo{} }), in, 400, "check_status"},
		{
			"an update that was not acknowledged and is none", of(func(c *executor.Call) {
				c.Type = executor.Call_SUBSCRIBE.Enum()
				c.Update.Status.Uuid = nil
				c.Subscribe = &executor.Call_Subscribe{UnacknowledgedUpdates: []*executor.Call_Update{c.Update}}
			}), in, 400, "unacknowledged_updates[0].status.uuid",
		},
		{"a SUBSCRIBE that takes nothing", of(func(c *executor.Call) {
			c.Type, c.Subscribe = executor.Call_SUBSCRIBE.Enum(), &executor.Call_Subscribe{}
		}), map[string]string{"Content-Type": serve.TypeJSON, "Accept": "text/html"}, 406, "Accept"},
		{"a message that is large", of(func(c *executor.Call) {
			c.Type, c.Message = executor.Call_MESSAGE.Enum(), &executor.Call_Message{Data: make([]byte, maxSaid+1)}
		}), in, 413, "message.data"},
		{"a status that is large", of(func(c *executor.Call) { c.Update.Status.Data = make([]byte, maxSaid) }), in, 413, "update"},
		{"a body that is larger", strings.Repeat(" ", maxCall+1), in, 413, "body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := h.post(strings.NewReader(c.body), c.header)
			if words := string(must(io.ReadAll(w.Body))); w.StatusCode != c.status || !strings.Contains(words, c.words) {
				t.Errorf("the answer is %d %q, want %d with %q", w.StatusCode, words, c.status, c.words)
			}
		})
	}
	t.Run("a body of unknown length that is larger", func(t *testing.T) {
		w := h.post(io.MultiReader(strings.NewReader(strings.Repeat(" ", maxCall)), strings.NewReader(" ")), in)
		if w.StatusCode != http.StatusBadRequest {
			t.Errorf("the answer is %d", w.StatusCode)
		}
	})
	t.Run("another method", func(t *testing.T) {
		w, err := http.Get(h.url + "/api/v1/executor")
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		if w.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET is answered %d", w.StatusCode)
		}
	})
}

func TestAnExecutorThatDoesNotReadIsCutOff(t *testing.T) {
	h := newHouse(t)
	s := h.subscribe(true)
	s.want(executor.Event_SUBSCRIBED)
	s.want(executor.Event_LAUNCH)
	data := make([]byte, 1<<20)
	cut := func() bool {
		h.agent.mu.Lock()
		defer h.agent.mu.Unlock()
		return len(h.agent.streams) == 0
	}
	for i := 0; i < 1000 && !cut(); i++ {
		if err := h.agent.loop.Post(&workload.SchedulerMessage{ExecutorRef: workload.ExecutorRef{Framework: "F", Executor: "ex"}, Data: data}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if !cut() {
		t.Error("a gigabyte waits for it")
	}
	h.subscribe(true).want(executor.Event_SUBSCRIBED) // and may come back
}

func TestAnExecutorFindsTheOriginalsEnvironment(t *testing.T) {
	h := newHouse(t)
	x := h.agent.view.Load().Executors[0]
	f := testFramework("F", "root")
	w := &workload.LaunchWork{Task: h.agent.view.Load().Tasks[0].Task, Executor: x.Spec, Container: x.Container, Framework: f}
	b := must(h.agent.blueprint(w, kept{}))
	s := must(h.agent.spec(w, b, "/box", "", nil, nil))
	want := []string{
		"MESOS_AGENT_ENDPOINT=127.0.0.1:5051", "MESOS_CHECKPOINT=0", "MESOS_DIRECTORY=/box", "MESOS_EXECUTOR_ID=ex",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=0ns", "MESOS_FRAMEWORK_ID=F", "MESOS_HTTP_COMMAND_EXECUTOR=0", "MESOS_SANDBOX=/box",
		"MESOS_SLAVE_ID=S0", "MESOS_SLAVE_PID=slave(1)@127.0.0.1:5051", "PATH=" + defaultPath,
	}
	if d := cmp.Diff(want, s.Env); d != "" || !s.Alone {
		t.Errorf("alone %t, (-want +got):\n%s", s.Alone, d)
	}
	if dir := b.run.Path("/w"); !strings.HasSuffix(dir, fmt.Sprintf("/frameworks/F/executors/ex/runs/%s", x.Container)) {
		t.Errorf("its sandbox is %s", dir)
	}
}
