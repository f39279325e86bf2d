package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/fate"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
)

const taskNames = "TASK is a task's id, a prefix that only one id begins with, or FRAMEWORK/TASK."

func (a *App) taskCommand() *cobra.Command {
	task := &cobra.Command{Use: "task", Short: "What runs, and what ran", Args: cobra.NoArgs, RunE: help, Long: "What runs, and what ran. " + taskNames}
	task.AddCommand(a.taskLs(), a.taskShow(), a.taskLogs(), a.taskExec(), a.taskAttach(), a.taskKill(), a.taskLsFiles())
	return task
}

func (a *App) taskLs() *cobra.Command {
	var all bool
	ls := &cobra.Command{
		Use:     "ls",
		Short:   "List the tasks",
		Example: "  pando task ls\n  pando task ls --all -o json | jq -r '.[] | select(.state == \"TASK_FAILED\") | .id'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			tasks, err := o.Tasks(cmd.Context(), "", "")
			if err != nil {
				return err
			}
			if !all {
				tasks = slices.DeleteFunc(tasks, func(t client.Task) bool { return t.Terminal() })
			}
			agents, err := o.Agents(cmd.Context())
			if err != nil {
				return err
			}
			hosts := map[string]string{}
			for _, n := range agents {
				hosts[n.ID] = n.Hostname
			}
			return a.show(orEmpty(tasks), func(w io.Writer) {
				row(w, "ID", "NAME", "STATE", "NODE", "CPUS", "MEM", "SINCE", "FRAMEWORK")
				for _, t := range tasks {
					host := hosts[t.AgentID]
					if host == "" {
						host = t.AgentID
					}
					row(w, t.ID, t.Name, state(t.State), host, number(t.Resources.Scalar("cpus")), size(t.Resources.Scalar("mem")), a.ago(since(t)), t.FrameworkID)
				}
			})
		},
	}
	ls.Flags().BoolVarP(&all, "all", "a", false, "those that have ended, too")
	return ls
}

// since is when the task came into its state.
func since(t client.Task) float64 {
	if len(t.Statuses) == 0 {
		return 0
	}
	return t.Statuses[len(t.Statuses)-1].Timestamp
}

func (a *App) taskShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show TASK",
		Short:             "Tell all about a task, and why it ended",
		Long:              "Tell all about a task: where it runs, what it uses, and the states it went through with their reasons. " + taskNames,
		Example:           "  pando task show web-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			t, err := a.task(cmd.Context(), o, args[0])
			if err != nil {
				return err
			}
			statuses, err := o.TaskStatuses(cmd.Context(), t.FrameworkID, t.ID)
			if fault.Is(err, fault.NotFound) {
				statuses, err = plain(t), nil // a master of Apache Mesos, which keeps the reasons to itself
			}
			if err != nil {
				return err
			}
			return a.showTask(t, statuses)
		},
	}
}

// plain is what a task's v0 statuses say, as v1 messages.
func plain(t client.Task) []*mesosv1.TaskStatus {
	var out []*mesosv1.TaskStatus
	for _, s := range t.Statuses {
		number, ok := mesosv1.TaskState_value[s.State]
		if !ok {
			continue
		}
		out = append(out, &mesosv1.TaskStatus{
			TaskId: &mesosv1.TaskID{Value: new(t.ID)}, State: mesosv1.TaskState(number).Enum(), Timestamp: new(s.Timestamp), Healthy: s.Healthy,
		})
	}
	return out
}

func (a *App) showTask(t client.Task, statuses []*mesosv1.TaskStatus) error {
	shown := struct {
		client.Task
		Statuses []json.RawMessage `json:"statuses"`
		Why      string            `json:"why"`
	}{Task: t, Statuses: []json.RawMessage{}, Why: "it has no status yet"}
	for _, s := range statuses {
		b, err := mesos.AppendJSON(nil, s)
		if err != nil {
			return fault.Wrap(fault.Internal, err)
		}
		shown.Statuses = append(shown.Statuses, b)
		shown.Why = fate.Words(s)
	}
	if n := len(statuses); n > 0 && t.Terminal() && !client.Terminal(statuses[n-1].GetState().String()) {
		shown.Why = "it has ended; how is told once its scheduler is back and has acknowledged what was before"
	}
	return a.show(shown, func(w io.Writer) {
		row(w, "id", t.ID)
		row(w, "name", t.Name)
		row(w, "state", state(t.State))
		row(w, "why", shown.Why)
		row(w, "framework", t.FrameworkID)
		row(w, "executor", t.ExecutorID)
		row(w, "node", t.AgentID)
		row(w, "role", t.Role)
		row(w, "user", t.User)
		row(w, "cpus", number(t.Resources.Scalar("cpus")))
		row(w, "mem", size(t.Resources.Scalar("mem")))
		if ports, ok := t.Resources["ports"].(string); ok {
			row(w, "ports", ports)
		}
		if n := len(t.Statuses); n > 0 {
			at := t.Statuses[n-1].ContainerStatus
			row(w, "container", at.ContainerID.Value)
			for _, line := range networks(&at) {
				row(w, "network", line)
			}
		}
		row(w, "history", "")
		for _, s := range statuses {
			at := time.Unix(0, int64(s.GetTimestamp()*1e9)).UTC().Format(time.RFC3339)
			row(w, "  "+at, fate.Words(s))
		}
	})
}

