package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// Load is a scheduler that launches tasks as fast as it is let, or at a rate, and acknowledges each update by a request of
// its own. It is lean, since it shares the machine with the master that it measures.
type Load struct {
	// Masters are host:port of those that may lead.
	Masters []string
	JSON    bool
	// Tasks to launch in all, InFlight at once, PerOffer at most on one offer; 0 of the last two: no bound.
	Tasks, InFlight, PerOffer int
	// Rate is how many launches a second there are at most; 0: as many as can be.
	Rate float64
	// Stay says that tasks do not end by themselves: InFlight bounds those that do not run yet, and once all run, no more
	// offers are taken. Run goes on until its context ends.
	Stay bool
	// Failover is how long it tries to come back when its master goes away, and how long the master keeps its tasks
	// meanwhile; 0: it gives up at once.
	Failover time.Duration
	// Connections for calls; 0: one.
	Connections int
	// Command of each task ("true" when empty), and what it asks for (0.01 cpus and 8 MB when zero).
	Command   string
	CPUs, Mem float64
	// Container of each task; nil: none.
	Container *mesosv1.ContainerInfo

	// Running counts tasks whose TASK_RUNNING was acknowledged, Ended those whose last update was: of these Failed, Killed
	// and Lost (which covers dropped, gone, unreachable and unknown ones); the others finished.
	Running, Ended, Failed, Killed, Lost atomic.Int64
	// Launched counts launches that were sent, Offers the offers that came, Subscriptions how often it was subscribed.
	Launched, Offers, Subscriptions atomic.Int64
	// Progress, if it is set, is called for every task that runs for the first time, with their number.
	Progress func(running int64)

	framework, stream, contentType string
	callers                        []*caller
	next                           atomic.Uint32
	calls                          [callKinds]CallCount
	writes                         atomic.Int64

	mu       sync.Mutex // guards the rest, and the calls, of the goroutines that read and that keep the pace
	begun    time.Time
	launched int
	reached  int // of them have run, or have ended without
	tasks    []progress
	held     []offer // that lie here until there is room
	full     chan struct{}
	quiet    bool // it wants no offers any more
}

// progress is one task as far as it was told.
type progress struct {
	stage   uint8
	session uint8  // the last in which it was heard of
	sent    uint32 // microseconds from the beginning to its launch
	took    uint32 // from there to TASK_RUNNING
}

// Full is closed once every task has run or has ended. It is there when Run was called.
func (l *Load) Full() <-chan struct{} { return l.full }

// Prepare makes a Load ready for Run, with the defaults of what was left out.
func (l *Load) Prepare() {
	l.contentType = "application/x-protobuf"
	if l.JSON {
		l.contentType = "application/json"
	}
	l.Command, l.CPUs, l.Mem = cmp.Or(l.Command, "true"), cmp.Or(l.CPUs, 0.01), cmp.Or(l.Mem, 8)
	l.InFlight = cmp.Or(l.InFlight, l.Tasks)
	l.PerOffer = min(cmp.Or(l.PerOffer, l.Tasks), l.InFlight) // an offer is used as a whole
	l.tasks, l.full = make([]progress, l.Tasks), make(chan struct{})
}

