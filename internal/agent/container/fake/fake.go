// Package fake is a container.Runtime without processes: for tests, and for simulated agents by the thousand. It keeps the
// contract of the real one, as the suite in containertest proves.
package fake

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pando-os/pando/internal/agent/container"
)

// Behaviour is what a pretended process does.
type Behaviour struct {
	// Refuse makes the launch fail.
	Refuse *container.Error
	// After is how long it runs; negative: until it is killed.
	After time.Duration
	// Status is its wait status at the end.
	Status uint32
	// IgnoresTERM makes it survive SIGTERM.
	IgnoresTERM bool
	// Output is what the owner of a session reads of it, and Echo writes what it reads until that ends, and ends with it.
	Output string
	Echo   bool
	// OOM pretends that it ended for its memory limit.
	OOM bool
}

// Machine is what survives an agent's restart: the pretended processes and exit records.
type Machine struct {
	program func(container.Spec) Behaviour

	mu    sync.Mutex
	boxes map[string]*box
	agent *Fake // the one that is open
}

type box struct {
	spec    container.Spec
	does    Behaviour
	started container.Started
	exit    *container.Exit
	killed  bool
	late    bool // killed for MaxCompletion
	killAt  time.Time
	timers  []*time.Timer
	streams *streams // nil: it cannot be attached to
	ended   *uint32  // the status it has ended with, while it waits for those below it
}

// pids are unique over all machines of the process.
var pids atomic.Uint32

// NewMachine makes an empty machine on which program decides what each container does; nil means Shell.
func NewMachine(program func(container.Spec) Behaviour) *Machine {
	if program == nil {
		program = Shell
	}
	return &Machine{program: program, boxes: map[string]*box{}}
}

// Fake is the runtime of one life of an agent.
type Fake struct {
	m     *Machine
	out   chan container.Exit
	wake  chan struct{}
	done  chan struct{}
	ended chan struct{}
	queue []container.Exit // guarded by m.mu
}

var _ container.Runtime = (*Fake)(nil)

