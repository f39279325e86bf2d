package table

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A table's two halves say the same, whatever was done, and a copy of its tree keeps saying what it said.
func TestATableFindsWhatItsTreeShows(t *testing.T) {
	type entry struct{ id, n int }
	rapid.Check(t, func(t *rapid.T) {
		tab := New(func(e *entry) int { return e.id }, func(a, b *entry) bool { return a.id < b.id })
		model := map[int]int{}
		shown := func(scan func(func(*entry) bool)) map[int]int {
			out, last := map[int]int{}, -1
			scan(func(e *entry) bool {
				if e.id <= last {
					t.Fatalf("%d comes after %d", e.id, last)
				}
				out[e.id], last = e.n, e.id
				return true
			})
			return out
		}
		many := rapid.SampledFrom([]int{1, behind}).Draw(t, "times")
		for n := range rapid.IntRange(1, 20).Draw(t, "steps") {
			e := &entry{rapid.IntRange(0, 9).Draw(t, "id"), n}
			if rapid.Bool().Draw(t, "set") {
				for range many {
					tab.Set(e)
				}
				model[e.id] = n
			} else {
				tab.Remove(e)
				delete(model, e.id)
			}
			if want, ok := model[e.id]; (tab.Get(e.id) != nil) != ok || ok && tab.Get(e.id).n != want {
				t.Fatalf("get(%d) = %v, want %d, %v", e.id, tab.Get(e.id), want, ok)
			}
			if rapid.Bool().Draw(t, "look") {
				copied := tab.Ordered().Copy()
				before := shown(copied.Scan)
				if diff := cmp.Diff(model, before); diff != "" {
					t.Fatal(diff)
				}
				tab.Set(&entry{11, n})
				tab.Ordered()
				if diff := cmp.Diff(before, shown(copied.Scan)); diff != "" {
					t.Fatal("a copy changed: ", diff)
				}
				tab.Remove(&entry{id: 11})
			}
			if len(tab.changed) >= behind || tab.Len() != len(model) {
				t.Fatalf("%d changes wait, %d values of %d", len(tab.changed), tab.Len(), len(model))
			}
		}
	})
}
