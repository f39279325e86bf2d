//go:build unix

package cni

import (
	"os/exec"
	"syscall"
)

// together makes a program's children die with it when it is killed.
func together(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
}
