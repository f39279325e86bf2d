package image

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// diskOf gives the bytes that are free for this process and those there are, on the file system of a directory.
func diskOf(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// syncAll waits until all that was written to the file system of a directory is on the disk. One call for an image costs less than
// one for each of its files.
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write %s to the disk: %w", dir, err)
	}
	return nil
}

// lock makes sure that no other process uses the directory. The lock goes with the file, and with the process.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
