package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/internal/fault"
)

// pick finds the one thing that a person's word means: the one with exactly this id, or else the only one whose id begins
// with it. With several exact ones (tasks of different frameworks) prefer settles it, when it holds for one alone.
func pick[T any](kind, word string, all []T, id, title func(T) string, prefer func(T) bool) (T, error) {
	var zero T
	var exact, begun []T
	for _, t := range all {
		switch {
		case word == "":
		case id(t) == word:
			exact = append(exact, t)
		case strings.HasPrefix(id(t), word):
			begun = append(begun, t)
		}
	}
	found := exact
	if len(found) == 0 {
		found = begun
	}
	if len(found) > 1 && prefer != nil {
		var preferred []T
		for _, t := range found {
			if prefer(t) {
				preferred = append(preferred, t)
			}
		}
		if len(preferred) == 1 {
			found = preferred
		}
	}
	switch len(found) {
	case 0:
		return zero, fault.New(fault.NotFound, "no %s has the id %q or one that begins so: see `pando %s ls`", kind, word, kind)
	case 1:
		return found[0], nil
	}
	const most = 5
	var titles []string
	for i, t := range found {
		if i == most {
			titles = append(titles, fmt.Sprintf("and %d more", len(found)-most))
			break
		}
		titles = append(titles, title(t))
	}
	return zero, fault.New(fault.NotFound, "%q could be any of %d: %s", word, len(found), strings.Join(titles, ", "))
}

// pickTask finds a task named by its id, a unique prefix of it, or FRAMEWORK/TASK, where both may be prefixes. Where several
// fit, the only one that has not ended is meant.
func pickTask(word string, all []client.Task) (client.Task, error) {
	if framework, task, ok := strings.Cut(word, "/"); ok {
		var of []client.Task
		for _, t := range all {
			if framework != "" && strings.HasPrefix(t.FrameworkID, framework) {
				of = append(of, t)
			}
		}
		found, err := pickOne(task, of)
		if err == nil {
			return found, nil
		}
		// A task's own id may hold a slash: then the whole word is its id.
		if found, whole := pickOne(word, all); whole == nil {
			return found, nil
		}
		return client.Task{}, err
	}
	return pickOne(word, all)
}

func pickOne(word string, all []client.Task) (client.Task, error) {
	return pick("task", word, all, func(t client.Task) string { return t.ID },
		func(t client.Task) string { return t.FrameworkID + "/" + t.ID }, func(t client.Task) bool { return !t.Terminal() })
}

// task finds the task that a command's argument names.
func (a *App) task(ctx context.Context, o *client.Operator, word string) (client.Task, error) {
	all, err := o.Tasks(ctx, "", "")
	if err != nil {
		return client.Task{}, err
	}
	return pickTask(word, all)
}

// agentOf finds the agent that runs a task, and makes a client of it.
func (a *App) agentOf(ctx context.Context, o *client.Operator, t client.Task) (*client.Agent, error) {
	agents, err := o.Agents(ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range agents {
		if info.ID == t.AgentID {
			return o.Agent(info)
		}
	}
	return nil, fault.New(fault.NotFound, "the node %s of task %s is not in the cluster now", t.AgentID, t.ID)
}

// completeTasks offers the ids of tasks to the shell.
func (a *App) completeTasks(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	o, err := a.operator()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	tasks, err := o.Tasks(cmd.Context(), "", "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, t := range tasks {
		if strings.HasPrefix(t.ID, begun) {
			ids = append(ids, t.ID+"\t"+state(t.State))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
