package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/pando-os/pando/gen/mesosv1"
)

// shelf is a registry of the test's own.
type shelf struct {
	t      *testing.T
	server *httptest.Server
	host   string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip("SKIP: images are made of /bin/busybox (Debian's busybox-static)")
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return &shelf{t, s, s.Listener.Addr().String()}
}

// file is one in a layer; a name with a slash behind it is a directory, and to makes it a link.
type file struct {
	name, content, to string
	mode              int64
}

func layerOf(t *testing.T, files ...file) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Linkname: f.to}
		switch {
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		case f.to != "":
			h.Typeflag = tar.TypeSymlink
		}
		must(t, w.WriteHeader(h))
		_, err := w.Write([]byte(f.content))
		must(t, err)
	}
	must(t, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	must(t, err)
	return l
}

// push makes an image of a shell and more layers, and gives its name.
func (s *shelf) push(tag string, config v1.Config, layers ...v1.Layer) string {
	s.t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	must(s.t, err)
	base := []file{{name: "bin/", mode: 0o755}, {name: "bin/busybox", content: string(busybox), mode: 0o755}, {name: "tmp/", mode: 0o1777}, {name: "etc/", mode: 0o755}, {name: "etc/whose", content: "the image's", mode: 0o644}}
	for _, c := range []string{"sh", "cat", "echo", "sleep", "ls", "id", "pwd", "hostname", "env", "sort", "grep", "touch", "test", "mkdir", "mount", "stat", "ps"} {
		base = append(base, file{name: "bin/" + c, to: "busybox"})
	}
	return s.pushOf(tag, config, append([]v1.Layer{layerOf(s.t, base...)}, layers...)...)
}

// pushOf makes an image of nothing but some layers, and gives its name.
func (s *shelf) pushOf(tag string, config v1.Config, layers ...v1.Layer) string {
	s.t.Helper()
	im, err := mutate.AppendLayers(empty.Image, layers...)
	must(s.t, err)
	c, err := im.ConfigFile()
	must(s.t, err)
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Config = "linux", "amd64", config
	im, err = mutate.ConfigFile(im, c)
	must(s.t, err)
	ref, err := name.ParseReference(s.host+"/"+tag, name.Insecure)
	must(s.t, err)
	must(s.t, remote.Write(ref, im))
	return s.host + "/" + tag
}

// inImage gives a task an image.
func inImage(x *mesosv1.TaskInfo, image string) *mesosv1.TaskInfo {
	x.Container = &mesosv1.ContainerInfo{
		Type:  mesosv1.ContainerInfo_MESOS.Enum(),
		Mesos: &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: &image}}},
	}
	return x
}

// imageNode is a node that may speak to the registry.
func imageNode(t *testing.T, s *shelf, args ...string) *node {
	t.Helper()
	n := newNode(t, "up", append([]string{"--plain-registries", s.host}, args...)...)
	n.start()
	return n
}

func TestATaskRunsInItsImage(t *testing.T) {
	need(t, true)
	for _, backend := range []string{"overlay", "copy"} {
		t.Run(backend, func(t *testing.T) { runInImages(t, backend) })
	}
}

