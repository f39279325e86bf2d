package gpu

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	oci "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/host"
)

// Grant is what a container gets with its gpus. A nil one is nothing.
type Grant struct {
	devices []device
	mounts  []container.Mount
	env     []string
	groups  []uint32
}

// Record is what tells Found after a restart which devices these are.
func (g *Grant) Record() ([]byte, error) {
	return json.Marshal(record{Version: recordVersion, Devices: g.devices})
}

// Apply adds the gpus to a container that has files of its own. What the devices say of the environment goes before what the task says.
func (g *Grant) Apply(s *container.Spec) error {
	if g == nil {
		return nil
	}
	for _, m := range g.mounts { // a device that all containers have may be one of these
		s.Root.Mounts = slices.DeleteFunc(s.Root.Mounts, func(o container.Mount) bool { return o.Kind == container.MountDevice && o.Target == m.Target })
	}
	s.Root.Mounts = append(s.Root.Mounts, g.mounts...)
	for _, e := range g.env {
		name, _, _ := strings.Cut(e, "=")
		s.Env = slices.DeleteFunc(s.Env, func(o string) bool { return strings.HasPrefix(o, name+"=") })
		s.Env = append(s.Env, e)
	}
	if len(g.groups) == 0 {
		return nil
	}
	u := host.User{}
	if s.As != nil {
		u = *s.As
	} else {
		var err error
		if u, err = host.LookupUser(cmp.Or(s.User, strconv.Itoa(os.Geteuid()))); err != nil {
			return err
		}
	}
	u.Groups = slices.Clone(u.Groups)
	for _, id := range g.groups {
		if !slices.Contains(u.Groups, id) {
			u.Groups = append(u.Groups, id)
		}
	}
	s.As = &u
	return nil
}

// read takes over what the devices change of a container, or says what of it cannot be had here.
func (g *Grant) read(s *oci.Spec) error {
	if l := s.Linux; l != nil {
		if l.IntelRdt != nil {
			return errors.New("they ask for cache of the processor (intelRdt), which this agent does not give; leave it out of their description")
		}
		for i := range l.Devices {
			m, err := node(&l.Devices[i], l.Resources)
			if err != nil {
				return err
			}
			g.mounts = append(g.mounts, m)
		}
		if len(l.NetDevices) > 0 {
			return fmt.Errorf("they ask for links of the machine (netDevices): %v, which this agent does not move; leave them out of their description", slices.Sorted(maps.Keys(l.NetDevices)))
		}
	}
	for i := range s.Mounts {
		m, err := mount(&s.Mounts[i])
		if err != nil {
			return err
		}
		g.mounts = append(g.mounts, m)
	}
	if s.Process != nil {
		g.env, g.groups = s.Process.Env, s.Process.User.AdditionalGids
	}
	return g.hooks(s.Hooks)
}

// node is a device node of the container's own. It is root's, and whoever is in the container may use it as the description says: the
// gpu is the container's, and there is nobody else.
func node(d *oci.LinuxDevice, r *oci.LinuxResources) (container.Mount, error) {
	const block, character = 0x6000, 0x2000 // of mknod(2)
	m := container.Mount{Kind: container.MountDevice, Target: d.Path, Device: number(d.Major, d.Minor), Mode: character}
	switch d.Type {
	case "b":
		m.Mode = block
	case "c":
	default:
		return m, fmt.Errorf("%s is neither a block nor a character device", d.Path)
	}
	for _, a := range r.Devices {
		if a.Major == nil || a.Minor == nil || *a.Major != d.Major || *a.Minor != d.Minor || a.Type != d.Type {
			continue
		}
		if strings.Contains(a.Access, "r") {
			m.Mode |= 0o444
		}
		if strings.Contains(a.Access, "w") {
			m.Mode |= 0o222
		}
	}
	return m, nil
}

// number is a device's as Linux has it.
func number(major, minor int64) uint64 {
	a, i := uint64(major), uint64(minor)
	return a&0xfff<<8 | a&^0xfff<<32 | i&0xff | i&^0xff<<12
}

// options are the words of mounts that have a flag or, as those that every mount here has anyway, none.
var options = map[string]uint64{
	"ro": standard.ReadOnly, "nosuid": standard.NoSuid, "nodev": standard.NoDev, "noexec": standard.NoExec, "rbind": standard.Recurse,
	"rw": 0, "bind": 0, "suid": 0, "dev": 0, "exec": 0, "private": 0, "rprivate": 0, "slave": 0, "rslave": 0, "relatime": 0,
}

// mount is a file or directory of the machine's in the container, or an empty one in memory.
func mount(in *oci.Mount) (container.Mount, error) {
	m := container.Mount{Kind: container.MountBind, Source: in.Source, Target: in.Destination}
	switch in.Type {
	case "", "none", "bind":
	case "tmpfs":
		m.Kind, m.FS, m.Source = container.MountNew, "tmpfs", ""
	default:
		return m, fmt.Errorf("the mount at %s has the type %q; there are bind and tmpfs", in.Destination, in.Type)
	}
	var data []string
	for _, o := range in.Options {
		flag, known := options[o]
		switch {
		case known:
			m.Flags |= flag
		case m.Kind == container.MountNew && strings.Contains(o, "="):
			data = append(data, o)
		default:
			return m, fmt.Errorf("the mount at %s has the option %q, which there is not", in.Destination, o)
		}
	}
	m.Data = strings.Join(data, ",")
	return m, nil
}
