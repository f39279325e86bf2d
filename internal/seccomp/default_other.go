//go:build !linux

package seccomp

import "github.com/pando-os/pando/internal/fault"

func elsewhere() error {
	return fault.New(fault.Invalid, "seccomp is a part of Linux; leave the profile out on this platform")
}

// Here fails: only Linux has seccomp.
func Here([]string) (Target, error) { return Target{}, elsewhere() }

// Docker fails: only Linux has seccomp.
func Docker() (*Profile, error) { return nil, elsewhere() }

// Default fails: only Linux has seccomp.
func Default([]string) (*Profile, error) { return nil, elsewhere() }
