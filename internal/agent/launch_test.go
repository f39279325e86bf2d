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
	"github.com/pando-os/pando/internal/agent/imaged"
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
	h.agent.imaged = imaged.New(s, h.agent.cfg.WorkDir, imaged.Overlay, &confine.Rules{}, h.agent.deps.Log)
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
