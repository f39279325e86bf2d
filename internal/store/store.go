// Package store is what outlives a master: versioned keys changed by compared transactions, watched in order, and a lease
// that elects one leader. store/etcd keeps them in etcd, embedded or existing; store/mem in memory for tests and the
// simulator; store/storetest is the one suite that both pass.
package store

import (
	"context"
	"errors"
	"time"
)

// Two ways for a Commit to fail that a caller must tell apart. Both are found with errors.Is.
var (
	// ErrRefused says that a condition did not hold and nothing was changed; its kind is fault.Conflict.
	ErrRefused = errors.New("the transaction's condition does not hold")
	// ErrUnknown says that no answer came and the transaction may or may not have happened, now or a little later; its kind
	// is fault.Unavailable. Only reading the store again tells.
	ErrUnknown = errors.New("the outcome of the transaction is unknown")
)

// Pair is a key, its value and when it changed. Value belongs to the reader; nobody changes it afterwards.
type Pair struct {
	Key   string
	Value []byte
	// Revision is the store's revision at which the key was last put, 1 or more. No two commits share a revision.
	Revision int64
}

// Condition is a claim about one key that must hold for a transaction to happen.
type Condition struct {
	Key string
	// Revision is the Pair.Revision the key must have; zero: the key must not exist.
	Revision int64
}

// Missing is the condition that a key does not exist.
func Missing(key string) Condition { return Condition{Key: key} }

// Unchanged is the condition that a key is as it was read: it was last put at this revision.
func Unchanged(key string, revision int64) Condition {
	return Condition{Key: key, Revision: revision}
}

// Op is one change of a transaction.
type Op struct {
	Key    string
	Value  []byte
	Delete bool  // true: the key goes, and Value and Lease are not looked at
	Lease  Lease // not nil: the key goes when the lease ends
}

// Put sets a key.
func Put(key string, value []byte) Op { return Op{Key: key, Value: value} }

// Delete removes a key; one that does not exist is no error.
func Delete(key string) Op { return Op{Key: key, Delete: true} }

// Txn is a set of changes that happen all together, if every condition holds, or not at all. No key may be named by two
// of its Ops.
type Txn struct {
	If   []Condition
	Then []Op
}

// Limits bound one transaction. A caller that gathers changes cuts them below these.
type Limits struct {
	Ops   int // of Then, and of If
	Bytes int // keys and values together
}

// Change is one commit as a watcher sees it: what it did to the keys below the watched prefix, and nothing else.
type Change struct {
	Revision int64
	Puts     []Pair
	Deletes  []string
	// Err is set on the last Change alone, when the watch cannot go on: fault.Gone when the position asked for is older than
	// what the store remembers (List again and watch from there), fault.Unavailable when the store went away.
	Err error
}

// Lease is a promise to be alive. It is renewed by the store's client until it is revoked or the store is closed.
type Lease interface {
	// Done is closed when the lease may have ended: it was revoked, ran out, or could not be renewed for so long that it
	// must be taken as run out.
	Done() <-chan struct{}
	// Revoke ends the lease and removes its keys at once.
	Revoke(ctx context.Context) error
}

// Store keeps the keys. Its methods may be called from any goroutine; every one that waits ends with its context.
type Store interface {
	// Get reads one key; fault.NotFound when it does not exist.
	Get(ctx context.Context, key string) (Pair, error)
	// List reads all keys that begin with prefix, in order, as of one revision, which it returns too.
	List(ctx context.Context, prefix string) ([]Pair, int64, error)
	// Commit performs a transaction, durable when it returns, and returns its revision. Besides ErrRefused and ErrUnknown it
	// fails with fault.Invalid when the transaction passes the Limits or names a key twice.
	Commit(ctx context.Context, txn Txn) (int64, error)
	// Watch sends what happens below prefix after the given revision (that of a List, say), one Change a commit, in order and
	// without holes, until ctx ends or a Change carries an error; then the channel is closed. The reader must keep reading: one
	// that falls behind what the store remembers gets fault.Gone.
	Watch(ctx context.Context, prefix string, after int64) <-chan Change
	// Grant starts a lease that outlives its holder's silence by ttl; below one second it is taken as one second.
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)
	// Limits are the bounds of one transaction.
	Limits() Limits
	// Close lets go of the store; leases of this client are left to run out, as they would after a crash.
	Close() error
}
