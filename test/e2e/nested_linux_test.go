package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/fault"
)

// scope is a node with a task that containers are started below.
type scope struct {
	*node
	f   *framework
	api *client.Containers
	top *mesosv1.ContainerID
}

// newScope starts a node and a task. The task is of the user, if one is named.
func newScope(t *testing.T, json bool, x *mesosv1.TaskInfo, opts ...options) *scope {
	t.Helper()
	need(t, true)
	n := newNode(t, "up")
	n.start()
	return scopeOn(t, n, json, x, opts...)
}

// scopeOn starts the task on a node that runs.
func scopeOn(t *testing.T, n *node, json bool, x *mesosv1.TaskInfo, opts ...options) *scope {
	t.Helper()
	s := &scope{node: n, f: subscribe(t, n.master, opts...), api: containers(t, n.agent, json, nil)}
	s.f.launch(x)
	s.top = s.f.await(x.GetTaskId().GetValue(), running).GetContainerStatus().GetContainerId()
	return s
}

func containers(t *testing.T, addr string, json bool, hc *http.Client) *client.Containers {
	t.Helper()
	a, err := client.NewAgent(addr, hc)
	must(t, err)
	c := a.Containers()
	c.JSON = json
	return c
}

// back starts the node again and waits until its agent knows its containers.
func (s *scope) back() {
	s.t.Helper()
	s.start()
	eventually(s.t, "the agent to know its containers", func() error { return s.api.Remove(s.t.Context(), s.kid("ghost")) })
}

func (s *scope) kid(name string) *mesosv1.ContainerID {
	return &mesosv1.ContainerID{Value: &name, Parent: s.top}
}

// shell is a command whose processes can be counted by its name.
func shell(name, script string) *mesosv1.CommandInfo { return task(name, script).GetCommand() }

func (s *scope) session(name, script string) *client.Output {
	s.t.Helper()
	out, err := s.api.Session(s.t.Context(), &agent.Call_LaunchNestedContainerSession{ContainerId: s.kid(name), Command: shell(name, script)})
	must(s.t, err)
	return out
}

// waited is how a container ended.
func (s *scope) waited(name string) int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	status, err := s.api.Wait(ctx, s.kid(name))
	must(s.t, err)
	return status
}

