// Package cli is the command line: every command of the pando binary, what it prints, and the code it exits with.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/internal/cli/nodes"
	"github.com/pando-os/pando/internal/cli/where"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
)

// App is one invocation of the command line: what it is given and where it writes. Commands take all they need from it, so
// that tests can run them in the same process.
type App struct {
	Version string // of this build
	Out     io.Writer
	Err     io.Writer
	Getenv  func(string) string
	Place   where.Place
	Clock   clock.Clock
	// Interrupts gives a channel that receives for each Ctrl-C from now on, and a function that ends that.
	Interrupts func() (c <-chan struct{}, stop func())

	master  string // --master
	output  format // --output
	by      string // who named the cluster; empty before find
	started bool   // a command's own code began to run: later errors are no errors of usage
}

// New makes the App of this process.
func New(version string) *App {
	return &App{
		Version: version, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Clock: clock.Real(), Interrupts: interrupts,
	}
}

// The groups under which help lists the commands.
const (
	groupNode = "node" // those that start and stop parts of the cluster
	groupWork = "work" // those that work with a cluster
)

// Command is the root of all commands.
func (a *App) Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "pando",
		Short: "A datacenter operating system",
		Long: "Pando makes a data center one computer: it runs the frameworks of Apache Mesos unmodified.\n\n" +
			"Commands find the cluster by --master, by " + where.Variable + ", or by the last `pando up` of this machine.",
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.started = true
		},
	}
	root.AddGroup(&cobra.Group{ID: groupNode, Title: "The cluster:"}, &cobra.Group{ID: groupWork, Title: "Work on it:"})
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.PersistentFlags().StringVar(&a.master, "master", "", "the cluster's masters, `HOST:PORT`, with commas between several")
	root.PersistentFlags().VarP(&a.output, "output", "o", "how to print: table or json")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	for _, c := range a.clusterCommands() {
		c.GroupID = groupNode
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{
		a.runCommand(), a.taskCommand(), a.frameworkCommand(), a.nodeCommand(), a.reserveCommand(), a.unreserveCommand(), a.volumeCommand(), a.imageCommand(),
		a.stateCommand(), a.eventsCommand(),
	} {
		c.GroupID = groupWork
		root.AddCommand(c)
	}
	root.AddCommand(a.versionCommand())
	return root
}

// Execute runs the command that args name and returns the exit code; errors were printed.
func (a *App) Execute(ctx context.Context, args []string) int {
	root := a.Command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if end, ok := errors.AsType[exit](err); ok {
		return end.code
	}
	if end, ok := errors.AsType[*nodes.ExitError](err); ok {
		return end.Code
	}
	if !a.started {
		fmt.Fprintf(a.Err, "pando: %v\nSee `pando --help`.\n", err)
		return exitUsage
	}
	fmt.Fprintf(a.Err, "pando: %v\n", err)
	code := exitCode(err)
	if code == exitUnavailable && a.by != "" {
		fmt.Fprintf(a.Err, "The cluster was named by %s. Is it up? `pando up` starts one.\n", a.by)
	}
	return code
}

// The exit codes of every command but run, which has those of package fate as well.
const (
	exitOK          = 0
	exitFailed      = 1 // the cluster refused, or something broke
	exitUsage       = 2 // the command line cannot be understood
	exitNotFound    = 3 // nothing, or more than one thing, has that name
	exitUnavailable = 4 // no cluster is known, or it does not answer
)

// exit ends a command with a code and without a word; what had to be said was said.
type exit struct{ code int }

func (e exit) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func exitCode(err error) int {
	_, answered := errors.AsType[*client.StatusError](err)
	switch {
	case fault.Is(err, fault.Unavailable):
		return exitUnavailable
	case fault.Is(err, fault.NotFound):
		return exitNotFound
	case fault.Is(err, fault.Invalid) && !answered: // a flag's value
		return exitUsage
	}
	return exitFailed
}

// find finds the cluster the command is for.
func (a *App) find() (where.Found, error) {
	found, err := a.Place.Masters(a.master, a.Getenv(where.Variable))
	if fault.Is(err, fault.NotFound) {
		return where.Found{}, fault.Wrap(fault.Unavailable, err) // a cluster is missing, not a thing in it
	}
	a.by = found.By
	return found, err
}

// operator makes the client of the cluster the command is for.
func (a *App) operator() (*client.Operator, error) {
	found, err := a.find()
	if err != nil {
		return nil, err
	}
	return client.NewOperator(found.Masters, nil)
}
