//go:build !linux

package bridge

import (
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/network"
)

// Bridge is nothing here.
type Bridge struct{}

// Open says that there are no bridges here.
func Open(Config) (*Bridge, error) {
	return nil, fault.New(fault.Invalid, "bridges: only Linux has them; leave them out of this agent's settings")
}

// Close has nothing to close.
func (*Bridge) Close() {}

// Add is never called.
func (*Bridge) Add(string, string, Want) (network.Result, error) { return network.Result{}, nil }

// Remove is never called.
func (*Bridge) Remove(string) error { return nil }

// Sweep is never called.
func (*Bridge) Sweep([]string) ([]string, error) { return nil, nil }
