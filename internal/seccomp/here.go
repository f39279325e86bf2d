package seccomp

import (
	"runtime"
	"strings"

	"github.com/pando-os/pando/internal/fault"
)

// here reads a release of the kernel such as "6.1.0-18-amd64".
func here(release string, caps []string) (Target, error) {
	end := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(release)
	}
	parts := strings.SplitN(release[:end], ".", 3)
	if len(parts) >= 2 {
		if k, ok := kernel(parts[0] + "." + parts[1]); ok {
			return Target{Arch: Arch(runtime.GOARCH), Kernel: k, Caps: caps}, nil
		}
	}
	return Target{}, fault.New(fault.Internal, "the kernel says that its version is %q, which has no number like 6.1; report this with the output of uname -r", release)
}
