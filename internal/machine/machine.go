// Package machine holds the pure types that every machine of the house is made of: the time it is given and the four
// kinds of effect it asks for. It has no clock, no goroutine and no I/O; internal/loop drives machines in production and
// internal/sim drives the same ones from a seed.
package machine

import "time"

// Now is the time of one step. The two readings serve different ends and are never mixed: timers run on Mono, what is
// saved or shown to people is Wall.
type Now struct {
	// Mono is the time since an arbitrary start of this process. It never goes back.
	Mono time.Duration
	// Wall is nanoseconds since the Unix epoch. It can jump.
	Wall int64
}

// Time gives the wall reading as a time.Time in UTC.
func (n Now) Time() time.Time { return time.Unix(0, n.Wall).UTC() }

// Seconds gives the wall reading as floating seconds since the epoch, the form of Mesos' timestamps.
func (n Now) Seconds() float64 { return float64(n.Wall) / 1e9 }

// Never is the deadline of a machine that need not be woken.
const Never = time.Duration(0)

// Out is what a step asks for, performed in the order of its members: Save is durable before anything of Send, Do and
// Tell happens. A machine appends; the caller resets and uses the same Out again.
type Out[Record, Message, Work, Fact any] struct {
	// Save is what must outlive the process.
	Save []Record
	// Send goes to other machines and clients, near or far. Sending never blocks and may lose.
	Send []Message
	// Do is slow work; each has an id, and its end comes back as an input.
	Do []Work
	// Tell says what happened and why; logs, metrics, event streams and checkers all read it.
	Tell []Fact
}

// Reset empties an Out and keeps its memory.
func (o *Out[R, M, W, F]) Reset() {
	clear(o.Save)
	clear(o.Send)
	clear(o.Do)
	clear(o.Tell)
	o.Save, o.Send, o.Do, o.Tell = o.Save[:0], o.Send[:0], o.Do[:0], o.Tell[:0]
}

// Machine is a state that changes only by Step.
type Machine[In, Record, Message, Work, Fact any] interface {
	// Step takes one input and appends what is to be done to out; the zero In means that only time has passed. It must be
	// deterministic: the same state, now and in give the same out.
	Step(now Now, in In, out *Out[Record, Message, Work, Fact])
	// Deadline is the Mono time at which the machine wants to be woken with a zero In; Never when it does not.
	Deadline() time.Duration
}
