// Package support says what of a task an agent can run: what it cannot is refused with words, and nothing is accepted and then ignored.
package support

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/check"
	"github.com/pando-os/pando/internal/agent/dockertask"
	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/internal/volume"
)

// Lacks says why this agent cannot run a task as it was asked for, or "" when it can. What is not named here is
// honoured or stands in the table of support_test.go with the reason why it may be ignored.
func Lacks(t *mesosv1.TaskInfo) string {
	if t.GetExecutor().GetType() == mesosv1.ExecutorInfo_DEFAULT {
		return lacksInGroup(t)
	}
	if e := t.GetExecutor(); e != nil { // what the task itself asks for is its executor's affair, but for its disks
		as := &mesosv1.TaskInfo{Command: e.GetCommand(), Container: e.GetContainer(), Resources: slices.Concat(t.GetResources(), e.GetResources())}
		if why := Lacks(as); why != "" {
			return "Of the executor: " + why
		}
		return ""
	}
	c := t.GetContainer()
	if c == nil {
		c = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}
	}
	if c.GetType() == mesosv1.ContainerInfo_DOCKER {
		d, err := dockertask.Read(c)
		if err != nil {
			return "The Docker container cannot be run: " + err.Error() + "."
		}
		c = d.Container
	}
	look := unsupportedBare
	if c.GetMesos().GetImage() != nil {
		look = unsupportedRooted
	}
	if why := look(c); why != "" {
		return why
	}
	if c.Hostname != nil {
		if err := network.CheckHostname(c.GetHostname()); err != nil {
			return "The task's name of its own is none: container." + err.Error() + "."
		}
	}
	for _, r := range t.GetResources() {
		if why := unplaceable(r.GetDisk(), c.GetMesos().GetImage() != nil); why != "" {
			return why
		}
	}
	for _, c := range []struct {
		field string
		info  *mesosv1.CommandInfo
	}{{"health_check.command", t.GetHealthCheck().GetCommand()}, {"check.command.command", t.GetCheck().GetCommand().GetCommand()}} {
		if len(c.info.GetUris()) > 0 {
			return later("files of a check ("+c.field+".uris)", "fetch them with the task's command")
		}
	}
	return senseless(t)
}

// With gives Lacks, of an agent that gives gpus to containers with an image if gpus is set.
func With(gpus bool) func(*mesosv1.TaskInfo) string {
	if !gpus {
		return Lacks
	}
	return func(t *mesosv1.TaskInfo) string { return cmp.Or(Lacks(t), lacksGPUs(t)) }
}

// lacksGPUs says why a task inside of an executor gets none: what its executor has of devices is settled when that starts.
func lacksGPUs(t *mesosv1.TaskInfo) string {
	e := t.GetExecutor()
	if e == nil || e.GetType() == mesosv1.ExecutorInfo_DEFAULT || !hasImage(e.GetContainer()) {
		return ""
	}
	for _, r := range t.GetResources() {
		if r.GetName() == "gpus" {
			return "The task's gpus (resources) cannot be given to an executor that has an image once that runs; put them among executor.resources."
		}
	}
	return ""
}

// hasImage says whether a container has an image.
func hasImage(c *mesosv1.ContainerInfo) bool {
	return c != nil && (c.GetType() == mesosv1.ContainerInfo_DOCKER || c.GetMesos().GetImage() != nil)
}

// later says that something is not there yet, and what to do instead.
func later(what, way string) string {
	return fmt.Sprintf("%s is not supported by this version of Pando yet; %s.", what, way)
}

