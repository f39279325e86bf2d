package interop

import (
	"strings"
	"testing"
	"time"
)

// executors are programs whose executors are on somebody else's client too. They are given the commands that kill their agent and
// start it again, besides master and agent.
var executors = []client{
	{"pymesos 0.3.15 with JSON", "interop-pymesos-executor", python("with_pymesos_executor.py")},
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
