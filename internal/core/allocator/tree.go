package allocator

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

const (
	// shareOne is a share of everything. Shares are integers, so that two machines never disagree over a rounding.
	shareOne      = uint64(1) << 40
	defaultWeight = int64(1000)
)

// vector holds amounts by the allocator's resource index.
type vector []int64

func (v *vector) add(i int, q int64) {
	for len(*v) <= i {
		*v = append(*v, 0)
	}
	(*v)[i] += q
}

// node is a role. Its children are child roles; its seats are the frameworks of this very role. Where a role has both,
// the seats together compete beside the children as if they were one more child.
type node struct {
	name     string
	parent   *node
	weight   int64
	alloc    vector
	given    int64 // how often something was given
	place          // among its siblings
	children []*node
	seats    []*client // those that want offers, in the order of their places
	ownAlloc vector    // of all seats together, which compete as one with the children
	ownGiven int64
	wanting  int // seats at and below this role that want offers
	clients  int // all seats of this role, wanting or not
}

// client is a framework's seat in a role.
type client struct {
	framework *framework
	role      *node
	wants     bool
	holdings  int // agents on which it holds something
	alloc     vector
	given     int64
	place
}

// place is what a seat or role was last sorted by; it changes only together with the position.
type place struct {
	key   uint64 // share over weight
	count int64  // how often something was given
}

// rank orders siblings: the smaller share first, then fewer allocations, then the name.
type rank struct {
	place
	name string
}

func (r rank) compare(o rank) int {
	switch {
	case r.key != o.key:
		return cmp.Compare(r.key, o.key)
	case r.count != o.count:
		return cmp.Compare(r.count, o.count)
	}
	return strings.Compare(r.name, o.name)
}

func (n *node) rank() rank   { return rank{n.place, n.name} }
func (c *client) rank() rank { return rank{c.place, c.framework.ID} }

// role gives the node of a role, making it and its parents when needed.
func (a *Allocator) role(name string) *node {
	if n := a.roles[name]; n != nil {
		return n
	}
	parent := a.root
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		parent = a.role(name[:i])
	}
	w := a.cfg.Weights[name]
	if w <= 0 {
		w = defaultWeight
	}
	n := &node{name: name, parent: parent, weight: w}
	a.roles[name] = n
	parent.children = append(parent.children, n)
	parent.sortChildren()
	return n
}

// prune forgets a role in which nobody is left, and its parents with it.
func (a *Allocator) prune(n *node) {
	for n.parent != nil && n.clients == 0 && len(n.children) == 0 {
		delete(a.roles, n.name)
		p := n.parent
		p.children = slices.DeleteFunc(p.children, func(c *node) bool { return c == n })
		n = p
	}
}

func (n *node) sortChildren() {
	slices.SortFunc(n.children, func(x, y *node) int { return x.rank().compare(y.rank()) })
}

// setWants puts a seat among those that want offers, or takes it away.
func (n *node) setWants(c *client, wants bool) {
	d := 1
	if wants {
		i, _ := slices.BinarySearchFunc(n.seats, c, func(x, y *client) int { return x.rank().compare(y.rank()) })
		n.seats = slices.Insert(n.seats, i, c)
	} else {
		d = -1
		n.seats = slices.DeleteFunc(n.seats, func(x *client) bool { return x == c })
	}
	for p := n; p != nil; p = p.parent {
		p.wanting += d
	}
}

// shareOf is the dominant share of an allocation over a weight, in parts of shareOne.
func (a *Allocator) shareOf(v vector, weight int64) uint64 {
	var most uint64
	for i, q := range v {
		if q <= 0 || a.totals[i] <= 0 {
			continue
		}
		most = max(most, portion(uint64(q), uint64(a.totals[i])))
	}
	if weight == defaultWeight {
		return most
	}
	hi, lo := bits.Mul64(most, uint64(defaultWeight))
	if hi >= uint64(weight) {
		return 1<<64 - 1
	}
	q, _ := bits.Div64(hi, lo, uint64(weight))
	return q
}

// portion is q/total in parts of shareOne; more than everything (a total shrank) is clamped far above.
func portion(q, total uint64) uint64 {
	hi, lo := bits.Mul64(q, shareOne)
	if hi >= total {
		return 1 << 62
	}
	p, _ := bits.Div64(hi, lo, total)
	return min(p, 1<<62)
}

// reorder puts a client and the roles above it in their new places after its allocation changed.
func (a *Allocator) reorder(c *client) {
	if a.stale {
		return // every place is found anew before the next cycle
	}
	if p := (place{a.shareOf(c.alloc, defaultWeight), c.given}); c.wants {
		move(c.role.seats, c, &c.place, p, (*client).rank)
	} else {
		c.place = p
	}
	for n := c.role; n.parent != nil; n = n.parent {
		move(n.parent.children, n, &n.place, place{a.shareOf(n.alloc, n.weight), n.given}, (*node).rank)
	}
}

// move gives x, which holds its place at, a new place, and shifts it to where that is among its siblings.
func move[T any](s []T, x T, at *place, to place, of func(T) rank) {
	before := func(y T, r rank) int { return of(y).compare(r) }
	from, _ := slices.BinarySearchFunc(s, of(x), before)
	*at = to
	now := of(x)
	if i, _ := slices.BinarySearchFunc(s[:from], now, before); i < from {
		copy(s[i+1:from+1], s[i:from])
		s[i] = x
		return
	}
	i, _ := slices.BinarySearchFunc(s[from+1:], now, before)
	copy(s[from:], s[from+1:from+1+i])
	s[from+i] = x
}

// refresh computes every share anew after the totals changed.
func (a *Allocator) refresh() {
	if !a.stale {
		return
	}
	a.stale = false
	a.refreshNode(a.root)
}

func (a *Allocator) refreshNode(n *node) {
	n.place = place{a.shareOf(n.alloc, n.weight), n.given}
	for _, c := range n.seats {
		c.place = place{a.shareOf(c.alloc, defaultWeight), c.given}
	}
	slices.SortFunc(n.seats, func(x, y *client) int { return x.rank().compare(y.rank()) })
	for _, c := range n.children {
		a.refreshNode(c)
	}
	n.sortChildren()
}

// each visits the wanting seats below a role, the poorest first, until yield says stop.
func (a *Allocator) each(n *node, yield func(*client) bool) bool {
	if n.wanting == 0 {
		return true
	}
	seats := func() bool {
		for _, c := range n.seats {
			if !yield(c) {
				return false
			}
		}
		return true
	}
	done := len(n.seats) == 0
	var own rank // of the seats together
	if !done && len(n.children) > 0 {
		own = rank{place{a.shareOf(n.ownAlloc, defaultWeight), n.ownGiven}, n.name + "/."}
	}
	for _, child := range n.children {
		if !done && own.compare(child.rank()) < 0 {
			done = true
			if !seats() {
				return false
			}
		}
		if !a.each(child, yield) {
			return false
		}
	}
	return done || seats()
}
