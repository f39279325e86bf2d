package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/image/failure"
)

// tree is a directory as an archive may change it. Every path is walked from the top, one element at a time, and no element
// but the last may be anything other than a directory: so no link is ever followed, on any kernel. It belongs to one goroutine,
// and nobody else changes the directory.
type tree struct {
	root *os.Root // for removing, which os.Root does safely
	top  int
	// The directory that was walked to last stays open: archives name their files directory by directory.
	lastPath string
	lastFD   int
	// made is called before a directory is made that only a longer name implies.
	made func(rel string) error
}

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	top, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return &tree{root: root, top: top, lastPath: ".", lastFD: top}, nil
}

func (t *tree) close() {
	t.forget()
	unix.Close(t.top)
	t.root.Close()
}

// forget closes the directory that is kept open. It must come before any directory goes away.
func (t *tree) forget() {
	if t.lastFD != t.top {
		unix.Close(t.lastFD)
	}
	t.lastPath, t.lastFD = ".", t.top
}

// dir opens a directory by its clean path; the descriptor is the tree's and good until the next call. Missing ones are made
// when create is set.
func (t *tree) dir(rel string, create bool) (int, error) {
	if rel == t.lastPath {
		return t.lastFD, nil
	}
	from, fd, walked := rel, t.top, ""
	if t.lastPath != "." && strings.HasPrefix(rel, t.lastPath+"/") {
		from, fd, walked = rel[len(t.lastPath)+1:], t.lastFD, t.lastPath
	}
	if rel == "." {
		from = ""
	}
	owned := false // fd is neither the top nor the one that is kept
	for part := range strings.SplitSeq(from, "/") {
		if part == "" {
			continue
		}
		walked = path.Join(walked, part)
		next, err := t.step(fd, part, walked, create)
		if owned {
			unix.Close(fd)
		}
		if err != nil {
			return -1, err
		}
		fd, owned = next, true
	}
	if !owned { // the top itself
		t.forget()
		return t.top, nil
	}
	t.forget()
	t.lastPath, t.lastFD = rel, fd
	return fd, nil
}

// step opens one directory in another.
func (t *tree) step(at int, name, rel string, create bool) (int, error) {
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_RDONLY | unix.O_CLOEXEC
	fd, err := unix.Openat(at, name, flags, 0)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		var st unix.Stat_t
		if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return -1, fmt.Errorf("look at %s: %w", rel, err)
		}
		if create && isWhiteout(&st) {
			return t.reopen(at, name, rel)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return -1, failure.New(failure.BadArchive, "the archive has files below %q, which is a symbolic link in the same layer; a link is not followed while unpacking", rel)
		}
		return -1, failure.New(failure.BadArchive, "the archive has files below %q, which is no directory in the same layer", rel)
	case !errors.Is(err, unix.ENOENT) || !create:
		return -1, fmt.Errorf("open %s: %w", rel, err)
	}
	return t.imply(at, name, rel)
}

// reopen makes a directory where the archive had a whiteout before: the new one hides what lower layers have.
func (t *tree) reopen(at int, name, rel string) (int, error) {
	if err := unix.Unlinkat(at, name, 0); err != nil {
		return -1, fmt.Errorf("remove %s: %w", rel, err)
	}
	fd, err := t.imply(at, name, rel)
	if err != nil {
		return -1, err
	}
	if err := setOpaque(fd, rel); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// imply makes a directory that only a longer name told of.
func (t *tree) imply(at int, name, rel string) (int, error) {
	if err := t.made(rel); err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(at, name, 0o755); err != nil {
		return -1, fmt.Errorf("make the directory %s: %w", rel, err)
	}
	fd, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", rel, err)
	}
	if err := unix.Fchmod(fd, 0o755); err != nil { // whatever the umask
		unix.Close(fd)
		return -1, fmt.Errorf("set the mode of %s: %w", rel, err)
	}
	return fd, nil
}

// parent opens the directory that an entry is in, with the entry's own name; create makes what is missing.
func (t *tree) parent(rel string, create bool) (int, string, error) {
	fd, err := t.dir(path.Dir(rel), create)
	return fd, path.Base(rel), err
}

// lookup says what is there under a path: nil when nothing is.
func (t *tree) lookup(at int, name, rel string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	switch err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case errors.Is(err, unix.ENOENT):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look at %s: %w", rel, err)
	}
	return &st, nil
}

// remove takes away what is there, with all below it when it is a directory. Its parents have been walked, so os.Root meets no
// link on the way.
func (t *tree) remove(rel string) error {
	t.forget()
	if err := t.root.RemoveAll(rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace %s: %w", rel, err)
	}
	return nil
}

// isWhiteout says whether something is what an overlay takes for "removed" (kernel: Documentation/filesystems/overlayfs,
// "whiteouts and opaque directories").
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && hides(st.Rdev)
}

// hides says whether a character device is a whiteout.
func hides(device uint64) bool { return device == 0 || device == whiteoutWithin }

// whiteoutWithin is the device that stands for one where layers are on an overlay themselves, which lets nobody make its own marks. No
// overlay is made of such layers: its upper directory would be there too. There is no such device otherwise.
const whiteoutWithin = 1

func makeWhiteout(at int, name string) error {
	err := unix.Mknodat(at, name, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EPERM) && unix.Mknodat(at, name, unix.S_IFCHR, whiteoutWithin) == nil {
		return nil
	}
	return err
}

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// opaqueXattr marks a directory that hides what lower layers have there, and opaqueWithin does where layers are on an overlay themselves.
const (
	opaqueXattr  = "trusted.overlay.opaque"
	opaqueWithin = "trusted.pando.opaque"
)

func setOpaque(fd int, rel string) error {
	err := unix.Fsetxattr(fd, opaqueXattr, []byte("y"), 0)
	if err != nil && unix.Fsetxattr(fd, opaqueWithin, []byte("y"), 0) == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark %s opaque (%s): %w", rel, opaqueXattr, err)
	}
	return nil
}

// below names a file of an open directory for the calls that take no descriptor. The kernel resolves the descriptor; the name
// itself has no slash.
func below(fd int, name string) string { return "/proc/self/fd/" + strconv.Itoa(fd) + "/" + name }
