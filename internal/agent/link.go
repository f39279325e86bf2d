package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/mesos/resource"
)

const (
	greetTimeout = 5 * time.Second
	backoffMin   = 50 * time.Millisecond
	backoffMax   = time.Second // a new leader is to have its agents back within seconds
)

// masterLink is the connection to a leader.
type masterLink struct {
	agent *Agent
	id    uint64
	conn  net.Conn
	out   *loop.Outbox[any]
	seq   uint64 // of the last Up; the outbox's goroutine owns it
	buf   []byte // for frames; the reader owns it

	epoch   uint64      // of the leader
	goodbye atomic.Bool // it was said over this link
}

// connect keeps a link to the leading master, as long as the context lasts and no master dismisses the agent.
func (a *Agent) connect(ctx context.Context) *dismissal {
	wait := backoffMin
	session := uuid.NewString()
	for next := 0; ctx.Err() == nil && !a.parted(); next++ {
		addr := a.next(next)
		begun := a.deps.Clock.Now().Mono
		err := a.follow(ctx, addr, session)
		if why, ok := errors.AsType[*dismissal](err); ok {
			return why
		}
		if a.deps.Clock.Now().Mono-begun > backoffMax {
			wait = backoffMin
		}
		a.deps.Log.Debug("no link to a leading master", "master", addr, "error", err)
		_ = clock.Sleep(ctx, a.deps.Clock, wait+rand.N(wait/2)) // the loop looks at ctx
		wait = min(wait*2, backoffMax)
	}
	return nil
}

// follow connects to a master, or to the leader that it names, and serves the link until it ends.
func (a *Agent) follow(ctx context.Context, addr, session string) error {
	for range 5 {
		conn, r, elsewhere, err := agentlink.Dial(ctx, addr)
		if err != nil {
			return err
		}
		if elsewhere != "" {
			addr = elsewhere
			continue
		}
		return a.serve(ctx, conn, r, session)
	}
	return errors.New("masters point at each other; none leads")
}

// serve greets a leader and takes its orders until the link ends.
func (a *Agent) serve(ctx context.Context, conn net.Conn, r *bufio.Reader, session string) error {
	l := &masterLink{agent: a, id: a.links.Add(1), conn: conn}
	l.out = loop.NewOutbox(conn, l.encode, loop.OutboxLimits{}, func(why string) { a.deps.Log.Warn("link to the master cut off", "why", why) })
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	defer l.close()
	l.out.Send(&link.Hello{Versions: []uint32{agentlink.Version}, Session: session, AgentId: a.view.Load().Agent, Software: a.cfg.Version}, 200)
	first, err := l.read(r, greetTimeout)
	if err != nil {
		return err
	}
	if first.GetShutdown() != "" {
		return a.told(first.GetShutdown())
	}
	w := first.GetWelcome()
	if w == nil {
		return errors.New("the master did not answer the hello")
	}
	a.mu.Lock()
	l.epoch = first.GetEpoch()
	a.link, a.master = l, w.GetMasterHostname()
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.link = nil
		a.mu.Unlock()
		if l.goodbye.Load() {
			a.parting.Do(func() { close(a.goodbye) })
		}
		_ = a.loop.Put(context.WithoutCancel(ctx), &workload.Unlinked{}) // a loop that has ended needs no word of it
	}()
	if err := a.loop.Put(ctx, &workload.Linked{Link: l.id, Epoch: first.GetEpoch()}); err != nil {
		return err
	}
	silence := time.Duration(w.GetPingIntervalMs()) * time.Millisecond * time.Duration(w.GetPingMisses()+1)
	for {
		d, err := l.read(r, silence)
		if err != nil {
			return err
		}
		if d.GetEpoch() != first.GetEpoch() {
			return fmt.Errorf("an order of epoch %d over the link of epoch %d", d.GetEpoch(), first.GetEpoch())
		}
		if d.GetShutdown() != "" {
			return &dismissal{d.GetShutdown()}
		}
		if d.GetPing() != 0 {
			l.out.Send(agentlink.Pong(d.GetPing()), 16)
		}
		ins, err := a.wire.Orders(d)
		if err != nil {
			return err
		}
		for _, in := range ins {
			if err := a.loop.Put(ctx, in); err != nil {
				return err
			}
		}
	}
}

// told is what comes of the word of a master that cannot speak with this agent; another may.
func (a *Agent) told(why string) error {
	a.deps.Log.Error("the master refuses this agent", "why", why)
	return errors.New(why)
}

func (l *masterLink) close() { l.out.Close() }

func (l *masterLink) read(r *bufio.Reader, silence time.Duration) (*link.Down, error) {
	if silence > 0 {
		if err := l.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return nil, err
		}
	}
	d := &link.Down{}
	var err error
	l.buf, err = agentlink.ReadFrame(r, l.buf, d)
	return d, err
}

func (l *masterLink) send(m workload.Msg) {
	size := 200
	if m.Update != nil {
		size += len(m.Update.Status.Rest)
	}
	l.out.Send(m, size)
}

func (l *masterLink) encode(dst []byte, items []any) []byte {
	out, err := l.agent.wire.AppendUp(dst, &l.seq, items)
	if err != nil {
		l.agent.deps.Log.Error("messages to the master are dropped", "error", err)
	}
	return out
}

// info is this agent as an encoded AgentInfo.
func (a *Agent) info(id string) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(a.agentInfo(id))
	if err != nil {
		a.deps.Log.Error("the agent's description cannot be encoded", "error", err)
	}
	return b
}

func (a *Agent) agentInfo(id string) *mesosv1.AgentInfo {
	info := &mesosv1.AgentInfo{
		Hostname: &a.cfg.Hostname, Port: new(int32(a.cfg.Port)), Attributes: a.cfg.Attributes, Domain: a.cfg.Domain,
		Resources: a.cfg.Resources.ToProto("", resource.PostRefinement),
	}
	if id != "" {
		info.Id = &mesosv1.AgentID{Value: &id}
	}
	return info
}
