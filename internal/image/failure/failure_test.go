package failure

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pando-os/pando/internal/fault"
)

func TestAnErrorKeepsItsKindThroughWordsAndNames(t *testing.T) {
	err := About("r/a:1", Wrap(Internal, New(TooLarge, "too long"), "unpack %s", "x"))
	if !Is(err, TooLarge) || fault.Of(err) != fault.Invalid {
		t.Errorf("kind %v, fault %v", Of(err), fault.Of(err))
	}
	if got, want := err.Error(), "image r/a:1: unpack x: too long"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if About("other", err) != err {
		t.Error("an image was named twice")
	}
	if Wrap(Internal, nil, "x") != nil || About("x", nil) != nil || Is(nil, Internal) {
		t.Error("nil became an error")
	}
}

func TestAContextThatEndedIsCanceledHoweverDeep(t *testing.T) {
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
		err := About("x", fmt.Errorf("read: %w", cause))
		if !Is(err, Canceled) || !errors.Is(err, cause) || fault.Of(err) != fault.Unavailable {
			t.Errorf("%v is %v", err, Of(err))
		}
	}
	if k := Of(errors.New("x")); k != Internal {
		t.Errorf("an error without a kind is %v", k)
	}
}

func TestEveryKindHasANameAndAFault(t *testing.T) {
	for k := Internal; k <= NotPermitted; k++ {
		if kinds[k].name == "" || k.String() != kinds[k].name {
			t.Errorf("kind %d has no name", k)
		}
	}
	if Kind(200).String() != "kind 200" {
		t.Error(Kind(200).String())
	}
}
