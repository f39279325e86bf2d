package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// commandLine is somebody else's program for people, told to ask a master itself.
type commandLine struct {
	t   *testing.T
	run []string
	env []string
}

// command is the program with arguments.
func (l commandLine) command(args ...string) *exec.Cmd {
	all := append(slices.Clone(l.run), args...)
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Env = append(os.Environ(), l.env...)
	return cmd
}

// says returns what a command says when it is told something.
func (l commandLine) says(told string, args ...string) string {
	l.t.Helper()
	cmd := l.command(args...)
	cmd.Stdin = strings.NewReader(told)
	out, err := within(l.t, time.Minute, cmd)
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// answer is what a command, told something, must say.
type answer struct {
	told string
	args []string
	want string // a regular expression
}

func (l commandLine) check(answers ...answer) {
	l.t.Helper()
	for _, a := range answers {
		if got := l.says(a.told, a.args...); !regexp.MustCompile(a.want).MatchString(got) {
			l.t.Errorf("%s says %q, want %s", strings.Join(a.args, " "), got, a.want)
		}
	}
}

// launch starts a task called stays, which says hello and goes on.
func launch(t *testing.T, c cluster) {
	t.Helper()
	task := exec.Command(pando(t), "run", "--master", c.Master, "--name", "stays", "--", "sh", "-c", "echo hello from it; exec sleep 1000")
	if err := task.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = task.Process.Kill(); _ = task.Wait() }) // it has ended, or nobody needs it any more
}

func TestTheUnmodifiedDCOSCommandLineShowsAndEntersTasks(t *testing.T) {
	interop(t)
	bin := filepath.Join(environment(t, "dcoscli", "dcoscli.txt", dcosPythons), "dcos")
	c := start(t)
	l := commandLine{t, []string{bin}, []string{"DCOS_DIR=" + t.TempDir(), "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore"}}
	l.says("", "config", "set", "core.dcos_url", "http://"+c.Master)
	l.says("", "config", "set", "core.mesos_master_url", "http://"+c.Master)
	launch(t, c)

	var tasks []struct{ ID, Name, State string }
	if !await(30*time.Second, func() bool {
		if err := json.Unmarshal([]byte(l.says("", "task", "--json")), &tasks); err != nil {
			t.Fatal(err)
		}
		return len(tasks) == 1 && tasks[0].Name == "stays" && tasks[0].State == "TASK_RUNNING"
	}) {
		t.Fatalf("dcos task shows %v", tasks)
	}
	var log string
	if !await(30*time.Second, func() bool { log = l.says("", "task", "log", "stays"); return log == "hello from it\n" }) {
		t.Errorf("dcos task log says %q", log)
	}
	l.check(
		answer{"", []string{"task"}, `(?m)^stays +localhost +\w+ +R +` + regexp.QuoteMeta(tasks[0].ID) + ` `},
		answer{"", []string{"task", "ls", "--long", "stays"}, `(?m) 14 .* stdout *$`},
		answer{"", []string{"task", "exec", "stays", "cat", "stdout"}, `^hello from it\n$`},
		answer{"said to it", []string{"task", "exec", "--interactive", "stays", "sed", "s/^/it heard: /"}, `^it heard: said to it$`},
		answer{"", []string{"service"}, `(?m)^run stays +True +1 `},
	)
	if script, err := exec.LookPath("script"); err == nil { // which gives it a terminal
		l := commandLine{t, []string{script, "-qec", bin + " task exec --interactive --tty stays tty", "/dev/null"}, l.env}
		l.check(answer{"", nil, `/dev/(pts/\d+|console)`})
	}

	var services []struct{ ID string }
	if err := json.Unmarshal([]byte(l.says("", "service", "--json")), &services); err != nil || len(services) != 1 {
		t.Fatalf("dcos service --json: %v, %d services", err, len(services))
	}
	l.says("", "service", "shutdown", services[0].ID)
	if got := l.says("", "service"); strings.Contains(got, services[0].ID) {
		t.Errorf("the service is still there: %s", got)
	}
	l.check(answer{"", []string{"task", "--completed"}, `(?m)^stays +localhost +\w+ +K `})
}
