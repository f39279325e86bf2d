package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A client has so long to be installed, and to do all it does. avmesos and mesoshttp see most events only with
// the next heartbeat.
const (
	installTime = 5 * time.Minute
	clientTime  = 3 * time.Minute
)

// cache is where the clients are installed by their ordinary package managers; git ignores it.
const cache = "../../.cache/interop"

// client is a program that uses somebody else's client of Mesos: it launches tasks, watches them end, reconciles, is followed
// by another of the same framework id, kills, and tears its framework down. It exits with 0 when it saw what it must.
type client struct {
	name      string // with version and encoding
	framework string // what its framework is called
	// install returns the command that runs it, which gets the master's address as last argument. It skips the test where
	// the machine has not the language.
	install func(t *testing.T) *exec.Cmd
}

var clients = []client{
	{"pymesos 0.3.15 with JSON", "interop-pymesos", python("with_pymesos.py")},
	{"avmesos 0.4.2 with JSON", "interop-avmesos", python("with_avmesos.py", "avmesos")},
	{"mesoshttp 0.4.2 with JSON", "interop-mesoshttp", python("with_avmesos.py", "mesoshttp")},
	{"mesos-framework 0.5.3 with JSON", "interop-mesos-framework", node("with_mesos_framework.js")},
	{"mesos-rxjava 0.2.0 with protobuf", "interop-mesos-rxjava", rxjava},
}

// ends are how each client's tasks end, by name.
var ends = map[string]string{"finishes-1": "TASK_FINISHED", "finishes-2": "TASK_FINISHED", "fails-1": "TASK_FAILED", "stays-1": "TASK_KILLED"}

func interop(t *testing.T) {
	t.Helper()
	if os.Getenv(runClients) == "" {
		t.Skip("make interop runs it")
	}
}

func TestAnUnmodifiedClientRunsTasks(t *testing.T) {
	interop(t)
	c := start(t)
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			cmd := client.install(t)
			cmd.Args = append(cmd.Args, c.Master)
			begun := time.Now()
			out, err := within(t, clientTime, cmd)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%.1fs", time.Since(begun).Seconds())
			ended(t, c, client.framework)
		})
	}
}

// ended compares what the master remembers of a client's framework with what the client must have done.
func ended(t *testing.T, c cluster, framework string) {
	t.Helper()
	var state struct {
		Completed []struct {
			Name  string `json:"name"`
			Tasks []struct{ Name, State string }
			Ended []struct{ Name, State string } `json:"completed_tasks"`
		} `json:"completed_frameworks"`
	}
	ask(t, c.Master+"/state", &state)
	for _, f := range state.Completed {
		if f.Name != framework {
			continue
		}
		if len(f.Tasks) > 0 {
			t.Errorf("the framework has ended and its tasks %v have not", f.Tasks)
		}
		got := map[string]string{}
		for _, task := range f.Ended {
			got[task.Name] = task.State
		}
		if fmt.Sprint(got) != fmt.Sprint(ends) || len(f.Ended) != len(ends) {
			t.Errorf("the master remembers %v, want %v", f.Ended, ends)
		}
		return
	}
	t.Errorf("the framework %s is not among those that have ended", framework)
}

// within runs a command that is killed when its time is over, and returns all it printed.
func within(t *testing.T, limit time.Duration, cmd *exec.Cmd) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	timed := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	timed.Dir, timed.Env, timed.Stdin, timed.WaitDelay = cmd.Dir, cmd.Env, cmd.Stdin, time.Second
	out, err := timed.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("it has not ended within %s", limit)
	}
	return out, err
}

// must runs a command of an installation.
func must(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := within(t, installTime, cmd); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// need skips the test where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("there is no %s on this machine", p)
		}
	}
}