func runInImages(t *testing.T, backend string) {
	t.Helper()
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"FROM=image", "PATH=/bin"}, WorkingDir: "/tmp", Entrypoint: []string{"/bin/echo", "entry"}, Cmd: []string{"cmd"}},
		layerOf(t, file{name: "etc/.wh.gone"}, file{name: "etc/whose", content: "the upper layer's", mode: 0o644}))
	n := imageNode(t, s, "--image-backend", backend)
	f := subscribe(t, n.master)
	outOf := func(id string) string {
		b, err := os.ReadFile(filepath.Join(sandboxOf(t, n, f, id), "stdout"))
		must(t, err)
		return string(b)
	}
	for id, c := range map[string]struct {
		edit func(*mesosv1.TaskInfo)
		want string
	}{
		"shell": {func(x *mesosv1.TaskInfo) {
			x.Command.Value = new(`cat /etc/whose; echo; pwd; echo $FROM $MESOS_SANDBOX; echo $$; ls /mnt/mesos/sandbox | grep -v '^std' | sort; touch /made /mnt/mesos/sandbox/kept; grep Seccomp: /proc/self/status`)
		}, "the upper layer's\n/tmp\nimage /mnt/mesos/sandbox\n1\nSeccomp:\t2\n"},
		"image-itself": {func(x *mesosv1.TaskInfo) { x.Command.Shell, x.Command.Value = new(false), nil }, "entry cmd\n"},
		"arguments": {func(x *mesosv1.TaskInfo) {
			x.Command.Shell, x.Command.Value, x.Command.Arguments = new(false), nil, []string{"a", "b"}
		}, "entry a b\n"},
		"value": {func(x *mesosv1.TaskInfo) {
			x.Command.Shell, x.Command.Value, x.Command.Arguments = new(false), new("/bin/echo"), []string{"echo", "x"}
		}, "x\n"},
		"named": {func(x *mesosv1.TaskInfo) {
			x.Container.Hostname, x.Command.Value = new("boxed"), new("hostname; grep boxed /etc/hosts")
		}, "boxed\n127.0.1.1 boxed\n"},
	} {
		x := inImage(task(id, ""), image)
		c.edit(x)
		must(t, f.accept(x))
		if e := f.end(id); e.GetState() != finished {
			t.Errorf("%s ended as %v", id, e)
			continue
		}
		if d := cmp.Diff(c.want, outOf(id)); d != "" {
			t.Errorf("%s (-want +got):\n%s", id, d)
		}
	}
	if _, err := os.Stat(filepath.Join(sandboxOf(t, n, f, "shell"), "kept")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/made"); err == nil {
		t.Error("a container made a file on the machine")
	}
	n.noScratch()
}

func TestATaskInAnImageOutlivesItsAgentAndIsEnteredByItsChecks(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	x := inImage(task("long", "echo here > /only; exec sleep 1000"), image)
	x.HealthCheck = &mesosv1.HealthCheck{
		Type: mesosv1.HealthCheck_COMMAND.Enum(), Command: &mesosv1.CommandInfo{Value: new("test -e /only && ! test -e /mnt/mesos/sandbox/ill")},
		DelaySeconds: new(0.0), IntervalSeconds: new(0.1), GracePeriodSeconds: new(0.0), ConsecutiveFailures: new(uint32(2)),
	}
	f.launch(x)
	healthy := func() bool {
		for _, s := range f.statuses["long"] {
			if s.GetHealthy() {
				return true
			}
		}
		return false
	}
	f.until("its check to find what is in it", healthy)
	code, said := outcome(t, n.pando("task", "exec", "long", "cat", "/only"))
	if code != 0 || said != "here\n" {
		t.Errorf("pando task exec: %d %q", code, said)
	}
	n.signal(syscall.SIGKILL)
	n.start()
	if code, said := outcome(t, n.pando("task", "exec", "long", "cat", "/only", "/etc/whose")); code != 0 || said != "here\nthe image's" {
		t.Errorf("after the agent was killed: %d %q", code, said)
	}
	must(t, os.WriteFile(filepath.Join(sandboxOf(t, n, f, "long"), "ill"), nil, 0o600))
	if e := f.end("long"); e.Healthy == nil || e.GetHealthy() {
		t.Errorf("it ended as %v", e)
	}
	noTaskProcesses(t)
}

