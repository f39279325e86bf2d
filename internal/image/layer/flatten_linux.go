package layer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/image/failure"
)

// Flatten copies what an overlay of the layers, topmost first, would show into the directory to, which exists and is empty and which
// nobody else touches meanwhile. Devices and sockets are left out: no container can use those of its image. When it fails the directory
// holds a part, to be removed by the caller. Errors are of the kinds TooLarge, NotPermitted, Canceled and Internal.
func Flatten(ctx context.Context, layers []string, to string) error {
	t, err := openTree(to)
	if err != nil {
		return classify(err)
	}
	defer t.close()
	for _, dir := range slices.Backward(layers) {
		f := flattener{ctx: ctx, to: t, linked: map[inode]string{}}
		if err := f.layer(dir); err != nil {
			return classify(fmt.Errorf("copy the layer %s: %w", path.Base(dir), err))
		}
	}
	return nil
}

// inode is a file by its numbers.
type inode struct{ device, number uint64 }

// flattener copies one layer over those below it.
type flattener struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call
	to     *tree
	linked map[inode]string // where files with several names are already
}

func (f *flattener) layer(dir string) error {
	from, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	return f.directory(from, f.to.top, ".")
}

// directory copies what is in a directory, and then what it is: files made in it change its time, and its rules for new files are not
// for these.
func (f *flattener) directory(from, to int, rel string) error {
	names, err := namesIn(from)
	if err != nil {
		return fmt.Errorf("list %s: %w", rel, err)
	}
	for _, name := range names {
		if f.ctx.Err() != nil {
			return failure.New(failure.Canceled, "copying an image's files was given up: %w", context.Cause(f.ctx))
		}
		if err := f.entry(from, to, name, path.Join(rel, name)); err != nil {
			return err
		}
	}
	return same(from, to, rel)
}

func namesIn(fd int) ([]string, error) {
	again, err := unix.Openat(fd, ".", unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0) // it has a position of its own
	if err != nil {
		return nil, err
	}
	d := os.NewFile(uintptr(again), ".")
	defer d.Close()
	return d.Readdirnames(-1)
}

// entry copies one thing. What lower layers have in its place goes, but for a directory that both have.
func (f *flattener) entry(from, to int, name, rel string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("look at %s: %w", rel, err)
	}
	there, err := f.to.lookup(to, name, rel)
	if err != nil {
		return err
	}
	if isDir(&st) {
		return f.enter(from, to, name, rel, there)
	}
	if there != nil {
		if err := f.to.remove(rel); err != nil {
			return err
		}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return f.regular(from, to, name, rel, &st)
	case unix.S_IFLNK:
		target, err := os.Readlink(below(from, name))
		if err == nil {
			err = unix.Symlinkat(target, to, name)
		}
		if err != nil {
			return fmt.Errorf("copy the symbolic link %s: %w", rel, err)
		}
	case unix.S_IFIFO:
		if err := unix.Mknodat(to, name, unix.S_IFIFO, 0); err != nil {
			return fmt.Errorf("make the pipe %s: %w", rel, err)
		}
	default: // a whiteout among them
		return nil
	}
	return sameNode(to, name, rel, &st)
}

// enter copies a directory into what is there.
func (f *flattener) enter(from, to int, name, rel string, there *unix.Stat_t) error {
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_RDONLY | unix.O_CLOEXEC
	in, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", rel, err)
	}
	defer unix.Close(in)
	if there != nil && (isOpaque(in) || !isDir(there)) {
		if err := f.to.remove(rel); err != nil {
			return err
		}
		there = nil
	}
	if there == nil {
		if err := unix.Mkdirat(to, name, 0o700); err != nil {
			return fmt.Errorf("make the directory %s: %w", rel, err)
		}
	}
	out, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", rel, err)
	}
	defer unix.Close(out)
	return f.directory(in, out, rel)
}

