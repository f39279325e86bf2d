//go:build unix

package sandbox

import (
	"errors"
	"io/fs"
	"syscall"
)

const nonblock = syscall.O_NONBLOCK

func isNotDir(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

func sysInfo(st fs.FileInfo) (nlink uint64, uid, gid uint32) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink), s.Uid, s.Gid //nolint:unconvert // it is shorter on other systems
	}
	return 1, 0, 0
}
