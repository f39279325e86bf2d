// Package cni gives containers networks that other people's plugins make, by the rules of the Container Network Interface: operators
// describe networks in files, and programs on the machine join containers to them.
package cni

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/version"

	mesosv1 "github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

// CNI joins containers to networks. Plugins run in the network namespace of the calling thread. Methods may be called from any
// goroutine, but those for one container one after the other.
type CNI struct {
	// ConfDir holds descriptions of networks, in files that end with .conflist, .conf or .json. They are read for each call, so a
	// network is there once its file is. Of two with the same name the one whose file comes first holds. A directory that is not there
	// has none.
	ConfDir string
	// PluginDirs are searched for the programs, in order.
	PluginDirs []string
	// CacheDir is where it is recorded which container is joined to what, for plugins and for Sweep. On a disk: some plugins keep what
	// they gave over a restart of the machine, and want to be told.
	CacheDir string
	// Timeout bounds each call, all its plugins together; zero is 30 seconds. What is taken back after a failed Add has as long again.
	Timeout time.Duration
}

const defaultTimeout = 30 * time.Second

// Args says how a container is joined to a network.
type Args struct {
	// Interface is the name of the link inside the container.
	Interface string
	// Ports are given to the plugins that say they can map ports; where none does they are refused.
	Ports []network.Port
	// Info is what the framework wrote, with its labels. Plugins find it where the original put it, in args.org.apache.mesos.
	Info *mesosv1.NetworkInfo
}

// Networks are the names of the networks that there are, sorted. Files that cannot be read are left out; asking for one of theirs says
// what is wrong with them.
func (c *CNI) Networks() ([]string, error) {
	found, err := readDir(c.ConfDir)
	if err != nil {
		return nil, err
	}
	return found.names(), nil
}

// Add joins the container whose namespace is at netns to a network. What fails is taken back: plugins are told DEL, and the error has
// the plugin's own words. A network that there is not is NotFound, and the error lists those that there are.
func (c *CNI) Add(ctx context.Context, id, netns, name string, args Args) (network.Result, error) {
	list, err := c.prepare(id, name, &args)
	if err != nil {
		return network.Result{}, err
	}
	r := &record{Version: recordVersion, Container: id, Network: name, Interface: args.Interface, Namespace: netns, Config: list.Bytes}
	for _, p := range args.Ports {
		r.Ports = append(r.Ports, port{p.Host, p.Container, p.Protocol.String()})
	}
	if err := c.write(r); err != nil {
		return network.Result{}, err
	}
	ctx, stop := context.WithTimeout(ctx, c.timeout())
	defer stop()
	got, err := c.lib().AddNetworkList(ctx, list, r.runtime())
	var result network.Result
	if err == nil {
		result, err = convert(got, args.Interface)
	}
	if err == nil {
		return result, nil
	}
	if ctx.Err() != nil {
		err = fault.New(fault.Unavailable, "network %q: no answer within %s: %w", name, c.timeout(), err)
	} else {
		err = fmt.Errorf("network %q: %w", name, err)
	}
	return network.Result{}, errors.Join(err, c.del(context.WithoutCancel(ctx), r))
}

// prepare finds a network and writes a container's wishes into its description.
func (c *CNI) prepare(id, name string, args *Args) (*libcni.NetworkConfigList, error) {
	if err := errors.Join(network.CheckID(id), network.CheckInterface(args.Interface)); err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	if most := 255 - 2 - len(id) - len(args.Interface); len(name) > most {
		return nil, fault.New(fault.Invalid, "name: the network's has %d bytes; %d is the most beside this container's id", len(name), most)
	}
	if _, err := os.Lstat(c.path(id, args.Interface)); err == nil {
		return nil, fault.New(fault.Conflict, "container %s has a network at %s already; remove it first", id, args.Interface)
	}
	found, err := readDir(c.ConfDir)
	if err != nil {
		return nil, err
	}
	text, ok := found.networks[name]
	if !ok {
		return nil, fault.Wrap(fault.NotFound, found.unknown(name))
	}
	if text, err = withInfo(text, args.Info); err != nil {
		return nil, err
	}
	list, err := parse(text)
	if err != nil {
		return nil, err
	}
	if len(args.Ports) > 0 && !slices.ContainsFunc(list.Plugins, func(p *libcni.PluginConfig) bool { return p.Network.Capabilities[capability] }) {
		return nil, fault.New(fault.Invalid, "port_mappings: network %q has no plugin with the capability %s; add portmap to its list, or leave the mappings out", name, capability)
	}
	return list, c.installed(list)
}

