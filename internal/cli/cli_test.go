package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/fakecluster"
	"github.com/pando-os/pando/internal/cli/where"
	"github.com/pando-os/pando/internal/clock"
)

const recorded = "../../client/testdata/master.json"

// shell runs commands as a person would, against one cluster.
type shell struct {
	t   *testing.T
	env map[string]string
	out bytes.Buffer
	err bytes.Buffer
}

func newShell(t *testing.T, master string) *shell {
	t.Helper()
	return &shell{t: t, env: map[string]string{where.Variable: master}}
}

// run runs one command and returns its exit code; its output is in out and err.
func (s *shell) run(args ...string) int {
	s.out.Reset()
	s.err.Reset()
	dir := s.t.TempDir()
	a := &App{
		Version: "v1", Out: &s.out, Err: &s.err, Getenv: func(name string) string { return s.env[name] },
		Place:      where.Place{Own: filepath.Join(dir, "own"), Shared: filepath.Join(dir, "shared")},
		Clock:      clock.NewFake(time.Unix(1764000060, 0)),
		Interrupts: func() (<-chan struct{}, func()) { return nil, func() {} },
	}
	return a.Execute(s.t.Context(), args)
}

func (s *shell) expect(code int, args ...string) {
	s.t.Helper()
	if got := s.run(args...); got != code {
		s.t.Errorf("pando %s: code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &s.out, &s.err)
	}
}

func TestTablesOfTheOriginalsAnswers(t *testing.T) {
	s := newShell(t, fakecluster.New(t, recorded, nil).Address)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"node", "ls"}, `
NODE       ID                                       STATE   CPUS FREE  MEM FREE            DISK FREE           ATTRIBUTES                JOINED
localhost  f0f0f0f0-0000-4000-8000-000000000001-S0  active  3.9 of 4   4064 MB of 4096 MB  10000 MB of 10000 MB  level:10;rack:r1;zone:z1  59s
`},
		{[]string{"task", "ls"}, `
ID    NAME  STATE    NODE       CPUS  MEM    SINCE  FRAMEWORK
runs  runs  running  localhost  0.1   32 MB  59s    f0f0f0f0-0000-4000-8000-000000000001-0000
`},
		{[]string{"task", "ls", "--all"}, `
ID    NAME  STATE     NODE       CPUS  MEM    SINCE  FRAMEWORK
runs  runs  running   localhost  0.1   32 MB  59s    f0f0f0f0-0000-4000-8000-000000000001-0000
done  done  finished  localhost  0.1   32 MB  59s    f0f0f0f0-0000-4000-8000-000000000001-0000
`},
		{[]string{"framework", "ls"}, `
ID                                         NAME     USER  ROLES  STATE   TASKS  REGISTERED
f0f0f0f0-0000-4000-8000-000000000001-0000  watched  root  probe  active  1      59s
`},
	} {
		s.expect(exitOK, tc.args...)
		// Columns are compared, not how wide they are.
		columns := func(text string) [][]string {
			var out [][]string
			for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
				out = append(out, strings.Fields(line))
			}
			return out
		}
		if diff := cmp.Diff(columns(tc.want), columns(s.out.String())); diff != "" {
			t.Errorf("%v: %s", tc.args, diff)
		}
	}
}

func TestEveryListIsJSONWhenAsked(t *testing.T) {
	s := newShell(t, fakecluster.New(t, recorded, nil).Address)
	for _, args := range [][]string{
		{"node", "ls"}, {"task", "ls"}, {"framework", "ls"}, {"state"}, {"version"}, {"task", "show", "runs"}, {"framework", "teardown", "f0"},
	} {
		s.expect(exitOK, append(args, "-o", "json")...)
		if !json.Valid(s.out.Bytes()) {
			t.Errorf("pando %v printed %s", args, &s.out)
		}
	}
}

