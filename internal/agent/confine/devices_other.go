//go:build !linux

package confine

import (
	"errors"

	"github.com/pando-os/pando/internal/agent/container"
)

// Nodes are Linux' alone.
func (r *Rules) Nodes() ([]container.Mount, error) {
	if len(r.Devices) > 0 {
		return nil, errors.New("--allowed-devices: containers have devices on Linux only; leave it out")
	}
	return nil, nil
}
