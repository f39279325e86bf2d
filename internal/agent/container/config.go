package container

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"path/filepath"

	"github.com/pando-os/pando/internal/host/cgroup"
)

// Config is how a Native works.
type Config struct {
	// Dir is where shims live and leave their records. It belongs to this agent alone, outlives its restarts but not a
	// reboot (so: a tmpfs, below /run), and is made when missing.
	Dir string
	// Launcher is the path of the launcher's executable; see package launcher.
	Launcher string
	// Cgroup is where containers get their cgroups; nil: none, and nothing is limited.
	Cgroup *cgroup.Parent
	// PerShim is how many containers share a shim; 0: 16. They die together when it does.
	PerShim int
	// Spare is how many shims wait started for a launch to come; 0: one, negative: none.
	Spare int
	// PIDs bounds the processes and threads of each container; 0: no bound.
	PIDs int64
	// Quota makes the cpus of a container a hard limit too, where it names none itself.
	Quota bool
	// Log is told of shims that come and die; nil: slog.Default.
	Log *slog.Logger
}

// CgroupName gives the name below which an agent that keeps its shims in dir has its cgroups: agents on one machine must
// not sweep each other's.
func CgroupName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	sum := sha256.Sum256([]byte(dir))
	return "pando/" + hex.EncodeToString(sum[:6])
}
