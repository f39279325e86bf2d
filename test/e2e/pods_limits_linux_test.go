package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

// needsMemoryLimits skips a test where the machine limits no memory.
func needsMemoryLimits(t *testing.T) {
	t.Helper()
	need(t, true)
	for _, f := range []string{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/cgroup.controllers"} {
		if _, err := os.Stat(f); err == nil {
			return
		}
	}
	t.Skip("needs a memory cgroup")
}

// ending is how a task ended, with the limit that it is said to have passed, in MB.
type ending struct {
	State, Reason string
	Limit         float64
}

func (f *framework) ending(id string) ending {
	f.t.Helper()
	s := f.end(id)
	e := ending{State: s.GetState().String(), Reason: s.GetReason().String()}
	if s.Reason == nil {
		e.Reason = ""
	}
	for _, r := range s.GetLimitation().GetResources() {
		e.Limit += r.GetScalar().GetValue()
	}
	return e
}

// separate gives a task of a group a cgroup of its own.
func separate(x *mesosv1.TaskInfo, limits map[string]float64) *mesosv1.TaskInfo {
	linux(x, &mesosv1.LinuxInfo{ShareCgroups: new(false)})
	x.Limits = map[string]*mesosv1.Value_Scalar{}
	for k, v := range limits {
		x.Limits[k] = &mesosv1.Value_Scalar{Value: &v}
	}
	return x
}

const (
	greed  = "exec tail /dev/zero"
	memory = "CONTAINER_LIMITATION_MEMORY"
)

func TestTasksThatShareTheirExecutorsMemoryReachItsLimitTogether(t *testing.T) {
	needsMemoryLimits(t)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	file := fresh()
	f.launchGroup(task("greedy", fmt.Sprintf("until [ -e %s ]; do sleep 0.05; done; %s", file, greed)), task("brother", "exec sleep 1000"))
	f.launchGroup(task("other", "exec sleep 1000"))
	must(t, os.WriteFile(file, nil, 0o600))
	// The executor and three tasks have 32 MB each.
	want := ending{"TASK_FAILED", "REASON_" + memory, 128}
	for _, id := range []string{"greedy", "brother", "other"} {
		if diff := cmp.Diff(want, f.ending(id)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", id, diff)
		}
		f.oneEnd(id, failed)
	}
	noTaskProcesses(t)
}

func TestATaskWithACgroupOfItsOwnReachesItsOwnLimitAlone(t *testing.T) {
	needsMemoryLimits(t)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	file := fresh()
	f.launchGroup(
		separate(task("greedy", fmt.Sprintf("until [ -e %s ]; do sleep 0.05; done; %s", file, greed)), map[string]float64{"mem": 48}),
		separate(task("brother", "exec sleep 1000"), nil),
	)
	f.launchGroup(separate(task("apart", "exec sleep 1000"), nil))
	f.launchGroup(separate(task("shown", limitsShown), map[string]float64{"mem": 64, "cpus": 0.5}))
	f.end("shown")
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		if err := holds(boxOf(t, n, f, "shown")+"/stdout", fmt.Sprintf("%d\n102\n50000\n", 64<<20)); err != nil {
			t.Errorf("the limits that its cgroup has: %v", err)
		}
	}
	must(t, os.WriteFile(file, nil, 0o600))
	for id, want := range map[string]ending{
		"greedy":  {"TASK_FAILED", "REASON_" + memory, 48},
		"brother": {"TASK_KILLED", "", 0},
	} {
		if diff := cmp.Diff(want, f.ending(id)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", id, diff)
		}
	}
	if diff := cmp.Diff([]string{"TASK_STARTING", "TASK_RUNNING"}, f.states("apart")); diff != "" {
		t.Errorf("a task of another group: (-want +got)\n%s", diff)
	}
	f.goodbye("apart")
}

// limitsShown prints the memory's limit, the cpus' share and the cpus' quota of the cgroup of a shell, on a machine with cgroup v1.
const limitsShown = `at() { sed -n "s/^[0-9]*:\([^:]*,\)*$1\(,[^:]*\)*://p" /proc/self/cgroup; }
cat /sys/fs/cgroup/memory$(at memory)/memory.limit_in_bytes /sys/fs/cgroup/cpu$(at cpu)/cpu.shares /sys/fs/cgroup/cpu$(at cpu)/cpu.cfs_quota_us; exit 0`

