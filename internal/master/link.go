package master

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// greetWithin is how long an agent may take to say hello.
const greetWithin = 10 * time.Second

// agentLink is one agent's connection.
type agentLink struct {
	id   cluster.ConnID
	term *term
	conn net.Conn
	lane *lane
	out  *loop.Outbox[any]
	seq  uint64 // of the last Down; the outbox's goroutine owns it

	registered bool // the reader owns it
}

// serveLink takes an agent's connection over.
func (m *Master) serveLink(w http.ResponseWriter, r *http.Request) {
	t := m.term.Load()
	if t == nil {
		m.redirect(w, r)
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), agentlink.Protocol) {
		w.Header().Set("Upgrade", agentlink.Protocol)
		serve.Fail(w, http.StatusUpgradeRequired, "Agents connect here, with Upgrade: "+agentlink.Protocol+".")
		return
	}
	if who := serve.Who(r); !who.Root {
		serve.Fail(w, http.StatusForbidden, "Only root's agents may join this cluster over loopback, and this connection is "+who.User+"'s; --trust-loopback lifts that.")
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		serve.Fail(w, http.StatusInternalServerError, "The connection cannot be taken over: "+err.Error())
		return
	}
	if err := errors.Join(conn.SetDeadline(time.Time{}), conn.SetReadDeadline(time.Now().Add(greetWithin))); err != nil {
		_ = conn.Close() // it is broken already
		return
	}
	l := &agentLink{id: cluster.ConnID(m.id()), term: t, conn: conn, lane: newLane()}
	l.out = loop.NewOutbox(conn, l.encode, m.cfg.Links, func(why string) {
		m.counts.linksCut.Inc()
		m.warn("agent's link cut off", hostOf(conn), "peer", conn.RemoteAddr().String(), "why", why)
	})
	const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + agentlink.Protocol + "\r\n\r\n"
	l.out.Send(rawBytes(head), len(head))
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		l.out.Close()
		return
	}
	t.links[l.id] = l
	t.mu.Unlock()
	err = l.read(rw.Reader)
	l.out.Close()
	t.mu.Lock()
	delete(t.links, l.id)
	t.mu.Unlock()
	_ = t.loop.Put(context.Background(), &cluster.AgentClosed{Conn: l.id}) // a term that has ended has no links
	if !errors.Is(err, io.EOF) {
		m.linkEnded(conn, err, l.registered)
	}
}

// read takes frames in until the connection ends, and says why it did. Once the agent has registered, the book's pings find
// out whether it lives.
func (l *agentLink) read(r *bufio.Reader) error {
	var buf []byte
	var hello link.Up
	buf, err := agentlink.ReadFrameUpTo(maxHello, r, buf, &hello)
	if err != nil {
		return err
	}
	if err := l.greet(hello.GetHello()); err != nil {
		return &linkFault{linkMalformed, err}
	}
	if err := l.conn.SetReadDeadline(time.Now().Add(registerWithin)); err != nil {
		return err
	}
	for {
		var up link.Up
		if buf, err = agentlink.ReadFrame(r, buf, &up); err != nil {
			return err
		}
		if err := l.take(&up); err != nil {
			return err
		}
	}
}

// greet answers an agent's hello.
func (l *agentLink) greet(h *link.Hello) error {
	if h == nil {
		return errors.New("the first frame must be a Hello")
	}
	ok := false
	for _, v := range h.GetVersions() {
		ok = ok || v == agentlink.Version
	}
	if !ok {
		l.send(cluster.Shutdown{Why: fmt.Sprintf("this master speaks version %d of the link and the agent speaks %v; upgrade the older one", agentlink.Version, h.GetVersions())})
		l.out.Finish()
		return errors.New("no common version of the link")
	}
	cfg := l.term.m.cfg
	l.send(&link.Welcome{
		Version: agentlink.Version, MasterId: l.term.id, MasterHostname: cfg.Hostname,
		PingIntervalMs: uint32(cfg.Book.PingInterval.Milliseconds()), PingMisses: uint32(cfg.Book.PingMisses),
	})
	return nil
}

