package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// CreateNested makes a sandbox that is so many levels below that of the container at the top, each in the directory
// Containers of the one above it; with none it is the one at the top itself. It must not be there. As in CreateBelow no link
// is followed out of the top's.
func CreateNested(path string, levels, uid, gid int) (string, *os.Root, error) {
	if levels == 0 {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", nil, fmt.Errorf("make the sandbox's parent: %w; see that --work-dir can be written", err)
		}
	}
	dir, root, name, err := openTop(path, levels)
	if err != nil {
		return "", nil, fmt.Errorf("make the sandbox: %w", err)
	}
	defer root.Close()
	if levels > 0 {
		if err = root.Mkdir(filepath.Dir(name), 0o755); errors.Is(err, os.ErrExist) {
			err = nil
		}
	}
	if err == nil {
		err = root.Mkdir(name, 0o750)
	}
	if err == nil {
		err = root.Chmod(name, 0o750) // whatever the umask took
	}
	if err == nil && uid >= 0 {
		err = root.Lchown(name, uid, gid)
	}
	if err != nil {
		return "", nil, fmt.Errorf("make the sandbox: %w", err)
	}
	below, err := root.OpenRoot(name)
	if err != nil {
		return "", nil, fmt.Errorf("open the sandbox: %w", err)
	}
	return filepath.Join(dir, name), below, nil
}

// RemoveNested removes a sandbox that CreateNested made. What is not there needs no removal.
func RemoveNested(path string, levels int) error {
	_, root, name, err := openTop(path, levels)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(name)
}

// openTop opens what is to be trusted of a path, without links in it: the sandbox of the container at the top, or the
// directory of those that stand alone. name is the rest.
func openTop(path string, levels int) (dir string, root *os.Root, name string, err error) {
	parts := strings.Split(filepath.Clean(path), string(filepath.Separator))
	n := len(parts) - max(2*levels, 1)
	if n < 1 {
		return "", nil, "", fmt.Errorf("%s is not a sandbox %d levels down", path, levels)
	}
	dir, err = filepath.EvalSymlinks(strings.Join(parts[:n], string(filepath.Separator)))
	if err != nil {
		return "", nil, "", err
	}
	root, err = os.OpenRoot(dir)
	return dir, root, filepath.Join(parts[n:]...), err
}
