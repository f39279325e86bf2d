package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

func TestNetworkFlagsAreSaidInTheWordsOfNetworkInfo(t *testing.T) {
	mesos := mesosv1.ContainerInfo_MESOS.Enum()
	mapping := func(host, own uint32, protocol *string) *mesosv1.NetworkInfo_PortMapping {
		return &mesosv1.NetworkInfo_PortMapping{HostPort: &host, ContainerPort: &own, Protocol: protocol}
	}
	for name, c := range map[string]struct {
		flags runFlags
		want  *mesosv1.ContainerInfo
		ports []uint32
		says  string
	}{
		"nothing":        {runFlags{}, nil, nil, ""},
		"the node's own": {runFlags{networks: []string{"host"}}, nil, nil, ""},
		"the bridge, with ports": {
			runFlags{networks: []string{"bridge"}, ports: []string{"80", "31005:53/udp", "443/tcp"}, hostname: "web"},
			&mesosv1.ContainerInfo{Type: mesos, Hostname: new("web"), NetworkInfos: []*mesosv1.NetworkInfo{{Name: new("mesos-bridge"), PortMappings: []*mesosv1.NetworkInfo_PortMapping{
				mapping(0, 80, nil), mapping(31005, 53, new("udp")), mapping(0, 443, new("tcp")),
			}}}},
			[]uint32{0, 31005, 0},
			"",
		},
		"several":                        {runFlags{networks: []string{"calico", "bridge"}}, &mesosv1.ContainerInfo{Type: mesos, NetworkInfos: []*mesosv1.NetworkInfo{{Name: new("calico")}, {Name: new("mesos-bridge")}}}, nil, ""},
		"none":                           {runFlags{networks: []string{"none"}}, &mesosv1.ContainerInfo{Type: mesos, NetworkInfos: []*mesosv1.NetworkInfo{{Name: new("none")}}}, nil, ""},
		"ports of none":                  {runFlags{networks: []string{"none"}, ports: []string{"80"}}, nil, nil, "give it --network bridge"},
		"ports of the node":              {runFlags{ports: []string{"80"}}, nil, nil, "give it --network bridge"},
		"the node's own and another":     {runFlags{networks: []string{"bridge", "host"}}, nil, nil, "goes with no other"},
		"a port that is none":            {runFlags{networks: []string{"bridge"}, ports: []string{"http"}}, nil, nil, `--publish is "http"`},
		"a port beyond the last":         {runFlags{networks: []string{"bridge"}, ports: []string{"65536"}}, nil, nil, "1 to 65535"},
		"a port 0":                       {runFlags{networks: []string{"bridge"}, ports: []string{"0:80"}}, nil, nil, "1 to 65535"},
		"a protocol that there is not":   {runFlags{networks: []string{"bridge"}, ports: []string{"80/sctp"}}, nil, nil, "/udp"},
		"a name without a network of it": {runFlags{networks: []string{"bridge"}, hostname: "x"}, &mesosv1.ContainerInfo{Type: mesos, Hostname: new("x"), NetworkInfos: []*mesosv1.NetworkInfo{{Name: new("mesos-bridge")}}}, nil, ""},
	} {
		got, ports, err := c.flags.network(nil)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: the error is %v, and lacks %q", name, err, c.says)
			}
			continue
		}
		if d := cmp.Diff(c.want, got, protocmp.Transform()) + cmp.Diff(c.ports, ports); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
}
