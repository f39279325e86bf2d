package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/gen/mesosv1"
)

// imageVolume shows an image at a place.
func imageVolume(mode mesosv1.Volume_Mode, in, image string) *mesosv1.Volume {
	return &mesosv1.Volume{Mode: &mode, ContainerPath: &in, Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: &image}}}
}

func TestAnImageIsAVolumeOfATaskWithAnother(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	data := s.push("data:1", v1.Config{}, layerOf(t, file{name: "set/", mode: 0o755}, file{name: "set/one", content: "first", mode: 0o644}), layerOf(t, file{name: "set/two", content: "second", mode: 0o644}))
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	const script = "cat /ro/set/one /ro/set/two; (echo x > /ro/set/new) 2>/dev/null || echo ' sealed'; ls /rw/set | sort; echo x > /rw/set/new && echo y > /rw/set/one && cat /rw/set/new /rw/set/one in/set/two; echo"
	volumes := func() []*mesosv1.Volume {
		return []*mesosv1.Volume{imageVolume(mesosv1.Volume_RO, "/ro", data), imageVolume(mesosv1.Volume_RW, "/rw", data), imageVolume(mesosv1.Volume_RO, "/mnt/mesos/sandbox/in", data)}
	}
	const want = "firstsecond sealed\none\ntwo\nx\ny\nsecond\n"
	for _, id := range []string{"changes", "after"} { // what the first changed the second does not see
		x := inImage(task(id, "cd /mnt/mesos/sandbox; "+script), image)
		x.Container.Volumes = volumes()
		must(t, f.accept(x))
		if e := f.end(id); e.GetState() != finished {
			t.Errorf("%s ended as %v", id, e)
		}
		if err := holds(sandboxOf(t, n, f, id)+"/stdout", want); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	grouped := inImage(task("grouped", "cd /mnt/mesos/sandbox; "+script+"; exec sleep 1000"), image)
	grouped.Container.Volumes = volumes()
	f.launchGroup(grouped)
	eventually(t, "the group's task to see it", func() error { return holds(boxOf(t, n, f, "grouped")+"/stdout", want) })
	times := f.subscriptions()
	n.signal(syscall.SIGKILL)
	n.start()
	f.resubscribed(times)
	if code, said := outcome(t, n.pando("image", "rm", data)); code == 0 || !strings.Contains(said, "use") {
		t.Errorf("an image that is a volume was removed: %d %s", code, said)
	}
	f.goodbye("grouped")
	eventually(t, "the image to be removable, and its changes gone", func() error {
		if code, said := outcome(t, n.pando("image", "rm", data)); code != 0 && !strings.Contains(said, "not on this machine") {
			return fmt.Errorf("image rm: %d %s", code, said)
		}
		left, err := filepath.Glob(filepath.Join(n.data(), "agent/scratch/*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there is %v", left)
		}
		return err
	})
	for id, c := range map[string]struct {
		v     *mesosv1.Volume
		words string
	}{
		"missing": {imageVolume(mesosv1.Volume_RO, "/x", s.host+"/none:1"), "none:1"},
		"kernel":  {imageVolume(mesosv1.Volume_RW, "/proc/self", image), "nothing may be mounted"},
		"link":    {imageVolume(mesosv1.Volume_RO, "/proc/sys", image), "nothing may be mounted"},
	} {
		x := inImage(task(id, "true"), image)
		x.Container.Volumes = []*mesosv1.Volume{c.v}
		must(t, f.accept(x))
		if e := f.end(id); e.GetState() != failed || e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(e.GetMessage(), c.words) {
			t.Errorf("%s ended as %v", id, e)
		}
	}
	eventually(t, "nothing to be left of those that failed", func() error {
		left, err := filepath.Glob(filepath.Join(n.data(), "agent/scratch/*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there is %v", left)
		}
		return err
	})
}
