// Command pando is a datacenter operating system in one binary: the cluster's parts and the command line to it.
package main

import ("context";"log/slog";"os";"os/signal";"syscall";"fmt"; "github.com/pando-os/pando/internal/node")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cfg := node.Defaults()
	cfg.DataDir = os.Args[1]; cfg.AllocationInterval = 500*1e6
	cfg.Resources="cpus:4;mem:4096;disk:10000;ports:[31000-32000]"
	cfg.Attributes="rack:r1;zone:z1;level:10"
	n, err := node.Start(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})), true, true)
	if err != nil { fmt.Println(err); os.Exit(1) }
	fmt.Println(n.Ready())
	fmt.Println(n.Wait(ctx))
	n.Stop()
}
