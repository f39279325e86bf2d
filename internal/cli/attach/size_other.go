//go:build !unix

package attach

import (
	"os"

	"github.com/pando-os/pando/client"
)

// watchSize passes the size that a terminal has now on: nobody tells here when it changes.
func watchSize(terminal *os.File, in *client.Input) (stop func()) {
	go tell(terminal, in)
	return func() {}
}
