package agentlink_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
)

// hushed is an encoded task with a secret of its own and one of its executor, if it is to have one.
func hushed(t *testing.T, id string, executor bool) []byte {
	t.Helper()
	command := func(value string) *mesosv1.CommandInfo {
		return &mesosv1.CommandInfo{Value: new("x"), Environment: &mesosv1.Environment{Variables: []*mesosv1.Environment_Variable{{
			Name: new("V"), Type: mesosv1.Environment_Variable_SECRET.Enum(),
			Secret: &mesosv1.Secret{Type: mesosv1.Secret_VALUE.Enum(), Value: &mesosv1.Secret_Value{Data: []byte(value)}},
		}}}}
	}
	task := &mesosv1.TaskInfo{Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: new("S0")}, Command: command("hushed-task")}
	if executor {
		task.Executor = &mesosv1.ExecutorInfo{ExecutorId: &mesosv1.ExecutorID{Value: new("ex")}, FrameworkId: &mesosv1.FrameworkID{Value: new("F")}, Command: command("hushed-executor")}
	}
	b, err := proto.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func orders(t *testing.T) *link.Down {
	t.Helper()
	framework, err := proto.Marshal(&mesosv1.FrameworkInfo{Id: &mesosv1.FrameworkID{Value: new("F")}, Name: new("f"), User: new("root")})
	if err != nil {
		t.Fatal(err)
	}
	return &link.Down{
		Runs:      []*link.Run{{FrameworkInfo: framework, TaskInfo: hushed(t, "one", true), User: "root", Launch: 7}},
		RunGroups: []*link.RunGroup{{FrameworkInfo: framework, Tasks: []*link.GroupTask{{TaskInfo: hushed(t, "two", true), User: "root", Launch: 8}}}},
	}
}

func TestTheSecretsOfATaskAreCutOutBeforeTheBookHearsOfIt(t *testing.T) {
	kept := map[string][]string{}
	var fails error
	a := &agentlink.Agent{Keep: func(t *workload.Task, values [][]byte) error {
		for _, v := range values {
			kept[t.ID] = append(kept[t.ID], string(v))
		}
		if t.Launch == 0 {
			return errors.New("the launch has no number")
		}
		return fails
	}}
	read := func() (tasks []*workload.Task) {
		t.Helper()
		ins, err := a.Orders(orders(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range ins {
			switch in := in.(type) {
			case *workload.Run:
				tasks = append(tasks, in.Task)
			case *workload.RunGroup:
				tasks = append(tasks, in.Tasks...)
			}
		}
		if len(tasks) != 2 {
			t.Fatalf("there are %d tasks", len(tasks))
		}
		return tasks
	}
	for _, x := range read() {
		if bytes.Contains(x.Info, []byte("hushed")) || bytes.Contains(x.Executor.Info, []byte("hushed")) || !x.Secrets || x.Refused != "" {
			t.Errorf("%s is %q of %q, with secrets %t, refused %q", x.ID, x.Info, x.Executor.Info, x.Secrets, x.Refused)
		}
	}
	both := []string{"hushed-task", "hushed-executor"}
	if d := cmp.Diff(map[string][]string{"one": both, "two": both}, kept); d != "" {
		t.Errorf("what is kept (-want +got):\n%s", d)
	}
	fails = errors.New("the vault is full")
	for _, x := range read() {
		if !strings.Contains(x.Refused, "the vault is full") || bytes.Contains(x.Info, []byte("hushed")) {
			t.Errorf("%s is refused as %q", x.ID, x.Refused)
		}
	}
	clear(kept)
	a.Unsupported = func(*mesosv1.TaskInfo) string { return "it cannot be" }
	if read(); len(kept) > 0 {
		t.Errorf("of a task that is refused is kept %v", kept)
	}
}

func TestATaskFromTheJournalSaysWhetherItHasSecrets(t *testing.T) {
	a := &agentlink.Agent{Keep: func(*workload.Task, [][]byte) error { return errors.New("it is kept already") }}
	ins, err := a.Orders(orders(t))
	if err != nil {
		t.Fatal(err)
	}
	x, err := a.Task(ins[0].(*workload.Run).Task.Info, "F", "one", "", "root")
	if err != nil || !x.Secrets || x.Refused != "" {
		t.Errorf("%+v, %v", x, err)
	}
	plain, err := proto.Marshal(&mesosv1.TaskInfo{Name: new("n"), TaskId: &mesosv1.TaskID{Value: new("n")}, AgentId: &mesosv1.AgentID{Value: new("S0")}})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := a.Task(plain, "F", "n", "", "root"); err != nil || x.Secrets {
		t.Errorf("%+v, %v", x, err)
	}
}
