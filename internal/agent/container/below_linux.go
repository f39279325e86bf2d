package container

import (
	"slices"

	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// resolveBelow plans the cgroup of a container, which depends on the one it is below.
func (n *Native) resolveBelow(s *Spec, w *wire.Spec) error {
	l, name := Limits{s.CPUs, s.Mem, s.CPULimit, s.MemLimit}, s.ID
	hollow := len(s.Args) == 0
	if s.Parent == "" {
		w.Cgroup = n.plan(name, hollow, l)
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	up := n.held[s.Parent]
	if up == nil || up.exited || up.launching {
		return notBelow(s.Parent)
	}
	name = states(n.states).groupName(&up.state) + "/" + s.ID
	w.Shared = s.ShareCgroup || up.state.Shared || !up.state.Hollow && n.cfg.Cgroup.SharesBelow()
	if w.Shared {
		w.Cgroup = n.cfg.Cgroup.PlanShared(name, states(n.states).limited(&up.state), n.cfg.PIDs)
	} else {
		w.Cgroup = n.plan(name, hollow, l)
	}
	w.Cgroup = n.cfg.Cgroup.Within(w.Cgroup)
	return nil
}

func notBelow(id string) error {
	return &Error{KindGone, "container " + id + ", which the new one is to be below, is not running"}
}

// plan plans a cgroup with limits of its own. One that only holds others does not bound their processes: each is bounded.
func (n *Native) plan(name string, hollow bool, l Limits) cgroup.Plan {
	c := cgroup.Limits{CPUs: l.CPUs, CPULimit: l.CPULimit, Mem: l.Mem, MemLimit: l.MemLimit, Quota: n.cfg.Quota}
	if hollow {
		return n.cfg.Cgroup.PlanHolder(name, c)
	}
	c.PIDs = n.cfg.PIDs
	return n.cfg.Cgroup.Plan(name, c)
}

// stateOf is what is known of a container before its shim has answered.
func stateOf(s *wire.Spec) wire.State {
	return wire.State{
		ID: s.ID, Cgroups: s.Cgroup.Dirs(), MemLimit: s.Cgroup.MemLimit, Parent: s.Parent, Shared: s.Shared, Hollow: len(s.Args) == 0,
	}
}

// reserveBelow finds the shim of a container that another is to be below, if it speaks that version. n.mu is held.
func (n *Native) reserveBelow(parent string, version uint32) (*link, error) {
	up := n.held[parent]
	switch {
	case up == nil || up.exited || up.launching:
		return nil, notBelow(parent)
	case up.link.version < version:
		return nil, &Error{KindShim, "container " + parent + " was started by an older launcher, which cannot start such a one below it; start it anew"}
	}
	return up.link, nil
}

// states finds containers by their ids.
type states func(id string) *wire.State

// states finds what is held. n.mu is held too.
func (n *Native) states(id string) *wire.State {
	if h := n.held[id]; h != nil {
		return &h.state
	}
	return nil
}

// groupName is the container's name among cgroups: the names of those above it, and its own.
func (s states) groupName(st *wire.State) string {
	if up := s(st.Parent); up != nil {
		return s.groupName(up) + "/" + st.ID
	}
	return st.ID
}

// limited is the name of the group whose limits hold for a container.
func (s states) limited(st *wire.State) string { return s.groupName(s.limiter(st)) }

// limiter is the container whose limits hold for one: itself, or the one whose it shares.
func (s states) limiter(st *wire.State) *wire.State {
	for up := s(st.Parent); st.Shared && up != nil; up = s(st.Parent) {
		st = up
	}
	return st
}

// oomFile is where deaths for memory of the container whose limits are in the group of that name are counted.
func (n *Native) oomFile(name string) string { return n.cfg.Cgroup.Plan(name, cgroup.Limits{}).OOMFile }

// lowestFirst sorts containers so that each comes before the one it is below.
func lowestFirst[T any](of []T, state func(T) *wire.State) {
	parent := map[string]string{}
	for _, c := range of {
		parent[state(c).ID] = state(c).Parent
	}
	depth := func(c T) int {
		d := 0
		for up := state(c).Parent; up != "" && d <= len(of); up = parent[up] {
			d++
		}
		return d
	}
	slices.SortStableFunc(of, func(a, b T) int { return depth(b) - depth(a) })
}