// Run subscribes and launches until every task has ended, or until the context ends; then it takes its framework and
// what is left of its tasks along. Prepare comes first.
func (l *Load) Run(ctx context.Context) error {
	addr, lost, hops := l.Masters[0], time.Now(), 0
	for try := 1; ; try++ {
		before := l.Subscriptions.Load()
		elsewhere, err := l.session(ctx, addr)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if fatal, ok := errors.AsType[*refusal](err); ok {
			return fatal
		}
		if l.Subscriptions.Load() > before {
			lost, hops = time.Now(), 0
		}
		if hops++; elsewhere != "" && hops < 5 {
			addr = elsewhere
			continue
		}
		if time.Since(lost) > l.Failover {
			return err
		}
		addr, hops = l.Masters[try%len(l.Masters)], 0
		select {
		case <-time.After(50*time.Millisecond + rand.N(50*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// session subscribes at a master and works until all is done (nil), or the stream ends. elsewhere is a master that is to be
// tried next.
func (l *Load) session(ctx context.Context, addr string) (elsewhere string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.callers, l.stream, l.held, l.quiet = nil, "", nil, false
	l.mu.Unlock()
	s, elsewhere, err := l.subscribe(ctx, addr)
	if err != nil {
		return elsewhere, err
	}
	l.mu.Lock()
	l.stream = s.id
	for range max(l.Connections, 1) {
		c, err := newCaller(ctx, addr, &l.writes)
		if err != nil {
			l.mu.Unlock()
			return "", err
		}
		l.callers = append(l.callers, c)
	}
	if l.begun.IsZero() {
		l.begun = time.Now()
	}
	l.mu.Unlock()
	session := l.Subscriptions.Add(1)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() { defer close(done); l.keepPace(ctx, session > 1) }()
	defer l.leave(ctx, addr)
	for l.Ended.Load() < int64(l.Tasks) {
		rec, err := s.next()
		if err != nil {
			return "", fmt.Errorf("the stream of events ended: %w", err)
		}
		l.mu.Lock()
		err = l.event(rec)
		l.mu.Unlock()
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// leave removes the framework when Run ends: with a failover timeout, its tasks would go on without it.
func (l *Load) leave(ctx context.Context, addr string) {
	if l.Ended.Load() < int64(l.Tasks) && ctx.Err() == nil {
		return // it comes back
	}
	body, err := l.encode(&scheduler.Call{FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_TEARDOWN.Enum()})
	if err == nil {
		_ = l.once(addr, l.request(nil, body)) // a master that does not answer finds out by the failover timeout
	}
}

// keepPace launches when the rate allows it, and asks after tasks that were not heard of since a master went away.
func (l *Load) keepPace(ctx context.Context, ask bool) {
	if l.Rate == 0 && !ask {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	asked := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		if l.Rate > 0 {
			_ = l.use() // a caller's error comes out with the next event, too
		}
		if ask && time.Since(asked) > 500*time.Millisecond {
			asked = time.Now()
			ask = l.reconcile()
		}
		l.mu.Unlock()
	}
}

// reconcile asks for the states of tasks that were launched in an earlier session and not heard of in this one. It says
// whether there were any. The caller holds the lock.
func (l *Load) reconcile() bool {
	const most = 1000
	session := uint8(l.Subscriptions.Load())
	var open []*scheduler.Call_Reconcile_Task
	flush := func() {
		body, err := l.encode(&scheduler.Call{
			FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_RECONCILE.Enum(), Reconcile: &scheduler.Call_Reconcile{Tasks: open},
		})
		if err == nil {
			_ = l.call(otherCall, body) // as above
		}
		open = nil
	}
	found := false
	for n := range l.launched {
		if t := &l.tasks[n]; t.session != session && t.stage < ended {
			found = true
			if open = append(open, &scheduler.Call_Reconcile_Task{TaskId: &mesosv1.TaskID{Value: new(taskID(n))}}); len(open) == most {
				flush()
			}
		}
	}
	if len(open) > 0 {
		flush()
	}
	return found
}

// Open counts the tasks that were launched in an earlier session, and not heard of in this one nor ended before.
func (l *Load) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := 0
	for n := range l.launched {
		if t := &l.tasks[n]; t.session != uint8(l.Subscriptions.Load()) && t.stage < ended {
			open++
		}
	}
	return open
}

func taskID(n int) string { return "t" + strconv.Itoa(n) }

// update acknowledges an update and counts what it says. The caller holds the lock.
func (l *Load) update(task, agent string, state mesosv1.TaskState, uuid []byte) error {
	if len(uuid) > 0 {
		body, err := l.encode(&scheduler.Call{
			FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_ACKNOWLEDGE.Enum(),
			Acknowledge: &scheduler.Call_Acknowledge{AgentId: &mesosv1.AgentID{Value: &agent}, TaskId: &mesosv1.TaskID{Value: &task}, Uuid: uuid},
		})
		if err != nil {
			return err
		}
		if err := l.call(ackCall, body); err != nil {
			return err
		}
	}
	n, err := strconv.Atoi(strings.TrimPrefix(task, "t"))
	if err != nil || n >= len(l.tasks) {
		return nil //nolint:nilerr // not ours
	}
	t := &l.tasks[n]
	t.session = uint8(l.Subscriptions.Load())
	if t.stage >= stage(state) {
		return nil // told again
	}
	was := t.stage
	t.stage = stage(state)
	switch state {
	case mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_STAGING, mesosv1.TaskState_TASK_KILLING:
		return nil
	case mesosv1.TaskState_TASK_RUNNING:
		t.took = uint32(time.Since(l.begun).Microseconds()) - t.sent
		running := l.Running.Add(1)
		if l.Progress != nil {
			l.Progress(running)
		}
	case mesosv1.TaskState_TASK_FINISHED:
	case mesosv1.TaskState_TASK_FAILED:
		l.Failed.Add(1)
	case mesosv1.TaskState_TASK_KILLED:
		l.Killed.Add(1)
	default:
		l.Lost.Add(1)
	}
	if t.stage == ended {
		l.Ended.Add(1)
	}
	if was < running {
		if l.reached++; l.reached == l.Tasks {
			close(l.full)
			if l.Stay {
				return l.hush()
			}
		}
	}
	if t.stage == ended || l.Stay {
		return l.use()
	}
	return nil
}

// Stages of a task.
const (
	launching = iota
	starting
	running
	killing
	ended
)

// stage orders states.
func stage(s mesosv1.TaskState) uint8 {
	switch s {
	case mesosv1.TaskState_TASK_STAGING:
		return launching
	case mesosv1.TaskState_TASK_STARTING:
		return starting
	case mesosv1.TaskState_TASK_RUNNING:
		return running
	case mesosv1.TaskState_TASK_KILLING:
		return killing
	}
	return ended
}

// offer is one that lies here, for so many tasks.
type offer struct {
	id, agent string
	tasks     int
}

func cpus(rs []*mesosv1.Resource) float64 {
	for _, r := range rs {
		if r.GetName() == "cpus" {
			return r.GetScalar().GetValue()
		}
	}
	return 0
}

// offer takes an offer in.
func (l *Load) offer(id, agent string, cpus float64) error {
	l.Offers.Add(1)
	o := offer{id, agent, min(l.PerOffer, int(cpus/l.CPUs+1e-6))}
	switch {
	case l.Stay && l.reached == l.Tasks:
		l.held = append(l.held, o)
		return l.hush()
	case o.tasks == 0: // a crumb; it comes again when it has grown
		return l.decline(1, o)
	}
	l.held = append(l.held, o)
	return l.use()
}

func (l *Load) decline(seconds float64, offers ...offer) error {
	ids := make([]*mesosv1.OfferID, 0, len(offers))
	for i := range offers {
		ids = append(ids, &mesosv1.OfferID{Value: &offers[i].id})
	}
	body, err := l.encode(&scheduler.Call{
		FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_DECLINE.Enum(),
		Decline: &scheduler.Call_Decline{OfferIds: ids, Filters: &mesosv1.Filters{RefuseSeconds: &seconds}},
	})
	if err != nil {
		return err
	}
	return l.call(otherCall, body)
}

// hush gives back what is held, and asks for no more.
func (l *Load) hush() error {
	for len(l.held) > 0 {
		n := min(len(l.held), 1000)
		if err := l.decline(0, l.held[:n]...); err != nil {
			return err
		}
		l.held = l.held[n:]
	}
	if l.quiet {
		return nil
	}
	l.quiet = true
	body, err := l.encode(&scheduler.Call{FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_SUPPRESS.Enum()})
	if err != nil {
		return err
	}
	return l.call(otherCall, body)
}

// room is how many tasks may be launched now.
func (l *Load) room() int {
	busy := l.launched - int(l.Ended.Load())
	if l.Stay {
		busy = l.launched - l.reached
	}
	n := min(l.Tasks-l.launched, l.InFlight-busy)
	if l.Rate > 0 {
		n = min(n, int(l.Rate*time.Since(l.begun).Seconds())-l.launched)
	}
	return n
}

// use launches tasks on offers while there is room for them: on whole offers, unless the rate says how many.
func (l *Load) use() error {
	for len(l.held) > 0 {
		o := l.held[0]
		n := min(o.tasks, l.room())
		if n <= 0 || n < o.tasks && l.Rate == 0 && l.Tasks-l.launched > n {
			return nil
		}
		l.held = l.held[1:]
		if err := l.launch(o, n); err != nil {
			return err
		}
	}
	return nil
}

// launch launches tasks on an offer.
func (l *Load) launch(o offer, n int) error {
	var tasks []*mesosv1.TaskInfo
	role := &mesosv1.Resource_AllocationInfo{Role: new("load")}
	now := uint32(time.Since(l.begun).Microseconds())
	for range n {
		id := taskID(l.launched)
		l.tasks[l.launched].sent = now
		l.tasks[l.launched].session = uint8(l.Subscriptions.Load())
		l.launched++
		tasks = append(tasks, &mesosv1.TaskInfo{
			Name: new("load"), TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: &o.agent},
			Command: &mesosv1.CommandInfo{Value: &l.Command}, Container: l.Container,
			Resources: []*mesosv1.Resource{
				{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &l.CPUs}, AllocationInfo: role},
				{Name: new("mem"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &l.Mem}, AllocationInfo: role},
			},
		})
	}
	l.Launched.Add(int64(n))
	body, err := l.encode(&scheduler.Call{
		FrameworkId: &mesosv1.FrameworkID{Value: &l.framework}, Type: scheduler.Call_ACCEPT.Enum(),
		Accept: &scheduler.Call_Accept{
			OfferIds: []*mesosv1.OfferID{{Value: &o.id}}, Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(0)},
			Operations: []*mesosv1.Offer_Operation{{
				Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks},
			}},
		},
	})
	if err != nil {
		return err
	}
	return l.call(acceptCall, body)
}

// Latency is how long tasks took from their launch, as it was sent, to TASK_RUNNING.
type Latency struct {
	P50, P90, P99, Max time.Duration
}

// Latency of the tasks that have run so far, leaving out those that were launched earlier than so long after the beginning.
func (l *Load) Latency(after time.Duration) Latency {
	l.mu.Lock()
	took := make([]uint32, 0, l.launched)
	for i := range l.tasks[:l.launched] {
		if t := &l.tasks[i]; t.took > 0 && t.sent >= uint32(after.Microseconds()) {
			took = append(took, t.took)
		}
	}
	l.mu.Unlock()
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	at := func(share float64) time.Duration {
		return time.Duration(took[min(int(share*float64(len(took))), len(took)-1)]) * time.Microsecond
	}
	return Latency{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: at(1)}
}

// Began is when the first subscription was made; zero before.
func (l *Load) Began() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun
}
