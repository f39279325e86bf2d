package codec

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// AppendBytes appends b as a JSON string of standard base64 with padding.
func AppendBytes[T string | []byte](dst []byte, b T) []byte {
	dst = append(dst, '"')
	const piece = 30 // bytes at a time, a multiple of three
	for len(b) > piece {
		dst = base64.StdEncoding.AppendEncode(dst, []byte(b[:piece]))
		b = b[piece:]
	}
	dst = base64.StdEncoding.AppendEncode(dst, []byte(b))
	return append(dst, '"')
}

// AppendJSON appends m to dst as one line of Mesos JSON. It fails only for a nil message;
// required fields are the business of who filled m.
func AppendJSON(dst []byte, m proto.Message) ([]byte, error) {
	if m == nil {
		return dst, errors.New("encode JSON: the message is nil; pass a message, if an empty one")
	}
	r := m.ProtoReflect()
	return appendMessage(dst, planOf(r.Descriptor()), r), nil
}

func appendMessage(dst []byte, p *plan, m protoreflect.Message) []byte {
	dst = append(dst, '{')
	first := len(dst)
	for i := range p.fields {
		f := &p.fields[i]
		if !m.Has(f.desc) || f.nameless(m) {
			if f.ifUnset != "" {
				dst = comma(dst, first)
				dst = append(dst, f.ifUnset...)
			}
			continue
		}
		dst = comma(dst, first)
		dst = append(dst, f.key...)
		v := m.Get(f.desc)
		switch {
		case f.list:
			dst = f.appendList(dst, v.List())
		case f.dict:
			dst = f.appendMap(dst, v.Map())
		case f.message != nil:
			dst = appendMessage(dst, f.message, v.Message())
		default:
			dst = f.appendScalar(dst, v)
		}
	}
	return append(dst, '}')
}

// comma writes one unless this is the first member, which begins at first.
func comma(dst []byte, first int) []byte {
	if len(dst) > first {
		return append(dst, ',')
	}
	return dst
}

// nameless tells whether the field is an enum whose number has no name here: to a reader, unset.
func (f *field) nameless(m protoreflect.Message) bool {
	return f.enum != nil && !f.list && f.nameOf(int64(m.Get(f.desc).Enum())) == ""
}

func (f *field) appendList(dst []byte, l protoreflect.List) []byte {
	dst = append(dst, '[')
	for i := range l.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		if f.message != nil {
			dst = appendMessage(dst, f.message, l.Get(i).Message())
		} else {
			dst = f.appendScalar(dst, l.Get(i))
		}
	}
	return append(dst, ']')
}

// appendMap writes the entries in the order of their keys, so that equal maps have equal text.
func (f *field) appendMap(dst []byte, m protoreflect.Map) []byte {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool { keys = append(keys, k); return true })
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	dst = append(dst, '{')
	for i, k := range keys {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, k.String())
		dst = append(dst, ':')
		if v := m.Get(k); f.value.message != nil {
			dst = appendMessage(dst, f.value.message, v.Message())
		} else {
			dst = f.value.appendScalar(dst, v)
		}
	}
	return append(dst, '}')
}
