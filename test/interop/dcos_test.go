package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// dcos is the DC/OS command line, told to ask a master itself.
type dcos struct {
	t   *testing.T
	bin string
	env []string
}

func newDCOS(t *testing.T, c cluster) dcos {
	t.Helper()
	bin := environment(t, "dcoscli", "dcoscli.txt", dcosPythons)
	d := dcos{t, filepath.Join(bin, "dcos"), append(os.Environ(), "DCOS_DIR="+t.TempDir(), "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore")}
	d.run("", "config", "set", "core.dcos_url", "http://"+c.Master)
	d.run("", "config", "set", "core.mesos_master_url", "http://"+c.Master)
	return d
}

func (d dcos) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = d.env
	return cmd
}

// run returns what a command says when it is told something.
func (d dcos) run(told string, args ...string) string {
	d.t.Helper()
	cmd := d.command(d.bin, args...)
	cmd.Stdin = strings.NewReader(told)
	out, err := within(d.t, time.Minute, cmd)
	if err != nil {
		d.t.Fatalf("dcos %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestTheUnmodifiedDCOSCommandLineShowsAndEntersTasks(t *testing.T) {
	interop(t)
	c := start(t)
	d := newDCOS(t, c)
	task := exec.Command(pando(t), "run", "--master", c.Master, "--name", "stays", "--", "sh", "-c", "echo hello from it; exec sleep 1000")
	if err := task.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = task.Process.Kill(); _ = task.Wait() }) // it has ended, or nobody needs it any more

	var tasks []struct{ ID, Name, State string }
	running := func() bool {
		if err := json.Unmarshal([]byte(d.run("", "task", "--json")), &tasks); err != nil {
			t.Fatal(err)
		}
		return len(tasks) == 1 && tasks[0].Name == "stays" && tasks[0].State == "TASK_RUNNING"
	}
	if !await(30*time.Second, running) {
		t.Fatalf("dcos task shows %v", tasks)
	}
	var log string
	if !await(30*time.Second, func() bool { log = d.run("", "task", "log", "stays"); return log == "hello from it\n" }) {
		t.Errorf("dcos task log says %q", log)
	}
	for _, ask := range []struct {
		told string
		args []string
		want string
	}{
		{args: []string{"task"}, want: `(?m)^stays +localhost +\w+ +R +` + regexp.QuoteMeta(tasks[0].ID) + ` `},
		{args: []string{"task", "ls", "--long", "stays"}, want: `(?m) 14 .* stdout *$`},
		{args: []string{"task", "exec", "stays", "cat", "stdout"}, want: `^hello from it\n$`},
		{"said to it", []string{"task", "exec", "--interactive", "stays", "sed", "s/^/it heard: /"}, `^it heard: said to it$`},
		{args: []string{"service"}, want: `(?m)^run stays +True +1 `},
	} {
		if got := d.run(ask.told, ask.args...); !regexp.MustCompile(ask.want).MatchString(got) {
			t.Errorf("dcos %s says %q, want %s", strings.Join(ask.args, " "), got, ask.want)
		}
	}
	if script, err := exec.LookPath("script"); err == nil { // which gives it a terminal
		out, err := within(t, time.Minute, d.command(script, "-qec", d.bin+" task exec --interactive --tty stays tty", "/dev/null"))
		if err != nil || !regexp.MustCompile(`/dev/(pts/\d+|console)`).Match(out) {
			t.Errorf("with a terminal it says %q (%v)", out, err)
		}
	}

	var services []struct{ ID string }
	if err := json.Unmarshal([]byte(d.run("", "service", "--json")), &services); err != nil || len(services) != 1 {
		t.Fatalf("dcos service --json: %v, %d services", err, len(services))
	}
	d.run("", "service", "shutdown", services[0].ID)
	if got := d.run("", "service"); strings.Contains(got, services[0].ID) {
		t.Errorf("the service is still there: %s", got)
	}
	if got := d.run("", "task", "--completed"); !regexp.MustCompile(`(?m)^stays +localhost +\w+ +K `).MatchString(got) {
		t.Errorf("dcos task --completed says %s", got)
	}
}
