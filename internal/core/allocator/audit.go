package allocator

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pando-os/pando/mesos/resource"
)

// Seat names a framework in a role.
type Seat struct{ Framework, Role string }

// Has says whether an agent is known.
func (a *Allocator) Has(agent string) bool { return a.agents[agent] != nil }

// Total is all that an agent has.
func (a *Allocator) Total(agent string) resource.List { return a.agents[agent].Total }

// Audit compares the allocator's books with what its user says is held of each agent, shared resources left out, and with
// themselves; nil when they agree. It looks at everything: it is for tests and the simulator.
func (a *Allocator) Audit(held map[string]map[Seat]resource.List) error {
	agents := slices.Clone(a.order)
	slices.SortFunc(agents, func(x, y *agent) int { return cmp.Compare(x.ID, y.ID) })
	for _, g := range agents {
		var sum resource.List
		seats := map[Seat]bool{}
		for _, h := range g.held {
			s := Seat{h.client.framework.ID, h.client.role.name}
			if seats[s] {
				return fmt.Errorf("agent %s: %v is in the allocator's list twice", g.ID, s)
			}
			seats[s] = true
			sum = sum.Plus(h.what)
			if want := held[g.ID][s]; !want.Equal(h.what) {
				return fmt.Errorf("agent %s: the allocator says that %v holds %s, the book says %s", g.ID, s, h.what, want)
			}
		}
		for s, want := range held[g.ID] { // order: any that is missing is an error
			if !seats[s] {
				return fmt.Errorf("agent %s: the book says that %v holds %s, the allocator knows nothing of it", g.ID, s, want)
			}
		}
		if over := !g.Total.Contains(sum); over != g.short {
			return fmt.Errorf("agent %s: %s are held, it has %s, and that it came back with less than is held is said to be %t", g.ID, sum, g.Total, g.short)
		}
		if !g.Total.Minus(sum).Equal(g.free) {
			return fmt.Errorf("agent %s: %s are held of %s, and %s are said to be free", g.ID, sum, g.Total, g.free)
		}
	}
	for id := range held { // order: any that is unknown is an error
		if a.agents[id] == nil {
			return fmt.Errorf("agent %s is unknown to the allocator, and something of it is held", id)
		}
	}
	return nil
}
