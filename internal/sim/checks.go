package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/keep"
	"github.com/pando-os/pando/internal/sim/promise"
	"github.com/pando-os/pando/internal/sim/reach"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/internal/sim/together"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

const (
	auditEvery = 5 * time.Second
	// patience is for how long something may look wrong while everybody concerned is connected: longer than a launch that
	// fetches slowly and a kill's grace.
	patience = 40 * time.Second
	// settleBy is how long after the last fault everything must be well. An update may wait for its next try for ten
	// minutes, and an agent or framework may be waited for as long after an election.
	settleBy = 50 * time.Minute
)

// checks watch everything that happens.
type checks struct {
	w         *World
	specs     map[string]*cluster.FrameworkSpec // by Info
	instances map[string]*instance              // by key
	owners    map[string]*framework             // by framework id
	uuids     map[string]told
	saved     map[string]bool // uuids that are or were in a journal
	admitted  map[string]bool // containers likewise
	epochs    map[*agent]uint64
	here      map[*agent]map[workload.Ref]*instance
	elections map[uint64]*term
	promises  map[*term]*promise.Ledger
	keep      *keep.Ledger
	together  *together.Ledger
	kills     map[*instance]*term
	away      map[string]time.Duration // frameworks, since the present leader noticed
	removed   map[string]bool          // frameworks
	gone      map[string]uint64        // agents that were marked gone, and the epoch of the leader that did
	liars     map[string]bool          // agents of liars, by id
	suspects  map[suspect]time.Duration
	calmed    time.Duration
	looked    time.Duration
	steps     int
}

// told is what an agent made an update of.
type told struct {
	inst  *instance
	state mesosv1.TaskState
}

// suspect is something that must not stay as it is.
type suspect struct{ checker, words string }

func newChecks(w *World) *checks {
	return &checks{
		w: w, specs: map[string]*cluster.FrameworkSpec{}, instances: map[string]*instance{}, owners: map[string]*framework{},
		uuids: map[string]told{}, saved: map[string]bool{}, admitted: map[string]bool{}, epochs: map[*agent]uint64{},
		here: map[*agent]map[workload.Ref]*instance{}, elections: map[uint64]*term{}, promises: map[*term]*promise.Ledger{}, kills: map[*instance]*term{},
		away: map[string]time.Duration{}, removed: map[string]bool{}, suspects: map[suspect]time.Duration{},
		gone: map[string]uint64{}, liars: map[string]bool{}, keep: keep.New(w.Fail), together: together.New(w.Fail),
	}
}

// instance finds the launch that a TaskSpec belongs to; nil for a task of which an agent knows only the name.
func (c *checks) instance(info []byte) *instance { return c.instances[string(info)] }

// committed looks at a leader's transaction that happens.
func (c *checks) committed(epoch uint64, records []cluster.Record) {
	if l := c.w.leader; l != nil && epoch < l.epoch {
		c.w.Fail(rule.OneLeader, "the store takes %d records of epoch %d, and %s leads with epoch %d", len(records), epoch, l.name, l.epoch)
	}
	for i := range records {
		r := &records[i]
		c.recorded(epoch, r)
		if r.Framework != nil && r.Framework.Removed != 0 {
			c.removed[r.Framework.Spec.ID] = true
		}
	}
}

func (c *checks) elected(m *term) {
	if o := c.elections[m.epoch]; o != nil {
		c.w.Fail(rule.OneLeader, "%s and %s lead with epoch %d", o.name, m.name, m.epoch)
	}
	c.elections[m.epoch] = m
	c.away = map[string]time.Duration{}
	m.book.View().Frameworks(func(f *cluster.Framework) bool {
		c.away[f.Spec.ID] = c.w.Now()
		return true
	})
}

// masterStepped looks at a leader's book after a turn, and at what it asks for.
func (c *checks) masterStepped(m *term, out *cluster.Out) {
	if c.steps++; len(c.w.agents) <= 12 || c.steps%len(c.w.agents) == 0 { // it looks at everything
		if err := m.book.Audit(); err != nil {
			c.w.Fail(rule.OneOwner, "%s: %v", m.name, err)
		}
	}
	for i := range out.Tell {
		f := &out.Tell[i]
		switch f.Kind {
		case cluster.FactTaskKill:
			if t := m.book.View().Task(f.Framework, f.Task); t != nil {
				if i := c.instance(t.Spec.Info); i != nil {
					c.kills[i] = m
				}
			}
		case cluster.FactFrameworkSubscribed, cluster.FactFrameworkFailedOver:
			if m == c.w.leader {
				delete(c.away, f.Framework)
			}
		case cluster.FactFrameworkDisconnected:
			if m == c.w.leader {
				c.away[f.Framework] = c.w.Now()
			}
		case cluster.FactFrameworkRemoved:
			c.frameworkRemoved(m, f)
		}
	}
}

