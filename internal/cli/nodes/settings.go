package nodes

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/pando-os/pando/internal/node"
	"github.com/pando-os/pando/mesos"
)

// role says which nodes a setting is for.
type role uint8

const (
	forMaster role = 1 << iota
	forAgent
)

// setting is one value an operator may set: by a flag, by the environment (PANDO_NAME, then MESOS_NAME), or in a file, in
// this order.
type setting struct {
	name  string // of the flag; in the environment in capitals with underscores, in the file as it is
	mesos string // the original's name, where the meaning is the same and the name is not
	of    role
	help  string
	value any // a pointer: *string, *int, *bool, *float64, *time.Duration, *[]string
}

// settings are those of a node, with cfg's values as defaults.
func settings(c *node.Config) []setting {
	const both = forMaster | forAgent
	return []setting{
		{"data-dir", "work_dir", both, "directory of everything that outlives the node", &c.DataDir},
		{"runtime-dir", "runtime_dir", forAgent, "directory on a tmpfs of what outlives the agent but not the machine (default below /run/pando)", &c.RuntimeDir},
		{"ip", "ip", both, "address to listen on", &c.IP},
		{"hostname", "hostname", both, "name that clients are told (default: localhost on loopback, else this machine's)", &c.Hostname},
		{"insecure", "", both, "allow an address that others can reach, without TLS and authentication: everybody there may run programs as root", &c.Insecure},
		{"trust-loopback", "", both, "let every user of this machine do everything", &c.TrustLoopback},
		{"master-port", "", forMaster, "port of the master", &c.MasterPort},
		{"store", "", forMaster, "where masters keep their state: embedded, or etcd://host:port,host:port", &c.Store},
		{"cluster", "cluster", forMaster, "name of the cluster, for people", &c.Cluster},
		{"allocation-interval", "allocation_interval", forMaster, "time between two sweeps of offers", &c.AllocationInterval},
		{"offer-timeout", "offer_timeout", forMaster, "take back offers that lie unused so long (0: never)", &c.OfferTimeout},
		{"min-allocatable-resources", "min_allocatable_resources", forMaster, "offer no less than one of these", &c.MinAllocatable},
		{"weights", "weights", forMaster, "weights of roles, as role=2,other=1.5", &c.Weights},
		{"roles", "roles", forMaster, "roles that frameworks may use (default: any)", &c.Roles},
		{"agent-ping-timeout", "agent_ping_timeout", forMaster, "time between two pings of an agent", &c.PingTimeout},
		{"max-agent-ping-timeouts", "max_agent_ping_timeouts", forMaster, "pings an agent may miss before it is unreachable", &c.PingMisses},
		{"agent-reregister-timeout", "agent_reregister_timeout", forMaster, "time agents and frameworks have to come back after an election", &c.ReregisterTimeout},
		{"agent-removal-rate-limit", "agent_removal_rate_limit", forMaster, "mark no more agents unreachable than this, as 1/10mins (default: any number), however many are silent", &c.RemovalRate},
		{"max-agent-age", "registry_max_agent_age", forMaster, "time after which an unreachable agent is forgotten (0: never)", &c.MaxAgentAge},
		{"fair-sharing-excluded-resource-names", "fair_sharing_excluded_resource_names", forMaster, "resources that do not count when it is judged who has least, as gpus", &c.Unfair},
		{"lease-ttl", "", forMaster, "time a leader that fell silent is waited for", &c.LeaseTTL},
		{"event-backlog", "", forMaster, "bytes of events that may wait for a scheduler or an operator before it is cut off", &c.EventBacklog},
		{"max-operator-event-stream-subscribers", "max_operator_event_stream_subscribers", forMaster, "operators' streams of events at a time; the oldest makes room for a new one", &c.Subscribers},
		{"publish-per-framework-metrics", "publish_per_framework_metrics", forMaster, "show what each framework asked for and was told among the metrics", &c.PerFramework},
		{"max-completed-frameworks", "max_completed_frameworks", forMaster, "frameworks of the past to remember", &c.MaxCompletedFrameworks},
		{"max-completed-tasks-per-framework", "max_completed_tasks_per_framework", forMaster, "tasks of the past to remember of each framework", &c.MaxCompletedTasks},
		{"max-frameworks", "", forMaster, "frameworks that may live at a time, connected or not (0: any number)", &c.MaxFrameworks},
		{"max-frameworks-per-user", "", forMaster, "those of each user (0: any number)", &c.MaxFrameworksPerUser},
		{"max-agents", "registry_max_agent_count", forMaster, "agents to know of; those that are away for longest are forgotten for new ones (0: any number)", &c.MaxAgents},
		{"domain", "domain", both, "where this machine is, as REGION/ZONE or as {\"fault_domain\": …}; agents of another region than the master's go to frameworks that are REGION_AWARE", &c.Domain},
		{"require-agent-domain", "require_agent_domain", forMaster, "refuse agents that do not say where they are", &c.RequireDomain},
		{"filter-gpu-resources", "filter_gpu_resources", forMaster, "offer agents with gpus only to frameworks with the capability GPU_RESOURCES", &c.FilterGPUs},
		{"agent-port", "", forAgent, "port of the agent", &c.AgentPort},
		{"resources", "resources", forAgent, "resources of this machine, as cpus:4;mem:8192 (default: what is found)", &c.Resources},
		{"attributes", "attributes", forAgent, "attributes of this machine, as rack:r1;zone:z2", &c.Attributes},
		{"default-role", "default_role", forAgent, "role of resources that name none", &c.DefaultRole},
		{"reconfiguration-policy", "reconfiguration_policy", forAgent, "how this machine may differ from what it was when it registered last: equal, additive or any", &c.Reconfiguration},
		{"strict", "strict", forAgent, "refuse to start from a damaged journal; otherwise lose only what cannot be read", &c.Strict},
		{"cgroups-enable-cfs", "cgroups_enable_cfs", forAgent, "make a task's cpus a hard limit and not only its share", &c.CPUQuota},
		{"docker-registry", "docker_registry", forAgent, "registry of images whose names have none, as HOST:PORT (default: none)", &c.Registry},
		{"docker-config", "docker_config", forAgent, "file with credentials for registries, as Docker's config.json", &c.DockerConfig},
		{"plain-registries", "", forAgent, "registries that are spoken to without TLS, as HOST:PORT", &c.PlainRegistries},
		{"registry-ca", "", forAgent, "file of certificates, in PEM, that registries may have beside the system's", &c.RegistryCA},
		{"image-backend", "image_provisioner_backend", forAgent, "how images become containers' files: overlay, copy (slow; for file systems that overlays cannot be on), or auto", &c.ImageBackend},
		{"bridge", "", forAgent, "link of the built-in network mesos-bridge, made when a task wants it (default pando0; \"\": there is no such network)", &c.Bridge},
		{"bridge-subnet", "", forAgent, "addresses of containers on the built-in bridge (default 172.31.252.0/22)", &c.BridgeSubnet},
		{"bridge-subnet6", "", forAgent, "IPv6 addresses of containers on the built-in bridge, as fd00:7061::/64 (default: none)", &c.BridgeSubnet6},
		{"bridge-mtu", "", forAgent, "largest packet on the built-in bridge in bytes (default 1500)", &c.BridgeMTU},
		{"cni-config-dir", "network_cni_config_dir", forAgent, "directory with descriptions of networks of CNI plugins (default: none)", &c.CNIConfig},
		{"cni-plugins-dir", "network_cni_plugins_dir", forAgent, "directories of the CNI plugins' programs, with colons between", &c.CNIPlugins},
		{"container-disk-watch-interval", "container_disk_watch_interval", forAgent, "how often to look at the disk that containers take (0: never)", &c.DiskWatch},
		{"enforce-container-disk-quota", "enforce_container_disk_quota", forAgent, "end tasks and executors that take more disk than they have", &c.EnforceDisk},
		{"log-rotate-size", "", forAgent, "size at which a file of a task's output is rotated, as 512KB or 10MB", &c.LogSize},
		{"log-rotate-files", "", forAgent, "old files of a task's output to keep (0: none)", &c.LogFiles},
		{"pids-limit", "", forAgent, "processes and threads that a container may have (default: a quarter of what the machine may; 0: any number)", &c.PIDs},
		{"extra-controllers", "", forAgent, "cgroup controllers that containers are in beside the usual ones: blkio (statistics of disks), cpuset; each makes starts slower (default: none)", &c.Controllers},
		{"effective-capabilities", "effective_capabilities", forAgent, "capabilities of tasks that name none, whoever's they are, as NET_RAW,KILL or {\"capabilities\": […]} (default: what their user has)", &c.EffectiveCapabilities},
		{"bounding-capabilities", "bounding_capabilities", forAgent, "capabilities that no task passes, likewise (default: any)", &c.BoundingCapabilities},
		{"seccomp-config-dir", "seccomp_config_dir", forAgent, "directory of seccomp profiles that tasks may name, as Docker writes them", &c.SeccompDir},
		{"seccomp-profile-name", "seccomp_profile_name", forAgent, "profile there of tasks with an image that ask for none (default: a built-in one)", &c.SeccompProfile},
		{"allowed-devices", "allowed_devices", forAgent, "devices of this machine that every task with an image may use, as /dev/fuse,/dev/nvram:r or {\"allowed_devices\": […]} (default: none beside null, tty and the like)", &c.AllowedDevices},
		{"gpu-devices", "", forAgent, "kind of the devices that are this machine's gpus, as nvidia.com/gpu: tasks with an image get their own (default: gpus are only counted)", &c.GPUDevices},
		{"cdi-spec-dirs", "", forAgent, "directories with descriptions of devices by the Container Device Interface, with colons between", &c.CDISpecs},
		{"switch-user", "switch_user", forAgent, "run tasks as their users", &c.SwitchUser},
		{"gc-delay", "gc_delay", forAgent, "how long the sandbox of a task that ended is kept, if the disk has room", &c.GCDelay},
		{"gc-disk-headroom", "gc_disk_headroom", forAgent, "share of the disk to keep free of old sandboxes", &c.GCHeadroom},
		{"max-executors-per-agent", "max_executors_per_agent", forMaster, "executors of frameworks' own that one agent may have and still be offered (0: any number)", &c.MaxExecutors},
		{"max-completed-executors-per-framework", "max_completed_executors_per_framework", forAgent, "executors of the past to remember of each framework; a command task is one", &c.MaxPastExecutors},
		{"executor-registration-timeout", "executor_registration_timeout", forAgent, "time an executor has to subscribe once it was started", &c.RegistrationTimeout},
		{"executor-reregistration-timeout", "executor_reregistration_timeout", forAgent, "time an executor has to subscribe again once its agent was restarted", &c.ReregistrationTimeout},
		{"http-executor-domain-sockets", "http_executor_domain_sockets", forAgent, "let executors use a UNIX socket of the agent (MESOS_DOMAIN_SOCKET)", &c.DomainSocket},
		{"executor-shutdown-grace-period", "executor_shutdown_grace_period", forAgent, "told to executors", &c.ShutdownGrace},
		{"recovery-timeout", "recovery_timeout", forAgent, "told to executors", &c.RecoveryTimeout},
		{"master", "master", forAgent, "masters, as host:port,host:port", &c.Masters},
	}
}

