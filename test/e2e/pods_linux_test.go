package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

// launchGroup launches a group of the default executor and waits until all of it runs.
func (f *framework) launchGroup(tasks ...*mesosv1.TaskInfo) {
	f.t.Helper()
	must(f.t, f.acceptGroup(tasks...))
	for _, x := range tasks {
		if s := f.await(x.GetTaskId().GetValue(), running); s.GetState() != running {
			f.t.Fatalf("%s: %v", x.GetTaskId().GetValue(), s)
		}
	}
}

// states are what was heard of a task, once each.
func (f *framework) states(id string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, s := range f.statuses[id] {
		if w := s.GetState().String(); len(out) == 0 || out[len(out)-1] != w {
			out = append(out, w)
		}
	}
	return out
}

// noTaskProcesses waits until nothing of any task runs.
func noTaskProcesses(t *testing.T) {
	t.Helper()
	eventually(t, "no process to be left", func() error {
		if p := processesOf(t); len(p) != 0 {
			return fmt.Errorf("there are %v", p)
		}
		return nil
	})
}

func TestOneOfAPodFailsAndTheOthersOfItsGroupAreKilledAndNoMore(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	file := fresh()
	f.launchGroup(task("fails", "echo in > mine; pwd; "+waitFor(file, 3)), task("brother", "pwd; sleep 1000"))
	f.launchGroup(task("well", "true & wait; "+waitFor(file, 0)), task("stays", "sleep 1000"))

	one, two, other := f.await("fails", running), f.await("brother", running), f.await("stays", running)
	parent := one.GetContainerStatus().GetContainerId().GetParent().GetValue()
	for _, s := range []*mesosv1.TaskStatus{one, two, other} {
		if s.GetContainerStatus().GetContainerId().GetParent().GetValue() != parent || parent == "" || s.GetExecutorId().GetValue() != "pod" {
			t.Errorf("%s runs in %v of %v, want a container below %s of pod", s.GetTaskId().GetValue(), s.GetContainerStatus(), s.GetExecutorId(), parent)
		}
	}
	boxes, err := filepath.Glob(filepath.Join(n.data(), "agent", "slaves", "*", "frameworks", "*", "executors", "pod", "runs", parent, "containers", "*", "mine"))
	must(t, err)
	if len(boxes) != 1 || !strings.HasSuffix(filepath.Dir(boxes[0]), one.GetContainerStatus().GetContainerId().GetValue()) {
		t.Errorf("the file of the first is not in the sandbox of its own below its executor's: %v", boxes)
	}

	must(t, os.WriteFile(file, nil, 0o600))
	for id, want := range map[string][]string{
		"fails":   {"TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"},
		"brother": {"TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"},
		"well":    {"TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"},
	} {
		f.end(id)
		if diff := cmp.Diff(want, f.states(id)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", id, diff)
		}
	}
	f.launchGroup(task("later", "sleep 1000")) // the executor lives on with the group that is left
	if s := f.await("later", running); s.GetContainerStatus().GetContainerId().GetParent().GetValue() != parent {
		t.Errorf("a later group runs in %v, want it below %s", s.GetContainerStatus(), parent)
	}
	if got := f.states("stays"); got[len(got)-1] != "TASK_RUNNING" {
		t.Errorf("a task of another group became %v", got)
	}
	must(t, f.kill("stays"))
	must(t, f.kill("later"))
	f.end("stays")
	f.end("later")
	noTaskProcesses(t)
}

func TestAPodSurvivesKill9OfItsAgentWithItsHealthChecks(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master, checkpointing)
	ends, ill := fresh(), fresh()
	sick := task("sick", "sleep 1000")
	sick.HealthCheck = &mesosv1.HealthCheck{
		Type: mesosv1.HealthCheck_COMMAND.Enum(), Command: &mesosv1.CommandInfo{Value: new("test ! -e " + ill)},
		DelaySeconds: new(0.0), IntervalSeconds: new(0.1), GracePeriodSeconds: new(0.0), ConsecutiveFailures: new(uint32(2)),
	}
	probed := task("probed", "sleep 1000")
	probed.Check = &mesosv1.CheckInfo{
		Type: mesosv1.CheckInfo_COMMAND.Enum(), Command: &mesosv1.CheckInfo_Command{Command: &mesosv1.CommandInfo{Value: new("test -e " + ill + " && exit 7; exit 6")}},
		DelaySeconds: new(0.0), IntervalSeconds: new(0.1),
	}
	f.launchGroup(task("ends", waitFor(ends, 0)), sick, probed)
	code := func(c int32) func() bool {
		return func() bool {
			for _, s := range f.statuses["probed"] {
				if x := s.GetCheckStatus().GetCommand(); x != nil && x.ExitCode != nil && x.GetExitCode() == c {
					return true
				}
			}
			return false
		}
	}
	f.until("the check's first answer", code(6))
	f.until("health", func() bool {
		for _, s := range f.statuses["sick"] {
			if s.GetHealthy() {
				return true
			}
		}
		return false
	})
	before := processesOf(t)

	n.signal(syscall.SIGKILL)
	must(t, os.WriteFile(ends, nil, 0o600))
	n.start()
	if s := f.end("ends"); s.GetState() != finished {
		t.Errorf("ends ended as %v", s)
	}
	after := processesOf(t)
	for _, id := range []string{"sick", "probed"} {
		if len(before[id]) == 0 || !contains(after[id], first(before[id])) {
			t.Errorf("%s had the processes %v and has %v", id, before[id], after[id])
		}
	}
	must(t, os.WriteFile(ill, nil, 0o600))
	if s := f.end("sick"); s.GetState() != killed && s.GetState() != failed || s.Healthy == nil || s.GetHealthy() {
		t.Errorf("sick ended as %v", s)
	}
	if s := f.end("probed"); s.GetState() != killed {
		t.Errorf("probed ended as %v, want it killed with its group", s)
	}
	noTaskProcesses(t)
}

func TestAPodIsRunFromAFile(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	file := fresh() + ".yaml"
	must(t, os.WriteFile(file, []byte("name: both\ntasks:\n- {name: a, command: 'echo hello; sleep 1; exit 3', env: {"+mark+": a}}\n- {name: long, command: 'echo $X; sleep 1000', env: {X: there, "+mark+": long}}\n"), 0o600))
	code, out := outcome(t, n.pando("run", "--pod", file))
	if code != 3 || !strings.Contains(out, "[   a] hello\n") || !strings.Contains(out, "[long] there\n") || !strings.Contains(out, "task a on ") {
		t.Errorf("code %d, want 3; %s", code, out)
	}
	noTaskProcesses(t)
}
