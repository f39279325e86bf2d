package agent

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/agent/journal"
	"github.com/pando-os/pando/internal/agent/records"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/internal/volume"
	"github.com/pando-os/pando/mesos/resource"
)

// placeVolumes lets the persistent volumes among some resources appear in the sandbox of a container, which is its run's or below it.
// They are given to the container's user, unless somebody else here uses them already.
func (a *Agent) placeVolumes(at *place, run sandbox.Run, container string, rs resource.List, uid, gid int) error {
	for _, v := range rs.PersistentVolumes() {
		owner, group := uid, gid
		if a.volumeUsed(&v, container) {
			owner, group = -1, -1
		}
		where := v.Traits.Disk.Volume.ContainerPath
		dir, err := volume.Make(a.cfg.WorkDir, &v, owner, group)
		switch {
		case err != nil:
		case at.root != nil:
			err = volume.PlaceIn(at.root, where, dir, uid, gid)
		default:
			err = volume.Place(at.dir, where, dir, uid, gid)
		}
		if err != nil {
			return fmt.Errorf("volume %q: %w", v.PersistenceID(), err)
		}
		a.files.AttachBelow(a.cfg.WorkDir, run, placeBelow(container, where), dir)
	}
	return nil
}

// mountVolumes has them mounted in a container with an image.
func (a *Agent) mountVolumes(id string, rs resource.List, uid, gid int) ([]container.Mount, error) {
	for _, v := range rs.PersistentVolumes() {
		owner, group := uid, gid
		if a.volumeUsed(&v, id) {
			owner, group = -1, -1
		}
		if _, err := volume.Make(a.cfg.WorkDir, &v, owner, group); err != nil {
			return nil, fmt.Errorf("volume %q: %w", v.PersistenceID(), err)
		}
	}
	return a.mountsOf(rs)
}

// mountsOf says how the persistent volumes among some resources are mounted in a container with an image.
func (a *Agent) mountsOf(rs resource.List) ([]container.Mount, error) {
	var out []container.Mount
	for _, v := range rs.PersistentVolumes() {
		dir, err := volume.Path(a.cfg.WorkDir, &v)
		if err != nil {
			return nil, fmt.Errorf("volume %q: %w", v.PersistenceID(), err)
		}
		m := container.Mount{Kind: container.MountBind, Source: dir, Target: imaged.Inside(v.Traits.Disk.Volume.ContainerPath), Flags: standard.NoDev}
		if v.Traits.Disk.Volume.ReadOnly {
			m.Flags |= standard.ReadOnly
		}
		out = append(out, m)
	}
	return out, nil
}

// placeBelow is a path in a container's sandbox as a path in that of the container at the top.
func placeBelow(container, where string) string {
	if _, below, ok := strings.Cut(container, "."); ok {
		return path.Join(sandbox.Containers, below, where)
	}
	return where
}

// volumeUsed says whether anything here but one container uses a volume.
func (a *Agent) volumeUsed(v *resource.Resource, but string) bool {
	role, id := v.VolumeKey()
	view := a.view.Load()
	for _, t := range view.Tasks {
		if !t.Ended && t.Container != but && t.Task.Resources.FindVolume(role, id) != nil {
			return true
		}
	}
	for _, x := range view.Executors {
		if x.Container != but && x.Spec.Resources.FindVolume(role, id) != nil {
			return true
		}
	}
	return false
}

// bringVolumes places a task's volumes in the sandbox of its executor, which runs; the end comes back as VolumesPlaced.
func (a *Agent) bringVolumes(w *workload.LaunchWork) {
	a.work.Go(func() {
		in := &workload.VolumesPlaced{Ref: workload.Ref{Framework: w.Task.Framework, Task: w.Task.ID}, Container: w.Container}
		run := sandbox.Run{Agent: a.view.Load().Agent, Framework: w.Task.Framework, Executor: w.Executor.ID, Container: w.Container}
		uid, gid := -1, -1
		var err error
		if a.cfg.SwitchUser {
			var u host.User
			u, err = host.LookupUser(w.Executor.User)
			uid, gid = int(u.UID), int(u.GID)
		}
		var x mesosv1.ExecutorInfo
		read(w.Executor.Info, &x)
		if imaged.Wants(x.GetContainer()) && len(w.Task.Resources.PersistentVolumes()) > 0 {
			err = errors.New("its executor runs in an image, into which volumes come only when it starts; give the volume to the executor (executor.resources), or run that without an image")
		}
		if err == nil {
			err = a.placeVolumes(&place{dir: run.Path(a.cfg.WorkDir)}, run, w.Container, w.Task.Resources, uid, gid)
		}
		if err != nil {
			in.Words = "The task's volumes cannot be placed: " + err.Error()
		}
		_ = a.loop.Put(a.base, in) // an agent that stops asks again when it starts
	})
}

