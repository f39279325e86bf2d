package stage

import (
	"time"

	"github.com/pando-os/pando/internal/machine"
)

// Boundary is a place between two effects of a turn at which a process may crash.
type Boundary int

// Boundaries, in the order of effects.
const (
	BeforeSave Boundary = iota // the save was asked for and is not durable
	AfterSave                  // it is durable, nothing is sent
	AfterSend                  // all is sent, nothing is begun
	AfterDo                    // the work is begun, nothing is told
	// Boundaries is how many there are, and stands for none of them.
	Boundaries
)

var boundaryNames = [Boundaries]string{"before save", "save|send", "send|do", "do|tell"}

// String names the boundary in tables.
func (b Boundary) String() string { return boundaryNames[b] }

// Mark is where in an Out the effects of one input begin.
type Mark struct{ Send, Tell int }

// Hands are what a process lends to its machine.
type Hands[In, R, M, K, F any] interface {
	// Took sees what one input led to, at the process's own time.
	Took(now time.Duration, in In, out *machine.Out[R, M, K, F], from Mark)
	// Stepped sees what a turn asks for before any of it happens.
	Stepped(out *machine.Out[R, M, K, F])
	// Save makes records durable and calls done; with false when they were refused or nobody can tell, which ends the process.
	Save(records []R, done func(ok bool))
	// Torn takes a save that was under way when the process crashed.
	Torn(records []R)
	// Send, Do and Tell perform the other three parts of an Out.
	Send(messages []M)
	Do(work []K)
	Tell(facts []F)
	// Crashed says that the process is gone.
	Crashed()
}

// Process is the simulated loop around a machine: the same order of effects as internal/loop, with the same group commit,
// and places to crash in between.
type Process[In, R, M, K, F any] struct {
	// Name is who it is in traces; Machine what it drives. Both are set before the first input comes.
	Name    string
	Machine machine.Machine[In, R, M, K, F]
	// Skew is by how much its wall clock is wrong.
	Skew time.Duration
	// Dead and Frozen say that nothing of it happens any more, or for a while.
	Dead, Frozen bool
	// Armed is the boundary at which it crashes next.
	Armed Boundary

	w       *Stage
	kind    string
	hands   Hands[In, R, M, K, F]
	born    time.Duration
	box     []In
	waiting []*turn[R, M, K, F] // not durable yet, in order
	saving  int                 // how many of them are in the save under way
	turning bool                // a turn is scheduled
	wake    uint64
}

type turn[R, M, K, F any] struct {
	out machine.Out[R, M, K, F]
}

// NewProcess makes one; kind is how its crashes are counted, and born from when its monotonic clock counts.
func NewProcess[In, R, M, K, F any](w *Stage, kind, name string, m machine.Machine[In, R, M, K, F], h Hands[In, R, M, K, F], born time.Duration) *Process[In, R, M, K, F] {
	return &Process[In, R, M, K, F]{w: w, kind: kind, Name: name, Machine: m, hands: h, born: born, Skew: w.Between(-time.Minute, time.Minute), Armed: Boundaries}
}

// Clock is what its clocks show now.
func (p *Process[In, R, M, K, F]) Clock() machine.Now {
	return machine.Now{Mono: p.w.Now() - p.born + time.Second, Wall: p.w.Wall() + int64(p.Skew)}
}

// Post puts an input into the mailbox.
func (p *Process[In, R, M, K, F]) Post(in In) {
	if p.Dead {
		return
	}
	p.box = append(p.box, in)
	p.arm()
}

// arm schedules the next turn: soon when there is something in the box, else when the machine wants to be woken.
func (p *Process[In, R, M, K, F]) arm() {
	if p.Dead || p.Frozen || p.turning {
		return
	}
	p.wake++
	wait := p.w.Between(0, 500*time.Microsecond)
	if len(p.box) == 0 {
		due := p.Machine.Deadline()
		if due == machine.Never {
			return
		}
		wait = max(0, due-p.Clock().Mono)
	} else {
		p.turning = true
	}
	round := p.wake
	p.w.After(wait, func() {
		if !p.Dead && !p.Frozen && (p.turning || p.wake == round) {
			p.turn()
		}
	})
}

