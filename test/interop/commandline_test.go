package interop

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pandoclient "github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

func TestTheOriginalsCommandLineListsRunsAndAttaches(t *testing.T) {
	interop(t)
	cmd := exec.Command(filepath.Join(environment(t, "commandline", "commandline.txt", newPythons), "python"), "with_mesos_cli.py")
	cmd.Dir, cmd.Env = "python", append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	c := start(t, "--hostname=localhost")
	keep(t, c, &mesosv1.TaskInfo{Name: new("works"), Command: shell("exec sleep 1000")}, &mesosv1.TaskInfo{
		Name: new("top"), Command: shell("exec sh"),
		Container: &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), TtyInfo: &mesosv1.TTYInfo{}},
	})
	cmd.Args = append(cmd.Args, c.Master)
	if out, err := within(t, clientTime, cmd); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func shell(command string) *mesosv1.CommandInfo {
	return &mesosv1.CommandInfo{Shell: new(true), Value: &command}
}

// keep runs a framework of ours until the test ends. It launches tasks whose ids are their names, on the first offer, and
// returns when all run.
func keep(t *testing.T, c cluster, tasks ...*mesosv1.TaskInfo) {
	t.Helper()
	s, err := pandoclient.NewScheduler(pandoclient.SchedulerOptions{Masters: []string{c.Master}, Framework: &mesosv1.FrameworkInfo{
		Name: new("interop-keep"), User: new("root"), Roles: []string{"interop"},
		Capabilities: []*mesosv1.FrameworkInfo_Capability{{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running, ended := make(chan string, len(tasks)), make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(e *scheduler.Event) error {
			switch e.GetType() {
			case scheduler.Event_OFFERS:
				launch := tasks
				tasks = nil
				return s.Call(ctx, accept(e.GetOffers().GetOffers()[0], launch))
			case scheduler.Event_UPDATE:
				status := e.GetUpdate().GetStatus()
				if status.GetState() == mesosv1.TaskState_TASK_RUNNING {
					running <- status.GetTaskId().GetValue()
				}
				return s.Acknowledge(ctx, status)
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	limit := time.After(clientTime)
	for range cap(running) {
		select {
		case <-running:
		case err := <-ended:
			t.Fatalf("the framework that keeps the tasks ended: %v", err)
		case <-limit:
			t.Fatal("the tasks do not run")
		}
	}
}

func accept(offer *mesosv1.Offer, tasks []*mesosv1.TaskInfo) *scheduler.Call {
	scalar := func(name string, v float64) *mesosv1.Resource {
		return &mesosv1.Resource{
			Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v},
			AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("interop")},
		}
	}
	for _, x := range tasks {
		x.TaskId, x.AgentId = &mesosv1.TaskID{Value: x.Name}, offer.GetAgentId()
		x.Resources = []*mesosv1.Resource{scalar("cpus", 0.1), scalar("mem", 64)}
	}
	return &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: &scheduler.Call_Accept{
		OfferIds: []*mesosv1.OfferID{offer.GetId()}, Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(3600)},
		Operations: []*mesosv1.Offer_Operation{{
			Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks},
		}},
	}}
}
