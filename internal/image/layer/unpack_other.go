//go:build !linux

package layer

import "github.com/pando-os/pando/internal/image/failure"

func unpack(string, *stream, Limits) (Result, error) {
	return Result{}, failure.New(failure.NotPermitted, "layers of images can be unpacked on Linux alone")
}

// Inherit is for Linux alone.
func Inherit(string, []string, []string) error {
	return failure.New(failure.NotPermitted, "layers of images can be unpacked on Linux alone")
}
