package confine

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
)

// Nodes are what the devices become in a container: its own nodes, of the machine's numbers as they are now, for all of its users.
// Those that each container has are left out.
func (r *Rules) Nodes() ([]container.Mount, error) {
	var out []container.Mount
	for _, d := range r.Devices {
		if slices.ContainsFunc(standard.Mounts(0), func(m container.Mount) bool { return m.Target == d.Path }) {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(d.Path, &st); err != nil {
			return nil, fmt.Errorf("--allowed-devices: %s: %w", d.Path, err)
		}
		mode := st.Mode & unix.S_IFMT
		if mode != unix.S_IFCHR && mode != unix.S_IFBLK {
			return nil, fmt.Errorf("--allowed-devices: %s is no device", d.Path)
		}
		if d.Read {
			mode |= 0o444
		}
		if d.Write {
			mode |= 0o222
		}
		out = append(out, container.Mount{Kind: container.MountDevice, Target: d.Path, Device: st.Rdev, Mode: mode})
	}
	return out, nil
}
