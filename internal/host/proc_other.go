//go:build !linux

package host

import "errors"

var errLinux = errors.New("not supported on this operating system yet; run agents on Linux")

// StartTicks is not supported here.
func StartTicks(int) (uint64, error) { return 0, errLinux }

// Alive is not supported here.
func Alive(int, uint64) bool { return false }

// BootID is not supported here.
func BootID() (string, error) { return "", errLinux }

// Running is not supported here.
func Running(int) bool { return false }
