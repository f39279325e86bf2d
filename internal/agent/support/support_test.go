package support

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
)

// verdict is what becomes of a member of a TaskInfo, and of everything below it.
type verdict struct {
	// by is the test that proves that it is honoured, as DIRECTORY TestName from the root of the sources.
	by string
	// ignored is the reason why nothing comes of it.
	ignored string
	// refused is a part of the words with which it is refused; with makes the task that is.
	refused string
	with    func(*mesosv1.TaskInfo)
}

func honoured(by string) verdict  { return verdict{by: by} }
func ignored(why string) verdict  { return verdict{ignored: why} }
func refused(says string) verdict { return verdict{refused: says} }
func refusedWith(says string, with func(*mesosv1.TaskInfo)) verdict {
	return verdict{refused: says, with: with}
}

const (
	e2e    = "test/e2e TestATaskGetsWhatItAsksFor"
	state  = "internal/agent TestWhatAnAgentShowsIsAsTheOriginalRecordedIt"
	plans  = "internal/agent/check TestPlansHaveTheProtocolsDefaults"
	looks  = "internal/agent/check TestLookingAtATask"
	hushed = "test/e2e TestASecretReachesItsTaskAndNothingElse"
	checks = "internal/agent/check TestWhatFollowsFromLooks"

	plugins = "internal/network/cni TestWhatFrameworksWriteStandsBesideOtherArgs"
)

// mapped makes a container of a type.
func mapped(kind mesosv1.ContainerInfo_Type, change func(*mesosv1.ContainerInfo)) func(*mesosv1.TaskInfo) {
	return func(t *mesosv1.TaskInfo) {
		t.Container = &mesosv1.ContainerInfo{Type: &kind}
		change(t.Container)
	}
}

// imaged gives a container an image.
func imaged(c *mesosv1.ContainerInfo) *mesosv1.ContainerInfo {
	c.Mesos = &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: new("app:1")}}}
	return c
}

