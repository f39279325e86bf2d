package agent

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
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
	past = slices.DeleteFunc(past, func(g *group) bool { return len(g.completed)+len(g.tasks) == 0 })
	return live, past
}

// state appends everything that the agent knows, as /state shows it.
func (r *reader) state(dst []byte) []byte {
	a := r.agent
	total, allocated := a.cfg.Resources, r.allocated()
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

// executorResources are a task's with what the original gives to the executor beside it.
func executorResources(t *workload.Task) resource.List {
	return t.Resources.Plus(resource.New(
		resource.Resource{Name: "cpus", Scalar: extraCPUs}, resource.Resource{Name: "mem", Scalar: extraMem}))
}

// allocated sums up what the containers here hold.
func (r *reader) allocated() resource.List {
	var sum resource.List
	for _, t := range r.view.Tasks {
		if !t.Ended {
			sum = sum.Plus(executorResources(t.Task))
		}
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
	for i, t := range g.tasks {
		dst = r.appendExecutor(v0.Comma(dst, i), t)
	}
	dst = append(dst, `],"completed_executors":[`...)
	for i, t := range g.completed {
		dst = r.appendExecutor(v0.Comma(dst, i), t)
	}
	return append(dst, "]}"...)
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
