// Package node is the composition root: it makes masters and agents, gives them what they need, and starts and stops them
// in order. Nothing below it constructs a trade.
package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/launcher"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/agent/reconfigure"
	"github.com/pando-os/pando/internal/agent/rotation"
	"github.com/pando-os/pando/internal/agent/secrets"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/fetch"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/host/cgroup"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/master"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/internal/store"
	"github.com/pando-os/pando/internal/store/etcd"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Ready is what a node says of itself once it works.
type Ready struct {
	Master, Agent string // host:port; empty when it has none
	Resources     string
	Lacks         []string // what is not enforced, and how to get it
	Tasks         int      // that were running and go on
}

// Node is a running node.
type Node struct {
	cfg   Config
	log   *slog.Logger
	clock clock.Clock

	store   store.Store
	master  *master.Master
	agent   *agent.Agent
	native  *container.Native
	ready   Ready
	anyPort bool // of the agent
	errs    chan error
	stops   []func() // in the order of starting
	cancel  context.CancelFunc
}

// Start brings up a master, an agent, or both, and returns when they work.
func Start(ctx context.Context, cfg Config, log *slog.Logger, withMaster, withAgent bool) (*Node, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Node{cfg: cfg, log: log, clock: clock.Real(), errs: make(chan error, 4), cancel: cancel}
	if err := n.start(ctx, withMaster, withAgent); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, withMaster, withAgent bool) error {
	if err := os.MkdirAll(n.cfg.DataDir, 0o711); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	var ml, al net.Listener
	var err error
	if withMaster {
		if ml, err = n.listen(ctx, n.cfg.MasterPort, "--master-port"); err != nil {
			return err
		}
		n.cfg.MasterPort = port(ml)
		if err := n.startMaster(ctx, ml); err != nil {
			return err
		}
		if len(n.cfg.Masters) == 0 {
			n.cfg.Masters = []string{ml.Addr().String()}
		}
		n.ready.Master = ml.Addr().String()
	}
	if withAgent {
		if al, err = n.listen(ctx, n.cfg.AgentPort, "--agent-port"); err != nil {
			return err
		}
		n.anyPort, n.cfg.AgentPort = n.cfg.AgentPort == 0, port(al)
		n.ready.Agent = al.Addr().String()
		return n.startAgent(ctx, al)
	}
	return nil
}

// Ready is what the node said of itself when it started.
func (n *Node) Ready() Ready { return n.ready }

// Wait returns when a part of the node ended by itself, with the reason, or when the context ends.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case err := <-n.errs:
		return err
	case <-ctx.Done():
		return nil
	}
}

// Tasks says how many tasks run here.
func (n *Node) Tasks() int {
	if n.agent == nil {
		return 0
	}
	return n.agent.Tasks()
}

// Leave takes the node's agent out of its cluster for good, with all of its tasks. The node is to be stopped then.
func (n *Node) Leave(ctx context.Context) error {
	if n.agent == nil {
		return nil
	}
	return n.agent.Leave(ctx)
}

// Stop ends everything in the reverse order of starting. Tasks go on.
func (n *Node) Stop() {
	n.cancel()
	for _, stop := range slices.Backward(n.stops) {
		stop()
	}
	n.stops = nil
}

// busyWait is how long a port may be busy before that is believed.
const busyWait = 300 * time.Millisecond

func (n *Node) listen(ctx context.Context, port int, flag string) (net.Listener, error) {
	var l net.Listener
	var err error
	// A run that has just ended may have left a child between its fork and its exec, which holds the port for a moment.
	for deadline := n.clock.Now().Mono + busyWait; ; {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(n.cfg.IP, strconv.Itoa(port)))
		if !errors.Is(err, syscall.EADDRINUSE) || n.clock.Now().Mono > deadline || clock.Sleep(ctx, n.clock, 10*time.Millisecond) != nil {
			break
		}
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d of %s is in use by another program; end that, or choose another port with %s", port, n.cfg.IP, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s, port %d (%s): %w", n.cfg.IP, port, flag, err)
	}
	n.stops = append(n.stops, func() { _ = l.Close() }) // closed already once its server ran
	return l, nil
}

