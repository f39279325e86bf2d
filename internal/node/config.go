package node

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/agent/reconfigure"
	"github.com/pando-os/pando/internal/agent/rotation"
	"github.com/pando-os/pando/internal/core/allocator"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/removal"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/host/cgroup"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Config is what an operator may set of a node. The zero value of a member means its default, where it has one.
type Config struct {
	// DataDir is where everything lives that outlives the node.
	DataDir string
	// RuntimeDir is on a tmpfs: what outlives the agent but not the machine.
	RuntimeDir string
	// IP is what the node listens on and tells others; Hostname what people and clients are told.
	IP, Hostname string
	MasterPort   int
	AgentPort    int
	// Store is "embedded", or "etcd://host:port,…" for a cluster that exists.
	Store string
	// Masters are where an agent alone finds the leader.
	Masters []string
	// Insecure allows listening off loopback without TLS and authentication.
	Insecure bool
	// TrustLoopback lets every local user do everything.
	TrustLoopback bool

	// Resources and Attributes describe the machine, in the original's syntax; what is not named is detected.
	Resources, Attributes, DefaultRole string
	// Domain is the machine's fault domain, as region/zone or as the original's JSON; empty: nobody says.
	Domain string
	// RequireDomain has the master refuse agents that do not say where they are; FilterGPUs keeps agents with gpus for frameworks
	// that have the capability GPU_RESOURCES.
	RequireDomain, FilterGPUs bool
	// Reconfiguration is equal, additive or any: how the agent may differ from what it was.
	Reconfiguration string
	// Strict refuses to start from a damaged journal.
	Strict bool
	// CPUQuota makes a task's cpus a hard limit.
	CPUQuota bool
	// Registry completes the names of images that have none, as HOST:PORT or a URL; empty: such names cannot be pulled.
	Registry string
	// PlainRegistries are spoken to without TLS; RegistryCA is a file of certificates that registries may have, beside the system's.
	PlainRegistries []string
	RegistryCA      string
	// DockerConfig is the path of a config.json of Docker's, with credentials for registries.
	DockerConfig string
	// Bridge is the name of the built-in bridge's link, empty: there is none; BridgeSubnet and BridgeSubnet6 are where its containers
	// have their addresses, the second may be empty; BridgeMTU is in bytes, 0: 1500.
	Bridge, BridgeSubnet, BridgeSubnet6 string
	BridgeMTU                           int
	// CNIConfig is the directory with the descriptions of networks of CNI plugins, empty: there are none; CNIPlugins are the directories
	// of their programs, with colons between.
	CNIConfig, CNIPlugins string
	// DiskWatch is how often the disk that containers take is looked at, 0: never; EnforceDisk ends those who take more than they have.
	DiskWatch   time.Duration
	EnforceDisk bool
	// ImageBackend says how images become containers' files: auto, overlay or copy.
	ImageBackend string
	// LogSize is the size at which a file of a container's output is rotated, as 10MB, and LogFiles how many old ones are kept.
	LogSize  string
	LogFiles int
	// PIDs bounds the processes and threads of each container; zero: no bound.
	PIDs int
	// Controllers are those of cgroup.More that containers are in beside the usual ones.
	Controllers []string
	// EffectiveCapabilities are given to containers that name none, and none has any beyond BoundingCapabilities: names with commas
	// between them, or the original's JSON; empty: nothing is said.
	EffectiveCapabilities, BoundingCapabilities string
	// SeccompDir has seccomp profiles in files; SeccompProfile names the one of containers with an image that ask for none, empty:
	// the built-in one.
	SeccompDir, SeccompProfile string
	// AllowedDevices are those of the machine that containers with an image have beside the usual ones: paths with commas between
	// them, or the original's JSON.
	AllowedDevices string
	// GPUDevices is the kind of the devices that are the machine's gpus, empty: gpus are only counted; CDISpecs are the directories with
	// the descriptions of devices, with colons between.
	GPUDevices, CDISpecs string
	// SwitchUser runs tasks as their users (root only).
	SwitchUser bool
	GCDelay    time.Duration
	GCHeadroom float64

	Cluster, MinAllocatable, Weights string
	Roles, Unfair                    []string
	AllocationInterval               time.Duration
	PingTimeout                      time.Duration
	PingMisses                       int
	ReregisterTimeout                time.Duration
	// RemovalRate is the original's text, as 1/10mins; empty: no bound.
	RemovalRate string
	// MaxAgentAge is after how long an unreachable agent is forgotten; zero: never.
	MaxAgentAge  time.Duration
	OfferTimeout time.Duration
	LeaseTTL     time.Duration
	// EventBacklog is how many bytes of events may wait for a scheduler that does not read them.
	EventBacklog int
	// Subscribers is how many operators' streams of events there may be at a time; the oldest makes room.
	Subscribers int
	// PerFramework shows what each framework asked for and was told among the metrics.
	PerFramework           bool
	MaxCompletedFrameworks int
	MaxCompletedTasks      int
	// MaxFrameworks, MaxFrameworksPerUser and MaxAgents bound who is known at a time; zero: no bound.
	MaxFrameworks, MaxFrameworksPerUser, MaxAgents int
	// MaxExecutors bounds the executors of frameworks' own on one agent; zero: no bound.
	MaxExecutors int
	// MaxPastExecutors bounds the executors of the past that an agent shows of each framework.
	MaxPastExecutors int
	// ShutdownGrace and RecoveryTimeout are told to tasks.
	ShutdownGrace, RecoveryTimeout time.Duration
	// RegistrationTimeout is how long an executor has to subscribe, and ReregistrationTimeout how long after its agent's restart.
	RegistrationTimeout, ReregistrationTimeout time.Duration
	// DomainSocket lets the agent's API be reached over a UNIX socket too.
	DomainSocket bool
	// Version is of this build, the flags what was set for each part; both are for showing.
	Version                 string
	MasterFlags, AgentFlags map[string]string
	// LogLevel is what the log's handler looks at; /logging/toggle raises it for a while. nil: it cannot be changed.
	LogLevel *slog.LevelVar
}

