package seccomp

import (
	"cmp"
	"maps"
	"slices"
)

// clause is a rule for one number: an action under conditions that all have to hold.
type clause struct {
	when []Condition
	then Action
}

// part is a range of numbers, up to the next part, that are treated alike.
type part struct {
	from    uint32
	clauses []clause // tried in order
	rest    Action   // what holds when none of them does
}

// same says whether two parts are treated alike. Clauses are for one number alone, so parts with any differ.
func (p part) same(q part) bool {
	return len(p.clauses) == 0 && len(q.clauses) == 0 && p.rest == q.rest
}

// parts divide all 2³² numbers of an abi, in ascending order, the first from zero.
func (p *Profile) parts(a abi) []part {
	clauses, last := p.clauses(a)
	list := []part{{from: 0, rest: p.Default}}
	add := func(next part) {
		if list[len(list)-1].from == next.from {
			list = list[:len(list)-1]
		}
		if len(list) == 0 || !list[len(list)-1].same(next) {
			list = append(list, next)
		}
	}
	for _, nr := range slices.Sorted(maps.Keys(clauses)) {
		single := part{from: nr, clauses: clauses[nr], rest: p.Default}
		if c := clauses[nr][0]; len(c.when) == 0 {
			single = part{from: nr, rest: c.then}
		}
		add(single)
		add(part{from: nr + 1, rest: p.Default})
	}
	if last > 0 && !p.Default.permissive() {
		add(part{from: last + 1, rest: Errno(enosys)})
	}
	if a.audit == x8664Audit {
		p.x32(add)
	}
	return list
}

// x32 marks the numbers of x32. The highest number is no call: tracers write it to have a call left out.
func (p *Profile) x32(add func(part)) {
	if slices.Contains(p.Archs, scmpX32) {
		add(part{from: x32Bit, rest: Errno(enosys)})
		return
	}
	add(part{from: x32Bit, rest: KillThread})
	add(part{from: 1<<32 - 1, rest: p.Default})
}

// clauses gives the rules of an abi by number, and the highest number that the profile names, for whatever action. A rule
// without conditions stands alone.
func (p *Profile) clauses(a abi) (byNumber map[uint32][]clause, last uint32) {
	byNumber = map[uint32][]clause{}
	add := func(name string, c clause) {
		if nr, ok := a.lookup(name); ok {
			last = max(last, nr)
			if c.then != p.Default {
				byNumber[nr] = append(byNumber[nr], c)
			}
		}
	}
	for _, r := range p.Rules {
		for _, name := range r.Names {
			for _, c := range r.clauses() {
				add(name, c)
			}
			// What is compared are arguments that this other call has in memory, out of reach; so a rule that
			// compares is for the direct call alone.
			if m, ok := a.mux(name); ok && len(r.Args) == 0 {
				add(m.through, clause{when: []Condition{m.choice}, then: r.Action})
			}
		}
	}
	for nr, list := range byNumber {
		if i := slices.IndexFunc(list, func(c clause) bool { return len(c.when) == 0 }); i >= 0 {
			byNumber[nr] = list[i : i+1]
		}
	}
	return byNumber, last
}

// clauses are the ways in which a rule can match.
func (r Rule) clauses() []clause {
	when := slices.Clone(r.Args)
	slices.SortStableFunc(when, func(x, y Condition) int { return cmp.Compare(x.Index, y.Index) })
	for i := 1; i < len(when); i++ {
		if when[i].Index == when[i-1].Index {
			return each(when, r.Action)
		}
	}
	return []clause{{when, r.Action}}
}

func each(when []Condition, then Action) []clause {
	list := make([]clause, 0, len(when))
	for _, c := range when {
		list = append(list, clause{[]Condition{c}, then})
	}
	return list
}
