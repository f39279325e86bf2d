package resource

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Span is the numbers from Begin to End, both included.
type Span struct{ Begin, End uint64 }

// next is the number after the span's last, as far as there is one.
func (s Span) next() uint64 {
	if s.End == math.MaxUint64 {
		return s.End
	}
	return s.End + 1
}

// newSpans sorts spans, in place, and joins neighbours. A span that ends before it begins is
// refused, and so are numbers that are given twice.
func newSpans(sorted []Span) ([]Span, error) {
	if len(sorted) == 0 {
		return nil, nil
	}
	slices.SortFunc(sorted, func(a, b Span) int { return cmp.Compare(a.Begin, b.Begin) })
	out := sorted[:0]
	for _, s := range sorted {
		if s.End < s.Begin {
			return nil, fmt.Errorf("the range %d-%d ends before it begins; put the smaller number first", s.Begin, s.End)
		}
		if n := len(out); n > 0 {
			last := &out[n-1]
			if s.Begin <= last.End {
				return nil, fmt.Errorf("the ranges %d-%d and %d-%d overlap; name each number once", last.Begin, last.End, s.Begin, s.End)
			}
			if s.Begin == last.next() {
				last.End = s.End
				continue
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// spansPlus is the union. It returns an argument itself where that is the answer.
func spansPlus(a, b []Span) []Span {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	out := make([]Span, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		var s Span
		if len(b) == 0 || len(a) > 0 && a[0].Begin <= b[0].Begin {
			s, a = a[0], a[1:]
		} else {
			s, b = b[0], b[1:]
		}
		if n := len(out); n > 0 && s.Begin <= out[n-1].next() {
			out[n-1].End = max(out[n-1].End, s.End)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// spansMinus is the difference. Where nothing is taken, or nothing is left, it allocates nothing.
func spansMinus(a, b []Span) []Span {
	if len(b) == 0 || len(a) == 0 || a[len(a)-1].End < b[0].Begin || b[len(b)-1].End < a[0].Begin {
		return a
	}
	if spansCover(b, a) {
		return nil
	}
	out := make([]Span, 0, len(a)+len(b))
	for _, s := range a {
		for len(b) > 0 && b[0].End < s.Begin {
			b = b[1:]
		}
		begin, used := s.Begin, false
		for i := 0; i < len(b) && b[i].Begin <= s.End; i++ {
			if b[i].Begin > begin {
				out = append(out, Span{begin, b[i].Begin - 1})
			}
			if b[i].End >= s.End {
				used = true
				break
			}
			begin = b[i].End + 1
		}
		if !used {
			out = append(out, Span{begin, s.End})
		}
	}
	return out
}

// spansCover tells whether every number of b is in a.
func spansCover(a, b []Span) bool {
	for _, s := range b {
		i := sort.Search(len(a), func(i int) bool { return a[i].End >= s.Begin })
		if i == len(a) || a[i].Begin > s.Begin || a[i].End < s.End {
			return false
		}
	}
	return true
}

// newItems sorts the items of a set that a client gave; an item given twice is refused.
func newItems(given []string) ([]string, error) {
	if len(given) == 0 {
		return nil, nil
	}
	out := slices.Clone(given)
	slices.Sort(out)
	for i := 1; i < len(out); i++ {
		if out[i] == out[i-1] {
			return nil, fmt.Errorf("the item %q is given twice; name each item once", out[i])
		}
	}
	return out, nil
}

func itemsPlus(a, b []string) []string {
	if itemsCover(a, b) {
		return a
	}
	if itemsCover(b, a) {
		return b
	}
	out := make([]string, 0, len(a)+len(b))
	out = append(append(out, a...), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

func itemsMinus(a, b []string) []string {
	if !slices.ContainsFunc(a, func(s string) bool { return hasItem(b, s) }) {
		return a
	}
	if itemsCover(b, a) {
		return nil
	}
	out := make([]string, 0, len(a))
	for _, s := range a {
		if !hasItem(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func itemsCover(a, b []string) bool {
	for _, s := range b {
		if !hasItem(a, s) {
			return false
		}
	}
	return true
}

func hasItem(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}