func TestVolumesOfATaskWithAnImageAreWhereItSays(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	host := fresh()
	must(t, os.Mkdir(host, 0o755))
	must(t, os.WriteFile(filepath.Join(host, "seen"), []byte("the machine's"), 0o644))
	volume := func(mode mesosv1.Volume_Mode, in, from string) *mesosv1.Volume {
		return &mesosv1.Volume{Mode: &mode, ContainerPath: &in, HostPath: &from}
	}
	x := inImage(task("mounts", "cat /data/seen; echo more > /data/made; (echo no > /ro/made) 2>/dev/null || echo sealed; echo own > /own/x; cat /mnt/mesos/sandbox/below/x; cat inner/seen"), image)
	x.Container.Volumes = []*mesosv1.Volume{
		volume(mesosv1.Volume_RW, "/data", host), volume(mesosv1.Volume_RO, "/ro", host), volume(mesosv1.Volume_RW, "/own", "below"), volume(mesosv1.Volume_RO, "inner", host),
	}
	must(t, f.accept(x))
	if e := f.end("mounts"); e.GetState() != finished {
		t.Errorf("it ended as %v", e)
	}
	box := sandboxOf(t, n, f, "mounts")
	if err := holds(box+"/stdout", "the machine'ssealed\nown\nthe machine's"); err != nil {
		t.Error(err)
	}
	if err := holds(host+"/made", "more\n"); err != nil {
		t.Error(err)
	}
	if err := holds(box+"/below/x", "own\n"); err != nil {
		t.Error(err)
	}
	for id, c := range map[string]struct{ in, from, words string }{
		"nowhere": {"/x", "/no/such/place", "make it on the machine"}, "out": {"/x", "../..", "leads out"}, "kernel": {"/proc/sys", host, "nothing may be mounted"},
	} {
		x := inImage(task(id, "true"), image)
		x.Container.Volumes = []*mesosv1.Volume{volume(mesosv1.Volume_RW, c.in, c.from)}
		must(t, f.accept(x))
		if e := f.end(id); e.GetState() != failed || e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(e.GetMessage(), c.words) {
			t.Errorf("%s ended as %v", id, e)
		}
	}
}

// Whoever is not root makes his own images and chooses what of the machine they see, so nothing in them may make him more than he is.
func TestAnImageGivesAUserWhoIsNotRootNothing(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master, ofUser("nobody"))
	host := fresh()
	must(t, os.Mkdir(host, 0o755))
	x := inImage(task("plain", "id -u; grep -E 'CapEff|CapPrm|CapAmb|NoNewPrivs' /proc/self/status; (echo x > /host/x) 2>/dev/null || echo kept out"), image)
	x.Container.Volumes = []*mesosv1.Volume{{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: new("/host"), HostPath: &host}}
	must(t, f.accept(x))
	if e := f.end("plain"); e.GetState() != finished {
		t.Errorf("it ended as %v", e)
	}
	none := strings.Repeat("0", 16)
	want := fmt.Sprintf("65534\nCapPrm:\t%s\nCapEff:\t%s\nCapAmb:\t%s\nNoNewPrivs:\t1\nkept out\n", none, none, none)
	if err := holds(sandboxOf(t, n, f, "plain")+"/stdout", want); err != nil {
		t.Error(err)
	}
	docker := func(x *mesosv1.TaskInfo) *mesosv1.ContainerInfo_DockerInfo {
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{Image: &image}}
		return x.Container.Docker
	}
	all := &mesosv1.CapabilityInfo{Capabilities: []mesosv1.CapabilityInfo_Capability{mesosv1.CapabilityInfo_DAC_OVERRIDE}}
	for id, edit := range map[string]func(*mesosv1.TaskInfo){
		"privileged": func(x *mesosv1.TaskInfo) { docker(x).Privileged = new(true) },
		"added": func(x *mesosv1.TaskInfo) {
			docker(x).Parameters = []*mesosv1.Parameter{{Key: new("cap-add"), Value: new("SYS_ADMIN")}}
		},
		"effective": func(x *mesosv1.TaskInfo) {
			inImage(x, image).Container.LinuxInfo = &mesosv1.LinuxInfo{EffectiveCapabilities: all}
		},
		"without-image": func(x *mesosv1.TaskInfo) {
			x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), LinuxInfo: &mesosv1.LinuxInfo{EffectiveCapabilities: all}}
		},
	} {
		x := task(id, "true")
		edit(x)
		must(t, f.accept(x))
		if e := f.end(id); e.GetState() != failed || !strings.Contains(e.GetMessage(), "only for frameworks of root") {
			t.Errorf("%s ended as %v", id, e)
		}
	}
	const byCall = `{"type":"LAUNCH_CONTAINER","launch_container":{"container_id":{"value":"alone"},"command":{"value":"true"},
		"container":{"type":"MESOS","linux_info":{"effective_capabilities":{"capabilities":["DAC_OVERRIDE"]}}}}}`
	got := ask(t, httpAs(nobody), http.MethodPost, "http://"+n.agent+"/api/v1", byCall, "Content-Type", "application/json")
	if got.status != http.StatusBadRequest || !strings.Contains(got.body, "only for frameworks of root") {
		t.Errorf("a container by call: %d %s", got.status, got.body)
	}
}

