// Package fleet is many agents in one process: the real agent's book and the real link over real sockets, with containers
// that are only numbers. pando simulate uses it to put a master under the load of a data center.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos/resource"
)

// Config describes a fleet.
type Config struct {
	// Masters are host:port of those that may lead.
	Masters []string
	Agents  int
	// Name is the domain of the agents' host names, which are agent-0.NAME and so on; empty: simulated.
	Name string
	// Resources and Attributes of each agent.
	Resources  resource.List
	Attributes []*mesosv1.Attribute
	// Racks and Zones are spread over the agents by turns, as the attributes rack:rN and zone:zN; 0: without them. A rack
	// is in one zone.
	Racks, Zones int
	Tasks        Tasks
	// Dialing bounds how many agents connect at once; 0: 32.
	Dialing int
	// Seed of what is left to chance: ids, times, failures, and which agents suffer a fault.
	Seed  uint64
	Clock clock.Clock
	Log   *slog.Logger
}

// Tasks says how the fake containers behave.
type Tasks struct {
	// Start is how long one takes to start.
	Start Span
	// Run is how long it runs then; zero: until it is killed.
	Run Span
	// FailureRate is the share, from 0 to 1, that fails with exit status 1 when its time has come; where tasks run until
	// they are killed, as soon as it runs.
	FailureRate float64
	// Starting sends TASK_STARTING before TASK_RUNNING, as Pando's agents do. Without it the master hears of TASK_RUNNING
	// first.
	Starting bool
}

// Check says which field is wrong, by the name of its flag.
func (c *Config) Check() error {
	switch {
	case c.Agents < 1:
		return fmt.Errorf("--agents: %d is less than one", c.Agents)
	case c.Racks < 0:
		return fmt.Errorf("--racks: %d is less than none", c.Racks)
	case c.Zones < 0:
		return fmt.Errorf("--zones: %d is less than none", c.Zones)
	case c.Racks > 0 && c.Racks < c.Zones:
		return fmt.Errorf("--racks: %d cannot fill %d zones, since a rack is in one zone; have more racks or fewer zones", c.Racks, c.Zones)
	case !(c.Tasks.FailureRate >= 0 && c.Tasks.FailureRate <= 1):
		return fmt.Errorf("--failure-rate: %v is not from 0 to 1", c.Tasks.FailureRate)
	}
	for _, a := range c.Attributes {
		if n := a.GetName(); n == "rack" && c.Racks > 0 || n == "zone" && c.Zones > 0 {
			return fmt.Errorf("--attributes: %s is there already, spread over the agents; leave out one of the two", n)
		}
	}
	return nil
}

// Fleet is a number of agents that run.
type Fleet struct {
	cfg       Config
	resources []*mesosv1.Resource
	agents    []*agent
	counts    counters
	summons   atomic.Pointer[agentlink.Summons]
	port      int32 // where new leaders are heard; 0: nowhere

	mu  sync.Mutex // guards the rest
	rng *rand.Rand
	why string // the first master's word that dismissed an agent
	err error  // why an agent was not linked last
}

type counters struct {
	registered, hung, away, dropped, dismissed     atomic.Int64
	launched, running, ended, failed, killed, gone atomic.Int64
	hangs, drops, restarts, missed                 atomic.Int64
}

// Counts is how a fleet stands.
type Counts struct {
	// Registered counts the agents that a master has taken in; Hung those that read and write nothing, Away those that
	// restart, Dropped those that are gone for good, and Dismissed those that a master told to end.
	Registered int64 `json:"registered"`
	Hung       int64 `json:"hung"`
	Away       int64 `json:"away"`
	Dropped    int64 `json:"dropped"`
	Dismissed  int64 `json:"dismissed"`
	// Launched counts the tasks that came, Running those that run now; Ended those that ended, and of these Failed and
	// Killed; Gone those that were lost with their agents.
	Launched int64 `json:"tasks_launched"`
	Running  int64 `json:"tasks_running"`
	Ended    int64 `json:"tasks_ended"`
	Failed   int64 `json:"tasks_failed"`
	Killed   int64 `json:"tasks_killed"`
	Gone     int64 `json:"tasks_gone"`
	// Hangs, Drops and Restarts are the agents that suffered a fault so far. Missed counts those that should have, and were
	// not there.
	Hangs    int64 `json:"hangs"`
	Drops    int64 `json:"drops"`
	Restarts int64 `json:"restarts"`
	Missed   int64 `json:"missed"`
}

// Counts gives the counts of now.
func (f *Fleet) Counts() Counts {
	c := &f.counts
	return Counts{
		Registered: c.registered.Load(), Hung: c.hung.Load(), Away: c.away.Load(), Dropped: c.dropped.Load(), Dismissed: c.dismissed.Load(),
		Launched: c.launched.Load(), Running: c.running.Load(), Ended: c.ended.Load(), Failed: c.failed.Load(), Killed: c.killed.Load(), Gone: c.gone.Load(),
		Hangs: c.hangs.Load(), Drops: c.drops.Load(), Restarts: c.restarts.Load(), Missed: c.missed.Load(),
	}
}

// Dismissal is a master's word that ended an agent for good; empty when none did.
func (f *Fleet) Dismissal() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

