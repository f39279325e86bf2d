package workload

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/btree"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos/resource"
)

// Operation is a change of what this agent's resources are, as the master sent it.
type Operation struct {
	// UUID is the master's name for it, 16 bytes.
	UUID string
	// Framework is empty for an operator's, and ID for one whose end nobody wants to be told.
	Framework, ID string
	// Info is the encoded Offer.Operation.
	Info []byte
	resource.Change
	// Refused says why this agent cannot carry it out; empty when it can.
	Refused string
}

// OperationView is an operation with its end, until that is acknowledged. Values are replaced, never changed.
type OperationView struct {
	Operation *Operation
	State     mesosv1.OperationState
	Message   string
	// UUID is the status's, 16 bytes.
	UUID string
}

// Inputs about operations.
type (
	// Apply is an operation to be carried out, once.
	Apply struct{ Operation *Operation }
	// OperationAck ends the retries of an operation's end.
	OperationAck struct{ Operation, UUID string }
	// VolumeRemoved says that the data of a doomed volume is gone.
	VolumeRemoved struct{ UUID string }
	// VolumesPlaced says that a task finds its volumes in its executor's sandbox, or, in words, why not.
	VolumesPlaced struct {
		Ref
		Container, Words string
	}
)

// OperationEnded is an operation and its end. Kept is set when it was applied: one record holds both, so that an operation
// counts as applied if and only if what came of it is there.
type OperationEnded struct {
	*OperationView
	Kept *Kept
}

// Kept is what does not follow from an agent's settings.
type Kept struct {
	// Resources are the dynamic reservations and the persistent volumes.
	Resources resource.List
	// Doomed are volumes that were destroyed and whose data may still be there.
	Doomed []Doomed
}

// Doomed is a volume that was destroyed. Another one of its role and id may have been made since.
type Doomed struct {
	UUID   string
	Volume *resource.Resource
}

// KeptOf finds what a journal says of resources that the agent's settings do not.
func KeptOf(journal []Record) Kept {
	var k Kept
	for i := range journal {
		switch r := &journal[i]; {
		case r.Kept != nil:
			k = *r.Kept
		case r.OperationEnded != nil && r.OperationEnded.Kept != nil:
			k = *r.OperationEnded.Kept
		case r.VolumeRemoved != "":
			k.Doomed = without(k.Doomed, r.VolumeRemoved)
		}
	}
	return k
}

func without(list []Doomed, uuid string) []Doomed {
	return slices.DeleteFunc(slices.Clone(list), func(d Doomed) bool { return d.UUID == uuid })
}

// ledger is what the book knows of resources and operations.
type ledger struct {
	total  resource.List
	doomed []Doomed
	ended  *btree.BTreeG[*OperationView]
	waits  map[string]*opWait // by operation
	due    time.Duration      // of the next try; Never when none is
}

// opWait is when an operation's end is told again.
type opWait struct{ wait, at time.Duration }

func newLedger() ledger {
	less := func(x, y *OperationView) bool { return x.Operation.UUID < y.Operation.UUID }
	return ledger{ended: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}), waits: map[string]*opWait{}, due: machine.Never}
}

// reckon finds the agent's resources from its settings and what its journal has kept. Its shell has seen that they fit.
func (b *Book) reckon(kept Kept) {
	total, err := b.cfg.Resources.WithKept(kept.Resources)
	if err != nil {
		panic("workload: what is reserved does not fit the agent's resources: " + err.Error())
	}
	b.total, b.doomed = total, kept.Doomed
}

// replayOperation applies a record about operations; false when it is about something else.
func (b *Book) replayOperation(r *Record) bool {
	switch {
	case r.OperationEnded != nil:
		b.ended.Set(r.OperationEnded.OperationView)
	case r.OperationAcked != "":
		b.dropOperation(r.OperationAcked)
	case r.Kept != nil, r.VolumeRemoved != "": // KeptOf has looked at them
	default:
		return false
	}
	return true
}

// operationsJournal appends what the ledger would be made from again.
func (b *Book) operationsJournal(out []Record) []Record {
	if k := (&Kept{b.total.Kept(), b.doomed}); len(k.Resources)+len(k.Doomed) > 0 {
		out = append(out, Record{Kept: k})
	}
	b.ended.Scan(func(v *OperationView) bool {
		out = append(out, Record{OperationEnded: &OperationEnded{OperationView: v}})
		return true
	})
	return out
}

