package support

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/volume"
)

// lacksInGroup says why this agent cannot run a task of the default executor.
func lacksInGroup(t *mesosv1.TaskInfo) string {
	image := t.GetContainer().GetMesos().GetImage() != nil
	if t.GetCommand().GetValue() == "" && !image {
		return "The task has no command (command.value), and no image that brings one; give it one of them."
	}
	e := t.GetExecutor()
	if why := Lacks(&mesosv1.TaskInfo{Container: e.GetContainer(), Resources: e.GetResources()}); why != "" {
		return "Of the executor: " + why
	}
	c := t.GetContainer()
	if len(c.GetNetworkInfos()) > 0 {
		return "A task of a group has the networks of its executor; ask for them in the executor's container (executor.container.network_infos), not in the task's (container.network_infos)."
	}
	if !image {
		for _, v := range c.GetVolumes() {
			if why := unshared(v); why != "" {
				return why
			}
		}
		c = withoutShared(c)
	}
	return Lacks(&mesosv1.TaskInfo{
		Command: t.GetCommand(), Container: c, Resources: t.GetResources(), HealthCheck: t.GetHealthCheck(), Check: t.GetCheck(),
	})
}

// unshared says why a volume of a group's task cannot be a place in its executor's sandbox, or "" when it can.
func unshared(v *mesosv1.Volume) string {
	s := v.GetSource()
	switch {
	case s.GetType() != mesosv1.Volume_Source_SANDBOX_PATH || s.GetSandboxPath().GetType() != mesosv1.Volume_Source_SandboxPath_PARENT || v.GetImage() != nil || v.HostPath != nil:
		return "A volume (container.volumes) of a task of a group can only be a place in its executor's sandbox in this version of Pando; give it a source of type SANDBOX_PATH whose sandbox_path has type PARENT, or use paths of the machine that its user may."
	case v.GetMode() != mesosv1.Volume_RW:
		return "A volume (container.volumes) that a task may only read needs a mount namespace, which tasks of this version of Pando do not have yet; use it RW."
	}
	for _, p := range []string{v.GetContainerPath(), s.GetSandboxPath().GetPath()} {
		if err := volume.CheckPlace(p); err != nil {
			return "A volume of the task (container.volumes) cannot be placed: " + strings.Replace(err.Error(), "container_path", strconv.Quote(p), 1) + "."
		}
	}
	return ""
}

// withoutShared is a container without the volumes that a task of a group may have.
func withoutShared(c *mesosv1.ContainerInfo) *mesosv1.ContainerInfo {
	if len(c.GetVolumes()) == 0 {
		return c
	}
	c = proto.CloneOf(c)
	c.Volumes = nil
	return c
}
