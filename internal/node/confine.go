package node

import (
	"errors"
	"fmt"
	"os"

	"github.com/pando-os/pando/internal/agent/confine"
)

// confinement reads how containers are to be confined.
func (c *Config) confinement() (*confine.Rules, error) {
	r := &confine.Rules{Profiles: confine.Profiles{Dir: c.SeccompDir, Default: c.SeccompProfile}}
	var err error
	if r.Bounds.Effective, err = confine.ParseSet(c.EffectiveCapabilities); err != nil {
		return nil, fmt.Errorf("--effective-capabilities: %w", err)
	}
	if r.Bounds.Bounding, err = confine.ParseSet(c.BoundingCapabilities); err != nil {
		return nil, fmt.Errorf("--bounding-capabilities: %w", err)
	}
	if r.Devices, err = confine.ParseDevices(c.AllowedDevices); err != nil {
		return nil, fmt.Errorf("--allowed-devices: %w", err)
	}
	if r.Bounds != (confine.Bounds{}) && os.Geteuid() != 0 {
		return nil, errors.New("--effective-capabilities, --bounding-capabilities: only an agent of root can keep them; run it as root, or leave them out")
	}
	return r, r.Check()
}
