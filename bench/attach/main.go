// Command attach measures containers' streams through the agent's API: how long a session takes to its first byte, and how
// fast 100 MB come through a session and through ATTACH_CONTAINER_OUTPUT beside it, with a plain pipe of the same bytes in
// between.
//
//	go run ./bench/attach --agent 127.0.0.1:5051
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
)

func main() {
	address := flag.String("agent", "127.0.0.1:5051", "the agent")
	sessions := flag.Int("sessions", 200, "sessions one after the other")
	bytes := flag.Int("bytes", 100_000_000, "how many come through")
	rounds := flag.Int("rounds", 5, "of each way they go")
	flag.Parse()
	if err := run(*address, *sessions, *bytes, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type bench struct {
	api *client.Containers
	top *mesosv1.ContainerID
}

func run(address string, sessions, bytes, rounds int) error {
	a, err := client.NewAgent(address, nil)
	if err != nil {
		return err
	}
	b := &bench{api: a.Containers(), top: &mesosv1.ContainerID{Value: new("bench-" + uuid.NewString()[:8])}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	_, err = b.api.Call(ctx, &agent.Call{Type: agent.Call_LAUNCH_CONTAINER.Enum(), LaunchContainer: &agent.Call_LaunchContainer{
		ContainerId: b.top, Command: &mesosv1.CommandInfo{Value: new("exec sleep 1000")},
	}})
	if err != nil {
		return err
	}
	out := map[string]any{"sessions": sessions, "bytes": bytes, "rounds": rounds}
	for _, as := range []string{"protobuf", "json"} {
		b.api.JSON = as == "json"
		first, err := b.firstBytes(ctx, sessions)
		if err != nil {
			return err
		}
		out["first_byte_ms_p50_"+as] = ms(first[len(first)/2])
		out["first_byte_ms_p99_"+as] = ms(first[len(first)*99/100])
	}
	rates := map[string][]float64{}
	for range rounds {
		for _, way := range []string{"pipe", "session_protobuf", "session_json", "attach_protobuf", "attach_json"} {
			b.api.JSON = way == "session_json" || way == "attach_json"
			took, err := b.through(ctx, way, bytes)
			if err != nil {
				return fmt.Errorf("%s: %w", way, err)
			}
			rates[way] = append(rates[way], float64(bytes)/1e6/took.Seconds())
		}
	}
	for way, r := range rates {
		slices.Sort(r)
		out["mb_per_second_"+way] = r[len(r)/2]
	}
	if err := b.api.Kill(ctx, b.top, 9); err != nil {
		return err
	}
	if _, err := b.api.Wait(ctx, b.top); err != nil {
		return err
	}
	if err := b.api.Remove(ctx, b.top); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (b *bench) session(ctx context.Context, argv ...string) (*client.Output, *mesosv1.ContainerID, error) {
	id := &mesosv1.ContainerID{Value: new(uuid.NewString()), Parent: b.top}
	out, err := b.api.Session(ctx, &agent.Call_LaunchNestedContainerSession{
		ContainerId: id, Command: &mesosv1.CommandInfo{Shell: new(false), Value: &argv[0], Arguments: argv},
	})
	return out, id, err
}

// done waits for the end of a session and forgets it.
func (b *bench) done(ctx context.Context, id *mesosv1.ContainerID) error {
	if status, err := b.api.Wait(ctx, id); err != nil || status != 0 {
		return fmt.Errorf("it ended with %d: %w", status, err)
	}
	return b.api.Remove(ctx, id)
}

// firstBytes gives how long each session took from the call to its first byte, sorted.
func (b *bench) firstBytes(ctx context.Context, n int) ([]time.Duration, error) {
	var all []time.Duration
	for range n {
		begun := time.Now()
		out, id, err := b.session(ctx, "echo", "x")
		if err != nil {
			return nil, err
		}
		if _, _, err := out.Next(); err != nil {
			return nil, err
		}
		all = append(all, time.Since(begun))
		if err := out.Copy(io.Discard, io.Discard); err != nil {
			return nil, err
		}
		out.Close()
		if err := b.done(ctx, id); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}

// through takes bytes from a process to us, and gives how long that took from the word to begin.
func (b *bench) through(ctx context.Context, way string, bytes int) (time.Duration, error) {
	script := fmt.Sprintf("read go; exec head -c %d /dev/zero", bytes)
	if way == "pipe" {
		return plain(ctx, script, bytes)
	}
	out, id, err := b.session(ctx, "sh", "-c", script)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	from, owner := out, make(chan error, 1)
	if way == "attach_protobuf" || way == "attach_json" { // its owner reads as well, and sets the pace with us
		if from, err = b.api.AttachOutput(ctx, id); err != nil {
			return 0, err
		}
		defer from.Close()
		go func() { owner <- out.Copy(io.Discard, io.Discard) }()
	} else {
		owner <- nil
	}
	in := b.api.AttachInput(ctx, id)
	begun := time.Now()
	if _, err := io.WriteString(in, "go\n"); err != nil {
		return 0, err
	}
	n := &counter{}
	if err := from.Copy(n, n); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if err := <-owner; err != nil {
		return 0, err
	}
	if n.n != bytes {
		return 0, fmt.Errorf("%d bytes came of %d", n.n, bytes)
	}
	if err := in.Close(); err != nil {
		return 0, err
	}
	return took, b.done(ctx, id)
}

// plain does the same with a pipe.
func plain(ctx context.Context, script string, bytes int) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	n := &counter{}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	begun := time.Now()
	if _, err := io.WriteString(in, "go\n"); err != nil {
		return 0, err
	}
	if _, err := io.Copy(n, out); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	if n.n != bytes {
		return 0, fmt.Errorf("%d bytes came of %d", n.n, bytes)
	}
	return took, cmd.Wait()
}

type counter struct{ n int }

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}
