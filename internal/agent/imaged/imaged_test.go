package imaged

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/image"
)

// album is a store that has one image.
type album struct {
	held map[string]string
	did  []string
}

func (a *album) Get(_ context.Context, id, reference string, force bool, config []byte) (*Image, error) {
	digest, ok := map[string]string{"app:1": "sha256:1", "data:1": "sha256:2"}[reference]
	if !ok {
		return nil, errors.New("there is no " + reference)
	}
	if err := a.Hold(id, digest); err != nil {
		return nil, err
	}
	if reference == "data:1" {
		return &Image{Digest: digest, Store: "/store", Layers: []string{"d", "c"}}, nil
	}
	if force || len(config) > 0 {
		a.did = append(a.did, "forced "+string(config))
	}
	return &Image{Digest: "sha256:1", Store: "/store", Layers: []string{"b", "a"}, Config: image.Config{
		Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"A=image", "B=image"}, WorkingDir: "/srv", StopSignal: "SIGQUIT",
	}}, nil
}

func (a *album) Hold(id, digest string) error {
	if digest != "sha256:1" && digest != "sha256:2" {
		return errors.New("it is gone")
	}
	a.held[id] = strings.TrimPrefix(a.held[id]+" "+digest, " ")
	return nil
}

func (a *album) Release(id string)     { delete(a.held, id) }
func (a *album) Collect(float64) error { return nil }
func (a *album) Prune([]string) error  { a.did = append(a.did, "prune"); return nil }

func (a *album) List() []image.Image {
	return []image.Image{{Digest: "sha256:1", References: []string{"app:1"}, Layers: 2, Holders: len(a.held)}}
}

func (a *album) Pull(_ context.Context, r string) (image.Image, error) {
	a.did = append(a.did, "pull "+r)
	return image.Image{Digest: "sha256:2"}, nil
}

func (a *album) Load(_ context.Context, path, name string) ([]image.Image, error) {
	a.did = append(a.did, "load "+path+" "+name)
	return nil, nil
}
func (a *album) Remove(r string) error { a.did = append(a.did, "remove "+r); return nil }

func keeper(t *testing.T) (*Keeper, *album, string) {
	t.Helper()
	a, dir := &album{held: map[string]string{}}, t.TempDir()
	return New(a, dir, Overlay, &confine.Rules{}, nil, slog.New(slog.DiscardHandler)), a, dir
}

func wants(reference string) *mesosv1.ContainerInfo {
	return &mesosv1.ContainerInfo{
		Type:  mesosv1.ContainerInfo_MESOS.Enum(),
		Mesos: &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: &reference}}},
	}
}

