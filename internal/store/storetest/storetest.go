// Package storetest is the one suite that every store passes: the promises of package store, each as a test.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/store"
)

// Subject is a store under test.
type Subject struct {
	// Open gives a client of the one server that all of a subject's clients share; the suite closes it.
	Open func(t *testing.T) store.Store
	// Pass lets time go by, on a fake clock when the subject has one. Several tests call it at the same time.
	Pass func(d time.Duration)
}

// patience bounds every wait; a healthy store needs a fraction of it.
const patience = 30 * time.Second

// Run runs the suite. Each test works below a prefix of its own, so they may share one server.
func Run(t *testing.T, subject Subject) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"a key is read as it was put", readsWhatWasPut},
		{"list gives a prefix in order and its revision", listsAPrefix},
		{"list goes on past one page", listsManyKeys},
		{"a transaction happens whole or not at all", wholeOrNotAtAll},
		{"a refused condition says what was found", saysWhatWasFound},
		{"of many compares on one key one wins", oneWins},
		{"a transaction beyond the limits is refused before it is tried", keepsLimits},
		{"a commit that was cancelled has an unknown outcome or none", cancelledIsUnknown},
		{"a value belongs to its reader", valuesAreApart},
		{"a watch sees every commit once and in order", watchesInOrder},
		{"a watch shows one commit as one change", watchesWhole},
		{"a watch sees its prefix alone", watchesItsPrefix},
		{"a watch ends with its context", watchEnds},
		{"a watch says when its store is closed", watchSaysClosed},
		{"a revoked lease takes its keys along", leaseTakesKeys},
		{"a lease outlives its ttl while its holder lives", leaseIsKept},
		{"a lease runs out when its holder has gone", leaseRunsOut},
		{"one candidate leads and the next follows when it resigns", leadsInTurn},
		{"a leader that was replaced cannot commit", replacedCannotCommit},
		{"a node alone takes over at once", aloneTakesOver},
		{"a leader whose store closes is lost", closedIsLost},
		{"a candidate that gives up leaves nothing behind", gaveUp},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			b := &bench{subject: subject, ctx: ctx, prefix: "storetest/" + strings.ReplaceAll(t.Name(), " ", "-") + "/"}
			b.store = b.open(t)
			tc.test(t, b)
		})
	}
}

// bench is what one test works with.
type bench struct {
	subject Subject
	ctx     context.Context
	store   store.Store
	prefix  string
}

