// Package networked is what an agent does for containers that have networks of their own: a namespace bound at a path, which the
// launcher joins, with links by the built-in bridge or by CNI plugins, and the files by which names are found in it.
package networked

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/internal/network/bridge"
	"github.com/pando-os/pando/internal/network/cni"
	"github.com/pando-os/pando/mesos/resource"
)

// Bridge is the name of the network that the built-in bridge is, which containers of type DOCKER have in mode BRIDGE. A network of CNI
// plugins that an operator gave the same name takes its place.
const Bridge = "mesos-bridge"

// Config says which networks there are.
type Config struct {
	// Dir is on a tmpfs, as the runtime's directory is: namespaces do not outlive the machine either.
	Dir string
	// Bridge is the built-in one; without a name there is none. It is made when the first container wants it, so that a machine without
	// such containers is left as it is. Its directory is set here.
	Bridge bridge.Config
	// CNI are the networks of plugins; nil: none.
	CNI *cni.CNI
	Log *slog.Logger
}

// Keeper knows which container is in which networks. A nil Keeper has none but the machine's. Its methods may be called from any
// goroutine, but those for one container one after the other.
type Keeper struct {
	cfg   Config
	joins chan struct{} // a place for each plugin that may run

	mu     sync.Mutex
	bridge *bridge.Bridge  // nil: nobody wanted it yet
	stuck  map[string]bool // containers that could not be taken out of their networks
}

// maxJoins bounds how many containers are joined to networks of plugins at a time: each starts several programs.
const maxJoins = 8

// What is in Dir: the records of the bridge, and a directory for each container.
const (
	bridgeDir     = "bridge"
	containersDir = "containers"
)

// New makes a keeper.
func New(cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg, joins: make(chan struct{}, maxJoins), stuck: map[string]bool{}}
	k.cfg.Bridge.Dir = filepath.Join(cfg.Dir, bridgeDir)
	if k.cfg.Bridge.Name != "" {
		if err := k.cfg.Bridge.Check(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, containersDir), 0o700); err != nil {
		return nil, fmt.Errorf("the directory of network namespaces: %w", err)
	}
	return k, nil
}

// Close lets go of what is open. Containers stay in their networks.
func (k *Keeper) Close() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bridge != nil {
		k.bridge.Close()
		k.bridge = nil
	}
}

// names are the networks that a container may ask for.
func (k *Keeper) names() ([]string, error) {
	var names []string
	if k.cfg.Bridge.Name != "" {
		names = append(names, Bridge)
	}
	if k.cfg.CNI == nil {
		return names, nil
	}
	more, err := k.cfg.CNI.Networks()
	names = append(names, more...)
	slices.Sort(names)
	return slices.Compact(names), err
}

// open makes the bridge, or takes over the one that an earlier run made.
func (k *Keeper) open() (*bridge.Bridge, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bridge == nil {
		b, err := bridge.Open(k.cfg.Bridge)
		if err != nil {
			return nil, err
		}
		k.bridge = b
	}
	return k.bridge, nil
}

// made is the bridge if this run or an earlier one made it, else nil.
func (k *Keeper) made() (*bridge.Bridge, error) {
	if has, _ := os.ReadDir(k.cfg.Bridge.Dir); k.cfg.Bridge.Name != "" && len(has) > 0 {
		return k.open()
	}
	return nil, nil //nolint:nilnil // there is none
}

// errNone is the answer where there are no networks.
var errNone = errors.New("network_infos: this agent has no networks but the machine's: they need Linux, and an agent of root; leave them out, and take ports from the offer")

// Join puts a container into the networks that it asks for; nil: into the machine's, as it asks for none. The ports are those among its
// resources. What fails leaves nothing.
func (k *Keeper) Join(ctx context.Context, id string, c *mesosv1.ContainerInfo, ports []resource.Span) (*Place, error) {
	asks, alone, err := k.read(c.GetNetworkInfos(), ports)
	if err != nil {
		return nil, fmt.Errorf("container.%w", err)
	}
	if len(asks) == 0 && !alone {
		return nil, nil //nolint:nilnil // it is in the machine's network
	}
	p := k.place(id)
	p.Hostname = cmp.Or(c.GetHostname(), hostname(id))
	if err = k.join(ctx, id, p, asks); err == nil {
		if alone {
			p.Infos = c.GetNetworkInfos()
		}
		err = p.writeInfos()
	}
	if err != nil {
		return nil, errors.Join(err, k.Leave(context.WithoutCancel(ctx), id))
	}
	return p, nil
}

// read says what is asked of networks; alone: to have none.
func (k *Keeper) read(infos []*mesosv1.NetworkInfo, ports []resource.Span) (asks []network.Ask, alone bool, err error) {
	if alone, err = network.Alone(infos); err != nil {
		return nil, false, err
	}
	named := slices.ContainsFunc(infos, func(n *mesosv1.NetworkInfo) bool { return n.GetName() != "" })
	if k == nil && named {
		return nil, false, errNone
	}
	if alone {
		return nil, true, nil
	}
	var known []string
	if named {
		if known, err = k.names(); err != nil {
			return nil, false, fmt.Errorf("network_infos: the networks of this agent: %w", err)
		}
	}
	asks, err = network.Asks(infos, known, ports)
	return asks, false, err
}

