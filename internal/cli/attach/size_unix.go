//go:build unix

package attach

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/pando-os/pando/client"
)

// watchSize passes each change of a terminal's size on, and the size that it has now.
func watchSize(terminal *os.File, in *client.Input) (stop func()) {
	changed, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			tell(terminal, in)
			select {
			case <-changed:
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(done)
	}
}
