package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

// sharing gives a task of a group a place in its executor's sandbox.
func sharing(x *mesosv1.TaskInfo, theirs, mine string) *mesosv1.TaskInfo {
	if x.Container == nil {
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}
	}
	x.Container.Volumes = append(x.Container.Volumes, &mesosv1.Volume{
		Mode: mesosv1.Volume_RW.Enum(), ContainerPath: &mine,
		Source: &mesosv1.Volume_Source{Type: mesosv1.Volume_Source_SANDBOX_PATH.Enum(), SandboxPath: &mesosv1.Volume_Source_SandboxPath{
			Type: mesosv1.Volume_Source_SandboxPath_PARENT.Enum(), Path: &theirs,
		}},
	})
	return x
}

// goodbye kills tasks and waits for their ends and for the end of what ran.
func (f *framework) goodbye(ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		must(f.t, f.kill(id))
		f.end(id)
	}
	noTaskProcesses(f.t)
}

func TestTasksOfAGroupAndOfLaterGroupsShareAPlaceInTheirExecutorsSandbox(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master, ofUser("nobody"))
	f.launchGroup(
		sharing(task("writes", "echo hello > a/b/word; stat -L -c %U a/b; exec sleep 1000"), "deep/common", "a/b"),
		sharing(task("reads", "until [ -s mine/word ]; do sleep 0.05; done; cat mine/word; echo more >> mine/word; exec sleep 1000"), "deep/common/", "./mine"),
	)
	parent := f.await("writes", running).GetContainerStatus().GetContainerId().GetParent().GetValue()
	word := filepath.Join(n.data(), "agent", "slaves", f.await("writes", running).GetAgentId().GetValue(), "frameworks", f.s.FrameworkID(), "executors/pod/runs", parent, "deep/common/word")
	eventually(t, "both words to be in the executor's sandbox", func() error { return holds(word, "hello\nmore\n") })
	f.launchGroup(sharing(task("later", "cat w/word; exec sleep 1000"), "deep/common", "w"))
	eventually(t, "a later group to read both", func() error { return holds(boxOf(t, n, f, "later")+"/stdout", "hello\nmore\n") })
	if err := holds(boxOf(t, n, f, "writes")+"/stdout", "nobody\n"); err != nil {
		t.Errorf("the place is not its user's: %v", err)
	}

	other := withUser(sharing(task("other", "true"), "deep/common", "w"), "daemon")
	if s := f.refusedGroup(other); s.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED {
		t.Errorf("another user's task: %v", s)
	}
	outside := fresh()
	must(t, os.Mkdir(outside, 0o777))
	must(t, os.Symlink(outside, filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(word))), "trap")))
	for id, place := range map[string]string{"trapped": "trap/in", "at-the-trap": "trap"} {
		if s := f.refusedGroup(sharing(task(id, "true"), place, "w")); s.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED {
			t.Errorf("a place behind a link: %v", s)
		}
	}
	if in, err := os.ReadDir(outside); err != nil || len(in) != 0 {
		t.Errorf("something was made behind a link: %v %v", in, err)
	}
	f.goodbye("writes", "later")
}

// refusedGroup launches a task as a group that cannot run, and gives its end.
func (f *framework) refusedGroup(x *mesosv1.TaskInfo) *mesosv1.TaskStatus {
	f.t.Helper()
	must(f.t, f.acceptGroup(x))
	s := f.await(x.GetTaskId().GetValue(), running)
	if s.GetState() != failed {
		f.t.Errorf("%s became %v", x.GetTaskId().GetValue(), s)
	}
	return s
}

// boxOf is the sandbox of a group's task.
func boxOf(t *testing.T, n *node, f *framework, id string) string {
	t.Helper()
	s := f.await(id, running).GetContainerStatus().GetContainerId()
	found, err := filepath.Glob(filepath.Join(n.data(), "agent/slaves/*/frameworks", f.s.FrameworkID(), "executors/*/runs", s.GetParent().GetValue(), "containers", s.GetValue()))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("the sandbox of %s is %v", id, found)
	}
	return found[0]
}

