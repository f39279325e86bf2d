package cluster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/internal/core/allocator"
)

// subscribe opens a stream for a new framework, one that comes back after a failover, or one that takes over.
func (b *Book) subscribe(in *Subscribe, out *Out) {
	refuse := func(reason Reason, words string) {
		out.Send = append(out.Send, Msg{Stream: in.Stream, Body: Error{words}})
		out.Tell = append(out.Tell, Fact{Kind: FactFrameworkRefused, Framework: in.Spec.ID, Reason: reason, Text: words})
	}
	spec := in.Spec
	if b.wasRemoved(spec.ID) {
		refuse(FrameworkGone, "Framework has been removed; subscribe without an id to register anew")
		return
	}
	if len(b.cfg.Roles) > 0 {
		for _, r := range spec.Roles {
			if !slices.Contains(b.cfg.Roles, r) {
				refuse(RolesInvalid, fmt.Sprintf("role %q is not among those this cluster allows (--roles)", r))
				return
			}
		}
	}
	old := b.frameworks.Get(spec.ID)
	if old == nil {
		if words := b.crowded(spec); words != "" {
			refuse(FrameworksTooMany, words)
			return
		}
	}
	if spec.ID == "" {
		s := *spec
		s.ID = fmt.Sprintf("%s-%04d", b.cfg.MasterID, b.nextFramework)
		b.nextFramework++
		s.Info = appendID(s.Info, 3, s.ID)
		spec = &s
	} else if old != nil {
		if old.Spec.Principal != spec.Principal && !old.Recovered {
			refuse(SpecInvalid, "framework_info.principal cannot change; the framework subscribed with another one before")
			return
		}
		if !old.Recovered {
			spec = keepFixed(old.Spec, spec)
		}
	}
	f := &Framework{
		Spec: spec, Suppressed: in.Suppressed, Constraints: in.Constraints, ConstraintsInfo: in.ConstraintsInfo,
		Stream: in.Stream, Connected: true, Registered: b.now.Wall,
	}
	kind := FactFrameworkSubscribed
	if old != nil {
		f.Registered, f.Reregistered = old.Registered, b.now.Wall
		b.clearFailover(spec.ID)
		if old.Connected {
			kind = FactFrameworkFailedOver
			delete(b.streams, old.Stream)
			out.Send = append(out.Send, Msg{Stream: old.Stream, Body: Error{"Framework failed over"}})
			b.dropOffers(spec.ID)
		}
	}
	if b.extras[spec.ID] == nil {
		b.extras[spec.ID] = &frameworkState{offers: map[string]*Offer{}}
	}
	b.streams[in.Stream] = spec.ID
	b.frameworks.Set(f)
	out.Save = append(out.Save, Record{Framework: &FrameworkRecord{Spec: spec, Registered: f.Registered}})
	out.Send = append(out.Send, Msg{Stream: in.Stream, Body: Subscribed{spec.ID}})
	b.alloc.AddFramework(seat(f), true)
	for _, conn := range b.connsOf(spec.ID) {
		if old != nil && !slices.Equal(old.Spec.Info, spec.Info) {
			out.Send = append(out.Send, Msg{Conn: conn, Body: FrameworkChanged{spec}})
		}
		out.Send = append(out.Send, Msg{Conn: conn, Body: Resend{spec.ID}})
	}
	out.Tell = append(out.Tell, Fact{Kind: kind, Framework: spec.ID, Text: spec.Name, FrameworkIs: f})
	b.soon(0)
}

// keepFixed carries over what a subscription may not change: the user and whether it checkpoints.
func keepFixed(old, spec *FrameworkSpec) *FrameworkSpec {
	if old.User == spec.User && old.Checkpoint == spec.Checkpoint {
		return spec
	}
	s := *spec
	s.User, s.Checkpoint = old.User, old.Checkpoint
	s.Info = slices.Clip(slices.Clone(s.Info))
	s.Info = protowire.AppendTag(s.Info, 1, protowire.BytesType)
	s.Info = protowire.AppendString(s.Info, s.User)
	s.Info = protowire.AppendTag(s.Info, 5, protowire.VarintType)
	s.Info = protowire.AppendVarint(s.Info, protowire.EncodeBool(s.Checkpoint))
	return &s
}

