package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
)

// FaultKind is what happens to agents.
type FaultKind uint8

const (
	// Hang is a process that neither reads nor writes for a while, as if it was stopped. Its containers go on.
	Hang FaultKind = iota
	// Drop is a machine that is gone for good, with all that runs on it.
	Drop
	// Restart is a process that ends and comes back, and finds its containers as they are then.
	Restart
)

// String is the kind's name.
func (k FaultKind) String() string { return [...]string{"hang", "drop", "restart"}[k] }

// Fault is a part of a schedule: what happens to how many agents, and when.
type Fault struct {
	Kind FaultKind
	// Count of agents, or their share in percent when Percent is set; at least one.
	Count   int
	Percent bool
	// At is when, from the start of the schedule. For is how long it lasts: a hang without end when it is zero, a restart at
	// once. Every is after how long it happens again; zero: never.
	At, For, Every time.Duration
}

// FaultGrammar is how a fault is written.
const FaultGrammar = "COUNT[%]@AT[+FOR][/EVERY]"

// ParseFault reads a fault of a kind: `10@30s+20s` is ten agents, half a minute from the start, for twenty seconds, and
// `5%@1m/10m` is every twentieth of them after a minute and then every ten.
func ParseFault(kind FaultKind, text string) (Fault, error) {
	f := Fault{Kind: kind}
	wrong := func(why string) (Fault, error) {
		return Fault{}, fmt.Errorf("%q: %s; write %s, as 10@30s+20s or 5%%@1m/10m", text, why, FaultGrammar)
	}
	count, rest, ok := strings.Cut(text, "@")
	if !ok {
		return wrong("it does not say when")
	}
	count, f.Percent = strings.CutSuffix(count, "%")
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil || n == 0 {
		return wrong("the number of agents is not a whole one of at least 1")
	}
	if f.Count = int(n); f.Percent && f.Count > 100 {
		return wrong("more than 100 % of the agents")
	}
	rest, every, repeats := strings.Cut(rest, "/")
	at, last, lasts := strings.Cut(rest, "+")
	if f.At, err = span(at); err != nil {
		return wrong("AT is not a time")
	}
	if lasts {
		if f.For, err = span(last); err != nil || f.For == 0 {
			return wrong("FOR is not a time above zero")
		}
	}
	if repeats {
		if f.Every, err = span(every); err != nil || f.Every == 0 {
			return wrong("EVERY is not a time above zero")
		}
	}
	if kind == Drop && f.For > 0 {
		return wrong("an agent that is dropped never comes back; leave out +FOR, or use a restart")
	}
	return f, nil
}

func span(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && (d < 0 || strings.HasPrefix(text, "+")) {
		err = errors.New("a sign")
	}
	return d, err
}

// String is as ParseFault reads it.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(f.Count))
	if f.Percent {
		b.WriteByte('%')
	}
	b.WriteString("@" + f.At.String())
	if f.For > 0 {
		b.WriteString("+" + f.For.String())
	}
	if f.Every > 0 {
		b.WriteString("/" + f.Every.String())
	}
	return b.String()
}

// of is how many of so many agents it concerns.
func (f Fault) of(agents int) int {
	if !f.Percent {
		return f.Count
	}
	return int(math.Ceil(float64(agents) * float64(f.Count) / 100))
}

// CheckFaults says which fault concerns more agents than there are.
func CheckFaults(faults []Fault, agents int) error {
	for _, f := range faults {
		if f.of(agents) > agents {
			return fmt.Errorf("--%s %s: there are only %d agents; name fewer, or a share, as 10%%@%s", f.Kind, f, agents, f.At)
		}
	}
	return nil
}

// Inject lets the faults of a schedule happen until the context ends.
func (f *Fleet) Inject(ctx context.Context, faults []Fault) {
	var all sync.WaitGroup
	for _, fault := range faults {
		all.Go(func() { f.inject(ctx, fault, &all) })
	}
	all.Wait()
}

func (f *Fleet) inject(ctx context.Context, fault Fault, all *sync.WaitGroup) {
	for wait := fault.At; clock.Sleep(ctx, f.cfg.Clock, wait) == nil; wait = fault.Every {
		struck := f.strike(fault.Kind, fault.of(len(f.agents)))
		if fault.Kind != Drop && (fault.For > 0 || fault.Kind == Restart) {
			all.Go(func() {
				if clock.Sleep(ctx, f.cfg.Clock, fault.For) == nil {
					for _, a := range struck {
						a.resume()
					}
				}
			})
		}
		if fault.Every == 0 {
			return
		}
	}
}

// strike lets a fault happen to so many of the agents that are up, chosen by chance.
func (f *Fleet) strike(kind FaultKind, n int) []*agent {
	f.mu.Lock()
	order := f.rng.Perm(len(f.agents))
	f.mu.Unlock()
	struck := make([]*agent, 0, n)
	for _, i := range order {
		if len(struck) == n {
			break
		}
		if f.agents[i].suffer(kind) {
			struck = append(struck, f.agents[i])
		}
	}
	f.counts.missed.Add(int64(n - len(struck)))
	return struck
}

// suffer lets a fault happen to the agent, unless it suffers one already.
func (a *agent) suffer(kind FaultKind) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mode != up {
		return false
	}
	c := &a.fleet.counts
	switch kind {
	case Hang:
		c.hangs.Add(1)
		c.hung.Add(1)
		a.mode, a.changed = hung, make(chan struct{})
	case Restart:
		c.restarts.Add(1)
		c.away.Add(1)
		a.mode, a.changed = away, make(chan struct{})
		a.journal, a.book = a.book.Journal(), nil
		a.cut()
	case Drop:
		c.drops.Add(1)
		c.dropped.Add(1)
		a.vanish()
	}
	return true
}

// vanish ends the agent with all that it has. The caller holds the lock.
func (a *agent) vanish() {
	a.mode = gone
	a.cut()
	a.lose()
	a.book, a.late = nil, nil
}

// resume ends a hang or a restart.
func (a *agent) resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.mode {
	case hung:
		a.fleet.counts.hung.Add(-1)
		a.mode = up
		late := a.late
		a.late = nil
		for _, in := range late {
			a.step(in)
		}
	case away:
		a.fleet.counts.away.Add(-1)
		journal := a.journal
		a.journal = nil
		a.start(journal)
	case up, gone:
		return
	}
	close(a.changed)
	a.changed = nil
}

// dismiss ends the agent as its master told it to: its tasks end, and it does not come back.
func (a *agent) dismiss(why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mode == gone {
		return
	}
	a.vanish()
	a.fleet.dismissed(why)
}

// leave says goodbye, when there is a master to hear it, and ends the agent for good.
func (a *agent) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.mode {
	case up:
		a.step(&workload.Leave{}) // the master closes the link when it has the goodbye
		a.book = nil
	case hung, away:
		close(a.changed)
		a.cut()
		if a.mode == hung {
			a.fleet.counts.hung.Add(-1)
		} else {
			a.fleet.counts.away.Add(-1)
		}
		a.book, a.journal = nil, nil
	case gone:
		return
	}
	a.lose()
	a.mode = gone
}