func TestAnImageThatCannotBeHadFailsTheTaskWithWords(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	for id, c := range map[string]struct{ image, words string }{
		"missing": {s.host + "/none:1", "none:1"}, "unreachable": {"127.0.0.1:1/x:1", "127.0.0.1:1"}, "bad-name": {"UPPER CASE", "UPPER"}, "short": {"debian:12", "registry"},
	} {
		must(t, f.accept(inImage(task(id, "true"), c.image)))
		e := f.end(id)
		if e.GetState() != failed || e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(e.GetMessage(), c.words) {
			t.Errorf("%s ended as %v", id, e)
		}
		t.Log(e.GetMessage())
	}
	if left, err := filepath.Glob(filepath.Join(n.data(), "agent/scratch/*")); err != nil || len(left) > 0 {
		t.Errorf("there is left %v, %v", left, err)
	}
}

func TestATaskOfDockersTypeRunsWithoutDocker(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}, Entrypoint: []string{"/bin/echo", "entry"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	docker := func(id string, parameters ...string) *mesosv1.TaskInfo {
		x := task(id, "")
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{Image: &image}}
		for _, p := range parameters {
			key, value, _ := strings.Cut(p, " ")
			x.Container.Docker.Parameters = append(x.Container.Docker.Parameters, &mesosv1.Parameter{Key: &key, Value: &value})
		}
		return x
	}
	shell := docker("shell", "env A=b", "workdir /etc", "cap-drop ALL", "read-only", "tmpfs /run", "hostname web")
	shell.Command.Value = new("echo $A; pwd; hostname; grep CapEff /proc/self/status; (echo x > /x) 2>/dev/null || echo sealed; echo y > /run/y && cat /run/y")
	entry := docker("entry")
	entry.Command.Shell, entry.Command.Value, entry.Command.Arguments = new(false), new("v"), []string{"a"}
	for id, c := range map[string]struct {
		task *mesosv1.TaskInfo
		want string
	}{"shell": {shell, "b\n/etc\nweb\nCapEff:\t0000000000000000\nsealed\ny\n"}, "entry": {entry, "entry v a\n"}} {
		must(t, f.accept(c.task))
		if e := f.end(id); e.GetState() != finished {
			t.Errorf("%s ended as %v", id, e)
		}
		if err := holds(sandboxOf(t, n, f, id)+"/stdout", c.want); err != nil {
			t.Error(err)
		}
	}
	must(t, f.accept(docker("frob", "frob x")))
	if e := f.end("frob"); e.GetState() != failed || !strings.Contains(e.GetMessage(), "parameters[0] (frob)") {
		t.Errorf("a parameter that is not known: %v", e)
	}
}

