package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/envelope"
	"github.com/pando-os/pando/internal/sim/fate"
	"github.com/pando-os/pando/internal/sim/keep"
	"github.com/pando-os/pando/internal/sim/setting"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// manner is how a framework behaves.
type manner int

const (
	simple    manner = iota
	laggard          // answers late
	hoarder          // lets its offers lie
	vanishing        // leaves for good, without a word
	twice            // accepts every offer twice
	flooding         // launches thousands of tasks on one offer
	restless         // subscribes many times in a row
	confused         // acknowledges what it was not told
	manners
)

// framework is one scheduler.
type framework struct {
	w      *World
	name   string
	manner manner
	spec   cluster.FrameworkSpec // without an id
	id     string
	c      *stage.Conn
	behind []*stage.Conn // streams that newer ones replaced, which end with the process
	stream cluster.StreamID
	// subscribed says that SUBSCRIBED came on the present stream.
	subscribed bool
	dialing    bool
	ask        *master // who is asked for the leader next
	at         *master // whose stream it is
	lines      []*line
	turn       int
	left       bool // for good
	quiet      bool // it has suppressed offers
	version    int  // of its description
	offered    time.Duration
	insts      []*instance
	named      map[string]*instance // the newest of each task id
	next       int
	want       int // tasks to launch
	floods     int
	executors  int  // that it has of its own, at most
	grouping   bool // it launches groups
	keeper     bool // it reserves and makes volumes
	ops        keep.Asks
	sharing    bool // it fills every offer, see shares.go
	offers     map[string]*cluster.Offer
}

// instance is one task that a framework launched once. Its TaskSpec carries its key, so that every process that has to do
// with it can be told which one it is.
type instance struct {
	key, id string
	fw      *framework
	owner   string // the framework's id when it was launched
	script  fate.Task
	spec    *cluster.TaskSpec
	agent   string // by id
	at      time.Duration

	// what its framework knows
	state    mesosv1.TaskState
	heard    time.Duration
	terminal string // uuid of the terminal status
	lost     bool   // the master said that it is not there
	goneTold bool   // an operator vouches for its end
	kill     bool   // it is to end
	killed   time.Duration

	// what the checkers know
	updates []string // uuids in its agent's journal, in order
	heardOf int      // how many of them its framework has had
	spawned int
	live    *container
	// silenced: its agent was told to end it without a word.
	silenced bool
}

func (i *instance) done() bool { return i.terminal != "" || i.lost }

func (w *World) newFramework(n int) *framework {
	f := &framework{w: w, name: fmt.Sprintf("F%d", n), named: map[string]*instance{}, offers: map[string]*cluster.Offer{}}
	if w.Chance(0.7) {
		f.manner = manner(w.Rand.IntN(int(manners)))
	}
	roles := [][]string{{"*"}, {"dev"}, {"dev", "eng/build"}}[w.Rand.IntN(3)]
	f.spec = cluster.FrameworkSpec{
		Name: f.name, User: "root", Roles: roles, Legacy: len(roles) == 1 && w.Chance(0.5),
		Caps:            cluster.Capabilities{PartitionAware: w.Chance(0.5), TaskKilling: w.Chance(0.5), Refinement: w.Chance(0.5)},
		FailoverTimeout: []time.Duration{10 * time.Second, 2 * time.Minute, 20 * time.Minute, 168 * time.Hour}[w.Rand.IntN(4)],
	}
	if f.manner == vanishing {
		f.spec.FailoverTimeout = min(f.spec.FailoverTimeout, 2*time.Minute)
	}
	f.lines = make([]*line, 1)
	if w.Chance(0.7) {
		f.lines = make([]*line, maxLines)
	}
	f.want = w.Rand.IntN(10)
	if w.Chance(0.4) {
		f.keeper, f.spec.Caps.Refinement, f.spec.Caps.Shared = true, true, w.Chance(0.5)
	}
	if w.Chance(0.5) {
		f.executors = 1 + w.Rand.IntN(2)
	}
	f.grouping = w.Chance(0.5)
	w.fws = append(w.fws, f)
	w.After(w.Between(0, 2*time.Second), f.tick)
	return f
}