// verdicts are those of every member of TaskInfo. A member of it that is a message is either here, or all of its own are.
var verdicts = map[string]verdict{
	"name": honoured(state), "task_id": honoured(state), "agent_id": honoured("mesos TestTasksAreRefusedAsTheOriginalDoes"), "labels": honoured("internal/master/reads TestEveryDocumentIsAsTheOriginalRecordedIt"),
	"discovery": honoured("internal/master/reads TestEveryDocumentIsAsTheOriginalRecordedIt"),
	"data":      ignored("it is for an executor, and a command task has none of its own; the original's passes it over too"),
	"executor":  honoured("test/e2e TestAnExecutorOfAFrameworksOwn"),
	"limits":    honoured(e2e), "kill_policy": honoured(e2e), "max_completion_time": honoured(e2e),

	"resources.name": honoured(e2e), "resources.type": honoured("mesos/resource TestTheWireRoundTrips"), "resources.scalar": honoured(e2e),
	"resources.ranges":           ignored("ports are accounted for and not enforced, as on the original without network isolation"),
	"resources.set":              ignored("sets are accounted for and have nothing to enforce"),
	"resources.provider_id":      ignored("it says whose the resource is; the master gives out only what was offered"),
	"resources.role":             ignored("likewise for whom it is reserved"),
	"resources.allocation_info":  ignored("likewise to which role it was offered"),
	"resources.reservation":      ignored("likewise how it is reserved"),
	"resources.reservations":     ignored("likewise how it is reserved"),
	"resources.revocable":        ignored("likewise; no agent of this version has revocable resources"),
	"resources.shared":           honoured("test/e2e TestAVolumeIsSharedByTwoTasks"),
	"resources.disk.persistence": honoured("test/e2e TestAVolumeOutlivesItsTaskItsAgentAndItsMaster"),
	"resources.disk.volume":      honoured("test/e2e TestAVolumeOutlivesItsTaskItsAgentAndItsMaster"),
	"resources.disk.source": refusedWith("(resources.disk.source.type)", func(t *mesosv1.TaskInfo) {
		t.Resources[0].Name = new("disk")
		t.Resources[0].Disk = &mesosv1.Resource_DiskInfo{Source: &mesosv1.Resource_DiskInfo_Source{Type: mesosv1.Resource_DiskInfo_Source_BLOCK.Enum()}}
	}),

	"command.uris.value": honoured(e2e), "command.uris.executable": honoured(e2e), "command.uris.extract": honoured(e2e), "command.uris.output_file": honoured(e2e),
	"command.uris.cache":                  honoured("internal/fetch TestTheCacheSharesADownloadAndEvictsTheOldest"),
	"command.environment.variables.name":  honoured(e2e),
	"command.environment.variables.value": honoured(e2e),
	"command.environment.variables.type":  honoured(hushed), "command.environment.variables.secret": honoured(hushed),
	"command.shell": honoured(e2e), "command.value": honoured(e2e), "command.arguments": honoured(e2e), "command.user": honoured(e2e),

	"container.type":        honoured("test/e2e TestATaskOfDockersTypeRunsWithoutDocker"),
	"container.docker":      honoured("internal/agent/dockertask TestWhatDockerWouldHaveRunIsSaidInOurWords"),
	"container.volumes":     refused("(container.volumes)"),
	"container.hostname":    refused("(container.hostname)"),
	"container.mesos.image": honoured("test/e2e TestATaskRunsInItsImage"),
	"container.tty_info":    honoured("test/e2e TestATaskWithATerminalCanBeAttachedTo"),

	"container.network_infos.name":          honoured("test/e2e TestATaskJoinsNetworksOfPlugins"),
	"container.network_infos.groups":        honoured(plugins),
	"container.network_infos.ip_addresses":  honoured(plugins),
	"container.network_infos.port_mappings": honoured("test/e2e TestATaskOnTheBridgeIsReachedAtItsPortsUntilItEnds"),
	"container.network_infos.labels":        honoured(plugins),

	"container.linux_info.capability_info": honoured(e2e), "container.linux_info.effective_capabilities": honoured(e2e),
	"container.linux_info.bounding_capabilities": honoured("internal/agent/container TestCapabilitiesAreWhatTheSpecSays"),
	"container.linux_info.share_pid_namespace": refusedWith("share_pid_namespace", mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
		c.LinuxInfo = &mesosv1.LinuxInfo{SharePidNamespace: new(false)} // true is what there is
	})),
	"container.linux_info.share_cgroups": refusedWith("share_cgroups", mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
		c.LinuxInfo = &mesosv1.LinuxInfo{ShareCgroups: new(false)} // of a task alone true means its own
	})),
	"container.linux_info.ipc_mode": refusedWith("ipc_mode", mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
		c.LinuxInfo = &mesosv1.LinuxInfo{IpcMode: mesosv1.LinuxInfo_PRIVATE.Enum()} // sharing the parent's is what there is
	})),
	"container.linux_info.shm_size":             refused("(container.linux_info.shm_size)"),
	"container.linux_info.seccomp.profile_name": honoured("test/e2e TestASeccompProfileIsKeptByItsName"),
	"container.linux_info.seccomp.unconfined":   honoured("internal/agent/confine TestAContainerHasTheProfileThatItNamesOrTheAgents"),
	"container.rlimit_info":                     honoured(e2e),

	"health_check.type": honoured(plans), "health_check.delay_seconds": honoured(checks), "health_check.interval_seconds": honoured(checks),
	"health_check.timeout_seconds": honoured(looks), "health_check.consecutive_failures": honoured(e2e), "health_check.grace_period_seconds": honoured(checks),
	"health_check.command.uris":                  refused("(health_check.command.uris)"),
	"health_check.command.environment.variables": honoured(looks), "health_check.command.shell": honoured(e2e), "health_check.command.value": honoured(e2e), "health_check.command.arguments": honoured(looks),
	"health_check.command.user":  ignored("a check acts as its task does, whatever it says; so it is on the original"),
	"health_check.http.protocol": honoured(looks), "health_check.http.scheme": honoured(looks), "health_check.http.port": honoured(e2e), "health_check.http.path": honoured(e2e),
	"health_check.http.statuses": ignored("the original never read them: 200 to 399 is healthy"),
	"health_check.tcp.protocol":  honoured(looks), "health_check.tcp.port": honoured(e2e),

	"check.type": honoured(plans), "check.delay_seconds": honoured(checks), "check.interval_seconds": honoured(checks), "check.timeout_seconds": honoured(looks),
	"check.command.command.uris":                  refused("(check.command.command.uris)"),
	"check.command.command.environment.variables": honoured(looks), "check.command.command.shell": honoured(e2e), "check.command.command.value": honoured(e2e), "check.command.command.arguments": honoured(looks),
	"check.command.command.user": ignored("as of a health check"),
	"check.http":                 honoured(e2e), "check.tcp": honoured(e2e),
}

