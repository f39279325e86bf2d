package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/attach"
	"github.com/pando-os/pando/internal/fault"
)

// containerOf finds the container that a task runs in, and the agent that has it.
func (a *App) containerOf(ctx context.Context, word string) (*client.Containers, *mesosv1.ContainerID, error) {
	o, err := a.operator()
	if err != nil {
		return nil, nil, err
	}
	t, err := a.task(ctx, o, word)
	if err != nil {
		return nil, nil, err
	}
	if t.Terminal() {
		return nil, nil, fault.New(fault.Conflict, "task %s has ended already: it is %s", t.ID, state(t.State))
	}
	var id *mesosv1.ContainerID
	for _, s := range t.Statuses {
		if s.ContainerStatus.ContainerID.Value != "" {
			id = s.ContainerStatus.ContainerID.Proto()
		}
	}
	if id == nil {
		return nil, nil, fault.New(fault.Conflict, "task %s has no container yet: it is %s", t.ID, state(t.State))
	}
	agent, err := a.agentOf(ctx, o, t)
	if err != nil {
		return nil, nil, err
	}
	return agent.Containers(), id, nil
}

// ends makes the result of a command of an exit code.
func ends(code int, err error) error {
	if err == nil && code != 0 {
		return exit{code}
	}
	return err
}

func (a *App) taskExec() *cobra.Command {
	var input, terminal bool
	exec := &cobra.Command{
		Use:   "exec [-i] [-t] TASK -- COMMAND…",
		Short: "Run a command in a running task",
		Long: "Run a command in a running task: as its user, in its sandbox, with its environment, within its limits. It is ended " +
			"with the connection, and its exit code is passed on (128 and the number of a signal). Ctrl-C is passed on to it. " + taskNames,
		Example:           "  pando task exec web-1 -- ps -ef\n  pando task exec -it web-1 -- bash\n  tar c data | pando task exec -i web-1 -- tar x",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, id, err := a.containerOf(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var env []string
			if kind := a.Getenv("TERM"); terminal && kind != "" {
				env = []string{"TERM", kind}
			}
			interrupts, stop := a.Interrupts()
			defer stop()
			o := attach.Options{Agent: agent, Stdin: os.Stdin, Stdout: a.Out, Stderr: a.Err, Input: input, Terminal: terminal, Interrupt: interrupts}
			name := uuid.NewString()
			return ends(attach.Exec(cmd.Context(), o, &mesosv1.ContainerID{Value: &name, Parent: id}, args[1:], env))
		},
	}
	exec.Flags().BoolVarP(&input, "interactive", "i", false, "pass standard input on")
	exec.Flags().BoolVarP(&terminal, "tty", "t", false, "give it a terminal, which is this one")
	return exec
}

func (a *App) taskAttach() *cobra.Command {
	var noInput bool
	attachTo := &cobra.Command{
		Use:   "attach TASK",
		Short: "Connect to the terminal of a running task",
		Long: "Connect to the terminal of a running task, one whose container has tty_info: see what it shows from now on, and type. " +
			"Ctrl-P Ctrl-Q leaves it; it goes on. " + taskNames,
		Example:           "  pando task attach game-1\n  pando task attach --no-stdin game-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, id, err := a.containerOf(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			interrupts, stop := a.Interrupts()
			defer stop()
			o := attach.Options{Agent: agent, Stdin: os.Stdin, Stdout: a.Out, Stderr: a.Err, Input: !noInput, Interrupt: interrupts}
			o.Terminal = !noInput && attach.IsTerminal(o.Stdin)
			detached, err := attach.Attach(cmd.Context(), o, id)
			if err == nil && detached {
				fmt.Fprintln(a.Err, "\nThe task goes on.")
			}
			return err
		},
	}
	attachTo.Flags().BoolVar(&noInput, "no-stdin", false, "only look")
	return attachTo
}
