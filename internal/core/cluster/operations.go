package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/operation"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// maxOperations bounds the operations of one framework that are under way or whose ends it has not acknowledged.
const maxOperations = 1000

// Change is an operation on resources, as it was asked for.
type Change struct {
	mesos.ResourceOperation
	// Info is the encoded Offer.Operation, its resources in the format after refinement.
	Info []byte
}

// AgentOperation is an operation that an agent was given, until its end is acknowledged. Values are replaced, never changed.
type AgentOperation struct {
	UUID, Agent string
	// Framework is empty for an operator's. ID is the framework's name for it, empty when it does not want to hear of it.
	Framework, ID string
	// Info is the encoded Offer.Operation.
	Info    []byte
	State   mesosv1.OperationState
	Message string
	// Status is the uuid of the update that waits for an acknowledgement; empty when none does.
	Status string

	// speculated: what the book says of the agent's resources rests on its success.
	speculated bool
}

// Ended says whether the operation has come to its end.
func (o *AgentOperation) Ended() bool {
	return o.State != mesosv1.OperationState_OPERATION_PENDING && o.State != mesosv1.OperationState_OPERATION_UNREACHABLE
}

// OperationEnd is how an operation ended, as an agent tells it.
type OperationEnd struct {
	UUID, Framework, ID string
	State               mesosv1.OperationState
	Message             string
	// Status is the uuid of the status.
	Status string
	// Info is the encoded Offer.Operation, in reports alone.
	Info []byte
}

// Inputs about operations.
type (
	// AgentOperationEnd is one reliable update of an operation.
	AgentOperationEnd struct {
		Conn ConnID
		End  OperationEnd
	}
	// AcknowledgeOperation ends the retries of an operation's update.
	AcknowledgeOperation struct {
		Stream                            StreamID
		Framework, Agent, Operation, UUID string
	}
	// ChangeResources is an operator's operation. Call is answered.
	ChangeResources struct {
		Call   CallID
		Agent  string
		Change *Change
	}
)

// Orders about operations.
type (
	// Apply carries an operation out.
	Apply struct{ Operation *AgentOperation }
	// OperationAck passes an acknowledgement on.
	OperationAck struct{ Operation, UUID string }
)

// operationRef names an operation as its framework does.
type operationRef struct{ framework, id string }

type operationTree = btree.BTreeG[*AgentOperation]

func keyOfOperation(o *AgentOperation) string { return o.UUID }

func lessOperation(a, b *AgentOperation) bool {
	return cmp.Or(strings.Compare(a.Framework, b.Framework), strings.Compare(a.UUID, b.UUID)) < 0
}

// Operations visits every operation that is under way or not acknowledged, by framework.
func (v *View) Operations(yield func(*AgentOperation) bool) { v.operations.Scan(yield) }

// stepOperation takes an input that is about operations.
func (b *Book) stepOperation(in In, out *Out) {
	switch in := in.(type) {
	case *AgentOperationEnd:
		b.agentOperationEnd(in, out)
	case *AcknowledgeOperation:
		b.acknowledgeOperation(in, out)
	case *ChangeResources:
		b.changeResources(in, out)
	default:
		b.stepExecutor(in, out)
	}
}

// change carries out an operation of an ACCEPT on what is left of its offers, and gives what is left after it. What it makes is
// there for the next; only what growing and shrinking make is not, as on the original.
func (b *Book) change(f *Framework, agent *Agent, role string, op *Operation, left resource.List, out *Out) (after resource.List, done bool) {
	id := agent.Spec.ID
	if words := b.mayChange(f, id, role, op, left); words != "" {
		b.refuseOperation(f, op, id, words, out)
		return left, false
	}
	c := op.Change.Change
	b.rescindVolumes(id, c, out)
	if err := b.alloc.Convert(id, f.Spec.ID, role, c); err != nil { // the checks above see to it
		b.refuseOperation(f, op, id, err.Error(), out)
		return left, false
	}
	b.order(id, f.Spec.ID, op.ID, op.Change, out)
	left = left.Minus(c.Consumed)
	if op.Type == mesosv1.Offer_Operation_GROW_VOLUME || op.Type == mesosv1.Offer_Operation_SHRINK_VOLUME {
		b.alloc.Release(id, f.Spec.ID, role, c.Converted, 0)
		b.soon(b.cfg.Gather)
		return left, true
	}
	return left.Plus(c.Converted), true
}

