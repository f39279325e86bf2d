package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/host"
)

func TestANodeStopsSaysWhatGoesOnAndFindsItAgain(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("stop-1", "exec sleep 600"), task("stop-2", "exec sleep 600"))
	ran := processesOf(t)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		before := f.subscriptions()
		if code := n.signal(s); code != 0 {
			t.Errorf("%s: exit code %d: %s", s, code, n.out)
		}
		if said := n.out.String(); !strings.Contains(said, "2 tasks go on") || !strings.Contains(said, "pando down --kill-tasks") {
			t.Errorf("%s: %s", s, said)
		}
		if code, said := outcome(t, n.pando("status", "--data-dir", n.data())); code != 3 || !strings.Contains(said, "Nothing runs") {
			t.Errorf("status of what is down: %d %s", code, said)
		}
		n.start()
		if said := n.out.String(); !strings.Contains(said, "2 tasks go on from before") {
			t.Errorf("the next start says %s", said)
		}
		f.resubscribed(before)
	}
	code, said := outcome(t, n.pando("status", "--data-dir", n.data(), "-o", "json"))
	var s struct {
		Running       bool
		Master, Agent string
		Agents, Tasks int
	}
	eventually(t, "status to show the tasks", func() error {
		code, said = outcome(t, n.pando("status", "--data-dir", n.data(), "-o", "json"))
		if err := json.Unmarshal([]byte(said), &s); err != nil || code != 0 || !s.Running || s.Tasks != 2 || s.Agents != 1 || s.Master != n.master || s.Agent != n.agent {
			return fmt.Errorf("%d %s", code, said)
		}
		return nil
	})
	now := processesOf(t)
	for _, id := range []string{"stop-1", "stop-2"} {
		if len(now[id]) != 1 || now[id][0] != ran[id][0] {
			t.Errorf("%s ran as %v and runs as %v", id, ran[id], now[id])
		}
	}
	if code, said := outcome(t, n.pando("down", "--data-dir", n.data(), "--kill-tasks")); code != 0 || !strings.Contains(said, "Ended 2 tasks") || !strings.Contains(said, "Stopped pid") {
		t.Errorf("down --kill-tasks: %d %s", code, said)
	}
	n.ended()
	if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + container.CgroupName(n.run())); len(groups) > 0 { // the pattern is good
		t.Errorf("a node without tasks left its groups behind: %v", groups)
	}
	if left := processesOf(t); len(left) > 0 {
		t.Errorf("after down --kill-tasks there run %v", left)
	}
	if code, said := outcome(t, n.pando("down", "--data-dir", n.data())); code == 0 || !strings.Contains(said, "no node runs on "+n.data()) {
		t.Errorf("down of what is down: %d %s", code, said)
	}
}

func TestDetachLeavesANodeInTheBackground(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	code, said := outcome(t, n.command("--detach"))
	if code != 0 || !strings.Contains(said, "Pando is up") || !strings.Contains(said, "It runs in the background") {
		t.Fatalf("%d %s", code, said)
	}
	f := subscribe(t, n.master)
	f.launch(task("detached", "exec sleep 600"))
	ran := processesOf(t)["detached"]

	second := n.command("--detach")
	if code, said := outcome(t, second); code != 1 || !strings.Contains(said, "already runs on "+n.data()) {
		t.Errorf("a second start: %d %s", code, said)
	}
	if code, said := outcome(t, n.command()); code != 1 || !strings.Contains(said, "already runs on "+n.data()) {
		t.Errorf("a second start in the foreground: %d %s", code, said)
	}
	f.launch(task("undisturbed", "exit 0"))
	f.end("undisturbed")
	if code, said := outcome(t, n.pando("down", "--data-dir", n.data())); code != 0 {
		t.Errorf("down: %d %s", code, said)
	}
	if now := processesOf(t)["detached"]; len(now) != 1 || now[0] != ran[0] {
		t.Errorf("the task ran as %v and runs as %v after down", ran, now)
	}
	if code, said := outcome(t, n.command("--detach")); code != 0 || !strings.Contains(said, "1 task goes on from before") {
		t.Errorf("the next start: %d %s", code, said)
	}
	if code, said := outcome(t, n.pando("down", "--data-dir", n.data(), "--kill-tasks")); code != 0 || !strings.Contains(said, "Ended 1 task") {
		t.Errorf("down --kill-tasks: %d %s", code, said)
	}
}

