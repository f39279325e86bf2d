package master

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/allocator"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// agentSpec makes the book's values of an encoded AgentInfo.
func agentSpec(info []byte, ip, version string, caps []uint32) (*cluster.AgentSpec, error) {
	var a mesosv1.AgentInfo
	if err := mesos.DecodeProto(info, &a); err != nil {
		return nil, fmt.Errorf("agent_info: %w", err)
	}
	total, _, err := resource.FromProto(a.GetResources())
	if err != nil {
		return nil, fmt.Errorf("agent_info.resources: %w", err)
	}
	fd := a.GetDomain().GetFaultDomain()
	s := &cluster.AgentSpec{
		ID: a.GetId().GetValue(), Info: info, Hostname: a.GetHostname(), IP: ip, Port: a.GetPort(),
		Region: fd.GetRegion().GetName(), Zone: fd.GetZone().GetName(), Total: total, Attributes: a.GetAttributes(), Version: version,
	}
	url := &mesosv1.URL{Scheme: new("http"), Path: new("/slave(1)"), Address: &mesosv1.Address{
		Hostname: a.Hostname, Ip: &ip, Port: new(a.GetPort()),
	}}
	if s.Face, err = mesos.NewAgentFace(url, a.GetDomain(), a.GetAttributes(), nil); err != nil {
		return nil, fmt.Errorf("agent_info: %w", err)
	}
	for _, c := range caps {
		s.Capabilities = append(s.Capabilities, mesosv1.AgentInfo_Capability_Type(c))
	}
	return s, nil
}

// frameworkSpec makes the book's values of a FrameworkInfo that was checked. encoded may be nil.
func frameworkSpec(info *mesosv1.FrameworkInfo, encoded []byte) (*cluster.FrameworkSpec, error) {
	if encoded == nil {
		var err error
		if encoded, err = proto.Marshal(info); err != nil {
			return nil, fmt.Errorf("framework_info: %w", err)
		}
	}
	s := &cluster.FrameworkSpec{
		ID: info.GetId().GetValue(), Info: encoded, Name: info.GetName(), User: info.GetUser(), Principal: info.GetPrincipal(),
		Roles: slices.Sorted(slices.Values(mesos.Roles(info))), Checkpoint: info.GetCheckpoint(),
		Legacy: !mesos.Has(info, mesosv1.FrameworkInfo_Capability_MULTI_ROLE),
		Caps: cluster.Capabilities{
			GPU:            mesos.Has(info, mesosv1.FrameworkInfo_Capability_GPU_RESOURCES),
			RegionAware:    mesos.Has(info, mesosv1.FrameworkInfo_Capability_REGION_AWARE),
			PartitionAware: mesos.Has(info, mesosv1.FrameworkInfo_Capability_PARTITION_AWARE),
			Refinement:     mesos.Has(info, mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT),
			Revocable:      mesos.Has(info, mesosv1.FrameworkInfo_Capability_REVOCABLE_RESOURCES),
			Shared:         mesos.Has(info, mesosv1.FrameworkInfo_Capability_SHARED_RESOURCES),
			TaskKilling:    mesos.Has(info, mesosv1.FrameworkInfo_Capability_TASK_KILLING_STATE),
		},
	}
	if t := info.GetFailoverTimeout(); t > 0 {
		s.FailoverTimeout = time.Duration(min(t, float64(1<<63-1)/2e9) * 1e9)
	}
	for role, f := range info.GetOfferFilters() {
		if f.GetMinAllocatableResources() == nil {
			continue
		}
		if s.Filters == nil {
			s.Filters = map[string][]allocator.Quantities{}
		}
		list := []allocator.Quantities{}
		for _, q := range f.GetMinAllocatableResources().GetQuantities() {
			m := allocator.Quantities{}
			for name, v := range q.GetQuantities() {
				n, err := resource.FromFloat(v.GetValue())
				if err != nil {
					return nil, fmt.Errorf("framework_info.offer_filters[%s]: %s: %w", role, name, err)
				}
				m[name] = n
			}
			list = append(list, m)
		}
		s.Filters[role] = list
	}
	return s, nil
}

// taskSpec makes the book's values of a TaskInfo; what is wrong with it is written into the spec. user is the framework's.
func taskSpec(t *mesosv1.TaskInfo, framework, user string, who serve.Subject) *cluster.TaskSpec {
	s := &cluster.TaskSpec{
		ID: t.GetTaskId().GetValue(), Name: t.GetName(), AgentID: t.GetAgentId().GetValue(),
		ExecutorID: t.GetExecutor().GetExecutorId().GetValue(), User: taskUser(t, user),
		Reason: mesosv1.TaskStatus_REASON_TASK_INVALID,
	}
	needs, err := mesos.CheckTask(t, mesos.Launch{FrameworkID: framework})
	if err != nil {
		s.Invalid = err.Error()
		return s
	}
	if h := t.GetHealthCheck(); h != nil && h.Type == nil {
		h.Type = mesos.HealthCheckType(h).Enum()
	}
	if !who.May(s.User) {
		s.Reason = mesosv1.TaskStatus_REASON_TASK_UNAUTHORIZED
		s.Invalid = fmt.Sprintf("The task is to run as user %q, and the scheduler's process belongs to %q; on loopback a user may run tasks as himself only.", s.User, who.User)
		return s
	}
	l, role, err := resource.FromProto(t.GetResources())
	if err != nil {
		s.Invalid = "resources: " + err.Error()
		return s
	}
	s.Resources, s.Role = l, role
	if e := t.GetExecutor(); e != nil {
		e.FrameworkId = &mesosv1.FrameworkID{Value: &framework} // it may be left out
		if s.Executor, err = executorSpec(e, needs.Executor); err != nil {
			s.Invalid = err.Error()
			return s
		}
	}
	if err = encodeTask(t, s); err != nil {
		s.Invalid = "the task cannot be encoded: " + err.Error()
	} else if n := len(wholeOf(s)) - len(t.GetData()); n > maxTask {
		s.Invalid = fmt.Sprintf("The task's description has %d bytes beside its data, and no more than %d may be.", n, maxTask)
	}
	return s
}

