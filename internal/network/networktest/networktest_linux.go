// Package networktest gives tests machines of their own: network namespaces without anything but loopback, in which bridges, rules
// and addresses disturb nobody.
package networktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside marks the process that runs apart from the machine.
const inside = "PANDO_TEST_NETWORK_INSIDE"

// Main is the TestMain of a package whose tests touch networks. Where PANDO_TEST_HOST=1 and the user is root, the tests run in a second
// process with a network and mounts of its own, so that none of them can reach the machine's, and nothing outlives it.
func Main(m *testing.M) {
	// Mostly this is the process's first thread. No test may move it: /proc/self shows its namespaces.
	runtime.LockOSThread()
	if os.Getenv("PANDO_TEST_HOST") == "" || os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	c := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	c.Args[0] = os.Args[0]
	c.Env = append(os.Environ(), inside+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL} // it goes when this thread does
	err := c.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(ended.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run the tests in namespaces of their own:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Machine puts the calling test into an empty network namespace until it ends. Only the test's own goroutine is in it; its subtests
// and what it starts are not. Where that cannot be, the test is skipped, and says why.
func Machine(tb testing.TB) {
	tb.Helper()
	if os.Getenv(inside) == "" {
		tb.Skip("it makes networks: set PANDO_TEST_HOST=1, as root")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Skip("no network namespaces: ", err)
	}
	Run(tb, "ip", "link", "set", "lo", "up")
}

// Memory mounts a tmpfs of the test's own, gone when the test ends.
func Memory(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// Run runs a program in the namespace that the test is in and returns what it wrote. Programs that are missing skip the test.
func Run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	if _, err := exec.LookPath(name); err != nil {
		tb.Skip(err)
	}
	out, err := exec.CommandContext(tb.Context(), name, args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
