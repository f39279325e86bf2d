package agent

import (
	"log/slog"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/gpu"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/agent/networked"
	"github.com/pando-os/pando/internal/agent/reconfigure"
	"github.com/pando-os/pando/internal/agent/rotation"
	"github.com/pando-os/pando/internal/agent/secrets"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/fetch"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/mesos/resource"
)

// Config holds an agent's settings.
type Config struct {
	// Masters are tried in turn, as host:port; one that does not lead says who does.
	Masters []string
	// Hostname, IP and Port are where clients reach this agent's API.
	Hostname, IP string
	Port         int
	// WorkDir is an absolute path: sandboxes as the original lays them out, and this agent's journal in meta.
	WorkDir    string
	Resources  resource.List
	Attributes []*mesosv1.Attribute
	// Domain is where the machine is; nil: nobody says.
	Domain *mesosv1.DomainInfo
	// Reconfiguration says what may differ from what the agent was when it registered last; empty: nothing.
	Reconfiguration reconfigure.Policy
	// AnyPort says that the port was left to the system, so that another one is no difference.
	AnyPort bool
	// Strict refuses to start from a damaged journal; otherwise what cannot be read is lost.
	Strict bool
	// Boot is the machine's boot id.
	Boot string
	// Launches is how many launches may be under way at once.
	Launches int
	// Quota makes a task's cpus a hard limit; otherwise they are its share when cpus are short.
	Quota bool
	// ShutdownGrace is told to executors, and RecoveryTimeout too; the book has the first as well.
	ShutdownGrace, RecoveryTimeout time.Duration
	// Socket is the path of the UNIX socket that the agent's API listens on too; empty: none.
	Socket string
	// SecretsDir is where the values of tasks' secrets are kept; it must be on a tmpfs.
	SecretsDir string
	// SwitchUser runs tasks as their users; without it, and without root, as the agent's own.
	SwitchUser bool
	// AnyUser lets an agent that does not switch users run everybody's tasks as its own user.
	AnyUser bool
	// Environment is added to every task's, before its own.
	Environment map[string]string
	// GCDelay is how long the sandbox of an ended task stays on an empty disk; GCHeadroom is the share of the disk, 0 to 1,
	// that is to stay free.
	GCDelay    time.Duration
	GCHeadroom float64
	// DiskWatch is how often containers' files are looked at; 0: never. EnforceDisk ends those who take more disk than they have.
	DiskWatch   time.Duration
	EnforceDisk bool
	// Logs is how the output of containers is kept that say nothing of it.
	Logs rotation.Rule
	// ImageBackend says how images become containers' files; empty: as the machine can.
	ImageBackend imaged.Backend
	// Confine is the operator's word on how containers are confined; nil: none.
	Confine *confine.Rules
	// Isolation names what holds containers, for showing.
	Isolation string
	// Flags are shown by /flags and /state.
	Flags   map[string]string
	Version string
	Book    workload.Config
}

// Deps is what an agent is given.
type Deps struct {
	Runtime container.Runtime
	Fetcher *fetch.Fetcher
	// Images provides images; nil: there are none here.
	Images imaged.Images
	// GPUs gives gpus to containers with an image; nil: they are only counted.
	GPUs *gpu.Keeper
	// Networks puts containers into networks of their own; nil: there are none here.
	Networks *networked.Keeper
	// Secrets finds out the values of secrets.
	Secrets secrets.Resolver
	Clock   clock.Clock
	Log     *slog.Logger
	Meter   *meter.Meter
	// Level is what Log's handler looks at, for /logging/toggle; nil: it cannot be changed.
	Level *slog.LevelVar
}