// tick is what a scheduler does without being asked.
func (f *framework) tick() {
	w := f.w
	defer w.After(w.Between(time.Second, 5*time.Second), f.tick)
	switch {
	case f.left:
		return
	case f.c == nil:
		f.dialLater()
		return
	case !f.subscribed || f.sharing:
		return
	}
	if f.manner == vanishing && !w.Calm && w.Now() > w.Params.Faults/2 && w.Chance(0.05) {
		w.Note("%s vanishes", f.name)
		f.left = true
		for _, c := range append(f.behind, f.c) {
			c.Close()
		}
		f.drop()
		return
	}
	if !w.Calm && w.Chance(0.3) {
		f.want += w.Rand.IntN(4 + len(w.agents)/16)
	}
	switch {
	case w.Chance(0.02) && !w.Calm:
		f.call(&cluster.Suppress{})
		f.quiet = true
	case f.quiet && (w.Calm || w.Chance(0.1)):
		f.call(&cluster.Revive{})
		f.quiet = false
	case w.Chance(0.002) && !w.Calm:
		w.Note("%s tears itself down", f.name)
		f.call(&cluster.Teardown{})
	case w.Chance(0.02) && !f.spec.Legacy:
		f.change()
	case w.Chance(0.04):
		executor := fmt.Sprintf("e%d", w.Rand.IntN(2))
		switch w.Rand.IntN(3) {
		case 0:
			f.call(&cluster.ReconcileOperations{Operations: []cluster.OperationRef{{Operation: "op", Agent: w.anyAgent()}}})
		case 1:
			f.call(&cluster.ShutdownExecutor{Agent: w.anyAgent(), Executor: executor})
		default:
			f.call(&cluster.Message{Agent: w.anyAgent(), Executor: executor, Data: []byte("how are you")})
		}
	}
	f.killSome()
	f.askForOperations()
	if f.manner == restless && !w.Calm && w.Chance(0.02) {
		f.resubscribe()
	}
	if f.manner == hoarder {
		for _, id := range slices.Sorted(maps.Keys(f.offers)) { // at last
			if o := f.offers[id]; o != nil && (w.Calm || w.Chance(0.02)) {
				f.use(o)
			}
		}
	}
	if w.Chance(0.05) {
		f.call(&cluster.Reconcile{})
		return
	}
	var ask []cluster.TaskRef
	for _, i := range f.insts {
		if i.owner == f.id && i.terminal == "" && (w.Now()-i.heard > time.Minute || w.Chance(0.02)) {
			r := cluster.TaskRef{Task: i.id}
			if w.Chance(0.8) {
				r.Agent = i.agent
			}
			ask = append(ask, r)
			i.heard = w.Now()
		}
	}
	if len(ask) > 0 {
		f.call(&cluster.Reconcile{Tasks: ask})
	}
}

// change takes a role on, or leaves one, without a new subscription.
func (f *framework) change() {
	f.version++
	if len(f.spec.Roles) > 1 {
		f.spec.Roles = f.spec.Roles[:1]
	} else {
		f.spec.Roles = slices.Sorted(slices.Values([]string{f.spec.Roles[0], "ops"}))
	}
	up := &cluster.UpdateFramework{Call: cluster.CallID(f.w.ID())}
	up.Stream, up.Spec, up.Suppressed = f.stream, f.described(), f.suppressed()
	f.call(up)
}

// anyAgent names an agent, perhaps by an id that it had once.
func (w *World) anyAgent() string {
	a := w.agents[w.Rand.IntN(len(w.agents))]
	if a.book == nil {
		return "nobody"
	}
	return a.book.Identity().Agent
}

// killSome asks for the ends of tasks; when faults are over, of all that do not end soon.
func (f *framework) killSome() {
	w := f.w
	for _, i := range f.insts {
		if i.owner != f.id || i.terminal != "" {
			continue
		}
		if !i.kill && (w.Calm && i.script.Life > time.Minute || w.Chance(0.01) || i.script.Life > time.Hour && w.Chance(0.02) ||
			i.heardOf == 0 && w.Now()-i.at > time.Second && w.Chance(0.1)) { // it does not start
			i.kill = true
		}
		if i.kill && (i.killed == 0 || w.Now()-i.killed > 10*time.Minute || w.Calm && w.Now()-i.killed > 3*time.Minute) {
			i.killed = w.Now()
			k := &cluster.Kill{Task: i.id, Grace: -1}
			if w.Chance(0.5) {
				k.Agent = i.agent
			}
			if w.Chance(0.5) {
				k.Grace = w.Between(0, 10*time.Second)
			}
			w.Note("%s kills %s", f.name, i.key)
			f.call(k)
		}
	}
}

func (f *framework) dialLater() {
	if f.dialing || f.left {
		return
	}
	f.dialing = true
	f.w.After(f.w.Between(10*time.Millisecond, 3*time.Second), func() {
		f.dialing = false
		if !f.left {
			f.subscribe(f.w.masters[f.turn%len(f.w.masters)])
			f.turn++
		}
	})
}

// streamSilence is after how long without a word, not even a heartbeat, a scheduler gives its stream up.
const streamSilence = 75 * time.Second

