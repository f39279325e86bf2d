package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
)

// usage is whose a container is, what it may use, and what it uses.
type usage struct {
	Framework, Executor string
	PID                 uint32
	CPUs, Share         float64 // the hard limit, and what is its own when others want some too
	Memory              uint64  // the limit
	Spent               float64 // seconds of all cpus
	Held                uint64  // bytes of memory that are no files
}

// usages are by the ids of containers, with that of their parents before a dot.
type usages map[string]usage

func pathOf(id *mesosv1.ContainerID) string {
	if id.GetParent() == nil {
		return id.GetValue()
	}
	return pathOf(id.GetParent()) + "." + id.GetValue()
}

// byOperator is what the operator's API tells.
func (s *scope) byOperator(json bool) usages {
	s.t.Helper()
	r, err := containers(s.t, s.agent, json, nil).Call(s.t.Context(), &agent.Call{
		Type: agent.Call_GET_CONTAINERS.Enum(), GetContainers: &agent.Call_GetContainers{ShowNested: new(true)},
	})
	must(s.t, err)
	out := usages{}
	for _, c := range r.GetGetContainers().GetContainers() {
		u := c.GetResourceStatistics()
		out[pathOf(c.GetContainerId())] = usage{
			c.GetFrameworkId().GetValue(), c.GetExecutorId().GetValue(), c.GetContainerStatus().GetExecutorPid(),
			u.GetCpusLimit(), u.GetCpusSoftLimit(), u.GetMemLimitBytes(), u.GetCpusUserTimeSecs() + u.GetCpusSystemTimeSecs(), u.GetMemAnonBytes(),
		}
	}
	return out
}

// byPath is what an older endpoint tells. One that names no containers has them by their executors.
func (s *scope) byPath(path string) usages {
	s.t.Helper()
	var all []struct {
		Framework string `json:"framework_id"`
		Executor  string `json:"executor_id"`
		Status    struct {
			ID  *id    `json:"container_id"`
			PID uint32 `json:"executor_pid"`
		} `json:"status"`
		Statistics struct {
			CPUs   float64 `json:"cpus_limit"`
			Share  float64 `json:"cpus_soft_limit"`
			Memory uint64  `json:"mem_limit_bytes"`
			User   float64 `json:"cpus_user_time_secs"`
			System float64 `json:"cpus_system_time_secs"`
			Held   uint64  `json:"mem_anon_bytes"`
		} `json:"statistics"`
	}
	got := ask(s.t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, http.MethodGet, "http://"+s.agent+path, "")
	if err := json.Unmarshal([]byte(got.body), &all); err != nil {
		s.t.Fatalf("%s: %d %s: %v", path, got.status, got.body, err)
	}
	out := usages{}
	for _, c := range all {
		u, name := c.Statistics, c.Executor
		if c.Status.ID != nil {
			name = c.Status.ID.String()
		}
		out[name] = usage{c.Framework, c.Executor, c.Status.PID, u.CPUs, u.Share, u.Memory, u.User + u.System, u.Held}
	}
	return out
}

// id is a container's id in JSON.
type id struct {
	Value  string
	Parent *id
}

func (i *id) String() string {
	if i.Parent == nil {
		return i.Value
	}
	return i.Parent.String() + "." + i.Value
}