// stepOperation takes an input that is about operations.
func (b *Book) stepOperation(in In, out *Out) {
	switch in := in.(type) {
	case *Apply:
		b.apply(in.Operation, out)
	case *OperationAck:
		b.ackOperation(in, out)
	case *VolumeRemoved:
		b.volumeRemoved(in.UUID, out)
	case *VolumesPlaced:
		b.volumesPlaced(in, out)
	default:
		panic(fmt.Sprintf("workload: an input of type %T", in))
	}
}

// apply carries an operation out. It is done, and its end is owed, once the record is durable.
func (b *Book) apply(op *Operation, out *Out) {
	drop := func(why string) {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Framework: op.Framework, Text: "an operation: " + why})
	}
	if b.leaving {
		drop("the agent is leaving")
		return
	}
	if b.operation(op.UUID) != nil {
		drop("it was applied before")
		return
	}
	if op.Refused != "" {
		b.endOperation(op, mesosv1.OperationState_OPERATION_FAILED, "The agent cannot carry the operation out: "+op.Refused, nil, out)
		return
	}
	total, err := b.total.Apply(op.Change)
	if err != nil {
		b.endOperation(op, mesosv1.OperationState_OPERATION_FAILED, "The agent's resources are not what the operation needs: "+err.Error()+".", nil, out)
		return
	}
	gone := lost(op.Change)
	for i := range gone {
		if who := b.userOf(&gone[i]); who != "" {
			b.endOperation(op, mesosv1.OperationState_OPERATION_FAILED, fmt.Sprintf("The volume %q is used by task %q, which has not ended.", gone[i].PersistenceID(), who), nil, out)
			return
		}
	}
	b.total = total
	b.doomed = slices.Clip(b.doomed)
	for i := range gone {
		d := Doomed{b.uuid(), &gone[i]}
		b.doomed = append(b.doomed, d)
		out.Do = append(out.Do, Work{RemoveVolume: &d})
	}
	b.endOperation(op, mesosv1.OperationState_OPERATION_FINISHED, "", &Kept{total.Kept(), b.doomed}, out)
}

// lost are the volumes that are not there any more after a change.
func lost(c resource.Change) resource.List {
	return c.Consumed.PersistentVolumes().Filter(func(r *resource.Resource) bool {
		return c.Converted.FindVolume(r.VolumeKey()) == nil
	})
}

// userOf names a task that uses a volume here, or an executor's; empty when nothing does.
func (b *Book) userOf(volume *resource.Resource) (name string) {
	role, id := volume.VolumeKey()
	b.tasks.Scan(func(v *TaskView) bool {
		if !v.Ended && v.Task.Resources.FindVolume(role, id) != nil {
			name = v.Task.ID
		}
		return name == ""
	})
	b.shown.Scan(func(v *ExecutorView) bool {
		if name == "" && v.Spec.Resources.FindVolume(role, id) != nil {
			name = v.Spec.ID
		}
		return name == ""
	})
	return name
}

// endOperation books the end of an operation as owed, and tells it.
func (b *Book) endOperation(op *Operation, state mesosv1.OperationState, words string, kept *Kept, out *Out) {
	v := &OperationView{Operation: op, State: state, Message: words, UUID: b.uuid()}
	b.ended.Set(v)
	out.Save = append(out.Save, Record{OperationEnded: &OperationEnded{v, kept}})
	out.Tell = append(out.Tell, Fact{Kind: FactOperationEnded, Framework: op.Framework, Operation: v, Text: strings.TrimSpace(state.String() + " " + words)})
	b.sendOperation(v, out)
}

func (b *Book) operation(uuid string) *OperationView {
	v, _ := b.ended.Get(&OperationView{Operation: &Operation{UUID: uuid}})
	return v
}

// sendOperation tells an operation's end, if there is a master to hear it, and sets its first retry.
func (b *Book) sendOperation(v *OperationView, out *Out) {
	if !b.registered {
		return
	}
	out.Send = append(out.Send, Msg{Link: b.linkID, Operation: v})
	b.waits[v.Operation.UUID] = &opWait{b.cfg.RetryMin, b.now.Mono + b.cfg.RetryMin}
	b.nextTry()
}

// nextTry finds when the next end is told again.
func (b *Book) nextTry() {
	b.due = machine.Never
	for _, w := range b.waits { // order: a minimum
		if b.due == machine.Never || w.at < b.due {
			b.due = w.at
		}
	}
}

