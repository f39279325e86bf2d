package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	mesosv1 "github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// MaxNetworks is how many networks a container may ask for.
const MaxNetworks = 16

// InterfaceName is what the link of a container's network is called inside, counted from 0.
func InterfaceName(i int) string { return fmt.Sprintf("eth%d", i) }

// Limits of what one container may ask for.
const (
	maxPorts  = 1024 // port mappings of all its networks together
	maxLabels = 256  // labels of one network
)

// Ask is one network that a container asks for.
type Ask struct {
	// Network is the name of the network.
	Network string
	// Interface is what the link is called inside: eth0 for the first network, eth1 for the next.
	Interface string
	// Default says that the container's traffic to everywhere leaves by this network, which is the first.
	Default bool
	Ports   []Port
	// Info is what the framework wrote; plugins may read its labels. It is not changed.
	Info *mesosv1.NetworkInfo
}

// Asks reads what the NetworkInfos of a container ask for. Known are the names of the networks that the agent has; offered are the
// ports among the container's resources, in which the host ports of mappings must lie. No Asks means the machine's own network, which
// a container has that gives no NetworkInfo or one without a name. Errors name the field below container.
func Asks(infos []*mesosv1.NetworkInfo, known []string, offered []resource.Span) ([]Ask, error) {
	if len(infos) > MaxNetworks {
		return nil, fmt.Errorf("network_infos: has %d entries; %d is the most", len(infos), MaxNetworks)
	}
	if host := slices.IndexFunc(infos, func(n *mesosv1.NetworkInfo) bool { return n.GetName() == "" }); host >= 0 {
		return nil, checkHost(infos, host)
	}
	var asks []Ask
	where := map[hostPort]string{}
	for i, n := range infos {
		at := fmt.Sprintf("network_infos[%d].", i)
		if err := checkInfo(n, known); err != nil {
			return nil, fmt.Errorf("%s%w", at, err)
		}
		for j := range i {
			if infos[j].GetName() == n.GetName() {
				return nil, fmt.Errorf("%sname: %q is asked for by network_infos[%d] already; a container joins a network once", at, n.GetName(), j)
			}
		}
		ports, err := mappings(n.GetPortMappings(), at, offered, where)
		if err != nil {
			return nil, err
		}
		asks = append(asks, Ask{Network: n.GetName(), Interface: InterfaceName(i), Default: i == 0, Ports: ports, Info: n})
	}
	return asks, nil
}

// None is the name of the network that has nothing but loopback. A container that asks for it asks for no other.
const None = "none"

// Alone says whether a container asks for None, and refuses what cannot be beside it.
func Alone(infos []*mesosv1.NetworkInfo) (bool, error) {
	i := slices.IndexFunc(infos, func(n *mesosv1.NetworkInfo) bool { return n.GetName() == None })
	switch {
	case i < 0:
		return false, nil
	case len(infos) > 1:
		return false, fmt.Errorf("network_infos[%d].name: %s means no network at all; leave the others out", i, None)
	case len(infos[i].GetPortMappings()) > 0:
		return false, fmt.Errorf("network_infos[%d].port_mappings: nothing leads to a container without a network; name a network", i)
	}
	return true, nil
}

// checkHost refuses what the machine's own network cannot give: company and mappings. The index is that of the entry without a name.
func checkHost(infos []*mesosv1.NetworkInfo, index int) error {
	if len(infos) > 1 {
		return fmt.Errorf("network_infos[%d].name: is missing, which means the machine's own network; name a network, or give this entry alone", index)
	}
	if len(infos[index].GetPortMappings()) > 0 {
		return fmt.Errorf("network_infos[%d].port_mappings: the machine's own network has none; name a network", index)
	}
	return nil
}

func checkInfo(n *mesosv1.NetworkInfo, known []string) error {
	if !slices.Contains(known, n.GetName()) {
		return fmt.Errorf("name: %w", Unknown(n.GetName(), known))
	}
	if l := n.GetLabels().GetLabels(); len(l) > maxLabels {
		return fmt.Errorf("labels: has %d; %d is the most", len(l), maxLabels)
	}
	for i, a := range n.GetIpAddresses() { // which one a container gets is the network's affair, as it was with the original
		if a.GetIpAddress() == "" {
			continue
		}
		if _, err := netip.ParseAddr(a.GetIpAddress()); err != nil {
			return fmt.Errorf("ip_addresses[%d].ip_address: %q is no address; leave it out, the network chooses one", i, a.GetIpAddress())
		}
	}
	return nil
}

