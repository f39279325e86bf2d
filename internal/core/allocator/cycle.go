package allocator

import (
	"container/heap"
	"slices"
	"time"

	"github.com/pando-os/pando/mesos/resource"
)

// filter is a refusal: the client does not want these resources of this agent, or any part of them, for a while.
type filter struct {
	refused resource.List
	until   time.Duration
}

// Cycle offers what is free to those who are owed most, and books it. Each agent's free resources go to the first
// framework, poorest first, that may and wants to have them. now is Mono time, for filters. busy, when not nil, names
// frameworks that are to be passed over on an agent this time: they have an offer of it already and have not answered. The
// agent stays dirty for them, so that a later cycle without busy finds it.
func (a *Allocator) Cycle(now time.Duration, busy func(agent, framework string) bool) []Grant {
	a.expire(now)
	a.refresh()
	look := a.dirty
	for _, g := range look {
		g.dirty = false
	}
	if a.allDirty {
		look = look[:0]
		for _, g := range a.order {
			if g.active && !g.free.IsEmpty() {
				look = append(look, g)
			}
		}
	}
	a.allDirty = false
	a.dirty = nil
	a.busy = busy
	if a.root.wanting == 0 {
		return nil
	}
	a.rng.Shuffle(len(look), func(i, j int) { look[i], look[j] = look[j], look[i] })
	var grants []Grant
	for _, g := range look {
		for g.active && g.index >= 0 && !g.free.IsEmpty() {
			c, what := a.pick(g, now)
			if c == nil {
				break
			}
			a.hold(g, c, what)
			g.lent = g.lent || len(what.Shared()) > 0
			grants = append(grants, Grant{g.ID, c.framework.ID, c.role.name, what})
		}
		g.lent = false
	}
	a.busy = nil
	return grants
}

// pick finds the first client that may and wants to have something of an agent.
func (a *Allocator) pick(g *agent, now time.Duration) (*client, resource.List) {
	var who *client
	var what resource.List
	a.each(a.root, func(c *client) bool {
		if what = a.try(g, c, now); what != nil {
			who = c
			return false
		}
		return true
	})
	return who, what
}

// try cuts an agent's free resources to what a client may have; nil when that is nothing it could use.
func (a *Allocator) try(g *agent, c *client, now time.Duration) resource.List {
	f := c.framework
	if f.Constraints != nil && !f.Constraints.Admit(c.role.name, g.Hostname, g.Region, g.Zone, g.Attributes) {
		return nil
	}
	if !f.RegionAware && a.remote(g) || !f.GPU && !a.cfg.AnyGPU && g.Total.Scalar("gpus") > 0 {
		return nil
	}
	what := g.free
	if hasTraits(what) {
		what = what.AllocatableTo(c.role.name)
		if !f.Revocable {
			what = what.NonRevocable()
		}
		if !f.Shared || g.lent {
			what = what.NonShared()
		}
		if !f.Refined {
			what = what.WithoutRefined()
		}
	}
	if !a.allocatable(f, c.role.name, what) {
		return nil
	}
	if a.busy != nil && a.busy(g.ID, f.ID) {
		a.touch(g)
		return nil
	}
	if a.refuses(g, c, what, now) {
		return nil
	}
	return what
}

// remote says whether an agent is in another region than the masters. One whose region nobody has named is not.
func (a *Allocator) remote(g *agent) bool {
	return a.cfg.Region != "" && g.Region != "" && g.Region != a.cfg.Region
}

// hasTraits says whether a list has anything but plain, unreserved resources.
func hasTraits(l resource.List) bool {
	for i := range l {
		if l[i].Traits != nil {
			return true
		}
	}
	return false
}

// allocatable says whether resources reach one of the minima that hold for the framework in the role.
func (a *Allocator) allocatable(f *framework, role string, what resource.List) bool {
	if what.IsEmpty() {
		return false
	}
	minima, own := f.Filters[role]
	if !own {
		minima = a.cfg.MinAllocatable
	}
	if len(minima) == 0 {
		return true
	}
	for _, m := range minima {
		enough := true
		for name, q := range m { // order: a conjunction
			if what.Scalar(name) < q {
				enough = false
				break
			}
		}
		if enough {
			return true
		}
	}
	return false
}

// refuses says whether a filter keeps resources from a client, and forgets those that ran out.
func (a *Allocator) refuses(g *agent, c *client, what resource.List, now time.Duration) bool {
	list, ok := g.filter[c]
	if !ok {
		return false
	}
	held := false
	left := list[:0]
	for _, r := range list {
		if r.until > now {
			left = append(left, r)
			held = held || r.refused.Contains(what)
		}
	}
	a.filters -= len(list) - len(left)
	if len(left) == 0 {
		delete(g.filter, c)
	} else if len(left) < len(list) {
		clear(list[len(left):])
		g.filter[c] = left
	}
	return held
}

// addFilter adds a refusal. A client may have several for one agent, since it may refuse little for long and more for a
// while; those that another one covers in both are dropped.
func (a *Allocator) addFilter(g *agent, c *client, what resource.List, until time.Duration) {
	list := g.filter[c]
	for _, r := range list {
		if r.until >= until && r.refused.Contains(what) {
			return
		}
	}
	n := len(list)
	list = slices.DeleteFunc(list, func(r filter) bool { return r.until <= until && what.Contains(r.refused) })
	if g.filter == nil {
		g.filter = map[*client][]filter{}
	}
	g.filter[c] = append(list, filter{what, until})
	a.filters += len(list) + 1 - n
	heap.Push(&a.expiries, expiry{until, g})
	if len(a.expiries) > 2*a.filters+1024 { // most belong to filters that were cleared
		a.expiries = a.expiries[:0]
		for _, g := range a.order {
			for _, list := range g.filter { // order: a heap is made of them
				for _, f := range list {
					a.expiries = append(a.expiries, expiry{f.until, g})
				}
			}
		}
		heap.Init(&a.expiries)
	}
}

func (a *Allocator) clearFilters(c *client) {
	if a.filters == 0 {
		return
	}
	for _, g := range a.order {
		if list, ok := g.filter[c]; ok {
			delete(g.filter, c)
			a.filters -= len(list)
			a.touch(g)
		}
	}
}

// unfilter ends all filters of an agent.
func (a *Allocator) unfilter(g *agent) {
	for _, list := range g.filter { // order: a sum
		a.filters -= len(list)
	}
	g.filter = nil
}

// expire marks the agents dirty on which a filter ran out. The filter itself goes when it is looked at.
func (a *Allocator) expire(now time.Duration) {
	for len(a.expiries) > 0 && a.expiries[0].at <= now {
		e := heap.Pop(&a.expiries).(expiry)
		if e.agent.index >= 0 {
			a.touch(e.agent)
		}
	}
}

// NextExpiry is when the next filter runs out; zero when there is none.
func (a *Allocator) NextExpiry() time.Duration {
	if len(a.expiries) == 0 {
		return 0
	}
	return a.expiries[0].at
}

type expiry struct {
	at    time.Duration
	agent *agent
}

// expiryHeap orders the ends of filters.
type expiryHeap []expiry

func (h expiryHeap) Len() int { return len(h) }
func (h expiryHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].agent.ID < h[j].agent.ID
}
func (h expiryHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds an end; it is container/heap's to call.
func (h *expiryHeap) Push(x any) { *h = append(*h, x.(expiry)) }

// Pop takes the last end off; it is container/heap's to call.
func (h *expiryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}
