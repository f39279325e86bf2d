package master

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
)

func secretive() *mesosv1.CommandInfo {
	return &mesosv1.CommandInfo{Value: new("x"), Environment: &mesosv1.Environment{Variables: []*mesosv1.Environment_Variable{{
		Name: new("V"), Type: mesosv1.Environment_Variable_SECRET.Enum(),
		Secret: &mesosv1.Secret{Type: mesosv1.Secret_VALUE.Enum(), Value: &mesosv1.Secret_Value{Data: []byte("hushed")}},
	}}}}
}

func amount() []*mesosv1.Resource {
	return []*mesosv1.Resource{
		{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: proto.Float64(1)}},
		{Name: new("mem"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: proto.Float64(64)}},
		{Name: new("disk"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: proto.Float64(64)}},
	}
}

func TestTheSecretsOfATaskAreForItsAgentAlone(t *testing.T) {
	task := func(c *mesosv1.CommandInfo) *mesosv1.TaskInfo {
		return &mesosv1.TaskInfo{Name: new("t"), TaskId: &mesosv1.TaskID{Value: new("t")}, AgentId: &mesosv1.AgentID{Value: new("S0")}, Resources: amount(), Command: c}
	}
	own := task(nil)
	own.Executor = &mesosv1.ExecutorInfo{Type: mesosv1.ExecutorInfo_CUSTOM.Enum(), ExecutorId: &mesosv1.ExecutorID{Value: new("ex")}, Command: secretive(), Resources: amount()}
	pod := &mesosv1.ExecutorInfo{
		Type: mesosv1.ExecutorInfo_DEFAULT.Enum(), ExecutorId: &mesosv1.ExecutorID{Value: new("pod")}, FrameworkId: &mesosv1.FrameworkID{Value: new("F")}, Resources: amount(),
	}
	grouped := groupSpecs(&mesosv1.Offer_Operation_LaunchGroup{Executor: pod, TaskGroup: &mesosv1.TaskGroupInfo{Tasks: []*mesosv1.TaskInfo{task(secretive())}}}, "F", "root", serve.Subject{Root: true})
	for name, s := range map[string]*cluster.TaskSpec{
		"a command": taskSpec(task(secretive()), "F", "root", serve.Subject{Root: true}), "an executor": taskSpec(own, "F", "root", serve.Subject{Root: true}), "a group": grouped[0],
	} {
		if s.Invalid != "" {
			t.Errorf("%s: %s", name, s.Invalid)
			continue
		}
		if bytes.Contains(s.Info, []byte("hushed")) || s.Executor != nil && bytes.Contains(s.Executor.Info, []byte("hushed")) {
			t.Errorf("%s is kept with its secret", name)
		}
		if !bytes.Contains(wholeOf(s), []byte("hushed")) {
			t.Errorf("%s is sent without its secret", name)
		}
	}
	if s := taskSpec(task(&mesosv1.CommandInfo{Value: new("x")}), "F", "root", serve.Subject{Root: true}); s.Whole != nil || len(wholeOf(s)) == 0 {
		t.Error("a task without secrets is kept twice")
	}
}
