package mesos

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// Launch is where a task is launched: what CheckTask compares it with. Members that are empty are
// not compared.
type Launch struct {
	AgentID     string // of the offer
	FrameworkID string
	Role        string // that the offer is allocated to
	// Executor is the executor of the task's group; nil for a task that is launched alone.
	Executor *mesosv1.ExecutorInfo
}

// Needs is what a task asks of the offer.
type Needs struct {
	Task     resource.List
	Executor resource.List // of the task's own executor; nothing for a group's
}

// CheckTask tells whether a task can be launched, as far as that can be told without knowing what
// else there is, in the order in which Mesos looks. It gives what the task asks for, in canonical
// form. Whether the ids are unique, the offer has as much, and an executor is the one known by its
// id is for the caller to say.
func CheckTask(t *mesosv1.TaskInfo, l Launch) (Needs, error) {
	var n Needs
	if err := CheckID(t.GetTaskId().GetValue()); err != nil {
		return n, at("task_id.value", err)
	}
	if l.AgentID != "" && t.GetAgentId().GetValue() != l.AgentID {
		return n, fmt.Errorf("agent_id: is %q, but the offer is of %q; launch on the offer's agent", t.GetAgentId().GetValue(), l.AgentID)
	}
	if t.GetKillPolicy().GetGracePeriod().GetNanoseconds() < 0 {
		return n, errors.New("kill_policy.grace_period: is negative; give 0 or more")
	}
	if t.GetMaxCompletionTime().GetNanoseconds() < 0 {
		return n, errors.New("max_completion_time: is negative; give 0 or more")
	}
	if t.Check != nil {
		if err := CheckCheck(t.Check); err != nil {
			return n, err
		}
	}
	if t.HealthCheck != nil {
		if err := CheckHealthCheck(t.HealthCheck); err != nil {
			return n, err
		}
	}
	var role string
	var err error
	if n.Task, role, err = checkResources(t.GetResources(), l.Role); err != nil {
		return n, err
	}
	if len(t.GetResources()) == 0 {
		return n, errors.New("resources: is empty; a task needs some")
	}
	if err := checkEnvironment("command.environment", t.GetCommand().GetEnvironment()); err != nil {
		return n, err
	}
	if err := CheckContainer(t.GetContainer()); err != nil {
		return n, err
	}
	shares := t.GetContainer().GetLinuxInfo().GetShareCgroups()
	if l.Executor == nil && !shares {
		return n, errors.New("container.linux_info.share_cgroups: may be false in a task group only; leave it out")
	}
	if err := checkLimits(t.GetLimits(), n.Task, l.Executor != nil && shares); err != nil {
		return n, err
	}
	if l.Executor != nil {
		return n, checkInGroup(t, l.Executor)
	}
	switch {
	case t.Executor == nil && t.Command == nil:
		return n, errors.New("command: is missing, and so is executor; give one of them")
	case t.Executor != nil && t.Command != nil:
		return n, errors.New("command: is there beside executor; give one of them")
	case t.Executor == nil:
		return n, nil
	}
	if k := t.Executor.GetType(); k != mesosv1.ExecutorInfo_UNKNOWN && k != mesosv1.ExecutorInfo_CUSTOM {
		return n, fmt.Errorf("executor.type: is %v, but LAUNCH takes CUSTOM only; use LAUNCH_GROUP", k)
	}
	if role == "" {
		role = l.Role
	}
	n.Executor, err = checkExecutor(t.Executor, Launch{FrameworkID: l.FrameworkID, Role: role})
	if err == nil {
		err = checkRevocable(n.Task, n.Executor)
	}
	return n, err
}

func checkInGroup(t *mesosv1.TaskInfo, e *mesosv1.ExecutorInfo) error {
	if t.Executor != nil && !proto.Equal(t.Executor, e) {
		return errors.New("executor: is not the group's; leave it out")
	}
	if t.GetContainer().GetType() == mesosv1.ContainerInfo_DOCKER && t.Container != nil {
		return errors.New("container.type: DOCKER cannot be in a task group; use MESOS with a Docker image")
	}
	if len(t.GetContainer().GetNetworkInfos()) == 0 {
		return nil
	}
	if k := HealthCheckType(t.GetHealthCheck()); k == mesosv1.HealthCheck_HTTP || k == mesosv1.HealthCheck_TCP {
		return errors.New("health_check: over the network cannot reach a task with network_infos of its own; use COMMAND")
	}
	if k := t.GetCheck().GetType(); k == mesosv1.CheckInfo_HTTP || k == mesosv1.CheckInfo_TCP {
		return errors.New("check: over the network cannot reach a task with network_infos of its own; use COMMAND")
	}
	return nil
}