// mayChange says why an operation cannot be carried out; empty when it can.
func (b *Book) mayChange(f *Framework, agent, role string, op *Operation, left resource.List) string {
	switch {
	case op.Invalid != "":
		return op.Invalid
	case op.Change == nil:
		return "type: says nothing of what is to change; send the member that goes with it"
	case op.ID != "" && b.operationIDs[operationRef{f.Spec.ID, op.ID}] != "":
		return fmt.Sprintf("id: another operation of this framework has the id %q and is not acknowledged; use a new one", op.ID)
	case op.ID != "" && !slices.Contains(b.agents.Get(agent).Spec.Capabilities, mesosv1.AgentInfo_Capability_AGENT_OPERATION_FEEDBACK):
		return "id: the agent does not tell how operations end (AGENT_OPERATION_FEEDBACK); leave the id out, or upgrade the agent"
	case b.extras[f.Spec.ID].operations >= maxOperations:
		return fmt.Sprintf("the framework has %d operations under way or not acknowledged, and no more may be; acknowledge their updates", maxOperations)
	}
	who := operation.Asker{
		Roles: f.Spec.Roles, Role: role, Principal: f.Spec.Principal, Refined: f.Spec.Caps.Refinement, Shared: f.Spec.Caps.Shared,
	}
	if err := operation.Check(op.Change.ResourceOperation, who, b.placeOf(agent)); err != nil {
		return err.Error()
	}
	if c := op.Change.Change; !left.Contains(c.Consumed) {
		return fmt.Sprintf("the operation needs %s, the offers have %s left", brief(c.Consumed.String()), cmp.Or(brief(left.String()), "nothing"))
	}
	return ""
}

func (b *Book) placeOf(agent string) operation.Place {
	spec := b.agents.Get(agent).Spec
	return operation.Place{Total: spec.Total, Capabilities: spec.Capabilities, Used: func(role, id string) bool { return b.volumeUsed(agent, role, id) }}
}

// volumeUsed says whether a task or an executor on an agent has a volume.
func (b *Book) volumeUsed(agent, role, id string) bool {
	s := b.states[agent]
	for key := range s.tasks { // order: any
		if t := b.tasks.Get(key); t != nil && t.Agent == agent && !t.Released && t.Spec.Resources.FindVolume(role, id) != nil {
			return true
		}
	}
	for _, t := range s.twins { // order: any
		if t.Spec.Resources.FindVolume(role, id) != nil {
			return true
		}
	}
	for _, x := range s.executors { // order: any
		if x.Spec.Resources.FindVolume(role, id) != nil {
			return true
		}
	}
	return false
}

// rescindVolumes takes back what is offered of volumes that a change ends: a shared one lies with several.
func (b *Book) rescindVolumes(agent string, c resource.Change, out *Out) {
	for _, v := range c.Consumed.Shared() {
		for _, o := range slices.Clone(b.states[agent].offers) {
			if o.Resources.FindVolume(v.VolumeKey()) != nil {
				b.rescind(o, out)
			}
		}
	}
}

// order books a change of an agent's resources that the allocator knows of, and sends it.
func (b *Book) order(agent, framework, id string, c *Change, out *Out) {
	a := b.agents.Get(agent)
	n, spec := *a, *a.Spec
	spec.Total = a.Spec.Total.Minus(c.Consumed).Plus(c.Converted)
	n.Spec = &spec
	b.agents.Set(&n)
	b.nextOperation++
	o := &AgentOperation{
		UUID: b.operationUUID(), Framework: framework, ID: id, Agent: agent, Info: c.Info,
		State: mesosv1.OperationState_OPERATION_PENDING, speculated: true,
	}
	b.setOperation(o)
	out.Send = append(out.Send, Msg{Conn: b.states[agent].conn, Body: Apply{o}})
	out.Tell = append(out.Tell, Fact{Kind: FactOperationAccepted, Agent: agent, Framework: framework, Operation: o, Text: c.Type.String(), Resources: c.Converted})
}

