package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/allocator"
	"github.com/pando-os/pando/internal/machine"
)

// agentIs says who registers: the spec with its id, and what is known of it; nil when it is refused.
func (b *Book) agentIs(in *AgentRegister, out *Out) (spec *AgentSpec, old *Agent) {
	spec = in.Spec
	if s := b.conns[in.Conn]; s != nil && s.id != spec.ID {
		b.agentClosed(&AgentClosed{Conn: in.Conn}, out) // one connection has one agent
	}
	if spec.ID == "" {
		b.supplant(spec, out)
		if !b.roomForAgent(out) {
			b.refuseAgent(in, AgentsTooMany, out)
			return nil, nil
		}
		s := *spec
		s.ID = fmt.Sprintf("%s-S%d", b.cfg.MasterID, b.nextAgent)
		b.nextAgent++
		s.Info = appendID(s.Info, 6, s.ID)
		return &s, nil
	}
	if old = b.agents.Get(spec.ID); old != nil && old.Mark == Gone {
		out.Tell = append(out.Tell, Fact{Kind: FactAgentRefused, Agent: spec.ID, Reason: AgentMarkedGone})
		out.Send = append(out.Send, Msg{Conn: in.Conn, Body: Shutdown{goneWords}})
		return nil, nil
	}
	if b.elsewhere(in.Conn, old, spec) {
		b.refuseAgent(in, AgentElsewhere, out)
		return nil, nil
	}
	if old == nil && !b.roomForAgent(out) {
		b.refuseAgent(in, AgentsTooMany, out)
		return nil, nil
	}
	if s := b.states[spec.ID]; s != nil && in.Links < s.links {
		b.refuseAgent(in, RegistrationStale, out)
		return nil, nil
	}
	return spec, old
}

// agentRegister takes an agent in: a new one, one that comes back, or one whose connection was replaced.
func (b *Book) agentRegister(in *AgentRegister, out *Out) {
	spec, old := b.agentIs(in, out)
	if spec == nil {
		return
	}
	state := b.states[spec.ID]
	if state == nil {
		state = &agentState{id: spec.ID, tasks: map[FrameworkTask]struct{}{}}
		b.states[spec.ID] = state
	}
	state.links = in.Links
	if state.conn != 0 && state.conn != in.Conn {
		delete(b.conns, state.conn)
		out.Send = append(out.Send, Msg{Conn: state.conn, Body: Disconnect{"the agent registered over another connection"}})
	}
	state.conn, state.missed = in.Conn, 0
	b.spare(spec.ID, out)
	b.conns[in.Conn] = state

	agent := &Agent{Spec: spec, Connected: true, Registered: b.now.Wall}
	fresh := true // the allocator does not know it
	kind := FactAgentRegistered
	if old != nil {
		kind = FactAgentReregistered
		agent.Registered, agent.Reregistered = old.Registered, b.now.Wall
		fresh = old.Recovered || old.Mark != Admitted
		if old.Recovered {
			b.recoveredCount--
			if b.recoveredCount == 0 {
				b.recoverBy = machine.Never
			}
		}
	}
	b.agents.Set(agent)
	b.addresses[addressOf(spec)] = spec.ID
	if old == nil || old.Mark != Admitted || !slices.Equal(old.Spec.Info, spec.Info) || old.Spec.Version != spec.Version {
		out.Save = append(out.Save, Record{Agent: &AgentRecord{Spec: spec, Mark: Admitted, Registered: agent.Registered}})
	}
	for _, o := range slices.Clone(state.offers) {
		b.rescind(o, out)
	}
	b.alloc.AddAgent(allocator.Agent{
		ID: spec.ID, Total: spec.Total, Hostname: spec.Hostname, Region: spec.Region, Zone: spec.Zone, Attributes: spec.Attributes,
	})
	b.alloc.SetAgentActive(spec.ID, true)
	b.setOffered(state)
	out.Tell = append(out.Tell, Fact{Kind: kind, Agent: spec.ID, Text: spec.Hostname, N: len(in.Tasks), AgentIs: news(old, agent, fresh)})

	for _, key := range sortedTasks(state.twins) {
		b.dropTwin(state, key) // what is left of them is reported
	}
	gone := b.adoptFrameworks(in, out)
	b.adoptExecutors(in, spec.ID, state, gone, out)
	unknown := b.adoptTasks(in, spec.ID, state, fresh, gone, out)
	dropped := b.adoptOperations(in, spec.ID, state, out)
	out.Send = append(out.Send, Msg{Conn: in.Conn, Body: Registered{spec.ID, unknown, dropped}})
	for _, f := range gone {
		out.Send = append(out.Send, Msg{Conn: in.Conn, Body: ShutdownFramework{f}})
	}
	b.killAgain(state, out)
	b.schedulePing(state)
	b.soon(b.cfg.Gather)
}