// tornDown is what the book says of frameworks that ended themselves.
const tornDown = "it was torn down"

func (c *checks) frameworkRemoved(m *term, f *cluster.Fact) {
	if m != c.w.leader {
		return // its save will be refused
	}
	if _, now := c.w.store.Leader(); now != m.epoch {
		return // likewise
	}
	since, ok := c.away[f.Framework]
	owner := c.owners[f.Framework]
	// One that was removed before the last fifty is forgotten; when an agent still reports it, it ends a second time.
	if owner != nil && !c.removed[f.Framework] && f.Text != tornDown && (!ok || c.w.Now()-since < owner.spec.FailoverTimeout) {
		c.w.Fail(rule.Failover, "%s was removed (%s) after %s; its failover timeout is %s", f.Framework, f.Text, c.w.Now()-since, owner.spec.FailoverTimeout)
	}
	delete(c.away, f.Framework)
}

// agentStepped notes which updates an agent made of which tasks.
func (c *checks) agentStepped(a *agent, out *workload.Out) {
	if c.here[a] == nil {
		c.here[a] = map[workload.Ref]*instance{}
	}
	for i := range out.Save {
		r := &out.Save[i]
		switch {
		case r.Accepted != nil:
			c.here[a][workload.Ref{Framework: r.Accepted.Task.Framework, Task: r.Accepted.Task.ID}] = c.instance(r.Accepted.Task.Info)
		case r.Status != nil:
			c.uuids[r.Status.Status.UUID] = told{c.here[a][r.Status.Ref], r.Status.Status.State}
		case r.Kill != nil && r.Kill.Cause == workload.KillFrameworkGone && c.here[a][r.Kill.Ref] != nil:
			c.here[a][r.Kill.Ref].silenced = true
		case r.Acked != nil:
			c.acknowledged(a, r.Acked.Ref, r.Acked.UUID)
		case r.Gone != nil:
			if i := c.here[a][*r.Gone]; i != nil && len(i.updates) > 0 && !a.leaving && !i.silenced {
				c.acknowledged(a, *r.Gone, i.updates[len(i.updates)-1])
			}
		}
	}
}

// acknowledged looks at an update that an agent is about to forget: its framework has had it, if it is there at all.
func (c *checks) acknowledged(a *agent, ref workload.Ref, uuid string) {
	i := c.uuids[uuid].inst
	if i != nil && !c.removed[ref.Framework] && i.heardOf < 1+slices.Index(i.updates, uuid) {
		c.w.Fail(rule.InOrder, "%s forgets %s of %s, which %s has never had", a.p.Name, c.uuids[uuid].state, i.key, i.fw.name)
	}
}

// durable notes what an agent's disk has.
func (c *checks) durable(a *agent, records []workload.Record) {
	c.keep.Durable(a.name, records)
	for i := range records {
		r := &records[i]
		switch {
		case r.Status != nil:
			uuid := r.Status.Status.UUID
			if i := c.uuids[uuid].inst; i != nil && !c.saved[uuid] {
				i.updates = append(i.updates, uuid)
				c.together.Ended(i.key, r.Status.Status.State)
			}
			c.saved[uuid] = true
		case r.ExecutorAccepted != nil:
			c.admitted[r.ExecutorAccepted.Container] = true
		case r.Accepted != nil:
			c.admitted[r.Accepted.Container] = true
			// A crash may have come between this record and those after it: the book forgets them, and so do we.
			i := c.instance(r.Accepted.Task.Info)
			c.here[a][workload.Ref{Framework: r.Accepted.Task.Framework, Task: r.Accepted.Task.ID}] = i
			switch {
			case i == nil:
			case r.Accepted.Container == "":
				c.together.Refused(i.key)
			default:
				c.together.Admitted(i.key)
			}
		case r.Identity != nil:
			c.epochs[a] = max(c.epochs[a], r.Identity.Epoch)
		}
	}
}

