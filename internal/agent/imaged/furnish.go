package imaged

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/agent/networked"
	"github.com/pando-os/pando/internal/image"
	"github.com/pando-os/pando/internal/volume"
)

// Sandbox is where a container with an image finds its sandbox.
const Sandbox = "/mnt/mesos/sandbox"

// Place is where a container with an image is put.
type Place struct {
	// Sandbox is its own, and Levels says how many containers it is below: its sandbox is in the directory containers of that of the
	// one above it, and so on. Of these only the one at the top is made by the agent; the others are in it, and so a user's.
	Sandbox string
	Levels  int
	// Within says that the one above it may be apart from the machine, whose shared memory is then not for it either.
	Within bool
	// UID and GID are given what is made for its user; -1: nobody.
	UID, GID int
	// Trusted says that root asked for it. Others get nothing by set-user-id programs of an image, which they made themselves, and may
	// not ask for capabilities: with a path of the machine's, either would make them root there.
	Trusted bool
	// Network is where it is in networks of its own; nil: it is in the machine's.
	Network *networked.Place
	// Socket is shown to it where it is on the machine, if it is not empty.
	Socket string
	// Volumes are its persistent ones, and ParentVolumes those of the container it is below, at their places in there.
	Volumes, ParentVolumes []container.Mount
	// GPUs is how many of the machine's gpus it is to have, if that is this agent's affair.
	GPUs int
	// Secret makes a file of the nth volume, in memory, and gives its path.
	Secret func(n int, data []byte) (string, error)
}

// below is a path in the sandbox of the container, or of one above it, as the launcher takes it: no link on the way from the one at the
// top is followed.
func (at Place) below(up int, source string) (rel, top string) {
	dir := at.Sandbox
	for range 2 * up {
		dir = filepath.Dir(dir)
	}
	top = dir
	for range 2 * (at.Levels - up) {
		top = filepath.Dir(top)
	}
	return filepath.Join(".", strings.TrimPrefix(dir, top), source), top
}

// Furnish makes the root of the container, and what it runs. What s has of its own otherwise has been set.
func (p *Picture) Furnish(s *container.Spec, c *mesosv1.CommandInfo, at Place) error {
	linux := p.Container.GetLinuxInfo()
	s.Root = &container.Root{
		Store: p.image.Store, Layers: p.image.Layers, Scratch: p.scratch, Masked: standard.Masked(), ReadOnly: standard.Sealed(),
		Mounts: standard.Mounts(int64(linux.GetShmSize()) << 20),
	}
	if linux.GetIpcMode() == mesosv1.LinuxInfo_SHARE_PARENT && !at.Within {
		shareMemory(s.Root.Mounts)
	}
	if p.copied != "" {
		s.Root.Store, s.Root.Layers, s.Root.Own = p.copied, []string{copiedRoot}, true
	}
	nodes, err := p.keeper.rules.Nodes()
	if err != nil {
		return err
	}
	s.Root.Mounts = append(s.Root.Mounts, nodes...)
	s.Hostname = p.hostname(at.Network)
	if at.Network != nil {
		s.NetNS = at.Network.NetNS
	}
	s.Namespaces = container.Namespaces{
		Mount: true, PID: !linux.GetSharePidNamespace(), IPC: linux.GetIpcMode() != mesosv1.LinuxInfo_SHARE_PARENT, UTS: s.Hostname != "",
	}
	if s.Workdir = p.image.Config.WorkingDir; s.Workdir == "" {
		s.Workdir = Sandbox
	}
	s.StopSignal = stopSignal(p.image.Config.StopSignal)
	s.NoNewPrivs = s.NoNewPrivs || !at.Trusted
	if err := p.takeGPUs(s, at.GPUs); err != nil {
		return fmt.Errorf("gpus: %w", err)
	}
	err = p.mountAll(s, at)
	if err == nil && p.docker != nil {
		err = p.likeDocker(s, c)
	} else if err == nil {
		s.Path, s.Args, err = image.Command(c.GetShell(), c.GetValue(), c.GetArguments(), p.image.Config)
	}
	if err == nil {
		err = p.confine(s, at)
	}
	return err
}

