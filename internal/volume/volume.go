// Package volume keeps the data of persistent volumes on an agent: where it is, how it comes into a sandbox, and how it goes when
// its volume is destroyed, whatever crashes in between. Paths are the original's.
package volume

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pando-os/pando/mesos/resource"
)

// maxPlace bounds a container path, which is the most that a system takes.
const maxPlace = 4095

// base is the directory below which the volumes of a disk are: the agent's own for the root disk.
func base(workDir string, d *resource.Disk) (string, error) {
	switch d.Source.Kind {
	case resource.RootDisk:
		return filepath.Join(workDir, "volumes"), nil
	case resource.PathDisk, resource.MountDisk:
		if d.Source.Root == "" {
			return "", errors.New("disk.source: has no root; say where the disk is")
		}
		root := d.Source.Root
		if !filepath.IsAbs(root) {
			root = filepath.Join(workDir, root)
		}
		if d.Source.Kind == resource.MountDisk {
			return root, nil
		}
		return filepath.Join(root, "volumes"), nil
	}
	return "", errors.New("disk.source.type: only ROOT, PATH and MOUNT disks hold volumes on this agent")
}

// Path is where the data of a volume is. A role's slashes are written as spaces, which no role has, so that no volume of a role lies
// among those of a role below it. A MOUNT disk is one volume, whole.
func Path(workDir string, v *resource.Resource) (string, error) {
	b, err := base(workDir, v.Traits.Disk)
	if err != nil || v.Traits.Disk.Source.Kind == resource.MountDisk {
		return b, err
	}
	role, id := v.VolumeKey()
	for _, name := range []string{role, id} {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "\x00") || strings.Contains(id, "/") {
			return "", fmt.Errorf("volume %q of role %q: no directory can be called so", id, role)
		}
	}
	return filepath.Join(b, "roles", strings.ReplaceAll(role, "/", " "), id), nil
}

// Make makes the directory of a volume, if it is not there, and gives it to a user; negative numbers leave it as it is.
func Make(workDir string, v *resource.Resource, uid, gid int) (string, error) {
	dir, err := Path(workDir, v)
	if err != nil {
		return "", err
	}
	if v.Traits.Disk.Source.Kind != resource.MountDisk {
		if err := passable(filepath.Dir(dir)); err != nil {
			return "", err
		}
		if err := os.Mkdir(dir, 0o755); err == nil {
			err = os.Chmod(dir, 0o755) // whatever the umask took
			if err != nil {
				return "", err
			}
		} else if !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	st, err := os.Lstat(dir)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("%s is no directory", dir)
	}
	if err == nil && uid >= 0 {
		err = os.Chown(dir, uid, gid)
	}
	return dir, err
}

// passable makes a directory and those above it that are missing, so that every user comes through.
func passable(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := passable(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, os.ErrExist) { // another launch was quicker
			return nil
		}
		return err
	}
	return os.Chmod(dir, 0o755)
}

// CheckPlace refuses a container path at which a volume cannot appear: it must lie below the sandbox.
func CheckPlace(place string) error {
	switch {
	case place == "" || len(place) > maxPlace:
		return fmt.Errorf("container_path: has %d bytes; give a name, or a path of at most %d", len(place), maxPlace)
	case strings.HasPrefix(place, "/"):
		return fmt.Errorf("container_path: %q is absolute, which needs an image; give a path below the sandbox", place)
	case strings.ContainsRune(place, 0):
		return fmt.Errorf("container_path: %q holds a zero byte; leave it out", place)
	case path.Clean(place) == ".":
		return fmt.Errorf("container_path: %q is the sandbox itself; give a name in it", place)
	}
	for part := range strings.SplitSeq(place, "/") {
		if part == ".." {
			return fmt.Errorf("container_path: %q leads out of where it is; give a path that has no parent in it", place)
		}
	}
	return nil
}

// Place lets a volume appear at a path in a sandbox: there is no mount namespace yet, so it is a link. Directories on the way are
// made and given to the user; a link among them is refused, and so is whatever is there already. Placing it again is no error.
func Place(sandbox, place, dir string, uid, gid int) error {
	root, err := os.OpenRoot(sandbox)
	if err != nil {
		return err
	}
	defer root.Close()
	return PlaceIn(root, place, dir, uid, gid)
}

// PlaceIn is Place for a sandbox that is open, since a user might have put a link in its place.
func PlaceIn(root *os.Root, place, dir string, uid, gid int) error {
	if err := CheckPlace(place); err != nil {
		return err
	}
	place = path.Clean(place)
	for i, c := range place {
		if c != '/' {
			continue
		}
		if err := makeIn(root, place[:i], uid, gid); err != nil {
			return fmt.Errorf("container_path: %w", err)
		}
	}
	err := root.Symlink(dir, place)
	if errors.Is(err, os.ErrExist) {
		if to, linkErr := root.Readlink(place); linkErr == nil && to == dir {
			return nil
		}
		return fmt.Errorf("container_path: %q is there already; choose another place", place)
	}
	return err
}

// MakeShared makes a directory that is shared, at a path below one of the agent's own, and gives what it makes to a user. A file that
// is there stays; a link is refused, since what is below belongs to a user.
func MakeShared(top, below string, uid, gid int) error {
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer root.Close()
	if st, err := root.Lstat(below); err == nil && st.Mode().IsRegular() {
		return nil
	}
	for i, c := range below + "/" {
		if c != '/' {
			continue
		}
		if err := makeIn(root, below[:i], uid, gid); err != nil {
			return fmt.Errorf("sandbox_path.path: %w", err)
		}
	}
	return nil
}

// makeIn makes a directory, or finds that it is one.
func makeIn(root *os.Root, name string, uid, gid int) error {
	err := root.Mkdir(name, 0o755)
	if errors.Is(err, os.ErrExist) {
		st, err := root.Lstat(name)
		if err == nil && !st.IsDir() {
			err = fmt.Errorf("%q is no directory; choose another place", name)
		}
		return err
	}
	if err != nil || uid < 0 {
		return err
	}
	dir, err := root.Open(name) // by what is open: its name may be another's by now
	if err != nil {
		return err
	}
	return errors.Join(dir.Chown(uid, gid), dir.Close())
}
