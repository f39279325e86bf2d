//go:build unix

package nodes

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// leaves are the signals that tell an agent to leave its cluster for good, as the original has it.
var leaves = []os.Signal{syscall.SIGUSR1}

func terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }

// background starts a process of its own session and waits until it works.
func background(cmd *cobra.Command, args []string, out *os.File, log string, offset int64, dataDir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, args...) //nolint:noctx // it is meant to outlive us
	c.Stdout, c.Stderr = out, out
	c.Dir = "/"
	if wd, err := os.Getwd(); err == nil {
		c.Dir = wd // --data-dir may be relative
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("starting in the background: %w", err)
	}
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }() // how it ended stands in its log
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		select {
		case <-ended:
			return errStopped(log, offset)
		case <-time.After(20 * time.Millisecond):
		}
		if r, ok := read(dataDir); ok && r.Ready && r.PID == c.Process.Pid {
			fmt.Fprintln(cmd.OutOrStdout(), tail(log, offset))
			fmt.Fprintf(cmd.OutOrStdout(), "\nIt runs in the background (pid %d); its log is %s.\n", r.PID, log)
			return nil
		}
	}
	return fmt.Errorf("it did not work within a minute; see %s", log)
}

// detach keeps the terminal's Ctrl-C from a child, which is ended when its time has come.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
