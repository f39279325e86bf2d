package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
)

// launchBox starts a container of the API with a container description.
func (s *scope) launchBox(id *mesosv1.ContainerID, script string, c *mesosv1.ContainerInfo) error {
	command := shell(id.GetValue(), script)
	if script == "" {
		command.Shell, command.Value = new(false), nil
	}
	_, err := s.api.Call(s.t.Context(), &agent.Call{Type: agent.Call_LAUNCH_CONTAINER.Enum(), LaunchContainer: &agent.Call_LaunchContainer{
		ContainerId: id, Command: command, Resources: resourcesOf(id), Container: c,
	}})
	return err
}

func below(parent *mesosv1.ContainerID, name string) *mesosv1.ContainerID {
	return &mesosv1.ContainerID{Value: &name, Parent: parent}
}

// boxed is the description of a container with an image.
func boxed(image string) *mesosv1.ContainerInfo { return inImage(task("x", ""), image).GetContainer() }

// said is what a session in a container writes.
func (s *scope) said(in *mesosv1.ContainerID, script string) string {
	s.t.Helper()
	out, err := s.api.Session(s.t.Context(), &agent.Call_LaunchNestedContainerSession{ContainerId: below(in, "talk"), Command: shell("talk", script)})
	must(s.t, err)
	var text bytes.Buffer
	must(s.t, out.Copy(&text, io.Discard))
	_, err = s.api.Wait(s.t.Context(), below(in, "talk"))
	must(s.t, err)
	must(s.t, s.api.Remove(s.t.Context(), below(in, "talk")))
	return text.String()
}

// noScratch waits until nothing is left of what containers changed in images, or in copies of them.
func (n *node) noScratch() {
	n.t.Helper()
	eventually(n.t, "what the containers changed to be gone", func() error {
		left, err := filepath.Glob(filepath.Join(n.data(), "agent/scratch/*"))
		copies, err2 := filepath.Glob(filepath.Join(n.data(), "agent/copies/*"))
		if left = append(left, copies...); len(left) > 0 {
			return fmt.Errorf("there is %v", left)
		}
		return errors.Join(err, err2)
	})
}

// noImages waits until no image is held any more.
func (n *node) noImages() {
	n.t.Helper()
	eventually(n.t, "the images to be removable", func() error {
		_, said := outcome(n.t, n.pando("image", "prune"))
		_, left := outcome(n.t, n.pando("image", "ls", "-o", "json"))
		if strings.TrimSpace(left) != "[]" {
			return fmt.Errorf("%s; there is %s", said, left)
		}
		return nil
	})
}