// networks are the networks that a container has of its own: their names, its addresses, and which ports of the node lead to which of its.
func networks(at *client.ContainerStatus) (lines []string) {
	for _, n := range at.NetworkInfos {
		if n.Name == "" {
			continue
		}
		var line strings.Builder
		line.WriteString(n.Name)
		for _, ip := range n.IPAddresses {
			line.WriteString(" " + ip.IPAddress)
		}
		for _, p := range n.PortMappings {
			fmt.Fprintf(&line, ", %d -> %d/%s", p.HostPort, p.ContainerPort, cmp.Or(p.Protocol, "tcp"))
		}
		lines = append(lines, line.String())
	}
	return lines
}

func (a *App) taskLogs() *cobra.Command {
	var follow, stderr bool
	logs := &cobra.Command{
		Use:   "logs TASK",
		Short: "Print what a task wrote",
		Long: "Print what a task wrote to its standard output, or error. With -f, go on until the task has ended and all is printed. " +
			taskNames,
		Example:           "  pando task logs web-1\n  pando task logs -f --stderr web-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			t, err := a.task(cmd.Context(), o, args[0])
			if err != nil {
				return err
			}
			agent, err := a.agentOf(cmd.Context(), o, t)
			if err != nil {
				return err
			}
			name := path.Join(t.Sandbox(), "stdout")
			if stderr {
				name = path.Join(t.Sandbox(), "stderr")
			}
			if _, err := agent.Size(cmd.Context(), name); fault.Is(err, fault.NotFound) && (!follow || t.Terminal()) {
				return fault.New(fault.NotFound, "task %s has no such output on its node: it did not start, or its sandbox was removed", t.ID)
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			ended := make(chan struct{})
			if !follow || t.Terminal() {
				close(ended)
			} else {
				go a.awaitEnd(ctx, o, t, ended)
			}
			return agent.Tail(ctx, a.Clock, name, 0, a.Out, ended)
		},
	}
	logs.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the task has ended")
	logs.Flags().BoolVar(&stderr, "stderr", false, "standard error, not output")
	return logs
}

// awaitEnd closes ended when the task has ended or is not known any more.
func (a *App) awaitEnd(ctx context.Context, o *client.Operator, t client.Task, ended chan<- struct{}) {
	defer close(ended)
	for clock.Sleep(ctx, a.Clock, time.Second) == nil {
		tasks, err := o.Tasks(ctx, t.FrameworkID, t.ID)
		if err != nil {
			continue // the master comes back, or the reader goes
		}
		if len(tasks) == 0 || tasks[0].Terminal() {
			return
		}
	}
}

func (a *App) taskKill() *cobra.Command {
	return &cobra.Command{
		Use:               "kill TASK",
		Short:             "Kill a task",
		Long:              "Kill a task of any framework: its scheduler is told TASK_KILLED and may start another. " + taskNames,
		Example:           "  pando task kill web-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			t, err := a.task(cmd.Context(), o, args[0])
			if err != nil {
				return err
			}
			if t.Terminal() {
				return fault.New(fault.Conflict, "task %s has ended already: it is %s", t.ID, state(t.State))
			}
			err = o.Kill(cmd.Context(), t.FrameworkID, t.ID)
			if refused, ok := errors.AsType[*client.StatusError](err); ok && refused.Status == 404 {
				return fault.New(fault.Conflict, "this master cannot kill another framework's task; use `pando framework teardown %s`", t.FrameworkID)
			}
			if err != nil {
				return err
			}
			return a.show(map[string]string{"framework_id": t.FrameworkID, "task_id": t.ID}, func(w io.Writer) {
				fmt.Fprintf(w, "%s is being killed\n", t.ID)
			})
		},
	}
}

func (a *App) taskLsFiles() *cobra.Command {
	return &cobra.Command{
		Use:               "ls-files TASK [DIRECTORY]",
		Short:             "List the files of a task's sandbox",
		Long:              "List the files of a task's sandbox, or of a directory in it. " + taskNames,
		Example:           "  pando task ls-files web-1\n  pando task ls-files web-1 data/logs",
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeTasks,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			t, err := a.task(cmd.Context(), o, args[0])
			if err != nil {
				return err
			}
			agent, err := a.agentOf(cmd.Context(), o, t)
			if err != nil {
				return err
			}
			directory := t.Sandbox()
			if len(args) > 1 {
				directory = path.Join(directory, path.Clean("/"+args[1]))
			}
			files, err := agent.Browse(cmd.Context(), directory)
			if err != nil {
				return err
			}
			return a.show(orEmpty(files), func(w io.Writer) {
				for _, f := range files {
					name := path.Base(f.Path)
					if strings.HasPrefix(f.Mode, "d") {
						name += "/"
					}
					row(w, f.Mode, f.UID, f.GID, fmt.Sprint(f.Size), a.ago(f.MTime), name)
				}
			})
		},
	}
}