func (c *checks) updateSent(a *agent, u *workload.Update) {
	if !c.saved[u.Status.UUID] {
		c.w.Fail(rule.Checkpointed, "%s sent %s of %s, which is not in its journal", a.p.Name, u.Status.State, u.Status.TaskID)
	}
	if words := reach.Told(u.Status, a.ip); words != "" {
		c.w.Fail(rule.Reached, "%s %s", a.p.Name, words)
	}
}

// ordered looks at an order that an agent passes on to its book.
func (c *checks) ordered(a *agent, in workload.In) {
	if a.epoch < c.epochs[a] {
		c.w.Fail(rule.OneLeader, "%s obeys %T of epoch %d, and has obeyed epoch %d", a.p.Name, in, a.epoch, c.epochs[a])
	}
	if _, ok := in.(*workload.Registered); ok { // it has given itself to this leader
		c.epochs[a] = max(c.epochs[a], a.epoch)
	}
}

// spawned looks at a process that has just started.
func (c *checks) spawned(a *agent, x *container) {
	i := x.inst
	switch i.spawned++; {
	case i.spawned > 1:
		c.w.Fail(rule.Accepted, "%s was started twice", i.key)
	case !c.admitted[x.id]:
		c.w.Fail(rule.Checkpointed, "%s started %s, which is not in its journal", a.p.Name, i.key)
	case a.book.Identity().Agent != i.agent:
		c.w.Fail(rule.Accepted, "%s runs on %s, and the offer was of %s", i.key, a.book.Identity().Agent, i.agent)
	case i.terminal != "":
		c.w.Fail(rule.OneEnd, "%s was started after its framework was told of its end", i.key)
	}
	c.together.Started(i.key)
	c.room(a)
	c.mounted(a, x)
	for _, y := range a.running() {
		if y != x && y.inst != nil && y.inst.owner == i.owner && y.inst.id == i.id {
			c.w.Fail(rule.OneEnd, "%s was started while %s ran", i.key, y.inst.key)
		}
	}
	i.live = x
}

// executorSpawned looks at an executor that has just started.
func (c *checks) executorSpawned(a *agent, x *container) {
	if !c.admitted[x.id] {
		c.w.Fail(rule.Checkpointed, "%s started %s, which is not in its journal", a.p.Name, x.name())
	}
	c.room(a)
	for _, y := range a.running() {
		if y != x && y.executor != nil && y.executor.ref == x.executor.ref {
			c.w.Fail(rule.OneEnd, "%s was started while one of that name ran", x.name())
		}
	}
}

// mounted looks at the volumes of what starts.
func (c *checks) mounted(a *agent, x *container) {
	var beside []resource.List
	for _, y := range a.running() {
		if owner, what := y.holds(); y != x && !c.removed[owner] { // as in room
			beside = append(beside, what)
		}
	}
	_, what := x.holds()
	c.keep.Started(a.name, x.name(), what, a.disk, beside)
}

// room sees that what runs on a machine fits there.
func (c *checks) room(a *agent) {
	var all []resource.List
	var names []string
	for _, y := range a.running() {
		owner, needs := y.holds()
		if !c.removed[owner] { // a removed framework's resources are free before its tasks have ended, as in the original
			all = append(all, needs)
			names = append(names, y.name())
		}
	}
	sum := keep.Flat(all)
	if len(names) < 2 {
		a.had = nil
	}
	// What was taken on when it had more may start now, in an executor that outlived the agent.
	if !a.Total.Contains(sum) && !slices.ContainsFunc(a.had, func(l resource.List) bool { return l.Contains(sum) }) {
		c.w.Fail(rule.OneOwner, "the containers of %s use %s, and it has %s: %v", a.name, sum, a.Total, names)
	}
}

