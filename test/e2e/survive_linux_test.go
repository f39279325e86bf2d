package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

const (
	running  = mesosv1.TaskState_TASK_RUNNING
	finished = mesosv1.TaskState_TASK_FINISHED
	failed   = mesosv1.TaskState_TASK_FAILED
	killed   = mesosv1.TaskState_TASK_KILLED
	lost     = mesosv1.TaskState_TASK_LOST
)

// waitFor is a command that ends with a code once a file is there.
func waitFor(file string, code int) string {
	return fmt.Sprintf("while [ ! -e %s ]; do sleep 0.05; done; exit %d", file, code)
}

func ids(prefix string, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%s-%d", prefix, i))
	}
	return out
}

func tasks(ids []string, shell string) []*mesosv1.TaskInfo {
	var out []*mesosv1.TaskInfo
	for _, id := range ids {
		out = append(out, task(id, shell))
	}
	return out
}

func TestTasksSurviveKill9(t *testing.T) {
	need(t, true)
	for name, parts := range map[string][]string{
		"of the agent":      {"master", "agent"},
		"of the master":     {"agent", "master"},
		"of the whole node": {"up"},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := strings.ReplaceAll(name, " ", "-")
			var master, victim *node
			if len(parts) == 1 {
				victim = newNode(t, "up")
				victim.start()
				master = victim
			} else {
				master = newNode(t, "master", "--agent-ping-timeout", "2s")
				master.start()
				victim = newNode(t, "agent", "--master", master.master)
				victim.start()
				if parts[1] == "master" {
					victim = master
				}
			}
			survive(t, prefix, master.master, victim, victim != master)
		})
	}
}