// Defaults are what a node has that is told nothing.
func Defaults() Config {
	b, w := cluster.Defaults(), workload.Defaults()
	return Config{
		IP: "127.0.0.1", MasterPort: 5050, AgentPort: 5051, Store: "embedded", Strict: true, FilterGPUs: true, SwitchUser: os.Geteuid() == 0,
		DefaultRole: "*", Reconfiguration: string(reconfigure.Equal), GCDelay: 7 * 24 * time.Hour, GCHeadroom: 0.1,
		DiskWatch:    15 * time.Second,
		ImageBackend: string(imaged.Auto), LogSize: "10MB", LogFiles: container.DefaultLogFiles,
		Bridge: "pando0", BridgeSubnet: "172.31.252.0/22",
		CDISpecs:           "/etc/cdi:/var/run/cdi",
		MinAllocatable:     "cpus:0.01|mem:32",
		PIDs:               host.MostProcesses() / 4, // one task never takes them all
		AllocationInterval: b.AllocationInterval, PingTimeout: b.PingInterval, PingMisses: b.PingMisses,
		ReregisterTimeout: b.ReregisterTimeout, LeaseTTL: 10 * time.Second, EventBacklog: 64 << 20, Subscribers: 1000, PerFramework: true,
		MaxCompletedFrameworks: b.MaxCompletedFrameworks, MaxCompletedTasks: b.MaxCompletedTasks,
		MaxFrameworks: b.MaxFrameworks, MaxFrameworksPerUser: b.MaxFrameworksPerUser, MaxAgents: b.MaxAgents, MaxAgentAge: b.MaxAgentAge,
		ShutdownGrace: w.ShutdownGrace, RecoveryTimeout: 15 * time.Minute,
		MaxPastExecutors:    w.MaxPastExecutors,
		RegistrationTimeout: w.RegistrationTimeout, ReregistrationTimeout: w.ReregisterTimeout,
	}
}