// delivered looks at a status that reaches its framework, and says which task it is about.
func (c *checks) delivered(f *framework, s *mesos.Status) *instance {
	if s.UUID == "" {
		i := f.named[s.TaskID]
		if i != nil && i.owner != f.id {
			return nil
		}
		if i != nil && s.State == mesosv1.TaskState_TASK_ERROR {
			c.together.Refused(i.key)
		}
		if i != nil && i.terminal != "" && !cluster.Terminal(s.State) && s.State != mesosv1.TaskState_TASK_UNKNOWN &&
			s.State != mesosv1.TaskState_TASK_UNREACHABLE { // which is said of any task of an unreachable agent
			c.w.Fail(rule.OneEnd, "%s has ended, and the master says %s (%s)", i.key, s.State, s.Message)
		}
		return i
	}
	t, ok := c.uuids[s.UUID]
	if !ok && c.liars[s.AgentID] {
		return nil
	}
	if !ok {
		c.w.Fail(rule.Checkpointed, "%s of %s has a uuid that no agent gave", s.State, s.TaskID)
		return nil
	}
	i := t.inst
	if i == nil { // a task that never arrived
		if i = f.named[s.TaskID]; i == nil || i.owner != f.id {
			return nil
		}
		if i.spawned > 0 {
			return nil
		}
		c.uuids[s.UUID] = told{i, s.State} // it may come again when the name is another's
	}
	switch place := slices.Index(i.updates, s.UUID); {
	case place > i.heardOf && i.silenced:
		i.heardOf = place + 1
	case place > i.heardOf:
		c.w.Fail(rule.InOrder, "%s of %s comes, its update number %d, and number %d has not", s.State, i.key, place+1, i.heardOf+1)
	case place == i.heardOf:
		i.heardOf++
	}
	switch {
	case i.terminal != "" && i.terminal != s.UUID:
		c.w.Fail(rule.OneEnd, "%s has ended, and its agent says %s with another uuid", i.key, s.State)
	case cluster.Terminal(s.State) && i.live != nil && i.live.running():
		c.w.Fail(rule.OneEnd, "%s is told to be %s, and runs", i.key, s.State)
	}
	return i
}

// audit looks at all books from time to time for what must not stay as it is.
func (c *checks) audit() {
	w := c.w
	w.After(auditEvery, c.audit)
	now := map[suspect]time.Duration{}
	see := func(checker, format string, args ...any) {
		s := suspect{checker, fmt.Sprintf(format, args...)}
		since, ok := c.suspects[s]
		if !ok {
			since = w.Now()
		}
		now[s] = since
	}
	for _, a := range w.agents {
		c.auditAgent(a, see)
	}
	for _, id := range slices.Sorted(maps.Keys(c.away)) {
		c.auditAway(id, see)
	}
	c.suspects = now
	var late []suspect
	for s, since := range now { // order: sorted below
		if w.Now()-since > patience {
			late = append(late, s)
		}
	}
	slices.SortFunc(late, func(x, y suspect) int {
		return cmp.Or(cmp.Compare(x.checker, y.checker), cmp.Compare(x.words, y.words))
	})
	if len(late) > 0 {
		w.Fail(late[0].checker, "for %s now: %s", w.Now()-now[late[0]], late[0].words)
	}
}

func (c *checks) auditAgent(a *agent, see func(checker, format string, args ...any)) {
	if a.p.Dead {
		return
	}
	view := a.book.View()
	if a.dismissed && c.gone[view.Agent] == 0 {
		c.w.Fail(rule.Gone, "%s was told that it is gone, and %s is not", a.p.Name, view.Agent)
	}
	booked := map[string]bool{}
	for _, t := range view.Tasks {
		booked[t.Container] = true
	}
	for _, x := range view.Executors {
		booked[x.Container] = true
	}
	for _, id := range slices.Sorted(maps.Keys(a.containers)) {
		if x := a.containers[id]; x.running() && !booked[id] {
			see(rule.Known, "container %s of %s runs on %s, whose agent does not know it (run %d)", id, x.name(), a.name, a.run)
		} else if x.running() && x.inst != nil && c.together.Doomed(x.inst.key) != "" {
			see(rule.Whole, "%s runs on %s (run %d), and %s of its group did not end well", x.name(), a.name, a.run, c.together.Doomed(x.inst.key))
		} else if x.running() && a.leaving {
			see(rule.KillDone, "%s leaves, and %s runs there (run %d)", a.name, x.name(), a.run)
		}
	}
	m := c.w.leader
	if !m.alive() || a.link == nil || a.link.Stalled(stage.Near) > c.w.Now() || a.link.Stalled(stage.Far) > c.w.Now() || a.epoch != m.epoch || !view.Registered {
		return
	}
	book := m.book.View()
	x := book.Agent(view.Agent)
	if x == nil || !x.Connected {
		return
	}
	if !x.Spec.Total.Equal(view.Total) || mesos.FormatAttributes(x.Spec.Attributes) != mesos.FormatAttributes(a.Protos()) {
		see(rule.There, "%s has %s, and the book says %s", a.name, view.Total, x.Spec.Total)
	}
	for _, t := range view.Tasks {
		i := c.instance(t.Task.Info)
		if book.Framework(t.Task.Framework) != nil && book.Task(t.Task.Framework, t.Task.ID) == nil {
			see(rule.Known, "%s on %s (run %d) is unknown to %s", t.Task.ID, a.name, a.run, m.name)
		}
		if i != nil && c.kills[i] == m && i.live != nil && i.live.running() {
			see(rule.KillDone, "%s was killed, and runs on %s (run %d)", i.key, a.name, a.run)
		}
		if book.Framework(t.Task.Framework) == nil && c.removed[t.Task.Framework] && !t.Ended {
			see(rule.KillDone, "%s runs on %s (run %d), and its framework was removed", t.Task.ID, a.name, a.run)
		}
	}
	c.auditExecutors(a, view, book, see)
	book.Tasks(func(t *cluster.Task) bool {
		if t.Agent == view.Agent && !t.Released && !slices.ContainsFunc(view.Tasks, func(v *workload.TaskView) bool {
			return v.Task.ID == t.Spec.ID && v.Task.Framework == t.Framework
		}) {
			see(rule.Known, "%s of %s is unknown to %s (run %d), where %s has it", t.Spec.ID, t.Framework, a.name, a.run, m.name)
		}
		return true
	})
}

