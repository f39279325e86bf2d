package seccomp

import "fmt"

// Action is what the kernel does with a call: a value that a filter returns, SECCOMP_RET_… of linux/seccomp.h, with the
// action in the upper half and its number in the lower one.
type Action uint32

// The actions without a number. Seccomp(2) describes them.
const (
	KillProcess Action = 0x80000000
	KillThread  Action = 0x00000000
	Trap        Action = 0x00030000
	Log         Action = 0x7ffc0000
	Allow       Action = 0x7fff0000
)

const (
	errnoBase Action = 0x00050000
	traceBase Action = 0x7ff00000

	// maxErrno is where the kernel cuts (MAX_ERRNO of linux/err.h).
	maxErrno = 4095
	maxTrace = 0xffff

	// The numbers of asm-generic/errno.h that matter here; all architectures with a table agree on them.
	eperm  = 1
	enosys = 38
)

// Errno makes the call fail with an error number, 0 to 4095; zero is success without doing anything.
func Errno(n uint16) Action { return errnoBase | Action(n) }

// Trace asks the tracer, whom ptrace(2) gives the number; without a tracer the call fails with ENOSYS.
func Trace(n uint16) Action { return traceBase | Action(n) }

// String has the form of seccomp(2), such as "ERRNO(38)".
func (a Action) String() string {
	switch a {
	case KillProcess:
		return "KILL_PROCESS"
	case KillThread:
		return "KILL_THREAD"
	case Trap:
		return "TRAP"
	case Log:
		return "LOG"
	case Allow:
		return "ALLOW"
	}
	switch n := a & 0xffff; a &^ 0xffff {
	case errnoBase:
		return fmt.Sprintf("ERRNO(%d)", n)
	case traceBase:
		return fmt.Sprintf("TRACE(%d)", n)
	}
	return fmt.Sprintf("%#x", uint32(a))
}

// permissive actions may let a call happen.
func (a Action) permissive() bool { return a == Allow || a == Log || a&^0xffff == traceBase }
