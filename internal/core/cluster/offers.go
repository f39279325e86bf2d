package cluster

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/allocator"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos/resource"
)

// allocate runs one cycle and sends the offers that come of it. Between two sweeps, a framework that has not answered an
// offer of an agent gets no second one of it: what became free meanwhile is for others first, and crumbs stay together.
func (b *Book) allocate(sweep bool, out *Out) {
	if !b.alloc.Pending() && b.alloc.NextExpiry() == 0 {
		return
	}
	busy := b.hasOffer
	if sweep {
		busy = nil
	}
	grants := b.alloc.Cycle(b.now.Mono, busy)
	if len(grants) == 0 {
		return
	}
	b.offer(grants, out)
}

// offer makes offers of grants and sends them, a few hundred in an event.
func (b *Book) offer(grants []allocator.Grant, out *Out) {
	by := map[string][]*Offer{}
	var order []string
	for _, g := range grants {
		o := b.newOffer(g)
		if by[g.Framework] == nil {
			order = append(order, g.Framework)
		}
		by[g.Framework] = append(by[g.Framework], o)
	}
	for _, id := range order {
		f := b.frameworks.Get(id)
		for chunk := range slices.Chunk(by[id], offersPerEvent) {
			out.Send = append(out.Send, Msg{Stream: f.Stream, Body: Offers{chunk}})
		}
		out.Tell = append(out.Tell, Fact{Kind: FactOffersSent, Framework: id, N: len(by[id])})
	}
	out.Tell = append(out.Tell, Fact{Kind: FactAllocated, N: len(grants)})
}

func (b *Book) newOffer(g allocator.Grant) *Offer {
	f := b.frameworks.Get(g.Framework)
	o := &Offer{
		ID: fmt.Sprintf("%s-O%d", b.cfg.MasterID, b.nextOffer), Framework: g.Framework, Agent: g.Agent, Role: g.Role,
		Resources: g.Resources, Spec: b.agents.Get(g.Agent).Spec, Legacy: f.Spec.Legacy,
		Format: resource.PreRefinement, Made: b.now.Mono, Executors: idsOn(b.states[g.Agent], g.Framework),
	}
	if f.Spec.Caps.Refinement {
		o.Format = resource.PostRefinement
	}
	b.nextOffer++
	b.offers.Set(o)
	x := b.extras[g.Framework]
	x.offers[o.ID], x.offered = o, b.now.Mono
	s := b.states[g.Agent]
	s.offers = append(s.offers, o)
	if b.cfg.OfferTimeout > 0 {
		b.offerTimeouts.push(offerTimeout{b.now.Mono + b.cfg.OfferTimeout, o.ID})
	}
	return o
}

// relieve helps frameworks that want offers and have none, while others let theirs lie: each gets one, of a framework that
// is richer. The user who has had none for longest comes first, and of his frameworks the same, so that where many let
// offers lie, those take turns too, and one user's thousand count as one. The
// original let offers lie for ever, so that one idle framework could starve all others.
func (b *Book) relieve(out *Out) {
	if b.offers.Len() == 0 {
		return
	}
	var poor []*Framework
	users := map[string]time.Duration{} // when each had an offer last
	b.frameworks.Ordered().Scan(func(f *Framework) bool {
		users[f.Spec.User] = max(users[f.Spec.User], b.extras[f.Spec.ID].offered)
		if f.Connected && len(b.extras[f.Spec.ID].offers) == 0 && len(f.Suppressed) < len(f.Spec.Roles) {
			poor = append(poor, f)
		}
		return true
	})
	slices.SortStableFunc(poor, func(x, y *Framework) int {
		return cmp.Or(cmp.Compare(users[x.Spec.User], users[y.Spec.User]), cmp.Compare(b.extras[x.Spec.ID].offered, b.extras[y.Spec.ID].offered))
	})
	looks := reliefLooks
	var grants []allocator.Grant
	for _, f := range poor {
		b.offers.Scan(func(o *Offer) bool {
			if b.now.Mono-o.Made < b.cfg.OfferHold {
				return true
			}
			looks--
			held := allocator.Grant{Agent: o.Agent, Framework: o.Framework, Role: o.Role, Resources: o.Resources}
			g, ok := b.alloc.Relieve(held, f.Spec.ID, b.now.Mono)
			if ok {
				b.withdraw(o, out)
				grants = append(grants, g)
			}
			return !ok && looks > 0
		})
		if looks <= 0 {
			break
		}
	}
	if len(grants) > 0 {
		b.offer(grants, out)
	}
}

// hasOffer says whether a framework has an offer of an agent that it did not answer.
func (b *Book) hasOffer(agent, framework string) bool {
	for _, o := range b.states[agent].offers {
		if o.Framework == framework {
			return true
		}
	}
	return false
}

// rescind takes an offer back and says so.
func (b *Book) rescind(o *Offer, out *Out) {
	b.alloc.Release(o.Agent, o.Framework, o.Role, o.Resources, 0)
	b.withdraw(o, out)
	b.soon(b.cfg.Gather)
}