// encodeTask writes a task down: as it is for its agent, and without the values of its secrets for everybody else.
func encodeTask(t *mesosv1.TaskInfo, s *cluster.TaskSpec) (err error) {
	if mesos.HoldsSecrets(mesos.TaskSecrets(t)) {
		if s.Whole, err = proto.Marshal(t); err != nil {
			return err
		}
		t = proto.CloneOf(t)
		mesos.CutSecrets(mesos.TaskSecrets(t))
	}
	s.Info, err = proto.Marshal(t)
	return err
}

// wholeOf is a task as its agent is sent it.
func wholeOf(t *cluster.TaskSpec) []byte {
	if t.Whole != nil {
		return t.Whole
	}
	return t.Info
}

// executorSpec makes the book's values of an ExecutorInfo that was checked.
func executorSpec(e *mesosv1.ExecutorInfo, needs resource.List) (*cluster.ExecutorSpec, error) {
	_, role, err := resource.FromProto(e.GetResources())
	if err != nil {
		return nil, fmt.Errorf("executor.resources: %w", err)
	}
	if mesos.HoldsSecrets(mesos.ExecutorSecrets(e)) {
		e = proto.CloneOf(e)
		mesos.CutSecrets(mesos.ExecutorSecrets(e))
	}
	info, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("executor: it cannot be encoded: %w", err)
	}
	return &cluster.ExecutorSpec{ID: e.GetExecutorId().GetValue(), Name: e.GetName(), Role: role, Resources: needs, Info: info}, nil
}

// reportedExecutor makes the book's values of an executor that an agent reports.
func reportedExecutor(r *link.ExecutorReport) (*cluster.ExecutorSpec, error) {
	var e mesosv1.ExecutorInfo
	err := agentlink.CheckElements(r.GetExecutorInfo(), e.ProtoReflect().Descriptor())
	if err == nil {
		err = proto.Unmarshal(r.GetExecutorInfo(), &e)
	}
	if err != nil {
		return nil, fmt.Errorf("executor_info: %w", err)
	}
	needs, _, err := resource.FromProto(e.GetResources())
	if err != nil {
		return nil, fmt.Errorf("executor %s: resources: %w", e.GetExecutorId().GetValue(), err)
	}
	return executorSpec(&e, needs)
}

// taskUser is whom a task runs as.
func taskUser(t *mesosv1.TaskInfo, user string) string {
	if u := t.GetCommand().GetUser(); u != "" {
		return u
	}
	if u := t.GetExecutor().GetCommand().GetUser(); u != "" {
		return u
	}
	return user
}

// reportedTask makes the book's values of a task that an agent reports.
func reportedTask(r *link.TaskReport) (cluster.TaskReport, error) {
	out := cluster.TaskReport{
		Framework: r.GetFrameworkId(), Role: r.GetRole(), State: mesosv1.TaskState(r.GetState()),
		UpdateState: mesosv1.TaskState(r.GetStatusUpdateState()), UpdateUUID: string(r.GetStatusUpdateUuid()),
		Launch: r.GetLaunch(),
	}
	var t mesosv1.TaskInfo
	err := agentlink.CheckElements(r.GetTaskInfo(), t.ProtoReflect().Descriptor())
	if err == nil {
		err = proto.Unmarshal(r.GetTaskInfo(), &t)
	}
	if err != nil {
		return out, fmt.Errorf("task_info: %w", err)
	}
	l, role, err := resource.FromProto(t.GetResources())
	if err != nil {
		return out, fmt.Errorf("task %s: resources: %w", t.GetTaskId().GetValue(), err)
	}
	out.Spec = &cluster.TaskSpec{
		ID: t.GetTaskId().GetValue(), Name: t.GetName(), AgentID: t.GetAgentId().GetValue(),
		ExecutorID: t.GetExecutor().GetExecutorId().GetValue(), User: r.GetUser(), Role: role, Resources: l, Info: r.GetTaskInfo(),
		Separate: !t.GetContainer().GetLinuxInfo().GetShareCgroups(),
	}
	for _, b := range r.GetStatuses() {
		s, err := mesos.ParseStatus(b)
		if err != nil {
			return out, fmt.Errorf("task %s: status: %w", out.Spec.ID, err)
		}
		out.Statuses = append(out.Statuses, &s)
	}
	return out, nil
}

// refusal is a Filters message as a duration; negative when it is not set or negative: the default.
func refusal(f *mesosv1.Filters) time.Duration {
	if f == nil {
		return -1
	}
	secs := f.GetRefuseSeconds()
	switch {
	case secs < 0 || secs != secs:
		return -1
	case secs > 1e9:
		return time.Duration(1e18)
	}
	return time.Duration(secs * 1e9)
}

func ids[T interface{ GetValue() string }](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = strings.Clone(x.GetValue())
	}
	return out
}