// check completes a configuration and refuses what cannot be. The words name the setting.
func (c *Config) check() error {
	if c.DataDir == "" {
		return errors.New("--data-dir is not set: name a directory where the node may keep its state")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	c.DataDir = dir
	if c.RuntimeDir == "" {
		c.RuntimeDir = runtimeDir(dir)
	}
	ip := net.ParseIP(c.IP)
	if ip == nil {
		return fmt.Errorf("--ip: %q is not an IP address", c.IP)
	}
	if !ip.IsLoopback() && !c.Insecure {
		return fmt.Errorf("--ip: listening on %s would let the whole network in, and this version has no TLS and no authentication yet; listen on 127.0.0.1, or add --insecure if everybody who can reach this address may run programs here as root", c.IP)
	}
	if c.Hostname == "" {
		switch c.Hostname, err = os.Hostname(); {
		case ip.Equal(net.IPv4(127, 0, 0, 1)) || ip.Equal(net.IPv6loopback):
			c.Hostname = "localhost"
		case err != nil || ip.IsLoopback(): // of loopback's other addresses localhost is no name
			c.Hostname = c.IP
		}
	}
	for _, p := range []struct {
		port int
		flag string
	}{{c.MasterPort, "--master-port"}, {c.AgentPort, "--agent-port"}} {
		if p.port < 0 || p.port > 65535 {
			return fmt.Errorf("%s: %d is not a port", p.flag, p.port)
		}
	}
	if err := reconfigure.Policy(c.Reconfiguration).Check(); err != nil {
		return fmt.Errorf("--reconfiguration-policy: %w", err)
	}
	if c.RegistrationTimeout <= 0 || c.ReregistrationTimeout <= 0 || c.ReregistrationTimeout > maxReregistration {
		return fmt.Errorf("--executor-registration-timeout, --executor-reregistration-timeout: %s and %s must be positive, and the second no more than %s", c.RegistrationTimeout, c.ReregistrationTimeout, maxReregistration)
	}
	if c.AllocationInterval <= 0 {
		return fmt.Errorf("--allocation-interval: %s is not a positive duration", c.AllocationInterval)
	}
	if err := imaged.Backend(c.ImageBackend).Check(); err != nil {
		return fmt.Errorf("--image-backend: %w", err)
	}
	if _, err := rotation.New(c.LogSize, c.LogFiles); err != nil {
		return err
	}
	if c.PIDs < 0 {
		return fmt.Errorf("--pids-limit: %d is less than none; 0 is no bound", c.PIDs)
	}
	for _, name := range c.Controllers {
		if more := cgroup.More(); !slices.Contains(more, name) {
			return fmt.Errorf("--extra-controllers: %q is none of %s", name, strings.Join(more, ", "))
		}
	}
	if c.MaxPastExecutors < 0 {
		return fmt.Errorf("--max-completed-executors-per-framework: %d is less than none", c.MaxPastExecutors)
	}
	if c.EventBacklog < minBacklog {
		return fmt.Errorf("--event-backlog: %d bytes are too few for one event; give it %d or more", c.EventBacklog, minBacklog)
	}
	return nil
}

// maxReregistration is the original's bound.
const maxReregistration = 15 * time.Second

// minBacklog has room for the largest events that are common.
const minBacklog = 64 << 10

// book makes the settings of the cluster's book.
func (c *Config) book() (cluster.Config, error) {
	b := cluster.Defaults()
	b.AllocationInterval, b.PingInterval, b.PingMisses = c.AllocationInterval, c.PingTimeout, c.PingMisses
	b.ReregisterTimeout, b.OfferTimeout, b.Roles = c.ReregisterTimeout, c.OfferTimeout, c.Roles
	b.MaxCompletedFrameworks, b.MaxCompletedTasks = c.MaxCompletedFrameworks, c.MaxCompletedTasks
	b.MaxFrameworks, b.MaxFrameworksPerUser, b.MaxAgents, b.MaxExecutors = c.MaxFrameworks, c.MaxFrameworksPerUser, c.MaxAgents, c.MaxExecutors
	b.MaxAgentAge, b.Allocation.Uncounted = c.MaxAgentAge, c.Unfair
	var err error
	if b.RemovalRate, err = removal.ParseRate(c.RemovalRate); err != nil {
		return b, fmt.Errorf("--agent-removal-rate-limit: %w", err)
	}
	if b.Allocation.MinAllocatable, err = minima(c.MinAllocatable); err != nil {
		return b, fmt.Errorf("--min-allocatable-resources: %w", err)
	}
	if b.Allocation.Weights, err = weights(c.Weights); err != nil {
		return b, fmt.Errorf("--weights: %w", err)
	}
	d, err := mesos.ParseDomain(c.Domain)
	if err != nil {
		return b, fmt.Errorf("--domain: %w", err)
	}
	b.Allocation.Region, b.Allocation.AnyGPU = d.GetFaultDomain().GetRegion().GetName(), !c.FilterGPUs
	return b, nil
}

// minima reads "cpus:0.01|mem:32": alternatives of resources; empty means no minimum.
func minima(text string) ([]allocator.Quantities, error) {
	var out []allocator.Quantities
	for part := range splitNonEmpty(text, "|") {
		l, err := resource.Parse(part, "*")
		if err != nil {
			return nil, err
		}
		q := allocator.Quantities{}
		maps.Insert(q, l.Quantities())
		out = append(out, q)
	}
	return out, nil
}

// weights reads "role=2.5,other=1".
func weights(text string) (map[string]int64, error) {
	out := map[string]int64{}
	for part := range splitNonEmpty(text, ",") {
		role, w, ok := cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not role=weight", part)
		}
		if err := mesos.CheckRole(role); err != nil {
			return nil, err
		}
		q, err := parseQuantity(w)
		if err != nil || q <= 0 {
			return nil, fmt.Errorf("the weight %q of role %s is not a positive number", w, role)
		}
		out[role] = q
	}
	return out, nil
}
