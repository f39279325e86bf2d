package seccomp

import (
	"slices"
	"strings"

	"github.com/pando-os/pando/internal/fault"
)

//go:generate go run ./gen

// Arch is a processor architecture that agents run on, under the name that Go has for it.
type Arch string

// The architectures there are tables for.
const (
	AMD64 Arch = "amd64"
	ARM64 Arch = "arm64"
)

// number is one line of a table of system calls.
type number struct {
	name string
	nr   uint32
}

// abi is one way of calling the kernel. A processor has several, and a filter sees the calls of all of them; the same number
// means another call in each.
type abi struct {
	scmp    string   // libseccomp's name, which profiles use
	audit   uint32   // AUDIT_ARCH_… of linux/audit.h, which seccomp_data.arch holds
	bits    int      // width of an argument
	numbers []number // sorted by name
	muxed   bool     // socketcall(2) and ipc(2) stand for many calls
}

// The bit that marks the calls of x32, which is no abi of its own for the kernel: __X32_SYSCALL_BIT of asm/unistd.h.
const x32Bit = 0x40000000

const (
	scmpX32 = "SCMP_ARCH_X32"

	// AUDIT_ARCH_… of linux/audit.h.
	x8664Audit = 0xc000003e
	i386Audit  = 0x40000003
	arm64Audit = 0xc00000b7
)

func native(a Arch) (abi, error) {
	switch a {
	case AMD64:
		return abi{scmp: "SCMP_ARCH_X86_64", audit: x8664Audit, bits: 64, numbers: amd64Numbers}, nil
	case ARM64:
		return abi{scmp: "SCMP_ARCH_AARCH64", audit: arm64Audit, bits: 64, numbers: arm64Numbers}, nil
	}
	return abi{}, fault.New(fault.Invalid, "arch: %q has no table of system calls here; use %s or %s, or run the container without a seccomp profile", a, AMD64, ARM64)
}

func i386() abi {
	return abi{scmp: "SCMP_ARCH_X86", audit: i386Audit, bits: 32, numbers: i386Numbers, muxed: true}
}

// abis are those that a profile with these architectures lets in, the native one always and first. Others that the
// processor might have are not in it: their calls kill.
func abis(a Arch, listed []string) ([]abi, error) {
	first, err := native(a)
	if err != nil {
		return nil, err
	}
	list := []abi{first}
	if a == AMD64 && slices.Contains(listed, i386().scmp) {
		list = append(list, i386())
	}
	return list, nil
}

// lookup gives the number of a call.
func (a abi) lookup(name string) (uint32, bool) {
	i, found := slices.BinarySearchFunc(a.numbers, name, func(n number, name string) int { return strings.Compare(n.name, name) })
	if !found {
		return 0, false
	}
	return a.numbers[i].nr, true
}

// mux is a call that can also be made through another one, whose first argument chooses it.
type mux struct {
	through string
	choice  Condition
}

// muxes are the calls of linux/net.h (SYS_SOCKET…) and linux/ipc.h (SEMOP…). The upper half of ipc's first argument is a
// version of the interface and chooses nothing.
func (a abi) mux(name string) (mux, bool) {
	if !a.muxed {
		return mux{}, false
	}
	if n := slices.Index(socketCalls(), name); n > 0 {
		return mux{"socketcall", Condition{Op: Equal, Value: uint64(n)}}, true
	}
	if n := slices.Index(ipcCalls(), name); n > 0 {
		return mux{"ipc", Condition{Op: MaskedEqual, Value: 0xffff, ValueTwo: uint64(n)}}, true
	}
	return mux{}, false
}

// socketCalls has each call at the index that chooses it.
func socketCalls() []string {
	return []string{
		1: "socket", 2: "bind", 3: "connect", 4: "listen", 5: "accept", 6: "getsockname", 7: "getpeername",
		8: "socketpair", 9: "send", 10: "recv", 11: "sendto", 12: "recvfrom", 13: "shutdown", 14: "setsockopt",
		15: "getsockopt", 16: "sendmsg", 17: "recvmsg", 18: "accept4", 19: "recvmmsg", 20: "sendmmsg",
	}
}

// ipcCalls likewise.
func ipcCalls() []string {
	return []string{
		1: "semop", 2: "semget", 3: "semctl", 4: "semtimedop", 11: "msgsnd", 12: "msgrcv", 13: "msgget", 14: "msgctl",
		21: "shmat", 22: "shmdt", 23: "shmget", 24: "shmctl",
	}
}

// tokens are the names that profiles may have for architectures (OCI runtime-spec, config-linux.md, "Seccomp").
func tokens() []string {
	return []string{
		"SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS",
		"SCMP_ARCH_MIPS64", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32",
		"SCMP_ARCH_PPC", "SCMP_ARCH_PPC64", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_S390", "SCMP_ARCH_S390X", "SCMP_ARCH_PARISC",
		"SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB",
	}
}
