package reads

import (
	"maps"
	"slices"
	"strings"

	"github.com/pando-os/pando/internal/core/cluster"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// role is what is shown of one.
type role struct {
	allocated, offered, reserved sum
	// consumed is what counts against a quota: what is reserved, and what is allocated of the rest, of the role and those
	// below it.
	consumed   sum
	frameworks []string
}

// above visits a role and those it is below: "a/b", then "a".
func above(name string, visit func(string)) {
	for {
		visit(name)
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return
		}
		name = name[:i]
	}
}

// roles gathers every role that is used or has a weight or a reservation, and those above them.
func (r *Reader) roles() map[string]*role {
	all := map[string]*role{}
	get := func(name string) *role {
		x := all[name]
		if x == nil {
			x = &role{}
			all[name] = x
		}
		return x
	}
	for name := range r.About.Weights { // order: a map is filled
		above(name, func(n string) { get(n) })
	}
	for a := range r.View.Agents {
		if a.Mark != cluster.Admitted || a.Recovered {
			continue
		}
		for _, name := range a.Spec.Total.Roles() {
			l := a.Spec.Total.ReservedTo(name)
			get(name).reserved.add(l)
			above(name, func(n string) { get(n).consumed.add(l) })
		}
	}
	for f := range r.View.Frameworks {
		for _, name := range f.Spec.Roles {
			above(name, func(n string) { get(n) })
			if r.may(f) {
				x := get(name)
				x.frameworks = append(x.frameworks, f.Spec.ID)
			}
		}
	}
	for t := range r.View.Tasks {
		if t.Released || t.Role == "" {
			continue
		}
		get(t.Role).allocated.add(t.Spec.Resources)
		free := t.Spec.Resources.Unreserved()
		above(t.Role, func(n string) { get(n).consumed.add(free) })
	}
	for o := range r.View.Offers {
		get(o.Role).offered.add(o.Resources)
	}
	return all
}

// Roles appends the roles, as /roles shows them. There are no quotas yet, so none is guaranteed or limits.
func (r *Reader) Roles(dst []byte) []byte {
	all := r.roles()
	dst = append(dst, `{"roles":[`...)
	for i, name := range slices.Sorted(maps.Keys(all)) {
		x := all[name]
		dst = v0.Text(append(v0.Comma(dst, i), `{"name":`...), name)
		dst = v0.Number(append(dst, `,"weight":`...), r.weight(name))
		dst = v0.Text(append(dst, `,"quota":{"role":`...), name)
		dst = v0.Quantities(append(dst, `,"guarantee":{},"limit":{},"consumed":`...), x.consumed.list)
		dst = v0.Quantities(append(dst, `},"resources":`...), x.allocated.list.Plus(x.offered.list))
		dst = v0.Quantities(append(dst, `,"allocated":`...), x.allocated.list)
		dst = v0.Quantities(append(dst, `,"offered":`...), x.offered.list)
		dst = v0.Quantities(append(dst, `,"reserved":`...), x.reserved.list)
		dst = append(v0.Texts(append(dst, `,"frameworks":`...), x.frameworks), '}')
	}
	return append(dst, "]}"...)
}

func (r *Reader) weight(name string) float64 {
	if w, ok := r.About.Weights[name]; ok {
		return float64(w) / 1000
	}
	return 1
}

// AppendWeights appends the weights that were set, as GET /weights shows them.
func (a *About) AppendWeights(dst []byte) []byte {
	dst = append(dst, '[')
	for i, name := range slices.Sorted(maps.Keys(a.Weights)) {
		dst = v0.Text(append(v0.Comma(dst, i), `{"role":`...), name)
		dst = append(v0.Number(append(dst, `,"weight":`...), float64(a.Weights[name])/1000), '}')
	}
	return append(dst, ']')
}
