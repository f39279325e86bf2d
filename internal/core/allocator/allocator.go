// Package allocator decides which framework is offered which free resources: hierarchical dominant resource fairness
// over a tree of roles, with weights, filters, suppression and reservations. It is a pure calculator with memory:
// the cluster's book tells it what is there and what is used, and asks for a Cycle.
//
// A cycle costs what changed. An agent is looked at when it is dirty: when something became free on it, when a filter on
// it ran out, or when a framework began to want offers. Quota and maintenance have their place in try (cycle.go), where an
// offer is cut to what a framework may see.
package allocator

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Config holds the allocator's settings.
type Config struct {
	// MinAllocatable lists alternatives; an offer holds at least the quantities of one of them. Empty: no minimum.
	MinAllocatable []Quantities
	// Weights of roles in thousandths; a role that is not named has 1000.
	Weights map[string]int64
	// Region is where the masters are. Agents of another one are remote: only who is RegionAware is offered them. Empty: no agent
	// is remote.
	Region string
	// AnyGPU offers agents with gpus to everybody; otherwise only who has GPU is offered them, so that others do not fill them up.
	AnyGPU bool
	// Uncounted are resources that count for nobody when it is judged who has least.
	Uncounted []string
}

// Quantities are amounts by resource name, in thousandths.
type Quantities map[string]resource.Quantity

// Agent is what the allocator must know of a machine to offer it. Its values are shared and never changed.
type Agent struct {
	ID         string
	Total      resource.List
	Hostname   string
	Region     string
	Zone       string
	Attributes []*mesosv1.Attribute
}

// Framework is what the allocator must know of a scheduler. Its values are shared and never changed.
type Framework struct {
	ID string
	// Roles in which it wants offers; sorted.
	Roles      []string
	Suppressed []string
	// Filters replace Config.MinAllocatable for a role: an empty list means no minimum.
	Filters     map[string][]Quantities
	Constraints *mesos.Constraints
	// Capabilities that decide what may be offered.
	Revocable, Shared, Refined, GPU, RegionAware bool
}

// Grant is one offer to be made: resources of one agent for one framework in one role.
type Grant struct {
	Agent, Framework, Role string
	Resources              resource.List
}

// Allocator is the memory. It is used by one machine and has no lock.
type Allocator struct {
	cfg Config
	rng *rand.Rand

	agents     map[string]*agent
	order      []*agent // by arrival; an agent knows its place
	frameworks map[string]*framework

	names  map[string]int // resource name to its index in vectors
	totals []int64        // of all agents, by index
	root   *node
	roles  map[string]*node

	dirty    []*agent
	allDirty bool
	stale    bool // totals changed: every share is to be computed anew
	expiries expiryHeap
	filters  int
	busy     func(agent, framework string) bool // during a cycle
}

type agent struct {
	Agent
	index  int
	free   resource.List
	short  bool // more is held than there is: it came back with less than its tasks use
	active bool
	dirty  bool
	lent   bool // in this cycle somebody was offered what is shared
	held   []holding
	filter map[*client][]filter
}

// holding is what one client holds of one agent, offered or used, without what is shared.
type holding struct {
	client *client
	what   resource.List
}

type framework struct {
	Framework
	active  bool
	clients []*client // by role, in the order of Roles; those of left roles stay until they hold nothing
}

// New makes an empty allocator. Chance (the order in which agents are offered) comes from rng alone.
func New(cfg Config, rng *rand.Rand) *Allocator {
	a := &Allocator{
		cfg: cfg, rng: rng, agents: map[string]*agent{}, frameworks: map[string]*framework{},
		names: map[string]int{}, roles: map[string]*node{},
	}
	a.root = &node{weight: defaultWeight}
	return a
}

// AddAgent makes an agent known and its resources free; what is used on it follows by Hold.
func (a *Allocator) AddAgent(spec Agent) {
	if _, ok := a.agents[spec.ID]; ok {
		a.UpdateAgent(spec)
		return
	}
	g := &agent{Agent: spec, index: len(a.order), free: spec.Total, active: true}
	a.agents[spec.ID] = g
	a.order = append(a.order, g)
	a.addTotal(spec.Total, 1)
	a.touch(g)
}

// UpdateAgent replaces what is known of an agent. Its filters end, since what they refused may be other resources now.
func (a *Allocator) UpdateAgent(spec Agent) {
	g := a.agents[spec.ID]
	if g == nil {
		return
	}
	a.addTotal(g.Total, -1)
	a.addTotal(spec.Total, 1)
	g.Agent = spec
	g.reckon()
	a.unfilter(g)
	a.touch(g)
}

