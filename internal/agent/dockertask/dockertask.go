// Package dockertask reads a container of type DOCKER as one that is run without Docker: an image, and what else the original handed
// to `docker run`.
package dockertask

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/networked"
	"github.com/pando-os/pando/internal/network"
)

// Task is such a container: what can be said in the words of ContainerInfo, and what cannot.
type Task struct {
	// Container is of type MESOS with the same image.
	Container *mesosv1.ContainerInfo
	// Env is added to the command's, as NAME=VALUE.
	Env []string
	// Entrypoint takes the place of the image's, unless it is nil.
	Entrypoint []string
	// User is one of the image's, as NAME, UID, NAME:GROUP or UID:GID; empty: none is named.
	User string
	// Workdir and StopSignal take the place of the image's, unless they are empty.
	Workdir, StopSignal string
	// Privileged gives it all capabilities, and hides nothing.
	Privileged bool
	// ReadOnly seals the image, and NoNewPrivs has setuid programs give nothing.
	ReadOnly, NoNewPrivs bool
	// Tmpfs are file systems in memory, by their places, with mount options.
	Tmpfs map[string]string
	// AddCaps and DropCaps change the capabilities that a container has; "ALL" stands for all.
	AddCaps, DropCaps []string
	// Hosts are lines for /etc/hosts.
	Hosts []string
}

// Read translates a ContainerInfo of type DOCKER. The error names the field that this version cannot honour.
func Read(c *mesosv1.ContainerInfo) (*Task, error) {
	d := c.GetDocker()
	if d.GetImage() == "" {
		return nil, errors.New("container.docker.image is empty")
	}
	if d.GetVolumeDriver() != "" {
		return nil, fmt.Errorf("container.docker.volume_driver %q: volume plugins are not supported by this version of Pando yet; use a host_path", d.GetVolumeDriver())
	}
	out := proto.CloneOf(c)
	var err error
	if out.NetworkInfos, err = networks(d.GetNetwork(), d.GetPortMappings(), out.GetNetworkInfos()); err != nil {
		return nil, err
	}
	out.Type, out.Docker = mesosv1.ContainerInfo_MESOS.Enum(), nil
	out.Mesos = &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{
		Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: d.Image}, Cached: new(!d.GetForcePullImage()),
	}}
	if out.LinuxInfo == nil {
		out.LinuxInfo = &mesosv1.LinuxInfo{}
	}
	t := &Task{Container: out, Privileged: d.GetPrivileged(), Tmpfs: map[string]string{}}
	for i, p := range d.GetParameters() {
		if err := t.parameter(p.GetKey(), p.GetValue()); err != nil {
			return nil, fmt.Errorf("container.docker.parameters[%d] (%s): %w", i, p.GetKey(), err)
		}
	}
	return t, nil
}

// networks says in the words of NetworkInfo what Docker's modes are.
func networks(mode mesosv1.ContainerInfo_DockerInfo_Network, ports []*mesosv1.ContainerInfo_DockerInfo_PortMapping, infos []*mesosv1.NetworkInfo) ([]*mesosv1.NetworkInfo, error) {
	info := &mesosv1.NetworkInfo{}
	switch mode {
	case mesosv1.ContainerInfo_DockerInfo_BRIDGE:
		info.Name = new(networked.Bridge)
	case mesosv1.ContainerInfo_DockerInfo_USER:
		if len(infos) != 1 || infos[0].GetName() == "" {
			return nil, fmt.Errorf("container.docker.network USER needs exactly one container.network_infos with a name; there are %d entries", len(infos))
		}
		info = infos[0]
	default:
		if len(ports) > 0 {
			return nil, fmt.Errorf("container.docker.port_mappings need the network BRIDGE or USER; with %s leave them out", mode)
		}
		if mode == mesosv1.ContainerInfo_DockerInfo_HOST {
			return nil, nil
		}
		info.Name = new(network.None)
	}
	for _, p := range ports {
		info.PortMappings = append(info.PortMappings, &mesosv1.NetworkInfo_PortMapping{HostPort: p.HostPort, ContainerPort: p.ContainerPort, Protocol: p.Protocol})
	}
	return []*mesosv1.NetworkInfo{info}, nil
}

