package agent

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sandbox"
)

// oldSandbox makes a sandbox that was written to last so long ago.
func oldSandbox(t *testing.T, a *Agent, r sandbox.Run, now time.Time, age time.Duration) string {
	t.Helper()
	dir := must(sandbox.Create(a.cfg.WorkDir, r, -1, -1))
	out := filepath.Join(dir, "stdout")
	if err := os.WriteFile(out, []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{out, dir} {
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSandboxesOfEndedTasksAreCollectedByAge(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := newTestAgent(t, clock.NewFake(now))
	a.cfg.GCDelay, a.cfg.GCHeadroom = time.Hour, -1 // whatever the disk of this machine: an hour or more
	a.view.Store(&workload.View{Recovered: true, Agent: "S0", Tasks: []*workload.TaskView{
		testTask("F", "runs", "runs", mesosv1.TaskState_TASK_RUNNING), testTask("F", "unacknowledged", "owed", mesosv1.TaskState_TASK_FINISHED),
	}})
	run := func(executor, container string) sandbox.Run {
		return sandbox.Run{Agent: "S0", Framework: "F", Executor: executor, Container: container}
	}
	dirs := map[string]string{
		"old":    oldSandbox(t, a, run("x", "old"), now, 10*time.Hour),
		"latest": oldSandbox(t, a, run("x", "latest-run"), now, 10*time.Minute),
		"runs":   oldSandbox(t, a, run("runs", "runs"), now, 10*time.Hour),
		"owed":   oldSandbox(t, a, run("unacknowledged", "owed"), now, 10*time.Hour),
		"former": oldSandbox(t, a, sandbox.Run{Agent: "S9", Framework: "G", Executor: "y", Container: "c"}, now, 10*time.Hour),
	}
	a.attachAll()
	read := func(path string) int {
		status, _ := get(t, a, "/files/read?offset=0&path="+url.QueryEscape(path))
		return status
	}
	for name, dir := range dirs {
		if got := read(dir + "/stdout"); got != http.StatusOK {
			t.Errorf("%s of an earlier run is not shown: %d", name, got)
		}
	}
	a.collectOnce(t.Context())
	for name, want := range map[string]bool{"old": false, "latest": true, "runs": true, "owed": true, "former": false} {
		_, err := os.Stat(dirs[name])
		if (err == nil) != want {
			t.Errorf("%s: kept %v, want %v", name, err == nil, want)
		}
		if got := read(dirs[name]+"/stdout") == http.StatusOK; got != want {
			t.Errorf("%s: shown %v, want %v", name, got, want)
		}
	}
	if got := read(run("x", "").Virtual() + "/stdout"); got != http.StatusOK {
		t.Errorf("the latest run went with an older one: %d", got)
	}
	if _, err := os.Stat(filepath.Join(a.cfg.WorkDir, "slaves", "S9", "frameworks", "G")); err == nil {
		t.Error("the directories above a collected sandbox are left")
	}
}

func TestAFullDiskTakesNoSandboxThatIsNew(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := newTestAgent(t, clock.NewFake(now))
	a.cfg.GCHeadroom = 1 // all of the disk is to be free
	fresh := oldSandbox(t, a, sandbox.Run{Agent: "S0", Framework: "F", Executor: "x", Container: "new"}, now, time.Second)
	old := oldSandbox(t, a, sandbox.Run{Agent: "S0", Framework: "F", Executor: "y", Container: "old"}, now, 2*time.Minute)
	a.collectOnce(t.Context())
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a sandbox of a second ago: %v", err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("an old one was kept on a full disk")
	}
	if a.maxAge.Load() != 0 {
		t.Errorf("the age shown is %v, want none", time.Duration(a.maxAge.Load()))
	}
}

func TestWhatStoodAloneIsCollectedWhenNobodyRemembersIt(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := newTestAgent(t, clock.NewFake(now))
	a.view.Store(&workload.View{Recovered: true, Nested: []*workload.NestedView{{Spec: &workload.Nested{Path: "known"}}}})
	for name, age := range map[string]time.Duration{"known": 30 * 24 * time.Hour, "old": 30 * 24 * time.Hour, "new": time.Hour} {
		path := filepath.Join(a.cfg.WorkDir, sandbox.Containers, name)
		_, root, err := sandbox.CreateNested(path, 0, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		root.Close()
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	a.cfg.GCDelay, a.cfg.GCHeadroom = 7*24*time.Hour, 0
	a.collectOnce(t.Context())
	for name, want := range map[string]bool{"known": true, "old": false, "new": true} {
		if _, err := os.Stat(filepath.Join(a.cfg.WorkDir, sandbox.Containers, name)); (err == nil) != want {
			t.Errorf("%s: kept %v, want %v", name, err == nil, want)
		}
	}
}
