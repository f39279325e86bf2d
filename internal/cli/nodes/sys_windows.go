package nodes

import (
	"errors"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

var errWindows = errors.New("this is not supported on Windows yet")

func lockFile(*os.File) error { return nil }

// leaves is empty: there is no such signal.
var leaves []os.Signal

func terminate(int) error { return errWindows }

func background(*cobra.Command, []string, *os.File, string, int64, string) error { return errWindows }

func detach(*exec.Cmd) {}
