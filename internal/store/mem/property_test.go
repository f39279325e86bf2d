package mem

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/store"
)

// TestWhoeverWatchesKnowsWhatIsStored commits random transactions and sees that those who watched hold what a list gives,
// and that a transaction happens exactly when its conditions hold.
func TestWhoeverWatchesKnowsWhatIsStored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		s := NewServer(clock.Real()).Open()
		defer s.Close()
		key := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		held := map[string]store.Pair{} // what a watcher of everything would know
		last := int64(0)
		for n := range rapid.IntRange(1, 30).Draw(t, "commits") {
			var txn store.Txn
			holds := true
			for _, k := range rapid.SliceOfNDistinct(key, 0, 3, rapid.ID).Draw(t, "conditions") {
				revision := held[k].Revision
				if rapid.Bool().Draw(t, "stale") {
					revision++
					holds = false
				}
				txn.If = append(txn.If, store.Condition{Key: k, Revision: revision})
			}
			for _, k := range rapid.SliceOfNDistinct(key, 0, 4, rapid.ID).Draw(t, "changes") {
				if rapid.Bool().Draw(t, "delete") {
					txn.Then = append(txn.Then, store.Delete(k))
				} else {
					txn.Then = append(txn.Then, store.Put(k, fmt.Append(nil, n)))
				}
			}
			revision, err := s.Commit(ctx, txn)
			if holds != (err == nil) || err != nil && !errors.Is(err, store.ErrRefused) {
				t.Fatalf("conditions %v hold: %v; error: %v", txn.If, holds, err)
			}
			if err == nil && revision > last {
				c := <-s.Watch(ctx, "", last)
				if c.Revision != revision {
					t.Fatalf("committed as %d, watched as %d", revision, c.Revision)
				}
				for _, k := range c.Deletes {
					delete(held, k)
				}
				for _, p := range c.Puts {
					held[p.Key] = p
				}
				last = revision
			}
			pairs, _, err := s.List(ctx, "")
			if err != nil {
				t.Fatal(err)
			}
			listed := map[string]store.Pair{}
			for _, p := range pairs {
				listed[p.Key] = p
			}
			if diff := cmp.Diff(listed, held); diff != "" {
				t.Fatalf("listed and watched differ:\n%s", diff)
			}
		}
	})
}
