package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

// Bridge is a bridge of the machine. Its methods may be called from any goroutine, but those for one container one after the other.
type Bridge struct {
	cfg   Config
	index int // of the bridge's link
	// machine is the namespace that the bridge is in, and routes a socket there, whatever thread a method runs on.
	machine int
	routes  *netlink.Handle
	lock    *os.File // of the directory
	remover remover

	mu   sync.Mutex
	book *book
}

// Open makes the bridge, or takes over the one that is there, in the network namespace of the calling thread: its link, the gateway's
// address, forwarding by the machine, and the rules. Containers that were linked to it stay so; call Sweep next. Another process that
// has the bridge's directory open is a Conflict.
func Open(cfg Config) (*Bridge, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	b := &Bridge{cfg: cfg, machine: -1}
	if err := b.open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bridge) open() (err error) {
	if b.lock, err = lockDir(b.cfg.Dir); err != nil {
		return err
	}
	if b.book, err = openBook(&b.cfg); err != nil {
		return err
	}
	if b.machine, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return err
	}
	if b.routes, err = netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER); err != nil {
		return err
	}
	if err := b.ensure(); err != nil {
		return err
	}
	if err := b.forward(); err != nil {
		return err
	}
	return b.install()
}

// Close lets the directory and the sockets go. The bridge and the containers' links stay.
func (b *Bridge) Close() {
	if b.routes != nil {
		b.routes.Close()
	}
	if b.machine >= 0 {
		unix.Close(b.machine)
	}
	if b.lock != nil {
		b.lock.Close()
	}
}

// lockDir keeps a second process away from a book.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.New(fault.Conflict, "dir: %s belongs to an agent that runs; stop it, or give this one another bridge", dir)
	}
	return f, nil
}

// rules is a transaction that is to be filled. Each has a socket of its own, so that a refused one leaves nothing behind.
func (b *Bridge) rules() (*nftables.Conn, error) {
	return nftables.New(nftables.WithNetNSFd(b.machine))
}

// ensure makes the bridge's link with its addresses, or checks that the one there is can be ours.
func (b *Bridge) ensure() error {
	link, err := b.routes.LinkByName(b.cfg.Name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		link, err = b.create()
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", b.cfg.Name, err)
	}
	if link.Type() != "bridge" {
		return fault.New(fault.Conflict, "name: the machine has a link %s that is no bridge but a %s; take another name", b.cfg.Name, link.Type())
	}
	b.index = link.Attrs().Index
	if err := b.own(link); err != nil {
		return err
	}
	has, err := b.routes.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, a := range has {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && ip != b.cfg.Gateway() {
			return fault.New(fault.Conflict, "subnet: bridge %s has address %s, not %s; give it back its subnet, or remove it with ip link del %[1]s",
				b.cfg.Name, a.IPNet, netip.PrefixFrom(b.cfg.Gateway(), b.cfg.Subnet.Bits()))
		}
	}
	for _, p := range b.addresses() {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD // nobody else can have it
		}
		if err := b.routes.AddrReplace(link, a); err != nil {
			return fmt.Errorf("give %s to bridge %s: %w", p, b.cfg.Name, err)
		}
	}
	return b.routes.LinkSetUp(link)
}

// ownerPrefix begins the alias of a bridge's link, which names the directory of whoever gives its addresses away.
const ownerPrefix = "pando:"

// own makes the bridge this directory's. It refuses one whose containers another directory knows: two would give them the same addresses.
func (b *Bridge) own(link netlink.Link) error {
	other, ours := strings.CutPrefix(link.Attrs().Alias, ownerPrefix)
	if ours && other == b.cfg.Dir {
		return nil
	}
	if entries, err := os.ReadDir(other); ours && err == nil {
		for _, e := range entries {
			if _, err := netip.ParseAddr(e.Name()); err == nil {
				return fault.New(fault.Conflict, "name: bridge %s has containers of another agent, whose records are in %s; give this agent another bridge and another subnet", b.cfg.Name, other)
			}
		}
	}
	return b.routes.LinkSetAlias(link, ownerPrefix+b.cfg.Dir)
}

// addresses are the bridge's own.
func (b *Bridge) addresses() []netip.Prefix {
	own := []netip.Prefix{netip.PrefixFrom(b.cfg.Gateway(), b.cfg.Subnet.Bits())}
	if g := b.cfg.Gateway6(); g.IsValid() {
		own = append(own, netip.PrefixFrom(g, b.cfg.Subnet6.Bits()))
	}
	return own
}

