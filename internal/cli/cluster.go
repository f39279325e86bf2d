package cli

import "github.com/spf13/cobra"

// clusterCommands are those that start and stop parts of a cluster.
func (a *App) clusterCommands() []*cobra.Command { return nil }
