package resource

import (
	"strconv"

	"github.com/pando-os/pando/mesos/internal/codec"
)

// always are the scalars that every v0 resources object has, if with 0.0.
var always = [...]string{"cpus", "disk", "gpus", "mem"}

// AppendV0 appends l as the object that /state and its like show: cpus, disk, gpus and mem always,
// others where they are; scalars as numbers, ranges as "[31000-32000]", sets as "{a, b}"; what is
// revocable under its name with the suffix "_revocable". Traits are added up.
func (l List) AppendV0(dst []byte) []byte {
	return l.appendV0(dst, func(*Resource) bool { return true })
}

// AppendV0Reserved appends an object that has, for each role with reservations, what is reserved
// to it in the form of AppendV0.
func (l List) AppendV0Reserved(dst []byte) []byte {
	return l.appendByRole(dst, func(dst []byte, role string) []byte {
		return l.appendV0(dst, func(r *Resource) bool { return r.Reserved() && r.Role() == role })
	})
}

// AppendV0ReservedFull appends an object that has, for each role with reservations, the array of
// the resources reserved to it in the Endpoint format.
func (l List) AppendV0ReservedFull(dst []byte) []byte {
	return l.appendByRole(dst, func(dst []byte, role string) []byte {
		return l.ReservedTo(role).AppendJSON(dst, "", Endpoint)
	})
}

func (l List) appendByRole(dst []byte, one func([]byte, string) []byte) []byte {
	dst = append(dst, '{')
	for i, role := range l.Roles() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = codec.AppendString(dst, role)
		dst = append(dst, ':')
		dst = one(dst, role)
	}
	return append(dst, '}')
}

func (l List) appendV0(dst []byte, keep func(*Resource) bool) []byte {
	dst = append(dst, '{')
	for i, name := range always {
		if i > 0 {
			dst = append(dst, ',')
		}
		var sum Quantity
		for j := range l {
			if r := &l[j]; r.Name == name && r.Kind == Scalar && !r.Revocable() && keep(r) {
				sum += r.Scalar
			}
		}
		dst = append(dst, '"')
		dst = append(dst, name...)
		dst = append(dst, `":`...)
		dst = sum.appendJSON(dst)
	}
	for i := range l {
		if r := &l[i]; keep(r) && !alwaysThere(r) && l.firstV0(i, keep) {
			dst = l.appendV0Sum(append(dst, ','), r, keep)
		}
	}
	return append(dst, '}')
}

func alwaysThere(r *Resource) bool {
	if r.Kind != Scalar || r.Revocable() {
		return false
	}
	for _, name := range always {
		if r.Name == name {
			return true
		}
	}
	return false
}

// sameV0 tells whether two resources are added up under one member.
func sameV0(a, b *Resource) bool {
	return a.Name == b.Name && a.Kind == b.Kind && a.Revocable() == b.Revocable()
}

// firstV0 tells whether no earlier element goes under the same member as the i-th.
func (l List) firstV0(i int, keep func(*Resource) bool) bool {
	for j := i - 1; j >= 0 && l[j].Name == l[i].Name; j-- {
		if sameV0(&l[j], &l[i]) && keep(&l[j]) {
			return false
		}
	}
	return true
}

func (l List) appendV0Sum(dst []byte, like *Resource, keep func(*Resource) bool) []byte {
	sum := Resource{Kind: like.Kind}
	for i := range l {
		if r := &l[i]; sameV0(r, like) && keep(r) {
			sum = plus(&sum, r)
		}
	}
	if !like.Revocable() {
		dst = codec.AppendString(dst, like.Name)
	} else {
		dst = codec.AppendString(dst, like.Name)
		dst = append(dst[:len(dst)-1], `_revocable"`...)
	}
	dst = append(dst, ':')
	switch like.Kind {
	case Scalar:
		return sum.Scalar.appendJSON(dst)
	case Ranges:
		dst = append(dst, '"')
		dst = appendSpans(dst, sum.Spans, ", ")
		return append(dst, '"')
	}
	dst = append(dst, '"', '{')
	for i, s := range sum.Items {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		at := len(dst)
		dst = codec.AppendString(dst, s)
		dst = append(dst[:at], dst[at+1:len(dst)-1]...) // escaped, without the quotes
	}
	return append(dst, '}', '"')
}

// AppendV0Spans appends spans as v0 endpoints show ranges, without quotes: [1-5, 7-9].
func AppendV0Spans(dst []byte, spans []Span) []byte { return appendSpans(dst, spans, ", ") }

func appendSpans(dst []byte, spans []Span, between string) []byte {
	dst = append(dst, '[')
	for i, s := range spans {
		if i > 0 {
			dst = append(dst, between...)
		}
		dst = strconv.AppendUint(dst, s.Begin, 10)
		dst = append(dst, '-')
		dst = strconv.AppendUint(dst, s.End, 10)
	}
	return append(dst, ']')
}