func TestTaskShowSaysWhyItEnded(t *testing.T) {
	c := fakecluster.New(t, recorded, nil)
	s := newShell(t, c.Address)
	s.expect(exitOK, "task", "show", "done")
	if !strings.Contains(s.out.String(), "it finished") {
		t.Errorf("of the original, which gives no reasons:\n%s", &s.out)
	}
	c.Answer("/pando/v1/task", `{"name":"done","task_id":{"value":"done"},"framework_id":{"value":"f"},"agent_id":{"value":"a"},"state":"TASK_FAILED",
		"resources":[],"statuses":[{"task_id":{"value":"done"},"state":"TASK_FAILED","reason":"REASON_CONTAINER_LIMITATION_MEMORY","message":"Memory limit exceeded","timestamp":1764000000}]}`)
	s.expect(exitOK, "task", "show", "done")
	if want := "it failed: it used more memory than it asked for: ask for more (Memory limit exceeded)"; !strings.Contains(s.out.String(), want) {
		t.Errorf("want %q in\n%s", want, &s.out)
	}
}

func TestLogsAndFilesComeFromTheTasksNode(t *testing.T) {
	c := fakecluster.New(t, recorded, nil)
	s := newShell(t, c.Address)
	c.Output("done", "stdout", "to out\n")
	c.Output("done", "stderr", "to err\n")
	s.expect(exitOK, "task", "logs", "done")
	if s.out.String() != "to out\n" {
		t.Errorf("stdout %q", &s.out)
	}
	s.expect(exitOK, "task", "logs", "-f", "--stderr", "do") // it has ended, so following it ends too
	if s.out.String() != "to err\n" {
		t.Errorf("stderr %q", &s.out)
	}
	s.expect(exitNotFound, "task", "logs", "runs")
	b, err := os.ReadFile("../../client/testdata/agent.json")
	if err != nil {
		t.Fatal(err)
	}
	var agent map[string]struct{ Body json.RawMessage }
	if err := json.Unmarshal(b, &agent); err != nil {
		t.Fatal(err)
	}
	c.Answer("/files/browse", string(agent["browse"].Body))
	s.expect(exitOK, "task", "ls-files", "runs")
	if got := s.out.String(); !strings.Contains(got, "-rw-r--r--") || !strings.Contains(got, " stderr\n") {
		t.Errorf("files:\n%s", got)
	}
}