func (b *Bridge) create() (netlink.Link, error) {
	routes, err := b.reached()
	if err != nil {
		return nil, err
	}
	for _, s := range []netip.Prefix{b.cfg.Subnet, b.cfg.Subnet6} {
		if err := collides(s, routes); s.IsValid() && err != nil {
			return nil, err
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = b.cfg.Name, b.cfg.MTU
	attrs.HardwareAddr = hardware(b.cfg.Gateway()) // else it is that of whichever container has the lowest, and changes with them
	if err := b.routes.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return nil, err
	}
	return b.routes.LinkByName(b.cfg.Name)
}

// reached are the routes of the machine.
func (b *Bridge) reached() ([]route, error) {
	list, err := b.routes.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var routes []route
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		a, _ := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		name := fmt.Sprintf("link %d", r.LinkIndex)
		if l, err := b.routes.LinkByIndex(r.LinkIndex); err == nil {
			name = l.Attrs().Name
		}
		routes = append(routes, route{to: netip.PrefixFrom(a.Unmap(), bits), link: name, direct: r.Gw == nil && r.Via == nil && len(r.MultiPath) == 0})
	}
	return routes, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Add links a container to the bridge: gives it an address, makes the link in the namespace at a path, and leads its ports to it. What
// fails undoes what was made. A container that is linked already, and a port that leads to another, are Conflicts; a full subnet is Busy.
func (b *Bridge) Add(id, netns string, w Want) (network.Result, error) {
	if err := w.check(id); err != nil {
		return network.Result{}, err
	}
	b.mu.Lock()
	r, err := b.book.take(id, w.Ports)
	b.mu.Unlock()
	if err != nil {
		return network.Result{}, err
	}
	got := b.cfg.result(r, &w)
	err = b.connect(r, netns, &got)
	if err == nil {
		err = b.mapPorts(r)
	}
	if err != nil {
		return network.Result{}, errors.Join(fmt.Errorf("bridge %s: %w", b.cfg.Name, err), b.undo(r))
	}
	return got, nil
}

// Remove takes away all that Add made for a container, whether its namespace is still there or not. A container that is not linked
// is no error.
func (b *Bridge) Remove(id string) error {
	b.mu.Lock()
	r := b.book.containers[id]
	b.mu.Unlock()
	if r == nil {
		return nil
	}
	return b.undo(r)
}

// connect makes the link of a container and sets up both ends.
func (b *Bridge) connect(r *record, netns string, got *network.Result) error {
	fd, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", netns, err)
	}
	defer unix.Close(fd)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = r.Link, b.cfg.MTU
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: got.Interface, PeerNamespace: netlink.NsFd(fd), PeerHardwareAddr: hardware(r.Address), PeerMTU: uint32(b.cfg.MTU),
	}
	if err := b.routes.LinkAdd(veth); err != nil {
		return fmt.Errorf("make link %s: %w", got.Interface, err)
	}
	if err := b.routes.LinkSetMasterByIndex(veth, b.index); err != nil {
		return fmt.Errorf("link to the bridge: %w", err)
	}
	// Hairpin: a container that comes to its own port of the machine goes out where it came in.
	if err := errors.Join(b.routes.LinkSetHairpin(veth, true), b.routes.LinkSetUp(veth)); err != nil {
		return err
	}
	if err := inside(netns, got); err != nil {
		return err
	}
	return b.ready(r.Link)
}

// ready waits for the kernel to see that both ends of a link are up, which it does in passing, after milliseconds when it is busy. Until
// then the bridge drops what goes to the container, and the first packet lost costs a second, for that is how often it asks again who
// has an address. After a tenth of a second it is let be: the link comes up by itself.
func (b *Bridge) ready(name string) error {
	for range 100 {
		link, err := b.routes.LinkByName(name)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// inside sets up the container's end of a link.
func inside(netns string, got *network.Result) error {
	return network.Do(netns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		link, err := h.LinkByName(got.Interface)
		if err != nil {
			return err
		}
		for _, p := range got.Addresses {
			a := &netlink.Addr{IPNet: ipNet(p)}
			if p.Addr().Is6() {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := h.AddrAdd(link, a); err != nil {
				return fmt.Errorf("give %s to %s: %w", p, got.Interface, err)
			}
		}
		if err := h.LinkSetUp(link); err != nil {
			return err
		}
		for _, r := range got.Routes {
			err := h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.Destination), Gw: r.Gateway.AsSlice()})
			if err != nil {
				return fmt.Errorf("add the route to %s: %w", r.Destination, err)
			}
		}
		return nil
	})
}

// Sweep removes what belongs to none of the containers that are known, after a crash of whoever added them, and leads again to those
// that are known what another program took away. It returns the ids of those it removed. Containers that are being added meanwhile
// must be among the known.
func (b *Bridge) Sweep(containers []string) (removed []string, err error) {
	b.mu.Lock()
	var gone []*record
	links := map[string]bool{}
	for _, r := range b.book.addresses {
		if !slices.Contains(containers, r.Container) {
			gone = append(gone, r)
			continue
		}
		links[r.Link] = true
	}
	b.mu.Unlock()
	errs := make([]error, len(gone))
	var all sync.WaitGroup
	for i, r := range gone { // 1023 at most, and together, see remover
		all.Go(func() { errs[i] = b.undo(r) })
	}
	all.Wait()
	for i, r := range gone {
		if errs[i] == nil && r.Container != "" {
			removed = append(removed, r.Container)
		}
	}
	slices.Sort(removed)
	return removed, errors.Join(errors.Join(errs...), b.sweepLinks(links), b.install(), b.sweepPorts())
}

// sweepLinks removes links to containers that no record has.
func (b *Bridge) sweepLinks(keep map[string]bool) error {
	list, err := b.routes.LinkList()
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	errs := make([]error, len(list))
	for i, l := range list {
		a := l.Attrs()
		if a.MasterIndex == b.index && l.Type() == "veth" && strings.HasPrefix(a.Name, linkPrefix) && !keep[a.Name] {
			all.Go(func() { errs[i] = b.undo(&record{Link: a.Name}) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}
