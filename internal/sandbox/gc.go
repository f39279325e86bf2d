package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Ended is a sandbox that nobody uses any more.
type Ended struct {
	Run
	At time.Time // when it ended
}

// MaxAge is how long an ended sandbox may stay: the full delay on an empty disk, nothing once all but the headroom is used.
// used and headroom are shares of the disk, 0 to 1.
func MaxAge(delay time.Duration, headroom, used float64) time.Duration {
	return time.Duration(float64(delay) * max(0, 1-headroom-used))
}

// Due picks the sandboxes that are older than maxAge, in the order given.
func Due(ended []Ended, now time.Time, maxAge time.Duration) []Ended {
	var due []Ended
	for _, e := range ended {
		if now.Sub(e.At) >= maxAge {
			due = append(due, e)
		}
	}
	return due
}

// Remove deletes a sandbox with all in it, whoever owns that, and the directories above that it leaves empty, up to the
// agent's. Links in it are removed, not followed. Removing what is not there is no error.
func Remove(workDir string, r Run) error {
	if err := r.check(); err != nil {
		return err
	}
	root, err := os.OpenRoot(workDir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	rel := r.Path(".")
	if err := root.RemoveAll(rel); err != nil {
		return fmt.Errorf("remove the sandbox %s: %w", r.Path(workDir), err)
	}
	runs := filepath.Dir(rel)
	if to, err := root.Readlink(filepath.Join(runs, latest)); err == nil && to == r.Container {
		_ = root.Remove(filepath.Join(runs, latest)) // one that stays keeps the directories around it, no more
	}
	// runs, the executor, executors, the framework; each only when empty, which Remove sees to.
	for dir, n := runs, 0; n < 4; dir, n = filepath.Dir(dir), n+1 {
		if root.Remove(dir) != nil {
			break
		}
	}
	return nil
}