func TestWhatCannotStartSaysWhyAndWhatToDo(t *testing.T) {
	need(t, true)
	busy, err := net.Listen("tcp", ip+":0")
	must(t, err)
	defer busy.Close()
	port := portOf(busy.Addr().String())
	file := fresh()
	must(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"a busy port of the master":          {[]string{"--master-port", port}, []string{port, "in use", "--master-port"}},
		"a busy port of the agent":           {[]string{"--agent-port", port}, []string{port, "in use", "--agent-port"}},
		"an address that others can reach":   {[]string{"--ip", "0.0.0.0"}, []string{"--ip", "0.0.0.0", "--insecure"}},
		"an address of IPv6 that others can": {[]string{"--ip", "::"}, []string{"--ip", "::", "--insecure"}},
		"no address":                         {[]string{"--ip", "localhost"}, []string{"--ip", "not an IP address"}},
		"a data directory that is a file":    {[]string{"--data-dir", file}, []string{"--data-dir", "not a directory"}},
		"resources that cannot be read":      {[]string{"--resources", "cpus=4"}, []string{"--resources"}},
		"an unknown store":                   {[]string{"--store", "zk://localhost"}, []string{"--store", "etcd://"}},
		"a port out of range":                {[]string{"--master-port", "70000"}, []string{"--master-port"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "up")
			code, said := outcome(t, n.command(c.args...))
			if code != 1 {
				t.Errorf("exit code %d", code)
			}
			for _, w := range c.says {
				if !strings.Contains(said, w) {
					t.Errorf("%q is missing in: %s", w, said)
				}
			}
			if strings.Count(strings.TrimSpace(said), "\n") > 0 {
				t.Errorf("more than one line: %s", said)
			}
		})
	}
}

func TestABusyPortHarmsNoTaskOfBefore(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("busy", "exec sleep 600"))
	ran := processesOf(t)["busy"]
	n.signal(syscall.SIGKILL)
	l, err := net.Listen("tcp", n.agent)
	must(t, err)
	if code, said := outcome(t, n.command()); code != 1 || !strings.Contains(said, "--agent-port") {
		t.Errorf("%d %s", code, said)
	}
	must(t, l.Close())
	before := f.subscriptions()
	n.start()
	f.resubscribed(before)
	if now := processesOf(t)["busy"]; len(now) != 1 || now[0] != ran[0] {
		t.Errorf("the task ran as %v and runs as %v", ran, now)
	}
}

func TestWithoutRootANodeStartsAndRunsTasksAsItsUser(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.user = "nobody"
	must(t, os.Chown(n.dir, 65534, 65534))
	n.start()
	said := n.out.String()
	for _, w := range []string{"Not root", "Not enforced: shares and limits of cpus: ", "Not enforced: memory limits"} {
		if !strings.Contains(said, w) {
			t.Errorf("%q is missing in: %s", w, said)
		}
	}
	code, said := outcome(t, n.pando("run", "--master", n.master, "--", "sh", "-c", "id -u; exit 4"))
	if code != 4 || !strings.Contains(said, "65534\n") {
		t.Errorf("pando run: %d %s", code, said)
	}
	f := subscribe(t, n.master, ofUser("nobody"), fromUID(65534))
	f.launch(task("own", "exec sleep 600"))
	p := processesOf(t)["own"]
	if len(p) != 1 {
		t.Fatalf("the task has the processes %v", p)
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p[0].pid) + "/status")
	if err != nil || !strings.Contains(string(status), "Uid:\t65534\t65534\t65534\t65534") {
		t.Errorf("%v %s", err, status)
	}
	n.signal(syscall.SIGKILL)
	before := f.subscriptions()
	n.start()
	f.resubscribed(before)
	if !host.Alive(p[0].pid, p[0].ticks) {
		t.Error("the task did not survive")
	}
	f.offered() // so the agent is back
	must(t, f.kill("own"))
	f.end("own")
	f.oneEnd("own", killed)
}
