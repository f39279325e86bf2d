package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/mesos"
)

// operate makes a call of the operator's API.
func (n *node) operate(c *master.Call) reply {
	n.t.Helper()
	b, err := mesos.AppendJSON(nil, c)
	must(n.t, err)
	return ask(n.t, http.DefaultClient, http.MethodPost, "http://"+n.master+"/api/v1", string(b), "Content-Type", "application/json")
}

// unallocated is a resource as an operator names it.
func unallocated(r *mesosv1.Resource) *mesosv1.Resource {
	r = proto.CloneOf(r)
	r.AllocationInfo = nil
	return r
}

// sized waits until a volume is offered with a size.
func (f *framework) sized(id string, mb float64) *mesosv1.Resource {
	f.t.Helper()
	var v *mesosv1.Resource
	eventually(f.t, fmt.Sprintf("%s to have %v MB", id, mb), func() error {
		if v = f.volume(id); v.GetScalar().GetValue() != mb {
			return fmt.Errorf("it has %v", v.GetScalar().GetValue())
		}
		return nil
	})
	return v
}

func TestAnOperatorLetsAVolumeGrowAndShrinkAndItsDataStays(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	agent := n.id()
	n.says("reserve", agent, "disk:64", "--role", "test")
	n.says("volume", "create", agent, "v", "--role", "test", "--size", "32", "--path", "data")
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT), checkpointing)
	grow := func(v *mesosv1.Resource, by float64) reply {
		t.Helper()
		more := unallocated(v)
		more.Disk, more.Scalar.Value = nil, &by
		return n.operate(&master.Call{Type: master.Call_GROW_VOLUME.Enum(), GrowVolume: &master.Call_GrowVolume{
			AgentId: &mesosv1.AgentID{Value: &agent}, Volume: unallocated(v), Addition: more,
		}})
	}
	shrink := func(v *mesosv1.Resource, by float64) reply {
		t.Helper()
		return n.operate(&master.Call{Type: master.Call_SHRINK_VOLUME.Enum(), ShrinkVolume: &master.Call_ShrinkVolume{
			AgentId: &mesosv1.AgentID{Value: &agent}, Volume: unallocated(v), Subtract: &mesosv1.Value_Scalar{Value: &by},
		}})
	}
	answers := func(what string, r reply, want int) {
		t.Helper()
		if r.status != want {
			t.Errorf("%s: %d %s, want %d", what, r.status, r.body, want)
		}
	}
	v := f.sized("v", 32)
	f.launch(onVolume(task("writes", "echo kept > data/file; exec sleep 1000"), v))
	eventually(t, "the word", func() error {
		return holds(filepath.Join(n.data(), "agent/volumes/roles/test/v/file"), "kept\n")
	})
	answers("growing one that is used", grow(v, 16), http.StatusConflict)
	answers("shrinking one that is used", shrink(v, 16), http.StatusConflict)
	f.goodbye("writes")

	v = f.sized("v", 32)
	answers("growing by more than is there", grow(v, 33), http.StatusConflict)
	answers("shrinking by all", shrink(v, 32), http.StatusBadRequest)
	answers("growing by what is reserved", grow(v, 16), http.StatusAccepted)
	was := v
	v = f.sized("v", 48)
	answers("growing one as it was", grow(was, 16), http.StatusConflict)
	answers("growing by the rest", grow(v, 16), http.StatusAccepted)
	v = f.sized("v", 64)
	answers("growing by more than the rest", grow(v, 1), http.StatusConflict)
	answers("shrinking", shrink(v, 56), http.StatusAccepted)
	f.sized("v", 8)
	eventually(t, "the agent to have written it down, which the answer does not wait for", func() error {
		state := ask(t, http.DefaultClient, http.MethodGet, "http://"+n.agent+"/state", "").body
		if !strings.Contains(state, `"scalar":{"value":8.0}`) {
			return errors.New(state)
		}
		return nil
	})

	n.signal(syscall.SIGKILL)
	n.start()
	f.until("another subscription", func() bool { return f.times > 1 })
	f.launch(onVolume(task("reads", "cat data/file; exec sleep 1000"), f.sized("v", 8)))
	eventually(t, "what was kept to be read", func() error { return holds(sandboxOf(t, n, f, "reads")+"/stdout", "kept\n") })
	f.goodbye("reads")
	n.says("volume", "rm", agent, "v")
	n.says("unreserve", agent, "disk:64", "--role", "test") // all of it is disk again
}
