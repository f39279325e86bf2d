//go:build !linux

package network

// Make says that there are no network namespaces here.
func Make(string) error { return errLinux }

// Remove has nothing to remove.
func Remove(string) error { return nil }

// Do says that there are no network namespaces here.
func Do(string, func() error) error { return errLinux }