// killAgain sends an agent that is back the kills that it may have missed.
func (b *Book) killAgain(state *agentState, out *Out) {
	for _, key := range b.tasksOn(state) {
		if t := b.tasks.Get(key); t != nil && t.KillGrace != nil && !t.Released {
			out.Send = append(out.Send, Msg{Conn: state.conn, Body: KillTask{key.Framework, key.Task, int64(*t.KillGrace)}})
		}
	}
	for _, key := range sortedTasks(state.twins) {
		out.Send = append(out.Send, Msg{Conn: state.conn, Body: KillTask{key.Framework, key.Task, -1}})
	}
}

// news is an agent that registered, when it is listed anew or is not what it was. That it is connected again is none to those
// who never heard that it was not.
func news(old, agent *Agent, fresh bool) *Agent {
	if fresh || !slices.Equal(old.Spec.Info, agent.Spec.Info) {
		return agent
	}
	return nil
}

// supplant removes an agent that has the address which a new one registers from: its machine was set up anew, or it never
// heard which id it got.
func (b *Book) supplant(spec *AgentSpec, out *Out) {
	old := b.agents.Get(b.addresses[addressOf(spec)])
	if old != nil && old.Mark == Admitted && spec.Port != 0 {
		b.removeAgent(old, AgentReplaced, out)
	}
}

// address is where an agent's API listens.
type address struct {
	hostname, ip string
	port         int32
}

func addressOf(s *AgentSpec) address { return address{s.Hostname, s.IP, s.Port} }

// adoptFrameworks makes placeholders for frameworks that only the agent knows, and names those that were removed.
func (b *Book) adoptFrameworks(in *AgentRegister, out *Out) (gone []string) {
	for _, spec := range in.Frameworks {
		if spec.ID == "" || b.frameworks.Get(spec.ID) != nil { // one without an id could never come back
			continue
		}
		if b.wasRemoved(spec.ID) {
			gone = append(gone, spec.ID)
			continue
		}
		if words := b.crowded(spec); words != "" {
			out.Tell = append(out.Tell, Fact{Kind: FactFrameworkRefused, Framework: spec.ID, Agent: in.Spec.ID, Reason: FrameworksTooMany, Text: words})
			continue
		}
		f := b.recoverFramework(spec, b.now.Wall)
		out.Tell = append(out.Tell, Fact{Kind: FactFrameworkRecovered, Framework: spec.ID, Agent: in.Spec.ID, Text: spec.Name, FrameworkIs: f})
		out.Save = append(out.Save, Record{Framework: &FrameworkRecord{Spec: spec, Registered: b.now.Wall}})
	}
	return gone
}

// adoptTasks brings the book's tasks of an agent into line with its report, and names those that it lacks.
func (b *Book) adoptTasks(in *AgentRegister, id string, state *agentState, fresh bool, gone []string, out *Out) []UnknownTask {
	reported := make(map[FrameworkTask]struct{}, len(in.Tasks))
	for i := range in.Tasks {
		r := &in.Tasks[i]
		key := FrameworkTask{r.Framework, r.Spec.ID}
		if slices.Contains(gone, r.Framework) || b.frameworks.Get(r.Framework) == nil {
			continue
		}
		if _, twice := reported[key]; twice {
			continue // the first holds
		}
		if t := b.tasks.Get(key); t != nil && t.Agent == id && past(t, r.Launch) {
			out.Send = append(out.Send, Msg{Conn: in.Conn, Body: Ack{key.Framework, key.Task, r.UpdateUUID}})
			continue
		}
		reported[key] = struct{}{}
		b.adoptTask(r, id, state, key, fresh, out)
	}
	var unknown []UnknownTask
	for _, key := range b.tasksOn(state) {
		if _, ok := reported[key]; ok {
			continue
		}
		t := b.tasks.Get(key)
		switch {
		case t == nil || t.Agent != id:
			delete(state.tasks, key)
		case t.Released && !t.Unreachable:
			b.complete(t) // the agent forgot it because its last update was acknowledged
		default:
			n := *t
			f := b.frameworks.Get(key.Framework)
			if t.Unreachable {
				n.Unreachable, n.State, n.Released = false, t.Before, false
				out.Tell = append(out.Tell, Fact{
					Kind: FactTaskReturned, Agent: id, Framework: key.Framework, Task: key.Task, State: n.State, FrameworkIs: f, TaskIs: &n,
				})
			}
			b.tasks.Set(&n)
			if fresh {
				b.alloc.Hold(id, t.Framework, t.Role, t.Spec.Resources)
			}
			unknown = append(unknown, UnknownTask{key, f != nil && f.Spec.Caps.PartitionAware, t.launch})
		}
	}
	return unknown
}

