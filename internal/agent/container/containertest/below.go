package containertest

import (
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/agent/container"
)

// below describes a container below another.
func (r *rig) below(parent string, share bool, args ...string) container.Spec {
	s := r.spec(args...)
	s.Parent, s.ShareCgroup = parent, share
	return s
}

// holder starts a container without a command.
func (r *rig) holder() container.Spec {
	r.Helper()
	s := r.spec("")
	s.Path, s.Args, s.Alone = "", nil, true
	if st := r.launch(s); st.PID == 0 || st.StartTicks == 0 || st.Wall == 0 {
		r.Errorf("it started as %+v", st)
	}
	return s
}

func belowEnds(r *rig) {
	top := r.spec("sleep", "1000")
	r.launch(top)
	for _, share := range []bool{true, false} {
		ends, stays := r.below(top.ID, share, "sh", "-c", "exit 3"), r.below(top.ID, share, "sleep", "1000")
		r.launch(stays)
		if st := r.launch(ends); st.PID == 0 || st.StartTicks == 0 {
			r.Errorf("incomplete start %+v", st)
		}
		if e := r.wantStatus(ends.ID, 3<<8); e.Killed {
			r.Error("it says that it was killed")
		}
		if code, err := r.Run(r.Context(), stays.ID, container.Command{Args: []string{"sh", "-c", "exit 4"}}); err != nil || code != 4 {
			r.Errorf("a command beside it gives %d, %v", code, err)
		}
		r.Kill(stays.ID, 0)
		r.wantStatus(stays.ID, uint32(syscall.SIGKILL))
	}
	if code, err := r.Run(r.Context(), top.ID, container.Command{Args: []string{"true"}}); err != nil || code != 0 {
		r.Errorf("the one above has gone: %d, %v", code, err)
	}
	r.Kill(top.ID, 0)
	r.exit(top.ID)
}

func belowKilled(r *rig) {
	top := r.spec("sleep", "1000")
	r.launch(top)
	middle := r.below(top.ID, true, "sleep", "1000")
	r.launch(middle)
	low := r.below(middle.ID, true, "sleep", "1000")
	r.launch(low)
	r.Kill(top.ID, 0)
	for _, id := range []string{low.ID, middle.ID, top.ID} {
		if e := r.wantStatus(id, uint32(syscall.SIGKILL)); !e.Killed {
			r.Errorf("%s does not say that it was killed", id)
		}
	}
}

func belowGrace(r *rig) {
	top := r.holder()
	gentle := r.below(top.ID, true, "sleep", "1000")
	r.launch(gentle)
	stubborn := r.below(top.ID, false, "sh", "-c", "trap '' TERM; sleep 1000")
	r.launch(stubborn)
	r.trapped(stubborn)
	r.Kill(top.ID, 200*time.Millisecond)
	r.wantStatus(gentle.ID, uint32(syscall.SIGTERM))
	r.wantStatus(stubborn.ID, uint32(syscall.SIGKILL))
	r.wantStatus(top.ID, 0)
}

func belowEndsWithParent(r *rig) {
	top := r.spec("sh", "-c", "sleep 0.3")
	r.launch(top)
	low := r.below(top.ID, true, "sleep", "1000")
	r.launch(low)
	if e := r.wantStatus(low.ID, uint32(syscall.SIGKILL)); !e.Killed {
		r.Error("it does not say that it was killed")
	}
	if e := r.wantStatus(top.ID, 0); e.Killed {
		r.Error("the one above says that it was killed")
	}
}

func holds(r *rig) {
	top := r.holder()
	for _, share := range []bool{true, false} {
		low := r.below(top.ID, share, "sh", "-c", "exit 5")
		r.launch(low)
		r.wantStatus(low.ID, 5<<8)
	}
	select {
	case e := <-r.Exits():
		r.Fatalf("unexpected exit %+v", e)
	case <-time.After(50 * time.Millisecond):
	}
	r.Kill(top.ID, time.Minute)
	if e := r.wantStatus(top.ID, 0); !e.Killed {
		r.Error("it does not say that it was killed")
	}
	if left := r.states(); len(left) > 0 {
		r.Errorf("still known: %+v", left)
	}
}

func holdsAlone(r *rig) {
	s := r.spec("")
	s.Path, s.Args = "", nil
	_, err := r.Launch(r.Context(), s)
	r.wantKind(err, container.KindInvalid)
	top := r.holder()
	s.Alone, s.Parent = true, top.ID
	_, err = r.Launch(r.Context(), s)
	r.wantKind(err, container.KindInvalid)
	_, err = r.Run(r.Context(), top.ID, container.Command{Args: []string{"true"}})
	r.wantKind(err, container.KindInvalid)
	r.Kill(top.ID, 0)
	r.exit(top.ID)
}

