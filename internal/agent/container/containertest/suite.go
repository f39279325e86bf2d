package containertest

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/agent/container"
)

// Rig is one machine to test on.
type Rig struct {
	// Open starts the agent's runtime; called again after Close it finds what runs on the same machine.
	Open func() container.Runtime
	// Sandbox makes a directory for a container.
	Sandbox func(id string) string
}

// Suite holds a Runtime to its contract.
func Suite(t *testing.T, machine func(*testing.T) Rig) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*rig)
	}{
		{"a command that ends well has status 0 and can be forgotten", endsWell},
		{"an exit code arrives as wait would give it", exitCode},
		{"a kill with grace is a SIGTERM", killTerm},
		{"a kill without grace is a SIGKILL", killNow},
		{"a command that ignores SIGTERM is killed when its grace ends", killStubborn},
		{"a later kill shortens the grace and never lengthens it", killShortens},
		{"killing or forgetting what is not there is no error", killNothing},
		{"what still runs cannot be forgotten", forgetRunning},
		{"an id is taken until it is forgotten", idTaken},
		{"an id that could be a path is refused", idPath},
		{"an unknown user and a missing command are told apart", refusals},
		{"a launch whose context has ended leaves nothing", launchCancelled},
		{"a command that takes too long is ended and says so", tooLong},
		{"a restarted agent finds what runs and what has ended", recovery},
		{"a kill outlives the agent", killOutlives},
		{"a completion time outlives the agent", completionOutlives},
		{"a command beside a container gives its exit code", beside},
		{"a command beside a container ends with its context", besideCancelled},
		{"there is no command or statistic beside what does not run", besideNothing},
		{"a running container has statistics", statistics},
		{"a running container may be given more, and one that has ended may not", resized},
		{"a container below another ends by itself and the other goes on", belowEnds},
		{"a container that is killed takes those below it along, the lowest first", belowKilled},
		{"a grace holds for those below too", belowGrace},
		{"a container that ends takes those below it along", belowEndsWithParent},
		{"a container without a command holds others until it is killed", holds},
		{"a container without a command must be alone and runs none beside it", holdsAlone},
		{"nothing starts below what does not run", belowNothing},
		{"a container that shares a cgroup has the statistics and limits of the one above", belowShares},
		{"a restarted agent finds who is below whom", belowRecovered},
		{"a kill of a container and those below it outlives the agent", belowKillOutlives},
		{"what a session writes comes to its owner, and its exit code after it", sessionSpeaks},
		{"a session is killed when its owner goes", sessionDies},
		{"a session reads what is written to it until that ends", sessionReads},
		{"one may write to a container at a time, and another after it", oneWriter},
		{"a container without terminal or session cannot be attached to", unattachable},
		{"a terminal outlives its agent and who is attached to it", terminalStays},
		{"a signal is for the main process", signalled},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &rig{TB: t, Rig: machine(t), pids: map[string]uint32{}}
			r.Runtime = r.Open()
			t.Cleanup(func() { r.Close() })
			if _, err := r.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.run(r)
		})
	}
}

// rig is a Rig in use.
type rig struct {
	testing.TB
	Rig
	container.Runtime
	n    int
	pids map[string]uint32
}

func (r *rig) spec(args ...string) container.Spec {
	r.n++
	id := "c" + strconv.Itoa(r.n)
	return container.Spec{ID: id, Sandbox: r.Sandbox(id), Path: args[0], Args: args, Env: []string{"PATH=/usr/bin:/bin"}, CPUs: 100, Mem: 64000}
}

func (r *rig) launch(s container.Spec) container.Started {
	r.Helper()
	st, err := r.Launch(r.Context(), s)
	if err != nil {
		r.Fatal(err)
	}
	r.pids[s.ID] = st.PID
	return st
}

// exit waits for the next exit and forgets it.
func (r *rig) exit(id string) container.Exit {
	r.Helper()
	select {
	case e := <-r.Exits():
		if e.ID != id {
			r.Fatalf("the exit of %s came, not of %s", e.ID, id)
		}
		if err := r.Forget(id); err != nil {
			r.Fatal(err)
		}
		if !e.Known || e.ShimDied || e.OOM || e.Wall == 0 {
			r.Errorf("unexpected exit %+v", e)
		}
		return e
	case <-time.After(20 * time.Second):
		r.Fatalf("no exit of %s came", id)
	}
	panic("unreachable")
}

func (r *rig) wantStatus(id string, want uint32) container.Exit {
	r.Helper()
	e := r.exit(id)
	if e.WaitStatus != want {
		r.Errorf("wait status %#x, want %#x", e.WaitStatus, want)
	}
	return e
}

func (r *rig) wantKind(err error, want container.Kind) {
	r.Helper()
	if got := container.KindOf(err); got != want {
		r.Errorf("error %v is of kind %q, want %q", err, got, want)
	}
}

