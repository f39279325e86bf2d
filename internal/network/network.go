// Package network gives containers networks of their own: it keeps network namespaces under names, writes the files by which a
// container finds names and itself, and reads what a task asks of networks. The networks themselves are below: bridge is built in, cni
// runs other people's plugins.
package network

import (
	"fmt"
	"net/netip"
	"strings"
)

// Protocol is what a port belongs to.
type Protocol uint8

// The protocols of ports. The zero value is TCP, which is what an ask that names none means.
const (
	TCP Protocol = iota
	UDP
)

// String is the protocol as CNI and Mesos write it.
func (p Protocol) String() string {
	if p == UDP {
		return "udp"
	}
	return "tcp"
}

// ParseProtocol reads the name of a protocol in letters of either case; none is TCP.
func ParseProtocol(s string) (Protocol, error) {
	switch strings.ToLower(s) {
	case "", "tcp":
		return TCP, nil
	case "udp":
		return UDP, nil
	}
	return 0, fmt.Errorf("protocol: %q is not known; say tcp or udp", s)
}

// Port lets what comes to a port of the machine through to a port of a container. Neither is zero.
type Port struct {
	Host      uint16
	Container uint16
	Protocol  Protocol
}

// String is the port as people write it: 8080->80/tcp.
func (p Port) String() string { return fmt.Sprintf("%d->%d/%s", p.Host, p.Container, p.Protocol) }

// Route is a way out of a container. A gateway that is not valid means that the destination is on the link.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
}

// DNS is what a network says about names. Nothing in it means that the machine's own settings hold.
type DNS struct {
	Nameservers []netip.Addr
	Domain      string
	Search      []string
	Options     []string
}

// Result is what a container got from a network.
type Result struct {
	// Interface is the name of the link inside, such as eth0.
	Interface string
	// Addresses are the container's own, with the length of their subnet; IPv4 first.
	Addresses []netip.Prefix
	// Gateways are the routers of those subnets that the network named, at most one for each family.
	Gateways []netip.Addr
	Routes   []Route
	DNS      DNS
}