// unsupportedBare says what a container without an image asks for in vain.
func unsupportedBare(c *mesosv1.ContainerInfo) string {
	l := c.GetLinuxInfo()
	const instead = "give it an image, or leave it out"
	switch {
	case len(c.GetVolumes()) > 0:
		return later("a volume of a task without an image (container.volumes)", "give it an image, or use paths of the machine that its user may")
	case c.Hostname != nil && !slices.ContainsFunc(c.GetNetworkInfos(), func(n *mesosv1.NetworkInfo) bool { return n.GetName() != "" }):
		return later("a host name of a task without an image (container.hostname)", "give it an image or a network, or leave it out")
	case l.GetIpcMode() == mesosv1.LinuxInfo_PRIVATE:
		return later("a private IPC namespace of a task without an image (container.linux_info.ipc_mode)", instead)
	case l != nil && l.ShmSize != nil:
		return later("a size of /dev/shm of a task without an image (container.linux_info.shm_size)", instead)
	case l != nil && l.SharePidNamespace != nil && !l.GetSharePidNamespace():
		return later("a pid namespace of a task without an image (container.linux_info.share_pid_namespace)", instead)
	}
	return ""
}

// unsupportedRooted says what a container with an image asks for in vain.
func unsupportedRooted(c *mesosv1.ContainerInfo) string {
	if why := unsupportedImage("container.mesos.image", c.GetMesos().GetImage()); why != "" {
		return why
	}
	for _, v := range c.GetVolumes() {
		s := v.GetSource()
		switch {
		case s.GetHostPath().GetMountPropagation() != nil:
			return later("mounts that pass between the machine and a container (container.volumes.source.host_path.mount_propagation)", "leave it out; what is mounted there when the container begins is seen")
		case v.GetImage() != nil:
			if why := unsupportedImage("container.volumes.image", v.GetImage()); why != "" {
				return why
			}
		case s == nil, s.GetType() == mesosv1.Volume_Source_HOST_PATH, s.GetType() == mesosv1.Volume_Source_SANDBOX_PATH, s.GetType() == mesosv1.Volume_Source_SECRET:
		default:
			return later(fmt.Sprintf("a volume of type %s (container.volumes.source.type)", s.GetType()), "use HOST_PATH, SANDBOX_PATH or SECRET")
		}
		if v.GetContainerPath() == "" {
			return "A volume of the task has no place in its container (container.volumes.container_path); give it an absolute path, or one below the sandbox."
		}
	}
	return ""
}

// unsupportedImage says why there can be no image like this one.
func unsupportedImage(field string, im *mesosv1.Image) string {
	switch {
	case im.GetType() != mesosv1.Image_DOCKER:
		return later("an image of another type than DOCKER ("+field+".type)", "give it as a Docker or OCI image")
	case im.GetDocker().GetName() == "":
		return "The image has no name (" + field + ".docker.name); give it one, such as debian:12."
	}
	return ""
}

// unplaceable says why a disk cannot be brought into a task's sandbox.
func unplaceable(d *mesosv1.Resource_DiskInfo, rooted bool) string {
	switch k := d.GetSource().GetType(); {
	case d == nil:
		return ""
	case d.Source != nil && k != mesosv1.Resource_DiskInfo_Source_PATH && k != mesosv1.Resource_DiskInfo_Source_MOUNT:
		return fmt.Sprintf("A disk of type %s (resources.disk.source.type) is a resource provider's, which this version of Pando does not have yet; use the agent's own disks.", k)
	case d.Persistence == nil:
		return ""
	case d.GetVolume().GetMode() == mesosv1.Volume_RO && !rooted:
		return "A persistent volume that a task may only read (resources.disk.volume.mode) needs a mount namespace, which a task without an image does not have; give it an image, or use it RW."
	}
	place := d.GetVolume().GetContainerPath()
	if rooted {
		place = strings.TrimPrefix(place, "/") // an image has room for it outside the sandbox
	}
	if err := volume.CheckPlace(place); err != nil {
		return "The persistent volume cannot be placed: resources.disk.volume." + err.Error() + "."
	}
	return ""
}