// take turns a frame into inputs of the book.
func (l *agentLink) take(up *link.Up) error {
	post := func(in cluster.In) error { return l.term.put(context.Background(), l.lane, in) }
	if up.GetPong() != 0 {
		if err := post(&cluster.AgentPong{Conn: l.id}); err != nil {
			return err
		}
	}
	if r := up.GetRegister(); r != nil {
		in, err := l.register(r)
		if err != nil {
			return err
		}
		if err := post(in); err != nil {
			return err
		}
	}
	for _, u := range up.GetUpdates() {
		s, err := mesos.ParseStatus(u.GetStatus())
		if err != nil {
			return &linkFault{linkMalformed, fmt.Errorf("update: %w", err)}
		}
		if err := post(&cluster.AgentUpdate{
			Conn: l.id, Framework: u.GetFrameworkId(), Status: &s, Latest: mesosv1.TaskState(u.GetLatestState()), Launch: u.GetLaunch(),
		}); err != nil {
			return err
		}
	}
	for _, s := range up.GetStates() {
		if err := post(&cluster.AgentState{
			Conn: l.id, Framework: s.GetFrameworkId(), Task: s.GetTaskId(), State: mesosv1.TaskState(s.GetState()), Launch: s.GetLaunch(),
		}); err != nil {
			return err
		}
	}
	for _, m := range up.GetMessages() {
		l.term.m.counts.executorMessages.Inc()
		if err := post(&cluster.AgentMessage{Conn: l.id, Framework: m.GetFrameworkId(), Executor: m.GetExecutorId(), Data: m.GetData()}); err != nil {
			return err
		}
	}
	for _, e := range up.GetExecutorEnds() {
		if err := post(&cluster.AgentExecutorEnd{Conn: l.id, Framework: e.GetFrameworkId(), Executor: e.GetExecutorId(), Status: e.GetStatus()}); err != nil {
			return err
		}
	}
	for _, u := range up.GetOperationUpdates() {
		end, err := operationEnd(u.GetUuid(), u.GetFrameworkId(), u.GetStatus())
		if err != nil {
			return &linkFault{linkMalformed, err}
		}
		if err := post(&cluster.AgentOperationEnd{Conn: l.id, End: end}); err != nil {
			return err
		}
	}
	if up.GetUnregister() {
		return post(&cluster.AgentLeave{Conn: l.id})
	}
	return nil
}

// register checks a registration: there is one on each link, and one agent does not send them all the time.
func (l *agentLink) register(r *link.Register) (*cluster.AgentRegister, error) {
	if l.registered {
		return nil, &linkFault{linkMalformed, errors.New("the agent registers twice over one link; it must connect anew for that")}
	}
	in, err := l.registration(r)
	if err != nil {
		return nil, &linkFault{linkRegistration, err}
	}
	m := l.term.m
	who := in.Spec.ID
	if who == "" {
		who = fmt.Sprintf("%s:%d", in.Spec.Hostname, in.Spec.Port)
	}
	if !m.registrations.take(m.deps.Clock.Now().Mono, who+" "+hostOf(l.conn)) {
		return nil, &linkFault{linkPace, fmt.Errorf("agent %s registers more than %d times a second", who, registerRate)}
	}
	l.registered = true
	return in, l.conn.SetReadDeadline(time.Time{})
}

func (l *agentLink) registration(r *link.Register) (*cluster.AgentRegister, error) {
	if err := checkRegister(r); err != nil {
		return nil, err
	}
	spec, err := agentSpec(r.GetAgentInfo(), r.GetIp(), r.GetVersion(), r.GetCapabilities())
	if err != nil {
		return nil, err
	}
	if len(r.GetResources()) > 0 {
		if spec.Total, err = agentlink.Resources(r.GetResources()); err != nil {
			return nil, err
		}
	}
	if err := checkAgent(r, spec); err != nil {
		return nil, err
	}
	if err := l.term.m.checkDomain(spec); err != nil {
		return nil, err
	}
	in := &cluster.AgentRegister{Conn: l.id, Spec: spec, Links: r.GetLinks()}
	for _, t := range r.GetTasks() {
		report, err := reportedTask(t)
		if err != nil {
			return nil, err
		}
		in.Tasks = append(in.Tasks, report)
	}
	for _, x := range r.GetExecutors() {
		spec, err := reportedExecutor(x)
		if err != nil {
			return nil, err
		}
		in.Executors = append(in.Executors, cluster.ExecutorReport{Framework: x.GetFrameworkId(), Role: x.GetRole(), Spec: spec})
	}
	for _, x := range r.GetOperations() {
		end, err := reportedOperation(x)
		if err != nil {
			return nil, err
		}
		in.Operations = append(in.Operations, end)
	}
	for _, b := range r.GetFrameworkInfos() {
		if len(b) > maxDescription {
			return nil, fmt.Errorf("framework_infos: one has %d bytes, and no more than %d may be", len(b), maxDescription)
		}
		var info mesosv1.FrameworkInfo
		if err := proto.Unmarshal(b, &info); err != nil {
			return nil, fmt.Errorf("framework_infos: %w", err)
		}
		f, err := frameworkSpec(&info, b)
		if err == nil {
			err = checkFramework(b, f)
		}
		if err != nil {
			return nil, err
		}
		in.Frameworks = append(in.Frameworks, f)
	}
	return in, nil
}

// send gives the link an order of the book, or a frame of the shell's own.
func (l *agentLink) send(body any) {
	switch b := body.(type) {
	case cluster.Run:
		l.out.Send(b, 100+len(b.Framework.Info)+len(wholeOf(b.Task)))
	case cluster.RunGroup:
		l.out.Send(b, sizeOfGroup(&b))
	case cluster.SchedulerMessage:
		l.out.Send(b, 100+len(b.Data))
	case cluster.Apply:
		l.out.Send(b, 100+len(b.Operation.Info))
	case cluster.Disconnect:
		l.out.Finish()
	default:
		l.out.Send(b, 100)
	}
}

