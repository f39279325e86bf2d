package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/gen/mesosv1"
)

// cli is a command of the command line, for the scope's cluster.
func (s *scope) cli(args ...string) *exec.Cmd {
	return s.pando(append([]string{"--master", s.master}, args...)...)
}

func TestACommandIsRunInATask(t *testing.T) {
	s := newScope(t, false, task("top", "exec sleep 1000"))
	cmd := s.cli("task", "exec", "top", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 7 || stdout.String() != "out\n" || stderr.String() != "err\n" {
		t.Errorf("%d %q %q", code, &stdout, &stderr)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	cmd = s.cli("task", "exec", "-i", "top", "--", "sha256sum")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	must(t, err)
	if want := fmt.Sprintf("%x  -\n", sha256.Sum256(data)); string(out) != want {
		t.Errorf("%q, want %q", out, want)
	}
	if code, said := outcome(t, s.cli("task", "exec", "top", "--", "sh", "-c", "kill -TERM $$")); code != 128+15 {
		t.Errorf("%d %s", code, said)
	}
	if code, said := outcome(t, s.cli("task", "exec", "top", "--", "no-such-program")); code != 1 || !strings.Contains(said, "no-such-program") {
		t.Errorf("%d %s", code, said)
	}
	if code, said := outcome(t, s.cli("task", "attach", "top")); code == 0 || !strings.Contains(said, "terminal") {
		t.Errorf("attaching to a task without a terminal: %d %s", code, said)
	}
	s.nothingBelow()
}

func TestCtrlCReachesACommandWithoutATerminal(t *testing.T) {
	s := newScope(t, false, task("top", "exec sleep 1000"))
	cmd := s.cli("task", "exec", "top", "--", "sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	first := make([]byte, 6)
	_, err = io.ReadFull(out, first)
	must(t, err)
	must(t, cmd.Process.Signal(syscall.SIGINT))
	rest, _ := io.ReadAll(out) // what there is
	_ = cmd.Wait()             // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 3 || string(first)+string(rest) != "ready\ncaught\n" {
		t.Errorf("%d %q", code, string(first)+string(rest))
	}
	s.nothingBelow()
}

func TestACommandEndsWithThePersonWhoRunsIt(t *testing.T) {
	s := newScope(t, false, task("top", "exec sleep 1000"))
	cmd := s.cli("task", "exec", "top", "--", "sh", "-c", "echo ready; "+mark+"=mine exec sleep 1000")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	_, err = io.ReadFull(out, make([]byte, 6))
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	s.nothingBelow("mine")

	cmd = s.cli("task", "exec", "top", "--", "sleep", "1000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	time.Sleep(300 * time.Millisecond)
	s.signal(syscall.SIGKILL)
	_ = cmd.Wait() // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 4 || !strings.Contains(stderr.String(), "broke") {
		t.Errorf("when the node breaks: %d %s", code, &stderr)
	}
	s.back()
}

// atTerminal starts a command with a terminal of that size and gives our end of it.
func atTerminal(t *testing.T, cmd *exec.Cmd, rows, columns uint16) *tty {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	defer theirs.Close()
	must(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, cmd.Start())
	x := &tty{screen: screen{t: t, text: make(chan string, 1000)}, file: os.NewFile(uintptr(fd), "terminal"), fd: fd, cmd: cmd}
	go func() {
		defer close(x.text)
		buf := make([]byte, 4096)
		for {
			n, err := x.file.Read(buf)
			if err != nil {
				return
			}
			x.text <- string(buf[:n])
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = x.file.Close() }) // it may have ended
	return x
}

type tty struct {
	screen
	file *os.File
	fd   int
	cmd  *exec.Cmd
}

func (x *tty) types(keys string) {
	x.t.Helper()
	_, err := io.WriteString(x.file, keys)
	must(x.t, err)
}

func TestATerminalIsPassedOn(t *testing.T) {
	s := newScope(t, false, task("top", "exec sleep 1000"))
	x := atTerminal(t, s.cli("task", "exec", "-it", "top", "--", "sh"), 30, 90)
	x.types("stty size\n")
	x.shows("30 90\r\n")
	x.resize(40, 120)
	x.answers("stty size", "40 120\r\n")
	x.types("sleep 1000\n")
	time.Sleep(200 * time.Millisecond)
	x.types("\x03echo on: $?\n")
	x.shows("on: 130\r\n")
	x.types("exit 9\n")
	_ = x.cmd.Wait() // its code is looked at
	if code := x.cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("it ended with %d", code)
	}
	s.nothingBelow()
}

func TestAPersonLeavesATerminalThatGoesOn(t *testing.T) {
	x := task("top", "exec sh")
	x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), TtyInfo: &mesosv1.TTYInfo{}}
	s := newScope(t, false, x)
	person := atTerminal(t, s.cli("task", "attach", "top"), 24, 80)
	person.types("x=kept; echo typed; stty size\n")
	person.shows("typed\r\n")
	person.shows("24 80\r\n")
	person.types("\x10\x11")
	_ = person.cmd.Wait() // its code is looked at
	if code := person.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("leaving gave %d", code)
	}
	again := atTerminal(t, s.cli("task", "attach", "top"), 24, 80)
	again.types("echo $x; exit\n")
	again.shows("kept\r\n")
	_ = again.cmd.Wait() // its code is looked at
	if code := again.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("its end gave %d", code)
	}
	if e := s.f.end("top"); e.GetState() != finished {
		t.Errorf("it ended as %v", e)
	}
}

