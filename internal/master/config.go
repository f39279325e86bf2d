package master

import (
	"log/slog"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/internal/store"
)

// Config holds a master's settings.
type Config struct {
	// Hostname, IP and Port are what clients are told; IP is in dotted form.
	Hostname string
	IP       string
	Port     int
	// Cluster is a name for people.
	Cluster string
	// Book holds the settings of the cluster's book; its MasterID and Started are set at each election.
	Book cluster.Config
	// LeaseTTL is how long a dead leader is waited for.
	LeaseTTL time.Duration
	// Alone says that no other master can use this store: a lease found there is a dead run's of our own.
	Alone bool
	// Flags are shown by /flags and /state.
	Flags map[string]string
	// WorkDir is shown by /flags and /state; nothing is kept there but what the store keeps.
	WorkDir string
	// Domain is where this master is; nil: nobody says. All masters of a cluster are in one region.
	Domain *mesosv1.DomainInfo
	// RequireDomain refuses agents that do not say where they are.
	RequireDomain bool
	// Version is of this build.
	Version string
	// Streams bound what waits for a scheduler that does not read, Links for an agent.
	Streams, Links loop.OutboxLimits
	// Subscribers is how many operators' streams of events there may be at a time; the oldest makes room. Zero: 1000. What may
	// wait for one of them, Streams says.
	Subscribers int
	// PerFramework shows what each framework asked for and was told among the metrics.
	PerFramework bool
	// Heartbeat is the time between two HEARTBEAT events.
	Heartbeat time.Duration
}

// Deps is what a master is given.
type Deps struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
	Meter *meter.Meter
	// Level is what Log's handler looks at, for /logging/toggle; nil: it cannot be changed.
	Level *slog.LevelVar
}
