package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// unifiedMount finds a place for a group of v2, with whatever controllers.
func unifiedMount(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP-HOST: needs root to make cgroups")
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	parse(string(b), func(dir string) []string {
		found = dir
		return nil
	})
	if found == "" {
		t.Skip("SKIP-HOST: no cgroup v2 is mounted")
	}
	return found
}

func TestAGroupOfVersionTwoIsKilledAtOnceAndRemoved(t *testing.T) {
	dir := filepath.Join(unifiedMount(t), "pando-test-"+strconv.Itoa(os.Getpid()))
	plan := Plan{Groups: []Group{{Dir: dir, Writes: []Write{{File: "no.such.file", Value: "1", Optional: true}}}}}
	if err := plan.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Destroy(plan.Dirs(), 5*time.Second) })
	cmd := exec.Command("sh", "-c", "echo 0 > "+dir+"/cgroup.procs; setsid sleep 1000 & sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); len(Procs(dir)) < 3 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if Remove(plan.Dirs()) {
		t.Error("a group with processes is removed")
	}
	Kill(plan.Dirs())
	cmd.Wait()
	if err := Destroy(plan.Dirs(), 5*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error("the group is still there")
	}
}

func TestAPlanThatFailsLeavesNothing(t *testing.T) {
	dir := filepath.Join(unifiedMount(t), "pando-test-"+strconv.Itoa(os.Getpid()))
	plan := Plan{Groups: []Group{{Dir: dir}, {Dir: dir + "-2", Writes: []Write{{File: "no.such.file", Value: "1"}}}}}
	if err := plan.Create(); err == nil || !strings.Contains(err.Error(), "no.such.file") {
		t.Errorf("error %v", err)
	}
	for _, d := range plan.Dirs() {
		if _, err := os.Stat(d); !os.IsNotExist(err) {
			t.Errorf("%s is left", d)
			os.Remove(d)
		}
	}
}

func TestThisMachinesGroupsAreUsableAndCounted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP-HOST: needs root to make cgroups")
	}
	sys, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	p := sys.Prepare("pando-test-"+strconv.Itoa(os.Getpid())+"/x", More()...)
	t.Cleanup(func() {
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	})
	if _, ok := p.places["memory"]; !ok {
		t.Skip("SKIP-HOST: no memory controller: ", p.Lacks)
	}
	plan := p.Plan("c", Limits{CPUs: 500, CPULimit: 1500, Mem: 64000, PIDs: 10})
	if err := plan.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Destroy(plan.Dirs(), 5*time.Second) })
	if names := p.Names(); len(names) != 1 || names[0] != "c" {
		t.Errorf("names %v", names)
	}
	file := filepath.Join(t.TempDir(), "written")
	cmd := exec.Command("sh", "-c", "for d in "+strings.Join(plan.Dirs(), " ")+"; do echo 0 > $d/cgroup.procs; done; dd if=/dev/zero of="+file+" bs=64k count=16 oflag=direct 2>/dev/null; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; read x")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 1))
	s, err := p.Stats("c")
	in.Close()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if s.CPUsUserSecs+s.CPUsSystemSecs <= 0 || s.MemTotal == 0 || s.MemLimit != uint64(Bytes(64000)) || s.MemSoftLimit != s.MemLimit || s.Processes != 1 {
		t.Errorf("%+v", s)
	}
	if s.CPUsLimit != 1.5 || s.CPUsSoftLimit < 0.45 || s.CPUsSoftLimit > 0.55 {
		t.Errorf("cpu limits %v, %v", s.CPUsLimit, s.CPUsSoftLimit)
	}
	if _, ok := p.places["blkio"]; ok && (len(s.IO) == 0 || !s.IO[len(s.IO)-1].All) {
		t.Errorf("what was written is %+v", s.IO)
	}
	if c, ok := p.places["cpuset"]; ok && !c.v2 {
		if got, want := text(c.dir+"/c/cpuset.cpus"), text(strings.TrimSuffix(c.dir, "/"+p.name)+"/cpuset.cpus"); got != want || got == "" {
			t.Errorf("it may use the cpus %q, and the machine has %q", got, want)
		}
	}
	if _, err := p.Stats("nobody"); err == nil {
		t.Error("what is not there has statistics")
	}
}

