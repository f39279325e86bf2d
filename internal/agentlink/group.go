package agentlink

import (
	"cmp"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/workload"
)

// group makes the book's input of tasks that run together.
func (a *Agent) group(g *link.RunGroup) (*workload.RunGroup, error) {
	f, err := Framework(g.GetFrameworkInfo())
	if err != nil {
		return nil, err
	}
	in := &workload.RunGroup{Framework: f, StartsExecutor: g.GetStartsExecutor()}
	for _, x := range g.GetTasks() {
		t, err := a.sent(x.GetTaskInfo(), f.ID, g.GetRole(), x.GetUser(), x.GetLaunch())
		if err != nil {
			return nil, err
		}
		if t.Executor == nil || t.Executor.ID != cmp.Or(first(in), t).Executor.ID {
			return nil, fmt.Errorf("task %s: it is in a group and has not the group's executor", t.ID)
		}
		in.Tasks = append(in.Tasks, t)
	}
	if len(in.Tasks) == 0 {
		return nil, errors.New("a group without tasks")
	}
	var e mesosv1.ExecutorInfo
	if err := proto.Unmarshal(in.Tasks[0].Executor.Info, &e); err != nil {
		return nil, fmt.Errorf("executor_info: %w", err)
	}
	for _, t := range in.Tasks { // they may be of other users than their executor
		t.Executor.User = cmp.Or(e.GetCommand().GetUser(), f.User)
		t.Group, t.GroupSize = in.Tasks[0].Launch, len(in.Tasks)
	}
	return in, nil
}

func first(g *workload.RunGroup) *workload.Task {
	if len(g.Tasks) == 0 {
		return nil
	}
	return g.Tasks[0]
}