// shareMemory shows the machine's shared memory in the place of a container's own: programs look for what they share there too, and not
// by the IPC namespace alone.
func shareMemory(mounts []container.Mount) {
	const place = "/dev/shm"
	if _, err := os.Stat(place); err != nil {
		return // there is none to share
	}
	for i, m := range mounts {
		if m.Target == place {
			mounts[i] = container.Mount{Kind: container.MountBind, Source: place, Target: place, Flags: m.Flags}
		}
	}
}

// hostname is the container's own name; empty: it has the machine's.
func (p *Picture) hostname(net *networked.Place) string {
	if name := p.Container.GetHostname(); name != "" || net == nil {
		return name
	}
	return net.Hostname
}

// confine gives the container the capabilities that it asks for or, when neither it nor the operator names any, those that images
// count on, as far as it may have them: to root as they are, to others as what set-user-id programs may gain. The seccomp filter
// follows from them.
func (p *Picture) confine(s *container.Spec, at Place) error {
	d, rules, seccomp := p.docker, p.keeper.rules, p.Container.GetLinuxInfo().GetSeccomp()
	if d != nil && (d.Privileged || len(d.AddCaps) > 0) && !at.Trusted {
		return errors.New("privileged, or more capabilities (cap-add), are only for frameworks of root; leave them out")
	}
	if d != nil && d.Privileged {
		if err := rules.Bounds.Allow(confine.All); err != nil {
			return fmt.Errorf("privileged: %w", err)
		}
		s.Effective, s.Bounding, s.Root.Masked, s.Root.ReadOnly = nil, nil, nil, nil
		for i, m := range s.Root.Mounts {
			if m.Target == "/sys" && m.FS == "sysfs" {
				s.Root.Mounts[i].Flags &^= standard.ReadOnly
			}
		}
		if seccomp == nil {
			return nil
		}
		var err error
		s.Seccomp, err = rules.Profiles.Filter(seccomp, confine.All)
		return err
	}
	asked, caps := s.Effective != nil, confine.Numbers(standard.Capabilities())
	switch {
	case asked:
		caps = confine.Numbers(*s.Effective)
	case s.Bounding != nil:
		caps &= confine.Numbers(*s.Bounding)
	}
	if d != nil {
		var err error
		if caps, err = changed(caps, d.AddCaps, d.DropCaps); err != nil {
			return err
		}
		if err := rules.Bounds.Allow(caps); err != nil {
			return fmt.Errorf("container.docker.parameters cap-add: %w", err)
		}
	}
	list := caps.List()
	if s.Effective = &list; !asked && at.UID > 0 {
		s.Effective, s.Bounding = nil, &list
	}
	var err error
	s.Seccomp, err = rules.Profiles.Filter(seccomp, caps)
	return err
}

// mountAll adds what is mounted in the image.
func (p *Picture) mountAll(s *container.Spec, at Place) error {
	r := s.Root
	own, top := at.below(0, ".")
	r.Mounts = append(r.Mounts, container.Mount{Kind: container.MountBind, Source: own, Under: top, Target: Sandbox, Flags: standard.NoDev})
	if err := p.names(r, s.Hostname, at.Network); err != nil {
		return err
	}
	if at.Socket != "" {
		r.Mounts = append(r.Mounts, container.Mount{Kind: container.MountBind, Source: at.Socket, Target: at.Socket})
	}
	r.Mounts = append(r.Mounts, at.Volumes...)
	for i, v := range p.Container.GetVolumes() {
		m, err := p.mounted(i, v, at)
		if err != nil {
			return fmt.Errorf("container.volumes[%d]: %w", i, err)
		}
		r.Mounts = append(r.Mounts, m)
	}
	return nil
}

// names shows the resolver and names of the machine, or of the container's networks, in the image, with the container's own name and
// those that it asks for.
func (p *Picture) names(r *container.Root, hostname string, net *networked.Place) error {
	files := map[string]string{"resolv.conf": "/etc/resolv.conf", "hosts": "/etc/hosts"}
	own := ""
	if net != nil {
		files, own = net.Files(), net.Hostname
	}
	var more []string
	if hostname != own {
		more = append(more, "127.0.1.1 "+hostname)
	}
	if p.docker != nil {
		more = append(more, p.docker.Hosts...)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		source := files[name]
		if name == "hosts" && len(more) > 0 {
			b, err := os.ReadFile(source)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			source = filepath.Join(p.scratch, "hosts")
			if err := os.WriteFile(source, append(b, strings.Join(more, "\n")+"\n"...), 0o644); err != nil {
				return err
			}
		}
		if _, err := os.Stat(source); err != nil {
			continue // the image's own will do
		}
		r.Mounts = append(r.Mounts, container.Mount{Kind: container.MountBind, Source: source, Target: "/etc/" + name, Flags: standard.ReadOnly})
	}
	return nil
}

