package filter

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Install puts the calling thread under the program, for good, and with it what it executes (seccomp(2)). The goroutine has to
// be locked to its thread and to call execve itself, which ends the other threads. The caller has set no_new_privs or has
// CAP_SYS_ADMIN; otherwise EACCES. EINVAL: the kernel does not take the program or a flag.
func Install(p Program) error {
	if len(p.Code) == 0 || len(p.Code) > MaxInstructions {
		return ErrLength
	}
	prog := unix.SockFprog{Len: uint16(len(p.Code)), Filter: (*unix.SockFilter)(unsafe.Pointer(&p.Code[0]))}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(p.Flags), uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(p.Code)
	if errno != 0 {
		return errno
	}
	return nil
}
