package agent

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/bounds"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// reader is one reader of one view of the book. It never asks the machine.
type reader struct {
	agent *Agent
	view  *workload.View
	// may says whether the reader may see what belongs to a user; the agent and its sums are for everybody.
	may func(user string) bool
}

// group is a framework with its tasks here.
type group struct {
	framework        *workload.Framework
	tasks, completed []*workload.TaskView
	// executors are those of the framework's own, and past those of them that have ended.
	executors, past []*workload.ExecutorView
}

// groups sorts tasks by their frameworks, those that have tasks here and those of the past, and leaves out what the reader
// may not see.
func (r *reader) groups() (live, past []*group) {
	by := map[string]*group{}
	add := func(list []*group, frameworks []*workload.Framework) []*group {
		for _, f := range frameworks {
			if by[f.ID] == nil && r.may(f.User) {
				g := &group{framework: f}
				by[f.ID] = g
				list = append(list, g)
			}
		}
		return list
	}
	live = add(nil, r.view.Frameworks)
	past = add(nil, r.view.Former)
	for _, t := range r.view.Tasks {
		if g := by[t.Task.Framework]; g != nil {
			g.tasks = append(g.tasks, t)
		}
	}
	for _, t := range r.view.Completed {
		if g := by[t.Task.Framework]; g != nil {
			g.completed = append(g.completed, t)
		}
	}
	for _, x := range r.view.Executors {
		if g := by[x.Spec.Framework]; g != nil {
			g.executors = append(g.executors, x)
		}
	}
	for _, x := range r.view.PastExecutors {
		if g := by[x.Spec.Framework]; g != nil {
			g.past = append(g.past, x)
		}
	}
	past = slices.DeleteFunc(past, func(g *group) bool { return len(g.completed)+len(g.tasks)+len(g.past) == 0 })
	return live, past
}

// state appends everything that the agent knows, as /state shows it.
func (r *reader) state(dst []byte) []byte {
	a := r.agent
	total, allocated := r.view.Total, r.allocated()
	unreserved := total.Unreserved()
	dst = append(append(dst, '{'), a.build...)
	dst = v0.Seconds(append(dst, `,"start_time":`...), a.started.Wall)
	dst = v0.Text(append(dst, `,"id":`...), r.view.Agent)
	dst = v0.Text(append(dst, `,"pid":`...), "slave(1)@"+net.JoinHostPort(a.cfg.IP, strconv.Itoa(a.cfg.Port)))
	dst = v0.Text(append(dst, `,"hostname":`...), a.cfg.Hostname)
	caps := agentlink.Capabilities()
	names := make([]mesosv1.AgentInfo_Capability_Type, len(caps))
	for i, c := range caps {
		names[i] = mesosv1.AgentInfo_Capability_Type(c)
	}
	dst = v0.AgentCapabilities(append(dst, `,"capabilities":`...), names)
	fd := a.cfg.Domain.GetFaultDomain()
	dst = v0.Domain(dst, fd.GetRegion().GetName(), fd.GetZone().GetName())
	dst = total.AppendV0(append(dst, `,"resources":`...))
	dst = total.AppendV0Reserved(append(dst, `,"reserved_resources":`...))
	dst = unreserved.AppendV0(append(dst, `,"unreserved_resources":`...))
	dst = total.AppendV0ReservedFull(append(dst, `,"reserved_resources_full":`...))
	dst = unreserved.AppendJSON(append(dst, `,"unreserved_resources_full":`...), "", resource.Endpoint)
	dst = allocated.AppendV0Reserved(append(dst, `,"reserved_resources_allocated":`...))
	dst = allocated.Unreserved().AppendV0(append(dst, `,"unreserved_resources_allocated":`...))
	dst = v0.Attributes(append(dst, `,"resource_providers":[],"attributes":`...), a.cfg.Attributes)
	a.mu.Lock()
	master := a.master
	a.mu.Unlock()
	if master != "" {
		dst = v0.Text(append(dst, `,"master_hostname":`...), master)
	}
	dst = append(append(dst, `,"flags":`...), a.flags...)
	live, past := r.groups()
	dst = r.appendGroups(append(dst, `,"frameworks":`...), live)
	dst = r.appendGroups(append(dst, `,"completed_frameworks":`...), past)
	return append(dst, '}')
}

