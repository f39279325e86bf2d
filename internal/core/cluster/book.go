// Package cluster is the master's book: which agents there are, which frameworks, what is offered and what runs. It is a
// machine (DESIGN §1): it changes only by Step, and everything that leaves it is an effect in an Out.
//
// What is durable is little: agents with their standing, frameworks with their failover timeouts. Tasks are reported
// again by the agents that run them, and offers are made anew.
package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/allocator"
	"github.com/pando-os/pando/internal/core/removal"
	"github.com/pando-os/pando/internal/core/table"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos/resource"
)

// Config holds the settings of a book. Durations are positive unless said otherwise.
type Config struct {
	// MasterID is new at each election; ids that this master gives out begin with it.
	MasterID string
	// Started is when the process began, in nanoseconds since the epoch.
	Started    int64
	Allocation allocator.Config
	// AllocationInterval is the sweep: what was declined comes again with its next tick.
	AllocationInterval time.Duration
	// Gather is how long resources that appear wait for company before they are offered.
	Gather time.Duration
	// PingInterval and PingMisses decide when a silent agent is unreachable.
	PingInterval time.Duration
	PingMisses   int
	// ReregisterTimeout is how long agents and frameworks have to come back after an election.
	ReregisterTimeout time.Duration
	// OfferHold is how long an offer may lie unanswered while a poorer framework has none.
	OfferHold time.Duration
	// OfferTimeout rescinds offers that lie about; zero: never.
	OfferTimeout time.Duration
	// MaxCompletedFrameworks and MaxCompletedTasks (of each framework) bound what is remembered of the past.
	MaxCompletedFrameworks, MaxCompletedTasks int
	// Roles that may be used; empty: any.
	Roles []string
	// MaxFrameworks bounds the frameworks that live, connected or not, and MaxFrameworksPerUser those of each user; zero: no
	// bound. One that is known may always come back.
	MaxFrameworks, MaxFrameworksPerUser int
	// RemovalRate bounds how many agents are marked unreachable in a time, however many are silent.
	RemovalRate removal.Rate
	// MaxAgentAge is after how long an unreachable agent is forgotten; zero: never. A mark of gone stays.
	MaxAgentAge time.Duration
	// MaxAgents bounds the agents that are known, the unreachable and gone ones among them; zero: no bound.
	MaxAgents int
	// MaxExecutors bounds the executors of frameworks' own on one agent: one that has as many is not offered. Zero: no bound.
	MaxExecutors int
}

// Defaults are the original's settings.
func Defaults() Config {
	return Config{
		Allocation: allocator.Config{MinAllocatable: []allocator.Quantities{{"cpus": 10}, {"mem": 32_000}}},

		AllocationInterval: time.Second, Gather: 2 * time.Millisecond, OfferHold: 5 * time.Second,
		PingInterval: 15 * time.Second, PingMisses: 5, ReregisterTimeout: 10 * time.Minute,
		MaxCompletedFrameworks: 50, MaxCompletedTasks: 1000,
		MaxFrameworks: 10_000, MaxFrameworksPerUser: 1000, MaxAgents: 102_400, MaxAgentAge: 14 * 24 * time.Hour,
	}
}

const (
	defaultRefuse = 5 * time.Second
	maxRefuse     = 365 * 24 * time.Hour
	// offersPerEvent bounds one OFFERS event.
	offersPerEvent = 500
	// reliefLooks bounds how many offers one sweep looks at for frameworks that have none.
	reliefLooks = 1000
)

// Book is the machine. It has no lock: one loop owns it.
type Book struct {
	cfg   Config
	alloc *allocator.Allocator
	now   machine.Now

	agents     *table.Table[string, Agent]
	frameworks *table.Table[string, Framework]
	completed  *frameworkTree
	tasks      *table.Table[FrameworkTask, Task]
	done       *taskTree
	offers     *offerTree
	executors  *table.Table[executorKey, Executor]
	operations *table.Table[string, AgentOperation]

	states    map[string]*agentState
	addresses map[address]string // to the agent that registered from there last
	conns     map[ConnID]*agentState
	streams   map[StreamID]string
	extras    map[string]*frameworkState
	// operationIDs find operations by their frameworks' names for them.
	operationIDs map[operationRef]string

	elected        int64
	nextAgent      uint64
	nextFramework  uint64
	nextOffer      uint64
	nextDone       uint64
	nextLaunch     uint64
	nextOperation  uint64
	tick           time.Duration // the next sweep
	prompt         time.Duration // the next cycle before it; Never when none is due
	recoverBy      time.Duration // when recovered agents are given up; Never when none is left
	forgetAt       time.Duration // when those that are away are looked at; Never when nobody is forgotten for his age
	doomed         *removal.Line // agents that are given up
	pings          queue[ping]
	offerTimeouts  queue[offerTimeout]
	former         queue[former] // agents that were removed
	failovers      []failover    // by time
	recoveredCount int
}