// plain is a task that nobody has anything against.
func plain() *mesosv1.TaskInfo {
	return &mesosv1.TaskInfo{
		Name: new("t"), TaskId: &mesosv1.TaskID{Value: new("t")}, AgentId: &mesosv1.AgentID{Value: new("S0")},
		Command:   &mesosv1.CommandInfo{Value: new("true")},
		Resources: []*mesosv1.Resource{{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: proto.Float64(1)}}},
	}
}

// set gives the member at a path a value, and what is above it too.
func set(m protoreflect.Message, path []string) {
	f := m.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case f.IsList():
		l := m.Mutable(f).List()
		if f.Message() == nil {
			l.Append(some(f))
			return
		}
		if l.Len() == 0 {
			l.AppendMutable()
		}
		if len(path) > 1 {
			set(l.Get(0).Message(), path[1:])
		}
	case f.Message() != nil:
		if sub := m.Mutable(f).Message(); len(path) > 1 {
			set(sub, path[1:])
		}
	default:
		m.Set(f, some(f))
	}
}

func some(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	}
	panic("give the verdict of " + string(f.FullName()) + " a task of its own")
}

// judged is how master and agent see a task: the words against it, or none.
func judged(t *mesosv1.TaskInfo) string {
	if _, err := mesos.CheckTask(t, mesos.Launch{}); err != nil && t.Executor == nil {
		return err.Error()
	}
	return Lacks(t)
}

func TestEveryMemberOfATaskIsHonouredRefusedOrIgnoredForAReason(t *testing.T) {
	if words := judged(plain()); words != "" {
		t.Fatalf("a plain task is refused: %s", words)
	}
	seen := map[string]bool{}
	var walk func(path string, d protoreflect.MessageDescriptor)
	walk = func(path string, d protoreflect.MessageDescriptor) {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			at := path + string(f.Name())
			v, ok := verdicts[at]
			switch {
			case ok:
				seen[at] = true
				t.Run(at, func(t *testing.T) { v.prove(t, at) })
			case f.Message() != nil && !f.IsMap() && strings.Count(at, ".") < 6:
				walk(at+".", f.Message())
			default:
				t.Errorf("%s has no verdict: is it honoured, refused or ignored?", at)
			}
		}
	}
	walk("", (*mesosv1.TaskInfo)(nil).ProtoReflect().Descriptor())
	for _, at := range slices.Sorted(maps.Keys(verdicts)) {
		if !seen[at] {
			t.Errorf("%s is no member of TaskInfo, or is below another that is judged", at)
		}
	}
}

func (v *verdict) prove(t *testing.T, path string) {
	t.Helper()
	switch {
	case v.refused != "":
		x := plain()
		if v.with != nil {
			v.with(x)
		} else {
			set(x.ProtoReflect(), strings.Split(path, "."))
			if c := x.GetContainer(); c != nil && c.Type == nil {
				c.Type = mesosv1.ContainerInfo_MESOS.Enum()
			}
			complete(x)
		}
		if words := judged(x); !strings.Contains(words, v.refused) {
			t.Errorf("the words are %q, want some with %q", words, v.refused)
		}
	case v.by != "":
		dir, name, _ := strings.Cut(v.by, " ")
		files, err := filepath.Glob(filepath.Join("../../..", dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "\nfunc "+name+"(") {
				return
			}
		}
		t.Errorf("there is no test %s in %s", name, dir)
	case v.ignored == "":
		t.Error("there is no reason to ignore it")
	}
}