// auditExecutors sees that the books agree about the executors of an agent.
func (c *checks) auditExecutors(a *agent, view *workload.View, book *cluster.View, see func(checker, format string, args ...any)) {
	booked := map[workload.ExecutorRef]bool{}
	book.Frameworks(func(f *cluster.Framework) bool {
		book.ExecutorsOf(f.Spec.ID, func(x *cluster.Executor) bool {
			if x.Agent == view.Agent {
				booked[workload.ExecutorRef{Framework: x.Framework, Executor: x.Spec.ID}] = true
			}
			return true
		})
		return true
	})
	for _, x := range view.Executors {
		ref := workload.ExecutorRef{Framework: x.Spec.Framework, Executor: x.Spec.ID}
		if book.Framework(ref.Framework) != nil && !booked[ref] {
			see(rule.Known, "executor %s of %s on %s (run %d) is unknown to its master", ref.Executor, ref.Framework, a.name, a.run)
		}
		delete(booked, ref)
		if y := a.containers[x.Container]; y != nil && y.running() && y.executor.stream != nil && len(y.executor.owed) > 0 {
			see(rule.InOrder, "executor %s of %s on %s (run %d) tells %x, and nobody acknowledges it", ref.Executor, ref.Framework, a.name, a.run, y.executor.owed[0].UUID)
		}
		if x.State == workload.ExecutorRegistering && x.PID != 0 {
			see(rule.KillDone, "executor %s of %s on %s (run %d) has not subscribed, and nobody ends it", ref.Executor, ref.Framework, a.name, a.run)
		}
	}
	for ref := range booked { // order: sorted by who reads it
		see(rule.Known, "executor %s of %s is unknown to %s (run %d), where its master has it", ref.Executor, ref.Framework, a.name, a.run)
	}
}

// auditAway sees that a framework which does not come back is removed in time.
func (c *checks) auditAway(id string, see func(checker, format string, args ...any)) {
	m, f := c.w.leader, c.owners[id]
	if !m.alive() || f == nil {
		return
	}
	limit := max(f.spec.FailoverTimeout, c.w.Params.Cluster.ReregisterTimeout)
	if c.w.Now()-c.away[id] > limit && m.book.View().Framework(id) != nil {
		see(rule.Failover, "%s is away since %s, longer than %s", id, c.away[id], limit)
	}
}

// settled says whether every wish is met. When that takes too long, it is a failure.
func (c *checks) settled() bool {
	if c.w.Now()-c.looked < time.Second {
		return false
	}
	c.looked = c.w.Now()
	what := c.unmet()
	if what != "" && c.w.Now()-c.calmed > settleBy {
		c.w.Fail(rule.Liveness, "%s after the last fault: %s", c.w.Now()-c.calmed, what)
	}
	return what == ""
}

