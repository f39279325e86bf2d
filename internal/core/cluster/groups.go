package cluster

import (
	"cmp"
	"fmt"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// RunGroup starts tasks of one executor that run together or not at all.
type RunGroup struct {
	Framework *FrameworkSpec
	Tasks     []*TaskSpec
	Role      string
	// Launches are the numbers of the tasks' launches, as in Run.
	Launches []uint64
	// StartsExecutor says that the executor is not known to be there.
	StartsExecutor bool
}

// launchGroup starts a group of tasks from what is left of the offers, all of them or none, and gives what is left after it.
func (b *Book) launchGroup(f *Framework, agent *Agent, role string, op *Operation, left resource.List, out *Out) resource.List {
	if len(op.Tasks) == 0 {
		return left
	}
	executor, needs, reason, wrong := b.groupFor(f, agent.Spec.ID, role, op, left)
	if wrong != "" {
		for _, t := range op.Tasks {
			b.refuseTask(f, t, reason, wrong, out)
		}
		return left
	}
	state := b.states[agent.Spec.ID]
	run := RunGroup{Framework: f.Spec, Role: role, StartsExecutor: executor == nil}
	if run.StartsExecutor {
		spec := op.Tasks[0].Executor
		b.addExecutor(state, &Executor{Framework: f.Spec.ID, Agent: agent.Spec.ID, Role: role, Spec: spec})
		out.Tell = append(out.Tell, Fact{Kind: FactExecutorStarted, Framework: f.Spec.ID, Agent: agent.Spec.ID, Executor: spec.ID, Resources: spec.Resources})
	}
	for _, t := range op.Tasks {
		task := b.addTask(f, state, t, role, out)
		run.Tasks, run.Launches = append(run.Tasks, t), append(run.Launches, task.launch)
	}
	out.Send = append(out.Send, Msg{Conn: state.conn, Body: run})
	return left.Minus(needs.NonShared()) // what is shared the next task may use as well
}

// groupFor finds the executor of a group, nil when the group brings it into being, and what they need together; or says why
// none of the group may be launched.
func (b *Book) groupFor(f *Framework, agent, role string, op *Operation, left resource.List) (x *Executor, needs resource.List, reason mesosv1.TaskStatus_Reason, wrong string) {
	reason = mesosv1.TaskStatus_REASON_TASK_GROUP_INVALID
	if op.ID != "" {
		return nil, nil, reason, "A LAUNCH_GROUP operation must not have an id."
	}
	seen := make(map[string]struct{}, len(op.Tasks))
	for _, t := range op.Tasks {
		_, twice := seen[t.ID]
		seen[t.ID] = struct{}{}
		switch {
		case t.Invalid != "":
			return nil, nil, t.Reason, t.Invalid
		case t.Executor == nil || t.Executor.ID != op.Tasks[0].Executor.ID:
			return nil, nil, reason, "executor: the tasks of a group have one executor"
		case twice:
			wrong = fmt.Sprintf("task_id: %q is in the group twice; give each task an id of its own", t.ID)
		case b.tasks.Get(FrameworkTask{f.Spec.ID, t.ID}) != nil:
			wrong = fmt.Sprintf("task_id: another task of this framework has the id %q and is not completed; use a new one", t.ID)
		case t.AgentID != agent:
			wrong = fmt.Sprintf("agent_id: the task %q names agent %q, the offer is of %q", t.ID, t.AgentID, agent)
		case t.Role != "" && t.Role != role:
			wrong = fmt.Sprintf("resources: of task %q, allocated to role %q, the offer is for %q", t.ID, t.Role, role)
		}
		if wrong != "" {
			return nil, nil, reason, wrong
		}
		needs = needs.Plus(t.Resources)
	}
	first := op.Tasks[0]
	if x, _, wrong = b.executorFor(f, agent, first, role); wrong != "" {
		return nil, nil, reason, wrong
	}
	if x == nil {
		needs = needs.Plus(first.Executor.Resources)
	} else if b.sharesOtherwise(agent, f.Spec.ID, first) {
		return nil, nil, reason, fmt.Sprintf("share_cgroups: differs from that of the tasks that the executor %q has; give all of an executor the same", first.Executor.ID)
	}
	if !left.Contains(needs) {
		return nil, nil, reason, fmt.Sprintf("resources: the group wants %s, the offers have %s left", brief(needs.String()), cmp.Or(brief(left.String()), "nothing"))
	}
	return x, needs, reason, ""
}

// sharesOtherwise says whether a task of the same executor has its cgroup otherwise than t.
func (b *Book) sharesOtherwise(agent, framework string, t *TaskSpec) bool {
	for key := range b.states[agent].tasks { // order: any that differs decides
		if x := b.tasks.Get(key); key.Framework == framework && x != nil && !x.Released && x.Spec.ExecutorID == t.ExecutorID && x.Spec.Separate != t.Separate {
			return true
		}
	}
	return false
}