// subscribe opens a new stream. The one before, if it is open still, is left behind: that is a failover.
func (f *framework) subscribe(m *master) {
	c := f.w.Connect(f.name, m.name)
	switch {
	case f.c == nil:
	case f.id == "": // nobody could tell that it is the same one
		f.c.Close()
	default:
		f.behind = append(f.behind, f.c)
	}
	f.drop()
	f.at = m
	f.c, f.stream = c, cluster.StreamID(f.w.ID())
	spec := f.described()
	heard := f.w.Now()
	e := &c.Ends[stage.Near]
	e.Recv = func(message any) {
		if f.c == c {
			heard = f.w.Now()
			f.take(message)
		}
	}
	e.Closed = func() {
		if f.c != c {
			return
		}
		f.drop()
		if to := f.ask; to != nil {
			f.ask = nil
			f.subscribe(to)
			return
		}
		f.dialLater()
	}
	var watch func()
	watch = func() {
		switch limit := map[bool]time.Duration{true: streamSilence, false: 15 * time.Second}[f.subscribed]; {
		case f.c != c:
		case f.w.Now()-heard >= limit:
			f.w.Note("%s gives up its stream: silence", f.name)
			c.Close()
			f.drop()
			f.dialLater()
		default:
			f.w.After(limit, watch)
		}
	}
	f.w.After(15*time.Second, watch)
	f.w.dial(c, m, &cluster.Subscribe{Stream: f.stream, Spec: spec, Suppressed: f.suppressed()})
}

// described is how the framework describes itself now.
func (f *framework) described() *cluster.FrameworkSpec {
	spec := f.spec
	spec.ID = f.id
	spec.Info = fmt.Appendf(nil, "%s|%s|%d", f.name, f.id, f.version)
	return &spec
}

func (f *framework) suppressed() []string {
	if f.quiet {
		return f.spec.Roles
	}
	return nil
}

func (f *framework) drop() {
	f.c, f.subscribed = nil, false
	f.offers = map[string]*cluster.Offer{}
}

// call sends a call, which names framework and stream.
func (f *framework) call(in cluster.In) {
	envelope.Name(in, f.stream, f.id)
	if f.c == nil || !f.subscribed {
		return
	}
	switch in.(type) {
	case *cluster.Suppress, *cluster.Revive, *cluster.UpdateFramework, *cluster.Teardown: // their order is their meaning
		f.c.Send(stage.Near, in)
	default:
		f.post(in)
		if !f.w.Calm && f.w.Chance(0.02) {
			f.post(in) // twice
		}
	}
}

func (f *framework) take(message any) {
	switch m := message.(type) {
	case redirect:
		f.ask = m.to
	case cluster.Subscribed:
		f.w.Note("%s is subscribed as %s", f.name, m.Framework)
		f.subscribed = true
		if f.id != m.Framework {
			f.id = m.Framework
			f.w.check.owners[f.id] = f
		}
		if f.w.Chance(0.7) {
			f.call(&cluster.Reconcile{})
		}
	case cluster.Offers:
		f.offered = f.w.Now()
		var none []string // of many that are not wanted
		for _, o := range m.Offers {
			if f.want == 0 && len(m.Offers) > 8 && f.manner == simple && !f.sharing {
				none = append(none, o.ID)
				continue
			}
			f.offers[o.ID] = o
			switch wait := f.patience(); {
			case f.manner == hoarder && !f.sharing:
			case wait > 0:
				f.w.After(wait, func() { f.use(o) })
			default:
				f.use(o)
			}
		}
		if len(none) > 0 {
			f.call(&cluster.Decline{Offers: none, Refuse: f.refusal()})
		}
	case cluster.Rescind:
		delete(f.offers, m.Offer)
	case cluster.Update:
		f.status(m.Status)
	case cluster.OperationUpdate:
		f.operation(m)
	case cluster.Error:
		f.w.Note("%s is told: %s", f.name, m.Message)
		if m.Message == "Framework failed over" {
			return
		}
		f.id = "" // removed: it begins anew, and what it had is not its own any more
	}
}

func (f *framework) patience() time.Duration {
	if f.manner == laggard && !f.sharing {
		return f.w.Between(0, 8*time.Second)
	}
	return 0
}