func TestTasksOfAGroupHaveImagesOfTheirOwn(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	one, two := s.push("one:1", v1.Config{Env: []string{"PATH=/bin", "WHO=one"}}), s.push("two:1", v1.Config{Env: []string{"PATH=/bin", "WHO=two"}})
	n := imageNode(t, s)
	f := subscribe(t, n.master)
	shared := func(x *mesosv1.TaskInfo) *mesosv1.TaskInfo { return sharing(x, "common", "/common") }
	f.launchGroup(shared(inImage(task("one", "echo $WHO > /common/one; until [ -s /common/two ]; do sleep 0.05; done; cat /common/two; exec sleep 1000"), one)),
		shared(inImage(task("two", "echo $WHO > /common/two; until [ -s /common/one ]; do sleep 0.05; done; cat /common/one; exec sleep 1000"), two)),
		task("bare", "test ! -e /etc/whose; echo $?; exec sleep 1000"))
	for id, want := range map[string]string{"one": "two\n", "two": "one\n", "bare": "0\n"} {
		eventually(t, id+" to see what is its own", func() error { return holds(boxOf(t, n, f, id)+"/stdout", want) })
	}
	f.goodbye("one")
}

func TestImagesOfANodeAreListedPulledLoadedUsedAndRemoved(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"/bin/echo", "loaded"}})
	n := imageNode(t, s)
	n.says("image", "ls")
	if code, said := outcome(t, n.pando("image", "pull", image)); code != 0 || !strings.Contains(said, image) {
		t.Errorf("image pull: %d %s", code, said)
	}
	ref, err := name.ParseReference(image, name.Insecure)
	must(t, err)
	im, err := remote.Image(ref)
	must(t, err)
	file := fresh()
	tag, err := name.NewTag("example.org/loaded:1")
	must(t, err)
	must(t, tarball.WriteToFile(file, tag, im))
	s.server.Close() // what is there needs no registry
	if code, said := outcome(t, n.pando("image", "load", file)); code != 0 || !strings.Contains(said, "example.org/loaded:1") {
		t.Errorf("image load: %d %s", code, said)
	}
	if code, said := outcome(t, n.pando("run", "--image", "example.org/loaded:1")); code != 0 || said != "loaded\n" {
		t.Errorf("pando run --image of what was loaded: %d %q", code, said)
	}
	if code, said := outcome(t, n.pando("run", "--image", image, "--hostname", "web", "--", "sh", "-c", "hostname; exit 7")); code != 7 || !strings.Contains(said, "web\n") {
		t.Errorf("pando run --image with a command: %d %q", code, said)
	}
	f := subscribe(t, n.master)
	f.launch(inImage(task("uses", "exec sleep 1000"), image))
	if code, said := outcome(t, n.pando("image", "rm", image)); code == 0 || !strings.Contains(said, "use") {
		t.Errorf("an image that is in use was removed: %d %s", code, said)
	}
	if code, said := outcome(t, n.pando("image", "prune")); code != 0 {
		t.Errorf("image prune: %d %s", code, said)
	}
	if code, said := outcome(t, n.pando("task", "exec", "uses", "cat", "/etc/whose")); code != 0 || said != "the image's" {
		t.Errorf("after a prune its container has lost its files: %d %s", code, said)
	}
	f.goodbye("uses")
	eventually(t, "the image to be removable once nobody uses it", func() error {
		_, said := outcome(t, n.pando("image", "prune"))
		_, said2 := outcome(t, n.pando("image", "ls", "-o", "json"))
		if strings.TrimSpace(said2) != "[]" {
			return fmt.Errorf("%s; there is %s", said, said2)
		}
		return nil
	})
}