// senseless says which member of a task asks for what cannot be, and was let through by the master: it looks at the
// protocol's rules and not at what an agent makes of them.
func senseless(t *mesosv1.TaskInfo) string {
	for _, r := range t.GetContainer().GetRlimitInfo().GetRlimits() {
		if _, known := Rlimits[r.GetType()]; !known {
			return "The type of a resource limit (container.rlimit_info.rlimits.type) is unknown; give one of those that Linux has."
		}
		if (r.Soft == nil) != (r.Hard == nil) || r.GetSoft() > r.GetHard() {
			return fmt.Sprintf("The resource limit %s (container.rlimit_info.rlimits) needs both soft and hard, the first no larger than the second, or neither for no limit.", r.GetType())
		}
	}
	if s := t.GetContainer().GetTtyInfo().GetWindowSize(); s.GetRows() > math.MaxUint16 || s.GetColumns() > math.MaxUint16 {
		return fmt.Sprintf("The window size of the terminal (container.tty_info.window_size) is more than %d rows or columns.", math.MaxUint16)
	}
	l := t.GetContainer().GetLinuxInfo()
	for _, c := range []*mesosv1.CapabilityInfo{l.GetCapabilityInfo(), l.GetBoundingCapabilities(), l.GetEffectiveCapabilities()} {
		for _, x := range c.GetCapabilities() {
			if x < mesosv1.CapabilityInfo_CHOWN {
				return "A capability (container.linux_info) is unknown; give one of those that Linux has."
			}
		}
	}
	if l.GetIpcMode() == mesosv1.LinuxInfo_SHARE_PARENT && l.ShmSize != nil && t.GetContainer().GetType() == mesosv1.ContainerInfo_MESOS {
		return "The size of /dev/shm (container.linux_info.shm_size) is of a container with a private one; set ipc_mode to PRIVATE, or leave the size out."
	}
	if s := l.GetSeccomp(); s != nil && (s.GetProfileName() != "") == s.GetUnconfined() {
		return "The seccomp setting of a container (container.linux_info.seccomp) needs either profile_name or unconfined; give one of them, or leave it out for the default."
	}
	if h := t.GetHealthCheck(); h != nil {
		if _, err := check.OfHealth(h); err != nil {
			return "The health check cannot be made: " + err.Error() + "."
		}
	}
	if c := t.GetCheck(); c != nil {
		if _, err := check.OfCheck(c); err != nil {
			return "The check cannot be made: " + err.Error() + "."
		}
	}
	return ""
}

// Rlimits are the numbers of resource limits, Linux' on amd64 and arm64.
var Rlimits = map[mesosv1.RLimitInfo_RLimit_Type]uint32{
	mesosv1.RLimitInfo_RLimit_RLMT_CPU: 0, mesosv1.RLimitInfo_RLimit_RLMT_FSIZE: 1, mesosv1.RLimitInfo_RLimit_RLMT_DATA: 2,
	mesosv1.RLimitInfo_RLimit_RLMT_STACK: 3, mesosv1.RLimitInfo_RLimit_RLMT_CORE: 4, mesosv1.RLimitInfo_RLimit_RLMT_RSS: 5,
	mesosv1.RLimitInfo_RLimit_RLMT_NPROC: 6, mesosv1.RLimitInfo_RLimit_RLMT_NOFILE: 7, mesosv1.RLimitInfo_RLimit_RLMT_MEMLOCK: 8,
	mesosv1.RLimitInfo_RLimit_RLMT_AS: 9, mesosv1.RLimitInfo_RLimit_RLMT_LOCKS: 10, mesosv1.RLimitInfo_RLimit_RLMT_SIGPENDING: 11,
	mesosv1.RLimitInfo_RLimit_RLMT_MSGQUEUE: 12, mesosv1.RLimitInfo_RLimit_RLMT_NICE: 13, mesosv1.RLimitInfo_RLimit_RLMT_RTPRIO: 14,
	mesosv1.RLimitInfo_RLimit_RLMT_RTTIME: 15,
}
