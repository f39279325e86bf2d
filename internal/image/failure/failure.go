// Package failure is the errors of images: a kind that callers can tell apart, the reference it is about, and words that
// say what to change. It is below the parts of internal/image, which all make them.
package failure

import (
	"context"
	"errors"
	"fmt"

	"github.com/pando-os/pando/internal/fault"
)

// Kind says what went wrong, finer than internal/fault, which each Error carries too.
type Kind uint8

// The kinds. The zero kind is Internal: a failure that nobody classified is our own or the machine's.
const (
	Internal     Kind = iota
	Invalid           // a reference, setting or credential that can never work as it is written
	NotFound          // the registry, or the store, has no such image
	Unauthorised      // the registry wants other credentials
	Unreachable       // the registry does not answer, or answers that it cannot now; the same may work later
	BadDigest         // bytes are not what their digest says
	TooLarge          // a limit of this store
	BadArchive        // a layer, manifest or archive that cannot be read or would leave its directory
	NoPlatform        // the image is not made for this machine
	Canceled          // the caller gave up
	InUse             // it is held, and may not be removed
	NotPermitted      // this process lacks the rights that unpacking takes
)

var kinds = [...]struct {
	name string
	kind fault.Kind
}{
	Internal:     {"internal", fault.Internal},
	Invalid:      {"invalid", fault.Invalid},
	NotFound:     {"not found", fault.NotFound},
	Unauthorised: {"unauthorised", fault.Denied},
	Unreachable:  {"unreachable", fault.Unavailable},
	BadDigest:    {"bad digest", fault.Invalid},
	TooLarge:     {"too large", fault.Invalid},
	BadArchive:   {"bad archive", fault.Invalid},
	NoPlatform:   {"no such platform", fault.Invalid},
	Canceled:     {"canceled", fault.Unavailable},
	InUse:        {"in use", fault.Conflict},
	NotPermitted: {"not permitted", fault.Internal},
}

// String is the kind in words, for logs and metrics.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k].name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error is a failure about an image. Its words never hold a credential.
type Error struct {
	Kind Kind
	// Image is the reference or digest it is about; empty where the caller knows it.
	Image string
	err   error
}

// Error gives the words.
func (e *Error) Error() string {
	if e.Image == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("image %s: %v", e.Image, e.err)
}

// Unwrap gives the fault that carries the coarser kind, and through it what was wrapped.
func (e *Error) Unwrap() error {
	k := fault.Internal
	if int(e.Kind) < len(kinds) {
		k = kinds[e.Kind].kind
	}
	return fault.Wrap(k, e.err)
}

// New makes an error of a kind. The format may hold %w, as in fmt.Errorf.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, err: fmt.Errorf(format, args...)}
}

// Wrap puts words before err and keeps the kind that it has; what has none gets k. Nil stays nil.
func Wrap(k Kind, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if had, ok := kindOf(err); ok {
		k = had
	}
	return New(k, format+": %w", append(args, err)...)
}

// About names the image that err is about, once, and sees that it has a kind. Nil stays nil.
func About(image string, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if ok && e.Image != "" {
		return err
	}
	return &Error{Kind: Of(err), Image: image, err: err}
}

// Of is the kind of err: the outermost in its chain. An ended context is Canceled, anything else without a kind Internal.
func Of(err error) Kind {
	k, _ := kindOf(err)
	return k
}

func kindOf(err error) (Kind, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind, true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Canceled, true
	}
	return Internal, false
}

// Is says whether err is of kind k; a nil error is of none.
func Is(err error, k Kind) bool { return err != nil && Of(err) == k }
