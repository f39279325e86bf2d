package agent

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/mesos/resource"
)

const (
	linkPath     = "/pando/v1/agent"
	linkProtocol = "pando-agent"
	linkVersion  = 1
	maxFrame     = 64 << 20
	frameGoal    = 1 << 20
	dialTimeout  = 5 * time.Second
	backoffMin   = 50 * time.Millisecond
	backoffMax   = 5 * time.Second
)

// masterLink is the connection to a leader.
type masterLink struct {
	agent *Agent
	id    uint64
	conn  net.Conn
	out   *loop.Outbox[any]
	seq   uint64 // of the last Up; the outbox's goroutine owns it
}

// connect keeps a link to the leading master, as long as the context lasts.
func (a *Agent) connect(ctx context.Context) {
	wait := backoffMin
	session := uuid.NewString()
	for next := 0; ctx.Err() == nil; next++ {
		addr := a.cfg.Masters[next%len(a.cfg.Masters)]
		begun := time.Now()
		err := a.follow(ctx, addr, session)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > backoffMax {
			wait = backoffMin
		}
		a.deps.Log.Debug("no link to a leading master", "master", addr, "error", err)
		_ = clock.Sleep(ctx, a.deps.Clock, wait+rand.N(wait)) // the loop looks at ctx
		wait = min(wait*2, backoffMax)
	}
}

// follow connects to a master, or to the leader that it names, and serves the link until it ends.
func (a *Agent) follow(ctx context.Context, addr, session string) error {
	for range 5 {
		conn, r, elsewhere, err := dial(ctx, addr)
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

// dial asks a master for the link. elsewhere is set when it names another one.
func dial(ctx context.Context, addr string) (conn net.Conn, r *bufio.Reader, elsewhere string, err error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	if conn, err = d.DialContext(ctx, "tcp", addr); err != nil {
		return nil, nil, "", err
	}
	defer func() {
		if err != nil || elsewhere != "" {
			_ = conn.Close() // it was not used
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+linkPath, http.NoBody)
	if err != nil {
		return nil, nil, "", err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", linkProtocol)
	if err = conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, nil, "", err
	}
	if err = req.Write(conn); err != nil {
		return nil, nil, "", err
	}
	r = bufio.NewReaderSize(conn, 4096)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, nil, "", err
	}
	switch resp.StatusCode {
	case http.StatusSwitchingProtocols:
		return conn, r, "", conn.SetDeadline(time.Time{})
	case http.StatusTemporaryRedirect:
		u, perr := url.Parse(resp.Header.Get("Location"))
		if perr != nil || u.Host == "" {
			return nil, nil, "", fmt.Errorf("%s redirects to nowhere", addr)
		}
		return nil, nil, u.Host, nil
	}
	words, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // it is only shown
	return nil, nil, "", fmt.Errorf("%s answers %s: %s", addr, resp.Status, strings.TrimSpace(string(words)))
}

// serve greets a leader and takes its orders until the link ends.
func (a *Agent) serve(ctx context.Context, conn net.Conn, r *bufio.Reader, session string) error {
	l := &masterLink{agent: a, id: a.links.Add(1), conn: conn}
	l.out = loop.NewOutbox(conn, l.encode, loop.OutboxLimits{}, func(why string) { a.deps.Log.Warn("link to the master cut off", "why", why) })
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	defer l.close()
	l.out.Send(&link.Hello{Versions: []uint32{linkVersion}, Session: session, AgentId: a.view.Load().Agent, Software: a.cfg.Version}, 200)
	first, err := l.read(r, dialTimeout)
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
	a.link, a.master = l, w.GetMasterHostname()
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.link = nil
		a.mu.Unlock()
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
			return a.told(d.GetShutdown())
		}
		if err := l.take(ctx, d); err != nil {
			return err
		}
	}
}

// told is what comes of a master's word that this agent must not join.
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
	var h [4]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > maxFrame {
		return nil, fmt.Errorf("a frame of %d bytes is larger than the %d allowed", n, maxFrame)
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, err
	}
	d := &link.Down{}
	return d, proto.Unmarshal(buf, d)
}

