package cli

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/fault"
)

// network adds what the flags say of networks to a container, which may be nil, and gives the ports of the node that it needs.
func (f *runFlags) network(c *mesosv1.ContainerInfo) (*mesosv1.ContainerInfo, []uint32, error) {
	host := len(f.networks) == 0 || slices.Equal(f.networks, []string{"host"})
	switch {
	case len(f.ports) > 0 && (host || f.networks[0] == "none"):
		return nil, nil, fault.New(fault.Invalid, "--publish leads to a container with a network of its own: give it --network bridge, or leave it out")
	case slices.Contains(f.networks, "host") && !host:
		return nil, nil, fault.New(fault.Invalid, "--network host is the node's own, and goes with no other")
	}
	if c == nil && (!host || f.hostname != "") {
		c = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}
	}
	if f.hostname != "" {
		c.Hostname = &f.hostname
	}
	if host {
		return c, nil, nil
	}
	for _, name := range f.networks {
		if name == "bridge" {
			name = builtinBridge
		}
		c.NetworkInfos = append(c.NetworkInfos, &mesosv1.NetworkInfo{Name: &name})
	}
	var needs []uint32
	for _, text := range f.ports {
		m, err := parsePublish(text)
		if err != nil {
			return nil, nil, err
		}
		needs = append(needs, m.GetHostPort())
		c.NetworkInfos[0].PortMappings = append(c.NetworkInfos[0].PortMappings, m)
	}
	return c, needs, nil
}

// builtinBridge is what nodes call the network that every one has.
const builtinBridge = "mesos-bridge"

// parsePublish reads [HOST:]CONTAINER[/PROTOCOL]. A host port of 0 is any.
func parsePublish(text string) (*mesosv1.NetworkInfo_PortMapping, error) {
	ports, protocol, _ := strings.Cut(text, "/")
	host, own, two := strings.Cut(ports, ":")
	if !two {
		host, own = "0", ports
	}
	h, err1 := strconv.ParseUint(host, 10, 16)
	c, err2 := strconv.ParseUint(own, 10, 16)
	if err1 != nil || err2 != nil || c == 0 || two && h == 0 || protocol != "" && protocol != "tcp" && protocol != "udp" {
		return nil, fault.New(fault.Invalid, "--publish is %q: give it CONTAINER or HOST:CONTAINER, ports of 1 to 65535, with /udp behind for datagrams", text)
	}
	m := &mesosv1.NetworkInfo_PortMapping{HostPort: new(uint32(h)), ContainerPort: new(uint32(c))}
	if protocol != "" {
		m.Protocol = &protocol
	}
	return m, nil
}
