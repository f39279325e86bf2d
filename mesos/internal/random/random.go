// Package random draws messages at random, for the tests of the codecs.
package random

import (
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth keeps the messages small; required fields below it are filled all the same.
const maxDepth = 5

// Message draws a message of the type of like, with every required field set and any other field
// or not. Doubles are finite and strings are UTF-8.
func Message(r *rand.Rand, like proto.Message) proto.Message {
	m := like.ProtoReflect().New()
	fill(r, m, 0)
	return m.Interface()
}

func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	fds := m.Descriptor().Fields()
	chance := 0.3
	if fds.Len() > 20 {
		chance = 3 / float64(fds.Len())
	}
	for i := range fds.Len() {
		fd := fds.Get(i)
		if fd.Cardinality() != protoreflect.Required && (r.Float64() > chance || depth > maxDepth) {
			continue
		}
		switch {
		case fd.IsList():
			l := m.Mutable(fd).List()
			for range 1 + r.IntN(3) {
				if fd.Message() != nil {
					fill(r, l.AppendMutable().Message(), depth+1)
				} else {
					l.Append(scalar(r, fd))
				}
			}
		case fd.IsMap():
			d := m.Mutable(fd).Map()
			for range 1 + r.IntN(3) {
				k := protoreflect.ValueOfString(String(r)).MapKey()
				if fd.MapValue().Message() != nil {
					v := d.NewValue()
					fill(r, v.Message(), depth+1)
					d.Set(k, v)
				} else {
					d.Set(k, scalar(r, fd.MapValue()))
				}
			}
		case fd.Message() != nil && fd.Message().FullName() == "google.protobuf.Duration":
			v := m.Mutable(fd).Message()
			v.Set(v.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(1+r.Int64N(1000)))
		case fd.Message() != nil:
			fill(r, m.Mutable(fd).Message(), depth+1)
		default:
			m.Set(fd, scalar(r, fd))
		}
	}
}

// String draws a short string that needs escapes now and then.
func String(r *rand.Rand) string {
	const letters = "abcXYZ019/-_. \"\\\n\x01é😀"
	runes := []rune(letters)
	s := make([]rune, r.IntN(12))
	for i := range s {
		s[i] = runes[r.IntN(len(runes))]
	}
	return string(s)
}

func scalar(r *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(String(r))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(String(r)))
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(r.IntN(values.Len())).Number())
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, 1, -2.5, 0.1, 1e30, 1.7e9 + 0.123456, 1e-9, float64(r.IntN(1e6)) / 1000}[r.IntN(8)])
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(r.Uint32() >> r.IntN(32))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(r.Uint64() >> r.IntN(64))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(r.Uint32()) >> r.IntN(32))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(r.Uint64()) >> r.IntN(64))
	}
	return protoreflect.ValueOfFloat32(float32(r.IntN(math.MaxInt16)))
}
