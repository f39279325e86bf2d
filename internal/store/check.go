package store

import (
	"fmt"

	"github.com/pando-os/pando/internal/fault"
)

// Check says, as fault.Invalid, why a store with these limits would not take the transaction. Stores call it before they
// ask anybody, so that what is refused here is known to have changed nothing.
func (l Limits) Check(txn Txn) error {
	if n := max(len(txn.If), len(txn.Then)); n > l.Ops {
		return fault.New(fault.Invalid, "the transaction has %d conditions and %d changes, the store takes %d of each: cut it",
			len(txn.If), len(txn.Then), l.Ops)
	}
	size := 0
	seen := make(map[string]struct{}, len(txn.Then))
	for _, op := range txn.Then {
		if op.Key == "" {
			return fault.New(fault.Invalid, "a change has an empty key")
		}
		if _, twice := seen[op.Key]; twice {
			return fault.New(fault.Invalid, "the transaction changes key %q twice: keep the last change", op.Key)
		}
		seen[op.Key] = struct{}{}
		size += len(op.Key) + len(op.Value)
	}
	for _, c := range txn.If {
		size += len(c.Key)
	}
	if size > l.Bytes {
		return fault.New(fault.Invalid, "the transaction has %d bytes, the store takes %d: cut it", size, l.Bytes)
	}
	return nil
}

// Refused makes the error of a condition that did not hold: the key was found at revision found, zero when it was missing.
func Refused(c Condition, found int64) error {
	state := func(revision int64) string {
		if revision == 0 {
			return "missing"
		}
		return fmt.Sprintf("at revision %d", revision)
	}
	return fault.New(fault.Conflict, "%w: key %q should be %s and is %s", ErrRefused, c.Key, state(c.Revision), state(found))
}

// Unknown makes the error of a commit whose answer did not come.
func Unknown(cause error) error {
	return fault.New(fault.Unavailable, "%w: %w", ErrUnknown, cause)
}
