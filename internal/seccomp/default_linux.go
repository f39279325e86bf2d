package seccomp

import (
	"encoding/json"
	"sync"

	moby "github.com/moby/profiles/seccomp"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/fault"
)

// Here is this machine as a target: its architecture and its kernel. It fails when the kernel does not tell its version.
func Here(caps []string) (Target, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Target{}, fault.New(fault.Internal, "ask the kernel for its version: %v", err)
	}
	return here(unix.ByteSliceToString(name.Release[:]), caps)
}

// docker reads moby's profile as if it came from a file, so that its conditions mean what they do in any other; moby's own way
// of resolving them sees this machine only. It is read once.
var docker = sync.OnceValues(func() (*Profile, error) {
	raw, err := json.Marshal(moby.DefaultProfile())
	if err != nil {
		return nil, fault.New(fault.Internal, "encode the default seccomp profile: %v", err)
	}
	return Parse(raw)
})

// Docker is the profile that Docker gives to containers (moby/profiles), for every target.
func Docker() (*Profile, error) { return docker() }

// Default is Docker's profile for a container with these capabilities in its bounding set, on this machine.
func Default(caps []string) (*Profile, error) {
	p, err := docker()
	if err != nil {
		return nil, err
	}
	t, err := Here(caps)
	if err != nil {
		return nil, err
	}
	return p.Resolve(t)
}
