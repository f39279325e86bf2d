package cli

import (
	"github.com/spf13/cobra"

	"github.com/pando-os/pando/internal/cli/nodes"
)

// clusterCommands are those that start and stop parts of a cluster.
func (a *App) clusterCommands() []*cobra.Command { return nodes.Commands(a.Version) }
