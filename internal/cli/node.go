package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
)

func (a *App) nodeCommand() *cobra.Command {
	node := &cobra.Command{Use: "node", Short: "The machines of the cluster", Args: cobra.NoArgs, RunE: help}
	node.AddCommand(&cobra.Command{
		Use:     "ls",
		Short:   "List the nodes and what is free on them",
		Example: "  pando node ls\n  pando node ls -o json | jq '.[].hostname'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			agents, err := o.Agents(cmd.Context())
			if err != nil {
				return err
			}
			slices.SortFunc(agents, func(x, y client.AgentInfo) int {
				return strings.Compare(x.Hostname+"\x00"+x.ID, y.Hostname+"\x00"+y.ID)
			})
			return a.show(orEmpty(agents), func(w io.Writer) {
				row(w, "NODE", "ID", "STATE", "CPUS FREE", "MEM FREE", "DISK FREE", "ATTRIBUTES", "JOINED")
				for _, n := range agents {
					row(w, n.Hostname, n.ID, nodeState(n), amount(n, "cpus", number), amount(n, "mem", size), amount(n, "disk", size),
						attributes(n.Attributes), a.ago(n.RegisteredTime))
				}
			})
		},
	})
	return node
}

// help is what a command does that is only a group of others.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// orEmpty makes the JSON of nothing [] and not null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func nodeState(n client.AgentInfo) string {
	switch {
	case n.Deactivated:
		return "deactivated"
	case !n.Active:
		return "disconnected"
	}
	return "active"
}

func amount(n client.AgentInfo, name string, write func(float64) string) string {
	return write(n.Free(name)) + " of " + write(n.Resources.Scalar(name))
}

func attributes(all map[string]any) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, fmt.Sprintf("%s:%v", name, all[name]))
	}
	return strings.Join(out, ";")
}
