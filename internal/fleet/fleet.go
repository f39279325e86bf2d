// Package fleet is many agents in one process: the real agent's book and the real link over real sockets, with containers
// that are only numbers. pando simulate uses it to put a master under the load of a data center.
package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/mesos/resource"
)

// Config describes a fleet.
type Config struct {
	// Master is host:port of one that may lead.
	Master string
	Agents int
	// Resources of each agent.
	Resources resource.List
	// Life is how long a task runs; negative: until it is killed.
	Life time.Duration
	// Dialing bounds how many agents connect at once.
	Dialing int
	Clock   clock.Clock
	Log     *slog.Logger
}

// Fleet is a number of agents that run.
type Fleet struct {
	cfg    Config
	agents []*agent
	// Registered counts the agents that a master has taken in, Launched and Ended the tasks so far.
	Registered, Launched, Ended atomic.Int64
}

// agent is one of them. Its goroutine reads the link; timers of its tasks step the book too.
type agent struct {
	fleet *Fleet
	name  string
	wire  agentlink.Agent

	mu    sync.Mutex // guards the rest
	book  *workload.Book
	out   workload.Out
	queue []workload.In
	box   *loop.Outbox[any]
	seq   uint64
	known bool
}

// New makes a fleet that does nothing yet.
func New(cfg Config) *Fleet {
	f := &Fleet{cfg: cfg}
	now := cfg.Clock.Now()
	for i := range cfg.Agents {
		a := &agent{fleet: f, name: fmt.Sprintf("agent-%d.simulated", i)}
		a.wire = agentlink.Agent{Info: a.info, IP: "127.0.0.1", Version: "1.11.0"}
		book := workload.Defaults()
		book.Boot, book.IP, book.MaxCompleted = "simulated", "127.0.0.1", 0
		a.book = workload.New(book, nil, now, rand.New(rand.NewPCG(uint64(i), uint64(now.Wall))))
		a.step(&workload.Recovered{})
		f.agents = append(f.agents, a)
	}
	return f
}

// Run keeps every agent linked until the context ends.
func (f *Fleet) Run(ctx context.Context) {
	var all sync.WaitGroup
	dialing := make(chan struct{}, max(f.cfg.Dialing, 1))
	for _, a := range f.agents {
		all.Go(func() { a.run(ctx, dialing) })
	}
	all.Go(func() { f.retry(ctx) })
	all.Wait()
}

// retry wakes the books whose updates were not acknowledged in time.
func (f *Fleet) retry(ctx context.Context) {
	for clock.Sleep(ctx, f.cfg.Clock, time.Second) == nil {
		now := f.cfg.Clock.Now()
		for _, a := range f.agents {
			a.mu.Lock()
			if d := a.book.Deadline(); d != 0 && d <= now.Mono {
				a.step(nil)
			}
			a.mu.Unlock()
		}
	}
}

func (a *agent) info(id string) []byte {
	i := &mesosv1.AgentInfo{Hostname: &a.name, Port: proto.Int32(0), Resources: a.fleet.cfg.Resources.ToProto("", resource.PostRefinement)}
	if id != "" {
		i.Id = &mesosv1.AgentID{Value: &id}
	}
	b, err := proto.Marshal(i)
	if err != nil {
		a.fleet.cfg.Log.Error("an agent's description cannot be encoded", "error", err)
	}
	return b
}

func (a *agent) run(ctx context.Context, dialing chan struct{}) {
	addr := a.fleet.cfg.Master
	for ctx.Err() == nil {
		dialing <- struct{}{}
		conn, r, elsewhere, err := agentlink.Dial(ctx, addr)
		if err == nil && elsewhere == "" {
			err = a.serve(ctx, conn, r, func() { <-dialing })
		} else {
			<-dialing
		}
		if elsewhere != "" {
			addr = elsewhere
			continue
		}
		addr = a.fleet.cfg.Master
		if ctx.Err() != nil {
			return
		}
		a.fleet.cfg.Log.Debug("agent not linked", "agent", a.name, "error", err)
		_ = clock.Sleep(ctx, a.fleet.cfg.Clock, 200*time.Millisecond+rand.N(300*time.Millisecond)) // the loop looks at ctx
	}
}