// complete adds what the protocol wants beside what is looked at.
func complete(t *mesosv1.TaskInfo) {
	for _, v := range t.GetContainer().GetVolumes() {
		v.ContainerPath, v.HostPath, v.Mode = new("/a"), new("/b"), mesosv1.Volume_RO.Enum()
	}
	if h := t.HealthCheck; h != nil {
		h.Type, h.Command.Value = mesosv1.HealthCheck_COMMAND.Enum(), new("true")
	}
	if c := t.Check; c != nil {
		c.Type, c.Command.Command.Value = mesosv1.CheckInfo_COMMAND.Enum(), new("true")
	}
}

func TestWhatMakesNoSenseIsRefusedAndNotGuessedAt(t *testing.T) {
	rlimit := func(l *mesosv1.RLimitInfo_RLimit) func(*mesosv1.TaskInfo) {
		return mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			c.RlimitInfo = &mesosv1.RLimitInfo{Rlimits: []*mesosv1.RLimitInfo_RLimit{l}}
		})
	}
	nofile, one, two := mesosv1.RLimitInfo_RLimit_RLMT_NOFILE.Enum(), proto.Uint64(1), proto.Uint64(2)
	for name, c := range map[string]struct {
		with func(*mesosv1.TaskInfo)
		says string
	}{
		"a limit of an unknown type":      {rlimit(&mesosv1.RLimitInfo_RLimit{Soft: one, Hard: two}), "rlimits.type"},
		"a limit with soft alone":         {rlimit(&mesosv1.RLimitInfo_RLimit{Type: nofile, Soft: one}), "both soft and hard"},
		"a limit with hard alone":         {rlimit(&mesosv1.RLimitInfo_RLimit{Type: nofile, Hard: one}), "both soft and hard"},
		"a soft limit above the hard one": {rlimit(&mesosv1.RLimitInfo_RLimit{Type: nofile, Soft: two, Hard: one}), "no larger"},
		"a limit":                         {rlimit(&mesosv1.RLimitInfo_RLimit{Type: nofile, Soft: one, Hard: two}), ""},
		"no limit":                        {rlimit(&mesosv1.RLimitInfo_RLimit{Type: nofile}), ""},
		"an unknown capability": {mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			c.LinuxInfo = &mesosv1.LinuxInfo{EffectiveCapabilities: &mesosv1.CapabilityInfo{Capabilities: []mesosv1.CapabilityInfo_Capability{mesosv1.CapabilityInfo_UNKNOWN}}}
		}), "capability"},
		"a seccomp profile and none": {mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			c.LinuxInfo = &mesosv1.LinuxInfo{Seccomp: &mesosv1.SeccompInfo{ProfileName: new("a"), Unconfined: new(true)}}
		}), "(container.linux_info.seccomp)"},
		"a seccomp setting that says nothing": {mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			c.LinuxInfo = &mesosv1.LinuxInfo{Seccomp: &mesosv1.SeccompInfo{Unconfined: new(false)}}
		}), "(container.linux_info.seccomp)"},
		"a size of shared memory that is another's": {mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			imaged(c).LinuxInfo = &mesosv1.LinuxInfo{IpcMode: mesosv1.LinuxInfo_SHARE_PARENT.Enum(), ShmSize: new(uint32(8))}
		}), "container.linux_info.shm_size"},
		"a size of shared memory of its own": {mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			imaged(c).LinuxInfo = &mesosv1.LinuxInfo{IpcMode: mesosv1.LinuxInfo_PRIVATE.Enum(), ShmSize: new(uint32(8))}
		}), ""},
		"mounts that pass into a container": {mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			path := &mesosv1.Volume_Source_HostPath{Path: new("/srv"), MountPropagation: &mesosv1.MountPropagation{Mode: mesosv1.MountPropagation_HOST_TO_CONTAINER.Enum()}}
			imaged(c).Volumes = []*mesosv1.Volume{{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: new("/srv"), Source: &mesosv1.Volume_Source{Type: mesosv1.Volume_Source_HOST_PATH.Enum(), HostPath: path}}}
		}), "mount_propagation"},
		"a seccomp profile": {mapped(mesosv1.ContainerInfo_MESOS, func(c *mesosv1.ContainerInfo) {
			c.LinuxInfo = &mesosv1.LinuxInfo{Seccomp: &mesosv1.SeccompInfo{ProfileName: new("a"), Unconfined: new(false)}}
		}), ""},
		"a health check of port 0": {func(t *mesosv1.TaskInfo) {
			t.HealthCheck = &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_TCP.Enum(), Tcp: &mesosv1.HealthCheck_TCPCheckInfo{Port: proto.Uint32(0)}}
		}, "health_check.tcp.port"},
		"a check of a port that is none": {func(t *mesosv1.TaskInfo) {
			t.Check = &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_HTTP.Enum(), Http: &mesosv1.CheckInfo_Http{Port: proto.Uint32(70000)}}
		}, "check.http.port"},
	} {
		t.Run(name, func(t *testing.T) {
			x := plain()
			c.with(x)
			if words := judged(x); !strings.Contains(words, c.says) || (words == "") != (c.says == "") {
				t.Errorf("the words are %q, want %q", words, c.says)
			}
		})
	}
}