// reckon finds what is free of an agent from what it has and what is held.
func (g *agent) reckon() {
	g.free, g.short = g.Total, false
	for _, h := range g.held {
		g.short = g.short || !g.free.Contains(h.what)
		g.free = g.free.Minus(h.what)
	}
}

// RemoveAgent forgets an agent and all that is held on it.
func (a *Allocator) RemoveAgent(id string) {
	g := a.agents[id]
	if g == nil {
		return
	}
	held := g.held
	g.held = nil
	for _, h := range held {
		a.count(h.client, h.what, -1)
		h.client.holdings--
		a.drop(h.client.framework, h.client)
	}
	a.addTotal(g.Total, -1)
	a.unfilter(g)
	last := a.order[len(a.order)-1]
	a.order[g.index], last.index = last, g.index
	a.order = a.order[:len(a.order)-1]
	delete(a.agents, id)
	g.active, g.dirty, g.index = false, false, -1
}

// SetAgentActive says whether an agent's free resources may be offered.
func (a *Allocator) SetAgentActive(id string, active bool) {
	if g := a.agents[id]; g != nil && g.active != active {
		g.active = active
		a.touch(g)
	}
}

// AddFramework makes a framework known, active or not.
func (a *Allocator) AddFramework(spec Framework, active bool) {
	f := a.frameworks[spec.ID]
	if f == nil {
		f = &framework{}
		a.frameworks[spec.ID] = f
	}
	f.Framework, f.active = spec, active
	a.settle(f)
}

// UpdateFramework replaces roles, suppression, constraints and filters. A role that is no longer suppressed gets its
// filters cleared.
func (a *Allocator) UpdateFramework(spec Framework) {
	f := a.frameworks[spec.ID]
	if f == nil {
		return
	}
	f.Framework = spec
	for _, c := range f.clients {
		was := c.wants
		if now := a.wants(f, c.role.name); now && !was {
			a.clearFilters(c)
		}
	}
	a.settle(f)
}

// SetFrameworkActive says whether a framework may be offered anything.
func (a *Allocator) SetFrameworkActive(id string, active bool) {
	if f := a.frameworks[id]; f != nil {
		f.active = active
		if !active {
			for _, c := range f.clients {
				a.clearFilters(c)
			}
		}
		a.settle(f)
	}
}

// RemoveFramework forgets a framework; what it held must have been returned.
func (a *Allocator) RemoveFramework(id string) {
	f := a.frameworks[id]
	if f == nil {
		return
	}
	f.active = false
	for _, c := range f.clients {
		a.clearFilters(c)
	}
	f.Roles = nil
	a.settle(f)
	delete(a.frameworks, id)
}

// Suppress stops offers for the roles; none named means all.
func (a *Allocator) Suppress(id string, roles []string) {
	f := a.frameworks[id]
	if f == nil {
		return
	}
	if len(roles) == 0 {
		roles = f.Roles
	}
	f.Suppressed = merge(f.Suppressed, roles)
	a.settle(f)
}

// Revive ends suppression and filters of the roles; none named means all.
func (a *Allocator) Revive(id string, roles []string) {
	f := a.frameworks[id]
	if f == nil {
		return
	}
	if len(roles) == 0 {
		roles = f.Roles
	}
	var left []string
	for _, s := range f.Suppressed {
		if !slices.Contains(roles, s) {
			left = append(left, s)
		}
	}
	f.Suppressed = left
	for _, c := range f.clients {
		if slices.Contains(roles, c.role.name) {
			a.clearFilters(c)
		}
	}
	a.settle(f)
	a.allDirty = true
}

// Hold books resources that a framework already uses on an agent, as an agent reports them.
func (a *Allocator) Hold(agentID, frameworkID, role string, what resource.List) {
	g := a.agents[agentID]
	if g == nil || what.IsEmpty() {
		return
	}
	f := a.frameworks[frameworkID]
	if f == nil {
		f = &framework{Framework: Framework{ID: frameworkID}}
		a.frameworks[frameworkID] = f
	}
	a.hold(g, a.client(f, role), what)
}