// encode gathers orders into as few frames as it can. Within a frame the agent takes them in by kind, so an order of an
// earlier kind begins a new one: an acknowledgement that frees a task's id must not come after the Run that uses it again.
func (l *agentLink) encode(dst []byte, items []any) []byte {
	down := &link.Down{}
	size, last := 0, 0
	flush := func() {
		if size == 0 {
			return
		}
		l.seq++
		down.Seq, down.Epoch = l.seq, uint64(l.term.leadership.Epoch())
		out, err := agentlink.AppendFrame(dst, down)
		if err != nil {
			l.term.m.deps.Log.Error("orders to an agent are dropped", "error", err)
		}
		dst = out
		down, size, last = &link.Down{}, 0, 0
	}
	for _, it := range items {
		if raw, ok := it.(rawBytes); ok {
			dst = append(dst, raw...)
			continue
		}
		if turn(it) < last {
			flush()
		}
		last = turn(it)
		size += l.add(down, it)
		if size > agentlink.FrameGoal {
			flush()
		}
	}
	flush()
	return dst
}

// turn is the place of an order's kind in the order in which an agent takes a frame in.
func turn(it any) int {
	switch it.(type) {
	case *link.Welcome, cluster.Registered:
		return 0
	case cluster.FrameworkChanged:
		return 1
	case cluster.Apply:
		return 2
	case cluster.Run:
		return 3
	case cluster.RunGroup:
		return 4
	case cluster.KillTask:
		return 5
	case cluster.EndExecutor:
		return 6
	case cluster.SchedulerMessage:
		return 7
	case cluster.Ack, cluster.OperationAck:
		return 8
	case cluster.ShutdownFramework:
		return 9
	}
	return 10
}

// add puts an order into a frame and says about how large it is.
func (l *agentLink) add(d *link.Down, it any) int {
	switch b := it.(type) {
	case *link.Welcome:
		d.Welcome = b
	case cluster.Registered:
		d.Registered = &link.Registered{AgentId: b.Agent}
		for _, u := range b.Unknown {
			d.Registered.UnknownTasks = append(d.Registered.UnknownTasks, &link.TaskRef{FrameworkId: u.Framework, TaskId: u.Task, PartitionAware: u.PartitionAware, Launch: u.Launch})
		}
		for _, o := range b.UnknownOperations {
			d.Registered.UnknownOperations = append(d.Registered.UnknownOperations, linkOperation(o))
		}
	case cluster.Run:
		d.Runs = append(d.Runs, &link.Run{FrameworkInfo: b.Framework.Info, TaskInfo: wholeOf(b.Task), Role: b.Role, User: b.Task.User, Launch: b.Launch, StartsExecutor: b.StartsExecutor})
		return len(b.Framework.Info) + len(wholeOf(b.Task)) + 64
	case cluster.RunGroup:
		d.RunGroups = append(d.RunGroups, groupOrder(&b))
		return sizeOfGroup(&b)
	case cluster.Apply:
		d.Operations = append(d.Operations, linkOperation(b.Operation))
		return len(b.Operation.Info) + 64
	case cluster.OperationAck:
		d.OperationAcks = append(d.OperationAcks, &link.OperationAck{Uuid: []byte(b.Operation), StatusUuid: []byte(b.UUID)})
	case cluster.KillTask:
		d.Kills = append(d.Kills, &link.Kill{FrameworkId: b.Framework, TaskId: b.Task, GraceNs: b.Grace})
	case cluster.EndExecutor:
		d.ShutdownExecutors = append(d.ShutdownExecutors, &link.ExecutorRef{FrameworkId: b.Framework, ExecutorId: b.Executor})
	case cluster.Ack:
		d.Acks = append(d.Acks, &link.Ack{FrameworkId: b.Framework, TaskId: b.Task, Uuid: []byte(b.UUID)})
	case cluster.ShutdownFramework:
		d.ShutdownFrameworks = append(d.ShutdownFrameworks, b.Framework)
	case cluster.FrameworkChanged:
		d.FrameworkInfos = append(d.FrameworkInfos, b.Framework.Info)
	case cluster.Ping:
		d.Ping++
	case cluster.Resend:
		d.ResendUpdates = append(d.ResendUpdates, b.Framework)
	case cluster.Shutdown:
		d.Shutdown = b.Why
	case cluster.SchedulerMessage:
		d.Messages = append(d.Messages, &link.Message{FrameworkId: b.Framework, ExecutorId: b.Executor, Data: b.Data})
		return len(b.Data) + 64
	default:
		panic(fmt.Sprintf("master: an order of type %T", it))
	}
	return 64
}
