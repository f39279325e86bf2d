package reads

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// town is a book that a test drives by hand.
type town struct {
	tb     testing.TB
	book   *cluster.Book
	now    machine.Now
	out    cluster.Out
	offers []*cluster.Offer // that have come and were not used
	ids    []string         // of frameworks, as they subscribed
	agents []string
}

func newTown(tb testing.TB) *town {
	tb.Helper()
	now := machine.Now{Mono: time.Second, Wall: 1_700_000_000e9}
	cfg := cluster.Defaults()
	cfg.MasterID, cfg.Started = "7f8cc1a3-58b7-4b27-8d5c-f8a8e5a4b4a1", now.Wall-1e9
	cfg.MaxCompletedTasks = 10
	return &town{tb: tb, now: now, book: cluster.New(cfg, nil, now, rand.New(rand.NewPCG(1, 2)))}
}

// step gives the book an input and takes in what comes of it.
func (t *town) step(in cluster.In) {
	t.tb.Helper()
	t.out.Reset()
	t.book.Step(t.now, in, &t.out)
	for _, m := range t.out.Send {
		switch b := m.Body.(type) {
		case cluster.Offers:
			t.offers = append(t.offers, b.Offers...)
		case cluster.Subscribed:
			t.ids = append(t.ids, b.Framework)
		case cluster.Registered:
			t.agents = append(t.agents, b.Agent)
		case cluster.Error:
			t.tb.Fatalf("the book refused: %s", b.Message)
		}
	}
}

// wait lets time pass.
func (t *town) wait(d time.Duration) {
	t.tb.Helper()
	t.now.Mono += d
	t.now.Wall += int64(d)
	t.step(nil)
}

// agent registers a machine over the connection of that number.
func (t *town) agent(conn int) {
	t.tb.Helper()
	spec := &cluster.AgentSpec{
		Info:     must(proto.Marshal(&mesosv1.AgentInfo{Hostname: new("localhost"), Port: new(int32(5050 + conn))})),
		Hostname: "localhost", IP: "127.0.0.1", Port: int32(5050 + conn), Version: "1.11.0",
		Total:      must(resource.Parse("cpus:4;mem:4096;disk:10000;ports:[31000-32000]", "*")),
		Attributes: must(mesos.ParseAttributes("rack:r1;zone:z1;level:10")),
	}
	for c := mesosv1.AgentInfo_Capability_MULTI_ROLE; c <= mesosv1.AgentInfo_Capability_TASK_RESOURCE_LIMITS; c++ {
		spec.Capabilities = append(spec.Capabilities, c)
	}
	t.step(&cluster.AgentRegister{Conn: cluster.ConnID(conn), Spec: spec})
}

// must is for what cannot fail in a test.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// subscribe brings a framework over the stream of that number.
func (t *town) subscribe(stream int, user string) {
	t.tb.Helper()
	info := &mesosv1.FrameworkInfo{
		User: &user, Name: new("watched"), Roles: []string{"probe"}, WebuiUrl: new("http://127.0.0.1:1/"),
		Capabilities: []*mesosv1.FrameworkInfo_Capability{
			{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
			{Type: mesosv1.FrameworkInfo_Capability_PARTITION_AWARE.Enum()},
			{Type: mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT.Enum()},
		},
	}
	t.step(&cluster.Subscribe{Stream: cluster.StreamID(stream), Spec: &cluster.FrameworkSpec{
		Info: must(proto.Marshal(info)), Name: "watched", User: user, Roles: info.Roles, FailoverTimeout: time.Hour,
		Caps: cluster.Capabilities{PartitionAware: true, Refinement: true},
	}})
}

func taskInfo(id, agent string) *mesosv1.TaskInfo {
	scalar := func(name string, v float64) *mesosv1.Resource {
		return &mesosv1.Resource{Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v}}
	}
	return &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: &agent},
		Resources: []*mesosv1.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
		Command:   &mesosv1.CommandInfo{Value: new("sleep 300")},
	}
}

