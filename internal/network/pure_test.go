package network_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	mesosv1 "github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/mesos/resource"
)

func addrs(texts ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range texts {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func TestResolvConfSaysWhatTheNetworkSaidOrElseTheMachine(t *testing.T) {
	for _, c := range []struct {
		name     string
		said     network.DNS
		machine  string
		fallback []netip.Addr
		want     string
	}{
		{"the network's word wins as a whole", network.DNS{Nameservers: addrs("10.0.0.2"), Search: []string{"a", "b"}}, "nameserver 8.8.8.8\noptions ndots:3\n", nil, "search a b\nnameserver 10.0.0.2\n"},
		{"the machine's is taken where the network says nothing", network.DNS{}, "# c\nsearch x y ; z\noptions timeout:1 attempts:3\nnameserver 8.8.8.8\nnameserver fe80::1%eth0\n", nil, "search x y\noptions timeout:1 attempts:3\nnameserver 8.8.8.8\nnameserver fe80::1%eth0\n"},
		{"a network that names domains only is asked for no nameserver", network.DNS{Domain: "d"}, "search x\nnameserver 8.8.8.8\n", nil, "domain d\nnameserver 8.8.8.8\n"},
		{"the machine's own loopback is another's in a container", network.DNS{}, "nameserver 127.0.0.53\nnameserver ::1\n", addrs("172.31.254.1"), "nameserver 172.31.254.1\n"},
		{"loopback that the network means stays", network.DNS{Nameservers: addrs("127.0.0.1")}, "", nil, "nameserver 127.0.0.1\n"},
		{"a fourth nameserver is never asked", network.DNS{Nameservers: addrs("1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4")}, "", nil, "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n"},
		{"a plugin writes no lines of its own", network.DNS{Nameservers: addrs("1.1.1.1"), Domain: "a\nnameserver 6.6.6.6", Search: []string{"a b", "c", "d\n"}, Options: []string{""}}, "", nil, "search c\nnameserver 1.1.1.1\n"},
		{"search after domain counts", network.DNS{}, "domain d\nsearch s\n", nil, "search s\n"},
		{"domain after search counts", network.DNS{}, "search s\ndomain d\n", nil, "domain d\n"},
		{"nothing is nothing", network.DNS{}, "", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, network.ResolvConf(c.said, []byte(c.machine), c.fallback)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("search a b\nnameserver 1.1.1.1\noptions x\n"))
	f.Add([]byte("domain \x00\nnameserver ::1%\n\r"))
	f.Fuzz(func(t *testing.T, text []byte) {
		once := network.ResolvConf(network.DNS{}, text, nil)
		if again := network.ResolvConf(network.DNS{}, []byte(once), nil); again != once && len(text) < 10e3 {
			t.Errorf("read and written again\n%q becomes\n%q", once, again)
		}
		for line := range strings.Lines(once) {
			if key, _, _ := strings.Cut(line, " "); key != "search" && key != "domain" && key != "options" && key != "nameserver" {
				t.Errorf("a line of its own: %q", line)
			}
		}
	})
}

func TestHostsNamesTheContainerAtEachOfItsAddresses(t *testing.T) {
	const loopback = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
	for _, c := range []struct {
		name, host string
		addresses  []netip.Addr
		want       string
	}{
		{"one address", "box", addrs("10.1.2.3"), "10.1.2.3\tbox\n"},
		{"a name with dots is called by its first label too", "box.a.b", addrs("10.1.2.3", "fd00::3"), "10.1.2.3\tbox.a.b box\nfd00::3\tbox.a.b box\n"},
		{"no address", "box", nil, "127.0.1.1\tbox\n"},
		{"no name", "", addrs("10.1.2.3"), ""},
		{"localhost is loopback already", "localhost", addrs("10.1.2.3"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(loopback+c.want, network.Hosts(c.host, c.addresses)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHostnamesAreWhatAMachineCanBear(t *testing.T) {
	for _, good := range []string{"a", "A-1.b_c", strings.Repeat("a", 63), "7f3c"} {
		if err := network.CheckHostname(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "a..b", ".a", "a.", "a b", "a\nb", "ä", strings.Repeat("a", 64), strings.Repeat("a.", 32) + "a"} {
		if err := network.CheckHostname(bad); err == nil || !strings.HasPrefix(err.Error(), "hostname: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// info makes a NetworkInfo; mappings are HOST:CONTAINER or HOST:CONTAINER:PROTOCOL.
func info(name string, mappings ...string) *mesosv1.NetworkInfo {
	n := &mesosv1.NetworkInfo{}
	if name != "" {
		n.Name = &name
	}
	for _, m := range mappings {
		var host, container uint32
		var protocol string
		fmt.Sscanf(strings.ReplaceAll(m, ":", " "), "%d %d %s", &host, &container, &protocol)
		p := &mesosv1.NetworkInfo_PortMapping{HostPort: &host, ContainerPort: &container}
		if protocol != "" {
			p.Protocol = &protocol
		}
		n.PortMappings = append(n.PortMappings, p)
	}
	return n
}

func TestWhatATaskAsksOfNetworks(t *testing.T) {
	infos := []*mesosv1.NetworkInfo{info("bridge", "31000:80", "31000:53:UDP"), info("other", "31001:80:tcp")}
	infos[0].IpAddresses = []*mesosv1.NetworkInfo_IPAddress{{}} // "one of IPv4", as old frameworks say
	got, err := network.Asks(infos, []string{"other", "bridge"}, []resource.Span{{Begin: 31000, End: 31001}})
	want := []network.Ask{
		{Network: "bridge", Interface: "eth0", Default: true, Ports: []network.Port{{Host: 31000, Container: 80}, {Host: 31000, Container: 53, Protocol: network.UDP}}, Info: infos[0]},
		{Network: "other", Interface: "eth1", Ports: []network.Port{{Host: 31001, Container: 80}}, Info: infos[1]},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, host := range [][]*mesosv1.NetworkInfo{nil, {{}}, {info("")}} {
		if got, err := network.Asks(host, nil, nil); err != nil || got != nil {
			t.Errorf("%v is the machine's own network: %v, %v", host, got, err)
		}
	}
}

func TestAnAskThatCannotBeMetNamesItsField(t *testing.T) {
	offered := []resource.Span{{Begin: 31000, End: 31009}}
	many := info("bridge")
	for range 1025 {
		many.PortMappings = append(many.PortMappings, info("", "31000:80").PortMappings...)
	}
	labelled := info("bridge")
	labelled.Labels = &mesosv1.Labels{Labels: make([]*mesosv1.Label, 257)}
	addressed := info("bridge")
	addressed.IpAddresses = []*mesosv1.NetworkInfo_IPAddress{{IpAddress: new("10.0.0.300")}}
	for _, c := range []struct {
		name  string
		infos []*mesosv1.NetworkInfo
		want  string
	}{
		{"unknown network", []*mesosv1.NetworkInfo{info("nope")}, `network_infos[0].name: there is no network "nope" on this agent; it has bridge, other`},
		{"the same network twice", []*mesosv1.NetworkInfo{info("bridge"), info("bridge")}, `network_infos[1].name: "bridge" is asked for by network_infos[0] already; a container joins a network once`},
		{"a host port of another", []*mesosv1.NetworkInfo{info("bridge", "31010:80")}, `network_infos[0].port_mappings[0].host_port: 31010 is not among the ports of the task's resources; take one that is`},
		{"the same mapping in two networks", []*mesosv1.NetworkInfo{info("bridge", "31000:80"), info("other", "31000:81")}, `network_infos[1].port_mappings[0].host_port: 31000/tcp is mapped by network_infos[0].port_mappings[0] already; take another port`},
		{"the same host port twice in one network", []*mesosv1.NetworkInfo{info("bridge", "31000:80:udp", "31000:81:UDP")}, `network_infos[0].port_mappings[1].host_port: 31000/udp is mapped by network_infos[0].port_mappings[0] already; take another port`},
		{"no host port", []*mesosv1.NetworkInfo{info("bridge", "0:80")}, `network_infos[0].port_mappings[0].host_port: 0 is no port; give one of 1 to 65535`},
		{"a port that wraps around", []*mesosv1.NetworkInfo{info("bridge", "96536:80")}, `network_infos[0].port_mappings[0].host_port: 96536 is no port; give one of 1 to 65535`},
		{"no container port", []*mesosv1.NetworkInfo{info("bridge", "31000:65536")}, `network_infos[0].port_mappings[0].container_port: 65536 is no port; give one of 1 to 65535`},
		{"another protocol", []*mesosv1.NetworkInfo{info("bridge", "31000:80:sctp")}, `network_infos[0].port_mappings[0].protocol: "sctp" is not known; say tcp or udp`},
		{"mappings on the machine's own network", []*mesosv1.NetworkInfo{info("", "31000:80")}, `network_infos[0].port_mappings: the machine's own network has none; name a network`},
		{"the machine's own network beside another", []*mesosv1.NetworkInfo{info("bridge"), info("")}, `network_infos[1].name: is missing, which means the machine's own network; name a network, or give this entry alone`},
		{"too many networks", make([]*mesosv1.NetworkInfo, 17), `network_infos: has 17 entries; 16 is the most`},
		{"too many mappings", []*mesosv1.NetworkInfo{many}, `network_infos[0].port_mappings: a container has 1024 at most`},
		{"too many labels", []*mesosv1.NetworkInfo{labelled}, `network_infos[0].labels: has 257; 256 is the most`},
		{"an address that is none", []*mesosv1.NetworkInfo{addressed}, `network_infos[0].ip_addresses[0].ip_address: "10.0.0.300" is no address; leave it out, the network chooses one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			asks, err := network.Asks(c.infos, []string{"other", "bridge"}, offered)
			if err == nil || err.Error() != c.want || asks != nil {
				t.Errorf("%v, %v; want %s", asks, err, c.want)
			}
		})
	}
}

func TestAStatusReportsTheAskWithTheAddressesThatItGot(t *testing.T) {
	asked := info("bridge", "31000:80")
	asked.IpAddresses = []*mesosv1.NetworkInfo_IPAddress{{}}
	asked.Labels = &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("k")}}}
	before := proto.CloneOf(asked)
	got := network.Status(&network.Ask{Info: asked}, &network.Result{Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fd00::3/64")}})
	want := proto.CloneOf(asked)
	want.IpAddresses = network.HostStatus(addrs("10.1.2.3", "fd00::3")...).IpAddresses
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if p := got.IpAddresses[1].GetProtocol(); p != mesosv1.NetworkInfo_IPv6 || got.IpAddresses[1].GetIpAddress() != "fd00::3" {
		t.Errorf("%v", got.IpAddresses)
	}
	if !proto.Equal(asked, before) {
		t.Error("the ask was changed")
	}
}

func TestIdsAndLinksAreNamesOfFilesAndLinks(t *testing.T) {
	for _, id := range []string{"", ".", "../x", "a/b", "a b", "-a", strings.Repeat("a", 201), "a\n"} {
		if err := network.CheckID(id); err == nil {
			t.Errorf("id %q", id)
		}
	}
	if err := network.CheckID("5d1c9a0e-1.child_2"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "lo", "..", "a/b", "a b", "a:b", "0123456789abcdef", `a"`} {
		if err := network.CheckInterface(name); err == nil {
			t.Errorf("interface %q", name)
		}
	}
}
