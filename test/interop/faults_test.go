package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faulty are the recorded faults that this version can suffer; the others need what comes later: reservations, the
// operator's settings.
var faulty = []string{
	"faults/scheduler_away", "faults/scheduler_gone", "faults/agent_killed", "faults/agent_killed_without_checkpoint",
	"faults/update_told_again", "faults/task_lost_on_its_way", "faults/teardown_while_the_agent_is_away", "faults/agent_unreachable",
	"faults/agent_leaves", "faults/agent_changed", "faults/agent_gone", "faults/master_killed", "faults/master_killed_framework_stays_away",
	"faults/executors_killed", "faults/agent_killed_under_a_group",
}

// control is the script that the probe calls to kill, stop, continue and start a part. The pid stands in the part's data
// directory; a start waits until the part works.
const control = `#!/usr/bin/env bash
set -eu
part=$1 deed=$2 dir=%[1]q
pid() { sed -E 's/.*"pid": ?([0-9]+).*/\1/' "$dir/$part/pando.pid"; }
case $deed in
kill) p=$(pid); kill -9 "$p"; while [ -e "/proc/$p" ] && ! grep -q '^State:.Z' "/proc/$p/status" 2>/dev/null; do sleep 0.02; done ;;
stop) # one thread takes the signal and stops the others; on a busy machine they go on for a while
  p=$(pid); kill -STOP "$p"; until ! grep -L '^State:.[TtZ]' /proc/"$p"/task/*/status 2>/dev/null | grep -q .; do sleep 0.01; done ;;
cont) kill -CONT "$(pid)" ;;
leave) p=$(pid); kill -USR1 "$p"; while [ -e "/proc/$p" ] && ! grep -q '^State:.Z' "/proc/$p/status" 2>/dev/null; do sleep 0.02; done ;;
start | start_more | start_other)
  resources='cpus:4;mem:4096;disk:10000;ports:[31000-32000]' attributes='rack:r1;zone:z1;level:10' policy=equal
  case $deed in
  start_more) resources=cpus:6${resources#cpus:4} attributes+=';extra:yes' policy=additive ;;
  start_other) attributes=rack:r2${attributes#rack:r1} ;;
  esac
  rm -f "$dir/$part/pando.pid"
  case $part in
  master) args=(--master-port %[3]d --agent-ping-timeout 1s --max-agent-ping-timeouts 5 --hostname localhost --allocation-interval 500ms) ;;
  agent) args=(--master 127.0.0.1:%[3]d --agent-port %[4]d --runtime-dir "$dir/run" --resources "$resources" --attributes "$attributes" --reconfiguration-policy "$policy" --hostname localhost) ;;
  esac
  setsid %[2]q "$part" --data-dir "$dir/$part" "${args[@]}" >>"$dir/$part.log" 2>&1 </dev/null &
  if [ "$deed" = start_other ]; then # it refuses
    ! wait $! && grep -q 'reconfiguration-policy' "$dir/$part.log" && exit 0; exit 1
  fi
  for _ in $(seq 400); do
    grep -q '"ready": *true' "$dir/$part/pando.pid" 2>/dev/null && exit 0
    kill -0 $! || { tail -n 1 "$dir/$part.log" | grep -q 'told this agent to end' && exit 0; break; } # it worked and is gone again
    sleep 0.05
  done
  echo "the $part does not start:" >&2; cat "$dir/$part.log" >&2; exit 1 ;;
esac
`

// apart starts a master and an agent of their own, and returns what the probe needs to torment them.
func apart(t *testing.T) (cluster, []string) {
	t.Helper()
	dir, ports := directory(t), freePorts(t, 2)
	script := filepath.Join(dir, "control")
	if err := os.WriteFile(script, fmt.Appendf(nil, control, dir, pando(t), ports[0], ports[1]), 0o755); err != nil {
		t.Fatal(err)
	}
	c := cluster{Master: fmt.Sprintf("127.0.0.1:%d", ports[0]), Agent: fmt.Sprintf("127.0.0.1:%d", ports[1])}
	t.Cleanup(func() { end(t, dir, c) })
	var env []string
	for _, part := range []string{"master", "agent"} {
		if out, err := exec.CommandContext(t.Context(), script, part, "start").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, deed := range []string{"kill", "stop", "cont", "start", "leave", "start_more", "start_other"} {
			env = append(env, fmt.Sprintf("PROBE_%s_%s=%s %s %s", strings.ToUpper(part), strings.ToUpper(deed), script, part, deed))
		}
	}
	return c, env
}

// end ends what apart started: frameworks first, so that their tasks end too, then the parts.
func end(t *testing.T, dir string, c cluster) {
	t.Helper()
	bin := pando(t)
	if out, err := exec.Command(bin, "framework", "ls", "-o", "json", "--master", c.Master).Output(); err == nil {
		var frameworks []struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(out, &frameworks); err != nil {
			t.Errorf("pando framework ls said %s", out)
		}
		for _, f := range frameworks {
			if out, err := exec.Command(bin, "framework", "teardown", "--master", c.Master, f.ID).CombinedOutput(); err != nil {
				t.Errorf("teardown of %s: %v %s", f.ID, err, out)
			}
		}
	}
	await(20*time.Second, func() bool { return !busy(c) })
	for _, part := range []string{"agent", "master"} {
		var r struct {
			PID int `json:"pid"`
		}
		b, err := os.ReadFile(filepath.Join(dir, part, "pando.pid"))
		if err != nil || json.Unmarshal(b, &r) != nil || r.PID <= 1 {
			continue // it is down
		}
		_ = syscall.Kill(r.PID, syscall.SIGCONT) // it may have been stopped, or be gone
		_ = syscall.Kill(r.PID, syscall.SIGTERM)
		if !await(10*time.Second, func() bool { return !lives(r.PID) }) {
			t.Errorf("the %s, pid %d, does not stop", part, r.PID)
		}
	}
	if !t.Failed() {
		return
	}
	for _, part := range []string{"master", "agent"} {
		if log, err := os.ReadFile(filepath.Join(dir, part+".log")); err == nil {
			t.Logf("the %s's log:\n%s", part, log)
		}
	}
}

// await waits until something is so, or says that it did not become so in time.
func await(limit time.Duration, so func() bool) bool {
	for deadline := time.Now().Add(limit); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// lives says whether a process runs; one that ended and that nobody has asked for does not.
func lives(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(status), "\nState:\tZ")
}

// busy says whether an agent still has frameworks.
func busy(c cluster) bool {
	r, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + c.Agent + "/state")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	var s struct {
		Frameworks []any `json:"frameworks"`
	}
	return json.NewDecoder(r.Body).Decode(&s) == nil && len(s.Frameworks) > 0
}

// freePorts are ports that nobody has at the moment.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	out := make([]int, 0, n)
	for range n {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out
}

func TestPandoBearsFaultsAsTheOriginalWasRecorded(t *testing.T) {
	golden(t)
	for _, name := range faulty {
		t.Run(name, func(t *testing.T) {
			c, env := apart(t)
			probe(t, c, name, env...)
		})
	}
}
