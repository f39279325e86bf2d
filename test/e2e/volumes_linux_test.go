package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
)

func able(caps ...mesosv1.FrameworkInfo_Capability_Type) options {
	return func(o *client.SchedulerOptions) {
		for _, c := range caps {
			o.Framework.Capabilities = append(o.Framework.Capabilities, &mesosv1.FrameworkInfo_Capability{Type: &c})
		}
	}
}

// says runs a command of ours that must succeed.
func (n *node) says(args ...string) string {
	n.t.Helper()
	code, out := outcome(n.t, n.pando(args...))
	if code != 0 {
		n.t.Fatalf("pando %s: code %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// id is the agent's.
func (n *node) id() string {
	n.t.Helper()
	var all []struct{ ID string }
	eventually(n.t, "the agent to be there", func() error {
		if err := json.Unmarshal([]byte(n.says("node", "ls", "-o", "json")), &all); err != nil || len(all) != 1 {
			return fmt.Errorf("%d nodes, %w", len(all), err)
		}
		return nil
	})
	return all[0].ID
}

// volume waits until a volume is offered, and gives it as it is there.
func (f *framework) volume(id string) (found *mesosv1.Resource) {
	f.t.Helper()
	eventually(f.t, "an offer of the volume "+id, func() error {
		f.offered()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, o := range f.offers {
			for _, r := range o.GetResources() {
				if r.GetDisk().GetPersistence().GetId() == id {
					found = proto.CloneOf(r)
					return nil
				}
			}
		}
		return errors.New("it is not offered yet")
	})
	return found
}

// on gives a task a volume.
func onVolume(x *mesosv1.TaskInfo, v *mesosv1.Resource) *mesosv1.TaskInfo {
	x.Resources = append(x.Resources, v)
	return x
}

func TestAVolumeOutlivesItsTaskItsAgentAndItsMaster(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	agent := n.id()
	n.says("reserve", agent, "disk:64", "--role", "test")
	n.says("volume", "create", agent, "v", "--role", "test", "--size", "32", "--path", "deep/data")
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT), ofUser("nobody"))
	v := f.volume("v")
	f.launch(onVolume(task("writes", "echo kept > deep/data/file; exec sleep 1000"), v))

	n.signal(syscall.SIGKILL)
	n.start()
	f.until("another subscription", func() bool { return f.times > 1 })
	if code, out := outcome(t, n.pando("volume", "rm", agent, "v")); code == 0 {
		t.Errorf("a volume that is used is removed: %s", out)
	}
	must(t, f.kill("writes"))
	f.end("writes")
	f.launch(onVolume(task("reads", "cat deep/data/file; id -un; exec sleep 1000"), f.volume("v")))
	eventually(t, "what was kept to be read", func() error {
		return holds(filepath.Join(sandboxOf(t, n, f, "reads"), "stdout"), "kept\nnobody\n")
	})
	data := filepath.Join(n.data(), "agent", "volumes", "roles", "test", "v")
	must(t, holds(filepath.Join(data, "file"), "kept\n"))
	must(t, f.kill("reads"))
	f.end("reads")

	n.signal(syscall.SIGTERM)
	n.start()
	if out := n.says("volume", "ls"); !strings.Contains(out, "v ") || !strings.Contains(out, "deep/data") {
		t.Errorf("after a restart of all the volumes are %s", out)
	}
	eventually(t, "the volume to be free", func() error {
		if code, out := outcome(t, n.pando("volume", "rm", agent, "v")); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	eventually(t, "its data to be gone", func() error {
		if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	n.says("unreserve", agent, "disk:64", "--role", "test")
	if out := n.says("reserve", "ls", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("what is reserved at the end: %s", out)
	}
}

func TestAVolumeIsSharedByTwoTasks(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	agent := n.id()
	n.says("reserve", agent, "disk:64", "--role", "test")
	n.says("volume", "create", agent, "s", "--role", "test", "--size", "32", "--path", "data", "--shared")
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT, mesosv1.FrameworkInfo_Capability_SHARED_RESOURCES))
	v := f.volume("s")
	f.launch(onVolume(task("one", "echo hello > data/from-one; exec sleep 1000"), v),
		onVolume(task("two", "until [ -e data/from-one ]; do sleep 0.05; done; cat data/from-one; exec sleep 1000"), proto.CloneOf(v)))
	eventually(t, "one's word to reach two", func() error { return holds(filepath.Join(sandboxOf(t, n, f, "two"), "stdout"), "hello\n") })
	must(t, f.kill("one"))
	f.end("one")
	if code, out := outcome(t, n.pando("volume", "rm", agent, "s")); code == 0 {
		t.Errorf("a volume that one task still uses is removed: %s", out)
	}
	must(t, f.kill("two"))
	f.end("two")
	eventually(t, "the volume to be free", func() error {
		if code, out := outcome(t, n.pando("volume", "rm", agent, "s")); code != 0 {
			return errors.New(out)
		}
		return nil
	})
}

func TestAPodFindsItsVolume(t *testing.T) {
	need(t, true)
	n := newNode(t, "up")
	n.start()
	agent := n.id()
	n.says("reserve", agent, "disk:64", "--role", "test")
	n.says("volume", "create", agent, "p", "--role", "test", "--size", "32", "--path", "data")
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT))
	v := f.volume("p")
	must(t, f.acceptGroup(onVolume(task("a", "echo pod > data/file; exec sleep 1000"), v), task("b", "exec sleep 1000")))
	for _, id := range []string{"a", "b"} {
		f.await(id, running)
	}
	eventually(t, "the pod's word to be kept", func() error {
		return holds(filepath.Join(n.data(), "agent", "volumes", "roles", "test", "p", "file"), "pod\n")
	})
	must(t, f.kill("a")) // which takes b along
	f.end("a")
	f.end("b")
}

func TestTasksOfAGroupFindTheirExecutorsVolumeInImagesOfTheirOwn(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, s)
	agent := n.id()
	n.says("reserve", agent, "disk:64", "--role", "test")
	n.says("volume", "create", agent, "p", "--role", "test", "--size", "32", "--path", "data")
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT))
	x := f.pod()
	x.Resources = append(x.Resources, f.volume("p"))
	must(t, f.acceptGroupOf(x,
		sharing(inImage(task("writes", "echo kept > /srv/data/file; exec sleep 1000"), image), "data", "/srv/data"),
		sharing(inImage(task("reads", "until [ -s /sub/file ]; do sleep 0.05; done; cat /sub/file; exec sleep 1000"), image), "data/sub", "/sub")))
	data := filepath.Join(n.data(), "agent", "volumes", "roles", "test", "p")
	eventually(t, "the volume to have what was written", func() error { return holds(filepath.Join(data, "file"), "kept\n") })
	must(t, os.WriteFile(filepath.Join(data, "sub/file"), []byte("below\n"), 0o644))
	eventually(t, "what is below it to be read", func() error { return holds(boxOf(t, n, f, "reads")+"/stdout", "below\n") })
	f.goodbye("writes", "reads")
}
