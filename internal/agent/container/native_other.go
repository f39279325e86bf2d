//go:build !linux

package container

import "errors"

// Native does not exist on this operating system.
type Native struct{ Runtime }

// Open refuses.
func Open(Config) (*Native, error) {
	return nil, errors.New("starting containers is not supported on this operating system yet; run agents on Linux")
}