// adoptTask books one task that an agent reports. A task id that the book knows of another agent was used twice, which
// frameworks do when they think that the first is over and a new master has not heard of it yet: the one that lives has
// the name. Of two that live the later is a twin: its resources are held, and it is killed.
func (b *Book) adoptTask(r *TaskReport, id string, state *agentState, key FrameworkTask, fresh bool, out *Out) {
	t := &Task{
		Framework: r.Framework, Agent: id, Role: r.Role, Spec: remembered(r.Spec), State: r.State, UpdateState: r.UpdateState,
		UpdateUUID: r.UpdateUUID, Statuses: r.Statuses[max(0, len(r.Statuses)-keptChanges):], Released: Terminal(r.State),
		launch: r.Launch,
	}
	old := b.tasks.Get(key)
	if old != nil && old.Agent != id {
		if !old.Released || t.Released {
			b.adoptTwin(t, state, key, out)
			return
		}
		if s := b.states[old.Agent]; s != nil {
			delete(s.tasks, key)
		}
		old = nil
	}
	held := old != nil && !fresh && !old.Released // by the allocator
	if old != nil {
		// Of a task that never arrived the agent reports the name alone.
		t.KillGrace, t.Spec, t.Role, t.launch = old.KillGrace, old.Spec, old.Role, old.launch
	}
	if old == nil && !t.Released {
		t.KillGrace = b.owedKill(t)
	}
	state.tasks[key] = struct{}{}
	b.tasks.Set(t)
	switch {
	case held && t.Released:
		b.alloc.Release(id, t.Framework, t.Role, t.Spec.Resources, 0)
	case !held && !t.Released:
		b.alloc.Hold(id, t.Framework, t.Role, t.Spec.Resources)
	}
	told := Fact{
		Kind: FactTaskReported, Agent: id, Framework: t.Framework, Task: t.Spec.ID, State: t.State, Resources: t.Spec.Resources,
		FrameworkIs: b.frameworks.Get(t.Framework), TaskIs: t,
	}
	switch {
	case old == nil:
		told.Kind = FactTaskAdopted
	case old.Unreachable:
		told.Kind = FactTaskReturned
		if !t.Released {
			told.Status = b.statusOf(t, mesosv1.TaskStatus_REASON_AGENT_REREGISTERED, "The agent came back.")
			b.tell(t.Framework, told.Status, out)
		}
	case t.State == old.State && t.UpdateUUID == old.UpdateUUID:
		return
	}
	out.Tell = append(out.Tell, told)
}

// owedKill finds the kill of a task that was given up with its agent, and now comes back with it.
func (b *Book) owedKill(t *Task) (grace *time.Duration) {
	b.done.Ascend(&Task{Framework: t.Framework, Spec: noTask}, func(d *Task) bool {
		if d.Framework == t.Framework && d.Spec.ID == t.Spec.ID && d.Agent == t.Agent && d.launch == t.launch {
			grace = d.KillGrace
		}
		return d.Framework == t.Framework
	})
	return grace
}

func (b *Book) adoptTwin(t *Task, state *agentState, key FrameworkTask, out *Out) {
	if t.Released {
		return // its last update is passed on like that of a task which is not known
	}
	if state.twins == nil {
		state.twins = map[FrameworkTask]*Task{}
	}
	state.twins[key] = t
	b.alloc.Hold(t.Agent, t.Framework, t.Role, t.Spec.Resources)
	out.Tell = append(out.Tell, Fact{
		Kind: FactTaskAdopted, Agent: t.Agent, Framework: t.Framework, Task: t.Spec.ID, State: t.State, Resources: t.Spec.Resources,
		Text: "a task with this id lives on another agent; this one is killed",
	})
}

// dropTwin gives the resources of a twin back.
func (b *Book) dropTwin(state *agentState, key FrameworkTask) {
	if t := state.twins[key]; t != nil {
		delete(state.twins, key)
		b.release(t)
	}
}