// nothingBelow waits until nothing is left of what was below the task: no process of that name, and no cgroup.
func (s *scope) nothingBelow(names ...string) {
	s.t.Helper()
	eventually(s.t, "nothing to be left below the task", func() error {
		for _, name := range names {
			if p := processesOf(s.t)[name]; len(p) > 0 {
				return fmt.Errorf("%s has the processes %v", name, p)
			}
		}
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/pando/*/" + s.top.GetValue() + "/*") // the pattern is good
		more, _ := filepath.Glob("/sys/fs/cgroup/pando/*/" + s.top.GetValue() + "/*")
		for _, g := range slices.Concat(groups, more) {
			if st, err := os.Stat(g); err == nil && st.IsDir() {
				return fmt.Errorf("the cgroup %s stays", g)
			}
		}
		return nil
	})
}

// inBoth runs a test with both encodings.
func inBoth(t *testing.T, run func(t *testing.T, json bool)) {
	t.Helper()
	for name, json := range map[string]bool{"JSON": true, "protobuf": false} {
		t.Run(name, func(t *testing.T) { run(t, json) })
	}
}

func TestASessionIsWithinItsTask(t *testing.T) {
	need(t, true)
	inBoth(t, func(t *testing.T, json bool) {
		t.Helper()
		x := task("top", "exec sleep 1000")
		v := x.Command.Environment
		v.Variables = append(v.Variables, &mesosv1.Environment_Variable{Name: new("OF_TASK"), Value: new("yes")}, &mesosv1.Environment_Variable{Name: new("BOTH"), Value: new("task")})
		s := newScope(t, json, x, ofUser("nobody"))
		call := &agent.Call_LaunchNestedContainerSession{ContainerId: s.kid("in"), Command: shell("in", "echo $OF_TASK $BOTH; id -un; pwd; echo err >&2; exit 4")}
		e := call.Command.Environment
		e.Variables = append(e.Variables, &mesosv1.Environment_Variable{Name: new("BOTH"), Value: new("session")})
		out, err := s.api.Session(t.Context(), call)
		must(t, err)
		var stdout, stderr bytes.Buffer
		must(t, out.Copy(&stdout, &stderr))
		place, err := filepath.EvalSymlinks(sandboxOf(t, s.node, s.f, "top"))
		must(t, err)
		if want := "yes session\nnobody\n" + place + "\n"; stdout.String() != want || stderr.String() != "err\n" {
			t.Errorf("it said %q and %q, want %q", stdout.String(), stderr.String(), want)
		}
		if status := s.waited("in"); status != 4<<8 {
			t.Errorf("its status is %#x", status)
		}
		must(t, s.api.Remove(t.Context(), s.kid("in")))
		if _, err := s.api.Wait(t.Context(), s.kid("in")); !fault.Is(err, fault.NotFound) {
			t.Errorf("waiting for what was removed: %v", err)
		}
		if b, err := os.ReadFile(filepath.Join(place, "stdout")); err != nil || len(b) > 0 {
			t.Errorf("the task's own output is %q (%v)", b, err)
		}
		s.nothingBelow("in")
	})
}

func TestASessionDiesWithItsConnection(t *testing.T) {
	s := newScope(t, false, task("top", "exec sleep 1000"))
	out := s.session("in", "sleep 1000 & echo started; sleep 1000")
	if data, _, err := out.Next(); string(data) != "started\n" || err != nil {
		t.Fatalf("%q %v", data, err)
	}
	if p := processesOf(t)["in"]; len(p) < 2 {
		t.Errorf("it has the processes %v", p)
	}
	out.Close()
	if status := s.waited("in"); status != int(syscall.SIGKILL) {
		t.Errorf("its status is %#x", status)
	}
	s.nothingBelow("in")

	// And when its agent is killed.
	out = s.session("again", "echo started; sleep 1000")
	if _, _, err := out.Next(); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGKILL)
	eventually(t, "the session to end with its agent", func() error {
		if p := processesOf(t)["again"]; len(p) > 0 {
			return fmt.Errorf("it has the processes %v", p)
		}
		return nil
	})
	s.back()
	if _, err := s.api.Wait(t.Context(), s.kid("again")); !fault.Is(err, fault.NotFound) {
		t.Errorf("waiting for the session of the agent before: %v", err)
	}
	if p := processesOf(t)["top"]; len(p) != 1 {
		t.Errorf("the task has the processes %v", p)
	}
	s.nothingBelow("again")
}

func TestAHundredMegabytesComeThroughAsTheyWere(t *testing.T) {
	need(t, true)
	const script, size = "read go; seq 1 20000000 | head -c 100000000", 100_000_000
	inBoth(t, func(t *testing.T, json bool) {
		t.Helper()
		s := newScope(t, json, task("top", "exec sleep 1000"))
		want := sha256.New()
		seq := exec.Command("sh", "-c", strings.TrimPrefix(script, "read go; "))
		seq.Stdout = want
		must(t, seq.Run())
		owner := s.session("in", script)
		second, err := s.api.AttachOutput(t.Context(), s.kid("in"))
		must(t, err)
		in := s.api.AttachInput(t.Context(), s.kid("in"))
		_, err = io.WriteString(in, "go\n")
		must(t, err)
		must(t, in.Close())
		var read [2]counter
		done := make(chan error, 1)
		go func() { done <- second.Copy(&read[1], io.Discard) }()
		must(t, owner.Copy(&read[0], io.Discard))
		must(t, <-done)
		for i := range read {
			if read[i].n != size || !bytes.Equal(read[i].sum(), want.Sum(nil)) {
				t.Errorf("reader %d got %d bytes with the sum %x, want %x", i, read[i].n, read[i].sum(), want.Sum(nil))
			}
		}
		if status := s.waited("in"); status != 0 {
			t.Errorf("its status is %#x", status)
		}
	})
}

// counter counts bytes and sums them.
type counter struct {
	n   int
	sha hashing
}

type hashing = interface {
	io.Writer
	Sum([]byte) []byte
}

func (c *counter) Write(b []byte) (int, error) {
	if c.sha == nil {
		c.sha = sha256.New()
	}
	c.n += len(b)
	return c.sha.Write(b)
}

func (c *counter) sum() []byte {
	if c.sha == nil {
		return nil
	}
	return c.sha.Sum(nil)
}

func TestInputComesThroughAndEnds(t *testing.T) {
	need(t, true)
	inBoth(t, func(t *testing.T, json bool) {
		t.Helper()
		s := newScope(t, json, task("top", "exec sleep 1000"))
		data := bytes.Repeat([]byte("all of these, and as they are\x00\xff\n"), 300_000)
		out := s.session("in", "sha256sum")
		in := s.api.AttachInput(t.Context(), s.kid("in"))
		if _, err := in.Write(data[:len(data)/2]); err != nil {
			t.Fatal(err)
		}
		if err := s.api.AttachInput(t.Context(), s.kid("in")).Close(); !fault.Is(err, fault.Conflict) {
			t.Errorf("a second writer: %v", err)
		}
		must(t, in.Close()) // which is not the end of the input: another writes on
		in = s.api.AttachInput(t.Context(), s.kid("in"))
		_, err := in.Write(data[len(data)/2:])
		must(t, err)
		must(t, in.End())
		must(t, in.Close())
		var stdout bytes.Buffer
		must(t, out.Copy(&stdout, io.Discard))
		if want := fmt.Sprintf("%x  -\n", sha256.Sum256(data)); stdout.String() != want {
			t.Errorf("it says %q, want %q", stdout.String(), want)
		}
		if err := s.api.AttachInput(t.Context(), s.kid("ghost")).Close(); err == nil {
			t.Error("somebody wrote to a ghost")
		}
	})
}

func TestATaskWithATerminalCanBeAttachedTo(t *testing.T) {
	need(t, true)
	inBoth(t, func(t *testing.T, json bool) {
		t.Helper()
		x := task("top", "stty size; exec sh")
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), TtyInfo: &mesosv1.TTYInfo{
			WindowSize: &mesosv1.TTYInfo_WindowSize{Rows: new(uint32(33)), Columns: new(uint32(77))},
		}}
		s := newScope(t, json, x, ofUser("nobody"))
		place := sandboxOf(t, s.node, s.f, "top")
		eventually(t, "the size in the log", func() error { return holds(filepath.Join(place, "stdout"), "33 77\r\n") })
		screen := watch(t, s.api, s.top)
		in := s.api.AttachInput(t.Context(), s.top)
		must(t, in.Resize(50, 100))
		io.WriteString(in, "stty size; tty; echo err >&2\n")
		screen.shows("50 100\r\n")
		screen.shows("/dev/pts/")
		screen.shows("err\r\n")
		io.WriteString(in, "sleep 1000\n")
		eventually(t, "the sleep", func() error {
			if p := processesOf(t)["top"]; len(p) != 2 {
				return fmt.Errorf("there are the processes %v", p)
			}
			return nil
		})
		io.WriteString(in, "\x03")
		io.WriteString(in, "echo in vain: $?\n")
		screen.shows("in vain: 130\r\n")

		s.signal(syscall.SIGKILL) // the terminal is not the agent's
		s.back()
		screen = watch(t, s.api, s.top)
		in = s.api.AttachInput(t.Context(), s.top)
		io.WriteString(in, "stty size; echo still $((6*7))\n")
		screen.shows("50 100\r\n")
		screen.shows("still 42\r\n")
		must(t, in.End()) // which a client sends when its person leaves: to a terminal it means nothing
		io.WriteString(in, "echo after $((6*7))\n")
		screen.shows("after 42\r\n")
		io.WriteString(in, "\x04")
		if e := s.f.end("top"); e.GetState() != finished {
			t.Errorf("it ended as %v", e)
		}
		must(t, in.Close())
		screen.ended()
		must(t, holds(filepath.Join(place, "stdout"), "still 42\r\n"))
	})
}

// screen is what an attached terminal has shown.
type screen struct {
	t    *testing.T
	text chan string
	seen string
}

func watch(t *testing.T, api *client.Containers, id *mesosv1.ContainerID) *screen {
	t.Helper()
	out, err := api.AttachOutput(t.Context(), id)
	must(t, err)
	w := &screen{t: t, text: make(chan string, 1000)}
	go func() {
		defer close(w.text)
		for {
			data, _, err := out.Next()
			if err != nil {
				return
			}
			w.text <- string(data)
		}
	}()
	return w
}

// shows waits for words.
func (w *screen) shows(words string) {
	w.t.Helper()
	late := time.After(patience)
	for !strings.Contains(w.seen, words) {
		select {
		case s, ok := <-w.text:
			if !ok {
				w.t.Fatalf("the terminal ended with %q, and %q did not come", w.seen, words)
			}
			w.seen += s
		case <-late:
			w.t.Fatalf("the terminal shows %q, and %q did not come", w.seen, words)
		}
	}
}

func (w *screen) ended() {
	w.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, ok := <-w.text:
			if !ok {
				return
			}
		case <-late:
			w.t.Fatal("the terminal did not end")
		}
	}
}

func launchNested(s *scope, name, script string) {
	s.t.Helper()
	_, err := s.api.Call(s.t.Context(), &agent.Call{Type: agent.Call_LAUNCH_CONTAINER.Enum(), LaunchContainer: &agent.Call_LaunchContainer{
		ContainerId: s.kid(name), Command: shell(name, script),
	}})
	must(s.t, err)
}

func TestANestedContainerOutlivesItsAgent(t *testing.T) {
	need(t, true)
	inBoth(t, func(t *testing.T, json bool) {
		t.Helper()
		s := newScope(t, json, task("top", "exec sleep 1000"))
		launchNested(s, "waits", "echo here; while [ ! -e go ]; do sleep 0.01; done; exit 5")
		launchNested(s, "ends", "exit 3")
		if status := s.waited("ends"); status != 3<<8 {
			t.Errorf("its status is %#x", status)
		}
		launchNested(s, "away", "while [ ! -e ../waits/go ]; do sleep 0.01; done; exit 6")
		before := processesOf(t)["waits"]
		s.signal(syscall.SIGKILL)
		own := filepath.Join(sandboxOf(t, s.node, s.f, "top"), "containers", "waits")
		must(t, os.WriteFile(filepath.Join(own, "go"), nil, 0o644))
		eventually(t, "what ends while the agent is away", func() error {
			if p := processesOf(t)["away"]; len(p) > 0 {
				return fmt.Errorf("there are %v", p)
			}
			return nil
		})
		if len(before) == 0 {
			t.Error("it had no process")
		}
		s.back()
		for name, want := range map[string]int{"waits": 5 << 8, "away": 6 << 8, "ends": 3 << 8} {
			if status := s.waited(name); status != want {
				t.Errorf("the status of %s is %#x, want %#x", name, status, want)
			}
		}
		must(t, holds(filepath.Join(own, "stdout"), "here\n"))
		must(t, s.api.Remove(t.Context(), s.kid("waits")))
		if _, err := os.Stat(own); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("its sandbox stays: %v", err)
		}
		s.nothingBelow("waits", "away", "ends")
	})
}

func TestAContainerThatStandsAlone(t *testing.T) {
	s := newScope(t, true, task("top", "exec sleep 1000"))
	id := &mesosv1.ContainerID{Value: new("alone-" + uuid.NewString()[:8])}
	call := func(k agent.Call_Type, fill func(*agent.Call)) (*agent.Response, error) {
		c := &agent.Call{Type: &k}
		fill(c)
		return s.api.Call(t.Context(), c)
	}
	_, err := call(agent.Call_LAUNCH_CONTAINER, func(c *agent.Call) {
		c.LaunchContainer = &agent.Call_LaunchContainer{ContainerId: id, Command: shell("alone", "pwd; exec sleep 1000"), Resources: task("x", "").GetResources()}
	})
	must(t, err)
	sleeps := func() int { return len(processesOf(t)["alone"]) }
	listed := func() int {
		r, err := call(agent.Call_GET_CONTAINERS, func(c *agent.Call) { c.GetContainers = &agent.Call_GetContainers{ShowStandalone: new(true)} })
		must(t, err)
		n := 0
		for _, c := range r.GetGetContainers().GetContainers() {
			if c.GetContainerId().GetValue() == id.GetValue() {
				n++
			}
		}
		return n
	}
	if sleeps() != 1 || listed() != 1 {
		t.Errorf("%d processes, listed %d times", sleeps(), listed())
	}
	dir := filepath.Join(s.data(), "agent", "containers", id.GetValue())
	eventually(t, "its output", func() error { return holds(filepath.Join(dir, "stdout"), dir) })
	s.signal(syscall.SIGKILL)
	s.back()
	must(t, s.api.Kill(t.Context(), id, int(syscall.SIGTERM)))
	if status, err := s.api.Wait(t.Context(), id); status != int(syscall.SIGTERM) || err != nil {
		t.Errorf("its status is %#x, %v", status, err)
	}
	must(t, s.api.Remove(t.Context(), id))
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || listed() != 0 || sleeps() != 0 {
		t.Errorf("%v; %d processes, listed %d times", err, sleeps(), listed())
	}
}

func TestOthersKeepOutOfATasksContainers(t *testing.T) {
	s := newScope(t, true, task("top", "exec sleep 1000"))
	launchNested(s, "kid", "exec sleep 1000")
	other := *s
	other.api = containers(t, s.agent, true, httpAs(65534))
	for what, err := range map[string]error{
		"session": func() error {
			_, err := other.api.Session(t.Context(), &agent.Call_LaunchNestedContainerSession{ContainerId: s.kid("x"), Command: shell("x", "id")})
			return err
		}(),
		"output": func() error { _, err := other.api.AttachOutput(t.Context(), s.top); return err }(),
		"input":  other.api.AttachInput(t.Context(), s.top).Close(),
		"kill":   other.api.Kill(t.Context(), s.kid("kid"), 9),
		"wait":   func() error { _, err := other.api.Wait(t.Context(), s.kid("kid")); return err }(),
		"remove": other.api.Remove(t.Context(), s.kid("kid")),
		"root alone": func() error {
			c := shell("r", "id")
			c.User = new("root")
			_, err := other.api.Call(t.Context(), &agent.Call{Type: agent.Call_LAUNCH_CONTAINER.Enum(), LaunchContainer: &agent.Call_LaunchContainer{
				ContainerId: &mesosv1.ContainerID{Value: new("r")}, Command: c,
			}})
			return err
		}(),
	} {
		if !fault.Is(err, fault.Denied) {
			t.Errorf("%s by another user: %v", what, err)
		}
	}
	if p := processesOf(t)["kid"]; len(p) != 1 {
		t.Errorf("there are %v", p)
	}
}

func TestALinkInASandboxLeadsNobodyOut(t *testing.T) {
	s := newScope(t, true, task("top", "mkdir out && ln -s "+"/etc containers; exec sleep 1000"), ofUser("nobody"))
	eventually(t, "the link", func() error {
		_, err := os.Readlink(filepath.Join(sandboxOf(t, s.node, s.f, "top"), "containers"))
		return err
	})
	_, err := s.api.Call(t.Context(), &agent.Call{Type: agent.Call_LAUNCH_CONTAINER.Enum(), LaunchContainer: &agent.Call_LaunchContainer{
		ContainerId: s.kid("kid"), Command: shell("kid", "id"),
	}})
	if err == nil {
		t.Error("it was started")
	}
	if _, err := os.Stat("/etc/kid"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made in /etc: %v", err)
	}
}

func TestAReaderThatDoesNotReadFillsNoMemory(t *testing.T) {
	s := newScope(t, false, task("top", "exec sleep 1000"))
	v := &victim{node: s.node}
	before := v.memory(t)
	out := s.session("in", "exec yes")
	second, err := s.api.AttachOutput(t.Context(), s.kid("in"))
	must(t, err)
	time.Sleep(2 * time.Second) // they would be gigabytes
	if grown := v.memory(t) - before; grown > 40 {
		t.Errorf("the node grew by %d MiB", grown)
	}
	second.Close()
	out.Close()
	out = s.session("killed", "exec yes")
	time.Sleep(time.Second)                                             // until nothing goes any more
	if err := s.api.Kill(t.Context(), s.kid("killed"), 9); err != nil { // who does not read cannot keep it from ending
		t.Error(err)
	}
	if status := s.waited("killed"); status != int(syscall.SIGKILL) {
		t.Errorf("its status is %#x", status)
	}
	out.Close()
	s.nothingBelow("in", "killed")
}

func TestAReaderThatDoesNotReadHoldsAContainerUpForSecondsOnly(t *testing.T) {
	s := newScope(t, false, task("top", "exec sleep 1000"))
	const size = 60_000_000
	owner := s.session("in", "read go; exec head -c 60000000 /dev/zero")
	deaf, err := s.api.AttachOutput(t.Context(), s.kid("in"))
	must(t, err)
	in := s.api.AttachInput(t.Context(), s.kid("in"))
	_, err = io.WriteString(in, "go\n")
	must(t, err)
	begun := time.Now()
	var all, some counter
	must(t, owner.Copy(&all, io.Discard))
	if took := time.Since(begun); all.n != size || took < 3*time.Second || took > 20*time.Second {
		t.Errorf("its owner got %d bytes within %s", all.n, took)
	}
	if status := s.waited("in"); status != 0 {
		t.Errorf("its status is %#x", status)
	}
	if _ = deaf.Copy(&some, io.Discard); some.n >= size { // how it was cut off does not matter
		t.Errorf("who did not read got %d bytes", some.n)
	}
	must(t, in.Close())
}

func TestACommandIsRunInATaskOfAGroup(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	one, two := task("one", "exec sleep 1000"), task("two", "exec sleep 1000")
	must(t, f.acceptGroup(one, two))
	for _, id := range []string{"one", "two"} {
		if st := f.await(id, running); st.GetState() != running {
			t.Fatalf("%s is %v", id, st)
		}
	}
	s := &scope{node: n, f: f}
	cmd := s.cli("task", "exec", "two", "--", "sh", "-c", `echo "$`+mark+`"; pwd; exit 9`)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, _ := cmd.Output() // its code is looked at
	lines := strings.Split(string(out), "\n")
	if code := cmd.ProcessState.ExitCode(); code != 9 || len(lines) != 3 || lines[0] != "two" || !strings.Contains(lines[1], "/containers/") {
		t.Errorf("%d %q %s", code, out, &said)
	}
	must(t, f.kill("two"))
	f.end("one")
}

// acceptGroup launches tasks as a group of the default executor.
func (f *framework) acceptGroup(tasks ...*mesosv1.TaskInfo) error {
	f.t.Helper()
	return f.acceptGroupOf(f.pod(), tasks...)
}

// pod is the default executor of a group.
func (f *framework) pod() *mesosv1.ExecutorInfo {
	return &mesosv1.ExecutorInfo{
		Type: mesosv1.ExecutorInfo_DEFAULT.Enum(), ExecutorId: &mesosv1.ExecutorID{Value: new("pod")}, FrameworkId: &mesosv1.FrameworkID{Value: new(f.s.FrameworkID())},
		Resources: append(task("x", "").GetResources(), &mesosv1.Resource{
			Name: new("disk"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(10.0)},
			AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("test")},
		}),
	}
}

// acceptGroupOf launches tasks as a group of an executor.
func (f *framework) acceptGroupOf(x *mesosv1.ExecutorInfo, tasks ...*mesosv1.TaskInfo) error {
	f.t.Helper()
	f.offered()
	f.mu.Lock()
	a := &scheduler.Call_Accept{Filters: &mesosv1.Filters{RefuseSeconds: new(0.0)}}
	var agent *mesosv1.AgentID
	for id, o := range f.offers {
		a.OfferIds, agent = append(a.OfferIds, o.GetId()), o.GetAgentId()
		delete(f.offers, id)
	}
	f.want = false
	f.mu.Unlock()
	for _, x := range tasks {
		x.AgentId = agent
	}
	a.Operations = []*mesosv1.Offer_Operation{{Type: mesosv1.Offer_Operation_LAUNCH_GROUP.Enum(), LaunchGroup: &mesosv1.Offer_Operation_LaunchGroup{
		Executor: x, TaskGroup: &mesosv1.TaskGroupInfo{Tasks: tasks},
	}}}
	return f.s.Call(f.t.Context(), &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: a})
}