func seat(f *Framework) allocator.Framework {
	return allocator.Framework{
		ID: f.Spec.ID, Roles: f.Spec.Roles, Suppressed: f.Suppressed, Filters: f.Spec.Filters, Constraints: f.Constraints,
		Revocable: f.Spec.Caps.Revocable, Shared: f.Spec.Caps.Shared, Refined: f.Spec.Caps.Refinement,
		GPU: f.Spec.Caps.GPU, RegionAware: f.Spec.Caps.RegionAware,
	}
}

// recoverFramework makes the placeholder of a framework that has not come back since the election.
func (b *Book) recoverFramework(spec *FrameworkSpec, registered int64) *Framework {
	n := &Framework{Spec: spec, Recovered: true, Registered: registered}
	b.frameworks.Set(n)
	b.extras[spec.ID] = &frameworkState{offers: map[string]*Offer{}}
	f := seat(&Framework{Spec: spec})
	b.alloc.AddFramework(f, false)
	b.setFailover(spec.ID, b.now.Mono+max(spec.FailoverTimeout, b.cfg.ReregisterTimeout))
	return n
}

// wasRemoved says whether a framework with this id ended and may not come back.
func (b *Book) wasRemoved(id string) bool {
	found := false
	if id == "" {
		return false
	}
	b.completed.Scan(func(f *Framework) bool {
		found = f.Spec.ID == id
		return !found
	})
	return found
}

// mine finds the framework of a call, when the call's stream is its present one.
func (b *Book) mine(stream StreamID, id string, out *Out) *Framework {
	f := b.frameworks.Get(id)
	switch {
	case f == nil:
		b.dropCall(id, FrameworkUnknown, out)
		return nil
	case f.Stream != stream || !f.Connected:
		b.dropCall(id, StreamReplaced, out)
		return nil
	}
	return f
}

func (b *Book) dropCall(framework string, r Reason, out *Out) {
	out.Tell = append(out.Tell, Fact{Kind: FactCallDropped, Framework: framework, Reason: r})
}

// streamClosed notes that a scheduler is away, and for how long it may be.
func (b *Book) streamClosed(in *StreamClosed, out *Out) {
	id, ok := b.streams[in.Stream]
	if !ok {
		return
	}
	delete(b.streams, in.Stream)
	f := b.frameworks.Get(id)
	n := *f
	n.Connected, n.Unregistered = false, b.now.Wall
	b.frameworks.Set(&n)
	b.dropOffers(id)
	b.alloc.SetFrameworkActive(id, false)
	out.Tell = append(out.Tell, Fact{Kind: FactFrameworkDisconnected, Framework: id, FrameworkIs: &n})
	if f.Spec.FailoverTimeout <= 0 {
		b.removeFramework(&n, "it disconnected and has no failover timeout", out)
		return
	}
	b.setFailover(id, b.now.Mono+f.Spec.FailoverTimeout)
}

// dropOffers takes every offer of a framework back without a word.
func (b *Book) dropOffers(id string) {
	x := b.extras[id]
	for _, o := range slices.Sorted(maps.Keys(x.offers)) { // order: sorted
		b.forgetOffer(x.offers[o])
		b.alloc.Release(x.offers[o].Agent, id, x.offers[o].Role, x.offers[o].Resources, 0)
		delete(x.offers, o)
	}
	b.soon(b.cfg.Gather)
}

