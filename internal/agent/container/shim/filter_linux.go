package shim

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// filterSize is that of a struct sock_filter.
const filterSize = 8

// install puts a seccomp filter before this thread's system calls. It needs no_new_privs, or CAP_SYS_ADMIN.
func install(filter []byte) *failure {
	if len(filter) == 0 {
		return nil
	}
	n := len(filter) / filterSize
	if len(filter)%filterSize != 0 || n > 4096 {
		return &failure{wire.KindInvalid, "the seccomp filter is not one"}
	}
	prog := unix.SockFprog{Len: uint16(n), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(filter)
	if err != nil {
		return fail(wire.KindCaps, "install the seccomp filter", err)
	}
	return nil
}
