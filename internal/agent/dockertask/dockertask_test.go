package dockertask

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

func docker(parameters ...string) *mesosv1.ContainerInfo {
	d := &mesosv1.ContainerInfo_DockerInfo{Image: new("nginx")}
	for _, p := range parameters {
		key, value, _ := strings.Cut(p, " ")
		d.Parameters = append(d.Parameters, &mesosv1.Parameter{Key: &key, Value: &value})
	}
	return &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_DOCKER.Enum(), Docker: d}
}

func TestWhatDockerWouldHaveRunIsSaidInOurWords(t *testing.T) {
	in := docker("env A=b", "e C=d=e", "--hostname web", "volume /srv:/data:ro", "v box:/box", "workdir /w", "cap-add CAP_NET_ADMIN", "cap-drop all",
		"ulimit nofile=100:200", "ulimit core=-1", "shm-size 1500k", "entrypoint /run me", "stop-signal SIGQUIT", "u 7:8", "read-only", "tmpfs /run:size=1m",
		"add-host db:10.0.0.1", "ipc host", "pid host", "security-opt seccomp=unconfined", "security-opt no-new-privileges", "log-driver json-file", "label a=b", "net host")
	in.Docker.ForcePullImage, in.Docker.Privileged = new(true), new(true)
	before := proto.CloneOf(in)
	got, err := Read(in)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, in, protocmp.Transform()); d != "" {
		t.Errorf("what it reads was changed: %s", d)
	}
	want := &Task{
		Container: &mesosv1.ContainerInfo{
			Type: mesosv1.ContainerInfo_MESOS.Enum(), Hostname: new("web"),
			Mesos: &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum(), Docker: &mesosv1.Image_Docker{Name: new("nginx")}, Cached: new(false)}},
			Volumes: []*mesosv1.Volume{
				{HostPath: new("/srv"), ContainerPath: new("/data"), Mode: mesosv1.Volume_RO.Enum()},
				{HostPath: new("box"), ContainerPath: new("/box"), Mode: mesosv1.Volume_RW.Enum()},
			},
			LinuxInfo: &mesosv1.LinuxInfo{
				ShmSize: new(uint32(2)), IpcMode: mesosv1.LinuxInfo_SHARE_PARENT.Enum(), SharePidNamespace: new(true), Seccomp: &mesosv1.SeccompInfo{Unconfined: new(true)},
			},
			RlimitInfo: &mesosv1.RLimitInfo{Rlimits: []*mesosv1.RLimitInfo_RLimit{
				{Type: mesosv1.RLimitInfo_RLimit_RLMT_NOFILE.Enum(), Soft: new(uint64(100)), Hard: new(uint64(200))},
				{Type: mesosv1.RLimitInfo_RLimit_RLMT_CORE.Enum()},
			}},
		},
		Env: []string{"A=b", "C=d=e"}, Entrypoint: []string{"/run", "me"}, Workdir: "/w", User: "7:8", StopSignal: "SIGQUIT", Privileged: true, ReadOnly: true,
		NoNewPrivs: true, Tmpfs: map[string]string{"/run": "size=1m"}, AddCaps: []string{"NET_ADMIN"}, DropCaps: []string{"ALL"}, Hosts: []string{"10.0.0.1 db"},
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestWhatCannotBeHonouredIsNamed(t *testing.T) {
	network := func(n mesosv1.ContainerInfo_DockerInfo_Network) *mesosv1.ContainerInfo {
		c := docker()
		c.Docker.Network = &n
		return c
	}
	none, driver, ports := docker(), docker(), docker()
	none.Docker.Image, driver.Docker.VolumeDriver = new(""), new("rexray")
	ports.Docker.PortMappings = []*mesosv1.ContainerInfo_DockerInfo_PortMapping{{HostPort: new(uint32(1)), ContainerPort: new(uint32(2))}}
	for words, c := range map[string]*mesosv1.ContainerInfo{
		"docker.image": none, "docker.volume_driver": driver, "port_mappings need the network": ports,
		"docker.network USER":  network(mesosv1.ContainerInfo_DockerInfo_USER),
		"parameters[1] (gpus)": docker("env A=b", "gpus all"), "(env)": docker("env A"), "(volume)": docker("volume /a"), "relative": docker("volume /a:/b:relative"),
		"(ulimit)": docker("ulimit nofile=x"), "SOFT": docker("ulimit frobs=1"), "(shm-size)": docker("shm-size lots"), "64m": docker("shm-size 9999999999g"),
		"(tmpfs)": docker("tmpfs run"), "(ipc)": docker("ipc container:x"), "(pid)": docker("pid x"), "(add-host)": docker("add-host x"),
		"(security-opt)": docker("security-opt systempaths=unconfined"), "perhaps": docker("security-opt no-new-privileges=perhaps"), "(workdir)": docker("workdir w"), "(privileged)": docker("privileged perhaps"),
	} {
		if got, err := Read(c); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("the error is %v, and lacks %q (%v)", err, words, got)
		}
	}
}

