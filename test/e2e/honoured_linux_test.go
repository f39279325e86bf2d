package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
)

// packed makes a tar.gz of one file.
func packed(t *testing.T, name, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}))
	_, err := w.Write([]byte(content))
	must(t, err)
	must(t, w.Close())
	must(t, z.Close())
	return b.Bytes()
}

// linux gives a task's container LinuxInfo.
func linux(t *mesosv1.TaskInfo, l *mesosv1.LinuxInfo) *mesosv1.TaskInfo {
	if t.Container == nil {
		t.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}
	}
	t.Container.LinuxInfo = l
	return t
}

func TestATaskGetsWhatItAsksFor(t *testing.T) {
	need(t, true)
	archive := packed(t, "inside", "from the archive")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/archive.tar.gz":
			_, _ = w.Write(archive) // who is gone needs nothing
		case "/script":
			_, _ = w.Write([]byte("#!/bin/sh\necho I ran\n"))
		default:
			_, _ = w.Write([]byte("plain"))
		}
	}))
	defer server.Close()
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)

	exec := func(x *mesosv1.TaskInfo, path string, args ...string) *mesosv1.TaskInfo {
		x.Command.Shell, x.Command.Value, x.Command.Arguments = new(false), &path, args
		return x
	}
	caps := func(c ...mesosv1.CapabilityInfo_Capability) *mesosv1.CapabilityInfo {
		return &mesosv1.CapabilityInfo{Capabilities: c}
	}
	limited := func(x *mesosv1.TaskInfo, limits map[string]float64) *mesosv1.TaskInfo {
		x.Limits = map[string]*mesosv1.Value_Scalar{}
		for k, v := range limits {
			x.Limits[k] = &mesosv1.Value_Scalar{Value: &v}
		}
		return x
	}
	rlimits := func(x *mesosv1.TaskInfo, ls ...*mesosv1.RLimitInfo_RLimit) *mesosv1.TaskInfo {
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), RlimitInfo: &mesosv1.RLimitInfo{Rlimits: ls}}
		return x
	}
	nofile := mesosv1.RLimitInfo_RLimit_RLMT_NOFILE.Enum()
	core := mesosv1.RLimitInfo_RLimit_RLMT_CORE.Enum()
	// Where the memory cgroup of v1 is, and the cpu's.
	const v1 = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
	_, err := os.Stat(v1)
	onlyV1 := err == nil
	own := func(file string) string {
		controller, _, _ := strings.Cut(file, ".")
		return fmt.Sprintf("cat /sys/fs/cgroup/%s$(sed -n 's/^[0-9]*:%s://p' /proc/self/cgroup)/%s", controller, controller, file)
	}

	for name, c := range map[string]struct {
		task *mesosv1.TaskInfo
		out  string // of the task
		v1   bool
	}{
		"a variable":                      {task("g1", `echo "$`+mark+` $MESOS_TASK_ID"`), "g1 \n", false},
		"its user":                        {withUser(task("g2", "id -un; id -Gn; stat -c %U ."), "nobody"), "nobody\nnogroup\nnobody\n", false},
		"a shell":                         {task("g3", "echo a  b | tr a-z A-Z"), "A B\n", false},
		"arguments and no shell":          {exec(task("g4", ""), "/bin/echo", "echo", "a  b", "$HOME", "|"), "a  b $HOME |\n", false},
		"no arguments":                    {exec(task("g5", ""), "/bin/echo"), "\n", false},
		"a program along PATH":            {exec(task("g6", ""), "echo", "echo", "found"), "found\n", false},
		"a file":                          {withURIs(task("g7", "cat file"), &mesosv1.CommandInfo_URI{Value: new(server.URL + "/file")}), "plain", false},
		"a file by another name":          {withURIs(task("g8", "cat sub/name"), &mesosv1.CommandInfo_URI{Value: new(server.URL + "/file"), OutputFile: new("sub/name")}), "plain", false},
		"a program":                       {withURIs(task("g9", "./script"), &mesosv1.CommandInfo_URI{Value: new(server.URL + "/script"), Executable: new(true)}), "I ran\n", false},
		"an archive":                      {withURIs(task("g10", "cat inside"), &mesosv1.CommandInfo_URI{Value: new(server.URL + "/archive.tar.gz")}), "from the archive", false},
		"an archive that stays one":       {withURIs(task("g11", "test -e inside; echo $?; wc -c <archive.tar.gz"), &mesosv1.CommandInfo_URI{Value: new(server.URL + "/archive.tar.gz"), Extract: new(false)}), "1\n" + strconv.Itoa(len(archive)) + "\n", false},
		"limits of the kernel":            {rlimits(task("g12", "ulimit -Sn; ulimit -Hn; ulimit -Sc"), &mesosv1.RLimitInfo_RLimit{Type: nofile, Soft: proto.Uint64(100), Hard: proto.Uint64(200)}, &mesosv1.RLimitInfo_RLimit{Type: core}), "100\n200\nunlimited\n", false},
		"capabilities it has":             {linux(task("g13", "grep CapEff /proc/self/status"), &mesosv1.LinuxInfo{EffectiveCapabilities: caps(mesosv1.CapabilityInfo_CHOWN)}), "CapEff:\t0000000000000001\n", false},
		"capabilities, as once written":   {linux(task("g14", "grep CapEff /proc/self/status"), &mesosv1.LinuxInfo{CapabilityInfo: caps(mesosv1.CapabilityInfo_KILL)}), "CapEff:\t0000000000000020\n", false},
		"capabilities it may get":         {linux(task("g15", "grep -E 'CapEff|CapBnd' /proc/self/status"), &mesosv1.LinuxInfo{BoundingCapabilities: caps(mesosv1.CapabilityInfo_CHOWN, mesosv1.CapabilityInfo_KILL), EffectiveCapabilities: caps(mesosv1.CapabilityInfo_KILL)}), "CapEff:\t0000000000000020\nCapBnd:\t0000000000000021\n", false},
		"its share of memory":             {task("g16", own("memory.limit_in_bytes")), fmt.Sprintln(64 << 20), true}, // 32 and the 32 that the original adds
		"a limit of memory":               {limited(task("g17", own("memory.limit_in_bytes")), map[string]float64{"mem": 128}), fmt.Sprintln(160 << 20), true},
		"no limit of memory":              {limited(task("g18", own("memory.limit_in_bytes")+" | awk '{print ($1 > 2^60)}'"), map[string]float64{"mem": math.Inf(1)}), "1\n", true},
		"its share of cpus":               {task("g19", own("cpu.shares")), "204\n", true}, // 0.1 and 0.1 more, of 1024
		"no hard limit of cpus by itself": {task("g20", own("cpu.cfs_quota_us")), "-1\n", true},
		"a hard limit of cpus":            {limited(task("g21", own("cpu.cfs_quota_us")), map[string]float64{"cpus": 0.9}), "100000\n", true},
		"no limit of cpus":                {limited(task("g22", own("cpu.cfs_quota_us")), map[string]float64{"cpus": math.Inf(1)}), "-1\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.v1 && !onlyV1 {
				t.Skip("reads the files of cgroup v1")
			}
			id := c.task.GetTaskId().GetValue()
			must(t, f.accept(c.task))
			s := f.end(id)
			out, err := os.ReadFile(sandboxOf(t, n, f, id) + "/stdout")
			if s.GetState() != finished || string(out) != c.out {
				stderr, _ := os.ReadFile(sandboxOf(t, n, f, id) + "/stderr") // it is for showing
				t.Errorf("%s (%s: %s): %q, want %q (%v; %s)", s.GetState(), s.GetReason(), s.GetMessage(), out, c.out, err, stderr)
			}
		})
	}
	t.Run("time to end when it is killed", func(t *testing.T) {
		const patient = "trap 'echo ending; sleep 0.3; echo ended; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
		f.launch(task("k1", patient))
		sandbox := sandboxOf(t, n, f, "k1")
		eventually(t, "the trap", func() error { return holds(sandbox+"/stdout", "ready") })
		must(t, f.kill("k1"))
		if s := f.end("k1"); s.GetState() != killed {
			t.Errorf("%s: %s", s.GetState(), s.GetMessage())
		}
		if err := holds(sandbox+"/stdout", "ended"); err != nil {
			t.Error(err)
		}
	})
	t.Run("no more time than it asks for", func(t *testing.T) {
		x := task("k2", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
		x.KillPolicy.GracePeriod.Nanoseconds = proto.Int64(int64(100 * time.Millisecond))
		f.launch(x)
		eventually(t, "the trap", func() error { return holds(sandboxOf(t, n, f, "k2")+"/stdout", "ready") })
		must(t, f.kill("k2"))
		f.end("k2")
		f.oneEnd("k2", killed)
	})
	t.Run("an end after the time it may take", func(t *testing.T) {
		x := task("k3", "exec sleep 600")
		x.MaxCompletionTime = &mesosv1.DurationInfo{Nanoseconds: proto.Int64(int64(200 * time.Millisecond))}
		f.launch(x)
		if s := f.end("k3"); s.GetState() != failed || s.GetReason() != mesosv1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED {
			t.Errorf("%s %s: %s", s.GetState(), s.GetReason(), s.GetMessage())
		}
	})
}

