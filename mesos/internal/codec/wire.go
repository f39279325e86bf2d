package codec

import (
	"errors"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Type is a message type that encoded bytes can be checked against and turned into JSON, without
// decoding them. It is safe for use by many goroutines.
type Type struct {
	plan *plan
	make protoreflect.MessageType
}

// TypeOf returns the Type of m.
func TypeOf(m proto.Message) *Type {
	r := m.ProtoReflect()
	return &Type{planOf(r.Descriptor()), r.Type()}
}

var errWire = errors.New("is no protobuf message of its type; encode it anew")

// Check fails unless wire is an encoded message of the type. A missing required field is an error
// too, but, with partial, not at the top.
func (t *Type) Check(wire []byte, partial bool) error { return t.plan.checkWire(wire, partial, 0) }

func (p *plan) checkWire(wire []byte, partial bool, depth int) error {
	if depth > maxDepth {
		return errWire
	}
	var seen bits
	for len(wire) > 0 {
		num, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return errWire
		}
		wire = wire[n:]
		if n = protowire.ConsumeFieldValue(num, kind, wire); n < 0 {
			return errWire
		}
		value := wire[:n]
		wire = wire[n:]
		f := p.field(num)
		if f == nil {
			continue
		}
		if f.message != nil && kind == protowire.BytesType {
			body, _ := protowire.ConsumeBytes(value)
			// The key and the value of a map's entry may be missing: they are empty then.
			if err := f.message.checkWire(body, f.dict, depth+1); err != nil {
				return within(f.name, err)
			}
		}
		if f.enum != nil && kind == protowire.VarintType {
			if v, _ := protowire.ConsumeVarint(value); f.names[protoreflect.EnumNumber(int32(v))] == "" {
				continue
			}
		}
		if kind == f.wireType() {
			seen.add(f.index)
		}
	}
	if partial {
		return nil
	}
	for _, f := range p.required {
		if !seen.has(f.index) {
			return &pathError{f.name, errMissing}
		}
	}
	return nil
}

// bits is a small set of indices. No message of Mesos has as many fields as it holds.
type bits [2]uint64

func (b *bits) add(i int)      { b[i>>6&1] |= 1 << (i & 63) }
func (b *bits) has(i int) bool { return b[i>>6&1]&(1<<(i&63)) != 0 }

func (p *plan) field(num protowire.Number) *field {
	if int(num) >= len(p.byNumber) {
		return nil
	}
	return p.byNumber[num]
}

func (f *field) wireType() protowire.Type {
	switch f.kind {
	case protoreflect.DoubleKind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return protowire.Fixed64Type
	case protoreflect.FloatKind, protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind:
		return protowire.Fixed32Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	}
	return protowire.VarintType
}

// AppendJSON appends the encoded message as a JSON object, with members in the order of the bytes.
// It allocates nothing for bytes as encoders write them; fields that come in pieces, which merging
// has to put together, are decoded first. Bytes that are no message of the type make an error.
func (t *Type) AppendJSON(dst, wire []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, '{')
	dst, ok := t.plan.appendWire(dst, wire, len(dst), 0)
	if ok {
		return append(dst, '}'), nil
	}
	m := t.make.New()
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(wire, m.Interface()); err != nil {
		return dst[:start], errWire
	}
	return appendMessage(dst[:start], t.plan, m), nil
}

// AppendMembers is AppendJSON without the braces, each member with a comma before it.
func (t *Type) AppendMembers(dst, wire []byte) ([]byte, error) {
	if len(wire) == 0 {
		return dst, nil
	}
	start := len(dst)
	if dst, ok := t.plan.appendWire(dst, wire, -1, 0); ok {
		return dst, nil
	}
	out, err := t.AppendJSON(dst[:start], wire)
	if err != nil {
		return out, err
	}
	if len(out) == start+len("{}") {
		return out[:start], nil
	}
	out[start] = ','
	return out[:len(out)-1], nil
}