// operationsDue tells again what was not acknowledged in time, and waits twice as long for the next try.
func (b *Book) operationsDue(out *Out) {
	if !b.registered || b.due == machine.Never || b.due > b.now.Mono {
		return
	}
	b.ended.Scan(func(v *OperationView) bool {
		if w := b.waits[v.Operation.UUID]; w != nil && w.at <= b.now.Mono {
			w.wait = min(w.wait*2, b.cfg.RetryMax)
			w.at = b.now.Mono + w.wait
			out.Send = append(out.Send, Msg{Link: b.linkID, Operation: v})
		}
		return true
	})
	b.nextTry()
}

// ackOperation ends an operation: it is forgotten.
func (b *Book) ackOperation(in *OperationAck, out *Out) {
	v := b.operation(in.Operation)
	if v == nil || v.UUID != in.UUID {
		out.Tell = append(out.Tell, Fact{Kind: FactMessageDropped, Text: "an acknowledgement of no outstanding operation"})
		return
	}
	b.forgetOperation(v, out)
}

func (b *Book) forgetOperation(v *OperationView, out *Out) {
	b.dropOperation(v.Operation.UUID)
	out.Save = append(out.Save, Record{OperationAcked: v.Operation.UUID})
	out.Tell = append(out.Tell, Fact{Kind: FactOperationAcked, Framework: v.Operation.Framework, Operation: v})
}

func (b *Book) dropOperation(uuid string) {
	b.ended.Delete(&OperationView{Operation: &Operation{UUID: uuid}})
	delete(b.waits, uuid)
	b.nextTry()
}

// resendOperations tells the ends again that a framework has not acknowledged; of all frameworks, and operators, when it is "".
func (b *Book) resendOperations(framework string, out *Out) {
	b.ended.Scan(func(v *OperationView) bool {
		if framework == "" || v.Operation.Framework == framework {
			b.sendOperation(v, out)
		}
		return true
	})
}

// oweOperations answers for operations that the master sent and that never came.
func (b *Book) oweOperations(ops []*Operation, out *Out) {
	for _, op := range ops {
		if b.operation(op.UUID) == nil && !b.leaving {
			b.endOperation(op, mesosv1.OperationState_OPERATION_DROPPED, "The operation never reached its agent.", nil, out)
		}
	}
}

// forgetOperationsOf forgets the operations of a framework that is gone.
func (b *Book) forgetOperationsOf(framework string, out *Out) {
	for _, v := range b.ended.Items() {
		if v.Operation.Framework == framework {
			b.forgetOperation(v, out)
		}
	}
}

// removeDoomed goes on with what an earlier run may have left of volumes that were destroyed.
func (b *Book) removeDoomed(out *Out) {
	for i := range b.doomed {
		d := b.doomed[i]
		out.Do = append(out.Do, Work{RemoveVolume: &d})
	}
}

// volumeRemoved notes that the data of a doomed volume is gone. Its last trace goes once that is written down.
func (b *Book) volumeRemoved(uuid string, out *Out) {
	for _, d := range b.doomed {
		if d.UUID == uuid {
			b.doomed = without(b.doomed, uuid)
			out.Save = append(out.Save, Record{VolumeRemoved: uuid})
			out.Do = append(out.Do, Work{ClearVolume: &d})
			return
		}
	}
}

// placing says whether a task for an executor that runs has to wait until its volumes are in the executor's sandbox, and asks
// for that once.
func (b *Book) placing(v *TaskView, out *Out) bool {
	s := b.states[v.ref()]
	if s.placed || len(v.Task.Resources.PersistentVolumes()) == 0 {
		return false
	}
	if !s.placing {
		s.placing = true
		out.Do = append(out.Do, Work{PlaceVolumes: &LaunchWork{Task: v.Task, Executor: v.Task.Executor, Container: v.Container, Framework: b.frameworks[v.Task.Framework]}})
	}
	return true
}

// volumesPlaced gives a task to its executor now that it finds its volumes, or ends it.
func (b *Book) volumesPlaced(in *VolumesPlaced, out *Out) {
	v, s := b.find(in.Ref)
	if v == nil || v.Container != in.Container || v.Ended || !v.Queued {
		return
	}
	x := b.executorOf(v.Task)
	switch {
	case x == nil:
	case in.Words != "":
		b.end(v, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, in.Words, out)
		b.resize(x, out)
		if !x.sent && b.idle(x) {
			b.shutdown(x, EndIdle, out)
		}
	default:
		if s.placing, s.placed = false, true; x.stream != 0 {
			b.deliver(slices.DeleteFunc(b.sameGroup(x, v.Task), func(o *TaskView) bool { return o.Ended }), x, out)
		}
	}
}
