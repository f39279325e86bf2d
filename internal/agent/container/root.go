package container

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Root is a file system of the container's own, put together of an image's layers; without layers it is the machine's, on which the
// container alone sees what is mounted. It needs Linux, and root.
type Root struct {
	// Layers are directories below Store, topmost first, each with one layer in overlayfs' form, named without colon or comma.
	Store  string
	Layers []string
	// Own says that the one layer is the container's own, which may change it.
	Own bool
	// Scratch is an empty directory of the machine's for what the container changes. It belongs to the caller, who removes it
	// once the container has ended.
	Scratch string
	// Mounts are made in order; Masked paths show nothing, and ReadOnly ones cannot be written.
	Mounts           []Mount
	Masked, ReadOnly []string
	// Sealed makes all that is not mounted read-only.
	Sealed bool
}

// MountKind says what is made at a place of the container's.
type MountKind uint8

// The kinds of Mount, by the launcher's numbers.
const (
	MountNew    MountKind = 1 + iota // a new file system of type FS with Data
	MountBind                        // a file or directory of the machine
	MountDevice                      // a device, a mount of its own
	MountLink                        // a symbolic link
)

// Mount is one thing that is made at Target, an absolute path as the container sees it. Links of the image's are followed within
// the image, and what lacks on the way is made. On the machine's own files nothing is made, and there are only binds.
type Mount struct {
	Kind   MountKind
	Target string
	// Source is what a bind shows or what a link says. With Under it is below that directory, no link is followed on the way, and
	// Under is not left: what is there may be a user's.
	Source, Under string
	FS, Data      string
	Flags         uint64 // MS_… of mount(2)
	Device        uint64 // as mknod(2) takes it
	Mode          uint32 // of a device, as mknod(2) takes it; without a type it is a character device
}

// Namespaces are what a container has of its own; a Root brings one of mounts.
type Namespaces struct{ PID, IPC, UTS, Net, Mount, Cgroup bool }

// own says whether there is any.
func (n Namespaces) own() bool { return n != Namespaces{} }

// parts of a Scratch directory.
const (
	scratchUpper = "upper"
	scratchWork  = "work"
	scratchRoot  = "root"
)

// bare says whether it is the machine's.
func (r *Root) bare() bool { return len(r.Layers) == 0 }

// check says what no launcher could make of a root.
func (r *Root) check() error {
	if r.bare() && (len(r.Masked)+len(r.ReadOnly) > 0 || r.Sealed || slices.ContainsFunc(r.Mounts, func(m Mount) bool { return m.Kind != MountBind })) {
		return &Error{KindInvalid, "on the machine's own files there can only be binds"}
	}
	if !r.bare() && (!filepath.IsAbs(r.Store) || !filepath.IsAbs(r.Scratch)) {
		return &Error{KindInvalid, "a root needs absolute paths of its layers' store and of a scratch directory"}
	}
	if r.Own && len(r.Layers) != 1 {
		return &Error{KindInvalid, "a root of the container's own is one layer"}
	}
	for _, l := range r.Layers {
		if l == "" || strings.ContainsAny(l, ":,\\") {
			return &Error{KindInvalid, "the layer " + l + " has a name that overlayfs cannot take"}
		}
	}
	for i := range r.Mounts {
		if m := &r.Mounts[i]; !filepath.IsAbs(m.Target) || m.Under != "" && !filepath.IsLocal(m.Source) {
			return &Error{KindInvalid, "the mount at " + m.Target + " is not at an absolute path, or is of what is not below " + m.Under}
		}
	}
	return nil
}

// makeScratch makes the parts of the scratch directory.
func (r *Root) makeScratch() error {
	var errs []error
	for _, part := range []string{scratchUpper, scratchWork, scratchRoot} {
		if err := os.Mkdir(filepath.Join(r.Scratch, part), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
