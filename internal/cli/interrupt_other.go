//go:build !unix

package cli

import "os"

// stops are the signals by which a person asks a command to end.
var stops = []os.Signal{os.Interrupt}