// Inside is a path of the container's; what is relative is in its sandbox.
func Inside(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(Sandbox, p)
}

// mounted is the nth volume of a ContainerInfo: an image, a secret, a path of the machine's, or of the container's or its parent's
// sandbox.
func (p *Picture) mounted(n int, v *mesosv1.Volume, at Place) (container.Mount, error) {
	up, kept := 0, at.Volumes
	m := container.Mount{Kind: container.MountBind, Flags: standard.NoDev, Target: Inside(v.GetContainerPath())}
	if v.GetMode() == mesosv1.Volume_RO {
		m.Flags |= standard.ReadOnly
	}
	if im := p.volumes[n]; im != nil {
		err := p.mountImage(n, im, &m)
		return m, err
	}
	source := v.GetHostPath()
	switch s := v.GetSource(); s.GetType() {
	case mesosv1.Volume_Source_SECRET: // it is read-only whatever its mode
		var err error
		m.Flags = standard.ReadOnly | standard.NoDev | standard.NoSuid | standard.NoExec
		m.Source, err = at.Secret(n, s.GetSecret().GetValue().GetData())
		return m, err
	case mesosv1.Volume_Source_HOST_PATH:
		source = s.GetHostPath().GetPath()
	case mesosv1.Volume_Source_SANDBOX_PATH:
		source = s.GetSandboxPath().GetPath()
		if path.IsAbs(source) {
			return m, fmt.Errorf("source.sandbox_path.path %q is absolute; give a path below the sandbox", source)
		}
		if s.GetSandboxPath().GetType() == mesosv1.Volume_Source_SandboxPath_PARENT {
			if at.Levels == 0 {
				return m, errors.New("source.sandbox_path.type is PARENT, and the container has no parent; say SELF, or launch it in a group")
			}
			up, kept = 1, at.ParentVolumes
		}
	}
	if path.IsAbs(source) {
		m.Source = path.Clean(source)
		if _, err := os.Stat(m.Source); err != nil {
			return m, fmt.Errorf("host_path: %w; make it on the machine first", err)
		}
		return m, nil
	}
	// It is in a sandbox, where whatever a user put there is not to lead out.
	if source = path.Clean(source); source == "." || !filepath.IsLocal(source) {
		return m, fmt.Errorf("the path %q leads out of the sandbox, or is all of it; name a place below it", source)
	}
	m.Source, m.Under = at.below(up, source)
	if v := persistent(source, kept); v != nil {
		m.Flags |= v.Flags & standard.ReadOnly
		if m.Source, m.Under = strings.TrimPrefix(Inside(source)[len(v.Target):], "/"), v.Source; m.Source == "" {
			m.Source, m.Under = v.Source, ""
		}
		if m.Under == "" || v.Flags&standard.ReadOnly != 0 { // in what may only be read nothing is made
			return m, nil
		}
	}
	return m, volume.MakeShared(m.Under, m.Source, at.UID, at.GID)
}

// persistent finds the persistent volume that a path in a sandbox leads into, the innermost; nil: into none. On the machine nothing
// of it is in the sandbox.
func persistent(source string, volumes []container.Mount) (found *container.Mount) {
	for i := range volumes {
		v := &volumes[i]
		if strings.HasPrefix(Inside(source)+"/", v.Target+"/") && (found == nil || len(v.Target) > len(found.Target)) {
			found = v
		}
	}
	return found
}