// unmet names a wish that is not met yet.
func (c *checks) unmet() string {
	w := c.w
	m := w.leader
	if !m.alive() {
		return "no master leads"
	}
	book := m.book.View()
	for _, a := range w.agents {
		if a.p.Dead {
			return a.name + " is down"
		}
		view := a.book.View()
		x := book.Agent(view.Agent)
		switch {
		case !view.Registered || a.epoch != m.epoch:
			return a.name + " is not registered"
		case x == nil || !x.Active():
			return a.name + " is not active in the master's book"
		case a.p.Saving():
			return a.name + " is saving"
		case len(view.Tasks) > 0:
			return fmt.Sprintf("%s still has %s of %s, %s", a.name, view.Tasks[0].Task.ID, view.Tasks[0].Task.Framework, view.Tasks[0].State)
		case len(view.Total.Kept()) > 0:
			return fmt.Sprintf("%s still keeps %s", a.name, view.Total.Kept())
		case len(view.Operations) > 0:
			return fmt.Sprintf("%s still has an operation of %s", a.name, view.Operations[0].Operation.Framework)
		case a.disk.Trash() > 0:
			return fmt.Sprintf("%s still has data of %d volumes that were destroyed", a.name, a.disk.Trash())
		case len(view.Frameworks) > 0:
			return fmt.Sprintf("%s still has framework %s", a.name, view.Frameworks[0].ID)
		}
		for _, id := range slices.Sorted(maps.Keys(a.containers)) {
			return fmt.Sprintf("%s still has container %s of %s, running: %t", a.name, id, a.containers[id].name(), a.containers[id].running())
		}
	}
	for _, f := range w.fws {
		if f.left {
			if book.Framework(f.id) != nil {
				return f.name + " left, and is not removed"
			}
			continue
		}
		if !f.subscribed || f.c == nil || !f.c.Ends[stage.Far].Open {
			return f.name + " is not subscribed"
		}
		if f.offered < c.calmed {
			return f.name + " got no offer"
		}
		if f.want > 0 {
			return f.name + " has not launched its last task"
		}
		for _, o := range f.ops.Open(f.id) {
			if c.exists(o.Agent) {
				return fmt.Sprintf("%s has not heard of the end of operation %s", f.name, o.Operation)
			}
		}
		for _, i := range f.insts {
			if i.owner == f.id && !i.done() && !c.liars[i.agent] && (i.state != mesosv1.TaskState_TASK_UNREACHABLE || c.exists(i.agent)) {
				return fmt.Sprintf("%s has not heard of the end of %s, only of %s", f.name, i.key, i.state)
			}
		}
	}
	if ids := c.liarsIn(m); len(ids) > 0 {
		return ids[0] + ", a liar, is not gone"
	}
	what := ""
	book.Operations(func(o *cluster.AgentOperation) bool {
		if c.exists(o.Agent) {
			what = fmt.Sprintf("%s still has an operation of %s on %s", m.name, o.Framework, o.Agent)
		}
		return what == ""
	})
	if what != "" {
		return what
	}
	book.Frameworks(func(f *cluster.Framework) bool {
		book.ExecutorsOf(f.Spec.ID, func(x *cluster.Executor) bool {
			if c.exists(x.Agent) {
				what = fmt.Sprintf("%s still has executor %s of %s", m.name, x.Spec.ID, x.Framework)
			}
			return what == ""
		})
		return what == ""
	})
	if what != "" {
		return what
	}
	book.Tasks(func(t *cluster.Task) bool {
		if t.Unreachable && !c.exists(t.Agent) { // it stands there as long as its framework
			return true
		}
		what = fmt.Sprintf("%s still has %s of %s, %s", m.name, t.Spec.ID, t.Framework, t.State)
		return false
	})
	return what
}

// exists says whether a machine has the id. One that never heard which id it got comes back with another, and the first
// stays unreachable for ever.
func (c *checks) exists(id string) bool {
	return slices.ContainsFunc(c.w.agents, func(a *agent) bool { return a.book.Identity().Agent == id })
}

// final looks once more when everything has settled.
func (c *checks) final() {
	for _, a := range c.w.agents {
		if len(a.book.Journal()) != 1 {
			c.w.Fail(rule.Liveness, "the journal of %s is not empty: %d records", a.name, len(a.book.Journal()))
		}
		cfg := workload.Defaults()
		cfg.Resources = a.Total
		replayed := workload.New(cfg, a.journal, a.p.Clock(), c.w.Rand)
		if n := len(replayed.View().Tasks); n > 0 {
			c.w.Fail(rule.Checkpointed, "the journal of %s has %d tasks, its book has none", a.name, n)
		}
	}
}