// listenSocket listens on a UNIX socket that every user may connect to: who he is, the kernel says.
func (n *Node) listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // an earlier run's
		return nil, fmt.Errorf("the agent's socket: %w", err)
	}
	dir := filepath.Dir(path)
	err := os.Chmod(dir, 0o711)
	if err == nil && filepath.Base(filepath.Dir(dir)) == "pando" {
		err = os.Chmod(filepath.Dir(dir), 0o711)
	}
	var l net.Listener
	if err == nil {
		l, err = (&net.ListenConfig{}).Listen(ctx, "unix", path)
	}
	if err != nil {
		return nil, fmt.Errorf("the agent's socket (--http-executor-domain-sockets): %w", err)
	}
	n.stops = append(n.stops, func() { _ = l.Close() }) // closed already once its server ran
	return l, os.Chmod(path, 0o666)
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// serve answers with h until the node stops, and with fast, which may be nothing, where that can.
func (n *Node) serve(l net.Listener, h http.Handler, fast serve.Fast) {
	cfg := serve.Config{
		Hosts: []string{n.cfg.Hostname, n.cfg.IP}, Any: n.cfg.Insecure, TrustLoopback: n.cfg.TrustLoopback, Log: n.log,
	}
	cfg.Any = cfg.Any || l.Addr().Network() == "unix" // no name leads there
	s := serve.Server(cfg, h)
	if fast.Take != nil {
		l = fast.Listen(cfg, l)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.errs <- fmt.Errorf("serving on %s: %w", l.Addr(), err)
		}
	}()
	n.stops = append(n.stops, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // those who are still connected had their second
		}
		<-done
	})
}

// run runs a part in the background until the node stops.
func (n *Node) run(ctx context.Context, name string, part func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := part(ctx); err != nil {
			select {
			case n.errs <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	}()
	n.stops = append(n.stops, func() { cancel(); <-done })
}

func (n *Node) openStore(ctx context.Context) error {
	switch {
	case n.cfg.Store == "" || n.cfg.Store == "embedded":
		log, err := n.storeLog()
		if err != nil {
			return err
		}
		s, err := etcd.Open(ctx, etcd.Options{Dir: filepath.Join(n.cfg.DataDir, "etcd"), Log: log})
		if err != nil {
			return err
		}
		n.store = s
	case strings.HasPrefix(n.cfg.Store, "etcd://"):
		endpoints, err := etcd.Endpoints(n.cfg.Store)
		if err != nil {
			return fmt.Errorf("--store: %w", err)
		}
		s, err := etcd.Dial(ctx, endpoints, store.Limits{}, n.log)
		if err != nil {
			return fmt.Errorf("--store: %w", err)
		}
		n.store = s
	default:
		return fmt.Errorf("--store: %q is neither embedded nor etcd://host:port,…", n.cfg.Store)
	}
	n.stops = append(n.stops, func() {
		if err := n.store.Close(); err != nil {
			n.log.Warn("closing the store", "error", err)
		}
	})
	return nil
}

// storeLogMax is the size at which the store's log is begun anew when a node starts.
const storeLogMax = 10 << 20

// storeLog is where the embedded store's own warnings go: a file beside it, since they are no news to people.
func (n *Node) storeLog() (*slog.Logger, error) {
	path := filepath.Join(n.cfg.DataDir, "etcd.log")
	mode := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if st, err := os.Stat(path); err == nil && st.Size() > storeLogMax {
		mode |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, mode, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the store's log: %w", err)
	}
	n.stops = append(n.stops, func() { _ = f.Close() }) // it was only appended to
	return slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelWarn})), nil
}

func (n *Node) startMaster(ctx context.Context, l net.Listener) error {
	if err := n.openStore(ctx); err != nil {
		return err
	}
	book, err := n.cfg.book()
	if err != nil {
		return err
	}
	domain, err := mesos.ParseDomain(n.cfg.Domain)
	if err != nil {
		return fmt.Errorf("--domain: %w", err)
	}
	m, err := newMeter()
	if err != nil {
		return err
	}
	n.master = master.New(master.Config{
		Hostname: n.cfg.Hostname, IP: n.cfg.IP, Port: n.cfg.MasterPort, Cluster: n.cfg.Cluster, Book: book,
		LeaseTTL: n.cfg.LeaseTTL, Alone: n.cfg.Store == "" || n.cfg.Store == "embedded", Flags: n.cfg.MasterFlags, Version: n.cfg.Version,
		Domain: domain, RequireDomain: n.cfg.RequireDomain,
		WorkDir: n.cfg.DataDir, Streams: loop.OutboxLimits{Bytes: n.cfg.EventBacklog}, Subscribers: n.cfg.Subscribers, PerFramework: n.cfg.PerFramework,
	}, master.Deps{Store: n.store, Clock: n.clock, Log: n.log.With("part", "master"), Meter: m, Level: n.cfg.LogLevel})
	n.serve(l, n.master.Handler(), n.master.Fast())
	n.run(ctx, "master", n.master.Run)
	return n.awaitLeading(ctx, n.cfg.Store == "" || n.cfg.Store == "embedded")
}