// agentClosed notes that an agent is away: what is offered of it is taken back, its tasks are left alone.
func (b *Book) agentClosed(in *AgentClosed, out *Out) {
	state := b.conns[in.Conn]
	if state == nil {
		return
	}
	delete(b.conns, in.Conn)
	state.conn = 0
	a := b.agents.Get(state.id)
	if a == nil {
		return
	}
	n := *a
	n.Connected = false
	b.agents.Set(&n)
	for _, o := range slices.Clone(state.offers) {
		b.rescind(o, out)
	}
	b.alloc.SetAgentActive(state.id, false)
	out.Tell = append(out.Tell, Fact{Kind: FactAgentDisconnected, Agent: state.id})
}

// agentLeave removes an agent that said goodbye; it may come back under the same id.
func (b *Book) agentLeave(in *AgentLeave, out *Out) {
	state := b.conns[in.Conn]
	if state == nil {
		return
	}
	if a := b.agents.Get(state.id); a != nil {
		b.removeAgent(a, AgentLeft, out)
	}
}

// Why an agent is removed, as FactAgentRemoved says it.
const (
	AgentLeft     = "the agent left"
	AgentReplaced = "a new agent registered from its address"
)

// removeAgent forgets an agent whose tasks are lost for everybody. Its state stays for long: it still tells what a slow
// connection brings late.
func (b *Book) removeAgent(a *Agent, why string, out *Out) {
	b.detach(a, nil, out)
	state := b.states[a.Spec.ID]
	b.dropOperations(state, mesosv1.OperationState_OPERATION_UNKNOWN, "Nobody knows whether the operation was carried out: "+why+".", out)
	for _, key := range b.tasksOn(state) {
		t := b.tasks.Get(key)
		if t == nil {
			continue
		}
		if !t.Released {
			s := b.status(t.Spec.ID, a.Spec.ID, mesosv1.TaskState_TASK_LOST, mesosv1.TaskStatus_REASON_AGENT_REMOVED, "The task is lost: "+why+".")
			n, was := *t, t.State
			n.State, n.Released = mesosv1.TaskState_TASK_LOST, true
			n.Statuses = pushStatus(n.Statuses, s)
			t = &n
			b.tasks.Set(t)
			b.tell(t.Framework, s, out)
			out.Tell = append(out.Tell, Fact{
				Kind: FactTaskState, Agent: a.Spec.ID, Framework: t.Framework, Task: t.Spec.ID, State: s.State, Was: was, Status: s,
				FrameworkIs: b.frameworks.Get(t.Framework), TaskIs: t,
			})
		}
		b.complete(t)
	}
	b.wasHere(a)
	out.Tell = append(out.Tell, Fact{Kind: FactAgentRemoved, Agent: a.Spec.ID, Text: why, AgentIs: a})
	b.tellFailure(a.Spec.ID, out)
}

// detach takes a connected or recovered agent out of everything but the registry, where it stands as n from now on; nil:
// not at all.
func (b *Book) detach(a, n *Agent, out *Out) {
	state := b.states[a.Spec.ID]
	for _, o := range slices.Clone(state.offers) {
		b.rescind(o, out)
	}
	if state.conn != 0 {
		delete(b.conns, state.conn)
		out.Send = append(out.Send, Msg{Conn: state.conn, Body: Disconnect{"the agent was removed"}})
		state.conn = 0
	}
	state.round++
	b.doomed.Cancel(a.Spec.ID)
	state.twins = nil
	b.dropExecutors(state)
	if a.Recovered {
		b.recoveredCount--
	}
	b.alloc.RemoveAgent(a.Spec.ID)
	if n == nil {
		b.agents.Remove(a)
		out.Save = append(out.Save, Record{ForgetAgent: a.Spec.ID})
		return
	}
	b.agents.Set(n)
	out.Save = append(out.Save, Record{Agent: &AgentRecord{Spec: n.Spec, Mark: n.Mark, Since: n.Since, Registered: n.Registered}})
}

