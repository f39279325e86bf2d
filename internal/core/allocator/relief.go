package allocator

import "time"

// Relieve gives the resources of an offer that its holder did not answer to a poorer framework that has none, if that may
// and wants to have them with what else is free on the agent. The holder's offer must be forgotten by the caller when
// this succeeds: its resources have changed hands.
func (a *Allocator) Relieve(held Grant, poor string, now time.Duration) (Grant, bool) {
	a.refresh()
	g, f, holder := a.agents[held.Agent], a.frameworks[poor], a.frameworks[held.Framework]
	if g == nil || !g.active || f == nil || holder == nil {
		return Grant{}, false
	}
	from := holder.find(held.Role)
	if from == nil {
		return Grant{}, false
	}
	free := g.free
	g.free = free.Plus(held.Resources)
	for _, c := range f.clients {
		if !c.wants || c.key >= from.key {
			continue
		}
		if what := a.try(g, c, now); what != nil {
			g.free = free
			a.Release(held.Agent, held.Framework, held.Role, held.Resources, 0)
			a.hold(g, c, what)
			return Grant{g.ID, poor, c.role.name, what}, true
		}
	}
	g.free = free
	return Grant{}, false
}