// states recovers anew, as a restarted agent.
func (r *rig) states() []container.State {
	r.Helper()
	r.Close()
	r.Runtime = r.Open()
	s, err := r.Recover(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	return s
}

func endsWell(r *rig) {
	s := r.spec("true")
	st := r.launch(s)
	if st.PID == 0 || st.StartTicks == 0 || st.Wall == 0 {
		r.Errorf("incomplete start %+v", st)
	}
	if e := r.wantStatus(s.ID, 0); e.Killed || e.TimedOut {
		r.Errorf("unexpected exit %+v", e)
	}
	if left := r.states(); len(left) > 0 {
		r.Errorf("still known: %+v", left)
	}
}

func exitCode(r *rig) {
	s := r.spec("sh", "-c", "exit 7")
	r.launch(s)
	r.wantStatus(s.ID, 7<<8)
}

func killTerm(r *rig) {
	s := r.spec("sleep", "1000")
	r.launch(s)
	r.Kill(s.ID, time.Minute)
	if e := r.wantStatus(s.ID, uint32(syscall.SIGTERM)); !e.Killed {
		r.Error("it does not say that it was killed")
	}
}

func killNow(r *rig) {
	s := r.spec("sleep", "1000")
	r.launch(s)
	r.Kill(s.ID, 0)
	r.wantStatus(s.ID, uint32(syscall.SIGKILL))
}

// trapped waits until the shell ignores SIGTERM, which it does a moment after it was executed. Bit 14 of SigIgn tells.
func (r *rig) trapped(s container.Spec) {
	ask := container.Command{Args: []string{"sh", "-c", "for i in $(seq 200); do grep -qi '^SigIgn:.*[4-7c-f][0-9a-f][0-9a-f][0-9a-f]$' /proc/" +
		strconv.Itoa(int(r.pids[s.ID])) + "/status && exit 0; sleep 0.02; done; exit 0"}}
	if code, err := r.Run(r.Context(), s.ID, ask); err != nil || code != 0 {
		r.Fatalf("cannot see whether the trap is set: %d, %v", code, err)
	}
}

// stubborn gives a command that is sure to ignore SIGTERM by the time it is launched.
func (r *rig) stubborn() container.Spec {
	s := r.spec("sh", "-c", "trap '' TERM; sleep 1000")
	r.launch(s)
	r.trapped(s)
	return s
}

func killStubborn(r *rig) {
	s := r.stubborn()
	r.Kill(s.ID, 50*time.Millisecond)
	r.wantStatus(s.ID, uint32(syscall.SIGKILL))
}

func killShortens(r *rig) {
	s := r.stubborn()
	r.Kill(s.ID, time.Hour)
	r.Kill(s.ID, 20*time.Millisecond)
	r.Kill(s.ID, time.Hour)
	r.wantStatus(s.ID, uint32(syscall.SIGKILL))
}

func killNothing(r *rig) {
	if err := errors.Join(r.Kill("nobody", 0), r.Forget("nobody")); err != nil {
		r.Error(err)
	}
}

func forgetRunning(r *rig) {
	s := r.spec("sleep", "1000")
	r.launch(s)
	r.wantKind(r.Forget(s.ID), container.KindInvalid)
	r.Kill(s.ID, 0)
	r.exit(s.ID)
}

func idTaken(r *rig) {
	s := r.spec("true")
	r.launch(s)
	_, err := r.Launch(r.Context(), s)
	r.wantKind(err, container.KindInvalid)
	r.exit(s.ID)
	s.Sandbox = r.Sandbox("again")
	r.launch(s)
	r.exit(s.ID)
}

func idPath(r *rig) {
	for _, id := range []string{"", ".", "..", "a/b", "../x", "a\x00b"} {
		s := r.spec("true")
		s.ID = id
		_, err := r.Launch(r.Context(), s)
		r.wantKind(err, container.KindInvalid)
	}
}

func refusals(r *rig) {
	s := r.spec("true")
	s.User = "no-such-user"
	_, err := r.Launch(r.Context(), s)
	r.wantKind(err, container.KindUser)
	_, err = r.Launch(r.Context(), r.spec("/no/such/command"))
	r.wantKind(err, container.KindExec)
	_, err = r.Launch(r.Context(), r.spec("no-such-command"))
	r.wantKind(err, container.KindExec)
	if left := r.states(); len(left) > 0 {
		r.Errorf("a refused launch leaves %+v", left)
	}
}

func launchCancelled(r *rig) {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	s := r.spec("sleep", "1000")
	if _, err := r.Launch(ctx, s); !errors.Is(err, context.Canceled) {
		r.Errorf("error %v", err)
	}
	for end := time.Now().Add(10 * time.Second); len(r.states()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.Fatal("it is still there")
		}
	}
}

func tooLong(r *rig) {
	s := r.spec("sleep", "1000")
	s.MaxCompletion, s.KillGrace = 50*time.Millisecond, time.Minute
	r.launch(s)
	if e := r.wantStatus(s.ID, uint32(syscall.SIGTERM)); !e.TimedOut || e.Killed {
		r.Errorf("unexpected exit %+v", e)
	}
}