// markUnreachable says of an agent that nobody knows how it and its tasks are.
func (b *Book) markUnreachable(a *Agent, why string, out *Out) {
	n := *a
	n.Mark, n.Since, n.Connected, n.Recovered = Unreachable, b.now.Wall, false, false
	b.detach(a, &n, out)
	state := b.states[a.Spec.ID]
	b.awayOperations(state, out)
	for _, key := range b.tasksOn(state) {
		t := b.tasks.Get(key)
		if t == nil {
			continue
		}
		if t.Released {
			b.complete(t)
			continue
		}
		f := b.frameworks.Get(t.Framework)
		s := b.status(t.Spec.ID, a.Spec.ID, b.aware(f, mesosv1.TaskState_TASK_UNREACHABLE), mesosv1.TaskStatus_REASON_AGENT_REMOVED, "The agent is unreachable: "+why+".")
		s.UnreachableTime = n.Since
		u := *t
		u.Before, u.State, u.Unreachable, u.Released = t.State, s.State, true, true
		u.Statuses = pushStatus(u.Statuses, s)
		b.tasks.Set(&u)
		b.tell(t.Framework, s, out)
		out.Tell = append(out.Tell, Fact{
			Kind: FactTaskState, Agent: a.Spec.ID, Framework: t.Framework, Task: t.Spec.ID, State: s.State, Was: t.State, Status: s, FrameworkIs: f, TaskIs: &u,
		})
	}
	out.Tell = append(out.Tell, Fact{Kind: FactAgentUnreachable, Agent: a.Spec.ID, Text: why, AgentIs: a})
	b.tellFailure(a.Spec.ID, out)
}

// giveUpRecovered marks the agents unreachable that did not come back after the election.
func (b *Book) giveUpRecovered(out *Out) {
	b.recoverBy = machine.Never
	var late []*Agent
	b.agents.Ordered().Scan(func(a *Agent) bool {
		if a.Recovered {
			late = append(late, a)
		}
		return true
	})
	for _, a := range late {
		b.giveUp(a, "it did not come back after the election", out)
	}
}

// giveUp has an agent marked unreachable when its turn comes.
func (b *Book) giveUp(a *Agent, why string, out *Out) {
	if b.doomed.Add(a.Spec.ID, why) {
		out.Tell = append(out.Tell, Fact{Kind: FactAgentGivenUp, Agent: a.Spec.ID, Text: why})
	}
}

// spare takes back that an agent was given up: it speaks again.
func (b *Book) spare(id string, out *Out) {
	if b.doomed.Cancel(id) {
		out.Tell = append(out.Tell, Fact{Kind: FactAgentSpared, Agent: id})
	}
}

func (b *Book) removeDoomed(out *Out) {
	for {
		id, why, ok := b.doomed.Next(b.now.Mono)
		if !ok {
			return
		}
		b.markUnreachable(b.agents.Get(id), why, out)
	}
}

func (b *Book) schedulePing(s *agentState) {
	s.round++
	b.pings.push(ping{b.now.Mono + b.cfg.PingInterval, s, s.round})
}

// ping sends the next ping, or gives up on an agent that answered none of the last.
func (b *Book) ping(p ping, out *Out) {
	s := p.state
	if p.round != s.round {
		return
	}
	s.missed++
	if s.missed > b.cfg.PingMisses {
		if a := b.agents.Get(s.id); a != nil && a.Mark == Admitted {
			b.giveUp(a, fmt.Sprintf("it answered none of %d pings", b.cfg.PingMisses), out)
			b.removeDoomed(out)
		}
		if p.round != s.round {
			return // it was its turn
		}
	}
	if s.conn != 0 {
		out.Send = append(out.Send, Msg{Conn: s.conn, Body: Ping{}})
	}
	b.schedulePing(s)
}

func (b *Book) tellFailure(agent string, out *Out) {
	b.frameworks.Ordered().Scan(func(f *Framework) bool {
		if f.Connected {
			out.Send = append(out.Send, Msg{Stream: f.Stream, Body: Failure{Agent: agent}})
		}
		return true
	})
}

// tasksOn lists an agent's tasks in a fixed order.
func (b *Book) tasksOn(s *agentState) []FrameworkTask { return sortedTasks(s.tasks) }

func sortedTasks[V any](m map[FrameworkTask]V) []FrameworkTask {
	keys := make([]FrameworkTask, 0, len(m))
	for k := range m { // order: sorted below
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y FrameworkTask) int {
		return cmp.Or(strings.Compare(x.Framework, y.Framework), strings.Compare(x.Task, y.Task))
	})
	return keys
}

// appendID sets a member that is a message with one string, by appending: the last of a member's encodings holds.
func appendID(info []byte, field protowire.Number, id string) []byte {
	out := slices.Clip(slices.Clone(info))
	out = protowire.AppendTag(out, field, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(protowire.SizeTag(1)+protowire.SizeBytes(len(id))))
	out = protowire.AppendTag(out, 1, protowire.BytesType)
	return protowire.AppendString(out, id)
}
