package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/network"
)

// mapPorts leads the machine's ports to a container.
func (b *Bridge) mapPorts(r *record) error {
	if len(r.Ports) == 0 {
		return nil
	}
	nft, err := b.rules()
	if err != nil {
		return err
	}
	for _, six := range b.cfg.families() {
		if es := elements(r, six); len(es) > 0 {
			if err := addElements(nft, portMap(b.cfg.Name, six), es); err != nil {
				return err
			}
		}
	}
	err = commit(nft, "map ports")
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("ports: one of %v is in the bridge's map already, by no deed of this agent; sweep the bridge: %w", values(r), err)
	}
	if errors.Is(err, unix.ENOENT) { // another program flushed all rules
		err = errors.Join(b.install(), b.sweepPorts())
	}
	if err != nil {
		return err
	}
	return b.forget(r)
}

func values(r *record) []network.Port {
	var ps []network.Port
	for _, p := range r.Ports {
		ps = append(ps, p.value())
	}
	return ps
}

// forget makes the kernel look anew where datagrams to a container's ports go. It remembers flows, and a client that never pauses would
// be led past a container that has come, or to a container that has the address after one that went. Connections of TCP need no such
// care: the new container answers that it knows nothing of them.
func (b *Bridge) forget(records ...*record) error {
	var filters []netlink.CustomConntrackFilter
	var ports []network.Port
	for _, r := range records {
		ports = append(ports, values(r)...)
	}
	for _, p := range ports {
		if p.Protocol != network.UDP {
			continue
		}
		f := &netlink.ConntrackFilter{}
		if err := errors.Join(f.AddProtocol(unix.IPPROTO_UDP), f.AddPort(netlink.ConntrackOrigDstPort, p.Host)); err != nil {
			return err
		}
		filters = append(filters, f)
	}
	if len(filters) == 0 {
		return nil
	}
	_, err := b.routes.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filters...)
	if b.cfg.Subnet6.IsValid() {
		_, err6 := b.routes.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET6, filters...)
		err = errors.Join(err, err6)
	}
	if err != nil {
		return fmt.Errorf("forget flows of datagrams: %w", err)
	}
	return nil
}

// sweepPorts makes the maps of ports say what the book says.
func (b *Bridge) sweepPorts() error {
	var err error
	for _, six := range b.cfg.families() {
		err = errors.Join(err, b.sweepMap(six))
	}
	return err
}

func (b *Bridge) sweepMap(six bool) error {
	nft, err := b.rules()
	if err != nil {
		return err
	}
	set := portMap(b.cfg.Name, six)
	has, err := nft.GetSetElements(set)
	if err != nil {
		return fmt.Errorf("read the mapped ports: %w", err)
	}
	b.mu.Lock()
	lost := map[string]nftables.SetElement{}
	for _, r := range b.book.addresses {
		for _, e := range elements(r, six) {
			lost[way(&e)] = e
		}
	}
	b.mu.Unlock()
	var stale []nftables.SetElement
	for _, e := range has {
		if _, wanted := lost[way(&e)]; wanted {
			delete(lost, way(&e))
		} else {
			stale = append(stale, e)
		}
	}
	if err := errors.Join(deleteElements(nft, set, stale), addElements(nft, set, slices.Collect(maps.Values(lost)))); err != nil {
		return err
	}
	return commit(nft, "sweep the mapped ports")
}

// forward lets the machine send packets on, as a router does. That is a setting of all its links, since answers come in by others than
// the bridge; what may go to the bridge is the rules' affair. With IPv6 a router no longer hears of its own routers unless told to.
func (b *Bridge) forward() error {
	settings := [][2]string{{"ipv4/ip_forward", "1"}, {"ipv4/conf/" + b.cfg.Name + "/route_localnet", "1"}}
	if b.cfg.Subnet6.IsValid() {
		entries, err := os.ReadDir("/proc/sys/net/ipv6/conf")
		if err != nil {
			return fmt.Errorf("subnet6: this machine has no IPv6; leave it out: %w", err)
		}
		for _, e := range entries {
			file := "ipv6/conf/" + e.Name() + "/accept_ra"
			if was, err := os.ReadFile("/proc/sys/net/" + file); err == nil && string(bytes.TrimSpace(was)) == "1" {
				settings = append(settings, [2]string{file, "2"})
			}
		}
		settings = append(settings, [2]string{"ipv6/conf/all/forwarding", "1"})
	}
	for _, s := range settings {
		if err := setting("/proc/sys/net/"+s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// setting writes a setting of the kernel, unless it is so already: it may be read-only and right.
func setting(file, value string) error {
	if was, err := os.ReadFile(file); err == nil && string(bytes.TrimSpace(was)) == value {
		return nil
	}
	if err := os.WriteFile(file, []byte(value), 0o644); err != nil {
		return fmt.Errorf("containers cannot reach out: set %s to %s: %w", file, value, err)
	}
	return nil
}
