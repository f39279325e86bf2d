package cli

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
)

func (a *App) frameworkCommand() *cobra.Command {
	framework := &cobra.Command{Use: "framework", Short: "The schedulers that use the cluster", Args: cobra.NoArgs, RunE: help}
	framework.AddCommand(a.frameworkLs(), a.frameworkTeardown())
	return framework
}

func (a *App) frameworkLs() *cobra.Command {
	var all bool
	ls := &cobra.Command{
		Use:     "ls",
		Short:   "List the frameworks",
		Example: "  pando framework ls\n  pando framework ls --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			frameworks, completed, err := o.Frameworks(cmd.Context())
			if err != nil {
				return err
			}
			if all {
				frameworks = slices.Concat(frameworks, completed)
			}
			return a.show(orEmpty(frameworks), func(w io.Writer) {
				row(w, "ID", "NAME", "USER", "ROLES", "STATE", "TASKS", "REGISTERED")
				for _, f := range frameworks {
					row(w, f.ID, f.Name, f.User, strings.Join(f.AllRoles(), ","), frameworkState(f), strconv.Itoa(len(f.Tasks)), a.ago(f.RegisteredTime))
				}
			})
		},
	}
	ls.Flags().BoolVarP(&all, "all", "a", false, "those that have completed, too")
	return ls
}

func frameworkState(f client.Framework) string {
	switch {
	case f.Unregistered > 0:
		return "completed"
	case f.Recovered:
		return "not back yet"
	case !f.Connected:
		return "disconnected"
	case !f.Active:
		return "inactive"
	}
	return "active"
}

func (a *App) frameworkTeardown() *cobra.Command {
	return &cobra.Command{
		Use:     "teardown FRAMEWORK",
		Short:   "Remove a framework and kill its tasks",
		Long:    "Remove a framework and kill its tasks. FRAMEWORK is an id, or a prefix that only one id begins with.",
		Example: "  pando framework teardown 0d1c35ae-6d0a-4d55-a7f7-7a0a3f4c6f0e-0002",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			frameworks, _, err := o.Frameworks(cmd.Context())
			if err != nil {
				return err
			}
			f, err := pick("framework", args[0], frameworks, func(f client.Framework) string { return f.ID },
				func(f client.Framework) string { return f.ID + " (" + f.Name + ")" }, nil)
			if err != nil {
				return err
			}
			if err := o.Teardown(cmd.Context(), f.ID); err != nil {
				return err
			}
			return a.show(map[string]string{"framework_id": f.ID}, func(w io.Writer) {
				fmt.Fprintf(w, "%s (%s) is being removed, with %d tasks\n", f.ID, f.Name, len(f.Tasks))
			})
		},
	}
}