// awaitLeading waits until a master that is alone with its store leads. One of several may have to wait for long.
func (n *Node) awaitLeading(ctx context.Context, alone bool) error {
	deadline := n.clock.Now().Mono + time.Minute
	again := n.clock.NewTimer(time.Millisecond)
	defer again.Stop()
	for alone && !n.master.Leading() {
		select {
		case err := <-n.errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C():
			again.Reset(time.Millisecond)
		}
		if n.clock.Now().Mono > deadline {
			return errors.New("the master did not begin to lead within a minute; its log may say why (--log info)")
		}
	}
	return nil
}

// newMeter makes the numbers of a part. To Prometheus it shows those of the process as well.
func newMeter() (*meter.Meter, error) {
	r := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of the process: %w", err)
		}
	}
	return meter.New(r)
}

func (n *Node) startAgent(ctx context.Context, l net.Listener) error {
	gpus, found, err := n.gpus()
	if err != nil {
		return err
	}
	resources, attributes, err := n.describe(found)
	if err != nil {
		return err
	}
	domain, err := mesos.ParseDomain(n.cfg.Domain)
	if err != nil {
		return fmt.Errorf("--domain: %w", err)
	}
	n.ready.Resources = resources.String()
	bin, err := launcher.Install(filepath.Join(n.cfg.DataDir, "bin"))
	if err != nil {
		return err
	}
	group, lacks := n.cgroups()
	n.ready.Lacks = lacks
	if group != nil {
		n.stops = append(n.stops, func() { _ = group.Remove() }) // refused while tasks go on below it
	}
	shims := filepath.Join(n.cfg.RuntimeDir, "shims")
	if n.native, err = container.Open(container.Config{Dir: shims, Launcher: bin, Cgroup: group, Quota: n.cfg.CPUQuota, PIDs: int64(n.cfg.PIDs), Log: n.log.With("part", "containers")}); err != nil {
		return err
	}
	n.stops = append(n.stops, func() {
		if err := n.native.Close(); err != nil {
			n.log.Warn("letting go of the containers", "error", err)
		}
	})
	boot, err := host.BootID()
	if err != nil {
		return fmt.Errorf("the machine's boot id: %w", err)
	}
	m, err := newMeter()
	if err != nil {
		return err
	}
	book := workload.Defaults()
	book.RegistrationTimeout, book.ReregisterTimeout = n.cfg.RegistrationTimeout, n.cfg.ReregistrationTimeout
	book.MaxPastExecutors = n.cfg.MaxPastExecutors
	socket := ""
	var sl net.Listener
	if n.cfg.DomainSocket {
		socket = filepath.Join(n.cfg.RuntimeDir, "agent.sock")
		if sl, err = n.listenSocket(ctx, socket); err != nil {
			return err
		}
	}
	images, err := n.images()
	if err != nil {
		return err
	}
	networks, err := n.networks()
	if err != nil {
		return err
	}
	rules, err := n.cfg.confinement()
	if err != nil {
		return err
	}
	logs, err := rotation.New(n.cfg.LogSize, n.cfg.LogFiles)
	if err != nil {
		return err
	}
	work := filepath.Join(n.cfg.DataDir, "agent")
	n.agent, err = agent.Open(agent.Config{
		Masters: n.cfg.Masters, Hostname: n.cfg.Hostname, IP: n.cfg.IP, Port: n.cfg.AgentPort, WorkDir: work,
		Resources: resources, Attributes: attributes, Domain: domain,
		Reconfiguration: reconfigure.Policy(n.cfg.Reconfiguration), AnyPort: n.anyPort, Strict: n.cfg.Strict, Boot: boot, Launches: 2 * runtime.NumCPU(),
		Quota: n.cfg.CPUQuota, ShutdownGrace: n.cfg.ShutdownGrace, RecoveryTimeout: n.cfg.RecoveryTimeout,
		DiskWatch: n.cfg.DiskWatch, EnforceDisk: n.cfg.EnforceDisk, Logs: logs, ImageBackend: imaged.Backend(n.cfg.ImageBackend),
		GCDelay: n.cfg.GCDelay, GCHeadroom: n.cfg.GCHeadroom, Confine: rules, Isolation: isolation(lacks),
		SwitchUser: n.cfg.SwitchUser, AnyUser: n.cfg.TrustLoopback || n.cfg.Insecure, Flags: n.cfg.AgentFlags, Version: master.MesosVersion, Book: book, Socket: socket,
		SecretsDir: filepath.Join(n.cfg.RuntimeDir, "secrets"),
	}, agent.Deps{Runtime: n.native, Fetcher: &fetch.Fetcher{}, Images: images, GPUs: gpus, Networks: networks, Secrets: secrets.Values{}, Clock: n.clock, Log: n.log.With("part", "agent"), Meter: m, Level: n.cfg.LogLevel})
	if err != nil {
		return err
	}
	n.ready.Tasks = n.agent.Tasks()
	n.serve(l, n.agent.Handler(), serve.Fast{})
	if sl != nil {
		n.serve(sl, n.agent.Handler(), serve.Fast{})
	}
	n.run(ctx, "agent", n.agent.Run)
	return nil
}

