package imaged

import (
	"fmt"

	"github.com/pando-os/pando/internal/seccomp"
)

// defaultFilter is the seccomp filter of containers with an image that ask for no other: what programs need, and nothing that has led
// out of containers. It depends on what they may do: by the names of their capabilities.
func defaultFilter(caps []string) ([]byte, error) {
	p, err := seccomp.Default(caps)
	if err != nil {
		return nil, fmt.Errorf("the default seccomp profile: %w", err)
	}
	here, err := seccomp.Here(caps)
	if err != nil {
		return nil, fmt.Errorf("the default seccomp profile: %w", err)
	}
	program, err := seccomp.Compile(p, here)
	if err != nil {
		return nil, fmt.Errorf("the default seccomp profile: %w", err)
	}
	return program.Encode(), nil
}