// text is a flag's value that goes into a setting.
type text struct {
	s   *setting
	set bool
}

// String shows the value.
func (t *text) String() string {
	if t.s == nil {
		return ""
	}
	switch v := t.s.value.(type) {
	case *string:
		return *v
	case *int:
		return strconv.Itoa(*v)
	case *bool:
		return strconv.FormatBool(*v)
	case *float64:
		return strconv.FormatFloat(*v, 'g', -1, 64)
	case *time.Duration:
		return v.String()
	case *[]string:
		return strings.Join(*v, ",")
	}
	return ""
}

// Type is shown in the list of flags.
func (t *text) Type() string {
	switch t.s.value.(type) {
	case *int, *float64:
		return "number"
	case *bool:
		return "bool"
	case *time.Duration:
		return "duration"
	case *[]string:
		return "list"
	}
	return "text"
}

// Set reads a value.
func (t *text) Set(v string) error {
	t.set = true
	var err error
	switch p := t.s.value.(type) {
	case *string:
		*p = v
	case *int:
		*p, err = strconv.Atoi(v)
	case *bool:
		*p, err = strconv.ParseBool(v)
	case *float64:
		*p, err = strconv.ParseFloat(v, 64)
	case *time.Duration:
		*p, err = mesos.ParseDuration(v)
	case *[]string:
		*p = nil
		for x := range strings.SplitSeq(v, ",") {
			if x = strings.TrimSpace(x); x != "" {
				*p = append(*p, x)
			}
		}
	}
	return err
}

