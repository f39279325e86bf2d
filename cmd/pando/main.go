// Command pando is a datacenter operating system in one binary: the parts of a cluster, and the command line to it.
package main

import (
	"context"
	"os"

	"github.com/pando-os/pando/internal/cli"
)

// version is set when the binary is built.
var version = "dev"

func main() {
	os.Exit(cli.New(version).Execute(context.Background(), os.Args[1:]))
}
