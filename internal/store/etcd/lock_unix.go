//go:build unix

package etcd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pando-os/pando/internal/fault"
)

// lock takes the data directory for this process; the kernel gives it back when the process ends, however it ends. etcd
// locks its own files too, but waits for them without a word.
func lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "locking the store's data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.New(fault.Unavailable, "locking %s: %w", path, err)
		}
		holder := ""
		if pid, _ := io.ReadAll(io.LimitReader(f, 20)); len(pid) > 0 {
			holder = " (pid " + strings.TrimSpace(string(pid)) + ")"
		}
		return nil, fault.New(fault.Conflict,
			"the data directory %s is in use by another process%s: stop that one, or choose another directory", dir, holder)
	}
	// The pid is for people alone, so a failure to write it is none.
	if f.Truncate(0) == nil {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return func() { _ = f.Close() }, nil
}
