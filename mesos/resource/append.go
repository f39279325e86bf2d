package resource

import (
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/mesos/internal/codec"
)

var (
	plainForm   form
	defaultForm = form{proto: "\x32\x01*", json: `,"role":"*"`}
)

// form gives the wire forms of t. They are made when first asked for; two goroutines that ask at
// once may both make them, and then make the same.
func (t *Traits) form(f Format) *form {
	if t == nil {
		if f == PostRefinement {
			return &plainForm
		}
		return &defaultForm
	}
	if made := t.forms[f].Load(); made != nil {
		return made
	}
	p := t.toProto(f)
	made := &form{}
	if b, err := (proto.MarshalOptions{AllowPartial: true, Deterministic: true}).Marshal(p); err == nil {
		made.proto = string(b)
	}
	if b, err := codec.AppendJSON(nil, p); err == nil && len(b) > len("{}") {
		made.json = "," + string(b[1:len(b)-1])
	}
	t.forms[f].Store(made)
	return made
}

// The numbers of Resource's fields that differ from one resource to the next.
const (
	fieldName       = 1
	fieldType       = 2
	fieldScalar     = 3
	fieldRanges     = 4
	fieldSet        = 5
	fieldAllocation = 11
)

// AppendProto appends l as the elements of a repeated field of that number. It allocates nothing
// once the traits in l have been written before.
func (l List) AppendProto(dst []byte, number protowire.Number, allocationRole string, f Format) []byte {
	for i := range l {
		r := &l[i]
		more := r.Traits.form(f).proto
		value := r.sizeValue()
		size := protowire.SizeTag(fieldName) + protowire.SizeBytes(len(r.Name)) + 2 + 1 + protowire.SizeBytes(value) + len(more)
		if allocationRole != "" {
			size += 1 + protowire.SizeBytes(1+protowire.SizeBytes(len(allocationRole)))
		}
		dst = protowire.AppendTag(dst, number, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		dst = protowire.AppendTag(dst, fieldName, protowire.BytesType)
		dst = protowire.AppendString(dst, r.Name)
		dst = protowire.AppendTag(dst, fieldType, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(r.Kind))
		dst = r.appendValue(dst, value)
		if allocationRole != "" {
			dst = protowire.AppendTag(dst, fieldAllocation, protowire.BytesType)
			dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeBytes(len(allocationRole))))
			dst = protowire.AppendTag(dst, 1, protowire.BytesType)
			dst = protowire.AppendString(dst, allocationRole)
		}
		dst = append(dst, more...)
	}
	return dst
}

// sizeValue is the size of the message that holds the amount.
func (r *Resource) sizeValue() int {
	n := 0
	switch r.Kind {
	case Scalar:
		return 1 + 8
	case Ranges:
		for _, s := range r.Spans {
			n += 1 + protowire.SizeBytes(sizeSpan(s))
		}
	case Set:
		for _, s := range r.Items {
			n += 1 + protowire.SizeBytes(len(s))
		}
	}
	return n
}

func sizeSpan(s Span) int { return 2 + protowire.SizeVarint(s.Begin) + protowire.SizeVarint(s.End) }

func (r *Resource) appendValue(dst []byte, size int) []byte {
	switch r.Kind {
	case Scalar:
		dst = protowire.AppendTag(dst, fieldScalar, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		dst = protowire.AppendTag(dst, 1, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, math.Float64bits(r.Scalar.Float()))
	case Ranges:
		dst = protowire.AppendTag(dst, fieldRanges, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		for _, s := range r.Spans {
			dst = protowire.AppendTag(dst, 1, protowire.BytesType)
			dst = protowire.AppendVarint(dst, uint64(sizeSpan(s)))
			dst = protowire.AppendTag(dst, 1, protowire.VarintType)
			dst = protowire.AppendVarint(dst, s.Begin)
			dst = protowire.AppendTag(dst, 2, protowire.VarintType)
			dst = protowire.AppendVarint(dst, s.End)
		}
	case Set:
		dst = protowire.AppendTag(dst, fieldSet, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		for _, s := range r.Items {
			dst = protowire.AppendTag(dst, 1, protowire.BytesType)
			dst = protowire.AppendString(dst, s)
		}
	}
	return dst
}

// AppendJSON appends l as a JSON array of Resource objects. It allocates nothing once the traits
// in l have been written before.
func (l List) AppendJSON(dst []byte, allocationRole string, f Format) []byte {
	dst = append(dst, '[')
	for i := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		r := &l[i]
		dst = append(dst, `{"name":`...)
		dst = codec.AppendString(dst, r.Name)
		switch r.Kind {
		case Scalar:
			dst = append(dst, `,"type":"SCALAR","scalar":{"value":`...)
			dst = r.Scalar.appendJSON(dst)
		case Ranges:
			dst = append(dst, `,"type":"RANGES","ranges":{"range":[`...)
			for j, s := range r.Spans {
				if j > 0 {
					dst = append(dst, ',')
				}
				dst = append(dst, `{"begin":`...)
				dst = strconv.AppendUint(dst, s.Begin, 10)
				dst = append(dst, `,"end":`...)
				dst = strconv.AppendUint(dst, s.End, 10)
				dst = append(dst, '}')
			}
			dst = append(dst, ']')
		case Set:
			dst = append(dst, `,"type":"SET","set":{"item":[`...)
			for j, s := range r.Items {
				if j > 0 {
					dst = append(dst, ',')
				}
				dst = codec.AppendString(dst, s)
			}
			dst = append(dst, ']')
		}
		dst = append(dst, '}')
		if allocationRole != "" {
			dst = append(dst, `,"allocation_info":{"role":`...)
			dst = codec.AppendString(dst, allocationRole)
			dst = append(dst, '}')
		}
		dst = append(dst, r.Traits.form(f).json...)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
