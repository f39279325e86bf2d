package nested

import (
	"math"
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/fault"
)

const (
	// maxID is the original's: it makes directories' names of them, with a few bytes of its own.
	maxID = 242
	// maxDepth bounds how many containers are one below the other.
	maxDepth = 16
)

// pathOf checks a ContainerID, which names directories, and gives its ids from the top down with dots between.
func pathOf(id *mesosv1.ContainerID) (string, error) {
	var ids []string
	for at, field := id, "container_id"; at != nil; at, field = at.GetParent(), field+".parent" {
		v := at.GetValue()
		switch {
		case v == "":
			return "", fault.New(fault.Invalid, "%s.value is empty; name the container", field)
		case len(v) > maxID:
			return "", fault.New(fault.Invalid, "%s.value has %d bytes, and no more than %d may be", field, len(v), maxID)
		case len(ids) == maxDepth:
			return "", fault.New(fault.Invalid, "container_id has more than %d parents; start the container further up", maxDepth)
		}
		for i := range len(v) {
			if c := v[i]; c <= ' ' || c == '.' || c == '/' || c == '\\' || c == 0x7f {
				return "", fault.New(fault.Invalid, "%s.value holds %q, which may not be in it: no dot, slash, backslash, space or control character", field, c)
			}
		}
		ids = append(ids, v)
	}
	if len(ids) == 0 {
		return "", fault.New(fault.Invalid, "container_id is missing; name the container")
	}
	var path strings.Builder
	for i, v := range slices.Backward(ids) {
		path.WriteString(v)
		if i > 0 {
			path.WriteByte('.')
		}
	}
	return path.String(), nil
}

// check refuses a launch that asks for what cannot be.
func check(c *genagent.Call_LaunchContainer) error {
	invalid := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	above := 0
	for up := c.GetContainerId().GetParent(); up != nil; up = up.GetParent() {
		above++
	}
	share := true // unless it says otherwise
	if l := c.GetContainer().GetLinuxInfo(); l != nil && l.ShareCgroups != nil {
		share = l.GetShareCgroups()
	}
	if c.GetCommand().GetValue() == "" && c.GetContainer().GetMesos().GetImage() == nil {
		return invalid("command.value is empty; say what is to be executed")
	}
	switch {
	case above > 1 && (len(c.GetResources()) > 0 || len(c.GetLimits()) > 0 || !share):
		return invalid("container_id is more than one level down; resources, limits and share_cgroups=false are for those directly below a task's or an executor's container")
	case above == 1 && share && (len(c.GetResources()) > 0 || len(c.GetLimits()) > 0):
		return invalid("resources and limits are for a container with a cgroup of its own; set container.linux_info.share_cgroups to false")
	}
	for i, r := range c.GetResources() {
		switch {
		case len(r.GetReservations()) > 0 || r.GetRole() != "" && r.GetRole() != "*" || r.GetReservation() != nil:
			return invalid("resources[%d] is reserved; a container of this API takes none that are", i)
		case r.GetRevocable() != nil:
			return invalid("resources[%d] is revocable; a container of this API takes none that are", i)
		case r.GetDisk() != nil:
			return invalid("resources[%d].disk is set; a container of this API has no volumes", i)
		case r.GetType() == mesosv1.Value_SCALAR && !(r.GetScalar().GetValue() >= 0 && r.GetScalar().GetValue() <= 1e10):
			return invalid("resources[%d].scalar is %v; give an amount of 0 to 10^10", i, r.GetScalar().GetValue())
		}
	}
	for name, l := range c.GetLimits() {
		if v := l.GetValue(); name != "cpus" && name != "mem" || !(v > 0) || v > 1e10 && !math.IsInf(v, 1) {
			return invalid("limits[%q] is %v; give cpus or mem, an amount above 0 or Infinity", name, l.GetValue())
		}
	}
	return checkTerminal(c.GetContainer().GetTtyInfo())
}

// checkTerminal refuses a window that no terminal can have.
func checkTerminal(t *mesosv1.TTYInfo) error {
	if s := t.GetWindowSize(); s.GetRows() > math.MaxUint16 || s.GetColumns() > math.MaxUint16 {
		return fault.New(fault.Invalid, "tty_info.window_size is %d by %d; no more than %d may be", s.GetRows(), s.GetColumns(), math.MaxUint16)
	}
	return nil
}
