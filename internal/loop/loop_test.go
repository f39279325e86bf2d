package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pando-os/pando/internal/machine"
)

// echo is a machine that asks for what its inputs name: "s1 m1 w1 f1" is one effect of each kind.
type echo struct {
	due   time.Duration
	woken atomic.Int32
}

func (e *echo) Step(now machine.Now, in string, out *machine.Out[string, string, string, string]) {
	if in == "" {
		e.woken.Add(1)
		if e.due <= now.Mono {
			e.due = machine.Never
			out.Tell = append(out.Tell, "woken")
		}
	}
	for w := range strings.FieldsSeq(in) {
		switch w[0] {
		case 's':
			out.Save = append(out.Save, w)
		case 'm':
			out.Send = append(out.Send, w)
		case 'w':
			out.Do = append(out.Do, w)
		case 'f':
			out.Tell = append(out.Tell, w)
		}
	}
}

func (e *echo) Deadline() time.Duration { return e.due }

// hand writes down what it is asked for. A save takes as long as it says, or fails.
type hand struct {
	mu    sync.Mutex // guards lines: the test reads what the loop writes
	lines []string
	wait  time.Duration
	fails string // a record whose save fails
}

func (h *hand) Save(_ context.Context, records []string) error {
	time.Sleep(h.wait)
	if slices.Contains(records, h.fails) {
		return errors.New("the disk is full")
	}
	h.note("save:" + strings.Join(records, "+"))
	return nil
}
func (h *hand) Send(m []string)                { h.note(m...) }
func (h *hand) Do(w []string)                  { h.note(w...) }
func (h *hand) Tell(_ machine.Now, f []string) { h.note(f...) }
func (h *hand) Show(view any)                  { h.note(fmt.Sprint("show", view)) }

func (h *hand) note(lines ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, lines...)
}

func (h *hand) log() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lines)
}

type bubbleClock struct{ start time.Time }

func (c bubbleClock) Now() machine.Now { return machine.Now{Mono: time.Since(c.start) + 1} }

func start(t *testing.T, m *echo, h *hand, snapshot func() any, cfg Config) (l *Loop[string, string, string, string, string], stop func() error) {
	t.Helper()
	l = New[string, string, string, string, string](m, h, bubbleClock{time.Now()}, snapshot, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return l, func() error {
		cancel()
		return <-done
	}
}

// pass lets time go by in the bubble, and whoever woke by then come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func post(t *testing.T, l *Loop[string, string, string, string, string], ins ...string) {
	t.Helper()
	for _, in := range ins {
		if err := l.Post(in); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEffectsOfATurnComeInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hand{wait: time.Millisecond}
		turns := 0
		l, stop := start(t, &echo{}, h, func() any { turns++; return turns }, Config{})
		post(t, l, "f1 w1 m1 s1")
		pass(time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if want := []string{"save:s1", "show1", "m1", "w1", "f1"}; !slices.Equal(h.log(), want) {
			t.Errorf("the effects came as %v, want %v", h.log(), want)
		}
	})
}

func TestNothingOvertakesASaveAndSavesGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hand{wait: time.Second}
		l, stop := start(t, &echo{}, h, nil, Config{})
		post(t, l, "m0")
		synctest.Wait()
		if !slices.Equal(h.log(), []string{"m0"}) {
			t.Errorf("what needs no save waited for none: %v", h.log())
		}
		for _, in := range []string{"s1 m1", "m2", "s3 m3", "s4 m4"} {
			post(t, l, in)
			synctest.Wait() // each is a turn of its own
		}
		if len(h.log()) != 1 {
			t.Errorf("before the first save is durable, %v was released", h.log())
		}
		pass(1100 * time.Millisecond)
		if want := []string{"m0", "save:s1", "m1"}; !slices.Equal(h.log(), want) {
			t.Errorf("after the first save: %v, want %v", h.log(), want)
		}
		pass(time.Second)
		if want := []string{"m0", "save:s1", "m1", "save:s3+s4", "m2", "m3", "m4"}; !slices.Equal(h.log(), want) {
			t.Errorf("what gathered is one save, released in order: %v, want %v", h.log(), want)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestASaveThatFailsEndsTheLoopAndReleasesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hand{wait: time.Second, fails: "s2"}
		l, stop := start(t, &echo{}, h, nil, Config{})
		for _, in := range []string{"s1 m1", "s2 m2", "m3"} {
			post(t, l, in)
			synctest.Wait()
		}
		<-l.Done()
		if want := []string{"save:s1", "m1"}; !slices.Equal(h.log(), want) {
			t.Errorf("released: %v, want %v", h.log(), want)
		}
		if err := l.Post("m4"); !errors.Is(err, ErrStopped) {
			t.Errorf("a loop that has ended takes an input: %v", err)
		}
		if err := stop(); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("Run says %v", err)
		}
	})
}

func TestALoopThatIsToldToEndDropsWhatIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hand{wait: time.Second}
		l, stop := start(t, &echo{}, h, nil, Config{})
		post(t, l, "s1 m1")
		synctest.Wait()
		post(t, l, "s2 m2")
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, x := range h.log() {
			if x == "m2" && !slices.Contains(h.log(), "save:s2") {
				t.Errorf("%v: what was not saved was released", h.log())
			}
		}
		if !slices.Contains(h.log(), "m1") {
			t.Errorf("%v: what was saved is released before the end", h.log())
		}
	})
}

func TestAMachineIsWokenAtItsDeadlineAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hand{}
		m := &echo{due: 5 * time.Second}
		_, stop := start(t, m, h, nil, Config{})
		pass(4 * time.Second)
		if m.woken.Load() != 0 {
			t.Error("it was woken before its deadline")
		}
		pass(2 * time.Second)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if m.woken.Load() != 1 || !slices.Equal(h.log(), []string{"woken"}) {
			t.Errorf("woken %d times, told %v", m.woken.Load(), h.log())
		}
	})
}

func TestAFullMailboxRefusesPostsAndLetsPutsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hand{wait: time.Second}
		l := New[string, string, string, string, string](&echo{}, h, bubbleClock{time.Now()}, nil, Config{Mailbox: 2})
		post(t, l, "m1", "m2")
		if err := l.Post("m3"); !errors.Is(err, ErrFull) {
			t.Errorf("a full mailbox says %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Put(short, "m3"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put into a full mailbox ends with %v", err)
		}
		put := make(chan error, 1)
		go func() { put <- l.Put(t.Context(), "m3") }()
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		if err := <-put; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []string{"m1", "m2", "m3"}; !slices.Equal(h.log(), want) {
			t.Errorf("%v, want %v", h.log(), want)
		}
	})
}
