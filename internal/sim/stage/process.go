package sim

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
	boundaries
)

var boundaryNames = [boundaries]string{"before save", "save|send", "send|do", "do|tell"}

// String names the boundary in tables.
func (b Boundary) String() string { return boundaryNames[b] }

// mark is where in an Out the effects of one input begin.
type mark struct{ send, tell int }

// hands are what a process lends to its machine.
type hands[In, R, M, K, F any] interface {
	// took sees what one input led to, at the process's own time.
	took(now time.Duration, in In, out *machine.Out[R, M, K, F], from mark)
	// stepped sees what a turn asks for before any of it happens.
	stepped(out *machine.Out[R, M, K, F])
	// save makes records durable and calls done; with false when they were refused or nobody can tell, which ends the process.
	save(records []R, done func(ok bool))
	// torn takes a save that was under way when the process crashed.
	torn(records []R)
	send(messages []M)
	do(work []K)
	tell(facts []F)
	// crashed says that the process is gone.
	crashed()
}

// process is the simulated loop around a machine: the same order of effects as internal/loop, with the same group commit,
// and places to crash in between.
type process[In, R, M, K, F any] struct {
	w       *World
	kind    string
	name    string
	machine machine.Machine[In, R, M, K, F]
	hands   hands[In, R, M, K, F]

	born    time.Duration
	skew    time.Duration // of its wall clock
	box     []In
	waiting []*turn[R, M, K, F] // not durable yet, in order
	saving  int                 // how many of them are in the save under way
	dead    bool
	frozen  bool
	turning bool // a turn is scheduled
	wake    uint64
	armed   Boundary // where it crashes next; boundaries: nowhere
}

type turn[R, M, K, F any] struct {
	out machine.Out[R, M, K, F]
}

func newProcess[In, R, M, K, F any](w *World, kind, name string, m machine.Machine[In, R, M, K, F], h hands[In, R, M, K, F], born time.Duration) *process[In, R, M, K, F] {
	return &process[In, R, M, K, F]{w: w, kind: kind, name: name, machine: m, hands: h, born: born, skew: w.between(-time.Minute, time.Minute), armed: boundaries}
}

func (p *process[In, R, M, K, F]) clock() machine.Now {
	return machine.Now{Mono: p.w.now - p.born + time.Second, Wall: p.w.wall() + int64(p.skew)}
}

// post puts an input into the mailbox.
func (p *process[In, R, M, K, F]) post(in In) {
	if p.dead {
		return
	}
	p.box = append(p.box, in)
	p.arm()
}

// arm schedules the next turn: soon when there is something in the box, else when the machine wants to be woken.
func (p *process[In, R, M, K, F]) arm() {
	if p.dead || p.frozen || p.turning {
		return
	}
	p.wake++
	wait := p.w.between(0, 500*time.Microsecond)
	if len(p.box) == 0 {
		due := p.machine.Deadline()
		if due == machine.Never {
			return
		}
		wait = max(0, due-p.clock().Mono)
	} else {
		p.turning = true
	}
	round := p.wake
	p.w.after(wait, func() {
		if !p.dead && !p.frozen && (p.turning || p.wake == round) {
			p.turn()
		}
	})
}

func (p *process[In, R, M, K, F]) turn() {
	p.turning = false
	t := &turn[R, M, K, F]{}
	now := p.clock()
	if len(p.box) == 0 {
		var none In
		p.machine.Step(now, none, &t.out)
		p.hands.took(now.Mono, none, &t.out, mark{})
	}
	for n := 1 + p.w.rng.IntN(8); n > 0 && len(p.box) > 0; n-- {
		in := p.box[0]
		p.box = p.box[1:]
		from := mark{len(t.out.Send), len(t.out.Tell)}
		p.machine.Step(now, in, &t.out)
		p.hands.took(now.Mono, in, &t.out, from)
	}
	p.hands.stepped(&t.out)
	if len(t.out.Save) == 0 && len(p.waiting) == 0 {
		p.release(t)
	} else {
		p.waiting = append(p.waiting, t)
		p.save()
	}
	p.arm()
}

// save commits what has gathered, unless a save is under way.
func (p *process[In, R, M, K, F]) save() {
	if p.saving > 0 || len(p.waiting) == 0 || p.dead {
		return
	}
	p.saving = len(p.waiting)
	records := p.records()
	if len(records) == 0 {
		p.saved(true)
		return
	}
	if p.reached(BeforeSave) {
		p.w.after(p.w.between(0, 10*time.Millisecond), p.crash)
	}
	p.hands.save(records, p.saved)
}

func (p *process[In, R, M, K, F]) records() []R {
	var records []R
	for _, t := range p.waiting[:p.saving] {
		records = append(records, t.out.Save...)
	}
	return records
}

// saved goes on after a save: with what was to happen once it is durable, or not at all.
func (p *process[In, R, M, K, F]) saved(ok bool) {
	if p.dead {
		return
	}
	if p.frozen {
		p.w.after(time.Second, func() { p.saved(ok) })
		return
	}
	if !ok {
		p.w.note("%s ends: its save was refused, or nobody can tell", p.name)
		p.saving = 0
		p.crash()
		return
	}
	group := p.waiting[:p.saving]
	p.waiting, p.saving = p.waiting[p.saving:], 0
	for _, t := range group {
		if !p.dead {
			p.release(t)
		}
	}
	p.save()
}

func (p *process[In, R, M, K, F]) release(t *turn[R, M, K, F]) {
	if len(t.out.Save) > 0 && p.reached(AfterSave) {
		p.crash()
		return
	}
	p.hands.send(t.out.Send)
	if len(t.out.Send) > 0 && p.reached(AfterSend) {
		p.crash()
		return
	}
	p.hands.do(t.out.Do)
	if len(t.out.Send)+len(t.out.Do) > 0 && p.reached(AfterDo) {
		p.crash()
		return
	}
	p.hands.tell(t.out.Tell)
}

// reached says whether the process is to crash here.
func (p *process[In, R, M, K, F]) reached(b Boundary) bool {
	if p.armed != b || p.dead || p.w.calm {
		return false
	}
	p.armed = boundaries
	p.w.cover.Crash(p.kind, int(b))
	p.w.note("%s crashes at %s", p.name, b)
	return true
}

// crash ends the process. A save under way may have come to the disk, in part or whole.
func (p *process[In, R, M, K, F]) crash() {
	if p.dead {
		return
	}
	p.dead = true
	p.w.note("%s is dead", p.name)
	if p.saving > 0 {
		p.hands.torn(p.records())
	}
	p.box, p.waiting = nil, nil
	p.hands.crashed()
}
