// Package table keeps values so that one is found by its key and all are seen in order.
package table

import "github.com/tidwall/btree"

// Table holds values twice: in a map, where the book finds one by its key in the same time however many there are, and in
// a tree, which keeps them in order, and whose copies are the readers' and cost nothing to make. The tree follows when it
// is looked at: most values are replaced several times before anybody does. Values are replaced, never changed. One loop owns it.
type Table[K comparable, T any] struct {
	keyOf   func(*T) K
	byKey   map[K]*T
	tree    *btree.BTreeG[*T]
	changed []*T // set or removed since the tree was looked at
}

// behind is by how many changes a tree may be behind its map.
const behind = 4096

// New makes an empty table. keyOf gives a value its key, and less its place; both must say the same of a value for ever.
func New[K comparable, T any](keyOf func(*T) K, less func(a, b *T) bool) *Table[K, T] {
	return &Table[K, T]{keyOf: keyOf, byKey: map[K]*T{}, tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// Get finds a value; nil when there is none.
func (t *Table[K, T]) Get(k K) *T { return t.byKey[k] }

// Set puts a value in the place of the one with its key.
func (t *Table[K, T]) Set(v *T) {
	t.byKey[t.keyOf(v)] = v
	t.note(v)
}

// Remove takes the value with v's key away.
func (t *Table[K, T]) Remove(v *T) {
	delete(t.byKey, t.keyOf(v))
	t.note(v)
}

func (t *Table[K, T]) note(v *T) {
	if t.changed = append(t.changed, v); len(t.changed) == behind {
		t.Ordered()
	}
}

// Len is how many values there are.
func (t *Table[K, T]) Len() int { return len(t.byKey) }

// Ordered is the tree as it is now.
func (t *Table[K, T]) Ordered() *btree.BTreeG[*T] {
	for i, v := range t.changed {
		if now := t.byKey[t.keyOf(v)]; now != nil {
			t.tree.Set(now)
		} else {
			t.tree.Delete(v)
		}
		t.changed[i] = nil
	}
	t.changed = t.changed[:0]
	return t.tree
}
