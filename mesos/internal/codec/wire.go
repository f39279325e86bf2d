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
	kind protoreflect.MessageType
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
		if n < 0 || num > protowire.MaxValidNumber {
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
			if v, _ := protowire.ConsumeVarint(value); f.nameOf(int64(int32(v))) == "" {
				continue
			}
		}
		if kind == f.wire {
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

// wireType is how values of a kind are encoded outside of packed lists.
func wireType(kind protoreflect.Kind) protowire.Type {
	switch kind {
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
	m := t.kind.New()
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
		num, kind, n := consumeTag(wire)
		if n < 0 {
			return dst, false
		}
		f := p.field(num)
		if f == nil {
			size := protowire.ConsumeFieldValue(num, kind, wire[n:])
			if size < 0 {
				return dst, false
			}
			wire = wire[n+size:]
			continue
		}
		if seen.has(f.index) || kind != f.wire || f.dict { // which of a map's equal keys holds is known at the end only
			return dst, false
		}
		if f.enum != nil && !f.list {
			v, size := protowire.ConsumeVarint(wire[n:])
			if size < 0 {
				return dst, false
			}
			if f.nameOf(int64(int32(v))) == "" {
				wire = wire[n+size:]
				continue
			}
		}
		seen.add(f.index)
		dst = comma(dst, first)
		dst = append(dst, f.key...)
		var size int
		if f.list {
			dst, size = f.appendRun(dst, wire, depth)
			n = 0
		} else {
			dst, size = f.appendWireValue(dst, wire[n:], depth)
		}
		if size < 0 {
			return dst, false
		}
		wire = wire[n+size:]
	}
	for i := range p.fields {
		if f := &p.fields[i]; f.ifUnset != "" && !seen.has(i) {
			dst = comma(dst, first)
			dst = append(dst, f.ifUnset...)
		}
	}
	return dst, true
}

// consumeTag is protowire.ConsumeTag with a short way for the tags of one byte.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	if b[0] >= 1<<3 && b[0] < 0x80 {
		return protowire.Number(b[0] >> 3), protowire.Type(b[0] & 7), 1
	}
	return protowire.ConsumeTag(b)
}

// appendRun writes the elements of a list that follow each other, and returns how many bytes they
// are, or -1.
func (f *field) appendRun(dst, wire []byte, depth int) (out []byte, size int) {
	dst = append(dst, '[')
	for at := 0; ; {
		num, kind, n := protowire.Number(0), protowire.Type(0), 0
		if at < len(wire) {
			num, kind, n = consumeTag(wire[at:])
		}
		if n < 0 || num != f.desc.Number() {
			return append(dst, ']'), at
		}
		if kind != f.wire || f.enum != nil {
			return dst, -1
		}
		if at > 0 {
			dst = append(dst, ',')
		}
		if dst, size = f.appendWireValue(dst, wire[at+n:], depth); size < 0 {
			return dst, -1
		}
		at += n + size
	}
}

// appendWireValue writes the value at the start of wire, and returns its size there, or -1.
func (f *field) appendWireValue(dst, wire []byte, depth int) (out []byte, size int) {
	switch f.wire {
	case protowire.BytesType:
		body, n := protowire.ConsumeBytes(wire)
		switch {
		case n < 0:
			return dst, n
		case f.kind == protoreflect.StringKind:
			return AppendString(dst, body), n
		case f.kind == protoreflect.BytesKind:
			return AppendBytes(dst, body), n
		}
		dst = append(dst, '{')
		dst, ok := f.message.appendWire(dst, body, len(dst), depth+1)
		if !ok {
			return dst, -1
		}
		return append(dst, '}'), n
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(wire)
		switch f.kind {
		case protoreflect.BoolKind:
			return strconv.AppendBool(dst, v != 0), n
		case protoreflect.EnumKind:
			return append(dst, f.nameOf(int64(int32(v)))...), n
		case protoreflect.Int32Kind:
			return strconv.AppendInt(dst, int64(int32(v)), 10), n
		case protoreflect.Int64Kind:
			return strconv.AppendInt(dst, int64(v), 10), n
		case protoreflect.Uint32Kind:
			return strconv.AppendUint(dst, uint64(uint32(v)), 10), n
		case protoreflect.Uint64Kind:
			return strconv.AppendUint(dst, v, 10), n
		}
	case protowire.Fixed64Type:
		if v, n := protowire.ConsumeFixed64(wire); f.kind == protoreflect.DoubleKind {
			return AppendDouble(dst, math.Float64frombits(v)), n
		}
	}
	return dst, -1 // a kind that Mesos has not; the general codec knows it
}
