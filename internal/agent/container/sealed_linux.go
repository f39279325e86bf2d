package container

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sealedAbove is the lowest number of the descriptor of a sealed launcher: those below are given to children.
const sealedAbove = 100

// seal copies the launcher into memory where nobody can change it. A container that gets hold of what it was started from, by way of
// /proc/PID/exe, must not be able to write to what starts the next one, and for root in a container a file of the machine's would
// be one. The copy lives as long as somebody runs it.
func seal(path string) (*os.File, error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	fd, err := unix.MemfdCreate("pando-launcher", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // Linux before 6.3, where they all can be executed
		fd, err = unix.MemfdCreate("pando-launcher", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, sealedAbove)
	unix.Close(fd)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(high), "pando-launcher")
	if _, err = io.Copy(f, from); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("seal the launcher: %w", err)
	}
	return f, nil
}

// sealedPath is how a child that has the descriptor executes it.
func sealedPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