func TestAnImageIsRunFromAFileOfTheNode(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	names := map[string]string{}
	var images []v1.Image
	for _, tag := range []string{"one", "two"} {
		ref, err := name.ParseReference(s.push("app:"+tag, v1.Config{Env: []string{"PATH=/bin"}, Cmd: []string{"/bin/echo", tag}}), name.Insecure)
		must(t, err)
		im, err := remote.Image(ref)
		must(t, err)
		images = append(images, im)
		names[tag] = "example.org/app:" + tag
	}
	dir := fresh()
	must(t, os.Mkdir(dir, 0o755))
	both := map[name.Tag]v1.Image{}
	for i, tag := range []string{"one", "two"} {
		ref, err := name.NewTag(names[tag])
		must(t, err)
		both[ref] = images[i]
	}
	must(t, tarball.MultiWriteToFile(filepath.Join(dir, "both.tar"), both))
	laid, err := layout.Write(filepath.Join(dir, "laid"), empty.Index)
	must(t, err)
	must(t, laid.AppendImage(images[0], layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"})))
	n := imageNode(t, s)
	s.server.Close() // there is no registry
	for image, want := range map[string]string{
		"docker-archive:both.tar:" + names["two"]: "two\n", "docker-archive:" + dir + "/both.tar:" + names["one"]: "one\n", "oci:laid:v1": "one\n", "oci:laid": "one\n",
	} {
		cmd := n.pando("run", "--image", image)
		cmd.Dir = dir
		if code, said := outcome(t, cmd); code != 0 || said != want {
			t.Errorf("%s: %d %q", image, code, said)
		}
	}
	for image, words := range map[string]string{
		"docker-archive:" + dir + "/both.tar": "it has 2 images", "oci:" + dir + "/none": "on the machine of the node", "oci:" + dir + "/laid:v2": "v1", "oci:": "give it oci:DIR[:TAG]",
	} {
		if code, said := outcome(t, n.pando("run", "--image", image)); code == 0 || !strings.Contains(said, words) {
			t.Errorf("%s: %d %q", image, code, said)
		}
	}
	f := subscribe(t, n.master, ofUser("nobody"))
	must(t, f.accept(inImage(task("user", "true"), "docker-archive:"+dir+"/both.tar:"+names["one"])))
	if e := f.end("user"); e.GetState() != failed || !strings.Contains(e.GetMessage(), "only frameworks of root") {
		t.Errorf("a user's ended as %v", e)
	}
	eventually(t, "no image to have got a name, and none to be held", func() error {
		_, said := outcome(t, n.pando("image", "prune"))
		_, said2 := outcome(t, n.pando("image", "ls", "-o", "json"))
		if strings.Contains(said2, "example.org") || strings.TrimSpace(said2) != "[]" {
			return fmt.Errorf("%s; there is %s", said, said2)
		}
		return nil
	})
}

func TestAnExecutorOfAFrameworksOwnRunsInItsImage(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{})
	n := imageNode(t, s)
	f := subscribe(t, n.master, able(mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT), checkpointing)
	in := func(id string) *mesosv1.TaskInfo {
		x := inExecutor(t, id, "json")
		x.Executor.Container = inImage(task("", ""), image).Container
		for _, path := range []string{filepath.Dir(x.Executor.Command.GetValue()), "/usr", "/lib", "/lib64"} { // the program is the test's own
			if _, err := os.Stat(path); err == nil {
				x.Executor.Container.Volumes = append(x.Executor.Container.Volumes, &mesosv1.Volume{HostPath: &path, ContainerPath: &path, Mode: mesosv1.Volume_RO.Enum()})
			}
		}
		return x
	}
	one := in("one")
	f.launch(one)
	pid := f.await("one", running).GetContainerStatus().GetExecutorPid()
	if root, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/etc/whose", pid)); err != nil || string(root) != "the image's" {
		t.Errorf("its executor sees %q, %v", root, err)
	}
	n.signal(syscall.SIGKILL)
	n.start()
	f.launch(in("two"))
	if got := f.await("two", running).GetContainerStatus().GetExecutorPid(); got != pid {
		t.Errorf("the second task is in the process %d, and the first in %d", got, pid)
	}

	// What comes into the container of a running executor too late is refused, not shown as a link that leads nowhere.
	n.says("reserve", n.id(), "disk:10", "--role", "test")
	n.says("volume", "create", n.id(), "late", "--role", "test", "--size", "10", "--path", "late")
	must(t, f.accept(onVolume(in("three"), f.volume("late"))))
	if e := f.end("three"); e.GetState() != failed || !strings.Contains(e.GetMessage(), "give the volume to the executor") {
		t.Errorf("a task with a volume ended as %v", e)
	}
	for _, id := range []string{"one", "two"} {
		f.killed(id)
	}
}
