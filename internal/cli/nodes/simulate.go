package nodes

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// plan is what simulate is asked for.
type plan struct {
	masters                           []string // empty: one of its own
	fleet                             fleet.Config
	faults                            []fleet.Fault
	tasks, inFlight, perOffer, conns  int
	rate                              float64
	encoding, csv, output             string
	registerWithin, duration, idle    time.Duration
	verbose                           bool
	runTime                           fleet.Span
	hangs, drops, restarts            []string
	master, resources, attributes     string
	startTime, runTimeText, logLeast  string
	taskCPUs, taskMem, failureRate    float64
	agents, racks, zones              int
	name                              string
	seed                              uint64
	starting, runTimeSet, ownsCluster bool
}

// now is a run time so short that a task ends with the very step that starts it.
const now = time.Microsecond

// excuse is how long an agent is away before a master may take its tasks for lost.
const excuse = 15 * time.Second

func simulate() *cobra.Command {
	p := &plan{}
	cmd := &cobra.Command{
		Use: "simulate", Short: "Join simulated agents to a cluster, and load it", Args: cobra.NoArgs,
		Long: `Runs many simulated agents in one process. They speak the real agents' protocol over real sockets; only their
containers are made up. With --master they join that cluster, and stay until Ctrl-C. Without, a master is started in a
temporary directory, and a scheduler of its own launches --tasks on it through the v1 API, each update acknowledged by
a request of its own.

A fault is written COUNT[%]@AT[+FOR][/EVERY]: so many agents, so long after all have registered, for how long, and after
how long again. The agents are chosen by chance from those that suffer none.

It ends with 0 when all that was promised held: every agent registered, every task ran and ended as it should.`,
		Example: `  pando simulate --agents 10000 --tasks 100000
  pando simulate --master 10.0.0.1:5050,10.0.0.2:5050 --agents 1000 --racks 20 --zones 3
  pando simulate --agents 1000 --tasks 10000 --run-time 5s..60s --failure-rate 0.02 --csv load.csv
  pando simulate --agents 1000 --tasks 5000 --run-time 0 --duration 5m --hang 10@30s+20s --drop 5@1m --restart 10%@90s/1m`,
	}
	p.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := p.check(cmd); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
		return p.run(ctx, cmd)
	}
	return cmd
}