func TestChangingAGroupRaisesItsMemoryLimitAndNeverLowersIt(t *testing.T) {
	dir := t.TempDir()
	for file, value := range map[string]string{"memory.max": "200", "cpu.weight": "10", "memory.limit_in_bytes": "max"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change := func(most, weight string) {
		t.Helper()
		plan := Plan{Groups: []Group{{Dir: dir, Writes: []Write{
			{File: "cpu.weight", Value: weight}, {File: "memory.max", Value: most}, {File: "memory.limit_in_bytes", Value: most}, {File: "no.such.file", Value: "1", Optional: true},
		}}}}
		if err := plan.Change(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ most, weight, want string }{{"300", "20", "300"}, {"100", "10", "300"}} {
		change(c.most, c.weight)
		for file, want := range map[string]string{"memory.max": c.want, "cpu.weight": c.weight, "memory.limit_in_bytes": "max"} {
			if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
				t.Errorf("%s is %q (%v), want %q", file, got, err, want)
			}
		}
	}
}

func TestACpusetBeginsWithWhatIsAboveItAndKeepsWhatAnOperatorSaid(t *testing.T) {
	top := t.TempDir()
	put := func(path, value string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(top, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, path), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, value := range map[string]string{"": "0-7", "a/": "2-3", "a/b/": "\n"} {
		put(path+"cpuset.cpus", value)
		put(path+"cpuset.mems", strings.Repeat("\n", len(path))+strings.Repeat("0", 1-min(len(path), 1)))
		put(path+"cgroup.clone_children", "0")
	}
	if err := inherit(top, "a/b"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"a/cpuset.cpus": "2-3", "a/b/cpuset.cpus": "2-3", "a/cpuset.mems": "0", "a/b/cpuset.mems": "0", "a/cgroup.clone_children": "1", "a/b/cgroup.clone_children": "1", "cgroup.clone_children": "0",
	} {
		if got := strings.TrimSpace(text(filepath.Join(top, path))); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if err := inherit(top, "no/such"); err == nil {
		t.Error("what is not there was written")
	}
}

func TestAContainerBelowOneWithoutMoreControllersIsWithoutThemToo(t *testing.T) {
	dir := t.TempDir()
	p := &Parent{places: map[string]place{"pids": {dir: "/no/pids"}, "blkio": {dir: dir + "/blkio"}, "cpuset": {dir: dir + "/cpuset"}}}
	if err := os.MkdirAll(dir+"/cpuset/old", 0o700); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Within(p.Plan("old/c", Limits{})).Dirs(), " "); got != "/no/pids/old/c "+dir+"/cpuset/old/c" {
		t.Errorf("its own groups are %s", got)
	}
	shared := p.Within(p.PlanShared("old/c", "old", 0))
	if got := strings.Join(append(shared.Dirs(), shared.Join...), " "); got != "/no/pids/old/c "+dir+"/cpuset/old" {
		t.Errorf("those that it shares are %s", got)
	}
}

func TestAControllerThatIsAskedForAndNotThereIsNamed(t *testing.T) {
	none := parse("", nil)
	for _, c := range []struct{ more, want []string }{{nil, nil}, {[]string{"blkio"}, []string{"blkio"}}, {More(), More()}} {
		var got []string
		for _, l := range none.Prepare("pando-test", c.more...).Lacks[len(none.Lacks):] {
			got = append(got, l.Why[strings.LastIndexByte(l.Why, ' ')+1:])
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") {
			t.Errorf("of %v there lack %v", c.more, got)
		}
	}
}
