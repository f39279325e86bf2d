//go:build unix

package master

import "syscall"

// errRefused is how the system says that nobody listens.
var errRefused error = syscall.ECONNREFUSED