func belowNothing(r *rig) {
	_, err := r.Launch(r.Context(), r.below("nobody", true, "true"))
	r.wantKind(err, container.KindGone)
	top := r.spec("true")
	r.launch(top)
	r.exit(top.ID)
	_, err = r.Launch(r.Context(), r.below(top.ID, false, "true"))
	r.wantKind(err, container.KindGone)
	ending := r.stubborn()
	r.Kill(ending.ID, time.Second)
	r.Run(r.Context(), ending.ID, container.Command{Args: []string{"true"}}) // so the kill has arrived
	_, err = r.Launch(r.Context(), r.below(ending.ID, true, "true"))
	r.wantKind(err, container.KindGone)
	r.Kill(ending.ID, 0)
	r.exit(ending.ID)
	if left := r.states(); len(left) > 0 {
		r.Errorf("a refused launch leaves %+v", left)
	}
}

func belowShares(r *rig) {
	top := r.holder()
	shares, own := r.below(top.ID, true, "sleep", "1000"), r.below(top.ID, false, "sleep", "1000")
	own.Mem = 40000
	r.launch(shares)
	r.launch(own)
	if err := r.Resize(top.ID, container.Limits{CPUs: 200, Mem: 128000}); err != nil {
		r.Error(err)
	}
	if err := r.Resize(own.ID, container.Limits{CPUs: 100, Mem: 48000}); err != nil {
		r.Error(err)
	}
	r.wantKind(r.Resize(shares.ID, container.Limits{CPUs: 100, Mem: 96000}), container.KindInvalid)
	limit := func(id string) int {
		st, err := r.Stats(id)
		if err != nil {
			r.Error(err)
		}
		return int(st.MemLimit * 1000 >> 20)
	}
	for id, want := range map[string]int{top.ID: 128000, shares.ID: 128000, own.ID: 48000} {
		if got := limit(id); got < want-100 || got > want {
			r.Errorf("%s may use %d thousandths of a megabyte, want %d", id, got, want)
		}
	}
	r.Kill(own.ID, 0)
	r.exit(own.ID)
	r.Kill(shares.ID, 0)
	r.exit(shares.ID)
	r.Kill(top.ID, 0)
	r.exit(top.ID)
}

func belowRecovered(r *rig) {
	top := r.holder()
	low := r.below(top.ID, true, "sleep", "1000")
	first := r.launch(low)
	ended := r.below(top.ID, false, "true")
	r.launch(ended)
	<-r.Exits()
	got := r.states()
	parents := map[string]string{}
	for _, s := range got {
		parents[s.ID] = s.Parent
		if s.ID == low.ID && (s.Started != first || s.Exit != nil) || s.ID == ended.ID && s.Exit == nil || s.ID == top.ID && s.Exit != nil {
			r.Errorf("recovered %+v", s)
		}
	}
	if d := cmp.Diff(map[string]string{top.ID: "", low.ID: top.ID, ended.ID: top.ID}, parents); d != "" {
		r.Error(d)
	}
	r.Forget(ended.ID)
	more := r.below(low.ID, true, "sleep", "1000")
	r.launch(more)
	r.Kill(top.ID, 0)
	r.wantStatus(more.ID, uint32(syscall.SIGKILL))
	r.wantStatus(low.ID, uint32(syscall.SIGKILL))
	r.wantStatus(top.ID, 0)
}

func belowKillOutlives(r *rig) {
	top := r.holder()
	low := r.below(top.ID, false, "sh", "-c", "trap '' TERM; sleep 1000")
	r.launch(low)
	r.trapped(low)
	r.Kill(top.ID, 300*time.Millisecond)
	r.Run(r.Context(), low.ID, container.Command{Args: []string{"true"}}) // so the kill has arrived
	r.Close()
	time.Sleep(400 * time.Millisecond)
	r.Runtime = r.Open()
	states, err := r.Recover(r.Context())
	if err != nil || len(states) != 2 {
		r.Fatalf("recovered %+v, %v", states, err)
	}
	for _, s := range states {
		if s.Exit == nil { // a slow machine: it comes
			r.exit(s.ID)
			continue
		}
		if !s.Exit.Killed || s.ID == low.ID && s.Exit.WaitStatus != uint32(syscall.SIGKILL) {
			r.Errorf("unexpected exit %+v", s.Exit)
		}
		r.Forget(s.ID)
	}
}
