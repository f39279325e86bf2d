package allocator

import (
	"fmt"

	"github.com/pando-os/pando/mesos/resource"
)

// Shared resources are never used up: they stay free whoever has them, so what is held here is the rest alone. Who may use one
// when, and whether anybody does, is for the book to know.

// Free is what nobody holds of an agent, and all that is shared there.
func (a *Allocator) Free(agent string) resource.List {
	if g := a.agents[agent]; g != nil {
		return g.free
	}
	return nil
}

// Convert makes a change of resources that a framework holds in a role. It is refused when the framework does not hold them.
func (a *Allocator) Convert(agentID, frameworkID, role string, change resource.Change) error {
	g, f := a.agents[agentID], a.frameworks[frameworkID]
	if g == nil || f == nil {
		return fmt.Errorf("agent %s or framework %s is not known", agentID, frameworkID)
	}
	total, err := g.Total.Apply(change)
	if err != nil {
		return fmt.Errorf("of agent %s: %w", agentID, err)
	}
	own := resource.Change{Consumed: change.Consumed.NonShared(), Converted: change.Converted.NonShared()}
	c := f.find(role)
	held := resource.List(nil)
	if c != nil {
		held = g.heldBy(c)
	}
	if held, err = held.Apply(own); err != nil {
		return fmt.Errorf("framework %s in role %s: %w", frameworkID, role, err)
	}
	g.Total = total
	if c != nil {
		g.setHeld(c, held)
		a.count(c, own.Consumed, -1)
		a.count(c, own.Converted, 1)
	}
	g.reckon()
	a.touch(g)
	return nil
}

// ConvertFree makes a change of resources that nobody holds. It is refused when they are not free.
func (a *Allocator) ConvertFree(agentID string, change resource.Change) error {
	g := a.agents[agentID]
	if g == nil {
		return fmt.Errorf("agent %s is not known", agentID)
	}
	if _, err := g.free.Apply(change); err != nil {
		return fmt.Errorf("of what is free of agent %s: %w", agentID, err)
	}
	total, err := g.Total.Apply(change)
	if err != nil {
		return fmt.Errorf("of agent %s: %w", agentID, err)
	}
	g.Total = total
	g.reckon()
	a.touch(g)
	return nil
}

// heldBy is what a client holds of an agent.
func (g *agent) heldBy(c *client) resource.List {
	for i := range g.held {
		if g.held[i].client == c {
			return g.held[i].what
		}
	}
	return nil
}

// setHeld replaces what a client holds of an agent.
func (g *agent) setHeld(c *client, what resource.List) {
	for i := range g.held {
		if g.held[i].client != c {
			continue
		}
		if g.held[i].what = what; what.IsEmpty() {
			g.held = append(g.held[:i], g.held[i+1:]...)
			c.holdings--
		}
		return
	}
	if !what.IsEmpty() {
		g.held = append(g.held, holding{c, what})
		c.holdings++
	}
}