// launch accepts an offer with tasks.
func (t *town) launch(stream int, offer *cluster.Offer, tasks ...*mesosv1.TaskInfo) {
	t.tb.Helper()
	op := cluster.Operation{Type: mesosv1.Offer_Operation_LAUNCH}
	for _, info := range tasks {
		l, _, err := resource.FromProto(info.Resources)
		if err != nil {
			t.tb.Fatal(err)
		}
		op.Tasks = append(op.Tasks, &cluster.TaskSpec{
			ID: info.GetTaskId().GetValue(), Name: info.GetName(), AgentID: info.GetAgentId().GetValue(), User: "root",
			Resources: l, Info: must(proto.Marshal(info)),
		})
	}
	t.step(&cluster.Accept{Stream: cluster.StreamID(stream), Framework: offer.Framework, Offers: []string{offer.ID}, Operations: []cluster.Operation{op}, Refuse: 1e18})
}

// update tells a task's state, and acknowledges it.
func (t *town) update(conn, stream int, framework, agent, task string, state mesosv1.TaskState) {
	t.tb.Helper()
	rest := must(proto.MarshalOptions{AllowPartial: true}.Marshal(&mesosv1.TaskStatus{ContainerStatus: &mesosv1.ContainerStatus{
		ContainerId: &mesosv1.ContainerID{Value: new("0b1b5a4e-8d43-4a15-9c3b-0d6f7a0f2f11")},
		NetworkInfos: []*mesosv1.NetworkInfo{{IpAddresses: []*mesosv1.NetworkInfo_IPAddress{{
			Protocol: mesosv1.NetworkInfo_IPv4.Enum(), IpAddress: new("127.0.0.1"),
		}}}},
	}}))
	t.now.Wall += int64(time.Millisecond)
	uuid := fmt.Sprintf("%-16.16s", fmt.Sprint(task, state))
	t.step(&cluster.AgentUpdate{Conn: cluster.ConnID(conn), Framework: framework, Latest: state, Status: &mesos.Status{
		TaskID: task, AgentID: agent, State: state, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR, Timestamp: float64(t.now.Wall) / 1e9,
		UUID: uuid, Healthy: -1, Rest: rest,
	}})
	t.step(&cluster.Acknowledge{Stream: cluster.StreamID(stream), Framework: framework, Agent: agent, Task: task, UUID: uuid})
}

// recordedScene is the cluster that the original was asked about.
func recordedScene(tb testing.TB) *town {
	tb.Helper()
	t := newTown(tb)
	t.agent(1)
	t.subscribe(1, "root")
	t.wait(2 * time.Second)
	if len(t.offers) != 1 {
		tb.Fatalf("%d offers, want 1", len(t.offers))
	}
	f, a := t.ids[0], t.agents[0]
	runs := taskInfo("runs", a)
	runs.Labels = &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("a"), Value: new("b")}}}
	runs.Discovery = &mesosv1.DiscoveryInfo{
		Visibility: mesosv1.DiscoveryInfo_CLUSTER.Enum(), Name: new("disc"),
		Ports: &mesosv1.Ports{Ports: []*mesosv1.Port{{Number: proto.Uint32(80), Name: new("http"), Protocol: new("tcp")}}},
	}
	runs.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}
	t.launch(1, t.offers[0], taskInfo("done", a), runs)
	for _, u := range []struct {
		task  string
		state mesosv1.TaskState
	}{
		{"done", mesosv1.TaskState_TASK_STARTING},
		{"done", mesosv1.TaskState_TASK_RUNNING},
		{"done", mesosv1.TaskState_TASK_FINISHED},
		{"runs", mesosv1.TaskState_TASK_STARTING},
		{"runs", mesosv1.TaskState_TASK_RUNNING},
	} {
		t.update(1, 1, f, a, u.task, u.state)
	}
	return t
}