// IsBoolFlag lets a bool flag stand without a value.
func (t *text) IsBoolFlag() bool { _, ok := t.s.value.(*bool); return ok }

// bind gives a command the flags of the settings for its kind of node, and returns what completes them from the
// environment and the file once the flags are read.
func bind(cmd *cobra.Command, c *node.Config, of role) func() error {
	file := cmd.Flags().String("config", "", "YAML file of settings, named as the flags are")
	var all []*text
	for _, s := range settings(c) {
		if s.of&of == 0 || s.name == "master" && of&forMaster != 0 {
			continue
		}
		t := &text{s: &s}
		f := cmd.Flags().VarPF(t, s.name, "", s.help)
		if t.IsBoolFlag() {
			f.NoOptDefVal = "true"
		}
		all = append(all, t)
	}
	return func() error { return complete(all, *file, c) }
}

func complete(all []*text, file string, c *node.Config) error {
	var values map[string]any
	if file == "" {
		file = os.Getenv("PANDO_CONFIG")
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("--config: %w", err)
		}
		if err := yaml.Unmarshal(b, &values); err != nil {
			return fmt.Errorf("--config: %s: %w", file, err)
		}
	}
	c.MasterFlags, c.AgentFlags = map[string]string{}, map[string]string{}
	for _, t := range all {
		names := []string{"PANDO_" + strings.ToUpper(strings.ReplaceAll(t.s.name, "-", "_"))}
		if t.s.mesos != "" {
			names = append(names, "MESOS_"+strings.ToUpper(t.s.mesos))
		}
		if !t.set {
			if err := fromEnvironment(t, names); err != nil {
				return err
			}
		}
		value, inFile := values[t.s.name]
		delete(values, t.s.name)
		if !t.set && inFile {
			if err := t.Set(fmt.Sprint(value)); err != nil {
				return fmt.Errorf("%s: %s: %w", file, t.s.name, err)
			}
		}
		name := t.s.mesos
		if name == "" {
			name = strings.ReplaceAll(t.s.name, "-", "_")
		}
		v := t.String()
		if v != "" && t.s.of&forMaster != 0 {
			c.MasterFlags[name] = v
		}
		if v != "" && t.s.of&forAgent != 0 {
			c.AgentFlags[name] = v
		}
	}
	for k := range values {
		known := make([]string, 0, len(all))
		for _, t := range all {
			known = append(known, t.s.name)
		}
		slices.Sort(known)
		return fmt.Errorf("%s: %q is not a setting; there are %s", file, k, strings.Join(known, ", "))
	}
	return nil
}

func fromEnvironment(t *text, names []string) error {
	for _, n := range names {
		if v, ok := os.LookupEnv(n); ok {
			if err := t.Set(v); err != nil {
				return fmt.Errorf("the environment's %s: %w", n, err)
			}
			return nil
		}
	}
	return nil
}
