//go:build unix

package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var run = Run{Agent: "agent 1", Framework: "f-1", Executor: "an executor with spaces & $signs", Container: "c-1"}

func TestASandboxIsWhereClientsLookForIt(t *testing.T) {
	work := t.TempDir()
	old := syscall.Umask(0o077)
	path, err := Create(work, run, -1, -1)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	if want := work + "/slaves/agent 1/frameworks/f-1/executors/an executor with spaces & $signs/runs/c-1"; path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	for d := filepath.Dir(path); d != work; d = filepath.Dir(d) {
		if st, err := os.Stat(d); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s has mode %v, %v", d, st.Mode(), err)
		}
	}
	if _, err := Create(work, run, -1, -1); err != nil {
		t.Errorf("again: %v", err)
	}
	second := run
	second.Container = "c-2"
	if _, err := Create(work, second, -1, -1); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(second.Latest(work)); err != nil || to != "c-2" {
		t.Errorf("latest is %s, %v", to, err)
	}
	runs, err := Runs(work)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Run{run, second}, runs); d != "" {
		t.Error(d)
	}
}

func TestASandboxBelongsToItsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP-HOST: needs root to give files away")
	}
	path, err := Create(t.TempDir(), run, 4321, 1234)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := st.Sys().(*syscall.Stat_t); s.Uid != 4321 || s.Gid != 1234 {
		t.Errorf("owned by %d:%d", s.Uid, s.Gid)
	}
}

func TestIDsThatAreNoNamesAreRefused(t *testing.T) {
	for _, id := range []string{"", ".", "..", "a/b", `a\b`, "a\nb", "a\x7fb", strings.Repeat("x", 256)} {
		if ValidID("task id", id) == nil {
			t.Errorf("%q is accepted", id)
		}
		r := run
		r.Executor = id
		if _, err := Create(t.TempDir(), r, -1, -1); err == nil {
			t.Errorf("a sandbox for %q is made", id)
		}
	}
	for _, id := range []string{"a", "a b", "ünï", "...", "-", strings.Repeat("x", 255), "a.b:c=d"} {
		if err := ValidID("task id", id); err != nil {
			t.Error(err)
		}
	}
}

func TestRemovingTakesTheEmptyParentsAndTheLinkAlong(t *testing.T) {
	work := t.TempDir()
	outside := filepath.Join(work, "precious")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := run
	second.Container = "c-2"
	for _, r := range []Run{run, second} {
		path, err := Create(work, r, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(path+"/deep/er", 0o500); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, path+"/link"); err != nil {
			t.Fatal(err)
		}
	}
	if err := Remove(work, run); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(second.Latest(work)); err != nil {
		t.Errorf("the other run is gone: %v", err)
	}
	for range 2 { // the second time there is nothing to remove
		if err := Remove(work, second); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(work, "slaves", run.Agent, "frameworks")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
}

func TestTheFullerTheDiskTheSoonerASandboxGoes(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for _, tt := range []struct {
		headroom, used float64
		want           time.Duration
	}{{0.1, 0, week * 9 / 10}, {0, 0, week}, {0.1, 0.4, week / 2}, {0.1, 0.9, 0}, {0.1, 1, 0}} {
		if got := MaxAge(week, tt.headroom, tt.used); (got - tt.want).Abs() > time.Second {
			t.Errorf("headroom %v, used %v: %v, want %v", tt.headroom, tt.used, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e9, 0)
		var all []Ended
		for _, age := range rapid.SliceOf(rapid.Int64Range(0, int64(week))).Draw(t, "ages") {
			all = append(all, Ended{At: now.Add(-time.Duration(age))})
		}
		used := rapid.Float64Range(0, 1).Draw(t, "used")
		less, more := Due(all, now, MaxAge(week, 0.1, used)), Due(all, now, MaxAge(week, 0.1, min(1, used+0.1)))
		if len(less) > len(more) {
			t.Fatalf("a fuller disk keeps more: %d, %d", len(less), len(more))
		}
		if full := Due(all, now, MaxAge(week, 0.1, 1)); len(full) != len(all) {
			t.Fatalf("a full disk keeps %d", len(all)-len(full))
		}
	})
}
