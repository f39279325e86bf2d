package container

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// rooted says whether the container needs a launcher that knows of roots, with which two kinds of logs came.
func (s *Spec) rooted() bool {
	return s.Stdout != s.Stderr || s.Root != nil || s.Namespaces.own() || s.Workdir != "" || s.NetNS != "" || len(s.Seccomp) > 0 || s.StopSignal != 0
}

// resolveRoot adds what a container has of its own.
func resolveRoot(s *Spec, w *wire.Spec) error {
	w.Workdir, w.Hostname, w.Seccomp, w.StopSignal = s.Workdir, s.Hostname, s.Seccomp, uint32(max(s.StopSignal, 0))
	w.Namespaces = s.Namespaces.flags()
	if s.Root != nil {
		w.Namespaces |= unix.CLONE_NEWNS
	}
	w.NetNS = s.NetNS
	if w.Namespaces == 0 && w.NetNS == "" {
		return nil
	}
	if os.Geteuid() != 0 {
		return &Error{KindRoot, "only an agent of root can give a container files or namespaces of its own; run the agent as root, or the task without an image"}
	}
	r := s.Root
	if r == nil {
		return nil
	}
	if err := r.check(); err != nil {
		return err
	}
	w.Root = &wire.Root{}
	if !r.bare() {
		if s.Workdir == "" {
			return &Error{KindInvalid, "a container with files of its own needs a working directory among them"}
		}
		if err := r.makeScratch(); err != nil {
			return &Error{KindRoot, "make the container's scratch directory: " + err.Error()}
		}
		*w.Root = wire.Root{
			Store: r.Store, Layers: r.Layers, Dir: filepath.Join(r.Scratch, scratchRoot), Upper: filepath.Join(r.Scratch, scratchUpper),
			Work: filepath.Join(r.Scratch, scratchWork), Masked: r.Masked, ReadOnly: r.ReadOnly, Sealed: r.Sealed, Own: r.Own,
		}
		if r.Own {
			w.Root.Upper, w.Root.Work = "", ""
		}
	}
	for i := range r.Mounts {
		m := &r.Mounts[i]
		w.Root.Mounts = append(w.Root.Mounts, wire.Mount{
			Kind: wire.MountKind(m.Kind), Target: m.Target, Source: m.Source, Under: m.Under, FS: m.FS, Data: m.Data, Flags: m.Flags, Device: m.Device, Mode: m.Mode,
		})
	}
	return nil
}

// flags are the kernel's.
func (n Namespaces) flags() (flags uint64) {
	for _, x := range []struct {
		own  bool
		flag uint64
	}{
		{n.PID, unix.CLONE_NEWPID},
		{n.IPC, unix.CLONE_NEWIPC},
		{n.UTS, unix.CLONE_NEWUTS},
		{n.Net, unix.CLONE_NEWNET},
		{n.Mount, unix.CLONE_NEWNS},
		{n.Cgroup, unix.CLONE_NEWCGROUP},
	} {
		if x.own {
			flags |= x.flag
		}
	}
	return flags
}
