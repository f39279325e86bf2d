package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/loop"
)

// mode is how an agent's process stands.
type mode uint8

const (
	up   mode = iota
	hung      // it is there, and neither reads nor writes nor notices what its containers do
	away      // its process is not there; its containers go on
	gone      // for good, with its containers
)

const (
	greetTimeout = 5 * time.Second
	backoffMin   = 50 * time.Millisecond // the times of the real agent
	backoffMax   = time.Second
	frameBuffer  = 512 // of each agent; larger frames are read past it
)

// agent is one of them. Its goroutine reads the link; timers of its tasks step the book too.
type agent struct {
	fleet  *Fleet
	number int
	wire   agentlink.Agent

	mu         sync.Mutex // guards the rest
	mode       mode
	changed    chan struct{} // while it is hung or away: closed when it is up again
	rng        *rand.Rand    // the book draws from it, too
	book       *workload.Book
	journal    []workload.Record // while it is away
	containers map[string]*container
	late       []workload.In // what its containers did while it was hung
	box        *loop.Outbox[any]
	links      uint64 // that it has had
	epoch      uint64 // of the last leader
	heeded     uint64 // of the last that summoned it, and was tried
	known      bool   // the leader has taken it in
}

func newAgent(f *Fleet, n int) *agent {
	a := &agent{fleet: f, number: n, rng: rand.New(rand.NewPCG(f.cfg.Seed, uint64(n)+1))}
	a.wire = agentlink.Agent{Info: func(id string) []byte { return f.info(n, id) }, IP: "127.0.0.1", Version: "1.11.0"}
	a.start(nil)
	return a
}

// start makes the process of what an earlier one has written down. The caller holds the lock, or is alone.
func (a *agent) start(journal []workload.Record) {
	a.book = workload.New(bookConfig(a.fleet.cfg.Resources), journal, a.fleet.cfg.Clock.Now(), a.rng)
	a.mode = up
	a.step(&workload.Recovered{Containers: a.found()})
}

func (a *agent) run(ctx context.Context, dialing chan struct{}) {
	wait := backoffMin
	for next := 0; a.ready(ctx); next++ {
		begun := a.fleet.cfg.Clock.Now().Mono
		err := a.follow(ctx, a.next(next), dialing)
		if a.fleet.cfg.Clock.Now().Mono-begun > backoffMax {
			wait = backoffMin
		}
		if ctx.Err() != nil {
			return
		}
		a.fleet.note(err)
		a.fleet.cfg.Log.Debug("agent not linked", "agent", a.number, "error", err)
		_ = clock.Sleep(ctx, a.fleet.cfg.Clock, wait+rand.N(wait/2)) // ready looks at ctx
		wait = min(wait*2, backoffMax)
	}
}

// ready waits until the process runs; false when it never will.
func (a *agent) ready(ctx context.Context) bool {
	for ctx.Err() == nil {
		a.mu.Lock()
		m, changed := a.mode, a.changed
		a.mu.Unlock()
		switch m {
		case up:
			return true
		case gone:
			return false
		case hung, away:
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return false
}

// next is the master to be tried now, as the real agent finds it: one that says that it leads, once, or else the nth of
// those that are set.
func (a *agent) next(n int) string {
	all := a.fleet.cfg.Masters
	if s := a.fleet.summons.Load(); s != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if s.Epoch > max(a.epoch, a.heeded) {
			a.heeded = s.Epoch
			return s.Leader
		}
	}
	return all[(a.number+n)%len(all)]
}

// follow connects to a master, or to the leader that it names, and serves the link until it ends.
func (a *agent) follow(ctx context.Context, addr string, dialing chan struct{}) error {
	for range 5 {
		select {
		case dialing <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		conn, r, elsewhere, err := agentlink.Dial(ctx, addr)
		if err == nil && elsewhere == "" {
			return a.serve(ctx, conn, r, sync.OnceFunc(func() { <-dialing }))
		}
		<-dialing
		if err != nil {
			return err
		}
		addr = elsewhere
	}
	return errors.New("masters point at each other; none leads")
}

// serve greets a leader and takes its orders until the link ends. greeted is called once the others may dial.
func (a *agent) serve(ctx context.Context, conn net.Conn, r *bufio.Reader, greeted func()) error {
	defer greeted()
	if r.Buffered() == 0 { // most of an agent's memory would be the buffer of its idle link
		r = bufio.NewReaderSize(conn, frameBuffer)
	}
	var seq uint64 // of the last frame; the outbox's goroutine owns it
	box := loop.NewOutbox(conn, func(dst []byte, items []any) []byte {
		out, err := a.wire.AppendUp(dst, &seq, items)
		if err != nil {
			a.fleet.cfg.Log.Error("messages to the master are dropped", "error", err)
		}
		return out
	}, loop.OutboxLimits{}, func(string) {})
	stop := context.AfterFunc(ctx, box.Close)
	defer stop()
	defer box.Close()
	box.Send(&link.Hello{Versions: []uint32{agentlink.Version}, Session: hostname(a.number, a.fleet.cfg.Name), AgentId: a.id()}, 100)
	first, err := readFrame(conn, r, greetTimeout)
	if err != nil {
		return err
	}
	w := first.GetWelcome()
	if w == nil {
		return errors.New("the master refuses this agent: " + first.GetShutdown())
	}
	greeted()
	if !a.ready(ctx) {
		return ctx.Err()
	}
	if err := a.linked(conn, box, first.GetEpoch()); err != nil {
		return err
	}
	defer a.unlinked(box)
	silence := time.Duration(w.GetPingIntervalMs()) * time.Millisecond * time.Duration(w.GetPingMisses()+1)
	for {
		d, err := readFrame(conn, r, silence)
		if err != nil {
			return err
		}
		if !a.ready(ctx) { // a process that hangs holds what it has read
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue // it is gone; its goodbye may still be on its way
		}
		if d.GetEpoch() != first.GetEpoch() {
			return fmt.Errorf("an order of epoch %d over the link of epoch %d", d.GetEpoch(), first.GetEpoch())
		}
		if d.GetShutdown() != "" {
			a.dismiss(d.GetShutdown())
			return errors.New("the master told the agent to end: " + d.GetShutdown())
		}
		if d.GetPing() != 0 {
			box.Send(agentlink.Pong(d.GetPing()), 16)
		}
		if err := a.obey(box, d); err != nil {
			return err
		}
	}
}

// frames are buffers in which frames are read; an agent has one only while there is something to read.
var frames = sync.Pool{New: func() any { return new([]byte) }}

func readFrame(conn net.Conn, r *bufio.Reader, silence time.Duration) (*link.Down, error) {
	if silence > 0 {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return nil, err
		}
	}
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	d := &link.Down{}
	var err error
	*buf, err = agentlink.ReadFrame(r, *buf, d)
	return d, err
}

func (a *agent) id() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.book == nil {
		return ""
	}
	return a.book.Identity().Agent
}