// parameters are the options of `docker run` that are honoured, by their long names, and what they become.
var parameters = map[string]func(*Task, string) error{
	"add-host":     (*Task).addHost,
	"cap-add":      func(t *Task, v string) error { t.AddCaps = append(t.AddCaps, capability(v)); return nil },
	"cap-drop":     func(t *Task, v string) error { t.DropCaps = append(t.DropCaps, capability(v)); return nil },
	"entrypoint":   func(t *Task, v string) error { t.Entrypoint = strings.Fields(v); return nil },
	"env":          (*Task).env,
	"hostname":     func(t *Task, v string) error { t.Container.Hostname = &v; return nil },
	"init":         ignored, // the launcher reaps, and forwards what asks to end
	"ipc":          (*Task).ipc,
	"label":        ignored, // there is no daemon to ask for it
	"log-driver":   ignored, // output goes to the sandbox
	"log-opt":      ignored,
	"net":          (*Task).network,
	"network":      (*Task).network,
	"pid":          (*Task).pid,
	"privileged":   func(t *Task, v string) (err error) { t.Privileged, err = truth(v); return err },
	"read-only":    func(t *Task, v string) (err error) { t.ReadOnly, err = truth(v); return err },
	"rm":           ignored,
	"security-opt": (*Task).security,
	"shm-size":     (*Task).shm,
	"stop-signal":  func(t *Task, v string) error { t.StopSignal = v; return nil },
	"tmpfs":        (*Task).tmpfs,
	"ulimit":       (*Task).ulimit,
	"user":         func(t *Task, v string) error { t.User = v; return nil },
	"volume":       (*Task).volume,
	"workdir":      (*Task).workdir,
}

var short = map[string]string{"e": "env", "h": "hostname", "l": "label", "u": "user", "v": "volume", "w": "workdir"}