// removeVolume removes the data of a volume that was destroyed. Its place is free when this returns. What fails is tried again when
// the agent starts.
func (a *Agent) removeVolume(d *workload.Doomed) {
	if err := volume.Discard(a.cfg.WorkDir, d.UUID, d.Volume); err != nil {
		a.deps.Log.Error("the data of a destroyed volume cannot be moved aside", "volume", d.Volume.PersistenceID(), "role", d.Volume.Role(), "error", err)
		return
	}
	if dir, err := volume.Path(a.cfg.WorkDir, d.Volume); err == nil {
		a.files.DetachPlace(dir)
	}
	a.work.Go(func() {
		if err := volume.Delete(a.cfg.WorkDir, d.UUID, d.Volume); err != nil {
			a.deps.Log.Error("the data of a destroyed volume cannot be removed", "volume", d.Volume.PersistenceID(), "role", d.Volume.Role(), "error", err)
			return
		}
		_ = a.loop.Put(a.base, &workload.VolumeRemoved{UUID: d.UUID}) // as above
	})
}

func (a *Agent) clearVolume(d *workload.Doomed) {
	a.work.Go(func() {
		if err := volume.Clear(a.cfg.WorkDir, d.UUID, d.Volume); err != nil {
			a.deps.Log.Debug("the trace of a destroyed volume stays until the next start", "error", err)
		}
	})
}

// findVolumes shows the volumes of tasks that outlived an earlier run of this process, and clears what that left of destroyed ones.
func (a *Agent) findVolumes(kept workload.Kept) {
	var doomed []string
	for _, d := range kept.Doomed {
		doomed = append(doomed, d.UUID)
	}
	if err := volume.Sweep(a.cfg.WorkDir, a.cfg.Resources, doomed); err != nil {
		a.deps.Log.Warn("what is left of destroyed volumes cannot be removed", "error", err)
	}
	attach := func(run sandbox.Run, container string, rs resource.List) {
		for _, v := range rs.PersistentVolumes() {
			if dir, err := volume.Path(a.cfg.WorkDir, &v); err == nil && v.Traits.Disk.Volume != nil {
				a.files.AttachBelow(a.cfg.WorkDir, run, placeBelow(container, v.Traits.Disk.Volume.ContainerPath), dir)
			}
		}
	}
	view := a.view.Load()
	for _, t := range view.Tasks {
		run := sandbox.Run{Agent: view.Agent, Framework: t.Task.Framework, Executor: t.Task.ID, Container: t.Top()}
		if x := t.Task.Executor; x != nil {
			run.Executor = x.ID
		}
		attach(run, t.Container, t.Task.Resources)
	}
	for _, x := range view.Executors {
		attach(sandbox.Run{Agent: view.Agent, Framework: x.Spec.Framework, Executor: x.Spec.ID, Container: x.Container}, x.Container, x.Spec.Resources)
	}
}

// fits refuses settings with which something that is reserved here, or a volume, would be lost.
func (a *Agent) fits(kept workload.Kept) error {
	if _, err := a.cfg.Resources.WithKept(kept.Resources); err != nil {
		return fmt.Errorf("the agent's resources (%s) lack what its reservations and volumes are made of: %w; start it with at least those, UNRESERVE and DESTROY what is to go, and then change --resources; or move %s away, which loses all that is reserved here",
			a.cfg.Resources, err, filepath.Join(a.cfg.WorkDir, "meta"))
	}
	return nil
}

// replaceJournal writes records in the place of all that a journal holds.
func replaceJournal(j *journal.Journal, saved []workload.Record) error {
	all := make([][]byte, len(saved))
	var failed error
	for i := range saved {
		b, err := records.Encode(&saved[i])
		all[i], failed = b, errors.Join(failed, err)
	}
	if failed != nil {
		return failed
	}
	return j.Replace(all)
}