func holds(file, words string) error {
	b, err := os.ReadFile(file)
	if err == nil && !strings.Contains(string(b), words) {
		err = fmt.Errorf("%s holds %q", file, b)
	}
	return err
}

// sandboxOf is where a task's files are.
func sandboxOf(t *testing.T, n *node, f *framework, id string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(n.data(), "agent/slaves/*/frameworks", f.s.FrameworkID(), "executors", id, "runs/latest"))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("the sandbox of %s is %v", id, found)
	}
	return found[0]
}

func TestChecksOfEveryKindAreMade(t *testing.T) {
	need(t, true)
	var ill bool
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/well" || ill {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer page.Close()
	port, err := strconv.ParseUint(portOf(page.Listener.Addr().String()), 10, 32)
	must(t, err)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	health := func(id string, h *mesosv1.HealthCheck) *mesosv1.TaskInfo {
		x := task(id, "exec sleep 600")
		h.IntervalSeconds, h.DelaySeconds, h.GracePeriodSeconds, h.ConsecutiveFailures = new(0.05), proto.Float64(0), proto.Float64(0), proto.Uint32(2)
		x.HealthCheck = h
		return x
	}
	command := func(shell string) *mesosv1.CommandInfo { return &mesosv1.CommandInfo{Value: &shell} }
	healthy := func(id string) {
		t.Helper()
		f.until(id+" to be healthy", func() bool {
			for _, s := range f.statuses[id] {
				if s.GetHealthy() {
					return true
				}
			}
			return false
		})
	}
	marker := fresh()
	for _, x := range []*mesosv1.TaskInfo{
		health("h-http", &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_HTTP.Enum(), Http: &mesosv1.HealthCheck_HTTPCheckInfo{Port: new(uint32(port)), Path: new("/well")}}),
		health("h-tcp", &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_TCP.Enum(), Tcp: &mesosv1.HealthCheck_TCPCheckInfo{Port: new(uint32(port))}}),
		health("h-command", &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_COMMAND.Enum(), Command: command("test ! -e " + marker + ` && test "$` + mark + `" = h-command`)}),
	} {
		f.launch(x)
		healthy(x.GetTaskId().GetValue())
	}
	must(t, os.WriteFile(marker, nil, 0o644))
	page.Close()
	for _, id := range []string{"h-http", "h-tcp", "h-command"} {
		s := f.end(id)
		if s.GetState() != failed && s.GetState() != killed || s.Healthy == nil || s.GetHealthy() {
			t.Errorf("%s ended as %s %s (healthy %v): %s", id, s.GetState(), s.GetReason(), s.Healthy, s.GetMessage())
		}
	}

	second := httptest.NewServer(http.NotFoundHandler())
	defer second.Close()
	port, err = strconv.ParseUint(portOf(second.Listener.Addr().String()), 10, 32)
	must(t, err)
	check := func(id string, c *mesosv1.CheckInfo) *mesosv1.TaskInfo {
		x := task(id, "exec sleep 600")
		c.IntervalSeconds, c.DelaySeconds = new(0.05), proto.Float64(0)
		x.Check = c
		return x
	}
	for _, c := range []struct {
		task *mesosv1.TaskInfo
		is   func(*mesosv1.CheckStatusInfo) bool
	}{
		{check("c-http", &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_HTTP.Enum(), Http: &mesosv1.CheckInfo_Http{Port: new(uint32(port))}}), func(s *mesosv1.CheckStatusInfo) bool { return s.GetHttp().GetStatusCode() == 404 }},
		{check("c-tcp", &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_TCP.Enum(), Tcp: &mesosv1.CheckInfo_Tcp{Port: new(uint32(port))}}), func(s *mesosv1.CheckStatusInfo) bool { return s.GetTcp().GetSucceeded() }},
		{check("c-command", &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_COMMAND.Enum(), Command: &mesosv1.CheckInfo_Command{Command: command("exit 9")}}), func(s *mesosv1.CheckStatusInfo) bool { return s.GetCommand().GetExitCode() == 9 }},
	} {
		id := c.task.GetTaskId().GetValue()
		f.launch(c.task)
		f.until("the result of "+id, func() bool {
			for _, s := range f.statuses[id] {
				if c.is(s.GetCheckStatus()) {
					return true
				}
			}
			return false
		})
	}
}
