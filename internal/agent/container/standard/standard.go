// Package standard says what every container with files of its own finds in them: the kernel's file systems, devices, and what of
// them is hidden or cannot be written, as the OCI runtime specification and other runtimes have it.
package standard

import (
	"strconv"

	"github.com/pando-os/pando/internal/agent/container"
)

// Flags of mount(2).
const (
	ReadOnly = 0x1
	NoSuid   = 0x2
	NoDev    = 0x4
	NoExec   = 0x8
	NoAtime  = 0x400
	Recurse  = 0x4000
	Slave    = 0x80000
	strict   = 0x1000000
	quiet    = NoSuid | NoDev | NoExec
)

// DefaultShm is the size of /dev/shm where none is asked for, in bytes.
const DefaultShm = 64 << 20

// Mounts are made before anything else, in order. shm is the size of /dev/shm in bytes; 0: DefaultShm.
func Mounts(shm int64) []container.Mount {
	if shm <= 0 {
		shm = DefaultShm
	}
	out := []container.Mount{
		{Kind: container.MountNew, FS: "proc", Target: "/proc", Flags: quiet},
		{Kind: container.MountNew, FS: "tmpfs", Target: "/dev", Flags: NoSuid | NoDev | strict, Data: "mode=755,size=65536k"},
		{Kind: container.MountNew, FS: "devpts", Target: "/dev/pts", Flags: NoSuid | NoExec, Data: "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{Kind: container.MountNew, FS: "tmpfs", Target: "/dev/shm", Flags: quiet, Data: "mode=1777,size=" + strconv.FormatInt(shm, 10)},
		{Kind: container.MountNew, FS: "mqueue", Target: "/dev/mqueue", Flags: quiet},
		{Kind: container.MountNew, FS: "sysfs", Target: "/sys", Flags: quiet | ReadOnly},
	}
	for _, d := range []struct {
		name         string
		major, minor uint64
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		out = append(out, container.Mount{Kind: container.MountDevice, Target: "/dev/" + d.name, Device: d.major<<8 | d.minor, Mode: 0o666})
	}
	for _, l := range [][2]string{
		{"/dev/fd", "/proc/self/fd"},
		{"/dev/stdin", "/proc/self/fd/0"},
		{"/dev/stdout", "/proc/self/fd/1"},
		{"/dev/stderr", "/proc/self/fd/2"},
		{"/dev/ptmx", "pts/ptmx"},
	} {
		out = append(out, container.Mount{Kind: container.MountLink, Target: l[0], Source: l[1]})
	}
	return out
}

// Masked shows nothing: what tells of, or reaches, the whole machine.
func Masked() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
}

// Sealed can be read and not written.
func Sealed() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// Capabilities are those that a container's root has where none are named: what programs in images count on, and nothing that reaches
// beyond the container. By the kernel's numbers.
func Capabilities() []int {
	return []int{
		0,  // CHOWN
		1,  // DAC_OVERRIDE
		3,  // FOWNER
		4,  // FSETID
		5,  // KILL
		6,  // SETGID
		7,  // SETUID
		8,  // SETPCAP
		10, // NET_BIND_SERVICE
		13, // NET_RAW
		18, // SYS_CHROOT
		27, // MKNOD
		29, // AUDIT_WRITE
		31, // SETFCAP
	}
}
