package clock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func fired(t Timer) bool {
	select {
	case <-t.C():
		return true
	default:
		return false
	}
}

func TestFakeFiresOnlyWhatIsDue(t *testing.T) {
	c := NewFake(epoch)
	early, late := c.NewTimer(time.Second), c.NewTimer(3*time.Second)
	c.Advance(2 * time.Second)
	if !fired(early) || fired(late) {
		t.Fatal("after two seconds only the first timer is due")
	}
	c.Advance(time.Second)
	if !fired(late) {
		t.Fatal("the second timer did not fire when its time came")
	}
	if got := c.Now().Time(); !got.Equal(epoch.Add(3 * time.Second)) {
		t.Fatalf("wall reading %v", got)
	}
}

func TestFakeTimerStoppedOrResetSendsNothingOld(t *testing.T) {
	c := NewFake(epoch)
	stopped, reset := c.NewTimer(time.Second), c.NewTimer(time.Second)
	c.Advance(time.Second)
	stopped.Stop()
	reset.Reset(time.Second)
	if fired(stopped) || fired(reset) {
		t.Fatal("a firing outlived Stop or Reset")
	}
	c.Advance(time.Second)
	if fired(stopped) || !fired(reset) {
		t.Fatal("Reset must fire again, Stop must not")
	}
}

func TestFakeJumpMovesTheWallAlone(t *testing.T) {
	c := NewFake(epoch)
	before := c.Now()
	c.Jump(-time.Hour)
	after := c.Now()
	if after.Mono != before.Mono || after.Wall != before.Wall-int64(time.Hour) {
		t.Fatalf("%+v became %+v", before, after)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Sleep(ctx, NewFake(epoch), time.Hour); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestAwaitSeesTheSleeper(t *testing.T) {
	c := NewFake(epoch)
	done := make(chan error, 1)
	go func() { done <- Sleep(t.Context(), c, time.Minute) }()
	if err := c.Await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Minute)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRealMonoNeverStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Real()
		first := c.Now()
		if first.Mono <= 0 {
			t.Fatal("a Mono of zero would mean never")
		}
		if err := Sleep(t.Context(), c, time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := c.Now().Mono - first.Mono; got != time.Hour {
			t.Fatalf("an hour took %v", got)
		}
	})
}
