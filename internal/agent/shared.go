package agent

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/volume"
)

// placeShared lets places in the sandbox of its executor appear in that of a group's task. They are not shown as files of the
// task: a place in a sandbox belongs to a user, who may put a link to anything there.
func (a *Agent) placeShared(at *place, w *workload.LaunchWork, b *blueprint, uid, gid int) error {
	if w.Parent == "" {
		return nil
	}
	for _, v := range b.container.GetVolumes() {
		if a.cfg.SwitchUser && w.Executor.User != b.user {
			return fmt.Errorf("%q is in the sandbox of user %q, which user %q may not enter; let both be the same", v.GetContainerPath(), w.Executor.User, b.user)
		}
		top, below, err := a.sharedPlace(w, b, path.Clean(v.GetSource().GetSandboxPath().GetPath()))
		if err == nil && below != "" {
			err = volume.MakeShared(top, below, uid, gid)
		}
		if err == nil {
			err = volume.PlaceIn(at.root, v.GetContainerPath(), filepath.Join(top, below), uid, gid)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", v.GetContainerPath(), err)
		}
	}
	return nil
}

// sharedPlace finds where a path in an executor's sandbox is: a directory that the agent made, and the path below it.
func (a *Agent) sharedPlace(w *workload.LaunchWork, b *blueprint, name string) (top, below string, err error) {
	for _, v := range w.Executor.Resources.PersistentVolumes() { // there it is a link, which leads out of the sandbox
		where := path.Clean(v.Traits.Disk.Volume.ContainerPath)
		if rest, ok := strings.CutPrefix(name, where); ok && (rest == "" || rest[0] == '/') {
			top, err = volume.Path(a.cfg.WorkDir, &v)
			return top, strings.TrimPrefix(rest, "/"), err
		}
	}
	top, err = filepath.EvalSymlinks(b.run.Path(a.cfg.WorkDir))
	if err != nil {
		err = errors.Join(errors.New("the executor's sandbox cannot be found"), err)
	}
	return top, name, err
}
