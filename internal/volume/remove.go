package volume

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pando-os/pando/mesos/resource"
)

// A volume that is destroyed goes in three steps, each of which may be the last before a crash:
//
//	Discard  moves its data aside, under the doomed volume's own name. From then on its place is free for another one.
//	Delete   removes the data and leaves the empty directory: the sign that there is nothing to move aside any more.
//	Clear    removes that, once the journal says that the volume is gone.
//
// What was moved aside is found by its name, so a second Discard never touches the successor's data.
const (
	aside = ".removed"
	// On a MOUNT disk many things are moved, one after the other: into the first, which is then called the second.
	moving, moved = ".removing-", ".removed-"
)

// Discard moves the data of a doomed volume aside.
func Discard(workDir, uuid string, v *resource.Resource) error {
	trash, err := trashOf(workDir, uuid, v)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(trash); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err // it was moved before
	}
	dir, err := Path(workDir, v)
	if err != nil {
		return err
	}
	if v.Traits.Disk.Source.Kind == resource.MountDisk {
		return discardMount(dir, uuid, trash)
	}
	if err := os.MkdirAll(filepath.Dir(trash), 0o700); err != nil {
		return err
	}
	if err := os.Rename(dir, trash); errors.Is(err, os.ErrNotExist) { // nothing was ever put into it
		err = os.Mkdir(trash, 0o700)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return errors.Join(settle(filepath.Dir(trash)), settle(filepath.Dir(dir)))
}

func discardMount(dir, uuid, trash string) error {
	heap := filepath.Join(dir, moving+hex.EncodeToString([]byte(uuid)))
	if err := os.Mkdir(heap, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n := e.Name(); n == "lost+found" || strings.HasPrefix(n, moving) || strings.HasPrefix(n, moved) {
			continue
		}
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(heap, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Rename(heap, trash); err != nil {
		return err
	}
	return settle(dir)
}

// Delete removes what Discard has moved aside. Links in it are removed, not followed.
func Delete(workDir, uuid string, v *resource.Resource) error {
	trash, err := trashOf(workDir, uuid, v)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(trash)
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	err = errors.Join(err, dir.Close())
	for _, n := range names {
		err = errors.Join(err, root.RemoveAll(n))
	}
	return err
}

// Clear removes the last trace of a doomed volume.
func Clear(workDir, uuid string, v *resource.Resource) error {
	trash, err := trashOf(workDir, uuid, v)
	if err != nil {
		return err
	}
	if err = os.Remove(trash); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Sweep clears the traces of volumes on the disks of a list that are not doomed any more: a crash came before their Clear.
func Sweep(workDir string, disks resource.List, doomed []string) error {
	keep := func(name string) bool {
		return slices.ContainsFunc(doomed, func(uuid string) bool { return strings.HasSuffix(name, hex.EncodeToString([]byte(uuid))) })
	}
	var all error
	sweep := func(dir, prefix string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) {
				all = errors.Join(all, err)
			}
			return
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), prefix) && !keep(e.Name()) {
				all = errors.Join(all, os.RemoveAll(filepath.Join(dir, e.Name())))
			}
		}
	}
	sweep(filepath.Join(workDir, "volumes", aside), "")
	for i := range disks {
		t := disks[i].Traits
		if t == nil || t.Disk == nil || t.Disk.Source.Kind != resource.PathDisk && t.Disk.Source.Kind != resource.MountDisk {
			continue
		}
		dir, err := base(workDir, t.Disk)
		switch {
		case err != nil:
		case t.Disk.Source.Kind == resource.PathDisk:
			sweep(filepath.Join(dir, aside), "")
		default:
			sweep(dir, moved)
		}
	}
	return all
}

func trashOf(workDir, uuid string, v *resource.Resource) (string, error) {
	dir, err := base(workDir, v.Traits.Disk)
	name := hex.EncodeToString([]byte(uuid))
	if err != nil || v.Traits.Disk.Source.Kind == resource.MountDisk {
		return filepath.Join(dir, moved+name), err
	}
	return filepath.Join(dir, aside, name), nil
}

// settle makes what was moved in a directory durable.
func settle(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
