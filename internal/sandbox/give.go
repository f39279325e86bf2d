package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Give makes a sandbox that Create made, with all that is in it, another user's. Nothing of its container may run yet.
func Give(dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		return errors.Join(err, root.Lchown(name, uid, gid))
	})
	if err != nil {
		return fmt.Errorf("give the sandbox to user %d: %w", uid, err)
	}
	return nil
}