func (p *plan) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.master, "master", "", "masters of the cluster to join, `HOST:PORT`, with commas between several (default: a master of its own)")
	f.IntVar(&p.agents, "agents", 1000, "simulated agents")
	f.StringVar(&p.name, "name", "simulated", "domain of the agents' host names, agent-0.NAME and so on; two simulations on one cluster need two")
	f.StringVar(&p.resources, "resources", "cpus:8;mem:16384;disk:100000;ports:[31000-32000]", "of each agent")
	f.StringVar(&p.attributes, "attributes", "", "of each agent, as level:10;os:debian")
	f.IntVar(&p.racks, "racks", 0, "spread the agents over so many racks, as the attribute rack:r0, rack:r1…")
	f.IntVar(&p.zones, "zones", 0, "spread the racks (or the agents) over so many zones, as zone:z0, zone:z1…")
	f.StringVar(&p.startTime, "start-time", "0s", "how long a task takes to start: a `TIME`, or a range as 100ms..2s")
	f.StringVar(&p.runTimeText, "run-time", "0s", "how long a task runs: a `TIME`, or a range; 0: until it is killed (default with --tasks: it ends at once)")
	f.Float64Var(&p.failureRate, "failure-rate", 0, "share of the tasks that fail when their time has come (with --run-time 0: at once), from 0 to 1")
	f.BoolVar(&p.starting, "starting", false, "send TASK_STARTING before TASK_RUNNING, as real agents do")
	f.StringArrayVar(&p.hangs, "hang", nil, "let agents stop reading and writing, as in 10@30s+20s (without +FOR: for good); may come again")
	f.StringArrayVar(&p.drops, "drop", nil, "let agents vanish for good with their tasks, as in 5@1m; may come again")
	f.StringArrayVar(&p.restarts, "restart", nil, "let agents end and come back, their tasks going on, as in 100@45s+5s (without +FOR: at once); may come again")
	f.IntVar(&p.tasks, "tasks", 10_000, "tasks to launch in all; 0: none, only agents until Ctrl-C (default with --master: 0)")
	f.Float64Var(&p.rate, "rate", 0, "launches a second at most; 0: as many as can be")
	f.IntVar(&p.inFlight, "in-flight", 2000, "tasks at once at most; with --run-time 0, those that do not run yet")
	f.IntVar(&p.perOffer, "per-offer", 10, "tasks on one offer at most")
	f.Float64Var(&p.taskCPUs, "task-cpus", 0.01, "cpus of a task")
	f.Float64Var(&p.taskMem, "task-mem", 8, "MB of memory of a task")
	f.IntVar(&p.conns, "connections", 4, "connections for the scheduler's calls")
	f.StringVar(&p.encoding, "encoding", "protobuf", "of the scheduler API: protobuf or json")
	f.DurationVar(&p.duration, "duration", 0, "how long it runs at most, once all agents have registered; 0: until its tasks have ended, or Ctrl-C")
	f.DurationVar(&p.idle, "idle", 10*time.Second, "how long a master of its own is watched at rest before the load; 0: not at all")
	f.DurationVar(&p.registerWithin, "register-within", 5*time.Minute, "how long all agents may take to register")
	f.StringVar(&p.csv, "csv", "", "`FILE` for a line of figures every second")
	f.StringVarP(&p.output, "output", "o", "table", "how to print the summary: table or json")
	f.BoolVarP(&p.verbose, "verbose", "v", false, "tell the progress on stderr although that is no terminal")
	f.StringVar(&p.logLeast, "log", "warn", "least level of what is logged to stderr: debug, info, warn or error")
	f.Uint64Var(&p.seed, "seed", 0, "of what is left to chance; 0: another one each time")
}

// check reads the flags.
func (p *plan) check(cmd *cobra.Command) error {
	invalid := func(flag string, err error) error { return fault.New(fault.Invalid, "--%s: %w", flag, err) }
	for m := range strings.SplitSeq(p.master, ",") {
		if m = strings.TrimSpace(m); m == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(m); err != nil {
			return fault.New(fault.Invalid, "--master: %q is not HOST:PORT; write it as 10.0.0.1:5050", m)
		}
		p.masters = append(p.masters, m)
	}
	p.ownsCluster = len(p.masters) == 0
	if !cmd.Flags().Changed("tasks") && !p.ownsCluster {
		p.tasks = 0
	}
	p.runTimeSet = cmd.Flags().Changed("run-time")
	var err error
	if p.fleet.Resources, err = resource.Parse(p.resources, "*"); err != nil {
		return invalid("resources", err)
	}
	if p.fleet.Attributes, err = mesos.ParseAttributes(p.attributes); err != nil {
		return invalid("attributes", err)
	}
	if p.fleet.Tasks.Start, err = fleet.ParseSpan(p.startTime); err != nil {
		return invalid("start-time", err)
	}
	if p.runTime, err = fleet.ParseSpan(p.runTimeText); err != nil {
		return invalid("run-time", err)
	}
	if p.tasks > 0 && !p.runTimeSet {
		p.runTime = fleet.Span{Min: now, Max: now}
	}
	if err := p.checkAmounts(); err != nil {
		return err
	}
	if err := p.checkFaults(); err != nil {
		return err
	}
	var least slog.Level
	if err := least.UnmarshalText([]byte(p.logLeast)); err != nil {
		return fault.New(fault.Invalid, "--log: %q is not debug, info, warn or error", p.logLeast)
	}
	if p.seed == 0 {
		p.seed = rand.Uint64()
	}
	p.fleet.Agents, p.fleet.Racks, p.fleet.Zones, p.fleet.Name, p.fleet.Seed = p.agents, p.racks, p.zones, p.name, p.seed
	p.fleet.Tasks.Run, p.fleet.Tasks.FailureRate, p.fleet.Tasks.Starting = p.runTime, p.failureRate, p.starting
	p.fleet.Clock = clock.Real()
	p.fleet.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: least}))
	if err := p.fleet.Check(); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return nil
}

