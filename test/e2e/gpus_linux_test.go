package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
)

// gpuNode is a node of a machine that has two gpus, which are /dev/zero and /dev/full by other names.
func gpuNode(t *testing.T, s *shelf, args ...string) *node {
	t.Helper()
	dir := fresh()
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "driver"), []byte("the driver's\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "gpus.yaml"), []byte(`
cdiVersion: 0.7.0
kind: example.com/gpu
containerEdits:
  mounts: [{hostPath: `+dir+`/driver, containerPath: /usr/lib/driver, options: [ro, nosuid, nodev, bind]}]
  additionalGids: [4242]
devices:
  - {name: "0", containerEdits: {env: [GPU=zero], deviceNodes: [{path: /dev/fake0, type: c, major: 1, minor: 5}]}}
  - {name: "1", containerEdits: {env: [GPU=full], deviceNodes: [{path: /dev/fake1, type: c, major: 1, minor: 7, permissions: r}]}}
  - {name: all, containerEdits: {deviceNodes: [{path: /dev/fake0, type: c, major: 1, minor: 5}, {path: /dev/fake1, type: c, major: 1, minor: 7}]}}
`), 0o644))
	n := newNode(t, "up", append([]string{"--plain-registries", s.host, "--gpu-devices", "example.com/gpu", "--cdi-spec-dirs", dir}, args...)...)
	n.start()
	return n
}

// gpuAware is a framework that is offered gpus.
func gpuAware(o *client.SchedulerOptions) {
	o.Framework.Capabilities = append(o.Framework.Capabilities, &mesosv1.FrameworkInfo_Capability{Type: mesosv1.FrameworkInfo_Capability_GPU_RESOURCES.Enum()})
}

// withGPUs gives a task gpus.
func withGPUs(x *mesosv1.TaskInfo, n float64) *mesosv1.TaskInfo {
	x.Resources = append(x.Resources, &mesosv1.Resource{
		Name: new("gpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &n},
		AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("test")},
	})
	return x
}

// looksForGPUs tells which gpus there are, and goes on.
const looksForGPUs = `cd /dev; for d in fake*; do stat -c '%n %t:%T %a' $d; (: < $d) && echo opens; done
	echo $GPU; cat /usr/lib/driver; grep Groups: /proc/self/status | grep -o 4242; echo told; exec sleep 1000`

// What a task is to say of its gpus.
const (
	zero  = "fake0 1:5 666\nopens\n"
	full  = "fake1 1:7 444\nopens\n"
	their = "the driver's\n4242\ntold\n"
)

// tells waits until a task has told of its gpus.
func (n *node) tells(f *framework, id, want string) {
	n.t.Helper()
	n.tellsIn(sandboxOf(n.t, n, f, id), id, want)
}

// tellsIn does so with a task of a sandbox.
func (n *node) tellsIn(sandbox, id, want string) {
	n.t.Helper()
	out := filepath.Join(sandbox, "stdout")
	eventually(n.t, id+" tells of its gpus", func() error {
		b, err := os.ReadFile(out)
		if err == nil && !strings.HasSuffix(string(b), "told\n") {
			err = fmt.Errorf("it said %q", b)
		}
		if err == nil && string(b) != want {
			n.t.Errorf("%s said %q, want %q", id, b, want)
		}
		return err
	})
}

func TestAMachineHasAsManyGPUsAsThereAreDevices(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := gpuNode(t, s)
	f := subscribe(t, n.master, gpuAware)
	offered := func() float64 {
		f.offered()
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, o := range f.offers {
			for _, r := range o.GetResources() {
				if r.GetName() == "gpus" {
					return r.GetScalar().GetValue()
				}
			}
		}
		return 0
	}
	if got := offered(); got != 2 {
		t.Errorf("%v gpus are offered", got)
	}
	f.launch(withGPUs(inImage(task("a", looksForGPUs), image), 2))
	n.tells(f, "a", zero+full+"full\n"+their)
	if got := offered(); got != 0 {
		t.Errorf("%v gpus are offered beside it", got)
	}
	f.goodbye("a")
	for words, args := range map[string][]string{
		`--gpu-devices, --cdi-spec-dirs: "gpu" is not the kind`:         {"--gpu-devices", "gpu"},
		`--gpu-devices, --cdi-spec-dirs: "cdi" is not an absolute path`: {"--gpu-devices", "a.example/gpu", "--cdi-spec-dirs", "cdi"},
	} {
		if code, said := outcome(t, newNode(t, "up", args...).command()); code == 0 || !strings.Contains(said, words) {
			t.Errorf("%v: %d %q lacks %q", args, code, said, words)
		}
	}
}

func TestEachTaskHasGPUsOfItsOwnAsLongAsItRuns(t *testing.T) {
	need(t, true)
	s := newShelf(t)
	image := s.push("app:1", v1.Config{Env: []string{"PATH=/bin"}})
	n := gpuNode(t, s, "--resources", "gpus:4") // more than there are
	f, theirs := subscribe(t, n.master, gpuAware), subscribe(t, n.master, gpuAware, ofUser("nobody"))
	looks := func(id string) *mesosv1.TaskInfo { return withGPUs(inImage(task(id, looksForGPUs), image), 1) }
	none := inImage(task("none", "ls /dev | grep fake; ls /usr/lib; true"), image)
	if got := n.saying(f, none); strings.Contains(got, "fake") || strings.Contains(got, "driver") {
		t.Errorf("a task without gpus said %q", got)
	}
	refuses := func(id string) {
		t.Helper()
		f.refuses(looks(id), "gpus: it holds 1 gpus, and of the 2 devices example.com/gpu of this machine 0 are free")
	}
	again := func() {
		t.Helper()
		before, others := f.subscriptions(), theirs.subscriptions()
		n.signal(syscall.SIGKILL)
		n.start()
		f.resubscribed(before)
		theirs.resubscribed(others)
	}
	f.launch(looks("a"))
	theirs.launch(looks("b"))
	n.tells(f, "a", zero+"zero\n"+their)
	n.tells(theirs, "b", full+"full\n"+their)
	refuses("c")
	again()
	refuses("d")
	must(t, theirs.kill("b"))
	theirs.end("b")
	must(t, f.acceptGroup(looks("e")))
	n.tellsIn(boxOf(t, n, f, "e"), "e", full+"full\n"+their)
	refuses("f")
	again()
	refuses("g")
	must(t, f.kill("a"))
	f.end("a")
	x := inExecutor(t, "i", "json")
	x.Executor.Container = looks("").GetContainer()
	f.refuses(withGPUs(x, 1), "executor.resources")
	f.launch(looks("h"))
	n.tells(f, "h", zero+"zero\n"+their)
	bare := withGPUs(task("bare", "true"), 1)
	must(t, f.accept(bare)) // it is counted, and finds the machine's
	if e := f.end("bare"); e.GetState() != finished {
		t.Errorf("a task without an image ended as %v", e)
	}
	byCall := `{"type":"LAUNCH_CONTAINER","launch_container":{"container_id":{"value":"alone"},"command":{"value":"true"},"resources":[{"name":"gpus","type":"SCALAR","scalar":{"value":1}}],
		"container":{"type":"MESOS","mesos":{"image":{"type":"DOCKER","docker":{"name":"` + image + `"}}}}}}`
	if got := ask(t, http.DefaultClient, http.MethodPost, "http://"+n.agent+"/api/v1", byCall, "Content-Type", "application/json"); got.status != http.StatusBadRequest || !strings.Contains(got.body, "gets no gpus") {
		t.Errorf("a container by call: %d %s", got.status, got.body)
	}
	f.goodbye("h", "e")
}
