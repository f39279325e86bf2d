package node

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/pando-os/pando/internal/agent/gpu"
)

// gpus makes the keeper of the machine's gpus, and says how many there are; nil where they are only counted.
func (n *Node) gpus() (*gpu.Keeper, int, error) {
	if n.cfg.GPUDevices == "" {
		return nil, 0, nil
	}
	if !imagesWork() {
		return nil, 0, errors.New("--gpu-devices: devices are given to containers with images, which need Linux and an agent of root; run it as root, or leave this out")
	}
	k, err := gpu.New(n.cfg.GPUDevices, filepath.SplitList(n.cfg.CDISpecs))
	if err != nil {
		return nil, 0, fmt.Errorf("--gpu-devices, --cdi-spec-dirs: %w", err)
	}
	count, err := k.Count()
	if err != nil || count == 0 {
		n.log.Warn("the devices of --gpu-devices are not there, or not all descriptions in --cdi-spec-dirs can be read", "kind", n.cfg.GPUDevices, "devices", count, "error", err)
	}
	return k, count, nil
}
