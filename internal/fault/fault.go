// Package fault gives errors a kind that outlives the wire: a shell turns the kind into an HTTP status, a client turns the
// status into the same kind, and callers on either side ask the same question of the error they hold.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kind says what an error means to the one who asked, never where it happened.
type Kind uint8

// The kinds. The zero kind is Internal, so that an error nobody classified is our own failure and not the caller's.
const (
	// Internal is a broken promise of ours; the caller can do nothing about it.
	Internal Kind = iota
	// Invalid is a request that can never succeed as it is.
	Invalid
	// NotFound is a name that nothing bears.
	NotFound
	// Conflict is a request that the present state forbids: a compare that was refused, a name already taken.
	Conflict
	// Denied is a request that this caller may not make.
	Denied
	// Busy is a limit reached; the same request may succeed later (see RetryAfter).
	Busy
	// Gone is something that existed and will not come back, such as a watch position that was compacted away.
	Gone
	// Unavailable is a part that cannot be reached, or an answer that did not come: what was asked may have happened.
	Unavailable
)

var kinds = [...]struct {
	name   string
	status int
}{
	Internal:    {"internal", http.StatusInternalServerError},
	Invalid:     {"invalid", http.StatusBadRequest},
	NotFound:    {"not found", http.StatusNotFound},
	Conflict:    {"conflict", http.StatusConflict},
	Denied:      {"denied", http.StatusForbidden},
	Busy:        {"busy", http.StatusTooManyRequests},
	Gone:        {"gone", http.StatusGone},
	Unavailable: {"unavailable", http.StatusServiceUnavailable},
}

// String is the kind in words, for logs.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k].name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Status is the HTTP status that carries the kind.
func (k Kind) Status() int {
	if int(k) < len(kinds) {
		return kinds[k].status
	}
	return http.StatusInternalServerError
}

// FromStatus is the kind an HTTP status of 400 or more stands for. A status without a kind of its own takes the kind of its
// class: Invalid for 4xx, Internal for the rest.
func FromStatus(status int) Kind {
	switch status {
	case http.StatusUnauthorized:
		return Denied
	case http.StatusPreconditionFailed, http.StatusLocked:
		return Conflict
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return Unavailable
	}
	for k, v := range kinds {
		if v.status == status {
			return Kind(k)
		}
	}
	if status >= 400 && status < 500 {
		return Invalid
	}
	return Internal
}

// Error is an error with a kind. Make one with New or Wrap and look at one with Of; the type is exported for errors.As
// alone.
type Error struct {
	// Kind is what the error means to the caller.
	Kind Kind
	// RetryAfter is how long to wait before asking again; zero when nothing is known. Only Busy and Unavailable carry it.
	RetryAfter time.Duration
	err        error
}

// Error is the message, without the kind: the status or the reader's question already says it.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap gives what was wrapped.
func (e *Error) Unwrap() error { return e.err }

// New makes an error of a kind. The format may hold %w, as in fmt.Errorf.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind, which wins over one it had; nil stays nil.
func Wrap(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, err: err}
}

// Later makes a Busy error that says when to come back.
func Later(after time.Duration, format string, args ...any) error {
	return &Error{Kind: Busy, RetryAfter: after, err: fmt.Errorf(format, args...)}
}

// Of is the kind of err: the outermost one in its chain. A context that ended is Unavailable, since what was under way may
// have happened; anything else without a kind is Internal. Of(nil) is Internal and means nothing.
func Of(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable
	}
	return Internal
}

// Is says whether err is of kind k; a nil error is of none.
func Is(err error, k Kind) bool { return err != nil && Of(err) == k }

// RetryAfter is the wait that the outermost kind in err's chain asks for, or zero.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