// operationUUID makes a name that no other master and no other operation has. It need not be hard to guess.
func (b *Book) operationUUID() string {
	var u [16]byte
	hi, lo := b.nextLaunch, b.nextOperation // the first begins at this master's election, as all of its numbers do
	for i := range 8 {
		u[i], u[15-i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return string(u[:])
}

func (b *Book) setOperation(o *AgentOperation) {
	s := b.states[o.Agent]
	if s.operations == nil {
		s.operations = map[string]struct{}{}
	}
	if b.operations.Get(o.UUID) == nil && b.extras[o.Framework] != nil {
		b.extras[o.Framework].operations++
	}
	s.operations[o.UUID] = struct{}{}
	b.operations.Set(o)
	if o.ID != "" {
		b.operationIDs[operationRef{o.Framework, o.ID}] = o.UUID
	}
}

func (b *Book) removeOperation(o *AgentOperation) {
	if s := b.states[o.Agent]; s != nil {
		delete(s.operations, o.UUID)
	}
	if x := b.extras[o.Framework]; x != nil && b.operations.Get(o.UUID) != nil {
		x.operations--
	}
	b.operations.Remove(o)
	if ref := (operationRef{o.Framework, o.ID}); b.operationIDs[ref] == o.UUID {
		delete(b.operationIDs, ref)
	}
}

// operationsOn lists an agent's operations in a fixed order.
func (b *Book) operationsOn(s *agentState) []*AgentOperation {
	all := make([]*AgentOperation, 0, len(s.operations))
	for _, uuid := range slices.Sorted(maps.Keys(s.operations)) { // order: sorted
		all = append(all, b.operations.Get(uuid))
	}
	return all
}

// tellOperation tells a framework how its operation is; uuid is set when an acknowledgement is wanted.
func (b *Book) tellOperation(o *AgentOperation, uuid, words string, out *Out) {
	if f := b.frameworks.Get(o.Framework); f != nil && f.Connected && o.ID != "" {
		out.Send = append(out.Send, Msg{Stream: f.Stream, Body: OperationUpdate{o.ID, o.Agent, o.State, words, uuid}})
	}
}

// refuseOperation answers an operation that breaks a rule.
func (b *Book) refuseOperation(f *Framework, op *Operation, agent, words string, out *Out) {
	if op.ID != "" {
		out.Send = append(out.Send, Msg{Stream: f.Stream, Body: OperationUpdate{op.ID, "", mesosv1.OperationState_OPERATION_ERROR, words, ""}})
	}
	out.Tell = append(out.Tell, Fact{Kind: FactOperationRefused, Agent: agent, Framework: f.Spec.ID, Reason: OperationInvalid, OperationType: op.Type, Text: op.Type.String() + ": " + words})
}

// agentOperationEnd takes an operation's end in and passes it on. The agent keeps it until it is acknowledged: by its framework,
// or by the book when nobody wants to hear of it.
func (b *Book) agentOperationEnd(in *AgentOperationEnd, out *Out) {
	state, e := b.conns[in.Conn], &in.End
	if state == nil {
		return
	}
	o := b.operations.Get(e.UUID)
	if o != nil && o.Agent != state.id {
		o = nil
	}
	if (o == nil || o.Status == e.Status) && !b.mayTalk(state, 1) {
		out.Tell = append(out.Tell, Fact{Kind: FactUpdateDropped, Agent: state.id, Framework: e.Framework, Reason: UpdatesTooMany})
		return
	}
	if o == nil {
		out.Send = append(out.Send, Msg{Conn: in.Conn, Body: OperationAck{e.UUID, e.Status}})
		return
	}
	n := *o
	n.State, n.Message, n.Status, n.speculated = e.State, e.Message, e.Status, false
	fresh := o.Status != e.Status
	if n.ID == "" || b.frameworks.Get(n.Framework) == nil {
		b.removeOperation(o)
		out.Send = append(out.Send, Msg{Conn: in.Conn, Body: OperationAck{e.UUID, e.Status}})
	} else {
		b.setOperation(&n)
		b.tellOperation(&n, e.Status, e.Message, out)
	}
	if fresh {
		out.Tell = append(out.Tell, Fact{Kind: FactOperationEnded, Agent: state.id, Framework: n.Framework, Operation: &n, Text: strings.TrimSpace(n.State.String() + " " + n.Message)})
	}
	if o.speculated && e.State != mesosv1.OperationState_OPERATION_FINISHED {
		b.agentClosed(&AgentClosed{Conn: in.Conn}, out) // what it has is not what the book says: it is to tell anew
		out.Send = append(out.Send, Msg{Conn: in.Conn, Body: Disconnect{"an operation on the agent's resources did not succeed; it is to say what it has"}})
	}
}

// acknowledgeOperation passes an acknowledgement on; the operation is over.
func (b *Book) acknowledgeOperation(in *AcknowledgeOperation, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil {
		return
	}
	o := b.operations.Get(b.operationIDs[operationRef{in.Framework, in.Operation}])
	switch {
	case o == nil || in.Agent != "" && o.Agent != in.Agent:
		b.dropCall(in.Framework, OperationUnknown, out)
		return
	case o.Status == "" || o.Status != in.UUID:
		b.dropCall(in.Framework, AcknowledgementStale, out)
		return
	case b.states[o.Agent].conn == 0:
		b.dropCall(in.Framework, AgentAway, out)
		return
	}
	out.Send = append(out.Send, Msg{Conn: b.states[o.Agent].conn, Body: OperationAck{o.UUID, o.Status}})
	out.Tell = append(out.Tell, Fact{Kind: FactOperationAcknowledged, Agent: o.Agent, Framework: in.Framework, Operation: o})
	b.removeOperation(o)
}

// adoptOperations brings the book's operations of an agent into line with its report, and gives those that never reached it. What
// it has is what it says, so nothing rests on the success of any of them.
func (b *Book) adoptOperations(in *AgentRegister, id string, state *agentState, out *Out) (unknown []*AgentOperation) {
	reported := make(map[string]struct{}, len(in.Operations))
	for i := range in.Operations {
		e := &in.Operations[i]
		reported[e.UUID] = struct{}{}
		if old := b.operations.Get(e.UUID); old != nil && old.Agent != id {
			continue
		}
		if f := b.frameworks.Get(e.Framework); f == nil || e.ID == "" {
			if old := b.operations.Get(e.UUID); old != nil {
				b.removeOperation(old)
			}
			out.Send = append(out.Send, Msg{Conn: in.Conn, Body: OperationAck{e.UUID, e.Status}})
			continue
		}
		b.setOperation(&AgentOperation{UUID: e.UUID, Agent: id, Framework: e.Framework, ID: e.ID, Info: e.Info, State: e.State, Message: e.Message, Status: e.Status})
	}
	for _, o := range b.operationsOn(state) {
		if _, ok := reported[o.UUID]; ok {
			continue
		}
		if o.Ended() { // its acknowledgement came to the agent
			b.removeOperation(o)
			continue
		}
		n := *o
		n.State, n.speculated = mesosv1.OperationState_OPERATION_PENDING, false
		b.setOperation(&n)
		unknown = append(unknown, &n)
	}
	return unknown
}

// awayOperations says of an agent's operations that nobody knows how they are. Those that nobody wants to hear of are forgotten.
func (b *Book) awayOperations(state *agentState, out *Out) {
	for _, o := range b.operationsOn(state) {
		switch {
		case o.ID == "":
			b.removeOperation(o)
		case !o.Ended():
			n := *o
			n.State, n.speculated = mesosv1.OperationState_OPERATION_UNREACHABLE, false
			b.setOperation(&n)
			b.tellOperation(&n, "", "The agent is unreachable; nobody knows whether the operation was carried out.", out)
		}
	}
}

// dropOperations forgets an agent's operations with the agent, and tells of those whose end nobody will ever know.
func (b *Book) dropOperations(state *agentState, as mesosv1.OperationState, words string, out *Out) {
	for _, o := range b.operationsOn(state) {
		b.removeOperation(o)
		if !o.Ended() {
			n := *o
			n.State = as
			b.tellOperation(&n, "", words, out)
			out.Tell = append(out.Tell, Fact{Kind: FactOperationEnded, Agent: o.Agent, Framework: o.Framework, Operation: &n, Text: as.String()})
		}
	}
}

// operationsOf lists a framework's operations.
func (b *Book) operationsOf(framework string) (all []*AgentOperation) {
	if b.operations.Len() == 0 {
		return nil
	}
	b.operations.Ordered().Ascend(&AgentOperation{Framework: framework}, func(o *AgentOperation) bool {
		if o.Framework == framework {
			all = append(all, o)
		}
		return o.Framework == framework
	})
	return all
}

// reconcileOperations answers what the book knows of operations.
func (b *Book) reconcileOperations(in *ReconcileOperations, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil {
		return
	}
	const known = "Reconciliation: the latest state of the operation."
	if len(in.Operations) == 0 {
		for _, o := range b.operationsOf(in.Framework) {
			b.tellOperation(o, "", known, out)
		}
		return
	}
	for _, r := range in.Operations {
		if o := b.operations.Get(b.operationIDs[operationRef{in.Framework, r.Operation}]); o != nil {
			b.tellOperation(o, "", known, out)
			continue
		}
		state, words := mesosv1.OperationState_OPERATION_UNKNOWN, "Reconciliation: the operation is unknown."
		if a := b.agents.Get(r.Agent); a != nil {
			switch {
			case a.Recovered:
				state, words = mesosv1.OperationState_OPERATION_RECOVERING, "Reconciliation: the agent has not come back yet."
			case a.Mark == Unreachable:
				state, words = mesosv1.OperationState_OPERATION_UNREACHABLE, "Reconciliation: the agent is unreachable."
			case a.Mark == Gone:
				state, words = mesosv1.OperationState_OPERATION_GONE_BY_OPERATOR, "Reconciliation: the agent was marked gone."
			}
		}
		out.Send = append(out.Send, Msg{Stream: f.Stream, Body: OperationUpdate{r.Operation, r.Agent, state, words, ""}})
	}
}

// changeResources carries out an operator's operation on what is free of an agent. Offers are taken back for it, as many as it
// needs; what tasks have is not.
func (b *Book) changeResources(in *ChangeResources, out *Out) {
	answer := func(k AnswerKind, words string) {
		out.Send = append(out.Send, Msg{Call: in.Call, Body: Answer{k, words}})
	}
	a := b.agents.Get(in.Agent)
	switch {
	case a == nil || a.Mark != Admitted:
		answer(Invalid, fmt.Sprintf("no agent has the id %q; see /slaves for those that are there", in.Agent))
		return
	case !a.Active():
		answer(Conflict, fmt.Sprintf("agent %s is not connected; ask again when it is back", in.Agent))
		return
	}
	if err := operation.Check(in.Change.ResourceOperation, operation.Asker{Operator: true}, b.placeOf(in.Agent)); err != nil {
		kind := Invalid
		if errors.As(err, new(*operation.Standing)) {
			kind = Conflict
		}
		answer(kind, err.Error())
		return
	}
	needs, state := in.Change.Consumed, b.states[in.Agent]
	free := b.alloc.Free(in.Agent)
	all := free
	for _, o := range state.offers {
		all = all.Plus(o.Resources)
	}
	if !all.Contains(needs) {
		answer(Conflict, fmt.Sprintf("the operation needs %s, and of agent %s only %s are free or offered", brief(needs.String()), in.Agent, cmp.Or(brief(all.String()), "nothing")))
		return
	}
	for _, o := range slices.Clone(state.offers) {
		if free.Contains(needs) {
			break
		}
		if rest := needs.Minus(free); rest.Minus(o.Resources).Equal(rest) {
			continue // it would not help
		}
		free = free.Plus(o.Resources)
		b.alloc.Release(o.Agent, o.Framework, o.Role, o.Resources, b.refuseUntil(-1))
		b.withdraw(o, out)
	}
	b.rescindVolumes(in.Agent, in.Change.Change, out)
	if err := b.alloc.ConvertFree(in.Agent, in.Change.Change); err != nil { // the checks above see to it
		answer(Conflict, err.Error())
		return
	}
	b.order(in.Agent, "", "", in.Change, out)
	b.soon(b.cfg.Gather)
	answer(Done, "")
}