func TestDockersNetworksAreSaidInTheWordsOfNetworkInfo(t *testing.T) {
	named := func(name string, ports ...uint32) *mesosv1.NetworkInfo {
		n := &mesosv1.NetworkInfo{Name: &name}
		for _, p := range ports {
			n.PortMappings = append(n.PortMappings, &mesosv1.NetworkInfo_PortMapping{HostPort: new(p), ContainerPort: new(uint32(80)), Protocol: new("udp")})
		}
		return n
	}
	for name, c := range map[string]struct {
		mode       mesosv1.ContainerInfo_DockerInfo_Network
		ports      []uint32
		infos      []*mesosv1.NetworkInfo
		parameters []string
		want       []*mesosv1.NetworkInfo
	}{
		"host":                      {mesosv1.ContainerInfo_DockerInfo_HOST, nil, []*mesosv1.NetworkInfo{named("x")}, nil, nil},
		"none":                      {mesosv1.ContainerInfo_DockerInfo_NONE, nil, nil, nil, []*mesosv1.NetworkInfo{named("none")}},
		"bridge with ports":         {mesosv1.ContainerInfo_DockerInfo_BRIDGE, []uint32{31000}, nil, nil, []*mesosv1.NetworkInfo{named("mesos-bridge", 31000)}},
		"bridge said twice":         {mesosv1.ContainerInfo_DockerInfo_BRIDGE, []uint32{31000}, nil, []string{"net bridge"}, []*mesosv1.NetworkInfo{named("mesos-bridge", 31000)}},
		"bridge by its parameter":   {mesosv1.ContainerInfo_DockerInfo_HOST, nil, nil, []string{"network bridge"}, []*mesosv1.NetworkInfo{named("mesos-bridge")}},
		"host by its parameter":     {mesosv1.ContainerInfo_DockerInfo_NONE, nil, nil, []string{"net host"}, nil},
		"a user's":                  {mesosv1.ContainerInfo_DockerInfo_USER, []uint32{31000, 31001}, []*mesosv1.NetworkInfo{named("calico")}, nil, []*mesosv1.NetworkInfo{named("calico", 31000, 31001)}},
		"a user's by its parameter": {mesosv1.ContainerInfo_DockerInfo_HOST, nil, nil, []string{"network calico"}, []*mesosv1.NetworkInfo{named("calico")}},
	} {
		d := docker(c.parameters...)
		d.Docker.Network, d.NetworkInfos = &c.mode, c.infos
		for _, p := range c.ports {
			d.Docker.PortMappings = append(d.Docker.PortMappings, &mesosv1.ContainerInfo_DockerInfo_PortMapping{HostPort: new(p), ContainerPort: new(uint32(80)), Protocol: new("udp")})
		}
		got, err := Read(d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got.Container.GetNetworkInfos(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestACommandIsHandedToTheEntrypointUnlessItIsForAShell(t *testing.T) {
	entry, cmd := []string{"/entry"}, []string{"serve"}
	for name, c := range map[string]struct {
		command    *mesosv1.CommandInfo
		own        []string
		entry, cmd []string
		want       string
	}{
		"nothing":                          {&mesosv1.CommandInfo{Shell: new(false)}, nil, entry, cmd, "/entry serve"},
		"a value":                          {&mesosv1.CommandInfo{Shell: new(false), Value: new("v"), Arguments: []string{"a"}}, nil, entry, cmd, "/entry v a"},
		"arguments":                        {&mesosv1.CommandInfo{Shell: new(false), Arguments: []string{"a"}}, nil, entry, cmd, "/entry a"},
		"a value without an entrypoint":    {&mesosv1.CommandInfo{Shell: new(false), Value: new("v")}, nil, nil, cmd, "v"},
		"a shell's":                        {&mesosv1.CommandInfo{Value: new("echo $X")}, nil, entry, cmd, "/bin/sh -c echo $X"},
		"an entrypoint of its own":         {&mesosv1.CommandInfo{Shell: new(false), Arguments: []string{"a"}}, []string{"/mine"}, entry, cmd, "/mine a"},
		"an entrypoint and nothing":        {&mesosv1.CommandInfo{Shell: new(false)}, []string{"/mine"}, entry, cmd, "/mine"},
		"nothing anywhere":                 {&mesosv1.CommandInfo{Shell: new(false)}, nil, nil, nil, ""},
		"a shell's without a word":         {&mesosv1.CommandInfo{}, nil, entry, cmd, ""},
		"an entrypoint that is taken away": {&mesosv1.CommandInfo{Shell: new(false), Value: new("v")}, []string{}, entry, cmd, "v"},
	} {
		task := &Task{Entrypoint: c.own}
		got, err := task.Command(c.command, c.entry, c.cmd)
		if strings.Join(got, " ") != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
