// Package networked gives containers networks of their own: a namespace bound at a path, which the launcher joins, with links by the
// built-in bridge or by CNI plugins. It is what an agent does with internal/network.
package networked

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/network"
	"github.com/pando-os/pando/internal/network/bridge"
	"github.com/pando-os/pando/internal/network/cni"
)

// mostLinks are how many networks a task may ask for.
const mostLinks = 16

// Config says which networks there are.
type Config struct {
	// Dir is where namespaces are bound: on a tmpfs, as the runtime's directory is.
	Dir string
	// Bridge is the network of the name BridgeName; nil: there is none.
	Bridge     *bridge.Bridge
	BridgeName string
	// CNI are those of plugins; nil: none.
	CNI *cni.CNI
	Log *slog.Logger
}

// Keeper knows which container is in which networks. Its methods may be called from any goroutine.
type Keeper struct{ cfg Config }

// New makes a keeper; the directory is made when it is missing.
func New(cfg Config) (*Keeper, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the directory of network namespaces: %w", err)
	}
	return &Keeper{cfg}, nil
}

// Names are the networks that a task may ask for.
func (k *Keeper) Names() ([]string, error) {
	var names []string
	if k.cfg.Bridge != nil {
		names = append(names, k.cfg.BridgeName)
	}
	if k.cfg.CNI == nil {
		return names, nil
	}
	more, err := k.cfg.CNI.Networks()
	return append(names, more...), err
}

// Joined is a container's place in its networks.
type Joined struct {
	// Path is where its namespace is bound.
	Path string
	// Infos are what its statuses report.
	Infos []*mesosv1.NetworkInfo
	// Results are in the order of what was asked.
	Results []network.Result
}

// Join makes a namespace for a container and links it. What fails leaves nothing.
func (k *Keeper) Join(ctx context.Context, id string, asks []network.Ask) (*Joined, error) {
	j := &Joined{Path: k.path(id)}
	if err := network.Make(j.Path); err != nil {
		return nil, err
	}
	for i := range asks {
		a := &asks[i]
		got, err := k.add(ctx, id, j.Path, a)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("network %q: %w", a.Network, err), k.leave(context.WithoutCancel(ctx), id))
		}
		j.Results = append(j.Results, got)
		j.Infos = append(j.Infos, network.Status(a, &got))
	}
	return j, nil
}

func (k *Keeper) add(ctx context.Context, id, path string, a *network.Ask) (network.Result, error) {
	if k.cfg.Bridge != nil && a.Network == k.cfg.BridgeName {
		return k.cfg.Bridge.Add(id, path, bridge.Want{Interface: a.Interface, Default: a.Default, Ports: a.Ports})
	}
	if k.cfg.CNI == nil {
		known, _ := k.Names() // without plugins it has no error
		return network.Result{}, network.Unknown(a.Network, known)
	}
	return k.cfg.CNI.Add(ctx, id, path, a.Network, cni.Args{Interface: a.Interface, Ports: a.Ports, Info: a.Info})
}

// Leave takes a container out of its networks and removes its namespace. It waits for the kernel, some 30 ms where nobody else leaves at
// the same time: whoever has many calls it from as many goroutines.
func (k *Keeper) Leave(ctx context.Context, id string) {
	if err := k.leave(ctx, id); err != nil {
		k.cfg.Log.Warn("a container is still in its networks; it is tried again when the agent starts", "container", id, "error", err)
	}
}

// leave does so. Plugins come before the namespace goes: some find what they made by it.
func (k *Keeper) leave(ctx context.Context, id string) error {
	if _, err := os.Lstat(k.path(id)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var errs []error
	if k.cfg.CNI != nil {
		for i := range mostLinks { // those that it does not have are no error
			errs = append(errs, k.cfg.CNI.Del(ctx, id, fmt.Sprintf("eth%d", i)))
		}
	}
	if k.cfg.Bridge != nil {
		errs = append(errs, k.cfg.Bridge.Remove(id))
	}
	return errors.Join(append(errs, network.Remove(k.path(id)))...)
}

// Sweep takes those out that are not known any more.
func (k *Keeper) Sweep(ctx context.Context, known []string) error {
	var errs []error
	if k.cfg.CNI != nil {
		_, err := k.cfg.CNI.Sweep(ctx, known)
		errs = append(errs, err)
	}
	if k.cfg.Bridge != nil {
		_, err := k.cfg.Bridge.Sweep(known)
		errs = append(errs, err)
	}
	entries, err := os.ReadDir(k.cfg.Dir)
	errs = append(errs, err)
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			errs = append(errs, network.Remove(k.path(e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (k *Keeper) path(id string) string { return filepath.Join(k.cfg.Dir, id) }