func TestAnImageIsHeldAsLongAsItsContainerIsThere(t *testing.T) {
	k, a, dir := keeper(t)
	for _, id := range []string{"c1", "c2", "c3"} {
		if _, err := k.Provision(t.Context(), id, wants("app:1"), true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.Provision(t.Context(), "c4", wants("other:1"), true); err == nil || a.held["c4"] != "" {
		t.Errorf("an image that is not there: %v, %v", err, a.held)
	}
	k.Drop("c1")
	if err := os.WriteFile(filepath.Join(dir, "scratch/c3/image"), []byte("sha256:gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	a = &album{held: map[string]string{}}
	k = New(a, dir, Overlay, &confine.Rules{}, nil, slog.New(slog.DiscardHandler)) // the agent was restarted meanwhile, and c2 and c3 were found
	k.Found([]string{"c2", "c3", "bare"}, nil)
	if d := cmp.Diff(map[string]string{"c2": "sha256:1"}, a.held); d != "" {
		t.Errorf("what is held (-want +got):\n%s", d)
	}
	k.Found([]string{"c3"}, nil)
	left, err := os.ReadDir(filepath.Join(dir, "scratch"))
	if err != nil || len(left) != 1 || left[0].Name() != "c3" || len(a.held) != 0 {
		t.Errorf("there is left %v, %v, and held %v", left, err, a.held)
	}
	var none *Keeper
	none.Drop("c")
	none.Found(nil, nil)
	none.Collect(0.1)
	if _, err := none.Provision(t.Context(), "c", wants("app:1"), true); err == nil {
		t.Error("an agent without images provides one")
	}
	if New(nil, dir, Overlay, nil, nil, nil) != nil {
		t.Error("a keeper of no images")
	}
}

// with adds an image as a volume.
func with(c *mesosv1.ContainerInfo, reference string, mode mesosv1.Volume_Mode) *mesosv1.ContainerInfo {
	c.Volumes = append(c.Volumes, &mesosv1.Volume{Mode: &mode, ContainerPath: new("/data"), Image: wants(reference).GetMesos().GetImage()})
	return c
}

func TestAllImagesOfAContainerAreHeldAsLongAsItIsThere(t *testing.T) {
	k, a, dir := keeper(t)
	for _, id := range []string{"c1", "c2"} {
		if _, err := k.Provision(t.Context(), id, with(wants("app:1"), "data:1", mesosv1.Volume_RO), true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.Provision(t.Context(), "c3", with(wants("app:1"), "other:1", mesosv1.Volume_RO), true); err == nil || !strings.Contains(err.Error(), "container.volumes[0]: there is no other:1") {
		t.Errorf("one of two images is not there: %v", err)
	}
	if d := cmp.Diff(map[string]string{"c1": "sha256:1 sha256:2", "c2": "sha256:1 sha256:2"}, a.held); d != "" {
		t.Errorf("what is held (-want +got):\n%s", d)
	}
	a = &album{held: map[string]string{}}
	k = New(a, dir, Overlay, &confine.Rules{}, nil, slog.New(slog.DiscardHandler)) // the agent was restarted meanwhile, and c1 was found
	k.Found([]string{"c1"}, nil)
	if d := cmp.Diff(map[string]string{"c1": "sha256:1 sha256:2"}, a.held); d != "" {
		t.Errorf("what is held after a restart (-want +got):\n%s", d)
	}
	k.Drop("c1")
	if left, err := os.ReadDir(filepath.Join(dir, "scratch")); err != nil || len(left) > 0 || len(a.held) > 0 {
		t.Errorf("there is left %v, %v, and held %v", left, err, a.held)
	}
}

func TestOnlyRootsFrameworksNameImagesByPathsOfTheMachine(t *testing.T) {
	k, a, _ := keeper(t)
	docker := &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{Image: new("docker-archive:/x")}}
	for name, c := range map[string]*mesosv1.ContainerInfo{
		"its image": wants("oci:/x:1"), "an archive": wants("docker-archive:/x"), "of Docker's type": docker, "a volume": with(wants("app:1"), "oci:/x", mesosv1.Volume_RO),
	} {
		if _, err := k.Provision(t.Context(), "c", c, false); err == nil || !strings.Contains(err.Error(), "only frameworks of root") || len(a.held) > 0 {
			t.Errorf("%s, for a user: %v, held %v", name, err, a.held)
		}
		if _, err := k.Provision(t.Context(), "c", c, true); err == nil || !strings.Contains(err.Error(), "there is no ") {
			t.Errorf("%s, for root, was not asked for: %v", name, err)
		}
	}
	if _, err := k.Provision(t.Context(), "c", wants("oci:1"), false); err == nil || !strings.Contains(err.Error(), "there is no oci:1") {
		t.Errorf("an image that is called oci: %v", err)
	}
}

func TestAnImageIsAVolumeOfWhichChangesAreThrownAway(t *testing.T) {
	k, _, dir := keeper(t)
	box := filepath.Join(dir, "scratch/c/volumes/0")
	for name, c := range map[string]struct {
		image string
		mode  mesosv1.Volume_Mode
		want  container.Mount
	}{
		"read":   {"data:1", mesosv1.Volume_RO, container.Mount{Kind: container.MountNew, FS: "overlay", Target: "/data", Flags: standard.NoDev | standard.ReadOnly, Data: "lowerdir=d:c"}},
		"change": {"data:1", mesosv1.Volume_RW, container.Mount{Kind: container.MountNew, FS: "overlay", Target: "/data", Flags: standard.NoDev, Data: "lowerdir=d:c,upperdir=" + box + "/upper,workdir=" + box + "/work"}},
	} {
		p, err := k.Provision(t.Context(), "c", with(wants("app:1"), c.image, c.mode), true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.mounted(0, p.Container.GetVolumes()[0], Place{})
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
		if st, err := os.Stat(box + "/upper"); (err == nil && st.IsDir()) != (c.mode == mesosv1.Volume_RW) {
			t.Errorf("%s: the place for changes is %v, %v", name, st, err)
		}
	}
	one := &Image{Store: "/elsewhere", Layers: []string{"e"}}
	p := &Picture{image: &Image{Store: "/store"}, scratch: t.TempDir() + "/a,b", volumes: map[int]*Image{0: one}}
	ro, rw := &mesosv1.Volume{ContainerPath: new("/x"), Mode: mesosv1.Volume_RO.Enum()}, &mesosv1.Volume{ContainerPath: new("/x"), Mode: mesosv1.Volume_RW.Enum()}
	want := container.Mount{Kind: container.MountBind, Source: "/elsewhere/e", Target: "/x", Flags: standard.NoDev | standard.ReadOnly}
	if got, err := p.mounted(0, ro, Place{}); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("an image of one layer, to be read: %+v, %v", got, err)
	}
	if got, err := p.mounted(0, rw, Place{}); err != nil || !strings.HasPrefix(got.Data, "lowerdir=/elsewhere/e,upperdir=") || !strings.Contains(got.Data, `/a\,b/`) {
		t.Errorf("an image from another place: %+v, %v", got, err)
	}
}

func TestAContainerIsFurnishedAsItsImageAndItsTaskSay(t *testing.T) {
	k, _, _ := keeper(t)
	parent := t.TempDir()
	box := filepath.Join(parent, "containers/kid")
	if err := os.MkdirAll(box, 0o750); err != nil {
		t.Fatal(err)
	}
	c := wants("app:1")
	c.Hostname = new("web")
	c.LinuxInfo = &mesosv1.LinuxInfo{ShmSize: new(uint32(8)), IpcMode: mesosv1.LinuxInfo_SHARE_PARENT.Enum(), SharePidNamespace: new(true), Seccomp: &mesosv1.SeccompInfo{Unconfined: new(true)}}
	path := func(kind mesosv1.Volume_Source_SandboxPath_Type, p string) *mesosv1.Volume_Source {
		return &mesosv1.Volume_Source{Type: mesosv1.Volume_Source_SANDBOX_PATH.Enum(), SandboxPath: &mesosv1.Volume_Source_SandboxPath{Type: &kind, Path: &p}}
	}
	c.Volumes = []*mesosv1.Volume{
		{ContainerPath: new("/data"), HostPath: new("/usr/"), Mode: mesosv1.Volume_RO.Enum()},
		{ContainerPath: new("inner"), Source: path(mesosv1.Volume_Source_SandboxPath_SELF, "mine/x")},
		{ContainerPath: new("/theirs"), Source: path(mesosv1.Volume_Source_SandboxPath_PARENT, "theirs")},
	}
	p, err := k.Provision(t.Context(), "c", c, true)
	if err != nil {
		t.Fatal(err)
	}
	s := container.Spec{Sandbox: box}
	kept := container.Mount{Kind: container.MountBind, Source: "/kept", Target: Sandbox + "/v"}
	err = p.Furnish(&s, &mesosv1.CommandInfo{Shell: new(false), Arguments: []string{"x"}}, Place{Sandbox: box, Levels: 1, UID: -1, GID: -1, Trusted: true, Volumes: []container.Mount{kept}})
	if err != nil {
		t.Fatal(err)
	}
	bind := func(source, under, target string, flags uint64) container.Mount {
		return container.Mount{Kind: container.MountBind, Source: source, Under: under, Target: target, Flags: flags | standard.NoDev}
	}
	for _, want := range []container.Mount{
		bind("containers/kid", parent, Sandbox, 0), kept, bind("/usr", "", "/data", standard.ReadOnly), bind("containers/kid/mine/x", parent, Sandbox+"/inner", 0), bind("theirs", parent, "/theirs", 0),
	} {
		if !slices.Contains(s.Root.Mounts, want) {
			t.Errorf("there is no mount %+v among %+v", want, s.Root.Mounts)
		}
	}
	if !slices.Contains(s.Root.Mounts, bind("/dev/shm", "", "/dev/shm", standard.NoSuid|standard.NoExec)) {
		t.Error("/dev/shm is not the machine's, whose IPC namespace it shares")
	}
	p.Container.LinuxInfo.IpcMode = mesosv1.LinuxInfo_PRIVATE.Enum()
	alone := container.Spec{Sandbox: box}
	err = p.Furnish(&alone, &mesosv1.CommandInfo{Shell: new(false)}, Place{Sandbox: box, Levels: 1, UID: -1, GID: -1, Trusted: true})
	if err != nil || !slices.Contains(alone.Root.Mounts, container.Mount{Kind: container.MountNew, FS: "tmpfs", Target: "/dev/shm", Flags: standard.NoSuid | standard.NoDev | standard.NoExec, Data: "mode=1777,size=8388608"}) {
		t.Errorf("/dev/shm has not the size that was asked for: %v", err)
	}
	p.Container.LinuxInfo.IpcMode = mesosv1.LinuxInfo_SHARE_PARENT.Enum()
	err = p.Furnish(&alone, &mesosv1.CommandInfo{Shell: new(false)}, Place{Sandbox: box, Levels: 1, Within: true, UID: -1, GID: -1, Trusted: true})
	if err != nil || slices.Contains(alone.Root.Mounts, bind("/dev/shm", "", "/dev/shm", standard.NoSuid|standard.NoExec)) {
		t.Errorf("what is within another container has the machine's /dev/shm: %v", err)
	}
	s.Root.Mounts = nil
	caps := standard.Capabilities()
	want := container.Spec{
		Sandbox: box, Path: "/entry", Args: []string{"/entry", "x"}, Workdir: "/srv", Hostname: "web", StopSignal: 3, Effective: &caps,
		Namespaces: container.Namespaces{Mount: true, UTS: true},
		Root:       &container.Root{Store: "/store", Layers: []string{"b", "a"}, Scratch: p.scratch, Masked: standard.Masked(), ReadOnly: standard.Sealed()},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if b, err := os.ReadFile(filepath.Join(p.scratch, "hosts")); err != nil || !strings.Contains(string(b), "127.0.1.1 web\n") {
		t.Errorf("its hosts are %q, %v", b, err)
	}
	env := map[string]string{"A": "agent", "C": "agent"}
	p.Environment(env, nil)
	if d := cmp.Diff(map[string]string{"A": "image", "B": "image", "C": "agent"}, env); d != "" {
		t.Errorf("its environment (-want +got):\n%s", d)
	}
}

func TestAPathOfTheSandboxThatLeadsIntoAPersistentVolumeShowsIt(t *testing.T) {
	own, theirs, top := t.TempDir(), t.TempDir(), t.TempDir()
	box := filepath.Join(top, "containers/kid")
	if err := os.MkdirAll(box, 0o750); err != nil {
		t.Fatal(err)
	}
	kept := func(dir, in string, flags uint64) container.Mount {
		return container.Mount{Kind: container.MountBind, Source: dir, Target: Inside(in), Flags: standard.NoDev | flags}
	}
	at := Place{
		Sandbox: box, Levels: 1, UID: -1, GID: -1,
		Volumes:       []container.Mount{kept(own, "data", 0), kept("/sealed", "sealed", standard.ReadOnly), kept("/within", "data/within", 0), kept("/outside", "/data", 0)},
		ParentVolumes: []container.Mount{kept(theirs, "data", 0)},
	}
	parent := mesosv1.Volume_Source_SandboxPath_PARENT
	for _, c := range []struct {
		path          string
		kind          *mesosv1.Volume_Source_SandboxPath_Type
		source, under string
		flags         uint64
	}{
		{"data", nil, own, "", 0},
		{"./data/", nil, own, "", 0},
		{"data/deep/er", nil, "deep/er", own, 0},
		{"data/within", nil, "/within", "", 0},
		{"sealed", nil, "/sealed", "", standard.ReadOnly},
		{"sealed/x", nil, "x", "/sealed", standard.ReadOnly},
		{"database", nil, "containers/kid/database", top, 0},
		{"data", &parent, theirs, "", 0},
		{"data/x", &parent, "x", theirs, 0},
		{"sealed", &parent, "sealed", top, 0},
	} {
		v := &mesosv1.Volume{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: new("/x"), HostPath: &c.path}
		if c.kind != nil {
			v.HostPath, v.Source = nil, &mesosv1.Volume_Source{
				Type:        mesosv1.Volume_Source_SANDBOX_PATH.Enum(),
				SandboxPath: &mesosv1.Volume_Source_SandboxPath{Type: c.kind, Path: &c.path},
			}
		}
		got, err := new(Picture).mounted(0, v, at)
		want := container.Mount{Kind: container.MountBind, Source: c.source, Under: c.under, Target: "/x", Flags: standard.NoDev | c.flags}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", c.path, err, d)
		}
	}
	if st, err := os.Stat(filepath.Join(own, "deep/er")); err != nil || !st.IsDir() {
		t.Errorf("a place in the volume is not made: %v", err)
	}
}

func TestAVolumeThatCannotBeMountedIsNamed(t *testing.T) {
	box := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(box, "link")); err != nil {
		t.Fatal(err)
	}
	self, parent := mesosv1.Volume_Source_SandboxPath_SELF, mesosv1.Volume_Source_SandboxPath_PARENT
	source := func(kind mesosv1.Volume_Source_SandboxPath_Type, p string) *mesosv1.Volume {
		return &mesosv1.Volume{ContainerPath: new("/x"), Source: &mesosv1.Volume_Source{Type: mesosv1.Volume_Source_SANDBOX_PATH.Enum(), SandboxPath: &mesosv1.Volume_Source_SandboxPath{Type: &kind, Path: &p}}}
	}
	host := func(p string) *mesosv1.Volume { return &mesosv1.Volume{ContainerPath: new("/x"), HostPath: &p} }
	for words, v := range map[string]*mesosv1.Volume{
		"has no parent": source(parent, "a"), "absolute": source(self, "/etc"), "leads out": source(self, "a/../.."), "all of it": source(self, "."),
		"link": source(self, "link/x"), "make it on the machine": host("/no/such"), "name a place below": host("../x"),
	} {
		if m, err := (&Picture{}).mounted(0, v, Place{Sandbox: box, UID: -1, GID: -1}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v lacks %q: %+v", err, words, m)
		}
	}
}

func TestOptionsOfATmpfsAreDockers(t *testing.T) {
	const quiet = standard.NoSuid | standard.NoDev | standard.NoExec
	for options, want := range map[string]struct {
		flags uint64
		data  string
	}{
		"":                              {quiet, ""},
		"size=1m,mode=700,uid=7,rw":     {quiet, "size=1m,mode=700,uid=7"},
		"ro,exec":                       {standard.NoSuid | standard.NoDev | standard.ReadOnly, ""},
		"suid,noatime,dev":              {standard.NoDev | standard.NoExec | standard.NoAtime, ""},
		"suid,nosuid,exec,noexec,nodev": {quiet, ""},
	} {
		if flags, data, err := tmpfsOptions(options); err != nil || flags != want.flags || data != want.data {
			t.Errorf("%q: %#x %q, %v", options, flags, data, err)
		}
	}
	for _, options := range []string{"frob", "size=1m,lowerdir=/", "exec=1"} {
		if _, _, err := tmpfsOptions(options); err == nil {
			t.Errorf("%q was taken", options)
		}
	}
}

func TestSignalsAndCapabilitiesAreKnownByTheirNames(t *testing.T) {
	for text, want := range map[string]int{"": 0, "SIGTERM": 15, "quit": 3, "9": 9, "SIGRTMIN+3": 37, "RTMIN": 34, "SIGNONE": 0, "65": 0, "-1": 0, "RTMIN+40": 0} {
		if got := stopSignal(text); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
	for name, c := range map[string]struct {
		add, drop []string
		want      []int
	}{
		"none":  {nil, []string{"ALL"}, []int{}},
		"one":   {[]string{"NET_ADMIN"}, []string{"ALL"}, []int{12}},
		"fewer": {nil, []string{"CHOWN"}, []int{5}},
		"more":  {[]string{"SYS_TIME", "CHOWN"}, nil, []int{0, 5, 25}},
		"both":  {[]string{"CHOWN"}, []string{"CHOWN", "KILL"}, []int{0}},
	} {
		if got, err := changed(confine.Numbers([]int{0, 5}), c.add, c.drop); err != nil || !slices.Equal(got.List(), c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := changed(0, []string{"ALL"}, nil); err != nil || got != confine.All {
		t.Errorf("all are %v, %v", got, err)
	}
	if got, err := changed(0, []string{"ALL"}, []string{"CHOWN"}); err != nil || got != confine.All&^1 {
		t.Errorf("all but one are %v, %v", got, err)
	}
	if got, err := changed(0, []string{"ALL"}, []string{"ALL"}); err != nil || got != confine.All {
		t.Errorf("all, and all dropped, are %v, %v", got, err)
	}
	for _, c := range [][2][]string{{{"FLY"}, nil}, {nil, {"FLY"}}} {
		if _, err := changed(0, c[0], c[1]); err == nil {
			t.Errorf("a capability that there is not was taken: %v", c)
		}
	}
}

func TestTheImagesOfAMachineAreListedForAllAndChangedByRoot(t *testing.T) {
	k, a, _ := keeper(t)
	ask := func(method, body string) (int, string) {
		w := httptest.NewRecorder()
		k.ServeHTTP(w, httptest.NewRequest(method, "/images", strings.NewReader(body)))
		b, err := io.ReadAll(w.Result().Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.Code, string(b)
	}
	if code, body := ask("GET", ""); code != 200 || !strings.Contains(body, `"references":["app:1"]`) {
		t.Errorf("GET: %d %s", code, body)
	}
	for _, c := range []struct {
		body string
		code int
	}{
		{`{"pull":"x:1"}`, 200},
		{`{"load":"/a.tar","name":"y:1"}`, 200},
		{`{"remove":"x:1"}`, 200},
		{`{"prune":true}`, 200},
		{`{}`, 400},
		{`{"pull":"x","prune":true}`, 400},
		{`{"load":"a.tar"}`, 400},
		{`{"frob":1}`, 400},
		{`no JSON`, 400},
	} {
		if code, body := ask("POST", c.body); code != c.code {
			t.Errorf("%s: %d %s, want %d", c.body, code, body, c.code)
		}
	}
	if d := cmp.Diff([]string{"pull x:1", "load /a.tar y:1", "remove x:1", "prune"}, a.did); d != "" {
		t.Errorf("what was done (-want +got):\n%s", d)
	}
	if code, _ := ask("DELETE", ""); code != 405 {
		t.Errorf("DELETE: %d", code)
	}
}
