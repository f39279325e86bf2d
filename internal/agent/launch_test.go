package agent

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/gpu"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
)

// shelf is a store that has every image, and says who holds one.
type shelf struct {
	imaged.Images
	got  chan string
	mu   sync.Mutex
	held map[string]bool
}

func (s *shelf) Get(_ context.Context, container, _ string, _ bool, _ []byte) (*imaged.Image, error) {
	s.mu.Lock()
	s.held[container] = true
	s.mu.Unlock()
	s.got <- container
	return &imaged.Image{Digest: "sha256:1", Store: "/store", Layers: []string{"a"}}, nil
}

func (s *shelf) Release(container string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, container)
}

func TestALaunchThatIsGivenUpWhileItWaitsForItsTurnKeepsNothing(t *testing.T) {
	h := newHouse(t)
	s := &shelf{got: make(chan string, 1), held: map[string]bool{}}
	h.agent.imaged = imaged.New(s, h.agent.cfg.WorkDir, imaged.Overlay, &confine.Rules{}, nil, h.agent.deps.Log)
	info := must(proto.Marshal(&mesosv1.TaskInfo{
		Name: new("x"), TaskId: &mesosv1.TaskID{Value: new("x")}, AgentId: &mesosv1.AgentID{Value: new("S0")}, Command: &mesosv1.CommandInfo{Value: new("true")},
		Container: &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Mesos: &mesosv1.ContainerInfo_MesosInfo{
			Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: new("app:1")}},
		}},
	}))
	for range cap(h.agent.launches) {
		h.agent.launches <- struct{}{} // nobody else gets a turn
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan *workload.Launched)
	go func() {
		ended <- h.agent.tryLaunch(ctx, &workload.LaunchWork{
			Task: &workload.Task{Framework: "F", ID: "x", User: "root", Info: info}, Container: "c", Framework: testFramework("F", "root"),
		}, kept{})
	}()
	if got := <-s.got; got != "c" {
		t.Fatalf("the image is for %s", got)
	}
	cancel()
	if in := <-ended; in.Failure != workload.LaunchCanceled {
		t.Errorf("it ended as %+v", in)
	}
	left, err := os.ReadDir(filepath.Join(h.agent.cfg.WorkDir, "scratch"))
	if err != nil || len(left) > 0 || len(s.held) > 0 {
		t.Errorf("it left %v, %v, and holds %v", left, err, s.held)
	}
}

// ending is a runtime whose containers end.
type ending struct {
	container.Runtime
	exits chan container.Exit
}

func (e ending) Exits() <-chan container.Exit { return e.exits }

func TestTheGPUsOfAContainerAreFreeOnceItsEndIsTold(t *testing.T) {
	dir := t.TempDir()
	const one = `{"cdiVersion": "0.6.0", "kind": "a.example/gpu", "devices": [{"name": "0", "containerEdits": {"env": ["GPU=0"]}}]}`
	if err := os.WriteFile(filepath.Join(dir, "gpu.json"), []byte(one), 0o600); err != nil {
		t.Fatal(err)
	}
	gpus := must(gpu.New("a.example/gpu", []string{dir}))
	a := newTestAgent(t, clock.Real())
	a.imaged = imaged.New(&shelf{held: map[string]bool{}}, a.cfg.WorkDir, imaged.Overlay, &confine.Rules{}, gpus, a.deps.Log)
	if _, err := gpus.Take("c", 1); err != nil {
		t.Fatal(err)
	}
	e := ending{exits: make(chan container.Exit, 1)}
	e.exits <- container.Exit{ID: "c"}
	a.deps.Runtime = e
	close(e.exits)
	a.exits(t.Context())
	if _, err := gpus.Take("d", 1); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