func TestAVolumeOfAnExecutorIsSharedByItsTasksAndLookedAtByAHealthCheck(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	agent := n.id()
	n.says("reserve", agent, "disk:64", "--role", "test")
	n.says("volume", "create", agent, "p", "--role", "test", "--size", "32", "--path", "deep/data")
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT), ofUser("nobody"), checkpointing)
	x := f.pod()
	x.Resources = append(x.Resources, f.volume("p"))
	well := sharing(task("well", "exec sleep 1000"), "deep/data", "d")
	well.HealthCheck = &mesosv1.HealthCheck{
		Type: mesosv1.HealthCheck_COMMAND.Enum(), Command: &mesosv1.CommandInfo{Value: new("test -e d/sub/ok && ! test -e d/sub/ill")},
		DelaySeconds: new(0.0), IntervalSeconds: new(0.1), GracePeriodSeconds: new(0.0), ConsecutiveFailures: new(uint32(3)),
	}
	must(t, f.acceptGroupOf(x,
		sharing(task("makes", "touch here/ok; exec sleep 1000"), "deep/data/sub", "here"),
		sharing(task("sees", waitFor("v/sub/ok", 0)), "deep/data", "v"), well))
	if s := f.end("sees"); s.GetState() != finished {
		t.Errorf("what one made another did not see: %v", s)
	}
	f.until("health", func() bool {
		for _, s := range f.statuses["well"] {
			if s.GetHealthy() {
				return true
			}
		}
		return false
	})
	data := filepath.Join(n.data(), "agent/volumes/roles/test/p/sub")
	if _, err := os.Stat(data + "/ok"); err != nil {
		t.Error(err)
	}
	must(t, os.WriteFile(data+"/ill", nil, 0o644))
	if s := f.end("well"); s.Healthy == nil || s.GetHealthy() {
		t.Errorf("well ended as %v", s)
	}
	f.end("makes")
	noTaskProcesses(t)
	again := f.pod()
	again.Resources = append(again.Resources, f.volume("p"))
	must(t, f.acceptGroupOf(again, sharing(task("again", "test -e d/sub/ok"), "deep/data", "d")))
	if s := f.end("again"); s.GetState() != finished {
		t.Errorf("another executor with the volume does not find what was kept: %v", s)
	}
}

func TestATaskOfAGroupThatTakesTooLongFailsAndItsGroupIsKilled(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_TASK_KILLING_STATE))
	slow := task("slow", "exec sleep 1000")
	slow.MaxCompletionTime = &mesosv1.DurationInfo{Nanoseconds: proto.Int64(3e8)}
	quick := task("quick", "sleep 0.1")
	quick.MaxCompletionTime = &mesosv1.DurationInfo{Nanoseconds: proto.Int64(60e9)}
	// One that ends well when it is told to end was killed all the same.
	polite := task("polite", "trap 'exit 0' TERM; while :; do sleep 0.02; done")
	f.launchGroup(slow, quick, polite)
	f.launchGroup(task("apart", "trap 'exit 0' TERM; while :; do sleep 0.02; done"))
	if s := f.end("slow"); s.GetReason() != mesosv1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED {
		t.Errorf("slow ended as %v", s)
	}
	for id, want := range map[string][]string{
		"slow":   {"TASK_STARTING", "TASK_RUNNING", "TASK_FAILED"},
		"quick":  {"TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"},
		"polite": {"TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"},
	} {
		f.end(id)
		if diff := cmp.Diff(want, f.states(id)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", id, diff)
		}
	}
	if diff := cmp.Diff([]string{"TASK_STARTING", "TASK_RUNNING"}, f.states("apart")); diff != "" {
		t.Errorf("a task of another group: (-want +got)\n%s", diff)
	}
	f.goodbye("apart")
	if diff := cmp.Diff([]string{"TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"}, f.states("apart")); diff != "" {
		t.Errorf("one that is killed and exits with 0: (-want +got)\n%s", diff)
	}
}
