package shim

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
)

// resolveIn follows an image's links as the container would, and never out of its root.
const resolveIn = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// makeRoot puts the container's files together and makes them this process's root. Its mount namespace is its own, so nothing
// of this is seen elsewhere, and what fails needs no undoing: it is gone with the process. Nothing of the image or of a user's
// runs yet, but what they left must not be able to lead us out: every path of theirs is resolved below a descriptor of the root.
func makeRoot(r *wire.Root) *failure {
	// What the machine mounts later may still come in; what is mounted here stays here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fail(wire.KindRoot, "keep mounts from the machine", err)
	}
	if len(r.Layers) == 0 {
		return coverMachine(r)
	}
	if f := mountLayers(r); f != nil {
		return f
	}
	root, err := unix.Open(r.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(wire.KindRoot, "open the root "+r.Dir, err)
	}
	for i := range r.Mounts {
		m := &r.Mounts[i]
		if err := place(root, m); err != nil {
			return fail(wire.KindRoot, "make "+m.Target, err)
		}
	}
	if err := pivot(root); err != nil {
		return fail(wire.KindRoot, "change the root to "+r.Dir, err)
	}
	return conceal(r)
}

// coverMachine shows binds over the machine's own files, to this process alone. Nothing is made for them, which all would see.
func coverMachine(r *wire.Root) *failure {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(wire.KindRoot, "open the machine's root", err)
	}
	defer unix.Close(root)
	for i := range r.Mounts {
		m := &r.Mounts[i]
		if err := bind(root, m, existing); err != nil {
			return fail(wire.KindRoot, "show "+m.Target, err)
		}
	}
	return nil
}

// mountLayers mounts the layers at the root's directory. The store is the working directory meanwhile: all names together must
// fit into one page.
func mountLayers(r *wire.Root) *failure {
	if err := unix.Chdir(r.Store); err != nil {
		return fail(wire.KindRoot, "enter the store of layers "+r.Store, err)
	}
	// A device that the image brings is none: those of the container are made in its own /dev.
	const flags = unix.MS_NODEV
	sealed := uintptr(unix.MS_RDONLY)
	if r.Own {
		sealed = 0 // it is changed here
	}
	if r.Upper == "" && len(r.Layers) == 1 {
		if err := unix.Mount(r.Layers[0], r.Dir, "", unix.MS_BIND, ""); err != nil {
			return fail(wire.KindRoot, "bind the layer "+r.Layers[0], err)
		}
		if err := unix.Mount("", r.Dir, "", unix.MS_REMOUNT|unix.MS_BIND|flags|sealed, ""); err != nil {
			return fail(wire.KindRoot, "seal the layer "+r.Layers[0], err)
		}
		return nil
	}
	data := "lowerdir=" + strings.Join(r.Layers, ":")
	if r.Upper != "" {
		data += ",upperdir=" + escape.Replace(r.Upper) + ",workdir=" + escape.Replace(r.Work)
	}
	if err := overlay(r.Dir, flags, data); err != nil {
		return fail(wire.KindRoot, "mount the layers (overlay) at "+r.Dir, err)
	}
	return nil
}

// overlay mounts layers. What the container changes is gone with it, so nothing of it has to reach the disk: its fsyncs, and the one
// when it is unmounted, would wait for all that is dirty there. Linux before 5.10 does not know how to leave that out.
func overlay(at string, flags uintptr, data string) error {
	err := unix.Mount("overlay", at, "overlay", flags, data+",volatile")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("overlay", at, "overlay", flags, data)
	}
	return err
}

