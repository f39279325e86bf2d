// Package sandbox keeps the directories tasks run in: where they are, who may look into them and how, and when they go.
// Paths are the original's, since clients build and read them.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Run names one run of an executor, which has one sandbox.
type Run struct {
	Agent, Framework, Executor, Container string
}

// ValidID says whether an id can be a directory's name. kind is put into the error: "task id".
func ValidID(kind, id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%s must not be empty", kind)
	case len(id) > 255:
		return fmt.Errorf("%s is %d bytes long; 255 is the most", kind, len(id))
	case id == "." || id == "..":
		return fmt.Errorf("%s must not be %q", kind, id)
	}
	for _, r := range []byte(id) {
		if r == '/' || r == '\\' || r < 0x20 || r == 0x7f {
			return fmt.Errorf("%s %s holds the character %s, which may not be in it: no slash, backslash or control character", kind, strconv.Quote(id), strconv.QuoteRune(rune(r)))
		}
	}
	return nil
}

func (r Run) check() error {
	return errors.Join(
		ValidID("agent id", r.Agent), ValidID("framework id", r.Framework), ValidID("executor id", r.Executor), ValidID("container id", r.Container),
	)
}

// Path is where the run's sandbox is below the agent's work directory. The ids must be valid.
func (r Run) Path(workDir string) string { return filepath.Join(r.runs(workDir), r.Container) }

// Latest is the link to the sandbox of the executor's latest run.
func (r Run) Latest(workDir string) string { return filepath.Join(r.runs(workDir), latest) }

// Virtual is the path that needs no knowledge of the work directory or the agent's id.
func (r Run) Virtual() string {
	return "/frameworks/" + r.Framework + "/executors/" + r.Executor + "/runs/" + latest
}

const latest = "latest"

func (r Run) runs(workDir string) string {
	return filepath.Join(workDir, "slaves", r.Agent, "frameworks", r.Framework, "executors", r.Executor, "runs")
}

// Create makes the run's sandbox, for its user only (mode 0750), and points the link "latest" at it. uid and gid own it;
// negative ones leave it to the agent's own user. An existing sandbox is taken as it is, so that creating is repeatable.
func Create(workDir string, r Run, uid, gid int) (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	runs := r.runs(workDir)
	if err := os.MkdirAll(runs, 0o755); err != nil {
		return "", fmt.Errorf("make the sandbox's parent: %w; see that --work-dir can be written", err)
	}
	if err := letThrough(workDir, runs); err != nil {
		return "", fmt.Errorf("make the sandbox's parent: %w", err)
	}
	path := filepath.Join(runs, r.Container)
	err := os.Mkdir(path, 0o750)
	if err == nil {
		err = os.Chmod(path, 0o750) // whatever the umask took
	}
	if err == nil && uid >= 0 {
		err = os.Chown(path, uid, gid)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("make the sandbox: %w", err)
	}
	// Relative, so that it holds when the work directory moves and does not lead out of its own directory. Replaced in one
	// step, so that a reader always finds one.
	tmp := filepath.Join(runs, ".latest-"+r.Container)
	_ = os.Remove(tmp) // of one that stays the next line tells
	if err := os.Symlink(r.Container, tmp); err != nil {
		return "", fmt.Errorf("link the latest run: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(runs, latest)); err != nil {
		return "", fmt.Errorf("link the latest run: %w", err)
	}
	return path, nil
}

// letThrough makes the directories between the work directory and the sandbox passable for all users, whatever the agent's
// umask took: a task must be able to find out where it is. The sandbox itself stays closed.
func letThrough(workDir, runs string) error {
	st, err := os.Stat(runs)
	if err != nil || st.Mode().Perm()&0o755 == 0o755 {
		return err
	}
	for d := runs; d != filepath.Clean(workDir); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Runs lists the sandboxes below a work directory, of all agent ids it has seen.
func Runs(workDir string) ([]Run, error) {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(workDir), "slaves", "*", "frameworks", "*", "executors", "*", "runs", "*"))
	if err != nil {
		return nil, err
	}
	var runs []Run
	for _, p := range paths {
		if st, err := os.Lstat(p); err != nil || !st.IsDir() {
			continue
		}
		up := func(n int) string {
			d := p
			for range n {
				d = filepath.Dir(d)
			}
			return filepath.Base(d)
		}
		runs = append(runs, Run{Agent: up(6), Framework: up(4), Executor: up(2), Container: up(0)})
	}
	return runs, nil
}

// escapeGlob makes a path match itself only.
func escapeGlob(p string) string {
	var out []byte
	for i := range len(p) {
		switch p[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, p[i])
	}
	return string(out)
}
