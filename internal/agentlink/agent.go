package agentlink

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Agent is what an agent says of itself on the link, and what it can run.
type Agent struct {
	// Info encodes the AgentInfo with an id, or without one when it is empty.
	Info func(id string) []byte
	// IP is where its API listens.
	IP      string
	Version string
	// Unsupported says why it cannot run a task; empty when it can.
	Unsupported func(*mesosv1.TaskInfo) string
	// Keep is given the values of a task's secrets, which are cut out of it before the book hears of it. nil: they are forgotten.
	Keep func(t *workload.Task, values [][]byte) error
}

// Pong answers the ping of its number.
type Pong uint64

// AppendUp appends messages to the master as frames: as few as it can. seq is the number of the last frame. Besides
// workload.Msg an item may be a *link.Hello, which comes first and alone, or a Pong.
func (a *Agent) AppendUp(dst []byte, seq *uint64, items []any) ([]byte, error) {
	up := &link.Up{}
	size := 0
	var failed error
	flush := func() {
		if size == 0 || failed != nil {
			return
		}
		if up.Hello == nil {
			*seq++
			up.Seq = *seq
		}
		dst, failed = AppendFrame(dst, up)
		up, size = &link.Up{}, 0
	}
	for _, it := range items {
		switch m := it.(type) {
		case *link.Hello:
			up.Hello = m
			size++
			flush()
		case Pong:
			up.Pong = uint64(m)
			size += 16
		case workload.Msg:
			switch {
			case m.Register != nil:
				flush()
				up.Register = a.registration(m.Register)
				size++
				flush() // what follows is about tasks that it reports
			case m.Update != nil:
				b := m.Update.Status.AppendProto(nil)
				up.Updates = append(up.Updates, &link.Update{FrameworkId: m.Update.Framework, Status: b, LatestState: uint32(m.Update.Latest), Launch: m.Update.Launch})
				size += len(b) + 64
			case m.Unregister:
				up.Unregister = true
				size++
			case m.Operation != nil:
				up.OperationUpdates = append(up.OperationUpdates, &link.OperationUpdate{
					Uuid: []byte(m.Operation.Operation.UUID), FrameworkId: m.Operation.Operation.Framework, Status: OperationStatus(m.Operation),
				})
				size += len(m.Operation.Message) + 128
			case m.ExecutorEnd != nil:
				e := m.ExecutorEnd
				up.ExecutorEnds = append(up.ExecutorEnds, &link.ExecutorEnd{FrameworkId: e.Framework, ExecutorId: e.Executor, Status: e.Status})
				size += 96
			case m.Message != nil:
				up.Messages = append(up.Messages, &link.Message{FrameworkId: m.Message.Framework, ExecutorId: m.Message.Executor, Data: m.Message.Data})
				size += len(m.Message.Data) + 64
			case m.State != nil:
				up.States = append(up.States, &link.State{
					FrameworkId: m.State.Framework, TaskId: m.State.Task, State: uint32(m.State.State), Launch: m.State.Launch,
				})
				size += 96
			}
		}
		if size > FrameGoal {
			flush()
		}
	}
	flush()
	return dst, failed
}

// registration encodes everything that an agent is and holds.
func (a *Agent) registration(r *workload.Register) *link.Register {
	out := &link.Register{AgentInfo: a.Info(r.Agent), Version: a.Version, Ip: a.IP, Capabilities: Capabilities(), Links: r.Links}
	for _, f := range r.Frameworks {
		out.FrameworkInfos = append(out.FrameworkInfos, f.Info)
	}
	out.Resources = AppendResources(nil, r.Total)
	for _, v := range r.Operations {
		out.Operations = append(out.Operations, &link.OperationReport{Operation: operation(v.Operation), Status: OperationStatus(v)})
	}
	for _, v := range r.Executors {
		out.Executors = append(out.Executors, &link.ExecutorReport{FrameworkId: v.Spec.Framework, ExecutorInfo: v.Spec.Info, Role: v.Spec.Role})
	}
	for _, v := range r.Tasks {
		t := &link.TaskReport{
			FrameworkId: v.Task.Framework, TaskInfo: v.Task.Info, State: uint32(v.State),
			StatusUpdateState: uint32(v.UpdateState), StatusUpdateUuid: []byte(v.UpdateUUID), Role: v.Task.Role, User: v.Task.User,
			Launch: v.Task.Launch,
		}
		if len(t.TaskInfo) == 0 { // a task that never arrived is known by its name alone
			t.TaskInfo, _ = proto.Marshal(&mesosv1.TaskInfo{
				Name: &v.Task.ID, TaskId: &mesosv1.TaskID{Value: &v.Task.ID}, AgentId: &mesosv1.AgentID{Value: &r.Agent},
			}) // strings alone; it cannot fail
		}
		for _, s := range v.Statuses {
			t.Statuses = append(t.Statuses, s.AppendProto(nil))
		}
		out.Tasks = append(out.Tasks, t)
	}
	return out
}