func TestOrdersNameWhatTheyAreFor(t *testing.T) {
	c := fakecluster.New(t, recorded, nil)
	s := newShell(t, c.Address)
	s.expect(exitOK, "task", "kill", "f0f0/ru")
	s.expect(exitFailed, "task", "kill", "done") // it has ended
	s.expect(exitOK, "framework", "teardown", fakecluster.FrameworkID)
	s.expect(exitNotFound, "framework", "teardown", "nobody")
	want := []string{
		`POST /pando/v1/kill {"framework_id":"` + fakecluster.FrameworkID + `","task_id":"runs"}`,
		"POST /teardown frameworkId=" + fakecluster.FrameworkID,
	}
	if diff := cmp.Diff(want, c.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestExitCodesSayWhatKindOfFailureItWas(t *testing.T) {
	s := newShell(t, fakecluster.New(t, "", nil).Address)
	s.expect(exitUsage, "nonsense")
	s.expect(exitUsage, "node", "ls", "--nonsense")
	s.expect(exitUsage, "node", "ls", "extra")
	s.expect(exitUsage, "task", "show")
	s.expect(exitUsage, "node", "ls", "-o", "xml")
	s.expect(exitUsage, "run", "--mem", "much", "--", "true")
	s.expect(exitUsage, "run", "--instances", "0", "--", "true")
	s.expect(exitUsage, "run")
	s.expect(exitNotFound, "node", "ls") // a server that is no master
	s.expect(exitOK, "version")
	s.env[where.Variable] = "127.0.0.1:1"
	s.expect(exitUnavailable, "node", "ls")
	if !strings.Contains(s.err.String(), "named by "+where.Variable) {
		t.Errorf("a cluster that does not answer: %q", &s.err)
	}
	s.expect(exitOK, "version")
	s.env[where.Variable] = ""
	s.expect(exitUnavailable, "task", "ls")
	if !strings.Contains(s.err.String(), "pando up") {
		t.Errorf("without a cluster it says %q", &s.err)
	}
}

func TestRunExitsAsItsTaskDoes(t *testing.T) {
	c := fakecluster.New(t, "", func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		id := task.GetTaskId().GetValue()
		c.Update(id, mesosv1.TaskState_TASK_RUNNING, "")
		c.Output(id, "stdout", "hello\n")
		c.Update(id, mesosv1.TaskState_TASK_FAILED, "Command terminated with signal Killed")
	})
	go func() {
		c.Await("SUBSCRIBE", 1)
		c.Offer(1, 128)
	}()
	s := newShell(t, c.Address)
	a := &App{
		Out: &s.out, Err: &s.err, Getenv: func(string) string { return "" }, Clock: clock.Real(),
		Interrupts: func() (<-chan struct{}, func()) { return nil, func() {} },
	}
	code := a.Execute(t.Context(), []string{"run", "--master", c.Address, "--user", "u", "sh", "-c", "kill -9 $$"})
	if code != 137 || s.out.String() != "hello\n" || !strings.Contains(s.err.String(), "it failed (Command terminated with signal Killed)") {
		t.Errorf("code %d, out %q, err %q", code, &s.out, &s.err)
	}
}

func TestATaskIsFoundByIDPrefixOrFramework(t *testing.T) {
	all := []client.Task{
		{ID: "web-1", FrameworkID: "aa-1", State: "TASK_RUNNING"},
		{ID: "web-2", FrameworkID: "aa-1", State: "TASK_RUNNING"},
		{ID: "web", FrameworkID: "ab-2", State: "TASK_FAILED"},
		{ID: "job", FrameworkID: "aa-1", State: "TASK_FINISHED"},
		{ID: "job", FrameworkID: "ab-2", State: "TASK_RUNNING"},
		{ID: "a/b", FrameworkID: "ac-3", State: "TASK_RUNNING"},
	}
	for word, want := range map[string]string{
		"web-2":    "aa-1/web-2",
		"web":      "ab-2/web", // exactly that id
		"aa/web-1": "aa-1/web-1",
		"ab/w":     "ab-2/web",
		"job":      "ab-2/job", // the one that runs
		"aa-1/job": "aa-1/job",
		"a/b":      "ac-3/a/b", // a slash of its own
		"we":       "",
		"aa/web":   "",
		"zz":       "",
		"zz/job":   "",
		"":         "",
	} {
		got, err := pickTask(word, all)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is %s/%s", word, got.FrameworkID, got.ID)
		case want != "" && got.FrameworkID+"/"+got.ID != want:
			t.Errorf("%q is %s/%s, want %s; %v", word, got.FrameworkID, got.ID, want, err)
		}
	}
	if _, err := pickTask("we", all); !strings.Contains(err.Error(), "aa-1/web-1") {
		t.Errorf("the candidates are not named: %v", err)
	}
}

func TestFlagsOfRunBecomeATask(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(file, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	f := runFlags{cpus: .5, mem: "1GB", env: []string{"A=b=c", "HOME"}, uris: []string{"http://h/a.tgz"}, files: []string{file}, user: "u", role: "*", instances: 2}
	o, err := f.options([]string{"/bin/my tool", "x"}, func(string) string { return "/home" })
	if err != nil {
		t.Fatal(err)
	}
	if o.Name != "my-tool" || o.Need.String() != "0.5 cpus and 1024 MB" || !o.Here || o.Instances != 2 {
		t.Errorf("%+v", o)
	}
	if o.Env[0].GetValue() != "b=c" || o.Env[1].GetValue() != "/home" {
		t.Errorf("environment %v", o.Env)
	}
	if u := o.URIs[1]; u.GetValue() != "file://"+file || !u.GetExecutable() || u.GetExtract() {
		t.Errorf("file %v", u)
	}
}

func TestAmountsOfMemory(t *testing.T) {
	for text, want := range map[string]float64{"64": 64, "64MB": 64, "64 mb": 64, "1.5G": 1536, "2GiB": 2048, "512k": .5, "": 0, "-1": 0, "x": 0, "1XB": 0, "NaN": 0, "1e400": 0, "0": 0} {
		got, err := parseMem(text)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || c.Runnable() && !c.HasSubCommands() && c.Name() != "version" && c.Example == "" {
			t.Errorf("%s has no help or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	a := &App{Getenv: os.Getenv}
	visit(a.Command())
}