// checkAmounts says which flag's number, or word, cannot be.
func (p *plan) checkAmounts() error {
	for _, c := range []struct {
		wrong bool
		flag  string
		want  string
	}{
		{p.tasks < 0, "tasks", "0 or more"},
		{p.inFlight < 1, "in-flight", "at least 1"},
		{p.perOffer < 1, "per-offer", "at least 1"},
		{p.conns < 1, "connections", "at least 1"},
		{!(p.rate >= 0), "rate", "0 or more"},
		{!(p.taskCPUs >= 0.001), "task-cpus", "at least 0.001"},
		{!(p.taskMem >= 1), "task-mem", "at least 1"},
		{p.duration < 0, "duration", "0 or more"},
		{p.idle < 0, "idle", "0 or more"},
		{p.registerWithin <= 0, "register-within", "more than 0"},
		{p.encoding != "protobuf" && p.encoding != "json", "encoding", "protobuf or json"},
		{p.output != "table" && p.output != "json", "output", "table or json"},
	} {
		if c.wrong {
			return fault.New(fault.Invalid, "--%s: it must be %s", c.flag, c.want)
		}
	}
	if p.tasks > 0 && p.perOffer > p.inFlight {
		return fault.New(fault.Invalid, "--per-offer: %d is more than the %d that --in-flight lets be at once", p.perOffer, p.inFlight)
	}
	return nil
}

func (p *plan) checkFaults() error {
	for _, k := range []struct {
		kind  fleet.FaultKind
		texts []string
	}{{fleet.Hang, p.hangs}, {fleet.Drop, p.drops}, {fleet.Restart, p.restarts}} {
		for _, text := range k.texts {
			f, err := fleet.ParseFault(k.kind, text)
			if err != nil {
				return fault.New(fault.Invalid, "--%s: %w", k.kind, err)
			}
			p.faults = append(p.faults, f)
		}
	}
	if err := fleet.CheckFaults(p.faults, p.agents); err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return nil
}

// load is the scheduler that the plan asks for; nil when it launches nothing.
func (p *plan) load() *fleet.Load {
	if p.tasks == 0 {
		return nil
	}
	l := &fleet.Load{
		Masters: p.masters, JSON: p.encoding == "json", Tasks: p.tasks, InFlight: p.inFlight, PerOffer: p.perOffer, Rate: p.rate,
		Stay: p.runTime.Max == 0, Connections: p.conns, CPUs: p.taskCPUs, Mem: p.taskMem, Failover: time.Minute,
	}
	l.Prepare()
	return l
}

// broken says what became of tasks that the faults of the plan do not explain.
func (p *plan) broken(l *fleet.Load) error {
	excused := l.Subscriptions.Load() > 1 // launches on their way are lost with a leader
	for _, f := range p.faults {
		excused = excused || f.Kind != fleet.Restart || f.For >= excuse
	}
	switch {
	case l.Failed.Load() > 0 && p.failureRate == 0:
		return fmt.Errorf("%s although none should", count(int(l.Failed.Load()), "task failed", "tasks failed"))
	case l.Lost.Load() > 0 && !excused:
		return fmt.Errorf("%s although no agent was", count(int(l.Lost.Load()), "task was lost", "tasks were lost"))
	case l.Killed.Load() > 0:
		return fmt.Errorf("%s by somebody", count(int(l.Killed.Load()), "task was killed", "tasks were killed"))
	}
	return nil
}