// Release gives back resources that were offered or used. A positive refuse keeps them, and any part of them, from the
// same framework in the same role until then.
func (a *Allocator) Release(agentID, frameworkID, role string, what resource.List, refuseUntil time.Duration) {
	g := a.agents[agentID]
	f := a.frameworks[frameworkID]
	if g == nil || f == nil || what.IsEmpty() {
		return
	}
	c := f.find(role)
	if c == nil {
		return
	}
	own := what.NonShared()
	g.setHeld(c, g.heldBy(c).Minus(own))
	if g.short {
		g.reckon()
	} else {
		g.free = g.free.Plus(own)
	}
	a.count(c, own, -1)
	if refuseUntil > 0 {
		a.addFilter(g, c, what, refuseUntil)
	}
	a.touch(g)
	a.drop(f, c)
}

// Pending says whether a cycle could find something to offer.
func (a *Allocator) Pending() bool { return a.allDirty || len(a.dirty) > 0 }

// Filters is the number of filters in force, expired ones that were not looked at included.
func (a *Allocator) Filters() int { return a.filters }

// Share is a role's dominant share as a fraction of the cluster, for people.
func (a *Allocator) Share(role string) float64 {
	if n := a.roles[role]; n != nil {
		return float64(a.shareOf(n.alloc, defaultWeight)) / float64(shareOne)
	}
	return 0
}

func (a *Allocator) touch(g *agent) {
	if !g.dirty && g.active {
		g.dirty = true
		a.dirty = append(a.dirty, g)
	}
}

func (a *Allocator) hold(g *agent, c *client, what resource.List) {
	own := what.NonShared()
	g.short = g.short || !g.free.Contains(own)
	g.free = g.free.Minus(own)
	c.given++ // it only grows: of two that hold the same, the one that was given less often is next
	c.role.ownGiven++
	for n := c.role; n != nil; n = n.parent {
		n.given++
	}
	a.count(c, own, 1)
	g.setHeld(c, g.heldBy(c).Plus(own))
}

func (a *Allocator) wants(f *framework, role string) bool {
	return f.active && slices.Contains(f.Roles, role) && !slices.Contains(f.Suppressed, role)
}

// settle brings the clients of a framework into line with its roles and whether it wants offers in them.
func (a *Allocator) settle(f *framework) {
	for _, role := range f.Roles {
		a.client(f, role)
	}
	for _, c := range slices.Clone(f.clients) {
		if w := a.wants(f, c.role.name); w != c.wants {
			c.wants = w
			c.place = place{a.shareOf(c.alloc, defaultWeight), c.given}
			c.role.setWants(c, w)
			if w {
				a.allDirty = true
			}
		}
		a.drop(f, c)
	}
}

// drop forgets a client whose role was left, once it holds nothing.
func (a *Allocator) drop(f *framework, c *client) {
	if c.wants || c.holdings > 0 || slices.Contains(f.Roles, c.role.name) {
		return
	}
	f.clients = slices.DeleteFunc(f.clients, func(o *client) bool { return o == c })
	a.clearFilters(c)
	c.role.clients--
	a.prune(c.role)
}

func (f *framework) find(role string) *client {
	for _, c := range f.clients {
		if c.role.name == role {
			return c
		}
	}
	return nil
}

// client gives the framework's seat in a role, making it when needed.
func (a *Allocator) client(f *framework, role string) *client {
	if c := f.find(role); c != nil {
		return c
	}
	c := &client{framework: f, role: a.role(role)}
	c.role.clients++
	f.clients = append(f.clients, c)
	return c
}

// count adds what to the books of the client and of every role above it (sign 1), or takes it away (sign -1). Only
// scalars count for shares, reserved ones as others do, and a shared resource counts for nobody.
func (a *Allocator) count(c *client, what resource.List, sign int64) {
	for i := range what {
		r := &what[i]
		if r.Kind != resource.Scalar {
			continue
		}
		x, q := a.index(r.Name), sign*int64(r.Scalar)
		c.alloc.add(x, q)
		c.role.ownAlloc.add(x, q)
		for n := c.role; n != nil; n = n.parent {
			n.alloc.add(x, q)
		}
	}
	a.reorder(c)
}

func (a *Allocator) addTotal(l resource.List, sign int64) {
	for _, r := range l {
		if r.Kind == resource.Scalar && !slices.Contains(a.cfg.Uncounted, r.Name) { // what there is none of is no part of a share
			i := a.index(r.Name)
			a.totals[i] += sign * int64(r.Scalar)
		}
	}
	a.stale = true
}

func (a *Allocator) index(name string) int {
	i, ok := a.names[name]
	if !ok {
		i = len(a.totals)
		a.names[name] = i
		a.totals = append(a.totals, 0)
	}
	return i
}

func merge(x, y []string) []string {
	out := slices.Concat(x, y)
	slices.SortFunc(out, cmp.Compare[string])
	return slices.Compact(out)
}