// agentState is what the book knows of an agent beside what it shows.
type agentState struct {
	id     string
	conn   ConnID
	links  uint64 // of the last registration
	missed int
	round  uint64 // of pings; an entry of an older round is void
	tasks  map[FrameworkTask]struct{}
	// twins run here under the id of a task that lives on another agent.
	twins     map[FrameworkTask]*Task
	offers    []*Offer
	executors map[executorRef]*Executor
	// operations are by their uuids.
	operations map[string]struct{}
	talk       allowance // for what the book did not ask it for
}

// frameworkState is what the book knows of a framework beside what it shows.
type frameworkState struct {
	offers    map[string]*Offer
	offered   time.Duration // Mono time of its last offer
	completed int
	// operations counts those that are under way or not acknowledged.
	operations int
}

type ping struct {
	at    time.Duration
	state *agentState
	round uint64
}

type offerTimeout struct {
	at time.Duration
	id string
}

type failover struct {
	at time.Duration
	id string
}

// New makes the book of a newly elected master from what the last one saved. All chance comes from rng.
func New(cfg Config, records []Record, now machine.Now, rng *rand.Rand) *Book {
	b := &Book{
		cfg: cfg, alloc: allocator.New(cfg.Allocation, rng), now: now, elected: now.Wall,
		agents: table.New(agentKey, lessAgent), frameworks: table.New(frameworkKey, lessFramework), completed: newTree(lessCompletedFramework),
		tasks: table.New(taskKey, lessTask), done: newTree(lessCompleted), offers: newTree(lessOffer),
		executors: table.New(keyOfExecutor, lessExecutor), operations: table.New(keyOfOperation, lessOperation),
		operationIDs: map[operationRef]string{},
		states:       map[string]*agentState{}, addresses: map[address]string{}, conns: map[ConnID]*agentState{},
		streams: map[StreamID]string{}, extras: map[string]*frameworkState{}, doomed: removal.NewLine(cfg.RemovalRate),
	}
	b.tick = now.Mono + cfg.AllocationInterval
	b.nextLaunch = uint64(now.Wall) // so that no earlier master's number is near
	for _, r := range records {
		switch {
		case r.Agent != nil:
			a := &Agent{Spec: r.Agent.Spec, Mark: r.Agent.Mark, Since: r.Agent.Since, Registered: r.Agent.Registered}
			if a.Mark == Admitted {
				a.Recovered = true
				b.recoveredCount++
			}
			b.agents.Set(a)
			b.addresses[addressOf(a.Spec)] = a.Spec.ID
			b.states[a.Spec.ID] = &agentState{id: a.Spec.ID, tasks: map[FrameworkTask]struct{}{}}
		case r.Framework != nil && r.Framework.Removed != 0:
			b.completed.Set(&Framework{Spec: r.Framework.Spec, Registered: r.Framework.Registered, Unregistered: r.Framework.Removed})
		case r.Framework != nil:
			b.recoverFramework(r.Framework.Spec, r.Framework.Registered)
		}
	}
	if cfg.MaxAgentAge > 0 {
		b.forgetAt = now.Mono + lookAtAges
	}
	if b.recoveredCount > 0 {
		b.recoverBy = now.Mono + cfg.ReregisterTimeout
	}
	return b
}

// Deadline is when the book wants to be woken.
func (b *Book) Deadline() time.Duration {
	at := machine.Never
	sooner := func(t time.Duration) {
		if t != machine.Never && (at == machine.Never || t < at) {
			at = t
		}
	}
	if b.alloc.Pending() || b.alloc.NextExpiry() != 0 || b.offers.Len() > 0 && b.frameworks.Len() > 1 {
		sooner(b.tick)
	}
	sooner(b.prompt)
	sooner(b.recoverBy)
	sooner(b.forgetAt)
	sooner(b.doomed.Deadline())
	if p, ok := b.pings.first(); ok {
		sooner(p.at)
	}
	if o, ok := b.offerTimeouts.first(); ok {
		sooner(o.at)
	}
	if len(b.failovers) > 0 {
		sooner(b.failovers[0].at)
	}
	return at
}

// Step takes one input; nil means that only time has passed.
func (b *Book) Step(now machine.Now, in In, out *Out) {
	b.now = now
	switch in := in.(type) {
	case nil:
	case *AgentRegister:
		b.agentRegister(in, out)
	case *AgentClosed:
		b.agentClosed(in, out)
	case *AgentPong:
		if s := b.conns[in.Conn]; s != nil {
			s.missed = 0
			b.spare(s.id, out)
		}
	case *AgentLeave:
		b.agentLeave(in, out)
	case *AgentUpdate:
		b.agentUpdate(in, out)
	case *AgentState:
		b.agentState(in, out)
	case *AgentMessage:
		b.agentMessage(in, out)
	case *Subscribe:
		b.subscribe(in, out)
	case *StreamClosed:
		b.streamClosed(in, out)
	case *UpdateFramework:
		b.updateFramework(in, out)
	case *Accept:
		b.accept(in, out)
	case *Decline:
		b.decline(in, out)
	case *Revive:
		b.revive(in, out)
	case *Suppress:
		b.suppress(in, out)
	case *Kill:
		b.kill(in, out)
	case *Acknowledge:
		b.acknowledge(in, out)
	case *Reconcile:
		b.reconcile(in, out)
	case *ReconcileOperations:
		b.reconcileOperations(in, out)
	case *Message:
		b.message(in, out)
	case *Teardown:
		b.teardown(in, out)
	default:
		b.operate(in, out)
	}
	b.wake(out)
}

