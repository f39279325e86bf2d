package fetch

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/host"
)

// openAs opens a local file with the rights of the task's user: a root agent must not hand out what the user may not read.
// The identity is that of one thread, which ends with it.
func openAs(u *host.User, path string) (*os.File, error) {
	if u == nil || u.UID == 0 || os.Geteuid() != 0 {
		return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		var groups unsafe.Pointer
		if len(u.Groups) > 0 {
			groups = unsafe.Pointer(&u.Groups[0])
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(u.Groups)), uintptr(groups), 0); e != 0 {
			done <- result{nil, os.NewSyscallError("setgroups", e)}
			return
		}
		_, _ = unix.SetfsgidRetGid(int(u.GID))
		_, _ = unix.SetfsuidRetUid(int(u.UID))
		// These two cannot fail visibly; a second call tells what holds now.
		gid, _ := unix.SetfsgidRetGid(int(u.GID))
		uid, _ := unix.SetfsuidRetUid(int(u.UID))
		if gid != int(u.GID) || uid != int(u.UID) {
			done <- result{nil, os.NewSyscallError("setfsuid", unix.EPERM)}
			return
		}
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		done <- result{f, err}
	}()
	r := <-done
	return r.file, r.err
}