// resize changes the size of our end, of which the command's end hears.
func (x *tty) resize(rows, columns uint16) {
	x.t.Helper()
	raw, err := x.file.SyscallConn()
	must(x.t, err)
	var failed error
	must(x.t, raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}))
	must(x.t, failed)
}

// answers types a question again and again until the terminal shows an answer after it.
func (x *tty) answers(question, answer string) {
	x.t.Helper()
	eventually(x.t, answer, func() error {
		x.seen = ""
		x.types(question + "; echo do''ne\n")
		x.shows("done\r\n")
		if !strings.Contains(x.seen, answer) {
			return fmt.Errorf("it shows %q", x.seen)
		}
		return nil
	})
}

func TestATerminalIsAttachedToAgainAfterKill9OfItsAgent(t *testing.T) {
	need(t, true)
	for name, start := range map[string]func(*framework, *mesosv1.TaskInfo){
		"of a command task":    func(f *framework, x *mesosv1.TaskInfo) { f.launch(x) },
		"of a task of a group": func(f *framework, x *mesosv1.TaskInfo) { f.launchGroup(x) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "up")
			n.start()
			s := &scope{node: n, f: subscribe(t, n.master), api: containers(t, n.agent, false, nil)}
			x := task("top", "exec sh")
			x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), TtyInfo: &mesosv1.TTYInfo{}}
			start(s.f, x)
			s.top = s.f.await("top", running).GetContainerStatus().GetContainerId()
			before := processesOf(t)["top"]
			person := atTerminal(t, s.cli("task", "attach", "top"), 24, 80)
			person.types("x=kept; echo ty''ped; stty size\n")
			person.shows("typed\r\n24 80\r\n")

			s.signal(syscall.SIGKILL) // while somebody reads and writes
			_ = person.cmd.Wait()     // its code is looked at
			if code := person.cmd.ProcessState.ExitCode(); code != 4 {
				t.Errorf("who was attached ended with %d: %s", code, person.seen)
			}
			s.back()
			screen, in := watch(t, s.api, s.top), s.api.AttachInput(t.Context(), s.top)
			must(t, in.Resize(50, 100))
			_, err := io.WriteString(in, "stty size; echo $x.$((6*7))\n")
			must(t, err)
			screen.shows("50 100\r\nkept.42\r\n")
			must(t, in.Close())

			person = atTerminal(t, s.cli("task", "attach", "top"), 30, 90)
			person.answers("stty size", "30 90\r\n")
			person.resize(40, 120)
			person.answers("stty size", "40 120\r\n")
			screen.shows("40 120\r\n") // all who are attached see the same
			if diff := cmp.Diff(before, processesOf(t)["top"], cmp.AllowUnexported(process{})); diff != "" {
				t.Errorf("its processes: (-before the restart +after)\n%s", diff)
			}
			person.types("exit\n")
			_ = person.cmd.Wait() // its code is looked at
			if code := person.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("its end gave %d: %s", code, person.seen)
			}
			screen.ended()
			if e := s.f.end("top"); e.GetState() != finished {
				t.Errorf("it ended as %v", e)
			}
			noTaskProcesses(t)
		})
	}
}

func TestACommandIsRunAtAPersonsTerminal(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	n := imageNode(t, s)
	image := s.push("app:1", v1.Config{Env: []string{"PS1=ready> ", "PATH=/bin"}})
	run := func(args ...string) *exec.Cmd {
		return n.pando(append([]string{"--master", n.master, "run"}, args...)...)
	}
	x := atTerminal(t, run("--image", image, "--network", "none", "-it", "--", "sh"), 30, 90)
	x.shows("ready> ") // what it showed before anybody was there to see it
	x.types("echo $((6*7)); cat /etc/whose\n")
	x.shows("42\r\nthe image's")
	x.types("sleep 1000\n")
	time.Sleep(200 * time.Millisecond)
	x.types("\x03echo on: $?\n")
	x.shows("on: 130\r\n")
	x.types("exit 5\n")
	_ = x.cmd.Wait() // its code is looked at
	if code := x.cmd.ProcessState.ExitCode(); code != 5 {
		t.Errorf("it ended with %d", code)
	}

	quick := atTerminal(t, run("-t", "--", "echo", "done"), 24, 80)
	quick.shows("done\r\n")
	_ = quick.cmd.Wait() // as above
	if code := quick.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("a quick one ended with %d", code)
	}

	gone := atTerminal(t, run("-it", "--", "sh", "-c", mark+"=gone exec sleep 1000"), 24, 80)
	eventually(t, "the command", func() error {
		if len(processesOf(t)["gone"]) == 0 {
			return errors.New("it does not run")
		}
		return nil
	})
	must(t, gone.cmd.Process.Signal(syscall.SIGTERM))
	_ = gone.cmd.Wait() // as above
	noTaskProcesses(t)

	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"-i", "--", "sh"}, "-i goes with -t"},
		{[]string{"-it", "--detach", "--", "sh"}, "leave out --detach"},
		{[]string{"-it", "--", "sh"}, "standard input is no terminal"},
	} {
		if code, said := outcome(t, run(c.args...)); code == 0 || !strings.Contains(said, c.says) {
			t.Errorf("%v: %d %q lacks %q", c.args, code, said, c.says)
		}
	}
}
