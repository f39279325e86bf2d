package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/internal/fault"
)

// nodeImage is an image and where it is.
type nodeImage struct {
	Node string `json:"node"`
	client.Image
}

func (a *App) imageCommand() *cobra.Command {
	var node string
	image := &cobra.Command{
		Use: "image", Short: "The images of containers on the nodes", Args: cobra.NoArgs, RunE: help,
		Long: `The images of containers on the nodes. A task brings its image along; these commands look at what is there, bring one
beforehand, or take it away. Root may change them.`,
	}
	image.PersistentFlags().StringVar(&node, "node", "", "the `NODE`, by its name or id (default: all for ls, or the only one)")
	change := func(use, short, example string, args cobra.PositionalArgs, of func(args []string) (client.ImageChange, error), said string) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Example: example, Args: args,
			RunE: func(cmd *cobra.Command, args []string) error {
				c, err := of(args)
				if err != nil {
					return err
				}
				n, agent, err := a.imageNode(cmd.Context(), node)
				if err != nil {
					return err
				}
				got, err := agent.ChangeImages(cmd.Context(), c)
				if err != nil {
					return err
				}
				return a.showImages(n.Hostname, got, said)
			},
		}
	}
	image.AddCommand(
		&cobra.Command{
			Use: "ls", Short: "List the images that nodes have", Example: "  pando image ls\n  pando image ls --node node-7 -o json", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return a.listImages(cmd.Context(), node) },
		},
		change("pull REFERENCE", "Bring an image to a node from its registry", "  pando image pull registry.example.org/app:1 --node node-7", cobra.ExactArgs(1),
			func(args []string) (client.ImageChange, error) { return client.ImageChange{Pull: args[0]}, nil }, ""),
		change("load PATH [NAME]", "Bring images to a node from a file of its machine: docker save's, or an OCI layout",
			"  docker save app:1 -o app.tar && pando image load $PWD/app.tar\n  pando image load /srv/layout example.org/app:1", cobra.RangeArgs(1, 2), loadChange, ""),
		change("rm REFERENCE", "Remove an image from a node", "  pando image rm example.org/app:1", cobra.ExactArgs(1),
			func(args []string) (client.ImageChange, error) { return client.ImageChange{Remove: args[0]}, nil }, "Removed."),
		change("prune", "Remove all images of a node that no container uses", "  pando image prune --node node-7", cobra.NoArgs,
			func([]string) (client.ImageChange, error) { return client.ImageChange{Prune: true}, nil }, "Removed what no container uses."),
	)
	return image
}

func loadChange(args []string) (client.ImageChange, error) {
	path, err := filepath.Abs(args[0])
	if err != nil {
		return client.ImageChange{}, fault.New(fault.Invalid, "%s: %w", args[0], err)
	}
	c := client.ImageChange{Load: path}
	if len(args) > 1 {
		c.Name = args[1]
	}
	return c, nil
}

// imageNode finds the node that is meant: the one of that name or id, or the only one.
func (a *App) imageNode(ctx context.Context, word string) (client.AgentInfo, *client.Agent, error) {
	o, err := a.operator()
	if err != nil {
		return client.AgentInfo{}, nil, err
	}
	agents, err := o.Agents(ctx)
	if err != nil {
		return client.AgentInfo{}, nil, err
	}
	var n client.AgentInfo
	switch {
	case word != "":
		n, err = pick("node", word, agents, func(n client.AgentInfo) string { return n.ID }, func(n client.AgentInfo) string { return n.Hostname }, func(client.AgentInfo) bool { return true })
	case len(agents) == 1:
		n = agents[0]
	case len(agents) == 0:
		err = fault.New(fault.NotFound, "the cluster has no node")
	default:
		err = fault.New(fault.Invalid, "the cluster has %d nodes: say which with --node", len(agents))
	}
	if err != nil {
		return n, nil, err
	}
	agent, err := o.Agent(n)
	return n, agent, err
}

func (a *App) listImages(ctx context.Context, word string) error {
	o, err := a.operator()
	if err != nil {
		return err
	}
	agents, err := o.Agents(ctx)
	if err != nil {
		return err
	}
	if word != "" {
		n, _, err := a.imageNode(ctx, word)
		if err != nil {
			return err
		}
		agents = []client.AgentInfo{n}
	}
	all := []nodeImage{}
	for _, n := range agents {
		agent, err := o.Agent(n)
		if err != nil {
			return err
		}
		images, err := agent.Images(ctx)
		if err != nil {
			fmt.Fprintf(a.Err, "pando: %s: %v\n", n.Hostname, err)
			continue
		}
		for _, im := range images {
			all = append(all, nodeImage{n.Hostname, im})
		}
	}
	return a.imageTable(all)
}

// showImages shows what a change brought, or says that it is done.
func (a *App) showImages(node string, got []client.Image, said string) error {
	all := []nodeImage{}
	for _, im := range got {
		all = append(all, nodeImage{node, im})
	}
	if said != "" && a.output.String() == "table" {
		fmt.Fprintln(a.Out, said)
		return nil
	}
	return a.imageTable(all)
}

func (a *App) imageTable(all []nodeImage) error {
	return a.show(all, func(w io.Writer) {
		row(w, "IMAGE", "NODE", "DIGEST", "LAYERS", "SIZE", "IN USE", "LAST USED")
		for _, im := range all {
			name := strings.Join(im.References, " ")
			if name == "" {
				name = "-"
			}
			digest := strings.TrimPrefix(im.Digest, "sha256:")
			row(w, name, im.Node, digest[:min(len(digest), 12)], strconv.Itoa(im.Layers), size(float64(im.Bytes)/(1<<20)), strconv.Itoa(im.InUse), a.ago(float64(im.LastUsed.Unix())))
		}
	})
}
