// Command pando is a datacenter operating system in one binary: the cluster's parts and the command line to it.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/internal/cli/nodes"
)

var version = "dev"

func main() {
	root := &cobra.Command{Use: "pando", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(nodes.Commands(version)...)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "pando:", err)
		os.Exit(1)
	}
}