// escape lets a path stand among a mount's options.
var escape = strings.NewReplacer(`\`, `\\`, ",", `\,`)

// fdPath names what a descriptor is open for.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// place makes one thing in the root.
func place(root int, m *wire.Mount) error {
	switch m.Kind {
	case wire.MountLink, wire.MountDevice:
		return placeNode(root, m)
	case wire.MountBind:
		return bind(root, m, ensure)
	}
	fd, err := ensure(root, m.Target, true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := forbidden(fd); err != nil {
		return err
	}
	if m.FS == "overlay" { // an image; its names are below the store, which is the working directory
		return overlay(fdPath(fd), uintptr(m.Flags), m.Data)
	}
	return unix.Mount(m.FS, fdPath(fd), m.FS, uintptr(m.Flags), m.Data)
}

// bind shows a file or directory of the machine's at a place that open opens.
func bind(root int, m *wire.Mount, open func(root int, path string, directory bool) (int, error)) error {
	source, err := openSource(m)
	if err != nil {
		return err
	}
	defer unix.Close(source)
	var st unix.Stat_t
	if err := unix.Fstat(source, &st); err != nil {
		return err
	}
	fd, err := open(root, m.Target, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	if err = forbidden(fd); err == nil {
		err = unix.Mount(fdPath(source), fdPath(fd), "", unix.MS_BIND|uintptr(m.Flags)&unix.MS_REC, "")
	}
	unix.Close(fd)
	more := uintptr(m.Flags) &^ unix.MS_REC
	if err != nil || more == 0 {
		return err
	}
	// A bind takes its flags only afterwards, and of what is mounted, not of what is below it.
	if fd, err = openIn(root, m.Target, 0); err != nil {
		return err
	}
	defer unix.Close(fd)
	if kind := more & (unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_SHARED); kind != 0 {
		if err := unix.Mount("", fdPath(fd), "", kind|uintptr(m.Flags)&unix.MS_REC, ""); err != nil {
			return err
		}
		if more &^= kind; more == 0 {
			return nil
		}
	}
	return unix.Mount("", fdPath(fd), "", unix.MS_REMOUNT|unix.MS_BIND|more, "")
}

// forbidden says whether a place is in the kernel's own files, where what is shown decides what programs are allowed: nothing of
// anybody's is put there.
func forbidden(fd int) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	if t := uint64(st.Type); t == unix.PROC_SUPER_MAGIC || t == unix.SYSFS_MAGIC { // its type is another on other machines
		return errors.New("it is in /proc or /sys, where nothing may be mounted")
	}
	return nil
}

// openSource opens what a bind shows.
func openSource(m *wire.Mount) (int, error) {
	if m.Under == "" {
		return unix.Open(m.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	under, err := unix.Open(m.Under, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(under)
	return unix.Openat2(under, m.Source, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
}

// placeNode makes a device or a link. What is there already stays if it is the same.
func placeNode(root int, m *wire.Mount) error {
	dir, name := split(m.Target)
	fd, err := ensure(root, dir, true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if m.Kind == wire.MountLink {
		if err = unix.Symlinkat(m.Source, fd, name); errors.Is(err, unix.EEXIST) {
			return nil // the image's own
		}
		return err
	}
	mode := m.Mode
	if mode&unix.S_IFMT == 0 {
		mode |= unix.S_IFCHR
	}
	if err := unix.Mknodat(fd, name, mode, int(m.Device)); err != nil {
		return err
	}
	if err := unix.Fchmodat(fd, name, mode&^unix.S_IFMT, 0); err != nil { // whatever the mask
		return err
	}
	return enable(fd, name)
}

// enable has a node open its device where no other does: it becomes a mount of its own, of which alone that is allowed. So what a
// container makes beside it is of no use.
func enable(dir int, name string) error {
	const flags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, 0)
	if err != nil {
		return err
	}
	err = unix.Mount(fdPath(fd), fdPath(fd), "", unix.MS_BIND, "")
	unix.Close(fd)
	if err != nil {
		return err
	}
	if fd, err = unix.Openat(dir, name, flags, 0); err != nil { // what is mounted now
		return err
	}
	defer unix.Close(fd)
	return unix.Mount("", fdPath(fd), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID, "")
}

// openIn opens a path of the container's.
func openIn(root int, path string, flags uint64) (int, error) {
	return unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: resolveIn})
}

// existing opens a directory, or a file, of the container's.
func existing(root int, path string, directory bool) (int, error) {
	flags := uint64(0)
	if directory {
		flags = unix.O_DIRECTORY
	}
	return openIn(root, path, flags)
}

// ensure is existing that makes what lacks.
func ensure(root int, path string, directory bool) (int, error) {
	fd, err := existing(root, path, directory)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	dir, name := split(path)
	if name == "" || name == "." || name == ".." {
		return -1, unix.EINVAL
	}
	up, err := ensure(root, dir, true)
	if err != nil {
		return -1, err
	}
	defer unix.Close(up)
	if directory {
		err = unix.Mkdirat(up, name, 0o755)
	} else {
		err = unix.Mknodat(up, name, unix.S_IFREG|0o644, 0)
	}
	flags := uint64(0)
	if directory {
		flags = unix.O_DIRECTORY
	}
	if err != nil { // a link that leads nowhere is EEXIST: it is not for us to make what it names
		return -1, err
	}
	return unix.Openat2(up, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW | flags, Resolve: resolveIn})
}

// split takes the last part off a path.
func split(path string) (dir, name string) {
	path = strings.TrimRight(path, "/")
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}

// pivot makes the directory the root and lets go of the old one.
func pivot(root int) error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	// The root is put over the old one and the old one over it, so no place of the image's is needed for it.
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Fchdir(old); err != nil {
		return err
	}
	if err := unix.Mount("", ".", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil { // its end is not the machine's
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	unix.Close(root)
	return unix.Chdir("/")
}

// conceal hides what the container is not to see, and seals what it is not to change. It comes last: what was mounted may be
// in such places.
func conceal(r *wire.Root) *failure {
	for _, path := range r.ReadOnly {
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if err == nil {
			err = unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}
		if err != nil && err != unix.ENOENT {
			return fail(wire.KindRoot, "seal "+path, err)
		}
	}
	for _, path := range r.Masked {
		if err := mask(path); err != nil && !errors.Is(err, unix.ENOENT) {
			return fail(wire.KindRoot, "hide "+path, err)
		}
	}
	if r.Sealed {
		if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
			return fail(wire.KindRoot, "seal the root", err)
		}
	}
	return nil
}

// null is the number of the device that is always empty.
var null = unix.Mkdev(1, 3)

// mask has a path show nothing: an empty directory that cannot be written, or the null device, which is looked at first since
// what stands in its place would be shown instead.
func mask(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	fd, err := unix.Open("/dev/null", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open /dev/null", err)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != null {
		return unix.EPERM
	}
	return unix.Mount(fdPath(fd), path, "", unix.MS_BIND, "")
}