// withdraw takes an offer off the books and says so; its resources are the caller's to book.
func (b *Book) withdraw(o *Offer, out *Out) {
	b.forgetOffer(o)
	delete(b.extras[o.Framework].offers, o.ID)
	if f := b.frameworks.Get(o.Framework); f != nil && f.Connected {
		out.Send = append(out.Send, Msg{Stream: f.Stream, Body: Rescind{o.ID}})
	}
	out.Tell = append(out.Tell, Fact{Kind: FactOfferRescinded, Framework: o.Framework, Agent: o.Agent})
}

// forgetOffer takes an offer off the books of its agent and the cluster.
func (b *Book) forgetOffer(o *Offer) {
	b.offers.Delete(o)
	s := b.states[o.Agent]
	s.offers = slices.DeleteFunc(s.offers, func(x *Offer) bool { return x == o })
}

// take uses up offers of a framework. ok is false when one of them is not to be had together with the others; those that
// were good are used up all the same, which is what the original does.
func (b *Book) take(framework string, ids []string) (taken []*Offer, ok bool) {
	x := b.extras[framework]
	ok = len(ids) > 0
	for _, id := range ids {
		o := x.offers[id]
		if o == nil {
			ok = false
			continue
		}
		if len(taken) > 0 && (taken[0].Agent != o.Agent || taken[0].Role != o.Role) {
			ok = false
		}
		delete(x.offers, id)
		b.forgetOffer(o)
		taken = append(taken, o)
	}
	return taken, ok
}

func (b *Book) decline(in *Decline, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil {
		return
	}
	taken, _ := b.take(in.Framework, in.Offers)
	until := b.refuseUntil(in.Refuse)
	for _, o := range taken {
		b.alloc.Release(o.Agent, o.Framework, o.Role, o.Resources, until)
	}
	if len(taken) > 0 {
		out.Tell = append(out.Tell, Fact{Kind: FactOffersDeclined, Framework: in.Framework, N: len(taken)})
		b.soon(b.cfg.Gather)
	}
}

// accept runs operations on the union of some offers.
func (b *Book) accept(in *Accept, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil {
		return
	}
	taken, ok := b.take(in.Framework, in.Offers)
	giveUp := func(reason mesosv1.TaskStatus_Reason, why string) {
		for _, o := range taken {
			b.alloc.Release(o.Agent, o.Framework, o.Role, o.Resources, 0)
		}
		b.soon(b.cfg.Gather)
		for i := range in.Operations {
			b.dropOperation(f, &in.Operations[i], reason, why, out)
		}
	}
	if !ok {
		giveUp(mesosv1.TaskStatus_REASON_INVALID_OFFERS, OffersInvalid.Text())
		return
	}
	agent := b.agents.Get(taken[0].Agent)
	if agent == nil || agent.Mark != Admitted {
		giveUp(mesosv1.TaskStatus_REASON_AGENT_REMOVED, "the agent was removed")
		return
	}
	if !agent.Connected {
		giveUp(mesosv1.TaskStatus_REASON_AGENT_DISCONNECTED, "the agent is not connected")
		return
	}
	out.Tell = append(out.Tell, Fact{Kind: FactOffersAccepted, Framework: in.Framework, Agent: agent.Spec.ID, N: len(taken)})
	left := taken[0].Resources
	for _, o := range taken[1:] {
		left = left.Plus(o.Resources)
	}
	offered := left // what of it no operation has changed
	for i := range in.Operations {
		op := &in.Operations[i]
		switch {
		case op.Type == mesosv1.Offer_Operation_LAUNCH && op.ID != "":
			for _, t := range op.Tasks {
				b.refuseTask(f, t, mesosv1.TaskStatus_REASON_TASK_INVALID, "A LAUNCH operation must not have an id.", out)
			}
		case op.Type == mesosv1.Offer_Operation_LAUNCH:
			for _, t := range op.Tasks {
				left = b.launch(f, agent, taken[0].Role, t, left, out)
			}
		case op.Type == mesosv1.Offer_Operation_LAUNCH_GROUP:
			left = b.launchGroup(f, agent, taken[0].Role, op, left, out)
		default:
			var made bool
			if left, made = b.change(f, agent, taken[0].Role, op, left, out); made {
				offered = offered.Minus(op.Change.Consumed)
			}
		}
	}
	if !left.IsEmpty() { // what was made of it is offered at once: nobody has refused that
		made := left.Minus(offered)
		b.alloc.Release(agent.Spec.ID, f.Spec.ID, taken[0].Role, made, 0)
		b.alloc.Release(agent.Spec.ID, f.Spec.ID, taken[0].Role, left.Minus(made), b.refuseUntil(in.Refuse))
		b.soon(b.cfg.Gather)
	}
}

