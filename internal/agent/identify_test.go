package agent

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/reconfigure"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

func TestAnAgentThatIsNotWhatItWas(t *testing.T) {
	a := newTestAgent(t, clock.Real())
	info, err := proto.Marshal(&mesosv1.AgentInfo{
		Hostname: new("localhost"), Port: new(int32(5051)), Attributes: must(mesos.ParseAttributes("rack:r9")),
		Resources: must(resource.Parse("cpus:8", "*")).ToProto("", resource.PostRefinement),
	})
	if err != nil {
		t.Fatal(err)
	}
	known := []workload.Record{{Identity: &workload.Identity{Agent: "S1", Info: info, Boot: "b"}}, {FrameworkGone: "F"}}
	_, err = a.identify(known)
	if err == nil {
		t.Fatal("it starts, and its tasks may still run")
	}
	for _, word := range []string{"S1", "resources", "attributes", "--reconfiguration-policy", "meta"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
	known[0].Identity.Boot = "an earlier one"
	if kept, err := a.identify(known); err != nil || len(kept) != 0 {
		t.Errorf("after a reboot it keeps %v (%v), want a new agent", kept, err)
	}
	a.cfg.Reconfiguration = reconfigure.Any
	if kept, err := a.identify(known); err != nil || len(kept) != 2 {
		t.Errorf("where anything may differ it keeps %v (%v), want all", kept, err)
	}
}
