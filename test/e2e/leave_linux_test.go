package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slaves are the ids of the agents that a master shows.
func slaves(t *testing.T, master string) []string {
	t.Helper()
	r, err := http.Get("http://" + master + "/slaves")
	must(t, err)
	defer r.Body.Close()
	var all struct{ Slaves []struct{ ID string } }
	must(t, json.NewDecoder(r.Body).Decode(&all))
	var out []string
	for _, s := range all.Slaves {
		out = append(out, s.ID)
	}
	return out
}

func TestAnAgentThatIsToldToLeaveEndsItsTasksAndIsForgotten(t *testing.T) {
	need(t, true)
	master := newNode(t, "master")
	master.start()
	agent := newNode(t, "agent", "--master", master.master)
	agent.start()
	f := subscribe(t, master.master)
	long := ids("leave", 3)
	f.launch(tasks(long, "exec sleep 600")...)
	before := slaves(t, master.master)
	if code := agent.signal(syscall.SIGUSR1); code != 0 {
		t.Errorf("it ends with %d: %s", code, agent.out)
	}
	if left := slaves(t, master.master); len(left) > 0 {
		t.Errorf("the master still shows %v", left)
	}
	for _, id := range long {
		f.lostWithItsAgent(id)
	}
	if left := processesOf(t); len(left) > 0 {
		t.Errorf("after the agent there still run %v", left)
	}
	agent.start()
	eventually(t, "the agent's return", func() error {
		if now := slaves(t, master.master); fmt.Sprint(now) != fmt.Sprint(before) {
			return fmt.Errorf("the master shows %v, and before it left %v", now, before)
		}
		return nil
	})
	f.launch(task("leave-again", "exec sleep 600"))
	must(t, f.kill("leave-again"))
	f.end("leave-again")
}

// lostWithItsAgent waits for the word that a task is lost with its agent.
func (f *framework) lostWithItsAgent(id string) {
	f.t.Helper()
	if s := f.end(id); s.GetState() != lost || len(s.GetUuid()) > 0 {
		f.t.Errorf("%s ended as %s (%s)", id, s.GetState(), s.GetReason())
	}
}

func TestAnAgentThatIsNotWhatItWasDoesNotStart(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("stays", "exec sleep 600"))
	ran := processesOf(t)["stays"]
	n.signal(syscall.SIGTERM)

	n.args = []string{"--attributes", "rack:r2"}
	n.launchNow()
	if code := n.ended(); code == 0 || !strings.Contains(n.out.String(), "--reconfiguration-policy") || !strings.Contains(n.out.String(), "rack:r2") {
		t.Errorf("with another attribute it ends with %d and says %s", code, n.out)
	}
	n.args = append(n.args, "--reconfiguration-policy", "additive")
	n.start()
	if now := processesOf(t)["stays"]; fmt.Sprint(now) != fmt.Sprint(ran) {
		t.Errorf("the task ran as %v and runs as %v", ran, now)
	}
	eventually(t, "the task's end", func() error { // a kill that comes before its agent is back is of no task
		f.mu.Lock()
		all := f.statuses["stays"]
		f.mu.Unlock()
		if terminal(all[len(all)-1]) {
			return nil
		}
		err := f.kill("stays")
		time.Sleep(100 * time.Millisecond)
		return fmt.Errorf("it has not ended (%v)", err)
	})
	f.oneEnd("stays", killed)
}