func TestWhatAContainerUsesIsToldByAnAgentThatDidNotStartItToo(t *testing.T) {
	needsMemoryLimits(t)
	// Each holds memory of its own, so that none can be told for another, and waits without a second process.
	ready := fresh()
	must(t, os.Mkdir(ready, 0o700))
	holder := func(id string, mb int) *mesosv1.TaskInfo {
		return task(id, fmt.Sprintf(`x=$(head -c %d000000 /dev/zero | tr '\0' x); mkfifo w; touch %s/%s; read y <w`, mb, ready, id))
	}
	limited := func(x *mesosv1.TaskInfo, cpus, mem float64) *mesosv1.TaskInfo {
		x.Limits = map[string]*mesosv1.Value_Scalar{"cpus": {Value: &cpus}, "mem": {Value: &mem}}
		return x
	}
	s := newScope(t, true, limited(holder("top", 4), 0.5, 64))
	s.f.launch(holder("big", 12))
	s.f.launchGroup(holder("within", 8))
	alone := s.f.pod() // all tasks of an executor share its cgroup, or none does
	alone.ExecutorId.Value = new("alone")
	must(t, s.f.acceptGroupOf(alone, separate(holder("apart", 16), map[string]float64{"cpus": 0.7, "mem": 48})))
	names := []string{"apart", "big", "top", "within"}
	ids := map[string]string{} // by the tasks' and the executor's names
	for _, name := range names {
		eventually(t, name+" to hold its memory", func() error {
			_, err := os.Stat(ready + "/" + name)
			return err
		})
		ids[name] = pathOf(s.f.await(name, running).GetContainerStatus().GetContainerId())
	}
	ids["alone"], _, _ = strings.Cut(ids["apart"], ".")
	ids["pod"], _, _ = strings.Cut(ids["within"], ".")
	const path = "/containers?show_nested=true"
	before, executors := s.byPath(path), s.byPath("/monitor/statistics")

	subscriptions := s.f.subscriptions()
	s.signal(syscall.SIGKILL)
	s.back()
	s.f.resubscribed(subscriptions)
	same := cmpopts.IgnoreFields(usage{}, "Spent", "Held")
	for what, got := range map[string]usages{"JSON": s.byOperator(true), "protobuf": s.byOperator(false), path: s.byPath(path)} {
		if diff := cmp.Diff(before, got, same); diff != "" {
			t.Errorf("by %s: (-before the restart +after)\n%s", what, diff)
		}
		f := s.f.s.FrameworkID()
		// An executor, and a command task as its own, has 0.1 cpus and 32 MB besides.
		for name, want := range map[string]usage{
			"top":    {f, "top", 0, 0.6, 0.2, 96 << 20, before[ids["top"]].Spent, 4e6},
			"big":    {f, "big", 0, 0, 0.2, 64 << 20, before[ids["big"]].Spent, 12e6},
			"pod":    {f, "pod", 0, 0, 0.2, 64 << 20, before[ids["pod"]].Spent, 8e6},
			"within": {f, "pod", 0, 0, 0.2, 64 << 20, before[ids["within"]].Spent, 8e6}, // its executor's, which it shares
			"alone":  {f, "alone", 0, 0.8, 0.2, 80 << 20, before[ids["alone"]].Spent, 16e6},
			"apart":  {f, "alone", 0, 0.7, 0.1, 48 << 20, before[ids["apart"]].Spent, 16e6},
		} {
			u := got[ids[name]]
			if u.Share = float64(int(u.Share*10+0.5)) / 10; u.Spent >= want.Spent {
				u.Spent = want.Spent
			}
			if u.Held >= want.Held && u.Held < want.Held+3e6 {
				u.Held = want.Held
			}
			if diff := cmp.Diff(want, u, cmpopts.IgnoreFields(usage{}, "PID")); diff != "" {
				t.Errorf("%s by %s: (-want +got)\n%s", name, what, diff)
			}
		}
	}
	if diff := cmp.Diff(executors, s.byPath("/monitor/statistics"), same); diff != "" {
		t.Errorf("of executors: (-before the restart +after)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"alone", "big", "pod", "top"}, slices.Sorted(maps.Keys(executors))); diff != "" {
		t.Errorf("the executors: (-want +got)\n%s", diff)
	}
	s.f.goodbye(names...)
}

// counted says of which containers it is told what they read and wrote, by the ids of containers.
func (s *scope) counted(json bool) map[string]bool {
	s.t.Helper()
	r, err := containers(s.t, s.agent, json, nil).Call(s.t.Context(), &agent.Call{
		Type: agent.Call_GET_CONTAINERS.Enum(), GetContainers: &agent.Call_GetContainers{ShowNested: new(true)},
	})
	must(s.t, err)
	out := map[string]bool{}
	for _, c := range r.GetGetContainers().GetContainers() {
		all := c.GetResourceStatistics().GetBlkioStatistics().GetThrottling()
		counts := false
		for _, d := range all { // without a device it is all of them
			counts = counts || d.GetDevice() == nil && d.GetIoServiced()[0].GetOp() == mesosv1.CgroupInfo_Blkio_TOTAL && len(d.GetIoServiceBytes()) == 1
		}
		out[pathOf(c.GetContainerId())] = counts
	}
	return out
}

func TestExtraControllersAreOfContainersThatBeginWithThem(t *testing.T) {
	needsMemoryLimits(t)
	const waits = "cat /proc/self/cgroup; exec sleep 1000"
	s := newScope(t, true, task("old", waits))
	pathTo := func(id string) string { return pathOf(s.f.await(id, running).GetContainerStatus().GetContainerId()) }
	s.f.launchGroup(separate(task("before", waits), nil))
	s.signal(syscall.SIGKILL)
	s.args = append(s.args, "--extra-controllers", "cpuset,blkio")
	s.back()
	s.f.launch(task("new", waits))
	must(t, s.f.acceptGroup(separate(task("after", waits), nil))) // of an executor that is without them
	top := pathTo("after")
	top, _, _ = strings.Cut(top, ".")
	own, err := os.ReadFile(sandboxOf(t, s.node, s.f, "new") + "/stdout")
	must(t, err)
	v1 := !strings.HasPrefix(string(own), "0::")
	for _, name := range []string{"blkio", "cpuset"} {
		if v1 && !strings.Contains(string(own), ":"+name+":/pando/") {
			t.Errorf("a container is not in a group of %s of its own:\n%s", name, own)
		}
	}
	want := map[string]bool{pathTo("old"): !v1, pathTo("new"): true, top: !v1, pathTo("before"): !v1, pathTo("after"): !v1}
	for _, json := range []bool{true, false} {
		if diff := cmp.Diff(want, s.counted(json)); diff != "" && v1 {
			t.Errorf("of whom it is counted what they read and write, in JSON %v (-want +got)\n%s", json, diff)
		}
		if !s.counted(json)[pathTo("new")] {
			t.Error("it is not counted what a new container reads and writes")
		}
	}
	for _, path := range []string{"/containers", "/monitor/statistics"} {
		got := ask(t, http.DefaultClient, http.MethodGet, "http://"+s.agent+path, "")
		if n := strings.Count(got.body, `"blkio_statistics":{"throttling":[`); n != 1 && v1 || n == 0 {
			t.Errorf("%s tells it %d times:\n%s", path, n, got.body)
		}
	}
	if code, said := outcome(t, newNode(t, "up", "--extra-controllers", "blkio,perf").command()); code == 0 || !strings.Contains(said, `--extra-controllers: "perf" is none of blkio, cpuset`) {
		t.Errorf("an unknown controller: %d %q", code, said)
	}
	s.f.goodbye("old", "new", "before", "after")
}
