package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/gen/mesosv1"
)

// An overlay cannot have its upper directory on an overlay, as in many a container.
func TestImagesAreCopiedWhereNoOverlayCanBe(t *testing.T) {
	need(t, true)
	dir := fresh()
	for _, d := range []string{"lower", "upper", "work", "data"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	place := filepath.Join(dir, "data")
	mounted := unix.Mount("overlay", place, "overlay", 0, "lowerdir="+dir+"/lower,upperdir="+dir+"/upper,workdir="+dir+"/work")
	if mounted != nil {
		t.Skipf("SKIP: no overlay can be mounted here: %v", mounted)
	}
	t.Cleanup(func() { // once the node has ended, which comes first
		if err := unix.Unmount(place, 0); err != nil {
			t.Errorf("unmount %s: %v", place, err)
		}
	})
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}}, layerOf(t, file{name: "opt/", mode: 0o755}, file{name: "opt/.wh.gone"}, file{name: "opt/x", content: "x\n", mode: 0o640}))
	n := newNode(t, "up", "--plain-registries", s.host)
	n.place = place
	n.start()
	f := subscribe(t, n.master)
	const script = "cat /opt/x; ls /opt; echo y > /opt/y; (echo z > /ro/opt/z) 2>/dev/null || echo sealed; echo w > /rw/opt/w && cat /rw/opt/w; test -e /opt/w || echo apart; exec sleep 1000"
	for _, id := range []string{"one", "two"} {
		x := inImage(task(id, script), image)
		volume := func(at string, mode mesosv1.Volume_Mode) *mesosv1.Volume {
			return &mesosv1.Volume{ContainerPath: &at, Mode: &mode, Image: x.Container.Mesos.Image}
		}
		x.Container.Volumes = []*mesosv1.Volume{volume("/ro", mesosv1.Volume_RO), volume("/rw", mesosv1.Volume_RW)}
		f.launch(x)
		eventually(t, "what it finds", func() error { return holds(sandboxOf(t, n, f, id)+"/stdout", "x\nx\nsealed\nw\napart\n") })
	}
	if said := n.out.String(); strings.Count(said, "overlayfs cannot be used") != 1 {
		t.Errorf("it said %s", said)
	}
	n.signal(syscall.SIGKILL)
	n.start()
	if code, said := outcome(t, n.pando("task", "exec", "one", "ls", "/opt")); code != 0 || said != "x\ny\n" {
		t.Errorf("after the agent was killed: %d %q", code, said)
	}
	for _, id := range []string{"one", "two"} {
		f.killed(id)
	}
	n.noScratch()
	n.noImages()
}
