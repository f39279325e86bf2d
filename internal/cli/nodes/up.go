// Package nodes has the commands that run nodes: up, down and status for a cluster of one on this machine, master and
// agent for the parts of a larger one.
package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/internal/cli/where"
	"github.com/pando-os/pando/internal/node"
)

// Commands are the commands of nodes. version is of this build.
func Commands(version string) []*cobra.Command {
	return []*cobra.Command{up(version), down(), status(), master(version), agent(version), simulate()}
}

// defaultDataDir is where a node keeps its state when nobody says otherwise.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/pando"
	}
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "pando")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "pando")
}

func up(version string) *cobra.Command {
	cfg := node.Defaults()
	cfg.Version, cfg.DataDir = version, defaultDataDir()
	cmd := &cobra.Command{
		Use: "up", Short: "Start a cluster of one on this machine", Args: cobra.NoArgs,
		Long: `Starts a master and an agent in one process, on loopback, with their state in a data directory.
Tasks outlive it: Ctrl-C, a crash and an upgrade leave them running, and the next start finds them.`,
		Example: `  pando up
  pando up --data-dir /tmp/pando --resources 'cpus:4;mem:8192'
  pando up --detach && pando run -- echo hello`,
	}
	detach := cmd.Flags().Bool("detach", false, "go into the background once the cluster works")
	verbose := logFlag(cmd)
	completeSettings := bind(cmd, &cfg, forMaster|forAgent)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := completeSettings(); err != nil {
			return err
		}
		if *detach {
			return detached(cmd, cfg.DataDir)
		}
		return run(cmd, cfg, *verbose, true, true)
	}
	return cmd
}

func master(version string) *cobra.Command {
	cfg := node.Defaults()
	cfg.Version, cfg.DataDir = version, defaultDataDir()
	cmd := &cobra.Command{
		Use: "master", Short: "Run a master alone", Args: cobra.NoArgs,
		Example: "  pando master --store etcd://10.0.0.1:2379",
	}
	verbose := logFlag(cmd)
	completeSettings := bind(cmd, &cfg, forMaster)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := completeSettings(); err != nil {
			return err
		}
		return run(cmd, cfg, *verbose, true, false)
	}
	return cmd
}

func agent(version string) *cobra.Command {
	cfg := node.Defaults()
	cfg.Version, cfg.DataDir, cfg.Masters = version, defaultDataDir(), []string{"127.0.0.1:5050"}
	cmd := &cobra.Command{
		Use: "agent", Short: "Run an agent alone", Args: cobra.NoArgs,
		Example: "  pando agent --master 127.0.0.1:5050 --data-dir /var/lib/pando-agent --attributes 'rack:r1'",
	}
	verbose := logFlag(cmd)
	completeSettings := bind(cmd, &cfg, forAgent)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := completeSettings(); err != nil {
			return err
		}
		return run(cmd, cfg, *verbose, false, true)
	}
	return cmd
}

func logFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("log", "warn", "least level of what is logged to stderr: debug, info, warn or error")
}

// run brings a node up in the foreground, says where to go next, and waits for Ctrl-C.
func run(cmd *cobra.Command, cfg node.Config, level string, withMaster, withAgent bool) error {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("--log: %q is not debug, info, warn or error", level)
	}
	cfg.LogLevel = new(slog.LevelVar)
	cfg.LogLevel.Set(least)
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: cfg.LogLevel}))
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	pid, err := claim(cfg.DataDir)
	if err != nil {
		return err
	}
	defer pid.release()
	n, err := node.Start(ctx, cfg, log, withMaster, withAgent)
	if err != nil {
		return err
	}
	ready := n.Ready()
	var place where.Place
	if withMaster {
		note := where.Up{Masters: []string{ready.Master}, Agent: ready.Agent, PID: os.Getpid(), DataDir: cfg.DataDir}
		if err := place.Remember(note); err != nil {
			log.Warn("later commands must be told --master", "error", err)
		}
		defer func() {
			if err := place.Forget(os.Getpid()); err != nil {
				log.Warn("the note of where the cluster is stays", "error", err)
			}
		}()
	}
	greet(cmd.OutOrStdout(), ready, cfg) // before it is called ready: who waits for that shows what was said
	if err := pid.ready(ready); err != nil {
		n.Stop()
		return err
	}
	err = waitOrLeave(ctx, n, withAgent)
	stop() // a second Ctrl-C ends the process at once
	tasks := n.Tasks()
	n.Stop()
	if tasks > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "\n%s on without the agent; the next start finds them. To end them instead: pando down --kill-tasks, while it is up.\n", count(tasks, "task goes", "tasks go"))
	}
	return err
}

// waitOrLeave waits for the node's end. A node with an agent that is told to leave has it unregister first, and its tasks end.
func waitOrLeave(ctx context.Context, n *node.Node, withAgent bool) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	var leave chan os.Signal
	if withAgent && len(leaves) > 0 {
		leave = make(chan os.Signal, 1)
		signal.Notify(leave, leaves...)
		defer signal.Stop(leave)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Wait(waiting) }()
	select {
	case err := <-ended:
		return err
	case <-leave:
	}
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	return n.Leave(ctx)
}

// greet says what runs where, what is missing, and what to do next.
func greet(w io.Writer, r node.Ready, cfg node.Config) {
	if r.Master != "" && r.Agent != "" {
		fmt.Fprintf(w, "Pando is up: a cluster of one, with %s.\n\n", r.Resources)
	} else {
		fmt.Fprintln(w, "Pando is up.")
	}
	if r.Master != "" {
		fmt.Fprintf(w, "  master  http://%s   (Mesos v1 scheduler API at /api/v1/scheduler)\n", r.Master)
	}
	if r.Agent != "" {
		fmt.Fprintf(w, "  agent   http://%s\n", r.Agent)
	}
	fmt.Fprintf(w, "  state   %s\n", cfg.DataDir)
	if r.Tasks > 0 {
		fmt.Fprintf(w, "\n%s on from before.\n", count(r.Tasks, "task goes", "tasks go"))
	}
	for _, l := range r.Lacks {
		fmt.Fprintf(w, "\nNot enforced: %s.\n", strings.TrimSuffix(l, "."))
	}
	if os.Geteuid() != 0 && r.Agent != "" {
		fmt.Fprintln(w, "\nNot root: tasks run as you, without limits of cpu and memory. Start as root to have both.")
	}
	if r.Master != "" && r.Agent != "" {
		fmt.Fprint(w, "\nTry:  pando run -- echo hello\n      pando status\n      pando down        (or Ctrl-C)\n")
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// detached starts this very command again without --detach, in the background, and waits until it works or fails.
func detached(cmd *cobra.Command, dataDir string) error {
	if err := os.MkdirAll(dataDir, 0o711); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	var args []string
	for _, a := range os.Args[1:] {
		if a != "--detach" && a != "--detach=true" {
			args = append(args, a)
		}
	}
	log := filepath.Join(dataDir, "pando.log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("the log of the background process: %w", err)
	}
	defer out.Close()
	offset, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("the log of the background process: %w", err)
	}
	return background(cmd, args, out, log, offset, dataDir)
}

// tail is what was written to a log from an offset on.
func tail(log string, offset int64) string {
	f, err := os.Open(log)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, offset, 64<<10))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// errStopped is the end of a background process that never worked.
func errStopped(log string, offset int64) error {
	if words := tail(log, offset); words != "" {
		return errors.New(strings.TrimPrefix(words, "pando: "))
	}
	return fmt.Errorf("the background process ended at once; see %s", log)
}
