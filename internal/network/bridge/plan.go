package bridge

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

// linkPrefix begins the names of the machine's ends of links to containers, by which a sweep knows them.
const linkPrefix = "pv"

// linkName is the machine's end of a container's link: 14 characters, two containers of a machine share one by a chance of 2^-48.
func linkName(bridge, id string) string {
	sum := sha256.Sum256([]byte(bridge + "\x00" + id))
	return linkPrefix + hex.EncodeToString(sum[:6])
}

// hardware is the hardware address of the owner of an address: who gets an address after another is found where the other was, and no
// neighbour has to forget.
func hardware(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 'p', b[0], b[1], b[2], b[3]} // 0x02: locally administered
}

// number is the place of an address in its subnet.
func number(subnet netip.Prefix, a netip.Addr) uint32 {
	base, b := subnet.Addr().As4(), a.As4()
	return binary.BigEndian.Uint32(b[:]) - binary.BigEndian.Uint32(base[:])
}

func numbered(subnet netip.Prefix, n uint32) netip.Addr {
	b := subnet.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
	return netip.AddrFrom4(b)
}

// numbered6 is the IPv6 address at the place that an IPv4 address has in its subnet; not valid where there is no subnet6.
func numbered6(subnet6 netip.Prefix, n uint32) netip.Addr {
	if !subnet6.IsValid() {
		return netip.Addr{}
	}
	b := subnet6.Addr().As16()
	binary.BigEndian.PutUint32(b[12:], binary.BigEndian.Uint32(b[12:])+n)
	return netip.AddrFrom16(b)
}

// next is the first free address after last, around the subnet: an address rests as long as it can before another gets it. The
// subnet's own address, the gateway and the broadcast address are nobody's.
func next(subnet netip.Prefix, last netip.Addr, taken func(netip.Addr) bool) (netip.Addr, bool) {
	const first = 2
	end := uint32(1)<<(32-subnet.Bits()) - 1 // the broadcast address
	at := uint32(first - 1)
	if last.Is4() && subnet.Contains(last) {
		at = number(subnet, last)
	}
	for range end - first {
		if at++; at >= end || at < first {
			at = first
		}
		if a := numbered(subnet, at); !taken(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// route is a way that the machine knows already.
type route struct {
	to     netip.Prefix
	link   string
	direct bool // not through a router
}

// collides refuses a subnet that would hide places the machine reaches already: on a link of its own, or by a route for just them.
// A wider route through a router stays, as the one of a company's network does, and only the subnet's part of it is hidden.
func collides(subnet netip.Prefix, routes []route) error {
	for _, r := range routes {
		if !r.to.IsValid() || r.to.Bits() == 0 || !r.to.Overlaps(subnet) {
			continue
		}
		if r.direct || r.to.Bits() >= subnet.Bits() {
			return fault.New(fault.Conflict, "subnet: %s overlaps with %s, which the machine reaches by %s; give the bridge another subnet", subnet, r.to, r.link)
		}
	}
	return nil
}

// result is what a container gets that has a record.
func (c *Config) result(r *record, w *Want) network.Result {
	got := network.Result{
		Interface: w.Interface, Addresses: []netip.Prefix{netip.PrefixFrom(r.Address, c.Subnet.Bits())}, Gateways: []netip.Addr{c.Gateway()},
	}
	if r.Address6.IsValid() {
		got.Addresses = append(got.Addresses, netip.PrefixFrom(r.Address6, c.Subnet6.Bits()))
		got.Gateways = append(got.Gateways, c.Gateway6())
	}
	if w.Default {
		for _, g := range got.Gateways {
			everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if g.Is6() {
				everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			got.Routes = append(got.Routes, network.Route{Destination: everywhere, Gateway: g})
		}
	}
	return got
}