// likeDocker adds what only containers of type DOCKER can ask for.
func (p *Picture) likeDocker(s *container.Spec, c *mesosv1.CommandInfo) (err error) {
	d := p.docker
	if s.Args, err = d.Command(c, p.image.Config.Entrypoint, p.image.Config.Cmd); err != nil {
		return err
	}
	s.Path, s.Workdir = s.Args[0], cmp.Or(d.Workdir, p.image.Config.WorkingDir, "/")
	if n := stopSignal(d.StopSignal); n != 0 {
		s.StopSignal = n
	}
	s.NoNewPrivs, s.Root.Sealed = s.NoNewPrivs || d.NoNewPrivs, d.ReadOnly
	for where, options := range d.Tmpfs {
		flags, data, err := tmpfsOptions(options)
		if err != nil {
			return fmt.Errorf("container.docker.parameters tmpfs %s: %w", where, err)
		}
		s.Root.Mounts = append(s.Root.Mounts, container.Mount{Kind: container.MountNew, FS: "tmpfs", Target: where, Flags: flags, Data: data})
	}
	return nil
}

// tmpfsOptions reads docker's options of a tmpfs. Devices on one are of no use, whatever it is told: they lead out of a container.
func tmpfsOptions(options string) (flags uint64, data string, err error) {
	flags = standard.NoSuid | standard.NoDev | standard.NoExec
	var out []string
	for o := range strings.SplitSeq(options, ",") {
		name, _, _ := strings.Cut(o, "=")
		switch {
		case slices.Contains([]string{"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}, name):
			out = append(out, o)
		case slices.Contains([]string{"", "rw", "dev", "nodev"}, o):
		case o == "ro":
			flags |= standard.ReadOnly
		case o == "exec":
			flags &^= standard.NoExec
		case o == "noexec":
			flags |= standard.NoExec
		case o == "suid":
			flags &^= standard.NoSuid
		case o == "nosuid":
			flags |= standard.NoSuid
		case o == "noatime":
			flags |= standard.NoAtime
		default:
			return 0, "", fmt.Errorf("the option %q is not supported; size, mode, uid, gid, nr_inodes, nr_blocks, mpol, ro, exec, suid and noatime are", o)
		}
	}
	return flags, strings.Join(out, ","), nil
}

// changed adds capabilities to a set and takes some away, by their names. As docker has it, what is added counts more than what is
// dropped, but where all are added.
func changed(have confine.Set, add, drop []string) (confine.Set, error) {
	adds, drops := confine.Set(0), confine.Set(0)
	for _, list := range []struct {
		names []string
		to    *confine.Set
	}{{add, &adds}, {drop, &drops}} {
		for _, name := range list.names {
			s, err := confine.ByName(name)
			if err != nil {
				return 0, err
			}
			*list.to |= s
		}
	}
	if adds == confine.All && drops != confine.All {
		return adds &^ drops, nil
	}
	return have&^drops | adds, nil
}

// signals are the names that images use for what asks their programs to end, by Linux' numbers on amd64 and arm64.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12,
	"PIPE": 13, "ALRM": 14, "TERM": 15, "CHLD": 17, "CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24,
	"XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28, "IO": 29, "PWR": 30, "SYS": 31,
}

// rtMin is the first of the signals that are named by their distance from it.
const rtMin = 34

// stopSignal is a signal by name or number; 0: none, or none that there is.
func stopSignal(text string) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		return n
	}
	name := strings.TrimPrefix(strings.ToUpper(text), "SIG")
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		n, err := strconv.Atoi(strings.TrimPrefix(rest, "+"))
		if (err == nil || rest == "") && n >= 0 && n+rtMin <= 64 {
			return n + rtMin
		}
	}
	return signals[name]
}

// Environment adds what the image says of it, and what docker was asked for, and tells by itself. It comes after the agent's own and
// before the task's. net is where the container is in networks of its own, or nil.
func (p *Picture) Environment(env map[string]string, net *networked.Place) {
	if p == nil {
		return
	}
	add := func(lines []string) {
		for _, l := range lines {
			if name, value, ok := strings.Cut(l, "="); ok && name != "" {
				env[name] = value
			}
		}
	}
	if p.home != "" {
		env["HOME"] = p.home
	}
	if p.docker != nil {
		env["HOSTNAME"] = p.hostname(net)
		if env["HOSTNAME"] == "" {
			env["HOSTNAME"], _ = os.Hostname() // the kernel knows one
		}
	}
	add(p.image.Config.Env)
	if p.docker != nil {
		add(p.docker.Env)
	}
}
