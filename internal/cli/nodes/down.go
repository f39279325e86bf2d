package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/internal/cli/where"
	"github.com/pando-os/pando/internal/fault"
)

// stopWithin is how long a node has to stop.
const stopWithin = 30 * time.Second

func down() *cobra.Command {
	cmd := &cobra.Command{
		Use: "down", Short: "Stop the cluster of one that runs on this machine", Args: cobra.NoArgs,
		Long: `Stops what "pando up" started on the data directory. Tasks go on and the next start finds them, unless
--kill-tasks ends them first.`,
		Example: "  pando down\n  pando down --kill-tasks --data-dir /tmp/pando",
	}
	dir := cmd.Flags().String("data-dir", defaultDataDir(), "data directory of the node (default: of the last up)")
	kill := cmd.Flags().Bool("kill-tasks", false, "end every task first")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		lastUp(cmd, dir)
		r, ok := read(*dir)
		if !ok {
			return fmt.Errorf("no node runs on %s; if another data directory is meant, name it with --data-dir", *dir)
		}
		if *kill {
			if err := killAll(cmd.Context(), cmd, r); err != nil {
				return err
			}
		}
		if err := terminate(r.PID); err != nil {
			return fmt.Errorf("stopping pid %d: %w", r.PID, err)
		}
		for deadline := time.Now().Add(stopWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if _, ok := read(*dir); !ok {
				fmt.Fprintf(cmd.OutOrStdout(), "Stopped pid %d.\n", r.PID)
				return nil
			}
		}
		return fmt.Errorf("pid %d did not stop within %s; its log may say why", r.PID, stopWithin)
	}
	return cmd
}

// lastUp takes the data directory of the last up when the command names none.
func lastUp(cmd *cobra.Command, dir *string) {
	if cmd.Flags().Changed("data-dir") {
		return
	}
	if up, err := (where.Place{}).Last(); err == nil && up.DataDir != "" {
		*dir = up.DataDir
	}
}

// killAll ends every task and waits until all have ended.
func killAll(ctx context.Context, cmd *cobra.Command, r running) error {
	if r.Master == "" {
		return errors.New("--kill-tasks needs the master, and only an agent runs here; kill the tasks with pando task kill")
	}
	op, err := client.NewOperator([]string{r.Master}, nil)
	if err != nil {
		return err
	}
	asked := map[string]bool{}
	away := false
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		state, err := op.State(ctx)
		if err != nil {
			return fmt.Errorf("asking for the tasks: %w", err)
		}
		// Right after a start the agent has not told the master yet what runs.
		if away = r.Agent != "" && state.ActivatedAgents == 0; away {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		left := 0
		for _, f := range state.Frameworks {
			for _, t := range f.Tasks {
				if t.Terminal() {
					continue
				}
				left++
				if key := f.ID + "/" + t.ID; !asked[key] {
					asked[key] = true
					if err := op.Kill(ctx, f.ID, t.ID); err != nil && !fault.Is(err, fault.NotFound) { // it may have ended by itself
						return fmt.Errorf("killing task %s: %w", t.ID, err)
					}
				}
			}
		}
		if left == 0 {
			if len(asked) > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "Ended %s.\n", count(len(asked), "task", "tasks"))
			}
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	if away {
		return errors.New("the agent did not register with the master within two minutes, so its tasks cannot be ended; nothing was stopped")
	}
	return errors.New("some tasks did not end within two minutes; nothing was stopped")
}

func status() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Say what runs on this machine", Args: cobra.NoArgs,
		Long:    `Says whether "pando up" runs on the data directory and what the cluster has. Exit code 3: nothing runs.`,
		Example: "  pando status\n  pando status -o json",
	}
	dir := cmd.Flags().String("data-dir", defaultDataDir(), "data directory of the node (default: of the last up)")
	output := cmd.Flags().StringP("output", "o", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		lastUp(cmd, dir)
		r, ok := read(*dir)
		s := summary{Running: ok, DataDir: *dir, PID: r.PID, Master: r.Master, Agent: r.Agent}
		if ok && r.Master != "" {
			if err := s.ask(cmd.Context()); err != nil {
				s.Problem = err.Error()
			}
		}
		if *output == "json" {
			b, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), string(b))
		} else {
			s.print(cmd)
		}
		if !ok {
			return &ExitError{3}
		}
		return nil
	}
	return cmd
}

// ExitError ends the program with a code and without a word.
type ExitError struct{ Code int }

// Error is never shown.
func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// summary is what status says.
type summary struct {
	Running    bool   `json:"running"`
	DataDir    string `json:"data_dir"`
	PID        int    `json:"pid,omitempty"`
	Master     string `json:"master,omitempty"`
	Agent      string `json:"agent,omitempty"`
	Problem    string `json:"problem,omitempty"`
	Agents     int    `json:"agents"`
	Frameworks int    `json:"frameworks"`
	Tasks      int    `json:"tasks"`
}

func (s *summary) ask(ctx context.Context) error {
	op, err := client.NewOperator([]string{s.Master}, nil)
	if err != nil {
		return err
	}
	state, err := op.State(ctx)
	if err != nil {
		return err
	}
	s.Agents, s.Frameworks = len(state.Agents), len(state.Frameworks)
	for _, f := range state.Frameworks {
		for _, t := range f.Tasks {
			if !t.Terminal() {
				s.Tasks++
			}
		}
	}
	return nil
}

func (s *summary) print(cmd *cobra.Command) {
	w := cmd.OutOrStdout()
	if !s.Running {
		fmt.Fprintf(w, "Nothing runs on %s. To start: pando up\n", s.DataDir)
		return
	}
	fmt.Fprintf(w, "Running, pid %d, on %s.\n", s.PID, s.DataDir)
	if s.Master != "" {
		fmt.Fprintf(w, "  master  http://%s\n", s.Master)
	}
	if s.Agent != "" {
		fmt.Fprintf(w, "  agent   http://%s\n", s.Agent)
	}
	switch {
	case s.Problem != "":
		fmt.Fprintf(w, "The master does not answer: %s\n", s.Problem)
	case s.Master != "":
		fmt.Fprintf(w, "%s, %s, %s.\n", count(s.Agents, "agent", "agents"), count(s.Frameworks, "framework", "frameworks"), count(s.Tasks, "running task", "running tasks"))
	}
}