// executorResources are a task's with what the original gives to the executor beside it, if that is not one of its own.
func executorResources(t *workload.Task) resource.List {
	if t.Executor != nil {
		return t.Resources
	}
	return t.Resources.Plus(resource.New(
		resource.Resource{Name: "cpus", Scalar: resource.Quantity(bounds.OfExecutor.CPUs)}, resource.Resource{Name: "mem", Scalar: resource.Quantity(bounds.OfExecutor.Mem)},
	))
}

// allocated sums up what the containers here hold.
func (r *reader) allocated() resource.List {
	var sum resource.List
	for _, t := range r.view.Tasks {
		if !t.Ended {
			sum = sum.Plus(executorResources(t.Task))
		}
	}
	for _, x := range r.view.Executors {
		sum = sum.Plus(x.Spec.Resources)
	}
	return sum
}

func (r *reader) appendGroups(dst []byte, groups []*group) []byte {
	dst = append(dst, '[')
	for i, g := range groups {
		dst = r.appendGroup(v0.Comma(dst, i), g)
	}
	return append(dst, ']')
}

func (r *reader) appendGroup(dst []byte, g *group) []byte {
	var info mesosv1.FrameworkInfo
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(g.framework.Info, &info) // the master has checked it
	dst = v0.Text(append(dst, `{"id":`...), g.framework.ID)
	dst = v0.Text(append(dst, `,"name":`...), g.framework.Name)
	dst = v0.Text(append(dst, `,"user":`...), g.framework.User)
	dst = v0.Number(append(dst, `,"failover_timeout":`...), info.GetFailoverTimeout())
	dst = v0.Bool(append(dst, `,"checkpoint":`...), info.GetCheckpoint())
	dst = v0.Text(append(dst, `,"hostname":`...), info.GetHostname())
	if info.Principal != nil {
		dst = v0.Text(append(dst, `,"principal":`...), info.GetPrincipal())
	}
	if mesos.Has(&info, mesosv1.FrameworkInfo_Capability_MULTI_ROLE) {
		dst = v0.Texts(append(dst, `,"roles":`...), info.GetRoles())
	} else {
		dst = v0.Text(append(dst, `,"role":`...), info.GetRole())
	}
	dst = append(dst, `,"executors":[`...)
	dst = r.appendExecutors(dst, g, g.tasks, g.executors)
	dst = append(dst, `],"completed_executors":[`...)
	dst = r.appendExecutors(dst, g, g.completed, g.past)
	return append(dst, "]}"...)
}

// appendExecutors appends those of command tasks and those of the framework's own.
func (r *reader) appendExecutors(dst []byte, g *group, tasks []*workload.TaskView, own []*workload.ExecutorView) []byte {
	n := 0
	for _, t := range tasks {
		if t.Task.Executor == nil {
			dst = r.appendExecutor(v0.Comma(dst, n), t)
			n++
		}
	}
	for _, x := range own {
		dst = r.appendOwnExecutor(v0.Comma(dst, n), g, x)
		n++
	}
	return dst
}

// queued says whether a task waits for its executor.
func queued(t *workload.TaskView) bool { return t.Queued || t.Task.Executor.Default && t.PID == 0 }

