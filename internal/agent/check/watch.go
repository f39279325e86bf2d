package check

import (
	"fmt"
	"time"

	"github.com/pando-os/pando/internal/machine"
)

// Result is what a look has found.
type Result struct {
	// Code is an exit code, an HTTP status, or for TCP 0 for connected and 1 for refused.
	Code int
	// Err says why there is no code: the look timed out, or could not be made.
	Err string
}

// In is an input of a Watch: nothing (time has passed), or the end of the look with that id.
type In struct {
	Look   uint64
	Result *Result
}

// Record is what must outlive the agent.
type Record struct {
	Failures uint32 // in a row
	Healthy  bool   // it has been healthy once
}

// Verdict goes to whoever owns the task.
type Verdict struct {
	// Healthy is set by health checks: on the first success, on the first after failures, and on each failure that counts.
	Healthy *bool
	// Kill: the failures have reached the limit.
	Kill bool
	// Failures is how many there were in a row.
	Failures uint32
	// Result is set by checks when it differs from the last one.
	Result *Result
}

// Look is a deed asked for: look, and give the Result back with the same Look.
type Look struct {
	ID      uint64
	Probe   Probe
	Timeout time.Duration // 0: none
}

// Fact is told of every look that ended.
type Fact struct {
	Result Result
	// Note is why a result has no effect; empty when it has one.
	Note string
}

// Out is what a Watch asks for.
type Out = machine.Out[Record, Verdict, Look, Fact]

// Watch is the machine that follows one check of one task. It is made when the task runs, ends by being dropped, and stops
// by itself once it has asked for the task's end.
type Watch struct {
	plan    Plan
	started time.Duration // Mono
	next    time.Duration // Mono of the next look; Never while one is under way
	looking uint64        // id of the look under way, 0: none
	ids     uint64
	failed  uint32
	healthy bool
	last    *Result
	over    bool
}

var _ machine.Machine[In, Record, Verdict, Look, Fact] = (*Watch)(nil)

// New watches a task that runs since started (Mono, which may be before this process: negative). from is what an earlier
// agent recorded of it, or nil; failures go on counting from it. A first look that is overdue comes at once.
func New(p Plan, started time.Duration, from *Record) *Watch {
	w := &Watch{plan: p, started: started, next: started + p.Delay}
	if from != nil {
		w.failed, w.healthy = from.Failures, from.Healthy
	}
	if w.next == machine.Never {
		w.next = 1 // zero is not a time to wake at
	}
	return w
}

// Deadline implements machine.Machine.
func (w *Watch) Deadline() time.Duration {
	if w.over || w.looking != 0 {
		return machine.Never
	}
	return w.next
}

// Step implements machine.Machine.
func (w *Watch) Step(now machine.Now, in In, out *Out) {
	if w.over {
		return
	}
	if in.Result != nil && in.Look == w.looking && w.looking != 0 {
		w.looking = 0
		w.next = max(now.Mono+w.plan.Interval, 1)
		w.found(now, *in.Result, out)
		if w.over {
			return
		}
	}
	if w.looking == 0 && now.Mono >= w.next {
		w.ids++
		w.looking = w.ids
		out.Do = append(out.Do, Look{ID: w.ids, Probe: w.plan.Probe, Timeout: w.plan.Timeout})
	}
}

func (w *Watch) found(now machine.Now, r Result, out *Out) {
	note := ""
	switch {
	case !w.plan.Health:
		if w.last != nil && *w.last == r || w.last == nil && r.Err != "" {
			note = "unchanged"
			break
		}
		if w.last != nil && w.last.Err != "" && r.Err != "" { // two reasons for not knowing are the same to a client
			note = "still unknown"
			break
		}
		w.last = &r
		out.Send = append(out.Send, Verdict{Result: &r})
	case w.plan.good(r):
		news := !w.healthy || w.failed > 0
		w.healthy, w.failed = true, 0
		if news {
			w.save(out)
			w.verdict(true, out)
		}
	case !w.healthy && w.failed == 0 && now.Mono-w.started <= w.plan.Grace && w.plan.Grace > 0:
		note = fmt.Sprintf("within the grace period of %v", w.plan.Grace)
	default:
		w.failed++
		w.save(out)
		w.over = w.failed >= w.plan.Failures
		w.verdict(false, out)
	}
	out.Tell = append(out.Tell, Fact{Result: r, Note: note})
}

func (w *Watch) verdict(healthy bool, out *Out) {
	out.Send = append(out.Send, Verdict{Healthy: &healthy, Kill: w.over, Failures: w.failed})
}

func (w *Watch) save(out *Out) {
	out.Save = append(out.Save, Record{Failures: w.failed, Healthy: w.healthy})
}

// good says whether a result is healthy.
func (p *Plan) good(r Result) bool {
	switch {
	case r.Err != "":
		return false
	case p.Probe.HTTP != nil:
		return r.Code >= 200 && r.Code <= 399
	}
	return r.Code == 0
}