// The least that a default executor needs beside its tasks.
const (
	minExecutorCPUs = 10 * resource.One / 1000
	minExecutorMem  = 32 * resource.One
)

// CheckGroup tells whether a group of tasks can be launched together under e, by the rules of
// CheckTask and those of groups. It gives what each task asks for, and e.
func CheckGroup(e *mesosv1.ExecutorInfo, tasks []*mesosv1.TaskInfo, l Launch) (needs []resource.List, executor resource.List, err error) {
	if e.FrameworkId == nil {
		return nil, nil, errors.New("executor.framework_id: is missing; a group's executor needs it")
	}
	executor, err = checkExecutor(e, l)
	if err != nil {
		return nil, nil, err
	}
	if err := checkGroupExecutor(e, executor); err != nil {
		return nil, nil, err
	}
	if len(tasks) == 0 {
		return nil, nil, errors.New("task_group.tasks: is empty; give at least one task")
	}
	l.Executor = e
	all := executor
	seen := make(map[string]bool, len(tasks))
	for i, t := range tasks {
		field := fmt.Sprintf("task_group.tasks[%d]", i)
		if seen[t.GetTaskId().GetValue()] {
			return nil, nil, fmt.Errorf("%s.task_id: %q is there already; give each task an id of its own", field, t.GetTaskId().GetValue())
		}
		seen[t.GetTaskId().GetValue()] = true
		n, err := CheckTask(t, l)
		if err == nil {
			err = checkRevocable(all, n.Task)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s.%w", field, err)
		}
		if shares := t.GetContainer().GetLinuxInfo().GetShareCgroups(); shares != tasks[0].GetContainer().GetLinuxInfo().GetShareCgroups() {
			return nil, nil, fmt.Errorf("%s.container.linux_info.share_cgroups: differs from the first task's; give all the same", field)
		}
		all = all.Plus(n.Task)
		needs = append(needs, n.Task)
	}
	return needs, executor, nil
}

func checkGroupExecutor(e *mesosv1.ExecutorInfo, has resource.List) error {
	switch e.GetType() {
	case mesosv1.ExecutorInfo_CUSTOM:
		if e.Container != nil && e.Container.GetType() == mesosv1.ContainerInfo_DOCKER {
			return errors.New("executor.container.type: DOCKER cannot hold a task group; use MESOS")
		}
		return nil
	case mesosv1.ExecutorInfo_DEFAULT:
	default:
		return errors.New("executor.type: is missing; give DEFAULT or CUSTOM")
	}
	switch c := e.Container; {
	case c != nil && c.GetType() != mesosv1.ContainerInfo_MESOS:
		return errors.New("executor.container.type: a DEFAULT executor takes MESOS only; change it")
	case c.GetMesos().GetImage() != nil:
		return errors.New("executor.container.mesos.image: a DEFAULT executor takes none; give the image to the tasks")
	case has.Scalar("cpus") < minExecutorCPUs:
		return fmt.Errorf("executor.resources: a DEFAULT executor needs %v cpus; give as many", minExecutorCPUs)
	case has.Scalar("mem") < minExecutorMem:
		return fmt.Errorf("executor.resources: a DEFAULT executor needs %v MB of mem; give as much", minExecutorMem)
	case has.Scalar("disk") == 0:
		return errors.New("executor.resources: a DEFAULT executor needs disk; give some")
	}
	return nil
}

// checkExecutor looks at what holds for the executor of a task and of a group.
func checkExecutor(e *mesosv1.ExecutorInfo, l Launch) (resource.List, error) {
	if err := CheckID(e.GetExecutorId().GetValue()); err != nil {
		return nil, at("executor.executor_id.value", err)
	}
	if l.FrameworkID != "" && e.FrameworkId != nil && e.GetFrameworkId().GetValue() != l.FrameworkID {
		return nil, fmt.Errorf("executor.framework_id: is %q, but the framework is %q; send its own id", e.GetFrameworkId().GetValue(), l.FrameworkID)
	}
	switch e.GetType() {
	case mesosv1.ExecutorInfo_DEFAULT:
		if e.Command != nil {
			return nil, errors.New("executor.command: a DEFAULT executor takes none; leave it out, or use CUSTOM")
		}
	default:
		if e.Command == nil {
			return nil, errors.New("executor.command: is missing; say what to run")
		}
	}
	if e.GetShutdownGracePeriod().GetNanoseconds() < 0 {
		return nil, errors.New("executor.shutdown_grace_period: is negative; give 0 or more")
	}
	list, _, err := checkResources(e.GetResources(), l.Role)
	if err != nil {
		return nil, fmt.Errorf("executor.%w", err)
	}
	if !list.Shared().IsEmpty() {
		return nil, errors.New("executor.resources: holds a shared volume; give it to the task")
	}
	if err := checkEnvironment("executor.command.environment", e.GetCommand().GetEnvironment()); err != nil {
		return nil, err
	}
	if err := CheckContainer(e.GetContainer()); err != nil {
		return nil, fmt.Errorf("executor.%w", err)
	}
	if s := e.GetContainer().GetLinuxInfo(); s != nil && s.ShareCgroups != nil && s.GetShareCgroups() {
		return nil, errors.New("executor.container.linux_info.share_cgroups: an executor has cgroups of its own; leave it out")
	}
	return list, nil
}