// Unknown is the error for a network that an agent does not have; it lists those that it has, twenty at most.
func Unknown(name string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("there is no network %q, nor any other on this agent", name)
	}
	known = slices.Sorted(slices.Values(known))
	more := ""
	if len(known) > 20 {
		more = fmt.Sprintf(" and %d more", len(known)-20)
		known = known[:20]
	}
	return fmt.Errorf("there is no network %q on this agent; it has %s%s", name, strings.Join(known, ", "), more)
}

// hostPort is what only one mapping of a machine can have.
type hostPort struct {
	port     uint16
	protocol Protocol
}

// mappings reads the port mappings of one network; where remembers those of the networks before.
func mappings(ms []*mesosv1.NetworkInfo_PortMapping, at string, offered []resource.Span, where map[hostPort]string) ([]Port, error) {
	if len(ms)+len(where) > maxPorts {
		return nil, fmt.Errorf("%sport_mappings: a container has %d at most", at, maxPorts)
	}
	var ports []Port
	for i, m := range ms {
		field := at + "port_mappings[" + strconv.Itoa(i) + "]"
		p, err := mapping(m)
		if err != nil {
			return nil, fmt.Errorf("%s.%w", field, err)
		}
		if !slices.ContainsFunc(offered, func(s resource.Span) bool { return s.Begin <= uint64(p.Host) && uint64(p.Host) <= s.End }) {
			return nil, fmt.Errorf("%s.host_port: %d is not among the ports of the task's resources; take one that is", field, p.Host)
		}
		key := hostPort{p.Host, p.Protocol}
		if other, ok := where[key]; ok {
			return nil, fmt.Errorf("%s.host_port: %d/%s is mapped by %s already; take another port", field, p.Host, p.Protocol, other)
		}
		where[key] = field
		ports = append(ports, p)
	}
	return ports, nil
}

func mapping(m *mesosv1.NetworkInfo_PortMapping) (Port, error) {
	protocol, err := ParseProtocol(m.GetProtocol())
	switch {
	case err != nil:
		return Port{}, err
	case m.GetHostPort() == 0 || m.GetHostPort() > 65535:
		return Port{}, fmt.Errorf("host_port: %d is no port; give one of 1 to 65535", m.GetHostPort())
	case m.GetContainerPort() == 0 || m.GetContainerPort() > 65535:
		return Port{}, fmt.Errorf("container_port: %d is no port; give one of 1 to 65535", m.GetContainerPort())
	}
	return Port{Host: uint16(m.GetHostPort()), Container: uint16(m.GetContainerPort()), Protocol: protocol}, nil
}

// Status is the NetworkInfo that a task's status reports: what was asked, with the addresses that the network gave.
func Status(a *Ask, got *Result) *mesosv1.NetworkInfo {
	n := &mesosv1.NetworkInfo{}
	if a.Info != nil {
		n = proto.CloneOf(a.Info)
	}
	n.IpAddresses = nil
	for _, p := range got.Addresses {
		n.IpAddresses = append(n.IpAddresses, address(p.Addr()))
	}
	return n
}

// HostStatus is the NetworkInfo of a task on the machine's own network, whose addresses are the agent's.
func HostStatus(addresses ...netip.Addr) *mesosv1.NetworkInfo {
	n := &mesosv1.NetworkInfo{}
	for _, a := range addresses {
		n.IpAddresses = append(n.IpAddresses, address(a))
	}
	return n
}

func address(a netip.Addr) *mesosv1.NetworkInfo_IPAddress {
	protocol := mesosv1.NetworkInfo_IPv4
	if a.Is6() {
		protocol = mesosv1.NetworkInfo_IPv6
	}
	return &mesosv1.NetworkInfo_IPAddress{Protocol: &protocol, IpAddress: new(a.String())}
}

// maxID bounds the id of a container, which becomes the name of a file.
const maxID = 200

// CheckID refuses an id of a container that cannot be the name of a file, or that plugins refuse: it begins with a letter or a digit,
// and goes on with those, dots, hyphens and underscores, 200 bytes in all.
func CheckID(id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("container_id: has %d bytes; give 1 to %d", len(id), maxID)
	}
	for i, c := range id {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '-' && c != '_') {
			return fmt.Errorf("container_id: %q holds %q where it cannot stand; take letters, digits, dots, hyphens and underscores", id, c)
		}
	}
	return nil
}

// CheckInterface refuses what Linux takes for no name of a link.
func CheckInterface(name string) error {
	if name == "" || len(name) > 15 || name == "." || name == ".." || name == "lo" {
		return fmt.Errorf("interface: %q cannot be the name of a link; give 1 to 15 characters, such as eth0", name)
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' || c == '/' || c == ':' || c == '"' || c == '\\' }) {
		return errors.New("interface: the name of a link holds neither spaces nor slashes, colons or quotes")
	}
	return nil
}
