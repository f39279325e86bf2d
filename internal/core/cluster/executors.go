package cluster

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pando-os/pando/mesos/resource"
)

// ExecutorSpec is an executor of a framework's own, as the framework described it.
type ExecutorSpec struct {
	ID, Name string
	// Role is named by its resources' allocation; empty when they name none.
	Role      string
	Resources resource.List
	// Info is the encoded ExecutorInfo.
	Info []byte
}

// Executor is an executor on an agent. What it holds is its own as long as it lives, whatever its tasks do. Values are
// replaced, never changed.
type Executor struct {
	Framework, Agent, Role string
	Spec                   *ExecutorSpec
}

// ExecutorReport is an executor as an agent reports it when it registers.
type ExecutorReport struct {
	Framework, Role string
	Spec            *ExecutorSpec
}

// executorRef names an executor on an agent.
type executorRef struct{ framework, id string }

// executorKey names an executor of the cluster.
type executorKey struct {
	framework, agent, id string
}

func keyOfExecutor(x *Executor) executorKey { return executorKey{x.Framework, x.Agent, x.Spec.ID} }

func lessExecutor(a, b *Executor) bool {
	return cmp.Or(strings.Compare(a.Framework, b.Framework), strings.Compare(a.Agent, b.Agent), strings.Compare(a.Spec.ID, b.Spec.ID)) < 0
}

// Inputs and orders about executors.
type (
	// AgentExecutorEnd tells of an executor's end. Status is as wait(2) gives it, -1 when nobody knows.
	AgentExecutorEnd struct {
		Conn                ConnID
		Framework, Executor string
		Status              int32
	}
	// ShutdownExecutor ends an executor because its scheduler says so.
	ShutdownExecutor struct {
		Stream                     StreamID
		Framework, Agent, Executor string
	}
	// EndExecutor is the order for it.
	EndExecutor struct{ Framework, Executor string }
)

// stepExecutor takes an input that is about executors.
func (b *Book) stepExecutor(in In, out *Out) {
	switch in := in.(type) {
	case *AgentExecutorEnd:
		b.agentExecutorEnd(in, out)
	case *ShutdownExecutor:
		b.shutdownExecutor(in, out)
	default:
		panic(fmt.Sprintf("cluster: an input of type %T", in))
	}
}

// executorFor finds the executor that a task is for on its agent; nil when the task brings it into being, or has none of its
// framework's own. It says what is wrong with it, and what the task needs with it.
func (b *Book) executorFor(f *Framework, agent string, t *TaskSpec, role string) (x *Executor, needs resource.List, wrong string) {
	e := t.Executor
	if e == nil {
		return nil, t.Resources, ""
	}
	x = b.states[agent].executors[executorRef{f.Spec.ID, e.ID}]
	switch {
	case x == nil && e.Role != "" && e.Role != role:
		return nil, nil, fmt.Sprintf("executor.resources: allocated to role %q, the offer is for %q", e.Role, role)
	case x == nil:
		return nil, t.Resources.Plus(e.Resources), ""
	case !bytes.Equal(x.Spec.Info, e.Info):
		return nil, nil, fmt.Sprintf("executor: another one with the id %q runs on this agent; send the same ExecutorInfo as before, or another id", e.ID)
	}
	return x, t.Resources, ""
}

// addExecutor books an executor on an agent.
func (b *Book) addExecutor(state *agentState, x *Executor) {
	if state.executors == nil {
		state.executors = map[executorRef]*Executor{}
	}
	state.executors[executorRef{x.Framework, x.Spec.ID}] = x
	b.executors.Set(x)
	b.setOffered(state)
}

// removeExecutor takes an executor off the books and gives back what it held.
func (b *Book) removeExecutor(state *agentState, x *Executor) {
	delete(state.executors, executorRef{x.Framework, x.Spec.ID})
	b.executors.Remove(x)
	b.alloc.Release(x.Agent, x.Framework, x.Role, x.Spec.Resources, 0)
	b.setOffered(state)
	b.soon(b.cfg.Gather)
}

// setOffered lets an agent be offered, unless it has as many executors as it may.
func (b *Book) setOffered(state *agentState) {
	if b.cfg.MaxExecutors <= 0 {
		return
	}
	a := b.agents.Get(state.id)
	b.alloc.SetAgentActive(state.id, a != nil && a.Active() && len(state.executors) < b.cfg.MaxExecutors)
}