// appendWire writes members; first is where the object's first one begins. It is not ok where the
// bytes are no message, or where writing them as they come would say something else than they do.
func (p *plan) appendWire(dst, wire []byte, first, depth int) (out []byte, ok bool) {
	if depth > maxDepth || len(p.fields) > 128 {
		return dst, false
	}
	var seen bits
	for len(wire) > 0 {
		num, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return dst, false
		}
		size := protowire.ConsumeFieldValue(num, kind, wire[n:])
		if size < 0 {
			return dst, false
		}
		f := p.field(num)
		if f == nil {
			wire = wire[n+size:]
			continue
		}
		if seen.has(f.index) || kind != f.wireType() || f.kind == protoreflect.GroupKind {
			return dst, false
		}
		if f.enum != nil && !f.list {
			if v, _ := protowire.ConsumeVarint(wire[n:]); f.names[protoreflect.EnumNumber(int32(v))] == "" {
				wire = wire[n+size:]
				continue
			}
		}
		seen.add(f.index)
		dst = comma(dst, first)
		dst = append(dst, f.key...)
		switch {
		case f.dict:
			return dst, false // which of equal keys holds is known at the end only
		case f.list:
			dst, wire, ok = f.appendRun(dst, wire, depth)
		default:
			dst, ok = f.appendWireValue(dst, wire[n:n+size], depth)
			wire = wire[n+size:]
		}
		if !ok {
			return dst, false
		}
	}
	for i := range p.fields {
		if f := &p.fields[i]; f.ifUnset != "" && !seen.has(i) {
			dst = comma(dst, first)
			dst = append(dst, f.ifUnset...)
		}
	}
	return dst, true
}

// appendRun writes the elements of a list that follow each other, and returns the bytes after them.
func (f *field) appendRun(dst, wire []byte, depth int) (out, rest []byte, ok bool) {
	dst = append(dst, '[')
	for i := 0; len(wire) > 0; i++ {
		num, kind, n := protowire.ConsumeTag(wire)
		if n < 0 || num != f.desc.Number() {
			break
		}
		size := protowire.ConsumeFieldValue(num, kind, wire[n:])
		if size < 0 || kind != f.wireType() || f.enum != nil {
			return dst, wire, false
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, ok = f.appendWireValue(dst, wire[n:n+size], depth); !ok {
			return dst, wire, false
		}
		wire = wire[n+size:]
	}
	return append(dst, ']'), wire, true
}

func (f *field) appendWireValue(dst, value []byte, depth int) ([]byte, bool) {
	switch f.wireType() {
	case protowire.BytesType:
		body, _ := protowire.ConsumeBytes(value)
		switch f.kind {
		case protoreflect.StringKind:
			return AppendString(dst, body), true
		case protoreflect.BytesKind:
			return AppendBytes(dst, body), true
		}
		dst = append(dst, '{')
		dst, ok := f.message.appendWire(dst, body, len(dst), depth+1)
		return append(dst, '}'), ok
	case protowire.Fixed64Type:
		v, _ := protowire.ConsumeFixed64(value)
		if f.kind == protoreflect.DoubleKind {
			return AppendDouble(dst, math.Float64frombits(v)), true
		}
		return dst, false
	case protowire.Fixed32Type:
		v, _ := protowire.ConsumeFixed32(value)
		if f.kind == protoreflect.FloatKind {
			return AppendDouble(dst, float64(math.Float32frombits(v))), true
		}
		return dst, false
	}
	v, _ := protowire.ConsumeVarint(value)
	switch f.kind {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v != 0), true
	case protoreflect.EnumKind:
		return append(dst, f.names[protoreflect.EnumNumber(int32(v))]...), true
	case protoreflect.Int32Kind:
		return strconv.AppendInt(dst, int64(int32(v)), 10), true
	case protoreflect.Int64Kind:
		return strconv.AppendInt(dst, int64(v), 10), true
	case protoreflect.Uint32Kind:
		return strconv.AppendUint(dst, uint64(uint32(v)), 10), true
	case protoreflect.Uint64Kind:
		return strconv.AppendUint(dst, v, 10), true
	}
	return dst, false
}
