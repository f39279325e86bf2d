// Command images measures containers of images on one node, and the pull of an image beside others' programs.
//
//	go run ./bench/images crowd --tasks 1000 [--network mesos-bridge]
//	go run ./bench/images pull --size 200
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	what := map[string]func(context.Context, []string) error{"crowd": crowd, "pull": pull}
	if len(os.Args) < 2 || what[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "say crowd or pull")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := what[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // the context is of no more use
	}
}

// node is a pando up of its own.
type node struct {
	dir  string
	args []string
	cmd  *exec.Cmd
}

const (
	master = "127.0.0.1:6460"
	agent  = "127.0.0.1:6461"
)

func newNode(dir string, args ...string) *node {
	return &node{dir: dir, args: append([]string{
		"up", "--data-dir", filepath.Join(dir, "node"), "--master-port", "6460", "--agent-port", "6461", "--resources", "cpus:64;mem:262144;disk:100000",
		"--allocation-interval", "50ms",
	}, args...)}
}

// start runs the node, and returns when it works.
func (n *node) start(ctx context.Context) error {
	n.cmd = exec.CommandContext(ctx, "bin/pando", n.args...)
	n.cmd.Stderr = os.Stderr
	n.cmd.Cancel = func() error { return n.cmd.Process.Signal(syscall.SIGTERM) }
	if err := n.cmd.Start(); err != nil {
		return err
	}
	return within(ctx, time.Minute, "the node to work", func() bool {
		b, err := os.ReadFile(filepath.Join(n.dir, "node/pando.pid"))
		var r struct {
			PID   int  `json:"pid"`
			Ready bool `json:"ready"`
		}
		return err == nil && json.Unmarshal(b, &r) == nil && r.Ready && r.PID == n.cmd.Process.Pid
	})
}

// end ends the node with its tasks.
func (n *node) end() {
	_ = exec.Command("bin/pando", "down", "--kill-tasks", "--data-dir", filepath.Join(n.dir, "node")).Run() // it may have ended
	_ = n.cmd.Wait()                                                                                        // likewise
}

// pando runs a command of the command line on the node.
func pando(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "bin/pando", append([]string{"--master", master}, args...)...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("pando %v: %w: %s", args, err, out)
	}
	return nil
}

func within(ctx context.Context, d time.Duration, what string, so func() bool) error {
	for deadline := time.Now().Add(d); !so(); time.Sleep(2 * time.Millisecond) {
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("waited in vain for %s", what)
		}
	}
	return nil
}

func show(figures map[string]any) error {
	return json.NewEncoder(os.Stdout).Encode(figures)
}