func checkResources(rs []*mesosv1.Resource, offered string) (resource.List, string, error) {
	l, role, err := resource.FromProto(rs)
	if err != nil {
		return nil, "", err
	}
	if role != "" && offered != "" && role != offered {
		return nil, "", fmt.Errorf("resources: are allocated to %q, but the offer is to %q; use the offer's role", role, offered)
	}
	var volumes map[string]bool // made for the few tasks that use some
	for i := range l {
		r := &l[i]
		if r.Name == "gpus" && r.Kind == resource.Scalar && r.Scalar%resource.One != 0 {
			return nil, "", fmt.Errorf("resources (\"gpus\"): %v is no whole number; give one", r.Scalar)
		}
		if err := CheckDisk(r); err != nil {
			return nil, "", err
		}
		if id := r.PersistenceID(); id != "" {
			key := r.Role() + "\x00" + id
			if volumes[key] {
				return nil, "", fmt.Errorf("resources (\"disk\").disk.persistence.id: %q is there twice; name each volume once", id)
			}
			if volumes == nil {
				volumes = map[string]bool{}
			}
			volumes[key] = true
		}
	}
	return l, role, checkRevocable(l, nil)
}

// CheckDisk tells whether a resource's disk is one that a task may use or CREATE may make: a
// persistent volume on reserved disk with a place in the container, or a disk with a source.
func CheckDisk(r *resource.Resource) error {
	if r.Traits == nil || r.Traits.Disk == nil {
		return nil
	}
	const field = `resources ("disk").disk`
	d := r.Traits.Disk
	if d.PersistenceID == "" {
		switch {
		case d.Volume != nil:
			return errors.New(field + ".volume: is for persistent volumes; use container.volumes")
		case d.Source.Kind == resource.RootDisk:
			return errors.New(field + ": is empty; leave it out")
		}
		return nil
	}
	if err := CheckID(d.PersistenceID); err != nil {
		return at(field+".persistence.id", err)
	}
	switch {
	case r.Revocable():
		return errors.New(field + ".persistence: a volume cannot be on revocable disk; use other disk")
	case !r.Reserved():
		return errors.New(field + ".persistence: a volume must be on reserved disk; RESERVE the disk first")
	case d.Volume == nil:
		return errors.New(field + ".volume: is missing; say where the task sees the volume")
	case d.Volume.HostPath != "":
		return errors.New(field + ".volume.host_path: a persistent volume has its own place; leave it out")
	}
	return nil
}

// checkRevocable refuses names that are revocable in one place and not in another.
func checkRevocable(a, b resource.List) error {
	all := a.Plus(b)
	for first, i := 0, 0; i < len(all); i++ {
		if all[first].Name != all[i].Name {
			first = i
		}
		if all[first].Revocable() != all[i].Revocable() {
			return fmt.Errorf("resources (%q): are revocable in part; use all revocable ones, or none", all[i].Name)
		}
	}
	return nil
}

func checkLimits(limits map[string]*mesosv1.Value_Scalar, asked resource.List, shares bool) error {
	for _, name := range sortedKeys(limits) {
		field := "limits." + name
		v, request := limits[name].GetValue(), asked.Scalar(name)
		switch {
		case name != "cpus" && name != "mem":
			return fmt.Errorf("%s: only cpus and mem can be limited; leave it out", field)
		case shares:
			return fmt.Errorf("%s: in a task group needs container.linux_info.share_cgroups=false; set that, or leave it out", field)
		case request == 0:
			return fmt.Errorf("%s: the task asks for no %s; add them to resources", field, name)
		case math.IsNaN(v) || math.Round(v*1000) < float64(request):
			return fmt.Errorf("%s: %v is below the %v that the task asks for; raise it", field, v, request)
		}
	}
	return nil
}
