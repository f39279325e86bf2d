// Package bridge is the network that Pando brings along: a bridge of the machine that containers are linked to, with addresses from a
// subnet that only this machine uses, and ports of the machine that lead to ports of containers. It needs no other program: links are
// made by netlink, rules by nftables in a table of our own.
//
// Other tables are left alone, so a firewall that drops what is forwarded drops this too: Docker's, for one, wants a rule in DOCKER-USER
// that accepts what comes from or goes to the bridge.
package bridge

import (
	"net/netip"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

// Config says what a bridge is. It does not change while containers are linked to it.
type Config struct {
	// Name is that of the bridge's link, such as pando0: 1 to 15 of a-z, 0-9, hyphen and underscore, a letter first.
	Name string
	// Subnet is what IPv4 addresses are taken from, /16 to /30. The first one is the bridge's own, the containers' gateway.
	Subnet netip.Prefix
	// Subnet6 is what IPv6 addresses are taken from beside, if it is valid; at least as large as Subnet, /112 or shorter.
	Subnet6 netip.Prefix
	// MTU is the largest packet in bytes, 576 to 65535; zero leaves the kernel's own, 1500.
	MTU int
	// Dir is where it is recorded who has which address. It belongs to this bridge alone, and is made when it is missing.
	Dir string
}

// Want is what a container wants of the bridge.
type Want struct {
	// Interface is the name of the link inside the container.
	Interface string
	// Default says that what goes to everywhere goes through the bridge.
	Default bool
	Ports   []network.Port
}

// maxContainers is the number of ports that a bridge of Linux has (BR_MAX_PORTS), but for port 0, which is none.
const maxContainers = 1023

// Check refuses what cannot be a bridge, and names the field.
func (c *Config) Check() error {
	s, s6 := c.Subnet, c.Subnet6
	switch {
	case !plain(c.Name):
		return fault.New(fault.Invalid, "name: %q cannot be that of a bridge; take 1 to 15 of a-z, 0-9, hyphen and underscore, a letter first", c.Name)
	case !s.IsValid() || !s.Addr().Is4() || s.Bits() < 16 || s.Bits() > 30:
		return fault.New(fault.Invalid, "subnet: %s is not usable; give one of IPv4 from /16 to /30, such as 172.31.254.0/24", s)
	case s != s.Masked():
		return fault.New(fault.Invalid, "subnet: %s is an address in a subnet; did you mean %s?", s, s.Masked())
	case s.Addr().IsLoopback() || s.Addr().IsMulticast() || s.Addr().IsUnspecified():
		return fault.New(fault.Invalid, "subnet: %s has a meaning of its own; give a private one, such as 172.31.254.0/24", s)
	case s6 != (netip.Prefix{}) && (!s6.IsValid() || !s6.Addr().Is6() || s6.Addr().Is4In6() || s6.Bits() > 112 || s6.Addr().IsMulticast() || s6.Addr().IsLinkLocalUnicast()):
		return fault.New(fault.Invalid, "subnet6: %s is not usable; give one of IPv6 of /112 or shorter, such as fd00:7061::/64, or none", s6)
	case s6.IsValid() && s6 != s6.Masked():
		return fault.New(fault.Invalid, "subnet6: %s is an address in a subnet; did you mean %s?", s6, s6.Masked())
	case c.MTU != 0 && (c.MTU < 576 || c.MTU > 65535 || c.MTU < 1280 && s6.IsValid()):
		return fault.New(fault.Invalid, "mtu: %d bytes are not possible; give 576 (1280 with subnet6) to 65535, or 0 for 1500", c.MTU)
	case c.Dir == "":
		return fault.New(fault.Invalid, "dir: is missing; give a directory for this bridge alone")
	}
	return nil
}

// plain says whether a name is one of a link, a chain and a file alike.
func plain(name string) bool {
	for i, c := range name {
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_') {
			return false
		}
	}
	return name != "" && len(name) <= 15
}

// Gateway is the bridge's own address.
func (c *Config) Gateway() netip.Addr { return c.Subnet.Addr().Next() }

// Gateway6 is the bridge's own IPv6 address; not valid where there is no Subnet6.
func (c *Config) Gateway6() netip.Addr {
	if !c.Subnet6.IsValid() {
		return netip.Addr{}
	}
	return c.Subnet6.Addr().Next()
}

func (w *Want) check(id string) error {
	if err := network.CheckID(id); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if err := network.CheckInterface(w.Interface); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	for i, p := range w.Ports {
		if p.Host == 0 || p.Container == 0 {
			return fault.New(fault.Invalid, "ports[%d]: %s has a port 0; give one of 1 to 65535", i, p)
		}
		for j := range i {
			if w.Ports[j].Host == p.Host && w.Ports[j].Protocol == p.Protocol {
				return fault.New(fault.Invalid, "ports[%d]: %d/%s is mapped by ports[%d] already; take another", i, p.Host, p.Protocol, j)
			}
		}
	}
	return nil
}