// regular copies a file, or links it to where it is already.
func (f *flattener) regular(from, to int, name, rel string, st *unix.Stat_t) error {
	key := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // its type is another on other machines
	if first, ok := f.linked[key]; ok {
		// On the way there are only directories of this layer.
		if err := unix.Linkat(f.to.top, first, to, name, 0); err != nil {
			return fmt.Errorf("link %s to %s: %w", rel, first, err)
		}
		return nil
	}
	in, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", rel, err)
	}
	source := os.NewFile(uintptr(in), rel)
	defer source.Close()
	out, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", rel, err)
	}
	target := os.NewFile(uintptr(out), rel)
	defer target.Close()
	if unix.IoctlFileClone(out, in) != nil { // few file systems can
		if err := f.content(target, source); err != nil {
			return fmt.Errorf("copy %s: %w", rel, err)
		}
	}
	if st.Nlink > 1 {
		f.linked[key] = rel
	}
	return same(in, out, rel)
}

// content copies what is in a file.
func (f *flattener) content(to, from *os.File) error {
	const piece = 64 << 20
	for f.ctx.Err() == nil {
		if _, err := io.CopyN(to, from, piece); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return failure.New(failure.Canceled, "it was given up: %w", context.Cause(f.ctx))
}

// same gives an open file or directory what another one is beside its content. The order matters: a change of owner takes away set-id
// bits and capabilities.
func same(from, to int, rel string) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return fmt.Errorf("look at %s: %w", rel, err)
	}
	if err := unix.Fchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("give %s to %d:%d: %w", rel, st.Uid, st.Gid, err)
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return fmt.Errorf("set the mode of %s: %w", rel, err)
	}
	if err := sameXattrs(fdPath(from), fdPath(to)); err != nil {
		return fmt.Errorf("the attributes of %s: %w", rel, err)
	}
	ts := []unix.Timespec{st.Mtim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fdPath(to), ts, 0); err != nil {
		return fmt.Errorf("set the time of %s: %w", rel, err)
	}
	return nil
}

// sameNode does so for a link or pipe, whose extended attributes are of no use.
func sameNode(to int, name, rel string, st *unix.Stat_t) error {
	if err := unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("give %s to %d:%d: %w", rel, st.Uid, st.Gid, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK { // nobody else changes the directory, so it is still no link
		if err := unix.Fchmodat(to, name, st.Mode&0o7777, 0); err != nil {
			return fmt.Errorf("set the mode of %s: %w", rel, err)
		}
	}
	ts := []unix.Timespec{st.Mtim, st.Mtim}
	if err := unix.UtimesNanoAt(to, name, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set the time of %s: %w", rel, err)
	}
	return nil
}

// fdPath names what a descriptor is open for.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// sameXattrs gives a file the extended attributes of another that layers may have, and takes those away that it has besides: from a
// lower layer's directory, or by the rules of the one that it is in.
func sameXattrs(from, to string) error {
	want, err := xattrsOf(from)
	if err != nil {
		return err
	}
	have, err := xattrsOf(to)
	if err != nil {
		return err
	}
	for name := range have {
		if _, keep := want[name]; !keep {
			if err := unix.Removexattr(to, name); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	for name, value := range want {
		err := unix.Setxattr(to, name, value, 0)
		if errors.Is(err, unix.EOPNOTSUPP) && strings.HasPrefix(name, "user.") {
			continue // as where layers are unpacked
		}
		if err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// xattrsOf are the extended attributes of a file that layers may have.
func xattrsOf(file string) (map[string][]byte, error) {
	list, err := read(func(b []byte) (int, error) { return unix.Listxattr(file, b) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(string(list), "\x00") {
		if name == "" || !keepsXattr(name) {
			continue
		}
		if out[name], err = read(func(b []byte) (int, error) { return unix.Getxattr(file, name, b) }); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return out, nil
}

// read calls what fills a buffer, or says how long one must be. Nobody else changes what it reads.
func read(call func([]byte) (int, error)) ([]byte, error) {
	n, err := call(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	b := make([]byte, n)
	n, err = call(b)
	return b[:max(n, 0)], err
}