// Capabilities are the numbers of all that an agent of this version has.
func Capabilities() []uint32 {
	var out []uint32
	for c := mesosv1.AgentInfo_Capability_MULTI_ROLE; c <= mesosv1.AgentInfo_Capability_TASK_RESOURCE_LIMITS; c++ {
		out = append(out, uint32(c))
	}
	return out
}

// Orders makes inputs of the book of a frame from the master: by kind, in the order in which a master may mean them.
func (a *Agent) Orders(d *link.Down) ([]workload.In, error) {
	var ins []workload.In
	if r := d.GetRegistered(); r != nil {
		in := &workload.Registered{Agent: r.GetAgentId(), Info: a.Info(r.GetAgentId())}
		for _, u := range r.GetUnknownTasks() {
			in.Unknown = append(in.Unknown, workload.UnknownTask{Ref: Ref(u), PartitionAware: u.GetPartitionAware(), Launch: u.GetLaunch()})
		}
		for _, p := range r.GetUnknownOperations() {
			op, err := Operation(p)
			if err != nil {
				return nil, err
			}
			in.UnknownOperations = append(in.UnknownOperations, op)
		}
		ins = append(ins, in)
	}
	for _, b := range d.GetFrameworkInfos() {
		f, err := Framework(b)
		if err != nil {
			return nil, err
		}
		ins = append(ins, &workload.FrameworkChanged{Framework: f})
	}
	for _, p := range d.GetOperations() {
		op, err := Operation(p)
		if err != nil {
			return nil, err
		}
		ins = append(ins, &workload.Apply{Operation: op})
	}
	for _, r := range d.GetRuns() {
		f, err := Framework(r.GetFrameworkInfo())
		if err != nil {
			return nil, err
		}
		t, err := a.sent(r.GetTaskInfo(), f.ID, r.GetRole(), r.GetUser(), r.GetLaunch())
		if err != nil {
			return nil, err
		}
		ins = append(ins, &workload.Run{Framework: f, Task: t, StartsExecutor: r.GetStartsExecutor()})
	}
	for _, g := range d.GetRunGroups() {
		in, err := a.group(g)
		if err != nil {
			return nil, err
		}
		ins = append(ins, in)
	}
	for _, k := range d.GetKills() {
		ins = append(ins, &workload.Kill{Ref: Ref(k), Grace: time.Duration(k.GetGraceNs())})
	}
	for _, x := range d.GetShutdownExecutors() {
		ins = append(ins, &workload.ShutdownExecutor{ExecutorRef: workload.ExecutorRef{Framework: x.GetFrameworkId(), Executor: x.GetExecutorId()}})
	}
	for _, m := range d.GetMessages() {
		ins = append(ins, &workload.SchedulerMessage{ExecutorRef: workload.ExecutorRef{Framework: m.GetFrameworkId(), Executor: m.GetExecutorId()}, Data: m.GetData()})
	}
	for _, k := range d.GetAcks() {
		ins = append(ins, &workload.Ack{Ref: Ref(k), UUID: string(k.GetUuid())})
	}
	for _, k := range d.GetOperationAcks() {
		ins = append(ins, &workload.OperationAck{Operation: string(k.GetUuid()), UUID: string(k.GetStatusUuid())})
	}
	for _, f := range d.GetShutdownFrameworks() {
		ins = append(ins, &workload.ShutdownFramework{Framework: f})
	}
	for _, f := range d.GetResendUpdates() {
		ins = append(ins, &workload.Resend{Framework: f})
	}
	return ins, nil
}

// Ref names the task of a message that names one.
func Ref(x interface {
	GetFrameworkId() string
	GetTaskId() string
},
) workload.Ref {
	return workload.Ref{Framework: x.GetFrameworkId(), Task: x.GetTaskId()}
}

// Framework makes the book's value of an encoded FrameworkInfo.
func Framework(info []byte) (*workload.Framework, error) {
	var f mesosv1.FrameworkInfo
	if err := proto.Unmarshal(info, &f); err != nil {
		return nil, fmt.Errorf("framework_info: %w", err)
	}
	return &workload.Framework{
		ID: f.GetId().GetValue(), Name: f.GetName(), User: f.GetUser(), Info: info,
		PartitionAware: mesos.Has(&f, mesosv1.FrameworkInfo_Capability_PARTITION_AWARE),
		TaskKilling:    mesos.Has(&f, mesosv1.FrameworkInfo_Capability_TASK_KILLING_STATE),
	}, nil
}

// defaultGrace is between SIGTERM and SIGKILL, for tasks that say nothing.
const defaultGrace = 3 * time.Second