// appendOwnExecutor appends an executor of a framework's own with its tasks: those that share its container.
func (r *reader) appendOwnExecutor(dst []byte, g *group, x *workload.ExecutorView) []byte {
	run := sandbox.Run{Agent: r.view.Agent, Framework: x.Spec.Framework, Executor: x.Spec.ID, Container: x.Container}
	dst = v0.Text(append(dst, `{"id":`...), x.Spec.ID)
	dst = v0.Text(append(dst, `,"name":`...), x.Spec.Name)
	dst = v0.Text(append(dst, `,"source":`...), x.Spec.Source)
	dst = v0.Text(append(dst, `,"container":`...), x.Container)
	dst = v0.Text(append(dst, `,"directory":`...), run.Path(r.agent.cfg.WorkDir))
	held := x.Spec.Resources
	for _, t := range g.tasks {
		if t.Top() == x.Container && !t.Ended {
			held = held.Plus(t.Task.Resources)
		}
	}
	dst = held.AppendV0(append(dst, `,"resources":`...))
	if len(x.Spec.Resources) > 0 {
		dst = v0.Text(append(dst, `,"role":`...), x.Spec.Role)
	}
	dst = v0.ExecutorKind(dst, x.Spec.Info)
	for _, list := range []struct {
		name string
		here func(*workload.TaskView) bool
	}{
		{`,"tasks":[`, func(t *workload.TaskView) bool { return !queued(t) && !t.Ended }},
		{`,"queued_tasks":[`, func(t *workload.TaskView) bool { return queued(t) && !t.Ended }},
		{`,"completed_tasks":[`, func(t *workload.TaskView) bool { return t.Ended }},
	} {
		dst = append(dst, list.name...)
		n := 0
		for _, t := range slices.Concat(g.tasks, g.completed) {
			if t.Top() == x.Container && list.here(t) {
				dst = r.appendTask(v0.Comma(dst, n), t)
				n++
			}
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// appendExecutor appends a task's executor: a command task has one of its own.
func (r *reader) appendExecutor(dst []byte, t *workload.TaskView) []byte {
	run := sandbox.Run{Agent: r.view.Agent, Framework: t.Task.Framework, Executor: t.Task.ID, Container: t.Container}
	dst = v0.Text(append(dst, `{"id":`...), t.Task.ID)
	dst = v0.Text(append(dst, `,"name":`...), executorName(t.Task))
	dst = v0.Text(append(dst, `,"source":`...), t.Task.ID)
	dst = v0.Text(append(dst, `,"container":`...), t.Container)
	dst = v0.Text(append(dst, `,"directory":`...), run.Path(r.agent.cfg.WorkDir))
	dst = executorResources(t.Task).AppendV0(append(dst, `,"resources":`...))
	if t.Task.Role != "" {
		dst = v0.Text(append(dst, `,"role":`...), t.Task.Role)
	}
	queued, running, ended := t.PID == 0 && !t.Ended, t.PID != 0 && !t.Ended, t.Ended
	for _, list := range []struct {
		name string
		here bool
	}{{`,"tasks":[`, running}, {`,"queued_tasks":[`, queued}, {`,"completed_tasks":[`, ended}} {
		dst = append(dst, list.name...)
		if list.here {
			dst = r.appendTask(dst, t)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func (r *reader) appendTask(dst []byte, t *workload.TaskView) []byte {
	shown := v0.Task{
		ID: t.Task.ID, Name: t.Task.Name, Framework: t.Task.Framework, Agent: r.view.Agent, Role: t.Task.Role, State: t.State,
		Resources: t.Task.Resources, Statuses: t.Statuses, Info: t.Task.Info,
	}
	if x := t.Task.Executor; x != nil {
		shown.Executor = x.ID
	}
	return shown.Append(dst)
}

// executorName is how the original calls the executor that it gives to a command; pages show it.
func executorName(t *workload.Task) string {
	const room = 15 // bytes of the command that are shown, with the dots
	clip := func(s string) string {
		if len(s) > room {
			return strings.ToValidUTF8(s[:room-3], "") + "..."
		}
		return s
	}
	c := commandOf(t.Info)
	words := "sh -c '" + clip(c.GetValue()) + "'"
	switch {
	case c.GetShell() && c.Value == nil:
		words = "NO COMMAND"
	case !c.GetShell() && c.Value == nil:
		words = "NO EXECUTABLE"
	case !c.GetShell():
		words = "[" + clip(strings.Join(append([]string{c.GetValue()}, c.GetArguments()...), ", ")) + "]"
	}
	return "Command Executor (Task: " + t.ID + ") (Command: " + words + ")"
}

// commandOf decodes the command of an encoded TaskInfo and nothing else.
func commandOf(info []byte) *mesosv1.CommandInfo {
	const command = 7 // the field's number
	c := &mesosv1.CommandInfo{}
	for len(info) > 0 {
		num, kind, n := protowire.ConsumeTag(info)
		if n < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(num, kind, info[n:])
		if size < 0 {
			break
		}
		if num == command && kind == protowire.BytesType {
			b, _ := protowire.ConsumeBytes(info[n:])
			_ = proto.UnmarshalOptions{AllowPartial: true, Merge: true}.Unmarshal(b, c) // it was checked when it came
		}
		info = info[n+size:]
	}
	return c
}
