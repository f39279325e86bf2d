package resource

import "fmt"

// Change is what an operation makes of some resources: Consumed goes, Converted comes in its place. Both hold the same
// amounts.
type Change struct{ Consumed, Converted List }

// Apply is l with the change made. It is refused when l lacks something of what the change consumes.
func (l List) Apply(c Change) (List, error) {
	if !l.Contains(c.Consumed) {
		return nil, fmt.Errorf("%s are needed, and %s are not there", c.Consumed, c.Consumed.lacking(l))
	}
	return l.Minus(c.Consumed).Plus(c.Converted), nil
}

// lacking is what of l is not in o, for people: elements that o has in part are named whole.
func (l List) lacking(o List) List {
	return l.Filter(func(r *Resource) bool { return !o.Contains(List{*r}) })
}

// Undo is the change that takes c back.
func (c Change) Undo() Change { return Change{c.Converted, c.Consumed} }

// Kept is what an agent must write down of its resources: dynamic reservations and persistent volumes. The rest follows from
// its settings.
func (l List) Kept() List {
	return l.Filter(func(r *Resource) bool { return r.dynamic() || r.PersistenceID() != "" })
}

// dynamic tells whether RESERVE made any layer of the reservations.
func (r *Resource) dynamic() bool {
	if r.Traits == nil {
		return false
	}
	for i := range r.Traits.Reservations {
		if r.Traits.Reservations[i].Dynamic {
			return true
		}
	}
	return false
}

// Original is what resources were before any operation: without dynamic reservations and volumes.
func (l List) Original() List {
	return l.WithoutVolumes().transform(func(t *Traits) {
		n := 0
		for n < len(t.Reservations) && !t.Reservations[n].Dynamic {
			n++
		}
		t.Reservations = t.Reservations[:n]
	})
}

// WithKept is an agent's resources by its settings, l, with the reservations and volumes that it has kept. It is refused when
// l lacks what they were made from.
func (l List) WithKept(kept List) (List, error) {
	return l.Apply(Change{kept.Original(), kept})
}

// VolumeKey names a persistent volume on an agent: ids are unique in a role.
func (r *Resource) VolumeKey() (role, id string) { return r.Role(), r.PersistenceID() }

// FindVolume finds a persistent volume by its role and id; nil when there is none.
func (l List) FindVolume(role, id string) *Resource {
	for i := range l {
		if r := &l[i]; r.PersistenceID() == id && r.Role() == role {
			return r
		}
	}
	return nil
}
