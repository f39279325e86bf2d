package cni

import (
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/pando-os/pando/internal/network"
)

// convert reads what plugins say they made. Addresses of links that are not the container's are left out.
func convert(said types.Result, iface string) (network.Result, error) {
	r, err := types100.GetResult(said)
	if err != nil {
		return network.Result{}, err
	}
	got := network.Result{Interface: iface}
	for _, ip := range r.IPs {
		if i := ip.Interface; i != nil && *i >= 0 && *i < len(r.Interfaces) && r.Interfaces[*i].Sandbox == "" {
			continue
		}
		p, ok := prefix(&ip.Address)
		if !ok {
			continue
		}
		got.Addresses = append(got.Addresses, p)
		if g, ok := netip.AddrFromSlice(ip.Gateway); ok {
			got.Gateways = append(got.Gateways, g.Unmap())
		}
	}
	slices.SortStableFunc(got.Addresses, func(a, b netip.Prefix) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	slices.SortStableFunc(got.Gateways, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	for _, r := range r.Routes {
		if p, ok := prefix(&r.Dst); ok {
			g, _ := netip.AddrFromSlice(r.GW)
			got.Routes = append(got.Routes, network.Route{Destination: p, Gateway: g.Unmap()})
		}
	}
	got.DNS = network.DNS{Domain: r.DNS.Domain, Search: r.DNS.Search, Options: r.DNS.Options}
	for _, s := range r.DNS.Nameservers {
		if a, err := netip.ParseAddr(s); err == nil {
			got.DNS.Nameservers = append(got.DNS.Nameservers, a)
		}
	}
	return got, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if a = a.Unmap(); !ok || size != a.BitLen() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, bits), true
}