// linked tells the book that a leader answered.
func (a *agent) linked(conn net.Conn, box *loop.Outbox[any], epoch uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mode == away || a.mode == gone {
		return errors.New("the process has ended")
	}
	if t, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		a.wire.IP = t.IP.String()
	}
	a.links++
	a.box, a.epoch = box, epoch
	a.step(&workload.Linked{Link: a.links, Epoch: epoch})
	return nil
}

// unlinked tells the book that the link is gone, unless its process is, too.
func (a *agent) unlinked(box *loop.Outbox[any]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.box != box {
		return
	}
	a.cut()
	if a.mode == hung {
		a.late = append(a.late, &workload.Unlinked{})
	} else {
		a.step(&workload.Unlinked{})
	}
}

// cut forgets the link. The caller holds the lock.
func (a *agent) cut() {
	if a.box != nil {
		a.box.Close()
		a.box = nil
	}
	if a.known {
		a.known = false
		a.fleet.counts.registered.Add(-1)
	}
}

// obey gives a frame's orders to the book.
func (a *agent) obey(box *loop.Outbox[any], d *link.Down) error {
	ins, err := a.wire.Orders(d)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, in := range ins {
		if a.box != box {
			return errors.New("the link was cut")
		}
		if _, ok := in.(*workload.Registered); ok && !a.known {
			a.known = true
			a.fleet.counts.registered.Add(1)
		}
		a.step(in)
	}
	return nil
}

// scratch is what a step needs and nobody keeps.
type scratch struct {
	out   workload.Out
	queue []workload.In
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// step gives the book an input and does what it asks for; nothing is durable here. The caller holds the lock.
func (a *agent) step(in workload.In) {
	s := scratches.Get().(*scratch)
	s.queue = append(s.queue[:0], in)
	for i := 0; i < len(s.queue) && a.book != nil; i++ {
		a.book.Step(a.fleet.cfg.Clock.Now(), s.queue[i], &s.out)
		for _, m := range s.out.Send {
			a.send(m, s)
		}
		for k := range s.out.Do {
			a.do(&s.out.Do[k], s)
		}
		s.out.Reset()
	}
	clear(s.queue)
	scratches.Put(s)
}

// send gives a message of the book to the link.
func (a *agent) send(m workload.Msg, s *scratch) {
	switch u := m.Update; {
	case m.Refuse != "" && a.box != nil:
		a.box.Close()
	case u != nil && u.Status.State == mesosv1.TaskState_TASK_STARTING && !a.fleet.cfg.Tasks.Starting:
		s.queue = append(s.queue, &workload.Ack{Ref: workload.Ref{Framework: u.Framework, Task: u.Status.TaskID}, UUID: u.Status.UUID})
	case a.box != nil:
		a.box.Send(m, 300)
	}
}