func (p *Process[In, R, M, K, F]) turn() {
	p.turning = false
	t := &turn[R, M, K, F]{}
	now := p.Clock()
	if len(p.box) == 0 {
		var none In
		p.Machine.Step(now, none, &t.out)
		p.hands.Took(now.Mono, none, &t.out, Mark{})
	}
	for n := 1 + p.w.Rand.IntN(8); n > 0 && len(p.box) > 0; n-- {
		in := p.box[0]
		p.box = p.box[1:]
		from := Mark{len(t.out.Send), len(t.out.Tell)}
		p.Machine.Step(now, in, &t.out)
		p.hands.Took(now.Mono, in, &t.out, from)
	}
	p.hands.Stepped(&t.out)
	if len(t.out.Save) == 0 && len(p.waiting) == 0 {
		p.release(t)
	} else {
		p.waiting = append(p.waiting, t)
		p.save()
	}
	p.arm()
}

// save commits what has gathered, unless a save is under way.
func (p *Process[In, R, M, K, F]) save() {
	if p.saving > 0 || len(p.waiting) == 0 || p.Dead {
		return
	}
	p.saving = len(p.waiting)
	records := p.records()
	if len(records) == 0 {
		p.saved(true)
		return
	}
	if p.reached(BeforeSave) {
		p.w.After(p.w.Between(0, 10*time.Millisecond), p.Crash)
	}
	p.hands.Save(records, p.saved)
}

func (p *Process[In, R, M, K, F]) records() []R {
	var records []R
	for _, t := range p.waiting[:p.saving] {
		records = append(records, t.out.Save...)
	}
	return records
}

// saved goes on after a save: with what was to happen once it is durable, or not at all.
func (p *Process[In, R, M, K, F]) saved(ok bool) {
	if p.Dead {
		return
	}
	if p.Frozen {
		p.w.After(time.Second, func() { p.saved(ok) })
		return
	}
	if !ok {
		p.w.Note("%s ends: its save was refused, or nobody can tell", p.Name)
		p.saving = 0
		p.Crash()
		return
	}
	group := p.waiting[:p.saving]
	p.waiting, p.saving = p.waiting[p.saving:], 0
	for _, t := range group {
		if !p.Dead {
			p.release(t)
		}
	}
	p.save()
}

func (p *Process[In, R, M, K, F]) release(t *turn[R, M, K, F]) {
	if len(t.out.Save) > 0 && p.reached(AfterSave) {
		p.Crash()
		return
	}
	p.hands.Send(t.out.Send)
	if len(t.out.Send) > 0 && p.reached(AfterSend) {
		p.Crash()
		return
	}
	p.hands.Do(t.out.Do)
	if len(t.out.Send)+len(t.out.Do) > 0 && p.reached(AfterDo) {
		p.Crash()
		return
	}
	p.hands.Tell(t.out.Tell)
}

// reached says whether the process is to crash here.
func (p *Process[In, R, M, K, F]) reached(b Boundary) bool {
	if p.Armed != b || p.Dead || p.w.Calm {
		return false
	}
	p.Armed = Boundaries
	p.w.Cover.Crash(p.kind, int(b))
	p.w.Note("%s crashes at %s", p.Name, b)
	return true
}

// Saving says whether something that it decided is not durable yet.
func (p *Process[In, R, M, K, F]) Saving() bool { return len(p.waiting) > 0 }

// Start has it wake when its machine wants to be woken, before any input comes.
func (p *Process[In, R, M, K, F]) Start() { p.arm() }

// Thaw ends a time in which it was frozen.
func (p *Process[In, R, M, K, F]) Thaw() {
	p.Frozen, p.turning = false, false
	p.arm()
}

// Crash ends the process. A save under way may have come to the disk, in part or whole.
func (p *Process[In, R, M, K, F]) Crash() {
	if p.Dead {
		return
	}
	p.Dead = true
	p.w.Note("%s is dead", p.Name)
	if p.saving > 0 {
		p.hands.Torn(p.records())
	}
	p.box, p.waiting = nil, nil
	p.hands.Crashed()
}