// use answers an offer: with tasks as long as some are wanted, or not at all.
func (f *framework) use(o *cluster.Offer) {
	if f.offers[o.ID] != o || !f.subscribed {
		return
	}
	delete(f.offers, o.ID)
	w := f.w
	if f.sharing {
		f.fill(o)
		return
	}
	ids, left := []string{o.ID}, o.Resources
	for _, id := range slices.Sorted(maps.Keys(f.offers)) { // of one agent and role, together
		if x := f.offers[id]; x.Agent == o.Agent && x.Role == o.Role && w.Chance(0.8) {
			ids, left = append(ids, id), left.Plus(x.Resources)
			delete(f.offers, id)
		}
	}
	if f.manner == flooding && !w.Calm && f.want > 0 && f.floods < 3 && w.Chance(0.1) {
		f.flood(o, ids, left, f.refusal())
		return
	}
	var ops []cluster.Operation
	if f.keeper && !w.Calm && w.Chance(0.4) {
		ops, left = f.ops.Plan(w.Stage, w.check.keep, o, left, f.name, f.spec.Caps.Shared)
	}
	if f.grouping && w.Chance(0.7) {
		ops, left = f.launchGroup(o, ops, left)
	}
	var tasks []*cluster.TaskSpec
	for f.want > 0 && len(tasks) < 4 && w.Chance(0.7) {
		size := taskSizes[w.Rand.IntN(len(taskSizes))]
		if !left.Contains(size) {
			break
		}
		if f.keeper {
			size = keep.Mount(w.Stage, size, left)
		}
		left = left.Minus(size.NonShared())
		f.want--
		t := f.newTask(o, size).spec
		if f.executors > 0 && w.Chance(0.7) && left.Contains(executorSize) {
			t.Executor = f.describe(fmt.Sprintf("e%d", w.Rand.IntN(f.executors)))
			t.ExecutorID = t.Executor.ID
			left = left.Minus(executorSize) // it may be there already
		}
		tasks = append(tasks, t)
	}
	refuse := f.refusal()
	if len(tasks)+len(ops) == 0 {
		f.call(&cluster.Decline{Offers: ids, Refuse: refuse})
		return
	}
	f.accept(ids, tasks, refuse, ops...)
	if !w.Calm && (f.manner == twice || w.Chance(0.03)) {
		f.acceptAgain(o, ids, tasks, refuse)
	}
}

func (f *framework) refusal() time.Duration {
	return []time.Duration{-1, 0, time.Second, 20 * time.Second}[f.w.Rand.IntN(4)]
}

func (f *framework) accept(offers []string, tasks []*cluster.TaskSpec, refuse time.Duration, ops ...cluster.Operation) {
	ops = append(ops, cluster.Operation{Type: mesosv1.Offer_Operation_LAUNCH, Tasks: tasks})
	if !f.w.Calm && f.w.Chance(0.05) {
		ops = append(ops, cluster.Operation{ID: "op", Type: mesosv1.Offer_Operation_RESERVE})
	}
	f.call(&cluster.Accept{Offers: offers, Refuse: refuse, Operations: ops})
}

var taskSizes = []resource.List{
	setting.Resources("cpus:0.5;mem:32"), setting.Resources("cpus:1;mem:128"), setting.Resources("cpus:2;mem:64"), setting.Resources("cpus:0.1;mem:512"),
}

func (f *framework) newTask(o *cluster.Offer, size resource.List) *instance {
	w := f.w
	i := &instance{fw: f, owner: f.id, agent: o.Agent, at: w.Now(), heard: w.Now(), script: fate.OfTask(w.Stage)}
	i.id = fmt.Sprintf("t%d", f.next)
	if w.Chance(0.2) { // a name that was used before, by a task that is over
		if x := f.reusable(); x != nil {
			i.id = x.id
		}
	}
	i.key = fmt.Sprintf("%s/%s#%d", f.name, i.id, f.next)
	f.next++
	i.spec = &cluster.TaskSpec{ID: i.id, Name: i.id, AgentID: o.Agent, User: "root", Resources: size, Info: []byte(i.key)}
	f.insts = append(f.insts, i)
	f.named[i.id] = i
	w.check.instances[i.key] = i
	return i
}

func (f *framework) reusable() *instance {
	for _, i := range slices.Backward(f.insts) {
		if i.owner == f.id && i.terminal != "" && f.named[i.id] == i {
			return i
		}
	}
	return nil
}

// status takes an update and acknowledges it.
func (f *framework) status(s *mesos.Status) {
	w := f.w
	i := w.check.delivered(f, s)
	w.Note("%s hears %s %s %s uuid=%.4x", f.name, s.TaskID, s.State, s.Reason, s.UUID)
	if i != nil {
		w.check.toldGone(i, s)
		i.heard = w.Now()
		if i.terminal == "" {
			i.state = s.State
		}
		switch {
		case s.UUID != "" && cluster.Terminal(s.State):
			i.terminal, i.lost = s.UUID, false
		case s.UUID == "" && i.terminal == "":
			i.lost = cluster.Terminal(s.State) || s.State == mesosv1.TaskState_TASK_UNKNOWN
		}
	}
	if s.UUID == "" {
		return
	}
	ack := func() {
		if f.manner == confused && !w.Calm && w.Chance(0.5) && len(f.insts) > 0 {
			f.acknowledgeWrongly(s)
		}
		f.call(&cluster.Acknowledge{Agent: s.AgentID, Task: s.TaskID, UUID: s.UUID})
	}
	if wait := f.patience(); wait > 0 {
		w.After(wait, ack)
		return
	}
	ack()
}
