//go:build !linux

package layer

import (
	"context"

	"github.com/pando-os/pando/internal/image/failure"
)

func unpack(string, *stream, Limits) (Result, error) {
	return Result{}, failure.New(failure.NotPermitted, "layers of images can be unpacked on Linux alone")
}

// Inherit is for Linux alone.
func Inherit(string, []string, []string) error {
	return failure.New(failure.NotPermitted, "layers of images can be unpacked on Linux alone")
}

// ReadFile is for Linux alone.
func ReadFile([]string, string, int64) ([]byte, error) {
	return nil, failure.New(failure.NotPermitted, "layers of images can be read on Linux alone")
}

// Flatten is for Linux alone.
func Flatten(context.Context, []string, string) error {
	return failure.New(failure.NotPermitted, "layers of images can be copied on Linux alone")
}
