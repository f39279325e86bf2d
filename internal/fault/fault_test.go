package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestKindSurvivesTheWire(t *testing.T) {
	for k := Internal; k <= Unavailable; k++ {
		if got := FromStatus(k.Status()); got != k {
			t.Errorf("%v travels as %d and arrives as %v", k, k.Status(), got)
		}
	}
}

func TestStatusWithoutAKindTakesItsClass(t *testing.T) {
	for status, want := range map[int]Kind{401: Denied, 412: Conflict, 418: Invalid, 502: Unavailable, 504: Unavailable, 599: Internal} {
		if got := FromStatus(status); got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
}

func TestKindIsFoundThroughWrapping(t *testing.T) {
	inner := New(NotFound, "no agent %q", "a1")
	for _, tc := range []struct {
		name string
		err  error
		want Kind
	}{
		{"bare", inner, NotFound},
		{"wrapped by fmt", fmt.Errorf("reading: %w", inner), NotFound},
		{"the outermost kind wins", Wrap(Unavailable, fmt.Errorf("asking the master: %w", inner)), Unavailable},
		{"a stranger's error is ours to explain", io.EOF, Internal},
		{"a deadline leaves the outcome open", fmt.Errorf("put: %w", context.DeadlineExceeded), Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Of(tc.err); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
	if !errors.Is(Wrap(Gone, io.EOF), io.EOF) {
		t.Error("Wrap hides what it wraps")
	}
	if Wrap(Gone, nil) != nil || Is(nil, Internal) {
		t.Error("no error became an error")
	}
}

func TestBusySaysWhenToComeBack(t *testing.T) {
	err := fmt.Errorf("launching: %w", Later(3*time.Second, "queue full"))
	if !Is(err, Busy) || RetryAfter(err) != 3*time.Second {
		t.Errorf("got %v, %v", Of(err), RetryAfter(err))
	}
}