// Parameters lists what may be given as parameters.
func Parameters() []string {
	var out []string
	for name := range parameters { // order: sorted below
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (t *Task) parameter(key, value string) error {
	name := strings.TrimLeft(key, "-")
	if long, ok := short[name]; ok {
		name = long
	}
	do, ok := parameters[name]
	if !ok {
		return fmt.Errorf("this option of docker run is not supported; those that are: %s", strings.Join(Parameters(), ", "))
	}
	return do(t, value)
}

func ignored(*Task, string) error { return nil }

func truth(v string) (bool, error) {
	if v == "" {
		return true, nil
	}
	return strconv.ParseBool(v)
}

func capability(v string) string { return strings.TrimPrefix(strings.ToUpper(v), "CAP_") }

func (t *Task) addHost(v string) error {
	name, address, ok := strings.Cut(v, ":")
	if !ok || name == "" || address == "" || strings.ContainsAny(v, " \n") {
		return fmt.Errorf("%q is not NAME:ADDRESS", v)
	}
	t.Hosts = append(t.Hosts, address+" "+name)
	return nil
}

func (t *Task) env(v string) error {
	if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", v)
	}
	t.Env = append(t.Env, v)
	return nil
}

func (t *Task) ipc(v string) error {
	switch v {
	case "host":
		t.Container.LinuxInfo.IpcMode = mesosv1.LinuxInfo_SHARE_PARENT.Enum()
	case "private", "":
		t.Container.LinuxInfo.IpcMode = mesosv1.LinuxInfo_PRIVATE.Enum()
	default:
		return fmt.Errorf("%q is not supported; say host or private", v)
	}
	return nil
}

func (t *Task) pid(v string) error {
	if v != "host" {
		return fmt.Errorf("%q is not supported; say host, or leave it out", v)
	}
	t.Container.LinuxInfo.SharePidNamespace = new(true)
	return nil
}

func (t *Task) network(v string) error {
	switch v {
	case "host":
		t.Container.NetworkInfos = nil
	case "bridge":
		if n := t.Container.GetNetworkInfos(); len(n) == 1 && n[0].GetName() == networked.Bridge {
			return nil // with its port mappings
		}
		v = networked.Bridge
		fallthrough
	default:
		t.Container.NetworkInfos = []*mesosv1.NetworkInfo{{Name: &v}}
	}
	return nil
}

func (t *Task) security(v string) error {
	key, value, _ := strings.Cut(strings.Replace(v, ":", "=", 1), "=")
	switch {
	case key == "no-new-privileges":
		var err error
		t.NoNewPrivs, err = truth(value)
		return err
	case key == "seccomp" && value == "unconfined":
		t.Container.LinuxInfo.Seccomp = &mesosv1.SeccompInfo{Unconfined: new(true)}
		return nil
	case key == "seccomp" && value != "":
		t.Container.LinuxInfo.Seccomp = &mesosv1.SeccompInfo{ProfileName: &value}
		return nil
	case key == "label" || key == "apparmor":
		return nil // there is none
	}
	return fmt.Errorf("%q is not supported; seccomp=unconfined, seccomp=PROFILE (of the agent's) and no-new-privileges are", v)
}

func (t *Task) shm(v string) error {
	n, err := size(v)
	if err != nil {
		return err
	}
	t.Container.LinuxInfo.ShmSize = new(uint32((n + 1<<20 - 1) >> 20)) // in megabytes
	return nil
}

func (t *Task) workdir(v string) error {
	if !path.IsAbs(v) {
		return fmt.Errorf("%q is not an absolute path", v)
	}
	t.Workdir = v
	return nil
}

func (t *Task) tmpfs(v string) error {
	where, options, _ := strings.Cut(v, ":")
	if !path.IsAbs(where) {
		return fmt.Errorf("%q is not PATH or PATH:OPTIONS with an absolute path", v)
	}
	t.Tmpfs[path.Clean(where)] = options
	return nil
}

// limits are docker's names of resource limits.
var limits = map[string]mesosv1.RLimitInfo_RLimit_Type{
	"as": mesosv1.RLimitInfo_RLimit_RLMT_AS, "core": mesosv1.RLimitInfo_RLimit_RLMT_CORE, "cpu": mesosv1.RLimitInfo_RLimit_RLMT_CPU,
	"data": mesosv1.RLimitInfo_RLimit_RLMT_DATA, "fsize": mesosv1.RLimitInfo_RLimit_RLMT_FSIZE, "locks": mesosv1.RLimitInfo_RLimit_RLMT_LOCKS,
	"memlock": mesosv1.RLimitInfo_RLimit_RLMT_MEMLOCK, "msgqueue": mesosv1.RLimitInfo_RLimit_RLMT_MSGQUEUE, "nice": mesosv1.RLimitInfo_RLimit_RLMT_NICE,
	"nofile": mesosv1.RLimitInfo_RLimit_RLMT_NOFILE, "nproc": mesosv1.RLimitInfo_RLimit_RLMT_NPROC, "rss": mesosv1.RLimitInfo_RLimit_RLMT_RSS,
	"rtprio": mesosv1.RLimitInfo_RLimit_RLMT_RTPRIO, "rttime": mesosv1.RLimitInfo_RLimit_RLMT_RTTIME, "sigpending": mesosv1.RLimitInfo_RLimit_RLMT_SIGPENDING,
	"stack": mesosv1.RLimitInfo_RLimit_RLMT_STACK,
}

func (t *Task) ulimit(v string) error {
	name, value, _ := strings.Cut(v, "=")
	kind, ok := limits[name]
	soft, hard, two := strings.Cut(value, ":")
	if !two {
		hard = soft
	}
	s, err1 := strconv.ParseInt(soft, 10, 64)
	h, err2 := strconv.ParseInt(hard, 10, 64)
	if !ok || err1 != nil || err2 != nil || s < -1 || h < -1 {
		return fmt.Errorf("%q is not NAME=SOFT or NAME=SOFT:HARD with a limit that Linux has", v)
	}
	r := &mesosv1.RLimitInfo_RLimit{Type: &kind}
	if s >= 0 || h >= 0 { // with neither there is no limit
		r.Soft, r.Hard = new(uint64(s)), new(uint64(h))
	}
	if t.Container.RlimitInfo == nil {
		t.Container.RlimitInfo = &mesosv1.RLimitInfo{}
	}
	t.Container.RlimitInfo.Rlimits = append(t.Container.RlimitInfo.Rlimits, r)
	return nil
}

func (t *Task) volume(v string) error {
	parts := strings.Split(v, ":")
	if len(parts) < 2 || len(parts) > 3 || !path.IsAbs(parts[1]) || parts[0] == "" {
		return fmt.Errorf("%q is not HOST:CONTAINER or HOST:CONTAINER:OPTIONS with an absolute path in the container", v)
	}
	mode := mesosv1.Volume_RW
	if len(parts) == 3 {
		for o := range strings.SplitSeq(parts[2], ",") {
			switch o {
			case "ro":
				mode = mesosv1.Volume_RO
			case "rw", "z", "Z":
			default:
				return fmt.Errorf("the option %q of the volume is not supported; ro and rw are", o)
			}
		}
	}
	t.Container.Volumes = append(t.Container.Volumes, &mesosv1.Volume{HostPath: &parts[0], ContainerPath: &parts[1], Mode: &mode})
	return nil
}

// size reads a number of bytes as docker writes it: 64m, 1g, 1024.
func size(v string) (int64, error) {
	digits := strings.TrimRight(strings.ToLower(v), "bkmgi")
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "kb": 10, "m": 20, "mb": 20, "g": 30, "gb": 30}[strings.ReplaceAll(strings.ToLower(v[len(digits):]), "i", "")]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n <= 0 || n > 1<<40>>shift {
		return 0, fmt.Errorf("%q is not a size such as 64m", v)
	}
	return n << shift, nil
}

// Command is what it runs, by docker's rules: a shell command in the place of the image's entrypoint; otherwise value and arguments are
// handed to that, or are run where there is none.
func (t *Task) Command(c *mesosv1.CommandInfo, entrypoint, cmd []string) (argv []string, err error) {
	if c.GetShell() {
		if c.GetValue() == "" {
			return nil, errors.New("command.value is empty: give a shell command, or set command.shell to false to run what the image says")
		}
		return []string{"/bin/sh", "-c", c.GetValue()}, nil
	}
	if t.Entrypoint != nil {
		entrypoint, cmd = t.Entrypoint, nil
	}
	var args []string
	if c.GetValue() != "" {
		args = append(args, c.GetValue())
	}
	args = append(args, c.GetArguments()...)
	if len(args) == 0 {
		args = cmd
	}
	if argv = slices.Concat(entrypoint, args); len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("nothing to run: neither the command nor the image says what; set command.value")
	}
	return argv, nil
}
