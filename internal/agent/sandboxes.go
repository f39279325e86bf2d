package agent

import (
	"context"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/internal/serve"
)

// diskWatch is how often the disk is looked at and sandboxes are collected. No sandbox younger than that is collected,
// however full the disk is: it may belong to a launch that the view does not show yet.
const diskWatch = time.Minute

// attachAll shows the sandboxes that are on disk, those of earlier runs of this process included.
func (a *Agent) attachAll() {
	runs, err := sandbox.Runs(a.cfg.WorkDir)
	if err != nil {
		a.deps.Log.Warn("the sandboxes of earlier tasks cannot be listed and are not shown", "error", err)
		return
	}
	var latest []sandbox.Run
	for _, r := range runs {
		if to, err := os.Readlink(r.Latest(a.cfg.WorkDir)); err == nil && to == r.Container {
			latest = append(latest, r)
			continue
		}
		a.files.AttachRun(a.cfg.WorkDir, r)
	}
	for _, r := range latest { // after the others of its executor: what is attached last has the name
		a.files.AttachRun(a.cfg.WorkDir, r)
	}
}

// maySee says whether the asking user may look into what is attached there: the sandboxes of his own frameworks.
func (a *Agent) maySee(r *http.Request, attached string) bool {
	who := serve.Who(r)
	if who.Root {
		return true
	}
	owner, ok := a.ownerOf(attached)
	return ok && who.May(owner)
}

// ownerOf finds the user of the framework that a sandbox belongs to. What nobody remembers is root's to see.
func (a *Agent) ownerOf(attached string) (user string, ok bool) {
	rest := attached
	if below, ok := strings.CutPrefix(attached, path.Clean(a.cfg.WorkDir)+"/slaves/"); ok {
		_, rest, _ = strings.Cut(below, "/")
		rest = "/" + rest
	}
	rest, ok = strings.CutPrefix(rest, "/frameworks/")
	if !ok {
		return "", false
	}
	id, _, _ := strings.Cut(rest, "/")
	v := a.view.Load()
	for _, f := range v.Frameworks {
		if f.ID == id {
			return f.User, true
		}
	}
	for _, f := range v.Former {
		if f.ID == id {
			return f.User, true
		}
	}
	return "", false
}

// collect removes old sandboxes of ended tasks, again and again, until the context ends.
func (a *Agent) collect(ctx context.Context) {
	for clock.Sleep(ctx, a.deps.Clock, diskWatch) == nil {
		a.collectOnce(ctx)
		a.deps.Networks.Retry(ctx)
	}
}

// collectOnce removes the sandboxes that are due now. The fuller the disk, the younger they may be.
func (a *Agent) collectOnce(ctx context.Context) {
	disk, err := host.DiskOf(a.cfg.WorkDir)
	if err != nil {
		a.deps.Log.Warn("the disk of the sandboxes cannot be looked at; they are kept for the full time", "error", err)
	}
	age := sandbox.MaxAge(a.cfg.GCDelay, a.cfg.GCHeadroom, disk.Used())
	a.maxAge.Store(int64(age))
	a.collectAlone(max(age, diskWatch))
	a.imaged.Collect(a.cfg.GCHeadroom)
	ended, err := a.endedSandboxes()
	if err != nil {
		a.deps.Log.Warn("the sandboxes cannot be listed; none is collected", "error", err)
		return
	}
	a.collectable.Store(int64(len(ended)))
	for _, e := range sandbox.Due(ended, time.Unix(0, a.deps.Clock.Now().Wall), max(age, diskWatch)) {
		if ctx.Err() != nil {
			return
		}
		a.files.DetachRun(a.cfg.WorkDir, e.Run)
		if err := sandbox.Remove(a.cfg.WorkDir, e.Run); err != nil {
			a.counts.uncollected.Inc()
			a.deps.Log.Warn("a sandbox cannot be removed; it is tried again", "error", err)
			continue
		}
		a.counts.collected.Inc()
		a.collectable.Add(-1)
		a.deps.Log.Debug("sandbox collected", "framework", e.Framework, "executor", e.Executor, "container", e.Container)
	}
}

// collectAlone removes the sandboxes of containers that stood alone, which nobody removed and nobody remembers.
func (a *Agent) collectAlone(age time.Duration) {
	dir := filepath.Join(a.cfg.WorkDir, sandbox.Containers)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // none was ever made
	}
	v := a.view.Load()
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if v.FindNested(e.Name()) != nil || time.Unix(0, a.deps.Clock.Now().Wall).Sub(lastTouched(path)) < age {
			continue
		}
		if err := sandbox.RemoveNested(path, 0); err != nil {
			a.deps.Log.Warn("a sandbox cannot be removed; it is tried again", "container", e.Name(), "error", err)
		}
	}
}

// endedSandboxes lists those that no task here uses or still has to tell the end of.
func (a *Agent) endedSandboxes() ([]sandbox.Ended, error) {
	runs, err := sandbox.Runs(a.cfg.WorkDir)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, t := range a.view.Load().Tasks {
		used[t.Top()] = true
	}
	for _, x := range a.view.Load().Executors {
		used[x.Container] = true
	}
	var ended []sandbox.Ended
	for _, r := range runs {
		if !used[r.Container] {
			ended = append(ended, sandbox.Ended{Run: r, At: lastTouched(r.Path(a.cfg.WorkDir))})
		}
	}
	return ended, nil
}

// lastTouched is when something was last written at the top of a sandbox: its task had not ended before. It outlives
// every restart, unlike what anybody remembers.
func lastTouched(dir string) time.Time {
	var last time.Time
	names := []string{".", "stdout", "stderr"}
	below, _ := os.ReadDir(filepath.Join(dir, sandbox.Containers)) // most have none
	for _, e := range below {
		for _, name := range names[:3] {
			names = append(names, filepath.Join(sandbox.Containers, e.Name(), name))
		}
	}
	for _, name := range names {
		if st, err := os.Lstat(filepath.Join(dir, name)); err == nil && st.ModTime().After(last) {
			last = st.ModTime()
		}
	}
	return last
}