// isolation names what holds containers, in the original's words.
func isolation(lacks []string) string {
	if len(lacks) > 0 {
		return "posix/cpu,posix/mem"
	}
	return "cgroups/cpu,cgroups/mem"
}

// describe makes the machine's resources and attributes of what was set and what is detected: of gpus, what was found.
func (n *Node) describe(gpus int) (resource.List, []*mesosv1.Attribute, error) {
	l, err := resource.Parse(n.cfg.Resources, n.cfg.DefaultRole)
	if err != nil {
		return nil, nil, fmt.Errorf("--resources: %w", err)
	}
	attrs, err := mesos.ParseAttributes(n.cfg.Attributes)
	if err != nil {
		return nil, nil, fmt.Errorf("--attributes: %w", err)
	}
	found := host.DetectResources(n.cfg.DataDir)
	named := map[string]bool{}
	for i := range l {
		named[l[i].Name] = true
	}
	for name, q := range map[string]int64{"cpus": found.CPUs, "mem": found.Mem, "disk": found.Disk, "gpus": int64(gpus) * int64(resource.One)} {
		if !named[name] && (q > 0 || name != "gpus") {
			l = l.Plus(resource.New(resource.Resource{Name: name, Kind: resource.Scalar, Scalar: resource.Quantity(q)}))
		}
	}
	if !named["ports"] {
		l = l.Plus(resource.New(resource.Resource{Name: "ports", Kind: resource.Ranges, Spans: []resource.Span{{Begin: found.PortsFrom, End: found.PortsTo}}}))
	}
	return l, attrs, nil
}

// cgroups finds where tasks' limits can be set, and says which cannot and why.
func (n *Node) cgroups() (*cgroup.Parent, []string) {
	var lacks []string
	system, err := cgroup.Detect()
	if err != nil {
		return nil, []string{"limits of cpus and memory: " + err.Error()}
	}
	parent := system.Prepare(container.CgroupName(n.cfg.RuntimeDir), n.cfg.Controllers...)
	for _, l := range parent.Lacks {
		lacks = append(lacks, fmt.Sprintf("%s: %s; %s", l.What, l.Why, l.How))
	}
	return parent, lacks
}

// runtimeDir is where a node with this data directory keeps what must not outlive the machine.
func runtimeDir(dataDir string) string {
	sum := sha256.Sum256([]byte(dataDir))
	name := hex.EncodeToString(sum[:6])
	if os.Geteuid() == 0 {
		return filepath.Join("/run/pando", name)
	}
	if x := os.Getenv("XDG_RUNTIME_DIR"); x != "" {
		return filepath.Join(x, "pando", name)
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("pando-%d", os.Geteuid()), name)
}
