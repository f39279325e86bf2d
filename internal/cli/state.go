package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/internal/fault"
)

func (a *App) stateCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "state",
		Short:   "Sum up the cluster; with -o json, all the master knows",
		Example: "  pando state\n  pando state -o json | jq .flags",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.operator()
			if err != nil {
				return err
			}
			if a.output == formatJSON {
				raw, err := o.Get(cmd.Context(), "/state", nil)
				if err != nil {
					return err
				}
				if _, err := a.Out.Write(append(raw, '\n')); err != nil {
					return fault.New(fault.Internal, "printing: %w", err)
				}
				return nil
			}
			s, err := o.State(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(s, func(w io.Writer) { a.sum(w, s) })
		},
	}
}

func (a *App) sum(w io.Writer, s *client.State) {
	_, address, _ := strings.Cut(s.Leader, "@")
	row(w, "cluster", s.Cluster)
	row(w, "leader", address+", elected "+a.ago(s.ElectedTime)+" ago")
	row(w, "API", "Mesos "+s.Version)
	nodes := []string{strconv.Itoa(len(s.Agents))}
	for _, n := range []struct {
		count float64
		words string
	}{{s.DeactivatedAgents, "deactivated"}, {s.UnreachableAgents, "unreachable"}} {
		if n.count > 0 {
			nodes = append(nodes, fmt.Sprintf("%v %s", n.count, n.words))
		}
	}
	row(w, "nodes", strings.Join(nodes, ", "))
	for _, name := range []string{"cpus", "mem", "disk"} {
		total, used := 0.0, 0.0
		for _, n := range s.Agents {
			total += n.Resources.Scalar(name)
			used += n.Used.Scalar(name)
		}
		write := size
		if name == "cpus" {
			write = number
		}
		row(w, name, write(used)+" used of "+write(total))
	}
	row(w, "frameworks", fmt.Sprintf("%d, %d completed", len(s.Frameworks), len(s.CompletedFrameworks)))
	counts := map[string]int{}
	for _, f := range s.Frameworks {
		for _, t := range slices.Concat(f.Tasks, f.Unreachable) {
			counts[state(t.State)]++
		}
	}
	var tasks []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		tasks = append(tasks, fmt.Sprintf("%d %s", counts[name], name))
	}
	row(w, "tasks", strings.Join(tasks, ", "))
}

func (a *App) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which Pando this is, and what the cluster speaks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shown := struct {
				Pando   string `json:"pando"`
				Cluster string `json:"cluster,omitempty"`
				API     string `json:"mesos_api,omitempty"`
			}{Pando: a.Version}
			words := "none is known"
			if found, err := a.find(); err == nil {
				shown.Cluster = strings.Join(found.Masters, ",")
				words = shown.Cluster + " (by " + found.By + ") does not answer"
				if o, err := a.operator(); err == nil {
					if v, err := o.Version(cmd.Context()); err == nil {
						shown.API = v.Version
						words = shown.Cluster + " (by " + found.By + ") speaks Mesos " + v.Version
					}
				}
			}
			return a.show(shown, func(w io.Writer) {
				row(w, "pando", shown.Pando)
				row(w, "cluster", words)
			})
		},
	}
}
