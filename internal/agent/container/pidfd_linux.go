package container

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidfdInfo is struct pidfd_info of linux/pidfd.h in its first published size; since Linux 6.15 it tells how a process
// ended to anybody who held a descriptor of it, parent or not.
type pidfdInfo struct {
	mask, cgroup uint64
	pid          [11]uint32
	exit         int32
}

const (
	pidfdGetInfo  = 3<<30 | unsafe.Sizeof(pidfdInfo{})<<16 | 0xFF<<8 | 11
	pidfdInfoExit = 1 << 3
)

// pidfdExit reads a wait status off a descriptor; false when the process has not been reaped yet or the kernel is older.
func pidfdExit(fd int) (uint32, bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	return uint32(info.exit), e == 0 && info.mask&pidfdInfoExit != 0
}

// pidfdTellsExits asks the kernel's version, since an older one ignores the bit it does not know.
func pidfdTellsExits() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	at := &major
	for _, c := range u.Release {
		switch {
		case c >= '0' && c <= '9':
			*at = *at*10 + int(c-'0')
		case c == '.' && at == &major:
			at = &minor
		default:
			return major > 6 || major == 6 && minor >= 15
		}
	}
	return false
}

// openPidfd holds on to a container's main process so that its end can be asked for if the shim dies. n.mu is held.
func (n *Native) openPidfd(h *held) {
	if !n.pidfd || n.closed || h.pidfd >= 0 {
		return
	}
	if fd, err := unix.PidfdOpen(int(h.state.PID), 0); err == nil {
		h.pidfd = fd
	}
}

func (h *held) dropPidfd() {
	if h.pidfd >= 0 {
		unix.Close(h.pidfd)
		h.pidfd = -1
	}
}

// awaitPidfd waits for whoever inherited the process to reap it; only then the kernel tells its end.
func awaitPidfd(fd int, atMost time.Duration) (uint32, bool) {
	if fd < 0 {
		return 0, false
	}
	for end := time.Now().Add(atMost); ; time.Sleep(time.Millisecond) {
		if ws, ok := pidfdExit(fd); ok || time.Now().After(end) {
			return ws, ok
		}
	}
}
