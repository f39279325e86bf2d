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
	count    int64
	key      uint64 // share over weight
	children []*node
	seats    []*client // those that want offers, in the order of their keys
	own      rank      // of the seats together, when there are children too
	wanting  int       // seats at and below this role that want offers
	clients  int       // all seats of this role, wanting or not
}

// client is a framework's seat in a role.
type client struct {
	framework *framework
	role      *node
	wants     bool
	holdings  int // agents on which it holds something
	alloc     vector
	count     int64
	key       uint64
}

// rank orders siblings: the smaller share first, then fewer allocations, then the name.
type rank struct {
	key   uint64
	count int64
	name  string
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.key, o.key), cmp.Compare(r.count, o.count), strings.Compare(r.name, o.name))
}

func (n *node) rank() rank   { return rank{n.key, n.count, n.name} }
func (c *client) rank() rank { return rank{c.key, c.count, c.framework.ID} }

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
	n := c.role
	old := c.rank()
	c.key = a.shareOf(c.alloc, defaultWeight)
	if c.wants {
		move(n.seats, c, old, (*client).rank)
	}
	for ; n != nil; n = n.parent {
		old := n.rank()
		n.key = a.shareOf(n.alloc, n.weight)
		if n.parent != nil {
			move(n.parent.children, n, old, (*node).rank)
		}
		a.rankOwn(n)
	}
}

// rankOwn ranks a role's own seats as one child, when they compete with child roles.
func (a *Allocator) rankOwn(n *node) {
	if len(n.children) == 0 || len(n.seats) == 0 {
		return
	}
	var sum vector
	count := int64(0)
	for _, c := range n.seats {
		for i, q := range c.alloc {
			sum.add(i, q)
		}
		count += c.count
	}
	n.own = rank{a.shareOf(sum, defaultWeight), count, n.name + "/."}
}

// move finds x, whose rank was old, and shifts it to where its rank belongs now. The counts in ranks have changed already
// for x alone, so the others are in order; x itself is found by looking from where old would be.
func move[T comparable](s []T, x T, old rank, of func(T) rank) {
	at := slices.Index(s, x)
	if at < 0 {
		return
	}
	_ = old
	now := of(x)
	for at > 0 && of(s[at-1]).compare(now) > 0 {
		s[at] = s[at-1]
		at--
	}
	for at < len(s)-1 && of(s[at+1]).compare(now) < 0 {
		s[at] = s[at+1]
		at++
	}
	s[at] = x
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
	n.key = a.shareOf(n.alloc, n.weight)
	for _, c := range n.seats {
		c.key = a.shareOf(c.alloc, defaultWeight)
	}
	slices.SortFunc(n.seats, func(x, y *client) int { return x.rank().compare(y.rank()) })
	for _, c := range n.children {
		a.refreshNode(c)
	}
	n.sortChildren()
	a.rankOwn(n)
}

// each visits the wanting seats below a role, the poorest first, until yield says stop.
func (n *node) each(yield func(*client) bool) bool {
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
	for _, child := range n.children {
		if !done && n.own.compare(child.rank()) < 0 {
			done = true
			if !seats() {
				return false
			}
		}
		if !child.each(yield) {
			return false
		}
	}
	return done || seats()
}
