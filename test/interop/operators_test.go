package interop

import (
	"os/exec"
	"testing"
	"time"
)

// operators are programs that watch a master with somebody else's client while tasks run, and ask it and its agent what there
// is. They are given the master and the agent.
var operators = []client{
	{"mesos-rxjava 0.2.0 with protobuf", "interop-operator", func(t *testing.T) *exec.Cmd { t.Helper(); return java(t, "interop.Operator") }},
	{"@dcos/mesos-client 1.0.0 with JSON", "interop-mesos-framework", node("operator_with_dcos_mesos_client.js")},
}

func TestAnUnmodifiedOperatorWatchesTasks(t *testing.T) {
	interop(t)
	for _, client := range operators {
		t.Run(client.name, func(t *testing.T) {
			cmd := client.install(t)
			c := start(t)
			cmd.Args = append(cmd.Args, c.Master, c.Agent)
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
