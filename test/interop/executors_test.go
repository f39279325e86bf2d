package interop

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// executors are programs whose executors are on somebody else's client too. They are given the commands that kill their agent and
// start it again, besides master and agent.
var executors = []client{
	{"pymesos 0.3.15 with JSON", "interop-executor", python("with_pymesos_executor.py")},
	{"mesos-rxjava 0.2.0 with protobuf", "interop-executor", rxjavaExecutor},
}

// rxjavaExecutor is pymesos' scheduler whose executor is mesos-rxjava.
func rxjavaExecutor(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := python("with_pymesos_executor.py")(t)
	executor := java(t, "interop.Executor")
	quoted := make([]string, len(executor.Args))
	for i, arg := range executor.Args {
		quoted[i] = "'" + arg + "'"
	}
	cmd.Env = append(cmd.Env, "EXECUTOR=exec "+strings.Join(quoted, " "))
	return cmd
}

func TestAnUnmodifiedExecutorOutlivesItsAgentsCrash(t *testing.T) {
	interop(t)
	for _, client := range executors {
		t.Run(client.name, func(t *testing.T) {
			cmd := client.install(t)
			c, env := apart(t)
			args := []string{c.Master, c.Agent}
			for _, want := range []string{"PROBE_AGENT_KILL=", "PROBE_AGENT_START="} {
				for _, e := range env {
					if deed, ok := strings.CutPrefix(e, want); ok {
						args = append(args, deed)
					}
				}
			}
			cmd.Args = append(cmd.Args, args...)
			begun := time.Now()
			out, err := within(t, clientTime, cmd)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%.1fs", time.Since(begun).Seconds())
		})
	}
}