// installed refuses a network of which a program is missing, before any other has made something of it that only all together undo.
func (c *CNI) installed(list *libcni.NetworkConfigList) error {
	for _, p := range list.Plugins {
		for _, name := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if name == "" {
				continue
			}
			if _, err := (&runner{}).FindInPath(name, c.PluginDirs); err != nil {
				return fmt.Errorf("network %q: %w", list.Name, err)
			}
		}
	}
	return nil
}

// Del takes a container from the network that its link belongs to, as it was described when it was joined. One that is not joined is no
// error. What fails can be tried again; plugins must bear that they are told twice, and that the namespace is gone. Yet some clean up
// better while it is there, so it goes last.
func (c *CNI) Del(ctx context.Context, id, iface string) error {
	r, err := c.read(id, iface)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.del(ctx, r)
}

func (c *CNI) del(ctx context.Context, r *record) error {
	ctx, stop := context.WithTimeout(ctx, c.timeout())
	defer stop()
	list, err := parse(r.Config)
	if err == nil {
		err = c.lib().DelNetworkList(ctx, list, r.runtime())
	}
	if err != nil {
		if list != nil && len(list.Plugins) > 1 {
			c.delEach(ctx, list, r)
		}
		return fmt.Errorf("remove container %s from network %q: %w", r.Container, r.Network, err)
	}
	return c.drop(r)
}

// delEach tells every plugin of a list DEL, whatever the others say, where telling them in order ended with one that failed. The failure
// has been seen; this only leaves as little as it can. What the plugins are told of the past is kept for the next attempt.
func (c *CNI) delEach(ctx context.Context, list *libcni.NetworkConfigList, r *record) {
	blind := libcni.NewCNIConfigWithCacheDir(c.PluginDirs, filepath.Join(c.CacheDir, "none"), &runner{})
	for _, p := range slices.Backward(list.Plugins) {
		one := *list
		one.Plugins = []*libcni.PluginConfig{p}
		_ = blind.DelNetworkList(ctx, &one, r.runtime())
	}
}

// Check asks the plugins whether a container's network is still as they made it. Descriptions before CNI 0.4.0 know no such question,
// and are taken to be right.
func (c *CNI) Check(ctx context.Context, id, iface string) error {
	r, err := c.read(id, iface)
	if errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.NotFound, "container %s has no network at %s", id, iface)
	}
	if err != nil {
		return err
	}
	list, err := parse(r.Config)
	if err != nil {
		return err
	}
	if can, err := version.GreaterThanOrEqualTo(list.CNIVersion, "0.4.0"); err != nil || !can {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, c.timeout())
	defer stop()
	if err := c.lib().CheckNetworkList(ctx, list, r.runtime()); err != nil {
		return fmt.Errorf("network %q of container %s: %w", r.Network, id, err)
	}
	return nil
}

// Sweep takes containers from their networks that are not among the known, after a crash of whoever joined them, were it in the middle
// of it. It returns the ids of those that it took, once for each network.
func (c *CNI) Sweep(ctx context.Context, containers []string) (removed []string, err error) {
	all, err := c.records()
	for _, r := range all {
		if slices.Contains(containers, r.Container) {
			continue
		}
		if one := c.del(ctx, r); one != nil {
			err = errors.Join(err, one)
			continue
		}
		removed = append(removed, r.Container)
	}
	return removed, err
}

func (c *CNI) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

func (c *CNI) lib() *libcni.CNIConfig {
	return libcni.NewCNIConfigWithCacheDir(c.PluginDirs, c.CacheDir, &runner{})
}
