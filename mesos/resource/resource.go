// Package resource calculates with Mesos resources: scalars, ranges and sets, with the
// reservations, disks and marks that tell like-named ones apart.
//
// Amounts are integer thousandths, as in Mesos, so sums are exact. A List is a value: no
// function changes one in place, and lists may share their parts, so any number of goroutines
// may read the same one.
package resource

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Quantity is an amount in thousandths of the resource's unit (cores, megabytes): 1500 cpus are
// one and a half cores.
type Quantity int64

// One is the Quantity of one whole unit.
const One Quantity = 1000

// MaxQuantity is the most that one resource may hold: 10^12 units. Nine thousand of them still
// fit into a sum.
const MaxQuantity = 1_000_000_000_000 * One

// FromFloat rounds f units to thousandths. Negative amounts, NaN, infinities and amounts above
// MaxQuantity are refused.
func FromFloat(f float64) (Quantity, error) {
	switch {
	case math.IsNaN(f):
		return 0, errors.New("the amount is not a number; give a number of at least 0")
	case f < 0:
		return 0, fmt.Errorf("the amount %v is negative; give a number of at least 0", f)
	case f > MaxQuantity.Float():
		return 0, fmt.Errorf("the amount %v is above the limit of %v; give a smaller number", f, MaxQuantity)
	}
	return Quantity(math.Round(f * 1000)), nil
}

// Float is the amount in units.
func (q Quantity) Float() float64 { return float64(q) / 1000 }

// String is the amount in units with the fraction that it needs: "1.5", "4".
func (q Quantity) String() string {
	s := string(q.appendJSON(nil))
	return strings.TrimSuffix(s, ".0")
}

// appendJSON appends the amount as a JSON number that always has a fraction: 4.0, 0.125.
func (q Quantity) appendJSON(dst []byte) []byte {
	n := uint64(q)
	if q < 0 {
		dst = append(dst, '-')
		n = -n
	}
	dst = strconv.AppendUint(dst, n/1000, 10)
	f := n % 1000
	dst = append(dst, '.', byte('0'+f/100))
	if f%100 != 0 {
		dst = append(dst, byte('0'+f/10%10))
		if f%10 != 0 {
			dst = append(dst, byte('0'+f%10))
		}
	}
	return dst
}

// Kind says which of a Resource's three amounts is meant. Its numbers are those of Value.Type.
type Kind uint8

// The three kinds of resources.
const (
	Scalar Kind = iota
	Ranges
	Set
)

func (k Kind) String() string {
	switch k {
	case Scalar:
		return "SCALAR"
	case Ranges:
		return "RANGES"
	}
	return "SET"
}

// Resource is one kind of thing in one state of reservation: so many cpus, these ports.
type Resource struct {
	Name   string
	Kind   Kind
	Scalar Quantity // of Kind Scalar
	Spans  []Span   // of Kind Ranges: sorted, apart from each other by at least one number
	Items  []string // of Kind Set: sorted, without duplicates
	// Traits is nil for a plain resource: unreserved, no disk, neither revocable nor shared, of
	// the agent itself. Traits that are not nil come from NewTraits.
	Traits *Traits
}

// Role is the role that the resource is reserved to, "*" when it is unreserved.
func (r *Resource) Role() string {
	if r.Traits == nil {
		return "*"
	}
	return r.Traits.Role()
}

// Reserved tells whether any role has a reservation on the resource.
func (r *Resource) Reserved() bool { return r.Traits != nil && len(r.Traits.Reservations) > 0 }

// Revocable tells whether the resource may be taken away again.
func (r *Resource) Revocable() bool { return r.Traits != nil && r.Traits.Revocable }

// Shared tells whether several tasks may use the resource at a time.
func (r *Resource) Shared() bool { return r.Traits != nil && r.Traits.Shared }

// PersistenceID is the id of the persistent volume that the resource is, "" when it is none.
func (r *Resource) PersistenceID() string {
	if r.Traits == nil || r.Traits.Disk == nil {
		return ""
	}
	return r.Traits.Disk.PersistenceID
}

// IsEmpty tells whether the amount is nothing.
func (r *Resource) IsEmpty() bool {
	switch r.Kind {
	case Scalar:
		return r.Scalar <= 0
	case Ranges:
		return len(r.Spans) == 0
	}
	return len(r.Items) == 0
}

// whole tells whether the resource is one thing that is neither split nor merged.
func (r *Resource) whole() bool { return r.Traits != nil && r.Traits.whole }

// compare orders resources by name, kind and traits; like ones, which can be merged, are equal.
func compare(a, b *Resource) int {
	if c := strings.Compare(a.Name, b.Name); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Kind, b.Kind); c != 0 {
		return c
	}
	return compareTraits(a.Traits, b.Traits)
}

// compareWhole orders further by the amount, which tells apart whole things with the same traits.
func compareWhole(a, b *Resource) int {
	if c := compare(a, b); c != 0 || !a.whole() {
		return c
	}
	return cmp.Compare(a.Scalar, b.Scalar)
}

// plus gives the sum of two like resources.
func plus(a, b *Resource) Resource {
	sum := *a
	switch a.Kind {
	case Scalar:
		sum.Scalar += b.Scalar
	case Ranges:
		sum.Spans = spansPlus(a.Spans, b.Spans)
	case Set:
		sum.Items = itemsPlus(a.Items, b.Items)
	}
	return sum
}

// minus gives what b leaves of a like resource.
func minus(a, b *Resource) Resource {
	rest := *a
	switch a.Kind {
	case Scalar:
		rest.Scalar = max(0, a.Scalar-b.Scalar)
	case Ranges:
		rest.Spans = spansMinus(a.Spans, b.Spans)
	case Set:
		rest.Items = itemsMinus(a.Items, b.Items)
	}
	return rest
}

// covers tells whether all of b is in a like resource.
func covers(a, b *Resource) bool {
	switch a.Kind {
	case Scalar:
		return a.Scalar >= b.Scalar
	case Ranges:
		return spansCover(a.Spans, b.Spans)
	}
	return itemsCover(a.Items, b.Items)
}
