package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/mesos/resource"
)

// report is what simulate measured. CPU times are of the master's process alone.
type report struct {
	Agents         int     `json:"agents"`
	RegisterSecs   float64 `json:"register_seconds"`
	RegisterCPU    float64 `json:"register_cpu_us_per_agent"`
	RSSBefore      float64 `json:"rss_empty_mib"`
	RSSRegistered  float64 `json:"rss_registered_mib"`
	KiBPerAgent    float64 `json:"kib_per_agent"`
	IdleCPU        float64 `json:"idle_cpu_percent"`
	Encoding       string  `json:"encoding"`
	Tasks          int     `json:"tasks"`
	Seconds        float64 `json:"seconds"`
	PerSecond      float64 `json:"tasks_per_second"`
	CPUPerTask     float64 `json:"master_cpu_us_per_task"`
	FirstPerSecond float64 `json:"first_tenth_per_second"`
	LastPerSecond  float64 `json:"last_tenth_per_second"`
	Bad            int64   `json:"not_finished"`
	RSSAfter       float64 `json:"rss_after_mib"`
}

func simulate() *cobra.Command {
	var agents, tasks, inFlight, perOffer, connections int
	var encoding, resources string
	var life, idle time.Duration
	cmd := &cobra.Command{
		Use: "simulate", Short: "Put a master under the load of many simulated agents", Args: cobra.NoArgs,
		Long: `Starts a master of its own in a temporary directory, connects simulated agents to it over real sockets, and
launches tasks through the scheduler API, each update acknowledged by a request of its own. Prints what the master took.`,
		Example: "  pando simulate --agents 10000 --tasks 100000\n  pando simulate --agents 1000 --tasks 10000 --encoding json",
	}
	f := cmd.Flags()
	f.IntVar(&agents, "agents", 1000, "simulated agents")
	f.IntVar(&tasks, "tasks", 10_000, "tasks to launch in all; 0: only agents")
	f.IntVar(&inFlight, "in-flight", 2000, "tasks at once")
	f.IntVar(&perOffer, "per-offer", 10, "tasks on one offer at most")
	f.IntVar(&connections, "connections", 4, "connections for calls")
	f.StringVar(&encoding, "encoding", "protobuf", "of the scheduler API: protobuf or json")
	f.StringVar(&resources, "resources", "cpus:8;mem:16384;disk:100000;ports:[31000-32000]", "of each agent")
	f.DurationVar(&life, "life", 0, "how long a task runs")
	f.DurationVar(&idle, "idle", 10*time.Second, "how long the idle cluster is watched before the load; 0: not at all")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := resource.Parse(resources, "*")
		if err != nil {
			return fmt.Errorf("--resources: %w", err)
		}
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel()
		addr, pid, stop, err := ownMaster(ctx)
		if err != nil {
			return err
		}
		defer stop()
		rep := report{Agents: agents, Tasks: tasks, Encoding: encoding, RSSBefore: rss(pid)}
		fl := fleet.New(fleet.Config{
			Master: addr, Agents: agents, Resources: l, Life: life, Dialing: 32, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler),
		})
		begun, cpu := time.Now(), host.CPUTime(pid)
		done := make(chan struct{})
		go func() { fl.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()
		for fl.Registered.Load() < int64(agents) {
			time.Sleep(5 * time.Millisecond)
			if time.Since(begun) > 5*time.Minute {
				return fmt.Errorf("only %d of %d agents registered within five minutes", fl.Registered.Load(), agents)
			}
		}
		rep.RegisterSecs = time.Since(begun).Seconds()
		rep.RegisterCPU = float64((host.CPUTime(pid) - cpu).Microseconds()) / float64(max(agents, 1))
		fmt.Fprintf(cmd.ErrOrStderr(), "%d agents registered in %.1f s\n", agents, rep.RegisterSecs)
		if idle > 0 {
			time.Sleep(2 * time.Second)
			cpu = host.CPUTime(pid)
			time.Sleep(idle)
			rep.IdleCPU = 100 * (host.CPUTime(pid) - cpu).Seconds() / idle.Seconds()
		}
		rep.RSSRegistered = rss(pid)
		rep.KiBPerAgent = (rep.RSSRegistered - rep.RSSBefore) * 1024 / float64(max(agents, 1))
		if tasks > 0 {
			if err := rep.load(ctx, cmd, &fleet.Load{
				Master: addr, JSON: encoding == "json", Tasks: tasks, InFlight: inFlight, PerOffer: perOffer, Connections: connections,
			}, pid); err != nil {
				return err
			}
		}
		b, err := json.MarshalIndent(rep, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), string(b))
		return nil
	}
	return cmd
}

func (r *report) load(ctx context.Context, cmd *cobra.Command, l *fleet.Load, pid int) error {
	begun, cpu := time.Now(), host.CPUTime(pid)
	var marks []time.Time
	tenth := int64(max(r.Tasks/10, 1))
	r.Seconds = -1 // until all run
	err := l.Run(ctx, func(running int64) {
		if running%tenth == 0 {
			marks = append(marks, time.Now())
		}
		if running == int64(r.Tasks) {
			r.Seconds = time.Since(begun).Seconds()
		}
	})
	if err != nil {
		return err
	}
	r.CPUPerTask = float64((host.CPUTime(pid) - cpu).Microseconds()) / float64(r.Tasks)
	if r.Seconds < 0 { // some never ran; what ended did so by now
		r.Seconds = time.Since(begun).Seconds()
	}
	r.PerSecond = float64(r.Tasks) / r.Seconds
	if n := len(marks); n > 1 {
		r.FirstPerSecond = float64(tenth) / marks[0].Sub(begun).Seconds()
		r.LastPerSecond = float64(tenth) / marks[n-1].Sub(marks[n-2]).Seconds()
	}
	r.Bad, r.RSSAfter = l.Bad.Load(), rss(pid)
	fmt.Fprintf(cmd.ErrOrStderr(), "%d tasks in %.1f s\n", r.Tasks, r.Seconds)
	return nil
}

// ownMaster starts this very program as a master of its own.
func ownMaster(ctx context.Context) (addr string, pid int, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", 0, nil, err
	}
	dir, err := os.MkdirTemp("", "pando-simulate-")
	if err != nil {
		return "", 0, nil, err
	}
	c := exec.CommandContext(ctx, self, "master", "--data-dir", dir, "--master-port", "0")
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		_ = os.RemoveAll(dir) // it is empty
		return "", 0, nil, err
	}
	stop = func() {
		_ = terminate(c.Process.Pid) // it may have ended
		_ = c.Wait()                 // how it ended does not matter any more
		_ = os.RemoveAll(dir)        // a temporary directory
	}
	for range 500 {
		if r, ok := read(dir); ok && r.Ready {
			return r.Master, c.Process.Pid, stop, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return "", 0, nil, errors.New("the master did not start within ten seconds")
}

// rss is a process's resident memory in MiB.
func rss(pid int) float64 { return float64(host.Resident(pid)) / (1 << 20) }
