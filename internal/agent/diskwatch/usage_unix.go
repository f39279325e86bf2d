//go:build unix

package diskwatch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// entries is how many names of a directory are read at a time: one may have millions.
const entries = 1024

// usage adds up the blocks of all files below a directory, in bytes, as du(1) does: a file of several names counts once, links are not
// followed, and what is mounted below is another's.
func usage(ctx context.Context, dir string) (int64, error) {
	var st unix.Stat_t
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return 0, err
	}
	w := &walk{ctx: ctx, device: uint64(st.Dev), seen: map[uint64]bool{}} //nolint:unconvert // its type is another on other systems
	err = w.directory(fd)
	return w.bytes + st.Blocks*blockSize, err
}

const blockSize = 512 // of st_blocks, whatever the file system has

// maxDepth bounds how many directories are open at a time. What is deeper is not counted.
const maxDepth = 256

type walk struct {
	ctx    context.Context
	depth  int
	device uint64
	seen   map[uint64]bool // inodes of files with several names
	bytes  int64
}

// directory adds up what is below an open directory, and closes it. What vanishes meanwhile does not count.
func (w *walk) directory(fd int) error {
	defer unix.Close(fd)
	w.depth++
	defer func() { w.depth-- }()
	if w.depth > maxDepth {
		return errDeep
	}
	buf := make([]byte, 32<<10)
	for deep := error(nil); ; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return errors.Join(ignoreGone(err), deep)
		}
		_, _, names := unix.ParseDirent(buf[:n], entries, nil)
		for _, name := range names {
			if err := w.entry(fd, name); errors.Is(err, errDeep) {
				deep = err
			} else if err != nil {
				return err
			}
		}
	}
}

func (w *walk) entry(at int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return ignoreGone(err)
	}
	if uint64(st.Dev) != w.device { //nolint:unconvert // as above
		return nil
	}
	directory := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !directory && st.Nlink > 1 {
		if w.seen[st.Ino] {
			return nil
		}
		w.seen[st.Ino] = true
	}
	w.bytes += st.Blocks * blockSize
	if !directory {
		return nil
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignoreGone(err)
	}
	return w.directory(fd)
}

var errDeep = fmt.Errorf("there are more than %d directories one below the other; what is deeper is not counted", maxDepth)

// ignoreGone is no error for what a program removed, or put something else in the place of, or does not let even its agent read.
func ignoreGone(err error) error {
	for _, gone := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EACCES} {
		if errors.Is(err, gone) {
			return nil
		}
	}
	return err
}
