package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// inExecutor is a task for an executor of this program.
func inExecutor(t *testing.T, id, how string) *mesosv1.TaskInfo {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	x := task(id, "")
	x.Command = nil
	x.Executor = &mesosv1.ExecutorInfo{
		Type: mesosv1.ExecutorInfo_CUSTOM.Enum(), ExecutorId: &mesosv1.ExecutorID{Value: new("ex")}, Name: new("mine"), Resources: task("", "").GetResources(),
		Command: &mesosv1.CommandInfo{
			Shell: new(false), Value: &self,
			Environment: &mesosv1.Environment{Variables: []*mesosv1.Environment_Variable{{Name: new(asExecutor), Value: &how}, {Name: new(mark), Value: new("the-executor")}}},
		},
	}
	return x
}

func checkpointing(o *client.SchedulerOptions) { o.Framework.Checkpoint = new(true) }

// failure waits for word of the executor's end.
func (f *framework) failure() *scheduler.Event_Failure {
	f.t.Helper()
	var found *scheduler.Event_Failure
	f.until("the FAILURE of the executor", func() bool {
		for _, x := range f.failures {
			if x.GetExecutorId().GetValue() == "ex" {
				found = x
			}
		}
		return found != nil
	})
	return found
}

// of is where a status says that its task runs.
func of(s *mesosv1.TaskStatus) string {
	return fmt.Sprint(s.GetContainerStatus().GetContainerId().GetValue(), " ", s.GetContainerStatus().GetExecutorPid())
}

func TestAnExecutorOfAFrameworksOwn(t *testing.T) {
	need(t, true)
	for _, how := range []string{"json", "protobuf", "protobuf socket"} {
		t.Run(how, func(t *testing.T) {
			n := newNode(t, "up", "--http-executor-domain-sockets")
			n.start()
			f := subscribe(t, n.master, checkpointing)
			one, two, quick := inExecutor(t, "one", how), inExecutor(t, "two", how), inExecutor(t, "quick", how)
			f.launch(one)
			f.launch(two, quick)
			if f.end("quick").GetState() != finished {
				t.Errorf("quick ended as %s", f.end("quick"))
			}
			first, second := f.await("one", running), f.await("two", running)
			if of(first) != of(second) || first.GetExecutorId().GetValue() != "ex" || first.GetContainerStatus().GetExecutorPid() == 0 {
				t.Errorf("the statuses are %v and %v", first, second)
			}
			if p := processesOf(t)["the-executor"]; len(p) != 1 {
				t.Errorf("the executor has the processes %v", p)
			}
			eventually(t, "the container's limit to be that of all that were in it", func() error { return limited(n.agent, 128<<20) })

			agent := first.GetAgentId()
			must(t, f.s.Call(t.Context(), &scheduler.Call{Type: scheduler.Call_MESSAGE.Enum(), Message: &scheduler.Call_Message{
				AgentId: agent, ExecutorId: one.GetExecutor().GetExecutorId(), Data: []byte("hello"),
			}}))
			f.until("the message to come back", func() bool { return len(f.messages) == 1 && f.messages[0] == "hello" })
			must(t, f.kill("one"))
			if s := f.end("one"); s.GetState() != killed {
				t.Errorf("one ended as %v", s)
			}
			must(t, f.s.Call(t.Context(), &scheduler.Call{Type: scheduler.Call_SHUTDOWN.Enum(), Shutdown: &scheduler.Call_Shutdown{
				AgentId: agent, ExecutorId: one.GetExecutor().GetExecutorId(),
			}}))
			if s := f.end("two"); s.GetState() != failed || s.GetReason() != mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED {
				t.Errorf("two ended as %v", s)
			}
			if x := f.failure(); x.GetStatus() != 0 || x.GetAgentId().GetValue() != agent.GetValue() {
				t.Errorf("the FAILURE says %v", x)
			}
			f.launch(inExecutor(t, "again", how)) // the same id, another executor
			if of(f.await("again", running)) == of(first) {
				t.Error("an executor that has ended got a task")
			}
		})
	}
}

// limited says whether the one container of an agent may have so many bytes of memory, if the machine limits any.
func limited(agent string, bytes uint64) error {
	w, err := http.Get("http://" + agent + "/containers")
	if err != nil {
		return err
	}
	defer w.Body.Close()
	var all []struct {
		Statistics struct {
			Limit uint64 `json:"mem_limit_bytes"`
		} `json:"statistics"`
	}
	if err := json.NewDecoder(w.Body).Decode(&all); err != nil {
		return err
	}
	if len(all) != 1 || all[0].Statistics.Limit != 0 && all[0].Statistics.Limit != bytes {
		return fmt.Errorf("the containers are %v, want one with %d bytes", all, bytes)
	}
	return nil
}