// executorsOn lists an agent's executors in a fixed order.
func executorsOn(s *agentState) []*Executor {
	all := make([]*Executor, 0, len(s.executors))
	for _, x := range s.executors { // order: sorted below
		all = append(all, x)
	}
	slices.SortFunc(all, func(x, y *Executor) int {
		return cmp.Or(strings.Compare(x.Framework, y.Framework), strings.Compare(x.Spec.ID, y.Spec.ID))
	})
	return all
}

// idsOn lists the executors of a framework on an agent.
func idsOn(s *agentState, framework string) (ids []string) {
	for _, x := range executorsOn(s) {
		if x.Framework == framework {
			ids = append(ids, x.Spec.ID)
		}
	}
	return ids
}

// adoptExecutors brings the book's executors of an agent into line with its report. One that is missing has ended.
func (b *Book) adoptExecutors(in *AgentRegister, id string, state *agentState, gone []string, out *Out) {
	reported := make(map[executorRef]struct{}, len(in.Executors))
	for i := range in.Executors {
		r := &in.Executors[i]
		ref := executorRef{r.Framework, r.Spec.ID}
		if slices.Contains(gone, r.Framework) || b.frameworks.Get(r.Framework) == nil {
			continue
		}
		reported[ref] = struct{}{}
		if state.executors[ref] == nil {
			b.alloc.Hold(id, r.Framework, r.Role, r.Spec.Resources)
			b.addExecutor(state, &Executor{Framework: r.Framework, Agent: id, Role: r.Role, Spec: r.Spec})
		}
	}
	for _, x := range executorsOn(state) {
		if _, ok := reported[executorRef{x.Framework, x.Spec.ID}]; !ok {
			b.executorEnded(state, x, unknownStatus, out)
		}
	}
}

// unknownStatus stands for a wait status that nobody knows.
const unknownStatus = -1

// dropExecutors forgets an agent's executors when what they hold is forgotten with the agent.
func (b *Book) dropExecutors(state *agentState) {
	for _, x := range executorsOn(state) {
		b.executors.Remove(x)
	}
	state.executors = nil
}

// agentExecutorEnd takes word of an executor's end.
func (b *Book) agentExecutorEnd(in *AgentExecutorEnd, out *Out) {
	state := b.conns[in.Conn]
	if state == nil {
		return
	}
	if x := state.executors[executorRef{in.Framework, in.Executor}]; x != nil {
		b.executorEnded(state, x, in.Status, out)
	}
}

// executorEnded gives back what an executor held, and tells its scheduler.
func (b *Book) executorEnded(state *agentState, x *Executor, status int32, out *Out) {
	b.removeExecutor(state, x)
	out.Tell = append(out.Tell, Fact{Kind: FactExecutorEnded, Agent: x.Agent, Framework: x.Framework, Executor: x.Spec.ID, Resources: x.Spec.Resources})
	if f := b.frameworks.Get(x.Framework); f != nil && f.Connected {
		out.Send = append(out.Send, Msg{Stream: f.Stream, Body: Failure{Agent: x.Agent, Executor: x.Spec.ID, Status: status}})
	}
}

// shutdownExecutor passes a scheduler's order on. An agent that is away does not hear it, as on the original.
func (b *Book) shutdownExecutor(in *ShutdownExecutor, out *Out) {
	if f := b.mine(in.Stream, in.Framework, out); f == nil {
		return
	}
	s := b.states[in.Agent]
	switch {
	case s == nil:
		b.dropCall(in.Framework, AgentUnknown, out)
	case s.conn == 0:
		b.dropCall(in.Framework, AgentAway, out)
	default:
		out.Send = append(out.Send, Msg{Conn: s.conn, Body: EndExecutor{in.Framework, in.Executor}})
	}
}

// removeExecutorsOf ends the executors of a framework that is removed; their agents are told by the framework's name.
func (b *Book) removeExecutorsOf(framework string) {
	for _, x := range b.executorsOf(framework) {
		b.removeExecutor(b.states[x.Agent], x)
	}
}

func (b *Book) executorsOf(framework string) (all []*Executor) {
	if b.executors.Len() == 0 {
		return nil
	}
	executorsOf(b.executors.Ordered(), framework, func(x *Executor) bool { all = append(all, x); return true })
	return all
}

func executorsOf(t *executorTree, framework string, yield func(*Executor) bool) {
	t.Ascend(&Executor{Framework: framework, Spec: &ExecutorSpec{}}, func(x *Executor) bool {
		return x.Framework == framework && yield(x)
	})
}

// ExecutorsOf visits a framework's executors, by agent and id.
func (v *View) ExecutorsOf(framework string, yield func(*Executor) bool) {
	executorsOf(v.executors, framework, yield)
}