func TestAPersistentVolumeIsAtAnAbsolutePathOnlyInAnImage(t *testing.T) {
	docker := &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{Image: new("app:1")}}
	mesos := &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Mesos: &mesosv1.ContainerInfo_MesosInfo{
		Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: new("app:1")}},
	}}
	for _, c := range []struct {
		in   *mesosv1.ContainerInfo
		path string
		says string
	}{
		{nil, "data", ""},
		{nil, "/data", "needs an image"},
		{mesos, "data", ""},
		{mesos, "/data", ""},
		{docker, "/var/lib/data", ""},
		{mesos, "/", "resources.disk.volume.container_path"},
		{mesos, "/a/../..", "leads out"},
	} {
		x := plain()
		x.Container = c.in
		x.Resources = append(x.Resources, &mesosv1.Resource{
			Name: new("disk"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(32.0)},
			Disk: &mesosv1.Resource_DiskInfo{
				Persistence: &mesosv1.Resource_DiskInfo_Persistence{Id: new("v")},
				Volume:      &mesosv1.Volume{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: &c.path},
			},
		})
		if words := Lacks(x); !strings.Contains(words, c.says) || (words == "") != (c.says == "") {
			t.Errorf("%s: the words are %q, want %q", c.path, words, c.says)
		}
	}
}

func TestATaskInsideOfAnExecutorWithAnImageGetsNoGPUs(t *testing.T) {
	imaged := &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Mesos: &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: new("app:1")}}}}
	for name, c := range map[string]struct {
		executor *mesosv1.ExecutorInfo
		resource string
		refused  bool
	}{
		"none":               {nil, "gpus", false},
		"no image":           {&mesosv1.ExecutorInfo{}, "gpus", false},
		"an image":           {&mesosv1.ExecutorInfo{Container: imaged}, "gpus", true},
		"Docker's":           {&mesosv1.ExecutorInfo{Container: &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: &mesosv1.ContainerInfo_DockerInfo{Image: new("app:1")}}}, "gpus", true},
		"an image, no gpus":  {&mesosv1.ExecutorInfo{Container: imaged}, "cpus", false},
		"that of task group": {&mesosv1.ExecutorInfo{Type: mesosv1.ExecutorInfo_DEFAULT.Enum(), Container: imaged}, "gpus", false},
	} {
		x := plain()
		x.Executor = c.executor
		x.Resources = []*mesosv1.Resource{{Name: &c.resource, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(1.0)}}}
		if words := With(true)(x); strings.Contains(words, "executor.resources") != c.refused {
			t.Errorf("%s: the words are %q", name, words)
		}
		if words := With(false)(x); strings.Contains(words, "executor.resources") {
			t.Errorf("%s, where gpus are only counted: the words are %q", name, words)
		}
	}
}