func TestContainersByCallHaveImagesOfTheirOwn(t *testing.T) {
	need(t, true)
	shelf := newShelf(t)
	one := shelf.push("one:1", v1.Config{Env: []string{"PATH=/bin", "FROM=one"}, WorkingDir: "/tmp", Entrypoint: []string{"/bin/echo", "of the image"}})
	two := shelf.push("two:1", v1.Config{Env: []string{"PATH=/bin", "FROM=two"}}, layerOf(t, file{name: "etc/whose", content: "the other's", mode: 0o644}))
	n := inMemory(t, "--plain-registries", shelf.host)
	n.start()
	s := scopeOn(t, n, false, task("top", "exec sleep 1000"))
	top := sandboxOf(t, n, s.f, "top")

	host := fresh()
	must(t, os.Mkdir(host, 0o755))
	must(t, os.WriteFile(filepath.Join(host, "seen"), []byte("the machine's\n"), 0o644))
	c := boxed(one)
	within := func(kind mesosv1.Volume_Source_SandboxPath_Type, path, at string) *mesosv1.Volume {
		return &mesosv1.Volume{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: &at, Source: &mesosv1.Volume_Source{
			Type: mesosv1.Volume_Source_SANDBOX_PATH.Enum(), SandboxPath: &mesosv1.Volume_Source_SandboxPath{Type: &kind, Path: &path},
		}}
	}
	c.Volumes = []*mesosv1.Volume{
		within(mesosv1.Volume_Source_SandboxPath_SELF, "mine", "/mine"), within(mesosv1.Volume_Source_SandboxPath_PARENT, "ours", "/ours"),
		{Mode: mesosv1.Volume_RO.Enum(), ContainerPath: new("/host"), HostPath: &host},
		{Mode: mesosv1.Volume_RO.Enum(), ContainerPath: new("/other"), Image: boxed(two).GetMesos().GetImage()},
		{Mode: mesosv1.Volume_RO.Enum(), ContainerPath: new("/secret"), Source: &mesosv1.Volume_Source{
			Type: mesosv1.Volume_Source_SECRET.Enum(), Secret: &mesosv1.Secret{Type: mesosv1.Secret_VALUE.Enum(), Value: &mesosv1.Secret_Value{Data: []byte("hush\n")}},
		}},
	}
	kid := s.kid("kid")
	must(t, s.launchBox(kid, `cat /etc/whose; echo; pwd; echo $FROM $MESOS_SANDBOX $$; cat /host/seen /secret /other/etc/whose; echo
		echo mine > /mine/x; echo ours > /ours/x; echo > /made; while [ ! -e /mnt/mesos/sandbox/go ]; do sleep 0.05; done; exit 7`, c))
	box := filepath.Join(top, "containers/kid")
	eventually(t, "what it finds", func() error {
		return holds(box+"/stdout", "the image's\n/tmp\none /mnt/mesos/sandbox 1\nthe machine's\nhush\nthe other's\n")
	})
	eventually(t, "what it writes", func() error { return errors.Join(holds(box+"/mine/x", "mine\n"), holds(top+"/ours/x", "ours\n")) })
	if _, err := os.Stat("/made"); err == nil {
		t.Error("it made a file on the machine")
	}

	grandkid, plain := below(kid, "grandkid"), below(kid, "plain")
	c = boxed(two)
	c.Volumes = []*mesosv1.Volume{within(mesosv1.Volume_Source_SandboxPath_PARENT, "mine", "/theirs")}
	must(t, s.launchBox(grandkid, `cat /etc/whose; echo; cat /theirs/x; echo $$; test -e /made || echo apart; exec sleep 1000`, c))
	eventually(t, "what is below it to have its own image", func() error {
		return holds(box+"/containers/grandkid/stdout", "the other's\nmine\n1\napart\n")
	})
	must(t, s.launchBox(plain, "test -e /etc/whose || echo the machine", nil))
	if status, err := s.api.Wait(t.Context(), plain); status != 0 || err != nil {
		t.Errorf("one without an image: %#x, %v", status, err)
	}
	must(t, holds(box+"/containers/plain/stdout", "the machine\n"))

	// The image's own command, standing alone.
	alone := &mesosv1.ContainerID{Value: new("alone")}
	must(t, s.launchBox(alone, "", boxed(one)))
	if status, err := s.api.Wait(t.Context(), alone); status != 0 || err != nil {
		t.Errorf("one that stands alone: %#x, %v", status, err)
	}
	must(t, holds(filepath.Join(n.data(), "agent/containers/alone/stdout"), "of the image\n"))
	must(t, s.api.Remove(t.Context(), alone))
	must(t, s.launchBox(alone, "echo > /ready; exec sleep 1000", boxed(two)))

	inside := func() {
		t.Helper()
		eventually(t, "a session in each", func() error {
			if a, b, c := s.said(kid, "cat /etc/whose; ls -d /made; echo $FROM"), s.said(grandkid, "cat /etc/whose"), s.said(alone, "ls -d /ready"); a != "the image's/made\none\n" || b != "the other's" || c != "/ready\n" {
				return fmt.Errorf("they say %q, %q and %q", a, b, c)
			}
			return nil
		})
	}
	inside()
	n.signal(syscall.SIGKILL)
	s.back()
	n.says("image", "prune")
	inside() // their images are held still
	if left, err := filepath.Glob(filepath.Join(n.data(), "agent/scratch/*")); err != nil || len(left) != 3 {
		t.Errorf("%d containers keep what they change: %v %v", len(left), left, err)
	}

	// One ends while the agent is away.
	n.signal(syscall.SIGKILL)
	must(t, os.WriteFile(box+"/go", nil, 0o644))
	eventually(t, "both to end", func() error {
		if p := processesOf(t); len(p["kid"])+len(p["grandkid"]) > 0 {
			return fmt.Errorf("there are %v %v", p["kid"], p["grandkid"])
		}
		return nil
	})
	s.back()
	if status := s.waited("kid"); status != 7<<8 {
		t.Errorf("its status is %#x", status)
	}
	must(t, s.api.Remove(t.Context(), kid))
	must(t, s.api.Kill(t.Context(), alone, 0))
	if status, err := s.api.Wait(t.Context(), alone); status != int(syscall.SIGKILL) || err != nil {
		t.Errorf("its status is %#x, %v", status, err)
	}
	must(t, s.api.Remove(t.Context(), alone))
	for _, dir := range []string{box, filepath.Join(n.data(), "agent/containers/alone")} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s stays: %v", dir, err)
		}
	}
	n.noScratch()
	n.noImages()
	if left, err := filepath.Glob(filepath.Join(n.run(), "secrets/volumes/*")); err != nil || len(left) > 0 {
		t.Errorf("files of secrets stay: %v %v", left, err)
	}
	s.nothingBelow("kid", "grandkid", "alone")
}