func (b *bench) open(t *testing.T) store.Store {
	t.Helper()
	s := b.subject.Open(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (b *bench) key(name string) string { return b.prefix + name }

func (b *bench) commit(t *testing.T, txn store.Txn) int64 {
	t.Helper()
	revision, err := b.store.Commit(b.ctx, txn)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func (b *bench) put(t *testing.T, name, value string) int64 {
	t.Helper()
	return b.commit(t, store.Txn{Then: []store.Op{store.Put(b.key(name), []byte(value))}})
}

func (b *bench) get(t *testing.T, name string) string {
	t.Helper()
	p, err := b.store.Get(b.ctx, b.key(name))
	if fault.Is(err, fault.NotFound) {
		return "(missing)"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(p.Value)
}

func (b *bench) next(t *testing.T, changes <-chan store.Change) store.Change {
	t.Helper()
	select {
	case c, ok := <-changes:
		if !ok {
			t.Fatal("the watch ended")
		}
		return c
	case <-b.ctx.Done():
		t.Fatal("the watch says nothing")
	}
	return store.Change{}
}

func (b *bench) closed(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-b.ctx.Done():
		t.Fatalf("%s did not end", what)
	}
}

func readsWhatWasPut(t *testing.T, b *bench) {
	if got := b.get(t, "a"); got != "(missing)" {
		t.Fatalf("before the put: %q", got)
	}
	revision := b.put(t, "a", "1")
	got, err := b.store.Get(b.ctx, b.key("a"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(store.Pair{Key: b.key("a"), Value: []byte("1"), Revision: revision}, got); diff != "" {
		t.Fatal(diff)
	}
	b.commit(t, store.Txn{Then: []store.Op{store.Delete(b.key("a")), store.Delete(b.key("never"))}})
	if got := b.get(t, "a"); got != "(missing)" {
		t.Fatalf("after the delete: %q", got)
	}
}

func listsAPrefix(t *testing.T, b *bench) {
	for _, name := range []string{"p/b", "p/a", "q"} {
		b.put(t, name, name)
	}
	pairs, revision, err := b.store.List(b.ctx, b.key("p/"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pairs {
		got = append(got, string(p.Value))
		if p.Revision > revision {
			t.Errorf("key %s is of revision %d, the list of %d", p.Key, p.Revision, revision)
		}
	}
	if diff := cmp.Diff([]string{"p/a", "p/b"}, got); diff != "" {
		t.Fatal(diff)
	}
	if none, _, err := b.store.List(b.ctx, b.key("none/")); err != nil || len(none) != 0 {
		t.Fatalf("an empty prefix gave %v, %v", none, err)
	}
}

func listsManyKeys(t *testing.T, b *bench) {
	const n = 4001
	ops := make([]store.Op, 0, n)
	flush := func() {
		b.commit(t, store.Txn{Then: ops})
		ops = ops[:0]
	}
	for i := range n {
		ops = append(ops, store.Put(b.key(fmt.Sprintf("%05d", i)), []byte("v")))
		if len(ops) == b.store.Limits().Ops {
			flush()
		}
	}
	if len(ops) > 0 {
		flush()
	}
	pairs, _, err := b.store.List(b.ctx, b.prefix)
	if err != nil {
		t.Fatal(err)
	}
	if len(pairs) != n || pairs[0].Key != b.key("00000") || pairs[n-1].Key != b.key(fmt.Sprintf("%05d", n-1)) {
		t.Fatalf("%d keys of %d", len(pairs), n)
	}
}

func wholeOrNotAtAll(t *testing.T, b *bench) {
	revision := b.put(t, "a", "1")
	then := []store.Op{store.Put(b.key("a"), []byte("2")), store.Put(b.key("b"), []byte("2")), store.Delete(b.key("c"))}
	for _, conditions := range [][]store.Condition{
		{store.Missing(b.key("a"))},
		{store.Unchanged(b.key("a"), revision), store.Unchanged(b.key("b"), 1)},
		{store.Unchanged(b.key("a"), revision+1)},
	} {
		_, err := b.store.Commit(b.ctx, store.Txn{If: conditions, Then: then})
		if !errors.Is(err, store.ErrRefused) || errors.Is(err, store.ErrUnknown) || !fault.Is(err, fault.Conflict) {
			t.Fatalf("conditions %v: %v", conditions, err)
		}
		if a, c := b.get(t, "a"), b.get(t, "b"); a != "1" || c != "(missing)" {
			t.Fatalf("a refused transaction left a=%s b=%s", a, c)
		}
	}
	b.commit(t, store.Txn{
		If:   []store.Condition{store.Unchanged(b.key("a"), revision), store.Missing(b.key("b"))},
		Then: then,
	})
	if a, c := b.get(t, "a"), b.get(t, "b"); a != "2" || c != "2" {
		t.Fatalf("the transaction left a=%s b=%s", a, c)
	}
}

func saysWhatWasFound(t *testing.T, b *bench) {
	revision := b.put(t, "a", "1")
	_, err := b.store.Commit(b.ctx, store.Txn{If: []store.Condition{store.Missing(b.key("a"))}})
	if err == nil || !strings.Contains(err.Error(), b.key("a")) || !strings.Contains(err.Error(), fmt.Sprint(revision)) {
		t.Fatalf("the message names neither the key nor its revision: %v", err)
	}
}

func oneWins(t *testing.T, b *bench) {
	var wins atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			_, err := b.store.Commit(b.ctx, store.Txn{
				If:   []store.Condition{store.Missing(b.key("a"))},
				Then: []store.Op{store.Put(b.key("a"), fmt.Append(nil, i))},
			})
			switch {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, store.ErrRefused):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if wins.Load() != 1 {
		t.Fatalf("%d won", wins.Load())
	}
}

func keepsLimits(t *testing.T, b *bench) {
	limits := b.store.Limits()
	many := make([]store.Op, limits.Ops+1)
	for i := range many {
		many[i] = store.Put(b.key(fmt.Sprint(i)), nil)
	}
	for name, ops := range map[string][]store.Op{
		"too many":        many,
		"too large":       {store.Put(b.key("a"), make([]byte, limits.Bytes))},
		"a key twice":     {store.Put(b.key("a"), nil), store.Delete(b.key("a"))},
		"a key is empty":  {store.Put("", nil)},
		"twice and alone": {store.Delete(b.key("a")), store.Delete(b.key("a"))},
	} {
		if _, err := b.store.Commit(b.ctx, store.Txn{Then: ops}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := many[:limits.Ops]
	value := make([]byte, (limits.Bytes-len(full)*len(b.key("00000")))/len(full)/2)
	for i := range full {
		full[i].Value = value
	}
	b.commit(t, store.Txn{Then: full})
}

func cancelledIsUnknown(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.store.Commit(ctx, store.Txn{Then: []store.Op{store.Put(b.key("a"), nil)}})
	if !fault.Is(err, fault.Unavailable) || errors.Is(err, store.ErrRefused) {
		t.Fatalf("got %v", err)
	}
}

func valuesAreApart(t *testing.T, b *bench) {
	value := []byte("1")
	b.commit(t, store.Txn{Then: []store.Op{store.Put(b.key("a"), value)}})
	value[0] = '2'
	if got := b.get(t, "a"); got != "1" {
		t.Fatalf("the writer changed a stored value to %q", got)
	}
}

func watchesInOrder(t *testing.T, b *bench) {
	first := b.put(t, "k", "0")
	b.put(t, "k", "1") // before the watch begins, after where it looks from
	changes := b.store.Watch(b.ctx, b.prefix, first)
	const n = 50
	written := make(chan error, 1)
	go func() {
		for i := 2; i < n; i++ {
			if _, err := b.store.Commit(b.ctx, store.Txn{Then: []store.Op{store.Put(b.key("k"), fmt.Append(nil, i))}}); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	last := first
	for i := 1; i < n; i++ {
		c := b.next(t, changes)
		if c.Err != nil || len(c.Puts) != 1 || string(c.Puts[0].Value) != fmt.Sprint(i) {
			t.Fatalf("waiting for put %d: %+v", i, c)
		}
		if c.Revision <= last || c.Revision != c.Puts[0].Revision {
			t.Fatalf("revision %d after %d, of the put %d", c.Revision, last, c.Puts[0].Revision)
		}
		last = c.Revision
	}
	// The watch may see a commit before its writer has the answer; a test that ended now would cut it off.
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

func watchesWhole(t *testing.T, b *bench) {
	b.put(t, "c", "old")
	after := b.put(t, "b", "old")
	changes := b.store.Watch(b.ctx, b.prefix, after)
	revision := b.commit(t, store.Txn{Then: []store.Op{
		store.Put(b.key("a"), []byte("1")), store.Put(b.key("b"), []byte("2")), store.Delete(b.key("c")),
	}})
	want := store.Change{
		Revision: revision,
		Puts:     []store.Pair{{Key: b.key("a"), Value: []byte("1"), Revision: revision}, {Key: b.key("b"), Value: []byte("2"), Revision: revision}},
		Deletes:  []string{b.key("c")},
	}
	if diff := cmp.Diff(want, b.next(t, changes)); diff != "" {
		t.Fatal(diff)
	}
}

func watchesItsPrefix(t *testing.T, b *bench) {
	after := b.put(t, "start", "")
	changes := b.store.Watch(b.ctx, b.key("in/"), after)
	b.put(t, "out", "1")
	b.commit(t, store.Txn{Then: []store.Op{store.Put(b.key("out"), []byte("2")), store.Put(b.key("in/a"), []byte("2"))}})
	if c := b.next(t, changes); len(c.Puts) != 1 || c.Puts[0].Key != b.key("in/a") {
		t.Fatalf("got %+v", c)
	}
}

func watchEnds(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	changes := b.store.Watch(ctx, b.prefix, b.put(t, "a", ""))
	cancel()
	for range changes {
	}
	if b.ctx.Err() != nil {
		t.Fatal("the watch did not end")
	}
}

func watchSaysClosed(t *testing.T, b *bench) {
	other := b.open(t)
	changes := other.Watch(b.ctx, b.prefix, b.put(t, "a", ""))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if c := b.next(t, changes); !fault.Is(c.Err, fault.Unavailable) {
		t.Fatalf("got %+v", c)
	}
	if _, err := other.Get(b.ctx, b.key("a")); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a closed store answered %v", err)
	}
}

func (b *bench) grant(t *testing.T, s store.Store, ttl time.Duration) store.Lease {
	t.Helper()
	lease, err := s.Grant(b.ctx, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func leaseTakesKeys(t *testing.T, b *bench) {
	lease := b.grant(t, b.store, time.Minute)
	revision := b.commit(t, store.Txn{Then: []store.Op{
		{Key: b.key("a"), Lease: lease}, {Key: b.key("b"), Lease: lease}, store.Put(b.key("stays"), []byte("1")),
	}})
	changes := b.store.Watch(b.ctx, b.prefix, revision)
	if err := lease.Revoke(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.closed(t, "the lease", lease.Done())
	if c := b.next(t, changes); len(c.Deletes) != 2 {
		t.Fatalf("the watch saw %+v", c)
	}
	if a, stays := b.get(t, "a"), b.get(t, "stays"); a != "(missing)" || stays != "1" {
		t.Fatalf("a=%s stays=%s", a, stays)
	}
	if _, err := b.store.Commit(b.ctx, store.Txn{Then: []store.Op{{Key: b.key("a"), Lease: lease}}}); !fault.Is(err, fault.Gone) {
		t.Fatalf("a key was put on a dead lease: %v", err)
	}
	if err := lease.Revoke(b.ctx); err != nil {
		t.Fatalf("revoking again: %v", err)
	}
}

func leaseIsKept(t *testing.T, b *bench) {
	lease := b.grant(t, b.store, time.Second)
	b.commit(t, store.Txn{Then: []store.Op{{Key: b.key("a"), Value: []byte("1"), Lease: lease}}})
	b.subject.Pass(2500 * time.Millisecond)
	select {
	case <-lease.Done():
		t.Fatal("the lease ended under its holder")
	default:
	}
	if got := b.get(t, "a"); got != "1" {
		t.Fatalf("the key is %s", got)
	}
}

func leaseRunsOut(t *testing.T, b *bench) {
	other := b.open(t)
	lease := b.grant(t, other, time.Second)
	revision, err := other.Commit(b.ctx, store.Txn{Then: []store.Op{{Key: b.key("a"), Lease: lease}}})
	if err != nil {
		t.Fatal(err)
	}
	changes := b.store.Watch(b.ctx, b.prefix, revision)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	b.closed(t, "the lease of a closed store", lease.Done())
	b.subject.Pass(time.Second)
	if c := b.next(t, changes); len(c.Deletes) != 1 {
		t.Fatalf("got %+v", c)
	}
}

func (b *bench) election(name string) store.Election {
	return store.Election{Key: b.key("leader"), Value: []byte(name), TTL: 2 * time.Second}
}

func (b *bench) campaign(t *testing.T, s store.Store, e store.Election) *store.Leadership {
	t.Helper()
	l, err := store.Campaign(b.ctx, s, e)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func leadsInTurn(t *testing.T, b *bench) {
	first := b.campaign(t, b.store, b.election("first"))
	won := make(chan *store.Leadership, 1)
	other := b.open(t)
	go func() {
		l, err := store.Campaign(b.ctx, other, b.election("second"))
		if err != nil {
			t.Error(err)
		}
		won <- l
	}()
	// A wrong winner gets a chance to show; a right one needs no luck.
	if err := clock.Sleep(b.ctx, clock.Real(), 50*time.Millisecond); err != nil || len(won) > 0 {
		t.Fatal("two lead")
	}
	if got := b.get(t, "leader"); got != "first" {
		t.Fatalf("the leader's key says %q", got)
	}
	b.commit(t, store.Txn{If: []store.Condition{first.Held()}, Then: []store.Op{store.Put(b.key("x"), nil)}})
	if err := first.Resign(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.closed(t, "a leadership resigned", first.Lost())
	second := <-won
	if second == nil {
		return
	}
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epoch %d follows %d", second.Epoch(), first.Epoch())
	}
	if got := b.get(t, "leader"); got != "second" {
		t.Errorf("the leader's key says %q", got)
	}
}

func replacedCannotCommit(t *testing.T, b *bench) {
	old := b.campaign(t, b.store, b.election("old"))
	usurper := b.election("usurper")
	seen := ""
	usurper.Usurp = func(holder store.Pair) bool { seen = string(holder.Value); return true }
	successor := b.campaign(t, b.open(t), usurper)
	if seen != "old" {
		t.Errorf("the usurper was asked about %q", seen)
	}
	b.closed(t, "the leadership of the replaced one", old.Lost())
	txn := store.Txn{If: []store.Condition{old.Held()}, Then: []store.Op{store.Put(b.key("x"), nil)}}
	if _, err := b.store.Commit(b.ctx, txn); !errors.Is(err, store.ErrRefused) {
		t.Fatalf("a replaced leader committed: %v", err)
	}
	if err := old.Resign(b.ctx); err != nil {
		t.Fatal(err)
	}
	if got := b.get(t, "leader"); got != "usurper" {
		t.Fatalf("the old leader's resignation made the key %q", got)
	}
	select {
	case <-successor.Lost():
		t.Fatal("the successor lost its lead with the old one's lease")
	default:
	}
}

func aloneTakesOver(t *testing.T, b *bench) {
	dead := b.open(t)
	e := b.election("dead")
	e.TTL = time.Hour
	before := b.campaign(t, dead, e)
	if err := dead.Close(); err != nil { // as kill -9 would: the lease lives on
		t.Fatal(err)
	}
	e.Value, e.Usurp = []byte("alive"), store.Alone
	after := b.campaign(t, b.store, e)
	if after.Epoch() <= before.Epoch() || b.get(t, "leader") != "alive" {
		t.Fatalf("epoch %d after %d, leader %s", after.Epoch(), before.Epoch(), b.get(t, "leader"))
	}
}

func closedIsLost(t *testing.T, b *bench) {
	other := b.open(t)
	l := b.campaign(t, other, b.election("other"))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	b.closed(t, "the leadership on a closed store", l.Lost())
}

func gaveUp(t *testing.T, b *bench) {
	leader := b.campaign(t, b.store, b.election("leader"))
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() {
		_, err := store.Campaign(ctx, b.store, b.election("impatient"))
		done <- err
	}()
	cancel()
	if err := <-done; !fault.Is(err, fault.Unavailable) {
		t.Fatalf("got %v", err)
	}
	if err := leader.Resign(b.ctx); err != nil {
		t.Fatal(err)
	}
	if got := b.get(t, "leader"); got != "(missing)" {
		t.Fatalf("the key is %s", got)
	}
}
