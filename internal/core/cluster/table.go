package cluster

import "github.com/tidwall/btree"

// table holds values twice: in a map, where the book finds one by its key in the same time however many there are, and in
// a tree, which keeps them in order, and whose copies are the readers' and cost nothing to make. The tree follows when it
// is looked at: most values are replaced several times before anybody does. Values are replaced, never changed.
type table[K comparable, T any] struct {
	keyOf   func(*T) K
	byKey   map[K]*T
	tree    *btree.BTreeG[*T]
	changed []*T // set or removed since the tree was looked at
}

// behind is by how many changes a tree may be behind its map.
const behind = 4096

func newTable[K comparable, T any](keyOf func(*T) K, less func(a, b *T) bool) *table[K, T] {
	return &table[K, T]{keyOf: keyOf, byKey: map[K]*T{}, tree: newTree(less)}
}

// get finds a value; nil when there is none.
func (t *table[K, T]) get(k K) *T { return t.byKey[k] }

// set puts a value in the place of the one with its key.
func (t *table[K, T]) set(v *T) {
	t.byKey[t.keyOf(v)] = v
	t.note(v)
}

// remove takes the value with v's key away.
func (t *table[K, T]) remove(v *T) {
	delete(t.byKey, t.keyOf(v))
	t.note(v)
}

func (t *table[K, T]) note(v *T) {
	if t.changed = append(t.changed, v); len(t.changed) == behind {
		t.ordered()
	}
}

// len is how many values there are.
func (t *table[K, T]) len() int { return len(t.byKey) }

// ordered is the tree as it is now.
func (t *table[K, T]) ordered() *btree.BTreeG[*T] {
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

func agentKey(a *Agent) string         { return a.Spec.ID }
func frameworkKey(f *Framework) string { return f.Spec.ID }
func taskKey(t *Task) FrameworkTask    { return FrameworkTask{t.Framework, t.Spec.ID} }