// room is a directory of the cache, absolute. It is fresh when what it was installed from has changed; installed says whether
// the last installation there ended well, and done notes that it has.
func room(t *testing.T, name, from string) (dir string, installed bool, done func()) {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(cache, name))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(dir, ".installed")
	if got, err := os.ReadFile(mark); err == nil && string(got) == string(want) {
		return dir, true, func() {}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, false, func() {
		if err := os.WriteFile(mark, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Pythons that clients were made for: pymesos' http-parser does not build under 3.10 and later, and the cryptography that the
// DC/OS command line asks for is there for 3.6 at the latest.
var (
	pythons     = []string{"3.9", "3.8", "3.7", "3.6"}
	dcosPythons = []string{"3.6"}
	newPythons  = []string{"3.12", "3.13", "3.14"}
)

// pythonOf is a Python of one of the versions. It looks in PATH and where pyenv keeps its versions.
func pythonOf(t *testing.T, versions []string) (bin, version string) {
	t.Helper()
	home := os.Getenv("PYENV_ROOT")
	if home == "" {
		home = filepath.Join(os.Getenv("HOME"), ".pyenv")
	}
	for _, v := range versions {
		found, _ := filepath.Glob(filepath.Join(home, "versions", v+".*", "bin", "python")) // the pattern is well formed
		for _, bin := range append([]string{"python" + v}, found...) {
			// pyenv puts programs into PATH that only say that their version is not chosen.
			out, err := exec.CommandContext(t.Context(), bin, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])").Output()
			if err == nil && strings.TrimSpace(string(out)) == v {
				return bin, v
			}
		}
	}
	t.Skipf("there is no Python %s on this machine, in PATH or of pyenv", strings.Join(versions, ", "))
	return "", ""
}

// environment is a virtual environment of a Python with what a file of python/ asks for; it returns where its programs are.
func environment(t *testing.T, name, requirements string, versions []string) (bin string) {
	t.Helper()
	base, version := pythonOf(t, versions)
	dir, installed, done := room(t, name+version, filepath.Join("python", requirements))
	bin = filepath.Join(dir, "bin")
	if !installed {
		must(t, "", base, "-m", "venv", dir)
		must(t, "python", filepath.Join(bin, "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements)
		done()
	}
	return bin
}

func python(program string, args ...string) func(t *testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		t.Helper()
		bin := environment(t, "python", "requirements.txt", pythons)
		cmd := exec.Command(filepath.Join(bin, "python"), append([]string{program}, args...)...)
		cmd.Dir, cmd.Env = "python", append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore")
		return cmd
	}
}

func node(program string) func(t *testing.T) *exec.Cmd {
	return func(t *testing.T) *exec.Cmd {
		t.Helper()
		need(t, "node", "npm")
		dir, installed, done := room(t, "node", "node/package-lock.json")
		if !installed {
			for _, f := range []string{"package.json", "package-lock.json"} {
				b, err := os.ReadFile(filepath.Join("node", f))
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, f), b, 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			must(t, dir, "npm", "ci", "--no-audit", "--no-fund")
			done()
		}
		cmd := exec.Command("node", program)
		cmd.Dir, cmd.Env = "node", append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"), "LOGS="+t.TempDir())
		return cmd
	}
}

func rxjava(t *testing.T) *exec.Cmd {
	t.Helper()
	return java(t, "interop.Scheduler")
}

// java is a main class of the Maven project. Maven itself knows what is up to date.
func java(t *testing.T, class string, args ...string) *exec.Cmd {
	t.Helper()
	need(t, "java", "mvn")
	must(t, "java", "mvn", "-B", "-q", "compile", "dependency:build-classpath", "-Dmdep.outputFile=target/classpath")
	path, err := os.ReadFile("java/target/classpath")
	if err != nil {
		t.Fatal(err)
	}
	classes, err := filepath.Abs("java/target/classes")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("java", append([]string{"-cp", classes + ":" + strings.TrimSpace(string(path)), class}, args...)...)
	cmd.Dir = "java"
	return cmd
}