// removeFramework ends a framework: its tasks are killed, nobody is told of them any more, and its id is used up.
func (b *Book) removeFramework(f *Framework, why string, out *Out) {
	id := f.Spec.ID
	if f.Connected {
		delete(b.streams, f.Stream)
		out.Send = append(out.Send, Msg{Stream: f.Stream, Body: Close{}})
	}
	b.clearFailover(id)
	b.dropOffers(id)
	for _, conn := range b.connsOf(id) {
		out.Send = append(out.Send, Msg{Conn: conn, Body: ShutdownFramework{id}})
	}
	for _, agent := range slices.Sorted(maps.Keys(b.states)) { // order: sorted
		s := b.states[agent]
		for _, key := range sortedTasks(s.twins) {
			if key.Framework == id {
				b.dropTwin(s, key)
				if s.conn != 0 {
					out.Send = append(out.Send, Msg{Conn: s.conn, Body: ShutdownFramework{id}})
				}
			}
		}
	}
	var all []*Task
	tasksOf(b.tasks.Ordered(), id, func(t *Task) bool { all = append(all, t); return true })
	for _, t := range all {
		b.release(t)
		if !Terminal(t.State) {
			n := *t
			n.State, n.Released = taskKilled, true
			n.Statuses = pushStatus(n.Statuses, b.status(t.Spec.ID, t.Agent, taskKilled, reasonFrameworkRemoved, "The framework was removed: "+why+"."))
			out.Tell = append(out.Tell, Fact{
				Kind: FactTaskState, Agent: t.Agent, Framework: id, Task: t.Spec.ID, State: taskKilled, Was: t.State, FrameworkIs: f, TaskIs: &n,
			})
			t = &n
		}
		b.complete(t)
	}
	b.removeExecutorsOf(id)
	for _, o := range b.operationsOf(id) {
		b.removeOperation(o)
	}
	b.alloc.RemoveFramework(id)
	b.frameworks.Remove(f)
	n := *f
	n.Connected, n.Unregistered = false, b.now.Wall
	b.completed.Set(&n)
	out.Save = append(out.Save, Record{Framework: &FrameworkRecord{Spec: f.Spec, Registered: f.Registered, Removed: b.now.Wall}})
	for b.completed.Len() > b.cfg.MaxCompletedFrameworks {
		old, _ := b.completed.PopMin()
		b.forgetDone(old.Spec.ID, 0)
		delete(b.extras, old.Spec.ID)
		out.Save = append(out.Save, Record{Forget: old.Spec.ID})
	}
	out.Tell = append(out.Tell, Fact{Kind: FactFrameworkRemoved, Framework: id, Text: why, FrameworkIs: &n})
	b.soon(b.cfg.Gather)
}

// connsOf lists the connections of the agents that have tasks, executors or operations of a framework.
func (b *Book) connsOf(id string) []ConnID {
	var conns []ConnID
	tasksOf(b.tasks.Ordered(), id, func(t *Task) bool {
		if s := b.states[t.Agent]; s != nil && s.conn != 0 {
			conns = append(conns, s.conn)
		}
		return true
	})
	for _, x := range b.executorsOf(id) {
		if s := b.states[x.Agent]; s != nil && s.conn != 0 {
			conns = append(conns, s.conn)
		}
	}
	for _, o := range b.operationsOf(id) {
		if s := b.states[o.Agent]; s != nil && s.conn != 0 {
			conns = append(conns, s.conn)
		}
	}
	slices.Sort(conns)
	return slices.Compact(conns)
}

// teardown ends a framework because its scheduler or an operator says so.
func (b *Book) teardown(in *Teardown, out *Out) {
	f := b.frameworks.Get(in.Framework)
	answer := Answer{Kind: Done}
	switch {
	case f == nil && b.wasRemoved(in.Framework):
		answer = Answer{Missing, "the framework has ended already"}
	case f == nil:
		answer = Answer{Missing, fmt.Sprintf("no framework has the id %q; see /frameworks for those that are there", in.Framework)}
	case in.Stream != 0 && f.Stream != in.Stream:
		b.dropCall(in.Framework, StreamReplaced, out)
		answer = Answer{Missing, "the stream was replaced by a newer subscription"}
	default:
		b.removeFramework(f, "it was torn down", out)
	}
	if in.Call != 0 {
		out.Send = append(out.Send, Msg{Call: in.Call, Body: answer})
	}
}

