package shim

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// enter joins the namespaces of a container's process, but for that of pids, which this process was born into. The one of mounts
// is last: after it /proc is the container's.
func enter(pid uint32) *failure {
	dir := "/proc/" + strconv.FormatUint(uint64(pid), 10) + "/ns/"
	kinds := []struct {
		name string
		flag int
	}{{"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"net", unix.CLONE_NEWNET}, {"cgroup", unix.CLONE_NEWCGROUP}, {"mnt", unix.CLONE_NEWNS}}
	fds := make([]int, len(kinds))
	for i, k := range kinds {
		fd, err := unix.Open(dir+k.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail(wire.KindGone, "open the container's "+k.name+" namespace", err)
		}
		fds[i] = fd
	}
	// The runtime's threads share root and working directory, and with others one may not change the namespace of mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fail(wire.KindRoot, "part from the launcher's other threads", err)
	}
	for i, k := range kinds {
		if err := unix.Setns(fds[i], k.flag); err != nil {
			return fail(wire.KindRoot, "enter the container's "+k.name+" namespace", err)
		}
		unix.Close(fds[i])
	}
	return nil
}

// joinIPC joins the namespace of System V's objects and POSIX' queues that a process is in.
func joinIPC(pid uint32) *failure {
	fd, err := unix.Open("/proc/"+strconv.FormatUint(uint64(pid), 10)+"/ns/ipc", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(wire.KindGone, "open the parent's ipc namespace", err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWIPC); err != nil {
		return fail(wire.KindRoot, "enter the parent's ipc namespace", err)
	}
	return nil
}

// joinNetwork joins the network namespace that is bound at a path.
func joinNetwork(path string) *failure {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(wire.KindRoot, "open the network namespace "+path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fail(wire.KindRoot, "join the network namespace "+path, err)
	}
	return nil
}

// bornIn has do fork in the pid namespace of another process; 0: in our own. Only the main thread may call it: the kernel
// notes for each thread where its children go, and lets it make no thread meanwhile, which the runtime never asks of one that
// is locked.
func bornIn(pid uint32, do func()) *failure {
	if pid == 0 {
		do()
		return nil
	}
	own, err := unix.Open("/proc/thread-self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(wire.KindSystem, "open our pid namespace", err)
	}
	defer unix.Close(own)
	other, err := unix.Open("/proc/"+strconv.FormatUint(uint64(pid), 10)+"/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(wire.KindGone, "open the container's pid namespace", err)
	}
	defer unix.Close(other)
	if err := unix.Setns(other, unix.CLONE_NEWPID); err != nil {
		return fail(wire.KindRoot, "enter the container's pid namespace", err)
	}
	do()
	if err := unix.Setns(own, unix.CLONE_NEWPID); err != nil {
		// Every container from now on would be in that one's: this shim is of no more use.
		panic("pando-launcher shim: cannot leave a container's pid namespace: " + err.Error())
	}
	return nil
}

// inside tells what a process enters that is to be where a container is: whose namespaces, and among whose processes.
func (b *box) inside() (enter, among uint32) {
	enter, among = b.spec.Enter, b.among
	if b.spec.Namespaces != 0 || b.spec.Root != nil || b.spec.NetNS != "" {
		enter = b.state.PID
	}
	if b.spec.Namespaces&unix.CLONE_NEWPID != 0 {
		among = b.state.PID
	}
	return enter, among
}

// stayNear has a container with files of its own be where the one that it is below is, as far as it has no namespaces of its own: not on
// the machine, which that one may not see. One without is on the machine.
func (b *box) stayNear() {
	if b.parent == nil || b.spec.Root == nil || len(b.spec.Root.Layers) == 0 {
		return
	}
	enter, among := b.parent.inside()
	if b.spec.Namespaces&unix.CLONE_NEWPID == 0 {
		b.among = among
	}
	if b.spec.Namespaces&unix.CLONE_NEWIPC == 0 {
		b.spec.IPC = enter
	}
}
