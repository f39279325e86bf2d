package resource

import (
	"iter"
	"slices"
)

// List is a set of resources in canonical form: sorted by name, kind and traits; like ones
// merged; nothing empty. The zero List is empty. Lists are values: they share their parts and
// are never changed in place, so the elements of one must not be written to.
//
// Whole things (persistent volumes, mounts, block devices, shared resources) are never merged or
// split. A shared resource is in a list once however often it is added, so who needs to know how
// many use it counts the uses.
type List []Resource

// New puts resources into canonical form. It keeps what the elements point to, which the caller
// must not touch any more; Spans and Items must be in the form that Resource asks for.
func New(rs ...Resource) List {
	var l List
	for _, r := range rs {
		if r.IsEmpty() {
			continue
		}
		r.Traits = NewTraits(r.Traits)
		l = append(l, r)
	}
	return canonical(l)
}

// canonical sorts and merges l in place. Only for lists that nobody else has seen.
func canonical(l List) List {
	slices.SortStableFunc(l, func(a, b Resource) int { return compareWhole(&a, &b) })
	out := l[:0]
	for i := range l {
		r := &l[i]
		if n := len(out); n > 0 && compareWhole(&out[n-1], r) == 0 {
			switch last := &out[n-1]; {
			case last.Shared():
				continue
			case !last.whole():
				*last = plus(last, r)
				continue
			}
		}
		out = append(out, *r)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// IsEmpty tells whether there is nothing in l.
func (l List) IsEmpty() bool { return len(l) == 0 }

// Plus is the sum. It allocates one list, and one more for each pair of ranges or sets merged;
// nothing when either side is empty.
func (l List) Plus(o List) List {
	if len(o) == 0 {
		return l
	}
	if len(l) == 0 {
		return o
	}
	out := make(List, 0, sizeOfSum(l, o))
	i, j := 0, 0
	for i < len(l) && j < len(o) {
		a, b := &l[i], &o[j]
		switch c := compareWhole(a, b); {
		case c < 0:
			out = append(out, *a)
			i++
		case c > 0:
			out = append(out, *b)
			j++
		case a.Shared():
			out = append(out, *a)
			i, j = i+1, j+1
		case a.whole():
			out = append(out, *a) // b follows when a's equals are through
			i++
		default:
			out = append(out, plus(a, b))
			i, j = i+1, j+1
		}
	}
	out = append(out, l[i:]...)
	return append(out, o[j:]...)
}

// sizeOfSum is the length that the sum of two lists has.
func sizeOfSum(l, o List) int {
	n, i, j := 0, 0, 0
	for i < len(l) && j < len(o) {
		c := compareWhole(&l[i], &o[j])
		if c <= 0 {
			i++
		}
		if c > 0 || c == 0 && (!l[i-1].whole() || l[i-1].Shared()) {
			j++
		}
		n++
	}
	return n + len(l) - i + len(o) - j
}

// Minus is what o leaves of l; where o has more than l, nothing is left of that. It allocates one
// list, and one more for each range or set that is cut; nothing when o is empty or all is taken.
func (l List) Minus(o List) List {
	if len(o) == 0 || len(l) == 0 {
		return l
	}
	var out List
	j := 0
	for i := range l {
		a := &l[i]
		for j < len(o) && compareWhole(&o[j], a) < 0 {
			j++
		}
		rest := *a
		if j < len(o) && compareWhole(a, &o[j]) == 0 {
			if a.whole() {
				j++ // one for one
				continue
			}
			if rest = minus(a, &o[j]); rest.IsEmpty() {
				continue
			}
		}
		if out == nil {
			out = make(List, 0, len(l)-i)
		}
		out = append(out, rest)
	}
	return out
}

// Contains tells whether l has all of o.
func (l List) Contains(o List) bool {
	i := 0
	for j := range o {
		b := &o[j]
		for i < len(l) && compareWhole(&l[i], b) < 0 {
			i++
		}
		if i == len(l) || compareWhole(&l[i], b) != 0 || !b.whole() && !covers(&l[i], b) {
			return false
		}
		i++
	}
	return true
}

// Equal tells whether both hold the same.
func (l List) Equal(o List) bool {
	if len(l) != len(o) {
		return false
	}
	for i := range l {
		a, b := &l[i], &o[i]
		if compare(a, b) != 0 || a.Scalar != b.Scalar || !slices.Equal(a.Spans, b.Spans) || !slices.Equal(a.Items, b.Items) {
			return false
		}
	}
	return true
}

// Scalar is the sum of the scalars of that name, whatever their traits.
func (l List) Scalar(name string) Quantity {
	var sum Quantity
	for i := range l {
		if l[i].Kind == Scalar && l[i].Name == name {
			sum += l[i].Scalar
		}
	}
	return sum
}

// Spans is the union of the ranges of that name, whatever their traits.
func (l List) Spans(name string) []Span {
	var sum []Span
	for i := range l {
		if l[i].Kind == Ranges && l[i].Name == name {
			sum = spansPlus(sum, l[i].Spans)
		}
	}
	return sum
}

// Quantities goes over the names of scalars, in order, with the sum of each.
func (l List) Quantities() iter.Seq2[string, Quantity] {
	return func(yield func(string, Quantity) bool) {
		for i := 0; i < len(l); {
			name, sum, found := l[i].Name, Quantity(0), false
			for ; i < len(l) && l[i].Name == name; i++ {
				if l[i].Kind == Scalar {
					sum, found = sum+l[i].Scalar, true
				}
			}
			if found && !yield(name, sum) {
				return
			}
		}
	}
}

// Filter is the part of l that keep wants; l itself when that is all.
func (l List) Filter(keep func(*Resource) bool) List {
	for i := range l {
		if keep(&l[i]) {
			continue
		}
		var out List
		out = append(out, l[:i]...)
		for j := i + 1; j < len(l); j++ {
			if keep(&l[j]) {
				out = append(out, l[j])
			}
		}
		return out
	}
	return l
}

// Unreserved is what no role has a reservation on.
func (l List) Unreserved() List { return l.Filter(func(r *Resource) bool { return !r.Reserved() }) }

// Reserved is what any role has a reservation on.
func (l List) Reserved() List { return l.Filter((*Resource).Reserved) }

// ReservedTo is what is reserved to exactly that role.
func (l List) ReservedTo(role string) List {
	return l.Filter(func(r *Resource) bool { return r.Reserved() && r.Role() == role })
}

// AllocatableTo is what may be offered to a framework in that role: what is unreserved, and what
// is reserved to the role or to an ancestor of it.
func (l List) AllocatableTo(role string) List {
	return l.Filter(func(r *Resource) bool {
		return !r.Reserved() || r.Role() == role || IsAncestor(r.Role(), role)
	})
}

// Revocable is what may be taken away again.
func (l List) Revocable() List { return l.Filter((*Resource).Revocable) }

// NonRevocable is what stays once it is given.
func (l List) NonRevocable() List { return l.Filter(func(r *Resource) bool { return !r.Revocable() }) }

// Shared is what several tasks may use at a time.
func (l List) Shared() List { return l.Filter((*Resource).Shared) }

// NonShared is what one task alone uses.
func (l List) NonShared() List { return l.Filter(func(r *Resource) bool { return !r.Shared() }) }

// PersistentVolumes is the disks that are persistent volumes.
func (l List) PersistentVolumes() List {
	return l.Filter(func(r *Resource) bool { return r.PersistenceID() != "" })
}

// Roles is the roles that something is reserved to, sorted.
func (l List) Roles() []string {
	var roles []string
	for i := range l {
		if l[i].Reserved() && !slices.Contains(roles, l[i].Role()) {
			roles = append(roles, l[i].Role())
		}
	}
	slices.Sort(roles)
	return roles
}

// HasRefinedReservations tells whether anything has more than one layer of reservations, which
// only the format after refinement can say.
func (l List) HasRefinedReservations() bool { return slices.ContainsFunc(l, isRefined) }

// WithoutRefined is what frameworks without RESERVATION_REFINEMENT may be offered.
func (l List) WithoutRefined() List {
	return l.Filter(func(r *Resource) bool { return !isRefined(*r) })
}

func isRefined(r Resource) bool { return r.Traits != nil && len(r.Traits.Reservations) > 1 }

// PushReservation is l with one more layer of reservations on everything: what RESERVE makes.
func (l List) PushReservation(layer Reservation) List {
	return l.transform(func(t *Traits) {
		t.Reservations = append(slices.Clip(t.Reservations), layer)
	})
}

// PopReservation is l without the newest layer of reservations: what UNRESERVE leaves, and what
// RESERVE takes. Unreserved resources stay as they are.
func (l List) PopReservation() List {
	return l.transform(func(t *Traits) {
		t.Reservations = t.Reservations[:max(0, len(t.Reservations)-1)]
	})
}

// Scratch is how much disk there is in l for what nobody keeps, in megabytes: without persistent volumes and disks of their own.
func (l List) Scratch() Quantity {
	return l.Filter(func(r *Resource) bool { return r.Traits == nil || r.Traits.Disk == nil }).Scalar("disk")
}

// WithoutVolumes is l with its persistent volumes turned into the disks they are made from: what
// DESTROY leaves, and what CREATE takes.
func (l List) WithoutVolumes() List {
	return l.transform(func(t *Traits) {
		if t.Disk == nil {
			return
		}
		t.Shared = false
		if t.Disk.Source.Kind == RootDisk {
			t.Disk = nil
			return
		}
		t.Disk = &Disk{Source: t.Disk.Source}
	})
}

// transform is l with other traits. change gets a copy whose slices it may shorten or replace.
func (l List) transform(change func(*Traits)) List {
	out := make(List, len(l))
	for i, r := range l {
		var t Traits
		if r.Traits != nil {
			t.Reservations, t.Disk, t.Revocable, t.Shared, t.Provider = r.Traits.Reservations, r.Traits.Disk, r.Traits.Revocable, r.Traits.Shared, r.Traits.Provider
		}
		change(&t)
		r.Traits = NewTraits(&t)
		out[i] = r
	}
	return canonical(out)
}