func recovery(r *rig) {
	ends, runs := r.spec("sh", "-c", "exit 3"), r.spec("sleep", "1000")
	first := r.launch(ends)
	<-r.Exits()
	second := r.launch(runs)
	got := r.states()
	for i := range got {
		if got[i].Exit != nil {
			got[i].Exit.Wall = 0
		}
	}
	want := []container.State{
		{ID: ends.ID, Started: first, Exit: &container.Exit{ID: ends.ID, Known: true, WaitStatus: 3 << 8, MemLimit: memLimit(got, ends.ID)}},
		{ID: runs.ID, Started: second},
	}
	if d := cmp.Diff(want, got); d != "" {
		r.Error(d)
	}
	if err := r.Forget(ends.ID); err != nil {
		r.Error(err)
	}
	r.Kill(runs.ID, 0)
	r.wantStatus(runs.ID, uint32(syscall.SIGKILL))
	if left := r.states(); len(left) > 0 {
		r.Errorf("still known: %+v", left)
	}
}

// memLimit takes what the machine enforces as given: some enforce nothing.
func memLimit(in []container.State, id string) int64 {
	for _, s := range in {
		if s.ID == id && s.Exit != nil {
			return s.Exit.MemLimit
		}
	}
	return 0
}

func killOutlives(r *rig) {
	s := r.stubborn()
	r.Kill(s.ID, 300*time.Millisecond)
	r.Run(r.Context(), s.ID, container.Command{Args: []string{"true"}}) // so the kill has arrived
	r.Close()
	time.Sleep(400 * time.Millisecond)
	r.Runtime = r.Open()
	st, err := r.Recover(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	if len(st) != 1 {
		r.Fatalf("recovered %+v", st)
	}
	if st[0].Exit == nil { // a slow machine: it comes
		r.wantStatus(s.ID, uint32(syscall.SIGKILL))
		return
	}
	if st[0].Exit.WaitStatus != uint32(syscall.SIGKILL) {
		r.Errorf("unexpected exit %+v", st[0].Exit)
	}
	r.Forget(s.ID)
}

func completionOutlives(r *rig) {
	s := r.spec("sleep", "1000")
	s.MaxCompletion, s.KillGrace = 200*time.Millisecond, time.Minute
	r.launch(s)
	r.Close()
	time.Sleep(300 * time.Millisecond)
	r.Runtime = r.Open()
	st, err := r.Recover(r.Context())
	if err != nil || len(st) != 1 {
		r.Fatalf("recovered %+v, %v", st, err)
	}
	e := st[0].Exit
	if e == nil { // a slow machine: it comes
		got := r.exit(s.ID)
		e = &got
	}
	if !e.TimedOut || e.WaitStatus != uint32(syscall.SIGTERM) {
		r.Errorf("unexpected exit %+v", e)
	}
	r.Forget(s.ID)
}

func beside(r *rig) {
	s := r.spec("sleep", "1000")
	r.launch(s)
	for want, args := range map[int][]string{0: {"true"}, 1: {"false"}, 42: {"sh", "-c", "exit 42"}} {
		if got, err := r.Run(r.Context(), s.ID, container.Command{Args: args}); err != nil || got != want {
			r.Errorf("%v gives %d, %v", args, got, err)
		}
	}
	_, err := r.Run(r.Context(), s.ID, container.Command{Args: []string{"/no/such/command"}})
	r.wantKind(err, container.KindExec)
	r.Kill(s.ID, 0)
	r.exit(s.ID)
}

func besideCancelled(r *rig) {
	s := r.spec("sleep", "1000")
	r.launch(s)
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := r.Run(ctx, s.ID, container.Command{Args: []string{"sleep", "1000"}}); !errors.Is(err, context.DeadlineExceeded) {
		r.Errorf("error %v", err)
	}
	r.Kill(s.ID, 0)
	r.exit(s.ID)
}

func besideNothing(r *rig) {
	_, err := r.Run(r.Context(), "nobody", container.Command{Args: []string{"true"}})
	r.wantKind(err, container.KindGone)
	_, err = r.Stats("nobody")
	r.wantKind(err, container.KindGone)
}

func statistics(r *rig) {
	s := r.spec("sleep", "1000")
	r.launch(s)
	if st, err := r.Stats(s.ID); err != nil || st.Timestamp == 0 {
		r.Errorf("%+v, %v", st, err)
	}
	r.Kill(s.ID, 0)
	r.exit(s.ID)
}

func resized(r *rig) {
	s := r.spec("sleep", "1000")
	s.Alone = true
	r.launch(s)
	if err := r.Resize(s.ID, container.Limits{CPUs: 2000, Mem: 128000}); err != nil {
		r.Error(err)
	}
	r.Kill(s.ID, 0)
	r.exit(s.ID)
	if err := r.Resize(s.ID, container.Limits{CPUs: 2000, Mem: 128000}); container.KindOf(err) != container.KindGone {
		r.Errorf("resizing what has ended: %v", err)
	}
}