// serve greets a leader and takes its orders until the link ends. greeted is called once the others may dial.
func (a *agent) serve(ctx context.Context, conn net.Conn, r *bufio.Reader, greeted func()) error {
	box := loop.NewOutbox(conn, func(dst []byte, items []any) []byte {
		out, err := a.wire.AppendUp(dst, &a.seq, items)
		if err != nil {
			a.fleet.cfg.Log.Error("messages to the master are dropped", "error", err)
		}
		return out
	}, loop.OutboxLimits{}, func(string) {})
	stop := context.AfterFunc(ctx, box.Close)
	defer stop()
	defer box.Close()
	box.Send(&link.Hello{Versions: []uint32{agentlink.Version}, Session: a.name}, 100)
	var buf []byte
	first := &link.Down{}
	buf, err := agentlink.ReadFrame(r, buf, first)
	greeted()
	if err != nil {
		return err
	}
	if first.GetWelcome() == nil {
		return errors.New("the master did not answer the hello: " + first.GetShutdown())
	}
	a.mu.Lock()
	a.box = box
	a.step(&workload.Linked{Epoch: first.GetEpoch()})
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.box = nil
		if a.known {
			a.known = false
			a.fleet.Registered.Add(-1)
		}
		a.step(&workload.Unlinked{})
		a.mu.Unlock()
	}()
	for {
		d := &link.Down{}
		if buf, err = agentlink.ReadFrame(r, buf, d); err != nil {
			return err
		}
		if d.GetPing() != 0 {
			box.Send(agentlink.Pong(d.GetPing()), 16)
		}
		ins, err := a.wire.Orders(d)
		if err != nil {
			return err
		}
		a.mu.Lock()
		for _, in := range ins {
			if _, ok := in.(*workload.Registered); ok && !a.known {
				a.known = true
				a.fleet.Registered.Add(1)
			}
			a.step(in)
		}
		a.mu.Unlock()
	}
}

// step gives the book an input and does what it asks for; nothing is durable here. The caller holds the lock.
func (a *agent) step(in workload.In) {
	a.queue = append(a.queue, in)
	for len(a.queue) > 0 {
		next := a.queue[0]
		a.queue = a.queue[1:]
		a.book.Step(a.fleet.cfg.Clock.Now(), next, &a.out)
		for _, m := range a.out.Send {
			if a.box != nil {
				a.box.Send(m, 300)
			}
		}
		for i := range a.out.Do {
			a.do(&a.out.Do[i])
		}
		a.out.Reset()
	}
	a.queue = nil
}

// do pretends.
func (a *agent) do(w *workload.Work) {
	switch {
	case w.Launch != nil:
		id := w.Launch.Container
		a.fleet.Launched.Add(1)
		a.queue = append(a.queue, &workload.Launched{Container: id, PID: 1, Ticks: 1})
		switch life := a.fleet.cfg.Life; {
		case life == 0:
			a.fleet.Ended.Add(1)
			a.queue = append(a.queue, &workload.Exited{Container: id, Exit: workload.Exit{Known: true}})
		case life > 0:
			time.AfterFunc(life, func() { a.exit(id, 0) })
		}
	case w.Kill != nil:
		a.fleet.Ended.Add(1)
		a.queue = append(a.queue, &workload.Exited{Container: w.Kill.Container, Exit: workload.Exit{Known: true, Status: 15}})
	}
}

func (a *agent) exit(container string, status uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fleet.Ended.Add(1)
	a.step(&workload.Exited{Container: container, Exit: workload.Exit{Known: true, Status: status}})
}
