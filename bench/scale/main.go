// Command scale measures masters under a fleet of simulated agents, on the binary that was built. It prints what it
// measured as lines of JSON.
//
//	tools/build && go run ./bench/scale curve     # from 100 to 10,000 agents, beside an empty handler
//	go run ./bench/scale flat                     # a million tasks, tenth by tenth
//	go run ./bench/scale memory                   # of an agent and of a task
//	go run ./bench/scale readers                  # twenty readers of /state beside 1,000 launches a second
//	go run ./bench/scale events                   # a hundred subscribers of events beside 1,000 launches a second
//	go run ./bench/scale comeback                 # 10,000 agents after their master was killed and started again
//	go run ./bench/scale failover                 # three masters on an etcd, the leader killed and frozen
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	what := map[string]func(context.Context, []string) error{
		"curve": curve, "flat": flat, "memory": memory, "readers": readers, "events": lag, "comeback": comeback, "failover": failover,
		"empty":     func(context.Context, []string) error { return emptyServer() }, // what curve starts
		"read":      readState,                                                      // what readers starts
		"subscribe": subscribe,                                                      // what events starts
	}
	var f func(context.Context, []string) error
	if len(os.Args) > 1 {
		f = what[os.Args[1]]
	}
	if f == nil {
		fmt.Fprintln(os.Stderr, "say what to measure: curve, flat, memory, readers, events, comeback or failover; -h after it names its flags")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := f(ctx, os.Args[2:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// show prints a line of what was measured.
func show(what string, figures any) error {
	b, err := json.Marshal(figures)
	if err == nil {
		fmt.Printf("%s %s\n", what, b)
	}
	return err
}

// median of some runs; 0 of none.
func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	of = slices.Sorted(slices.Values(of))
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}

// words are the parts of a flag's list.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
