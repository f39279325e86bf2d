package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Containers is the directory in a run's sandbox in which those of the containers below it are.
const Containers = "containers"

// CreateBelow makes the sandbox of a container below a run's, in the run's own, and opens it. The path is without links. What
// is in a run's sandbox belongs to a user, who may put links anywhere in it; none is followed out of it here, and who opens
// the path later must follow none behind the run's either.
func CreateBelow(workDir string, r Run, id string, uid, gid int) (string, *os.Root, error) {
	if err := errors.Join(r.check(), ValidID("container id", id)); err != nil {
		return "", nil, err
	}
	top, err := filepath.EvalSymlinks(r.Path(workDir))
	if err != nil {
		return "", nil, fmt.Errorf("make the sandbox: %w", err)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return "", nil, fmt.Errorf("make the sandbox: %w", err)
	}
	defer root.Close()
	name := filepath.Join(Containers, id)
	if err = root.Mkdir(Containers, 0o755); errors.Is(err, os.ErrExist) {
		err = nil
	}
	if err == nil {
		if err = root.Mkdir(name, 0o750); errors.Is(err, os.ErrExist) {
			err = nil
		}
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
	return filepath.Join(top, name), below, nil
}