// updateFramework changes what may change of a framework without a new subscription.
func (b *Book) updateFramework(in *UpdateFramework, out *Out) {
	answer := func(k AnswerKind, words string) {
		out.Send = append(out.Send, Msg{Call: in.Call, Body: Answer{k, words}})
	}
	f := b.frameworks.Get(in.Spec.ID)
	if f == nil || !f.Connected || f.Stream != in.Stream {
		answer(Conflict, "the framework was removed or subscribed anew while this call was under way")
		return
	}
	old := f.Spec
	for _, fixed := range []struct {
		same bool
		name string
	}{
		{old.User == in.Spec.User, "user"},
		{old.Checkpoint == in.Spec.Checkpoint, "checkpoint"},
		{old.Principal == in.Spec.Principal, "principal"},
	} {
		if !fixed.same {
			answer(Invalid, "framework_info."+fixed.name+" cannot change while the framework lives; tear it down and subscribe anew")
			return
		}
	}
	n := *f
	n.Spec, n.Suppressed, n.Constraints, n.ConstraintsInfo = in.Spec, in.Suppressed, in.Constraints, in.ConstraintsInfo
	b.frameworks.Set(&n)
	x := b.extras[in.Spec.ID]
	for _, id := range slices.Sorted(maps.Keys(x.offers)) { // order: sorted
		if o := x.offers[id]; !slices.Contains(in.Spec.Roles, o.Role) {
			b.rescind(o, out)
		}
	}
	b.alloc.UpdateFramework(seat(&n))
	if !slices.Equal(old.Info, in.Spec.Info) {
		out.Save = append(out.Save, Record{Framework: &FrameworkRecord{Spec: in.Spec, Registered: n.Registered}})
		for _, conn := range b.connsOf(in.Spec.ID) {
			out.Send = append(out.Send, Msg{Conn: conn, Body: FrameworkChanged{in.Spec}})
		}
		out.Tell = append(out.Tell, Fact{Kind: FactFrameworkUpdated, Framework: in.Spec.ID, Text: in.Spec.Name, FrameworkIs: &n})
	}
	answer(Done, "")
	b.soon(0)
}

func (b *Book) revive(in *Revive, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil || !b.ownRoles(f, in.Roles, out) {
		return
	}
	n := *f
	n.Suppressed = without(f.Suppressed, in.Roles)
	b.frameworks.Set(&n)
	b.alloc.Revive(in.Framework, in.Roles)
	b.soon(0)
}

func (b *Book) suppress(in *Suppress, out *Out) {
	f := b.mine(in.Stream, in.Framework, out)
	if f == nil || !b.ownRoles(f, in.Roles, out) {
		return
	}
	n := *f
	n.Suppressed = f.Spec.Roles
	if len(in.Roles) > 0 {
		n.Suppressed = slices.Compact(slices.Sorted(slices.Values(slices.Concat(f.Suppressed, in.Roles))))
	}
	b.frameworks.Set(&n)
	b.alloc.Suppress(in.Framework, in.Roles)
}

// ownRoles says whether a framework has all the roles that a call names; the call is dropped whole when it has not.
func (b *Book) ownRoles(f *Framework, roles []string, out *Out) bool {
	for _, r := range roles {
		if !slices.Contains(f.Spec.Roles, r) {
			b.dropCall(f.Spec.ID, RolesInvalid, out)
			return false
		}
	}
	return true
}

// without takes roles from a list; none named takes all.
func without(list, roles []string) []string {
	var left []string
	for _, r := range list {
		if len(roles) > 0 && !slices.Contains(roles, r) {
			left = append(left, r)
		}
	}
	return left
}

// refuseFor is how long a refusal holds: until the next sweep at least.
func (b *Book) refuseUntil(refuse time.Duration) time.Duration {
	if refuse < 0 {
		refuse = defaultRefuse
	}
	return max(b.now.Mono+min(refuse, maxRefuse), b.tick)
}
