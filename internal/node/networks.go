package node

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/pando-os/pando/internal/agent/networked"
	"github.com/pando-os/pando/internal/network/bridge"
	"github.com/pando-os/pando/internal/network/cni"
)

// networks makes the keeper of containers' networks; nil where there can be none.
func (n *Node) networks() (*networked.Keeper, error) {
	b, err := n.cfg.bridge()
	if err != nil {
		return nil, err
	}
	if !imagesWork() {
		return nil, nil //nolint:nilnil // there are none, and nothing is wrong
	}
	cfg := networked.Config{Dir: filepath.Join(n.cfg.RuntimeDir, "networks"), Bridge: b, Log: n.log.With("part", "networks")}
	if n.cfg.CNIConfig != "" {
		cfg.CNI = &cni.CNI{ConfDir: n.cfg.CNIConfig, PluginDirs: filepath.SplitList(n.cfg.CNIPlugins), CacheDir: filepath.Join(n.cfg.DataDir, "cni")}
	}
	k, err := networked.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("the networks of containers: %w", err)
	}
	n.stops = append(n.stops, k.Close)
	return k, nil
}

// bridge reads what was set of the built-in bridge. The words of what is wrong name the setting.
func (c *Config) bridge() (b bridge.Config, err error) {
	if (c.CNIConfig == "") != (c.CNIPlugins == "") {
		return b, errors.New("--cni-config-dir and --cni-plugins-dir: give both, or neither")
	}
	if c.Bridge == "" {
		return b, nil
	}
	b.Name, b.MTU, b.Dir = c.Bridge, c.BridgeMTU, "set later"
	if b.Subnet, err = netip.ParsePrefix(c.BridgeSubnet); err != nil {
		return b, fmt.Errorf("--bridge-subnet: %w; give one such as 172.31.252.0/22", err)
	}
	if c.BridgeSubnet6 != "" {
		if b.Subnet6, err = netip.ParsePrefix(c.BridgeSubnet6); err != nil {
			return b, fmt.Errorf("--bridge-subnet6: %w; give one such as fd00:7061::/64", err)
		}
	}
	if err := b.Check(); err != nil {
		return b, fmt.Errorf("--bridge…: %w", err)
	}
	return b, nil
}