func TestAContainerByCallSharesTheNamespacesOfItsParentIfItAsksTo(t *testing.T) {
	need(t, true)
	shelf := newShelf(t)
	image := shelf.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, shelf)
	s := scopeOn(t, n, true, inImage(task("top", "exec sleep 1000"), image))
	const look = "stat -L -c %i /proc/self/ns/pid /proc/self/ns/ipc"
	near := boxed(image)
	near.LinuxInfo = &mesosv1.LinuxInfo{SharePidNamespace: new(true), IpcMode: mesosv1.LinuxInfo_SHARE_PARENT.Enum()}
	looks := map[string]string{"top": s.said(s.top, look)}
	for name, c := range map[string]*mesosv1.ContainerInfo{"near": near, "own": boxed(image)} {
		must(t, s.launchBox(s.kid(name), look+"; test $$ = 1; exit $?", c))
		want := map[string]int{"near": 1 << 8, "own": 0}[name]
		if status := s.waited(name); status != want {
			t.Errorf("the status of %s is %#x, want %#x", name, status, want)
		}
		b, err := os.ReadFile(filepath.Join(sandboxOf(t, n, s.f, "top"), "containers", name, "stdout"))
		must(t, err)
		looks[name] = string(b)
	}
	top, own := strings.Fields(looks["top"]), strings.Fields(looks["own"])
	if looks["near"] != looks["top"] || len(top) != 2 || len(own) != 2 || own[0] == top[0] || own[1] == top[1] {
		t.Errorf("their namespaces are %q", looks)
	}
	// What shares its parent's processes ends with the parent, and leaves nothing.
	must(t, s.launchBox(s.kid("stays"), "exec sleep 1000", near))
	if p := s.said(s.kid("stays"), "ps -o args | grep -cx 'sleep 1000'"); p != "2\n" {
		t.Errorf("it sees %q processes of both", p)
	}
	s.f.killed("top")
	s.nothingBelow("stays")
	n.noScratch()
	n.noImages()
}

func TestImagesOfContainersByCallAreRefusedWithWords(t *testing.T) {
	need(t, true)
	shelf := newShelf(t)
	image := shelf.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, shelf)
	s := scopeOn(t, n, true, task("top", "exec sleep 1000"), ofUser("nobody"))
	theirs := *s
	theirs.api = containers(t, n.agent, true, httpAs(65534))
	alone := &mesosv1.ContainerID{Value: new("alone")}
	caps := boxed(image)
	caps.LinuxInfo = &mesosv1.LinuxInfo{EffectiveCapabilities: &mesosv1.CapabilityInfo{Capabilities: []mesosv1.CapabilityInfo_Capability{mesosv1.CapabilityInfo_SYS_ADMIN}}}
	orphan := boxed(image)
	orphan.Volumes = sharing(inImage(task("x", ""), image), "a", "/a").Container.Volumes
	nets := boxed(image)
	nets.NetworkInfos = []*mesosv1.NetworkInfo{{Name: new("mesos-bridge")}}
	for _, c := range []struct {
		name  string
		id    *mesosv1.ContainerID
		is    *mesosv1.ContainerInfo
		words string
	}{
		{"type DOCKER", s.kid("x"), &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{Image: &image}}, "type MESOS"},
		{"no such image", s.kid("x"), boxed(shelf.host + "/none:1"), "none:1"},
		{"networks below another", s.kid("x"), nets, "has the other's networks"},
		{"a file of the machine's", s.kid("x"), boxed("oci:/etc"), "only frameworks of root"},
		{"capabilities", alone, caps, "only for frameworks of root"},
		{"a parent's sandbox without a parent", alone, orphan, "has no parent"},
	} {
		if err := theirs.launchBox(c.id, "true", c.is); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := s.api.Session(t.Context(), &agent.Call_LaunchNestedContainerSession{ContainerId: s.kid("talk"), Command: shell("talk", "true"), Container: boxed(image)})
	if err == nil || !strings.Contains(err.Error(), "leave container.mesos.image out") {
		t.Errorf("a session with an image: %v", err)
	}
	// Nor does an image give a user anything.
	must(t, theirs.launchBox(s.kid("plain"), "id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status", boxed(image)))
	if status := s.waited("plain"); status != 0 {
		t.Errorf("its status is %#x", status)
	}
	box := filepath.Join(sandboxOf(t, n, s.f, "top"), "containers")
	must(t, holds(box+"/plain/stdout", "65534\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n"))
	n.noScratch()
	if _, err := os.Stat(box + "/x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was refused has a sandbox: %v", err)
	}
	n.noImages()
}

func TestAContainerByCallSharesAPersistentVolumeOfItsTask(t *testing.T) {
	need(t, true)
	shelf := newShelf(t)
	image := shelf.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, shelf)
	agent := n.id()
	n.says("reserve", agent, "disk:64", "--role", "test")
	n.says("volume", "create", agent, "v", "--role", "test", "--size", "32", "--path", "data")
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT))
	f.launch(onVolume(inImage(task("top", "echo kept > data/file; exec sleep 1000"), image), f.volume("v")))
	s := &scope{node: n, f: f, api: containers(t, n.agent, true, nil), top: f.await("top", running).GetContainerStatus().GetContainerId()}
	c := boxed(image)
	c.Volumes = sharing(inImage(task("x", ""), image), "data", "/theirs").Container.Volumes
	must(t, s.launchBox(s.kid("kid"), "until [ -s /theirs/file ]; do sleep 0.05; done; cat /theirs/file; echo back > /theirs/answer", c))
	if status := s.waited("kid"); status != 0 {
		t.Errorf("its status is %#x", status)
	}
	must(t, holds(filepath.Join(n.data(), "agent/volumes/roles/test/v/answer"), "back\n"))
	f.killed("top")
}