// survive kills the victim at a bad moment, lets things happen while it is away, starts it again, and looks what became
// of the tasks. killAway says whether the master is there meanwhile to be asked to kill some.
func survive(t *testing.T, prefix, master string, victim *node, killAway bool) {
	t.Helper()
	f := subscribe(t, master)
	before := f.subscriptions()
	files := fresh()
	long, toKill, toEnd, toFail := ids(prefix+"-long", 5), ids(prefix+"-kill", 3), ids(prefix+"-end", 3), ids(prefix+"-fail", 3)
	started := tasks(long, "exec sleep 600")
	started = append(started, tasks(toKill, "exec sleep 600")...)
	started = append(started, tasks(toEnd, waitFor(files, 0))...)
	started = append(started, tasks(toFail, waitFor(files, 3))...)
	f.launch(started...)
	ran := processesOf(t)
	for _, id := range long {
		if len(ran[id]) != 1 {
			t.Fatalf("%s has the processes %v, want one", id, ran[id])
		}
	}

	inLaunch := ids(prefix+"-new", 30)
	must(t, f.accept(tasks(inLaunch, "exec sleep 600")...))
	if !killAway {
		for _, id := range toKill {
			must(t, f.kill(id)) // it may be lost with who took it
		}
	}
	time.Sleep(15 * time.Millisecond) // some launches are done, some are not, some have not begun
	victim.signal(syscall.SIGKILL)
	if killAway {
		for _, id := range toKill {
			must(t, f.kill(id))
		}
	}
	must(t, os.WriteFile(files, nil, 0o644))
	if victim.agent != "" {
		eventually(t, "the tasks to end while nobody looks", func() error {
			now := processesOf(t)
			for _, id := range append(append([]string{}, toEnd...), toFail...) {
				if len(now[id]) > 0 {
					return fmt.Errorf("%s runs as %v", id, now[id])
				}
			}
			return nil
		})
	}
	victim.start()
	if !killAway {
		f.resubscribed(before)
		for _, id := range toKill {
			f.mu.Lock()
			ended := len(f.statuses[id]) > 0 && terminal(f.statuses[id][len(f.statuses[id])-1])
			f.mu.Unlock()
			if !ended {
				must(t, f.kill(id))
			}
		}
	}

	for _, id := range append(append(append([]string{}, toEnd...), toFail...), toKill...) {
		f.end(id)
	}
	// What was in launch runs, or has ended, and nobody is in doubt.
	eventually(t, "the launches to be settled", func() error {
		for _, id := range inLaunch {
			f.mu.Lock()
			known := len(f.statuses[id]) > 0 && (f.statuses[id][len(f.statuses[id])-1].GetState() == running || terminal(f.statuses[id][len(f.statuses[id])-1]))
			f.mu.Unlock()
			if !known {
				err := f.s.Call(t.Context(), &scheduler.Call{Type: scheduler.Call_RECONCILE.Enum(), Reconcile: &scheduler.Call_Reconcile{
					Tasks: []*scheduler.Call_Reconcile_Task{{TaskId: &mesosv1.TaskID{Value: new(id)}}},
				}})
				time.Sleep(100 * time.Millisecond)
				return fmt.Errorf("%s is not known (%v)", id, err)
			}
		}
		return nil
	})
	now := processesOf(t)
	for _, id := range long {
		if len(now[id]) != 1 || now[id][0] != ran[id][0] {
			t.Errorf("%s ran as %v and runs as %v", id, ran[id], now[id])
		}
	}
	lives := 0
	for _, id := range inLaunch {
		if len(now[id]) > 1 {
			t.Errorf("%s was started twice: %v", id, now[id])
		}
		f.mu.Lock()
		last := f.statuses[id][len(f.statuses[id])-1]
		f.mu.Unlock()
		switch {
		case terminal(last) && len(now[id]) > 0:
			t.Errorf("%s ended as %s and runs as %v", id, last.GetState(), now[id])
		case terminal(last) && last.GetState() != lost:
			t.Errorf("%s: %s %s: %s", id, last.GetState(), last.GetReason(), last.GetMessage())
		case !terminal(last):
			lives++
			if len(now[id]) != 1 {
				t.Errorf("%s is said to run, and has the processes %v", id, now[id])
			}
		}
	}
	t.Logf("of %d tasks in launch %d run and the others were lost", len(inLaunch), lives)

	for _, id := range append(append([]string{}, long...), inLaunch...) {
		must(t, f.kill(id))
	}
	for _, id := range long {
		f.end(id)
		f.oneEnd(id, killed)
	}
	for _, id := range inLaunch {
		f.end(id)
	}
	for _, id := range toEnd {
		f.oneEnd(id, finished)
	}
	for _, id := range toFail {
		f.oneEnd(id, failed)
	}
	for _, id := range toKill {
		f.oneEnd(id, killed)
	}
	if left := processesOf(t); len(left) > 0 {
		t.Errorf("after the end there still run %v", left)
	}
	if s := f.end(toFail[0]); !strings.Contains(s.GetMessage(), "3") {
		t.Errorf("the exit code is not told: %s", s.GetMessage())
	}
}

func TestABinaryIsSwappedUnderFiftyTasks(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	before := f.subscriptions()
	files := fresh()
	all := ids("swap", 50)
	f.launch(tasks(all, waitFor(files, 0))...)
	ran := processesOf(t)
	if code := n.signal(syscall.SIGTERM); code != 0 || !strings.Contains(n.out.String(), "50 tasks go on") {
		t.Errorf("exit code %d: %s", code, n.out)
	}
	n.bin = bin(t, "two")
	n.start()
	f.resubscribed(before)
	if _, said := outcome(t, n.pando("--version")); !strings.Contains(said, "two") {
		t.Errorf("the other build says it is %s", said)
	}
	now := processesOf(t)
	for _, id := range all {
		if len(ran[id]) == 0 || len(now[id]) == 0 || !contains(now[id], first(ran[id])) {
			t.Errorf("%s ran as %v and runs as %v", id, ran[id], now[id])
		}
	}
	must(t, os.WriteFile(files, nil, 0o644))
	for _, id := range all {
		f.end(id)
		f.oneEnd(id, finished)
	}
}

// first is the process that started first, the task's own.
func first(all []process) process {
	p := all[0]
	for _, x := range all[1:] {
		if x.ticks < p.ticks || x.ticks == p.ticks && x.pid < p.pid {
			p = x
		}
	}
	return p
}

func contains(all []process, p process) bool {
	return slices.Contains(all, p)
}