func TestAnExecutorSurvivesKill9OfItsAgent(t *testing.T) {
	need(t, true)
	for _, how := range []string{"json", "protobuf", "protobuf socket"} {
		t.Run(how, func(t *testing.T) {
			n := newNode(t, "up", "--http-executor-domain-sockets")
			n.start()
			f := subscribe(t, n.master, checkpointing)
			file := fresh()
			ends := inExecutor(t, "ends", how)
			ends.Data = []byte(file)
			f.launch(inExecutor(t, "long", how), ends)
			before := f.await("long", running)

			n.signal(syscall.SIGKILL)
			must(t, os.WriteFile(file, nil, 0o600))
			eventually(t, "the executor to tell an end that nobody hears", func() error { _, err := os.Stat(file + ".seen"); return err })
			n.start()
			if s := f.end("ends"); s.GetState() != finished {
				t.Errorf("ends ended as %v", s)
			}
			f.launch(inExecutor(t, "more", how))
			// The pid is 0 in a status that comes before the agent has heard that its executor was started.
			if a, b := f.await("more", running).GetContainerStatus(), before.GetContainerStatus(); a.GetContainerId().GetValue() != b.GetContainerId().GetValue() ||
				b.GetExecutorPid() != 0 && a.GetExecutorPid() != b.GetExecutorPid() {
				t.Errorf("a task after the restart runs in %v, and one before in %v", a, b)
			}
			must(t, f.kill("long"))
			if s := f.end("long"); s.GetState() != killed {
				t.Errorf("long ended as %v", s)
			}
			must(t, f.accept(inExecutor(t, "die", how)))
			if s := f.end("more"); s.GetState() != failed || s.GetReason() != mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED {
				t.Errorf("more ended as %v", s)
			}
			if x := f.failure(); x.GetStatus() != 3<<8 {
				t.Errorf("the FAILURE says %v", x)
			}
			for id, state := range map[string]mesosv1.TaskState{"ends": finished, "long": killed, "more": failed} {
				f.oneEnd(id, state)
			}
		})
	}
}

func TestAnExecutorThatDoesNotComeBackIsEnded(t *testing.T) {
	need(t, true)
	n := newNode(t, "up", "--executor-reregistration-timeout", "1s")
	n.start()
	f := subscribe(t, n.master, checkpointing)
	f.launch(inExecutor(t, "lonely", "json once"))
	n.signal(syscall.SIGKILL)
	n.start()
	if s := f.end("lonely"); s.GetState() != failed || s.GetReason() != mesosv1.TaskStatus_REASON_EXECUTOR_REREGISTRATION_TIMEOUT {
		t.Errorf("it ended as %v", s)
	}
	if x := f.failure(); x.GetStatus() != int32(syscall.SIGKILL) {
		t.Errorf("the FAILURE says %v", x)
	}
}

func TestExecutorsThatAreNoneAreEnded(t *testing.T) {
	need(t, true)
	n := newNode(t, "up", "--executor-registration-timeout", "1s", "--max-executors-per-agent", "2")
	n.start()
	f := subscribe(t, n.master)
	silent, broken := inExecutor(t, "silent", "json"), inExecutor(t, "broken", "json")
	silent.Executor.Command = &mesosv1.CommandInfo{Value: new("sleep 600")}
	broken.Executor.ExecutorId.Value, broken.Executor.Command = new("other"), &mesosv1.CommandInfo{Shell: new(false), Value: new("/no/such/program")}
	mute := inExecutor(t, "mute", "json")
	mute.Executor.Command = &mesosv1.CommandInfo{Value: new("exit 3")}
	must(t, f.accept(mute))
	if s := f.end("mute"); s.GetState() != failed || s.GetReason() != mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED {
		t.Errorf("mute ended as %v", s)
	}
	if x := f.failure(); x.GetStatus() != 3<<8 {
		t.Errorf("the FAILURE says %v", x)
	}
	must(t, f.accept(silent, broken))
	for id, reason := range map[string]mesosv1.TaskStatus_Reason{
		"silent": mesosv1.TaskStatus_REASON_EXECUTOR_REGISTRATION_TIMEOUT, "broken": mesosv1.TaskStatus_REASON_EXECUTOR_TERMINATED,
	} {
		if s := f.end(id); s.GetState() != failed || s.GetReason() != reason {
			t.Errorf("%s ended as %v", id, s)
		}
	}
}
