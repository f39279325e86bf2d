//go:build unix

package cli

import (
	"os"
	"syscall"
)

// stops are the signals by which a person or a supervisor asks a command to end.
var stops = []os.Signal{os.Interrupt, syscall.SIGTERM}
