package agent

import (
	"cmp"
	"os"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/internal/agent/bounds"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/diskwatch"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sandbox"
)

// place is a sandbox. Of one below another the root is open: what is above it belongs to a user.
type place struct {
	dir    string
	root   *os.Root
	levels int // how many containers it is below
}

func (p *place) close() {
	if p.root != nil {
		_ = p.root.Close() // it was read, not written
	}
}

// makePlace makes the sandbox that a launch is for.
func (a *Agent) makePlace(w *workload.LaunchWork, b *blueprint, as identity) (*place, error) {
	if w.Parent == "" {
		dir, err := sandbox.Create(a.cfg.WorkDir, b.run, as.uid, as.gid)
		if err == nil {
			a.files.AttachRun(a.cfg.WorkDir, b.run)
		}
		return &place{dir: dir}, err
	}
	dir, root, err := sandbox.CreateBelow(a.cfg.WorkDir, b.run, strings.TrimPrefix(w.Container, w.Parent+"."), as.uid, as.gid)
	return &place{dir, root, 1}, err
}

// pooledBlueprint reads what a task of the default executor asks for. Its sandbox is in its executor's.
func (a *Agent) pooledBlueprint(w *workload.LaunchWork, info *mesosv1.TaskInfo) *blueprint {
	b := &blueprint{
		user:    w.Task.User,
		run:     sandbox.Run{Agent: a.view.Load().Agent, Framework: w.Task.Framework, Executor: w.Executor.ID, Container: w.Parent},
		command: info.GetCommand(), container: info.GetContainer(), resources: w.Task.Resources, above: w.Executor.Resources, secrets: checkSecrets(info),
	}
	if w.Task.Separate {
		b.limits = bounds.Of(w.Task.Resources, info.GetLimits(), bounds.Extra{}, a.cfg.Quota)
	}
	return b
}

// launchGroupEvent makes the protocol's message of a group for its executor.
func (a *Agent) launchGroupEvent(e workload.LaunchGroupEvent) *executor.Event {
	var framework mesosv1.FrameworkInfo
	read(e.Framework.Info, &framework)
	group := &mesosv1.TaskGroupInfo{}
	for _, t := range e.Tasks {
		group.Tasks = append(group.Tasks, a.taskFor(t, &framework))
	}
	return &executor.Event{Type: executor.Event_LAUNCH_GROUP.Enum(), LaunchGroup: &executor.Event_LaunchGroup{TaskGroup: group}}
}

// taskFor is a task as an executor of its framework is given it, with the values of its secrets.
func (a *Agent) taskFor(t *workload.Task, f *mesosv1.FrameworkInfo) *mesosv1.TaskInfo {
	task, err := a.keptOf(t).whole(t)
	if err != nil {
		a.deps.Log.Error("an executor is given a task without its secrets", "framework", t.Framework, "task", t.ID, "error", err)
		read(t.Info, task)
	}
	task.Resources = allocated(task.GetResources(), t.Role, f)
	if x := task.GetExecutor(); x != nil {
		x.Resources = allocated(x.GetResources(), t.Role, f)
	}
	return task
}

// nested visits the containers below executors that have a process, as running does.
func (r *reader) nested(keep func(*box) bool, visit func(*box, *container.Stats)) {
	live, _ := r.groups()
	for _, g := range live {
		for _, t := range g.tasks {
			if t.Ended || t.PID == 0 || t.Top() == t.Container {
				continue
			}
			b := &box{t.Container, t.Task.Framework, t.Task.Executor.ID, cmp.Or(t.Task.Executor.Name, t.Task.Executor.ID), t.Task.Executor.Source, t.PID, diskwatch.Use{}}
			if !keep(b) {
				continue
			}
			if s, err := r.agent.deps.Runtime.Stats(b.container); err == nil {
				visit(b, &s)
			}
		}
	}
}