// wake does what is due.
func (b *Book) wake(out *Out) {
	now := b.now.Mono
	for {
		p, ok := b.pings.first()
		if !ok || p.at > now {
			break
		}
		b.pings.pop()
		b.ping(p, out)
	}
	for {
		o, ok := b.offerTimeouts.first()
		if !ok || o.at > now {
			break
		}
		b.offerTimeouts.pop()
		if offer, ok := b.offers.Get(&Offer{ID: o.id}); ok {
			b.rescind(offer, out)
		}
	}
	for len(b.failovers) > 0 && b.failovers[0].at <= now {
		id := b.failovers[0].id
		b.failovers = b.failovers[1:]
		if f := b.frameworks.Get(id); f != nil && !f.Connected {
			b.removeFramework(f, "its failover timeout passed", out)
		}
	}
	if b.recoverBy != machine.Never && b.recoverBy <= now {
		b.giveUpRecovered(out)
	}
	b.removeDoomed(out)
	if b.forgetAt != machine.Never && b.forgetAt <= now {
		b.forgetOld(out)
	}
	if b.tick <= now {
		b.tick = now + b.cfg.AllocationInterval
		b.prompt = machine.Never
		b.allocate(true, out)
		b.relieve(out)
	}
	if b.prompt != machine.Never && b.prompt <= now {
		b.prompt = machine.Never
		b.allocate(false, out)
	}
}

// soon asks for a cycle before the next tick, after resources appeared.
func (b *Book) soon(wait time.Duration) {
	if at := b.now.Mono + wait; b.prompt == machine.Never || at < b.prompt {
		b.prompt = at
	}
}

func (b *Book) setFailover(id string, at time.Duration) {
	b.clearFailover(id)
	i, _ := slices.BinarySearchFunc(b.failovers, at, func(f failover, t time.Duration) int {
		if f.at <= t {
			return -1
		}
		return 1
	})
	b.failovers = slices.Insert(b.failovers, i, failover{at, id})
}

func (b *Book) clearFailover(id string) {
	b.failovers = slices.DeleteFunc(b.failovers, func(f failover) bool { return f.id == id })
}

// queue is first in, first out.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) push(x T) { q.items = append(q.items, x) }

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) first() (T, bool) {
	if q.head == len(q.items) {
		var none T
		return none, false
	}
	return q.items[q.head], true
}

func (q *queue[T]) pop() {
	var none T
	q.items[q.head] = none
	q.head++
	if q.head > 64 && q.head*2 > len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
}

// Audit says what is wrong in the book itself; nil when nothing is. It looks at everything: it is for tests and the
// simulator.
func (b *Book) Audit() error {
	held := map[string]map[allocator.Seat]resource.List{}
	hold := func(agent, framework, role string, what resource.List) {
		if what = what.NonShared(); what.IsEmpty() || !b.alloc.Has(agent) {
			return
		}
		if held[agent] == nil {
			held[agent] = map[allocator.Seat]resource.List{}
		}
		s := allocator.Seat{Framework: framework, Role: role}
		held[agent][s] = held[agent][s].Plus(what)
	}
	b.offers.Scan(func(o *Offer) bool { hold(o.Agent, o.Framework, o.Role, o.Resources); return true })
	b.tasks.Ordered().Scan(func(t *Task) bool {
		if !t.Released && b.alloc.Has(t.Agent) {
			hold(t.Agent, t.Framework, t.Role, t.Spec.Resources)
		}
		return true
	})
	b.executors.Ordered().Scan(func(x *Executor) bool { hold(x.Agent, x.Framework, x.Role, x.Spec.Resources); return true })
	for _, s := range b.states { // order: sums
		for _, t := range s.twins { // order: sums
			hold(t.Agent, t.Framework, t.Role, t.Spec.Resources)
		}
	}
	if err := b.alloc.Audit(held); err != nil {
		return err
	}
	var wrong error
	b.agents.Ordered().Scan(func(a *Agent) bool {
		if b.alloc.Has(a.Spec.ID) && !b.alloc.Total(a.Spec.ID).Equal(a.Spec.Total) {
			wrong = fmt.Errorf("agent %s has %s, and the allocator says %s", a.Spec.ID, a.Spec.Total, b.alloc.Total(a.Spec.ID))
		}
		return wrong == nil
	})
	return wrong
}