// New makes a fleet that does nothing yet.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if len(cfg.Masters) == 0 {
		return nil, errors.New("there is no master to join")
	}
	if cfg.Name == "" {
		cfg.Name = "simulated"
	}
	if cfg.Dialing < 1 {
		cfg.Dialing = 32
	}
	f := &Fleet{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0)),
		resources: cfg.Resources.ToProto("", resource.PostRefinement), agents: make([]*agent, 0, cfg.Agents),
	}
	for i := range cfg.Agents {
		f.agents = append(f.agents, newAgent(f, i))
	}
	return f, nil
}

// Run keeps every agent linked until the context ends.
func (f *Fleet) Run(ctx context.Context) error {
	stop, err := f.listen(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var all sync.WaitGroup
	dialing := make(chan struct{}, f.cfg.Dialing)
	for _, a := range f.agents {
		all.Go(func() { a.run(ctx, dialing) })
	}
	all.Go(func() { f.retry(ctx) })
	all.Wait()
	return nil
}

// retry wakes the books whose updates were not acknowledged in time.
func (f *Fleet) retry(ctx context.Context) {
	for clock.Sleep(ctx, f.cfg.Clock, time.Second) == nil {
		now := f.cfg.Clock.Now()
		for _, a := range f.agents {
			a.mu.Lock()
			if a.mode == up {
				if d := a.book.Deadline(); d != 0 && d <= now.Mono {
					a.step(nil)
				}
			}
			a.mu.Unlock()
		}
	}
}

// Leave takes every agent out of its cluster for good: its tasks end, and the master forgets it at once instead of waiting
// for it. It returns when the goodbyes are written, or with the context. Run goes on until its own context ends.
func (f *Fleet) Leave(ctx context.Context) {
	for _, a := range f.agents {
		a.leave()
	}
	for f.counts.registered.Load() > 0 {
		if clock.Sleep(ctx, f.cfg.Clock, 5*time.Millisecond) != nil {
			return
		}
	}
}

// Missing counts the agents that should be registered, and are not.
func (f *Fleet) Missing() int {
	n := 0
	for _, a := range f.agents {
		a.mu.Lock()
		if a.mode == up && !a.known {
			n++
		}
		a.mu.Unlock()
	}
	return n
}

// LastError says why an agent was not linked, last; empty when all were.
func (f *Fleet) LastError() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *Fleet) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// dismissed notes that a master told an agent to end.
func (f *Fleet) dismissed(why string) {
	f.counts.dismissed.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == "" {
		f.why = why
	}
}

// info is the nth agent as an encoded AgentInfo.
func (f *Fleet) info(n int, id string) []byte {
	host := hostname(n, f.cfg.Name)
	i := &mesosv1.AgentInfo{Hostname: &host, Port: new(f.port), Resources: f.resources, Attributes: f.attributes(n)}
	if id != "" {
		i.Id = &mesosv1.AgentID{Value: &id}
	}
	b, err := proto.Marshal(i)
	if err != nil {
		f.cfg.Log.Error("an agent's description cannot be encoded", "error", err)
	}
	return b
}

func hostname(n int, domain string) string { return "agent-" + strconv.Itoa(n) + "." + domain }

// attributes are those of the nth agent. A rack lies in one zone: that of its number.
func (f *Fleet) attributes(n int) []*mesosv1.Attribute {
	if f.cfg.Racks == 0 && f.cfg.Zones == 0 {
		return f.cfg.Attributes
	}
	out := append([]*mesosv1.Attribute(nil), f.cfg.Attributes...)
	add := func(name, value string) {
		out = append(out, &mesosv1.Attribute{Name: &name, Type: mesosv1.Value_TEXT.Enum(), Text: &mesosv1.Value_Text{Value: &value}})
	}
	if f.cfg.Racks > 0 {
		n %= f.cfg.Racks
		add("rack", "r"+strconv.Itoa(n))
	}
	if f.cfg.Zones > 0 {
		add("zone", "z"+strconv.Itoa(n%f.cfg.Zones))
	}
	return out
}

// Span is a time that is drawn evenly from between two bounds.
type Span struct{ Min, Max time.Duration }

// ParseSpan reads a duration, as 2s, or two, as 100ms..2s.
func ParseSpan(text string) (Span, error) {
	low, high, two := strings.Cut(text, "..")
	var s Span
	var err error
	if s.Min, err = time.ParseDuration(low); err == nil {
		s.Max = s.Min
		if two {
			s.Max, err = time.ParseDuration(high)
		}
	}
	if err != nil || s.Min < 0 || s.Max < s.Min {
		return Span{}, fmt.Errorf("%q is neither a time, as 2s, nor a shorter and a longer one, as 100ms..2s", text)
	}
	return s, nil
}

// String is as ParseSpan reads it.
func (s Span) String() string {
	if s.Min == s.Max {
		return s.Min.String()
	}
	return s.Min.String() + ".." + s.Max.String()
}

func (s Span) draw(rng *rand.Rand) time.Duration {
	if s.Max <= s.Min {
		return s.Min
	}
	return s.Min + time.Duration(rng.Int64N(int64(s.Max-s.Min)+1))
}

// defaults of the book of a simulated agent.
func bookConfig(has resource.List) workload.Config {
	c := workload.Defaults()
	c.Resources = has
	c.Boot, c.IP, c.MaxCompleted = "simulated", "127.0.0.1", 0
	return c
}
