package master

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// maxGroup bounds the bytes of a group's tasks, each with its executor: they go to their agent in one frame.
const maxGroup = 16 << 20

// groupSpecs makes the book's values of a LAUNCH_GROUP. What is wrong with any of its tasks is wrong with all. user is the
// framework's.
func groupSpecs(g *mesosv1.Offer_Operation_LaunchGroup, framework, user string, who serve.Subject) []*cluster.TaskSpec {
	e, tasks := g.GetExecutor(), g.GetTaskGroup().GetTasks()
	specs := make([]*cluster.TaskSpec, len(tasks))
	for i, t := range tasks {
		specs[i] = &cluster.TaskSpec{
			ID: t.GetTaskId().GetValue(), Name: t.GetName(), AgentID: t.GetAgentId().GetValue(), ExecutorID: e.GetExecutorId().GetValue(),
			User: cmp.Or(t.GetCommand().GetUser(), e.GetCommand().GetUser(), user), Reason: mesosv1.TaskStatus_REASON_TASK_GROUP_INVALID,
			Separate: !t.GetContainer().GetLinuxInfo().GetShareCgroups(),
		}
	}
	refuse := func(reason mesosv1.TaskStatus_Reason, words string) []*cluster.TaskSpec {
		for _, s := range specs {
			s.Invalid, s.Reason = words, reason
		}
		return specs
	}
	invalid := func(err error) []*cluster.TaskSpec {
		return refuse(mesosv1.TaskStatus_REASON_TASK_GROUP_INVALID, err.Error())
	}
	if e == nil {
		return invalid(errors.New("launch_group.executor: is missing; say what runs the group"))
	}
	needs, held, err := mesos.CheckGroup(e, tasks, mesos.Launch{FrameworkID: framework})
	if err != nil {
		return invalid(err)
	}
	owners := []string{cmp.Or(e.GetCommand().GetUser(), user)}
	for _, s := range specs {
		owners = append(owners, s.User)
	}
	for _, o := range owners {
		if !who.May(o) {
			return refuse(mesosv1.TaskStatus_REASON_TASK_GROUP_UNAUTHORIZED,
				fmt.Sprintf("The group is to run as user %q, and the scheduler's process belongs to %q; on loopback a user may run tasks as himself only.", o, who.User))
		}
	}
	executor, err := executorSpec(e, held)
	if err != nil {
		return invalid(err)
	}
	size := 0
	for i, t := range tasks {
		field := fmt.Sprintf("task_group.tasks[%d]", i)
		s := specs[i]
		if h := t.GetHealthCheck(); h != nil && h.Type == nil {
			h.Type = mesos.HealthCheckType(h).Enum()
		}
		if _, s.Role, err = resource.FromProto(t.GetResources()); err != nil {
			return invalid(fmt.Errorf("%s.resources: %w", field, err))
		}
		t.Executor = e // it says whose the task is wherever its description goes
		s.Resources, s.Executor = needs[i], executor
		if err = encodeTask(t, s); err != nil {
			return invalid(fmt.Errorf("%s: it cannot be encoded: %w", field, err))
		}
		if n := len(wholeOf(s)) - len(t.GetData()); n > maxTask {
			return invalid(fmt.Errorf("%s: its description has %d bytes beside its data, and no more than %d may be", field, n, maxTask))
		}
		if size += len(wholeOf(s)); size > maxGroup {
			return invalid(fmt.Errorf("task_group.tasks: they and their executor have more than %d bytes together; use files, or several groups", maxGroup))
		}
	}
	return specs
}

// groupOrder makes the link's word of a group.
func groupOrder(b *cluster.RunGroup) *link.RunGroup {
	g := &link.RunGroup{FrameworkInfo: b.Framework.Info, Role: b.Role, StartsExecutor: b.StartsExecutor}
	for i, t := range b.Tasks {
		g.Tasks = append(g.Tasks, &link.GroupTask{TaskInfo: wholeOf(t), User: t.User, Launch: b.Launches[i]})
	}
	return g
}

func sizeOfGroup(b *cluster.RunGroup) int {
	n := 100 + len(b.Framework.Info)
	for _, t := range b.Tasks {
		n += len(wholeOf(t)) + 32
	}
	return n
}