func TestTasksOfAGroupAreCheckedByHTTPAndTCP(t *testing.T) {
	need(t, true)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/well" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer page.Close()
	number, err := strconv.ParseUint(portOf(page.Listener.Addr().String()), 10, 32)
	must(t, err)
	port := new(uint32(number))
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	health := func(id string, h *mesosv1.HealthCheck) *mesosv1.TaskInfo {
		x := task(id, "exec sleep 1000")
		h.IntervalSeconds, h.DelaySeconds, h.GracePeriodSeconds, h.ConsecutiveFailures = new(0.05), new(0.0), new(0.0), new(uint32(2))
		x.HealthCheck = h
		return x
	}
	check := func(id string, c *mesosv1.CheckInfo) *mesosv1.TaskInfo {
		x := task(id, "exec sleep 1000")
		c.IntervalSeconds, c.DelaySeconds = new(0.05), new(0.0)
		x.Check = c
		return x
	}
	f.launchGroup(health("h-http", &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_HTTP.Enum(), Http: &mesosv1.HealthCheck_HTTPCheckInfo{Port: port, Path: new("/well")}}))
	f.launchGroup(health("h-tcp", &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_TCP.Enum(), Tcp: &mesosv1.HealthCheck_TCPCheckInfo{Port: port}}), task("brother", "exec sleep 1000"))
	f.launchGroup(
		check("c-http", &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_HTTP.Enum(), Http: &mesosv1.CheckInfo_Http{Port: port, Path: new("/ill")}}),
		check("c-tcp", &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_TCP.Enum(), Tcp: &mesosv1.CheckInfo_Tcp{Port: port}}),
	)
	said := func(id string, is func(*mesosv1.TaskStatus) bool) {
		t.Helper()
		f.until("word of "+id, func() bool { return slices.ContainsFunc(f.statuses[id], is) })
	}
	said("h-http", func(s *mesosv1.TaskStatus) bool { return s.GetHealthy() })
	said("h-tcp", func(s *mesosv1.TaskStatus) bool { return s.GetHealthy() })
	said("c-http", func(s *mesosv1.TaskStatus) bool {
		return s.GetCheckStatus().GetHttp().GetStatusCode() == http.StatusTeapot
	})
	said("c-tcp", func(s *mesosv1.TaskStatus) bool { return s.GetCheckStatus().GetTcp().GetSucceeded() })
	page.Close()
	for _, id := range []string{"h-http", "h-tcp"} {
		if s := f.end(id); s.Healthy == nil || s.GetHealthy() {
			t.Errorf("%s ended as %v", id, s)
		}
	}
	if s := f.end("brother"); s.GetState() != killed {
		t.Errorf("the brother of one that became unhealthy ended as %v", s)
	}
	said("c-tcp", func(s *mesosv1.TaskStatus) bool {
		tcp := s.GetCheckStatus().GetTcp()
		return tcp != nil && tcp.Succeeded != nil && !tcp.GetSucceeded()
	})
	said("c-http", func(s *mesosv1.TaskStatus) bool { // no answer is no status code
		return s.GetCheckStatus().GetHttp() != nil && s.GetCheckStatus().GetHttp().StatusCode == nil
	})
	if s := f.states("c-http"); s[len(s)-1] != "TASK_RUNNING" {
		t.Errorf("a check, which only tells, ended its task: %v", s)
	}
	f.goodbye("c-http") // which takes the other along
	f.end("c-tcp")
}

func TestFilesOfAGroupsTasksAreFetchedAndOneThatIsNotThereFailsTheGroup(t *testing.T) {
	need(t, true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/word" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte("fetched")) // who asked may be gone
	}))
	defer server.Close()
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master, ofUser("nobody"))
	get := func(x *mesosv1.TaskInfo, path string) *mesosv1.TaskInfo {
		return withURIs(x, &mesosv1.CommandInfo_URI{Value: new(server.URL + path), OutputFile: new("sub/file")})
	}
	f.launchGroup(get(task("one", "cat sub/file; stat -c %U sub/file; exec sleep 1000"), "/word"), task("two", "ls; exec sleep 1000"))
	eventually(t, "the file to be read", func() error { return holds(boxOf(t, n, f, "one")+"/stdout", "fetchednobody\n") })
	if b, err := os.ReadFile(boxOf(t, n, f, "two") + "/stdout"); err != nil || strings.Contains(string(b), "sub") {
		t.Errorf("a file is in another task's sandbox: %q %v", b, err)
	}
	must(t, f.acceptGroup(get(task("lacks", "exec sleep 1000"), "/none"), task("brother", "exec sleep 1000")))
	if s := f.end("lacks"); s.GetState() != failed || s.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(s.GetMessage(), "fetched") || !strings.Contains(s.GetMessage(), "404") {
		t.Errorf("lacks ended as %v", s)
	}
	if s := f.end("brother"); s.GetState() != killed {
		t.Errorf("brother ended as %v", s)
	}
	if s := f.states("one"); s[len(s)-1] != "TASK_RUNNING" {
		t.Errorf("a task of another group became %v", s)
	}
	f.goodbye("one")
	f.end("two")
}

func TestTasksOfAGroupHaveTheKernelsLimitsThatEachAsksFor(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	files := func(id string, soft, hard uint64) *mesosv1.TaskInfo {
		x := task(id, "ulimit -Sn; ulimit -Hn")
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), RlimitInfo: &mesosv1.RLimitInfo{
			Rlimits: []*mesosv1.RLimitInfo_RLimit{{Type: mesosv1.RLimitInfo_RLimit_RLMT_NOFILE.Enum(), Soft: &soft, Hard: &hard}},
		}}
		return x
	}
	f.launchGroup(files("some", 100, 200), files("more", 300, 400))
	for id, want := range map[string]string{"some": "100\n200\n", "more": "300\n400\n"} {
		f.end(id)
		if err := holds(boxOf(t, n, f, id)+"/stdout", want); err != nil {
			t.Error(err)
		}
	}
}