// Open starts a life of the agent. The one before must be closed.
func (m *Machine) Open() *Fake {
	f := &Fake{m: m, out: make(chan container.Exit), wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	m.mu.Lock()
	m.agent = f
	m.mu.Unlock()
	go f.pump()
	return f
}

// pump hands exits on in order.
func (f *Fake) pump() {
	defer close(f.ended)
	defer close(f.out)
	for {
		f.m.mu.Lock()
		batch := f.queue
		f.queue = nil
		f.m.mu.Unlock()
		for _, e := range batch {
			select {
			case f.out <- e:
			case <-f.done:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-f.wake:
		case <-f.done:
			return
		}
	}
}

// Close implements container.Runtime; the pretended processes go on.
func (f *Fake) Close() error {
	f.m.mu.Lock()
	if f.m.agent == f {
		f.m.agent = nil
	}
	select {
	case <-f.done:
	default:
		close(f.done)
	}
	f.m.mu.Unlock()
	<-f.ended
	return nil
}

// Launch implements container.Runtime.
func (f *Fake) Launch(ctx context.Context, s container.Spec) (container.Started, error) {
	if err := ctx.Err(); err != nil {
		return container.Started{}, err
	}
	if err := container.ValidID(s.ID); err != nil {
		return container.Started{}, err
	}
	m := f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boxes[s.ID] != nil {
		return container.Started{}, &container.Error{Kind: container.KindInvalid, Message: "container " + s.ID + " exists already"}
	}
	b := &box{spec: s}
	pid := pids.Add(1)
	b.started = container.Started{PID: pid, StartTicks: uint64(pid), Wall: time.Now().UnixNano()}
	if err := s.CheckStreams(); err != nil {
		return container.Started{}, err
	}
	if err := m.checkBelow(&s); err != nil {
		return container.Started{}, err
	}
	if b.hollow() {
		b.does = Behaviour{After: -1}
	} else {
		b.does = m.program(s)
	}
	if b.does.Refuse != nil {
		return container.Started{}, b.does.Refuse
	}
	m.boxes[s.ID] = b
	if s.Attachable() {
		m.stream(b)
	} else {
		m.begin(b)
	}
	if s.MaxCompletion > 0 {
		b.after(s.MaxCompletion, func() {
			m.mu.Lock()
			b.late = b.exit == nil && b.killAt.IsZero()
			m.mu.Unlock()
			m.kill(b, s.KillGrace)
		})
	}
	return b.started, nil
}

func (b *box) after(d time.Duration, do func()) { b.timers = append(b.timers, time.AfterFunc(d, do)) }

func (m *Machine) end(b *box, status uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endLocked(b, status)
}

func (m *Machine) endLocked(b *box, status uint32) {
	if b.exit != nil || m.waitsBelow(b, status) {
		return
	}
	for _, t := range b.timers {
		t.Stop()
	}
	b.timers = nil
	b.detach()
	b.exit = &container.Exit{
		ID: b.spec.ID, Known: true, WaitStatus: status, OOM: b.does.OOM, TimedOut: b.late, Killed: b.killed, Wall: time.Now().UnixNano(),
	}
	if f := m.agent; f != nil {
		f.queue = append(f.queue, *b.exit)
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	if up := m.boxes[b.spec.Parent]; up != nil && up.exit == nil && up.ended != nil {
		m.endLocked(up, *up.ended)
	}
}

// kill does what the shim does: SIGTERM once, SIGKILL at the earliest time anybody asked for.
func (m *Machine) kill(b *box, grace time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killLocked(b, grace)
}

func (m *Machine) killLocked(b *box, grace time.Duration) {
	for _, c := range m.below(b) {
		c.killed = true
		m.killLocked(c, grace)
	}
	at := time.Now().Add(grace)
	first := b.killAt.IsZero()
	if b.exit != nil || !first && !at.Before(b.killAt) {
		return
	}
	b.killAt = at
	if b.hollow() {
		b.after(0, func() { m.end(b, 0) })
		return
	}
	if first && grace > 0 && !b.does.IgnoresTERM {
		b.after(0, func() { m.end(b, uint32(syscall.SIGTERM)) })
		return
	}
	b.after(grace, func() { m.end(b, uint32(syscall.SIGKILL)) })
}

// Kill implements container.Runtime.
func (f *Fake) Kill(id string, grace time.Duration) error {
	f.m.mu.Lock()
	b := f.m.boxes[id]
	if b != nil && b.exit == nil {
		b.killed = true
	}
	f.m.mu.Unlock()
	if b != nil {
		f.m.kill(b, max(grace, 0))
	}
	return nil
}

// Exits implements container.Runtime.
func (f *Fake) Exits() <-chan container.Exit { return f.out }

// Recover implements container.Runtime.
func (f *Fake) Recover(context.Context) ([]container.State, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	// What ended between Open and now is in the answer, not in the queue.
	f.queue = nil
	var out []container.State
	for id, b := range f.m.boxes {
		s := container.State{ID: id, Parent: b.spec.Parent, Started: b.started}
		if b.exit != nil {
			e := *b.exit
			s.Exit = &e
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b container.State) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// Forget implements container.Runtime.
func (f *Fake) Forget(id string) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if b := f.m.boxes[id]; b != nil {
		if b.exit == nil {
			return &container.Error{Kind: container.KindInvalid, Message: "container " + id + " still runs"}
		}
		delete(f.m.boxes, id)
	}
	return nil
}

func (f *Fake) running(id string) (*box, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if b := f.m.boxes[id]; b != nil && b.exit == nil {
		return b, nil
	}
	return nil, &container.Error{Kind: container.KindGone, Message: "container " + id + " is not running"}
}

// Resize implements container.Runtime.
func (f *Fake) Resize(id string, l container.Limits) error {
	b, err := f.running(id)
	if err != nil {
		return err
	}
	if b.spec.Parent != "" && b.spec.ShareCgroup {
		return &container.Error{Kind: container.KindInvalid, Message: "container " + id + " has the limits of " + b.spec.Parent}
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	b.spec.CPUs, b.spec.CPULimit, b.spec.Mem, b.spec.MemLimit = l.CPUs, l.CPULimit, max(l.Mem, b.spec.Mem), l.MemLimit
	return nil
}

// Stats implements container.Runtime with what was asked for and nothing used.
func (f *Fake) Stats(id string) (container.Stats, error) {
	b, err := f.running(id)
	if err != nil {
		return container.Stats{}, err
	}
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	for b.spec.ShareCgroup && f.m.boxes[b.spec.Parent] != nil {
		b = f.m.boxes[b.spec.Parent]
	}
	return container.Stats{
		Timestamp:     float64(time.Now().UnixNano()) / 1e9,
		CPUsSoftLimit: float64(b.spec.CPUs) / 1000,
		MemLimit:      uint64(b.spec.Mem) * 1048576 / 1000,
	}, nil
}

// Run implements container.Runtime: the machine's program decides how the command ends.
func (f *Fake) Run(ctx context.Context, id string, c container.Command) (int, error) {
	b, err := f.running(id)
	if err != nil {
		return 0, err
	}
	if b.hollow() {
		return 0, &container.Error{Kind: container.KindInvalid, Message: "container " + id + " has no command of its own"}
	}
	s := b.spec
	s.Path, s.Args, s.Env = c.Path, c.Args, append(slices.Clone(s.Env), c.Env...)
	if s.Path == "" && len(c.Args) > 0 {
		s.Path = c.Args[0]
	}
	does := f.m.program(s)
	if does.Refuse != nil {
		return 0, does.Refuse
	}
	var end <-chan time.Time
	if does.After >= 0 {
		t := time.NewTimer(does.After)
		defer t.Stop()
		end = t.C
	}
	select {
	case <-end:
		if sig := does.Status & 0x7f; sig != 0 {
			return 128 + int(sig), nil
		}
		return int(does.Status >> 8), nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Shell understands a few commands: true, false, sleep N, echo, cat, and sh -c with "exit N", with "sleep N" last, or with a trap
// that ignores TERM. Anything else does not exist.
func Shell(s container.Spec) Behaviour {
	refuse := func(k container.Kind, msg string) Behaviour {
		return Behaviour{Refuse: &container.Error{Kind: k, Message: msg}}
	}
	if s.User != "" && s.User != "root" && s.User != "nobody" {
		return refuse(container.KindUser, "user "+strconv.Quote(s.User)+" does not exist on this agent")
	}
	name := s.Path[strings.LastIndexByte(s.Path, '/')+1:]
	switch {
	case name == "true":
		return Behaviour{}
	case name == "false":
		return Behaviour{Status: 1 << 8}
	case name == "cat":
		return Behaviour{After: -1, Echo: true}
	case name == "echo":
		return Behaviour{Output: strings.Join(s.Args[1:], " ") + "\n"}
	case name == "sleep" && len(s.Args) > 1:
		return Behaviour{After: seconds(s.Args[1])}
	case name == "sh" && len(s.Args) > 2:
		script := strings.Fields(s.Args[2])
		last := script[len(script)-1]
		b := Behaviour{IgnoresTERM: strings.Contains(s.Args[2], "trap '' TERM")}
		if n := len(script); n > 1 && script[n-2] == "exit" {
			code, _ := strconv.Atoi(last)
			b.Status = uint32(code&0xff) << 8
		} else {
			b.After = seconds(last)
		}
		return b
	}
	return refuse(container.KindExec, "execute "+s.Path+": not found")
}

func seconds(s string) time.Duration {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return -1
	}
	return time.Duration(n * float64(time.Second))
}
