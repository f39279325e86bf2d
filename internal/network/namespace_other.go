//go:build !linux

package network

import "errors"

// errLinux is the answer where there are no network namespaces.
var errLinux = errors.New("network namespaces: only Linux has them; leave networks out of tasks on this agent")

// Make says that there are no network namespaces here.
func Make(string) error { return errLinux }

// Remove has nothing to remove.
func Remove(string) error { return nil }

// Do says that there are no network namespaces here.
func Do(string, func() error) error { return errLinux }
