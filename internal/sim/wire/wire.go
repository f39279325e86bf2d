// Package wire makes the values of one book of the other's, as the link between a master and an agent does.
package wire

import (
	"strings"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

// Framework is what an agent knows of a scheduler.
func Framework(f *cluster.FrameworkSpec) *workload.Framework {
	return &workload.Framework{
		ID: f.ID, Name: f.Name, User: f.User, Info: f.Info, PartitionAware: f.Caps.PartitionAware, TaskKilling: f.Caps.TaskKilling,
	}
}

// Pool begins the ids of executors that are the default one.
const Pool = "pool"

// Group is what an agent is sent of tasks that run together.
func Group(m *cluster.RunGroup) *workload.RunGroup {
	g := &workload.RunGroup{Framework: Framework(m.Framework), StartsExecutor: m.StartsExecutor}
	for i, spec := range m.Tasks {
		t := Task(&cluster.Run{Framework: m.Framework, Task: spec, Role: m.Role, Launch: m.Launches[i]})
		t.Group, t.GroupSize = m.Launches[0], len(m.Tasks)
		g.Tasks = append(g.Tasks, t)
	}
	return g
}

// Task is what an agent is sent of a task.
func Task(m *cluster.Run) *workload.Task {
	return &workload.Task{
		Framework: m.Framework.ID, ID: m.Task.ID, Name: m.Task.Name, Role: m.Role, User: m.Task.User, Resources: m.Task.Resources,
		Info: m.Task.Info, Grace: 3 * time.Second, Launch: m.Launch, Executor: executor(m),
	}
}

func executor(m *cluster.Run) *workload.Executor {
	e := m.Task.Executor
	if e == nil {
		return nil
	}
	return &workload.Executor{
		Framework: m.Framework.ID, ID: e.ID, Name: e.Name, Role: m.Role, User: m.Task.User, Resources: e.Resources, Info: e.Info, Grace: -1,
		Default: strings.HasPrefix(e.ID, Pool),
	}
}

// Reports are an agent's executors, as its master hears of them.
func Reports(all []*workload.ExecutorView) (out []cluster.ExecutorReport) {
	for _, x := range all {
		e := x.Spec
		out = append(out, cluster.ExecutorReport{Framework: e.Framework, Role: e.Role, Spec: &cluster.ExecutorSpec{ID: e.ID, Name: e.Name, Resources: e.Resources, Info: e.Info}})
	}
	return out
}

// TaskReports likewise of tasks.
func TaskReports(agent string, all []*workload.TaskView) (out []cluster.TaskReport) {
	for _, v := range all {
		t := cluster.TaskReport{
			Framework: v.Task.Framework, Role: v.Task.Role, State: v.State, Statuses: v.Statuses, UpdateState: v.UpdateState, UpdateUUID: v.UpdateUUID, Launch: v.Task.Launch,
			Spec: &cluster.TaskSpec{ID: v.Task.ID, Name: v.Task.Name, AgentID: agent, Resources: v.Task.Resources, Role: v.Task.Role, Info: v.Task.Info},
		}
		if x := v.Task.Executor; x != nil {
			t.Spec.ExecutorID = x.ID
		}
		out = append(out, t)
	}
	return out
}

// Operation is what an agent is sent of an operation, which makes so much of a change.
func Operation(o *cluster.AgentOperation, c resource.Change) *workload.Operation {
	return &workload.Operation{UUID: o.UUID, Framework: o.Framework, ID: o.ID, Info: o.Info, Change: c}
}

// End is an operation's end, as a master hears of it.
func End(v *workload.OperationView) cluster.OperationEnd {
	o := v.Operation
	return cluster.OperationEnd{UUID: o.UUID, Framework: o.Framework, ID: o.ID, State: v.State, Message: v.Message, Status: v.UUID, Info: o.Info}
}