// join makes the namespace of a container, its links, and its files.
func (k *Keeper) join(ctx context.Context, id string, p *Place, asks []network.Ask) error {
	if err := errors.Join(network.CheckID(id), network.CheckHostname(p.Hostname)); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Dir(p.NetNS), 0o700); err != nil {
		return fmt.Errorf("the directory of the container's namespace: %w", err)
	}
	if err := network.Make(p.NetNS); err != nil {
		return err
	}
	var dns network.DNS
	var addresses []netip.Addr
	for i := range asks {
		a := &asks[i]
		got, err := k.add(ctx, id, p.NetNS, a)
		if err != nil {
			return fmt.Errorf("network %q: %w", a.Network, err)
		}
		if a.Default {
			dns = got.DNS
		}
		for _, prefix := range got.Addresses {
			addresses = append(addresses, prefix.Addr())
		}
		p.Infos = append(p.Infos, network.Status(a, &got))
	}
	return p.writeFiles(dns, addresses)
}

// add links a container to one network.
func (k *Keeper) add(ctx context.Context, id, ns string, a *network.Ask) (network.Result, error) {
	var plugins []string
	if k.cfg.CNI != nil {
		var err error
		if plugins, err = k.cfg.CNI.Networks(); err != nil {
			return network.Result{}, err
		}
	}
	if !slices.Contains(plugins, a.Network) { // then it is the bridge, since it is known
		b, err := k.open()
		if err != nil {
			return network.Result{}, err
		}
		return b.Add(id, ns, bridge.Want{Interface: a.Interface, Default: a.Default, Ports: a.Ports})
	}
	select {
	case k.joins <- struct{}{}:
		defer func() { <-k.joins }()
	case <-ctx.Done():
		return network.Result{}, ctx.Err()
	}
	return k.cfg.CNI.Add(ctx, id, ns, a.Network, cni.Args{Interface: a.Interface, Ports: a.Ports, Info: a.Info})
}

// place says where a container's things are, whether they are there or not.
func (k *Keeper) place(id string) *Place { return &Place{NetNS: filepath.Join(k.dir(id), nsFile)} }

func (k *Keeper) dir(id string) string { return filepath.Join(k.cfg.Dir, containersDir, id) }

// Of finds the place of a container, or of the one that it is below; nil: it is in the machine's network.
func (k *Keeper) Of(id string) *Place {
	if k == nil {
		return nil
	}
	top, _, _ := strings.Cut(id, ".")
	p := k.place(top)
	if !p.read() {
		return nil
	}
	return p
}

// Leave takes a container out of its networks and removes its namespace. One that has none is no error. It waits for the kernel, some
// 30 ms where nobody else leaves at the same time: whoever has many calls it from as many goroutines. What fails is tried again by Retry.
func (k *Keeper) Leave(ctx context.Context, id string) error {
	if k == nil {
		return nil
	}
	if _, err := os.Lstat(k.dir(id)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	err := k.leave(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if delete(k.stuck, id); err != nil {
		k.stuck[id] = true
		return fmt.Errorf("container %s is still in its networks: %w", id, err)
	}
	return nil
}

// leave does so. Plugins come before the namespace goes: some find what they made by it.
func (k *Keeper) leave(ctx context.Context, id string) error {
	var errs []error
	if k.cfg.CNI != nil {
		for i := range network.MaxNetworks { // those that it does not have are no error
			errs = append(errs, k.cfg.CNI.Del(ctx, id, network.InterfaceName(i)))
		}
	}
	if b, err := k.made(); err != nil {
		errs = append(errs, err)
	} else if b != nil {
		errs = append(errs, b.Remove(id))
	}
	if err := errors.Join(append(errs, network.Remove(k.place(id).NetNS))...); err != nil {
		return err
	}
	return os.RemoveAll(k.dir(id))
}

// Retry takes those out of their networks again that could not be.
func (k *Keeper) Retry(ctx context.Context) {
	if k == nil {
		return
	}
	k.mu.Lock()
	stuck := slices.Sorted(maps.Keys(k.stuck))
	k.mu.Unlock()
	for _, id := range stuck {
		if err := k.Leave(ctx, id); err != nil {
			k.cfg.Log.Warn("a container that has ended is still in its networks; it is tried again", "container", id, "error", err)
		}
	}
}

// Found takes those out of their networks that are not there any more, once after a start, when the containers of earlier runs are known.
func (k *Keeper) Found(ctx context.Context, ids []string) {
	if k == nil {
		return
	}
	if err := k.sweep(ctx, ids); err != nil {
		k.cfg.Log.Warn("not all that ended while the agent was away could be taken out of its networks; it is tried again when the agent starts", "error", err)
	}
}

func (k *Keeper) sweep(ctx context.Context, ids []string) error {
	var errs []error
	if k.cfg.CNI != nil {
		_, err := k.cfg.CNI.Sweep(ctx, ids)
		errs = append(errs, err)
	}
	b, err := k.made()
	if b != nil {
		_, err = b.Sweep(ids)
	}
	errs = append(errs, err)
	entries, err := os.ReadDir(filepath.Join(k.cfg.Dir, containersDir))
	errs = append(errs, err)
	for _, e := range entries {
		if !slices.Contains(ids, e.Name()) {
			errs = append(errs, k.Leave(ctx, e.Name()))
		}
	}
	return errors.Join(errs...)
}

// hostname makes a name for a container that asks for none: its id, as far as a machine can be called so.
func hostname(id string) string {
	name := strings.Map(func(c rune) rune {
		if c == '.' || c == '_' {
			return '-'
		}
		return c
	}, id[:min(len(id), 63)])
	return strings.Trim(name, "-")
}