// take turns a frame into inputs of the book, by kind, in the order in which a master may mean them.
func (l *masterLink) take(ctx context.Context, d *link.Down) error {
	a := l.agent
	if d.GetPing() != 0 {
		l.out.Send(pong(d.GetPing()), 16)
	}
	var ins []workload.In
	if r := d.GetRegistered(); r != nil {
		in := &workload.Registered{Agent: r.GetAgentId(), Info: a.info(r.GetAgentId())}
		for _, u := range r.GetUnknownTasks() {
			in.Unknown = append(in.Unknown, workload.UnknownTask{Ref: ref(u), PartitionAware: u.GetPartitionAware(), Launch: u.GetLaunch()})
		}
		ins = append(ins, in)
	}
	for _, b := range d.GetFrameworkInfos() {
		f, err := framework(b)
		if err != nil {
			return err
		}
		ins = append(ins, &workload.FrameworkChanged{Framework: f})
	}
	for _, r := range d.GetRuns() {
		in, err := runIn(r)
		if err != nil {
			return err
		}
		ins = append(ins, in)
	}
	for _, k := range d.GetKills() {
		ins = append(ins, &workload.Kill{Ref: ref(k), Grace: time.Duration(k.GetGraceNs())})
	}
	for _, k := range d.GetAcks() {
		ins = append(ins, &workload.Ack{Ref: ref(k), UUID: string(k.GetUuid())})
	}
	for _, f := range d.GetShutdownFrameworks() {
		ins = append(ins, &workload.ShutdownFramework{Framework: f})
	}
	for _, f := range d.GetResendUpdates() {
		ins = append(ins, &workload.Resend{Framework: f})
	}
	for _, in := range ins {
		if err := a.loop.Put(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

func runIn(r *link.Run) (*workload.Run, error) {
	f, err := framework(r.GetFrameworkInfo())
	if err != nil {
		return nil, err
	}
	var info mesosv1.TaskInfo
	if err := proto.Unmarshal(r.GetTaskInfo(), &info); err != nil {
		return nil, fmt.Errorf("task_info: %w", err)
	}
	t, err := task(r.GetTaskInfo(), f.ID, info.GetTaskId().GetValue(), r.GetRole(), r.GetUser())
	if err != nil {
		return nil, err
	}
	t.Launch = r.GetLaunch()
	return &workload.Run{Framework: f, Task: t}, nil
}

// pong answers the ping of its number.
type pong uint64

func (l *masterLink) send(m workload.Msg) {
	size := 200
	if m.Update != nil {
		size += len(m.Update.Status.Rest)
	}
	l.out.Send(m, size)
}

// encode gathers messages into as few frames as it can.
func (l *masterLink) encode(dst []byte, items []any) []byte {
	up := &link.Up{}
	size := 0
	flush := func() {
		if size == 0 {
			return
		}
		if up.Hello == nil {
			l.seq++
			up.Seq = l.seq
		}
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		out, err := proto.MarshalOptions{}.MarshalAppend(dst, up)
		if err != nil {
			l.agent.deps.Log.Error("a frame cannot be encoded", "error", err)
			dst = dst[:at]
			return
		}
		dst = out
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		up, size = &link.Up{}, 0
	}
	for _, it := range items {
		switch m := it.(type) {
		case *link.Hello:
			up.Hello = m
			size++
			flush()
		case pong:
			up.Pong = uint64(m)
			size += 16
		case workload.Msg:
			switch {
			case m.Register != nil:
				up.Register = l.agent.registration(m.Register)
				size++
				flush() // what follows is about tasks that it reports
			case m.Update != nil:
				b := m.Update.Status.AppendProto(nil)
				up.Updates = append(up.Updates, &link.Update{FrameworkId: m.Update.Framework, Status: b, LatestState: uint32(m.Update.Latest), Launch: m.Update.Launch})
				size += len(b) + 64
			}
		}
		if size > frameGoal {
			flush()
		}
	}
	flush()
	return dst
}

// registration encodes everything that the agent is and holds.
func (a *Agent) registration(r *workload.Register) *link.Register {
	out := &link.Register{AgentInfo: a.info(r.Agent), Version: a.cfg.Version, Ip: a.cfg.IP, Capabilities: capabilities(), Links: r.Links}
	for _, f := range r.Frameworks {
		out.FrameworkInfos = append(out.FrameworkInfos, f.Info)
	}
	for _, v := range r.Tasks {
		t := &link.TaskReport{
			FrameworkId: v.Task.Framework, TaskInfo: v.Task.Info, State: uint32(v.State),
			StatusUpdateState: uint32(v.UpdateState), StatusUpdateUuid: []byte(v.UpdateUUID), Role: v.Task.Role, User: v.Task.User,
			Launch: v.Task.Launch,
		}
		if len(t.TaskInfo) == 0 { // a task that never arrived is known by its name alone
			t.TaskInfo, _ = proto.Marshal(&mesosv1.TaskInfo{
				Name: &v.Task.ID, TaskId: &mesosv1.TaskID{Value: &v.Task.ID}, AgentId: &mesosv1.AgentID{Value: &r.Agent},
			}) // strings alone; it cannot fail
		}
		for _, s := range v.Statuses {
			t.Statuses = append(t.Statuses, s.AppendProto(nil))
		}
		out.Tasks = append(out.Tasks, t)
	}
	return out
}

// info is this agent as an encoded AgentInfo.
func (a *Agent) info(id string) []byte {
	info := a.agentInfo(id)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(info)
	if err != nil {
		a.deps.Log.Error("the agent's description cannot be encoded", "error", err)
	}
	return b
}

func (a *Agent) agentInfo(id string) *mesosv1.AgentInfo {
	info := &mesosv1.AgentInfo{
		Hostname: &a.cfg.Hostname, Port: proto.Int32(int32(a.cfg.Port)), Attributes: a.cfg.Attributes,
		Resources: a.cfg.Resources.ToProto("", resource.PostRefinement),
	}
	if id != "" {
		info.Id = &mesosv1.AgentID{Value: &id}
	}
	return info
}

func capabilities() []uint32 {
	var out []uint32
	for c := mesosv1.AgentInfo_Capability_MULTI_ROLE; c <= mesosv1.AgentInfo_Capability_TASK_RESOURCE_LIMITS; c++ {
		out = append(out, uint32(c))
	}
	return out
}