// launch starts one task from what is left of the offers, and gives what is left after it.
func (b *Book) launch(f *Framework, agent *Agent, role string, t *TaskSpec, left resource.List, out *Out) resource.List {
	invalid := mesosv1.TaskStatus_REASON_TASK_INVALID
	executor, needs, wrong := b.executorFor(f, agent.Spec.ID, t, role)
	switch {
	case t.Invalid != "":
		b.refuseTask(f, t, t.Reason, t.Invalid, out)
		return left
	case b.tasks.Get(FrameworkTask{f.Spec.ID, t.ID}) != nil:
		b.refuseTask(f, t, invalid, fmt.Sprintf("task_id: another task of this framework has the id %q and is not completed; use a new one", t.ID), out)
		return left
	case t.AgentID != agent.Spec.ID:
		b.refuseTask(f, t, invalid, fmt.Sprintf("agent_id: the task names agent %q, the offer is of %q", t.AgentID, agent.Spec.ID), out)
		return left
	case t.Role != "" && t.Role != role:
		b.refuseTask(f, t, invalid, fmt.Sprintf("resources: allocated to role %q, the offer is for %q", t.Role, role), out)
		return left
	case wrong != "":
		b.refuseTask(f, t, invalid, wrong, out)
		return left
	case !left.Contains(needs):
		b.refuseTask(f, t, invalid, fmt.Sprintf("resources: the task wants %s, the offers have %s left", brief(needs.String()), cmp.Or(brief(left.String()), "nothing")), out)
		return left
	}
	state := b.states[agent.Spec.ID]
	starts := t.Executor != nil && executor == nil
	if starts {
		b.addExecutor(state, &Executor{Framework: f.Spec.ID, Agent: agent.Spec.ID, Role: role, Spec: t.Executor})
		out.Tell = append(out.Tell, Fact{Kind: FactExecutorStarted, Framework: f.Spec.ID, Agent: agent.Spec.ID, Executor: t.Executor.ID, Resources: t.Executor.Resources})
	}
	task := b.addTask(f, state, t, role, out)
	out.Send = append(out.Send, Msg{Conn: state.conn, Body: Run{f.Spec, t, role, task.launch, starts}})
	return left.Minus(needs.NonShared()) // what is shared the next task may use as well
}

// addTask books a task that is about to be sent to its agent.
func (b *Book) addTask(f *Framework, state *agentState, t *TaskSpec, role string, out *Out) *Task {
	b.nextLaunch++
	task := &Task{
		Framework: f.Spec.ID, Agent: state.id, Role: role, Spec: remembered(t), State: mesosv1.TaskState_TASK_STAGING,
		UpdateState: mesosv1.TaskState_TASK_STAGING, launch: b.nextLaunch,
	}
	b.tasks.Set(task)
	state.tasks[FrameworkTask{f.Spec.ID, t.ID}] = struct{}{}
	out.Tell = append(out.Tell, Fact{
		Kind: FactTaskLaunched, Framework: f.Spec.ID, Agent: state.id, Task: t.ID, Resources: t.Resources, FrameworkIs: f, TaskIs: task,
	})
	return task
}

// refuseTask answers a task that breaks a rule.
func (b *Book) refuseTask(f *Framework, t *TaskSpec, reason mesosv1.TaskStatus_Reason, words string, out *Out) {
	s := b.status(t.ID, t.AgentID, mesosv1.TaskState_TASK_ERROR, reason, words)
	b.tell(f.Spec.ID, s, out)
	out.Tell = append(out.Tell, Fact{Kind: FactTaskRefused, Framework: f.Spec.ID, Agent: t.AgentID, Task: t.ID, Reason: SpecInvalid, Status: s, Text: words})
}

// dropOperation answers an operation whose offers or agent are not there. Of a task that lives it says how it is: clients that
// hear no answer send an ACCEPT again, and the second finds its offers used up by the first.
func (b *Book) dropOperation(f *Framework, op *Operation, reason mesosv1.TaskStatus_Reason, why string, out *Out) {
	words := "The tasks were not launched: " + why + "."
	for _, t := range op.Tasks {
		if x := b.tasks.Get(FrameworkTask{f.Spec.ID, t.ID}); x != nil && x.Agent == t.AgentID && !x.Released {
			b.tell(f.Spec.ID, b.statusOf(x, reconciliation, "The task was launched before; this is its latest state."), out)
			continue
		}
		s := b.status(t.ID, t.AgentID, b.aware(f, mesosv1.TaskState_TASK_DROPPED), reason, words)
		b.tell(f.Spec.ID, s, out)
		out.Tell = append(out.Tell, Fact{Kind: FactTaskRefused, Framework: f.Spec.ID, Agent: t.AgentID, Task: t.ID, Reason: OffersInvalid, Status: s, Text: words})
	}
	if op.ID == "" {
		return
	}
	if o := b.operations.Get(b.operationIDs[operationRef{f.Spec.ID, op.ID}]); o != nil && op.Change != nil && bytes.Equal(o.Info, op.Change.Info) {
		b.tellOperation(o, "", "The operation was accepted before; this is its latest state.", out)
		return
	}
	out.Send = append(out.Send, Msg{Stream: f.Stream, Body: OperationUpdate{op.ID, "", mesosv1.OperationState_OPERATION_ERROR, "The operation was not carried out: " + why + ".", ""}})
}

var _ machine.Machine[In, Record, Msg, Work, Fact] = (*Book)(nil)
