package run

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/fate"
)

// Pod is tasks that run together on one node or not at all, below one default executor. Each has one instance; when one
// ends otherwise than well, the cluster ends the others.
type Pod struct {
	Need  Need // of the executor beside its tasks
	Tasks []PodTask
}

// PodTask is one task of a Pod.
type PodTask struct {
	Name    string // within the pod; it begins the lines that the task writes
	Command string // for /bin/sh
	Need    Need
	Env     []*mesosv1.Environment_Variable
	URIs    []*mesosv1.CommandInfo_URI
}

// Total is what the whole pod takes of a node.
func (p *Pod) Total() Need {
	n := p.Need
	for i := range p.Tasks {
		n = n.plus(p.Tasks[i].Need)
	}
	return n
}

// executorID names the pod's executor. A new attempt has a new one, since the last may still be ending.
func (r *run) executorID() string {
	id := r.Name + "-" + r.suffix
	if a := r.instances[0].attempt; a > 1 {
		id += "." + strconv.Itoa(a)
	}
	return id
}

// group cuts a pod out of an offer's resources; ok is false when they do not hold all of it, or when one of its tasks is not
// known yet to have come to nothing.
func (r *run) group(offer *mesosv1.Offer) (op *mesosv1.Offer_Operation, ok bool) {
	for _, i := range r.instances {
		if i.launched || i.over {
			return nil, false
		}
	}
	part, rest, ok := r.Pod.Need.take(offer.GetResources())
	if !ok {
		return nil, false
	}
	x := &mesosv1.ExecutorInfo{
		Type: mesosv1.ExecutorInfo_DEFAULT.Enum(), ExecutorId: &mesosv1.ExecutorID{Value: new(r.executorID())},
		FrameworkId: &mesosv1.FrameworkID{Value: new(r.scheduler.FrameworkID())}, Name: &r.Name, Resources: part,
	}
	group := &mesosv1.TaskGroupInfo{}
	for n, i := range r.instances {
		t := &r.Pod.Tasks[n]
		if part, rest, ok = t.Need.take(rest); !ok {
			return nil, false
		}
		group.Tasks = append(group.Tasks, &mesosv1.TaskInfo{
			Name: &t.Name, TaskId: i.taskID(), AgentId: offer.GetAgentId(), Resources: part,
			Command: &mesosv1.CommandInfo{
				Value: &t.Command, User: &r.User, Uris: t.URIs, Environment: &mesosv1.Environment{Variables: t.Env},
			},
		})
	}
	return &mesosv1.Offer_Operation{
		Type: mesosv1.Offer_Operation_LAUNCH_GROUP.Enum(), LaunchGroup: &mesosv1.Offer_Operation_LaunchGroup{Executor: x, TaskGroup: group},
	}, true
}

// offerPod puts the pod on an offer that holds all of it, and declines any other.
func (r *run) offerPod(ctx context.Context, offer *mesosv1.Offer) {
	op, ok := r.group(offer)
	if !ok {
		r.decline(ctx, offer)
		return
	}
	for _, i := range r.instances {
		i.launched, i.agent, i.host, i.address = true, offer.GetAgentId(), offer.GetHostname(), agentAddress(offer)
	}
	r.accept(ctx, offer, op, r.instances)
}

// whole ends what waits of a pod of which the rest has ended: its tasks run together or not at all.
func (r *run) whole() {
	if r.Pod == nil {
		return
	}
	var over *instance
	for _, i := range r.instances {
		if i.over {
			over = i
		}
	}
	for _, i := range r.instances {
		if over != nil && !i.launched && !i.over {
			i.over, i.code = true, fate.NeverStarted
			r.Say("%s: it did not start, and %s has ended", r.title(i), r.title(over))
		}
	}
}

// podSandbox is the path of a pod's task's sandbox: below that of its executor's latest run.
func (r *run) podSandbox(i *instance) string {
	return fmt.Sprintf("/frameworks/%s/executors/%s/runs/latest/containers/%s",
		r.scheduler.FrameworkID(), r.executorID(), i.last.GetContainerStatus().GetContainerId().GetValue())
}