// sent makes the book's value of a task as a master sends it: without the values of its secrets, which are kept elsewhere.
func (a *Agent) sent(info []byte, frameworkID, role, user string, launch uint64) (*workload.Task, error) {
	var p mesosv1.TaskInfo
	err := proto.Unmarshal(info, &p)
	var values [][]byte
	if list := mesos.TaskSecrets(&p); err == nil && mesos.HoldsSecrets(list) {
		values = mesos.CutSecrets(list)
		info, err = proto.Marshal(&p)
	}
	if err != nil {
		return nil, fmt.Errorf("task_info: %w", err)
	}
	t, err := a.task(&p, info, frameworkID, role, user)
	if err != nil {
		return nil, err
	}
	t.Launch = launch
	if values != nil && t.Refused == "" && a.Keep != nil {
		if err := a.Keep(t, values); err != nil {
			t.Refused = "The task's secrets cannot be kept: " + err.Error() + "."
		}
	}
	return t, nil
}

// Task makes the book's value of an encoded TaskInfo; an empty one is of a task that never arrived, and then id names it.
func (a *Agent) Task(info []byte, frameworkID, id, role, user string) (*workload.Task, error) {
	if len(info) == 0 {
		return &workload.Task{Framework: frameworkID, ID: id, Name: id, Role: role, User: user, Grace: defaultGrace}, nil
	}
	var p mesosv1.TaskInfo
	if err := proto.Unmarshal(info, &p); err != nil {
		return nil, fmt.Errorf("task_info: %w", err)
	}
	return a.task(&p, info, frameworkID, role, user)
}

func (a *Agent) task(p *mesosv1.TaskInfo, info []byte, frameworkID, role, user string) (*workload.Task, error) {
	t := &workload.Task{Framework: frameworkID, Role: role, User: user, Info: info, Grace: defaultGrace}
	var err error
	if t.Resources, _, err = resource.FromProto(p.GetResources()); err != nil {
		return nil, fmt.Errorf("task %s: resources: %w", p.GetTaskId().GetValue(), err)
	}
	t.ID, t.Name = p.GetTaskId().GetValue(), p.GetName()
	if g := p.GetKillPolicy().GetGracePeriod(); g != nil {
		t.Grace = time.Duration(g.GetNanoseconds())
	}
	t.Separate = !p.GetContainer().GetLinuxInfo().GetShareCgroups()
	t.Completion = time.Duration(p.GetMaxCompletionTime().GetNanoseconds())
	if a.Unsupported != nil {
		t.Refused = a.Unsupported(p)
	}
	t.Secrets = slices.ContainsFunc(mesos.TaskSecrets(p), func(s *mesosv1.Secret) bool { return s.GetType() == mesosv1.Secret_VALUE })
	if p.Executor != nil {
		if t.Executor, err = executor(p.GetExecutor(), frameworkID, role, user); err != nil {
			return nil, fmt.Errorf("task %s: %w", t.ID, err)
		}
	}
	if c := p.GetCheck(); c != nil {
		t.Check, err = emptyCheck(c.GetType())
	}
	return t, err
}

// Executor makes the book's value of an encoded ExecutorInfo.
func Executor(info []byte, frameworkID, role, user string) (*workload.Executor, error) {
	var p mesosv1.ExecutorInfo
	if err := proto.Unmarshal(info, &p); err != nil {
		return nil, fmt.Errorf("executor_info: %w", err)
	}
	x, err := executor(&p, frameworkID, role, user)
	if err == nil {
		x.Info = info
	}
	return x, err
}

func executor(p *mesosv1.ExecutorInfo, frameworkID, role, user string) (*workload.Executor, error) {
	x := &workload.Executor{
		Framework: frameworkID, ID: p.GetExecutorId().GetValue(), Name: p.GetName(), Source: p.GetSource(), Role: role, User: user, Grace: -1,
		Default: p.GetType() == mesosv1.ExecutorInfo_DEFAULT,
	}
	var err error
	if x.Resources, _, err = resource.FromProto(p.GetResources()); err != nil {
		return nil, fmt.Errorf("executor %s: resources: %w", x.ID, err)
	}
	if g := p.GetShutdownGracePeriod(); g != nil {
		x.Grace = time.Duration(g.GetNanoseconds())
	}
	if x.Info, err = (proto.MarshalOptions{Deterministic: true}).Marshal(p); err != nil {
		return nil, fmt.Errorf("executor %s: %w", x.ID, err)
	}
	return x, nil
}

// emptyCheck is what the first RUNNING update of a task with a check carries: no result yet.
func emptyCheck(kind mesosv1.CheckInfo_Type) ([]byte, error) {
	s := &mesosv1.CheckStatusInfo{Type: kind.Enum()}
	switch kind {
	case mesosv1.CheckInfo_COMMAND:
		s.Command = &mesosv1.CheckStatusInfo_Command{}
	case mesosv1.CheckInfo_HTTP:
		s.Http = &mesosv1.CheckStatusInfo_Http{}
	case mesosv1.CheckInfo_TCP:
		s.Tcp = &mesosv1.CheckStatusInfo_Tcp{}
	}
	return proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(&mesosv1.TaskStatus{CheckStatus: s})
}
