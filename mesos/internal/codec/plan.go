package codec

import (
	"strconv"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// durationName is the one message that may also be a string ("3s").
const durationName protoreflect.FullName = "google.protobuf.Duration"

// plan is what the codec knows of one message type. It never changes once it is in the cache.
type plan struct {
	fields   []field // in the order of declaration, which is the order of writing
	byName   map[string]*field
	byNumber []*field // nil where no field has the number
	required []*field
	duration bool
}

type field struct {
	desc    protoreflect.FieldDescriptor
	index   int // in its plan
	name    string
	key     string // `"name":`
	ifUnset string // `"name":default`, or "" where an unset field is left out
	kind    protoreflect.Kind
	wire    protowire.Type
	list    bool
	dict    bool // a map
	message *plan
	value   *field // of a map: its values
	enum    protoreflect.EnumValueDescriptors
	names   []string // of the enum, in quotes, by number; "" where there is none
}

var plans struct {
	sync.Mutex
	ready sync.Map // protoreflect.FullName to *plan
}

// planOf returns the plan of a message type, making it and those below it the first time.
func planOf(md protoreflect.MessageDescriptor) *plan {
	if p, ok := plans.ready.Load(md.FullName()); ok {
		return p.(*plan)
	}
	plans.Lock()
	defer plans.Unlock()
	made := map[protoreflect.FullName]*plan{}
	p := makePlan(md, made)
	for name, q := range made { // published only when whole, since a plan may point back to itself
		plans.ready.Store(name, q)
	}
	return p
}

func makePlan(md protoreflect.MessageDescriptor, made map[protoreflect.FullName]*plan) *plan {
	if p, ok := plans.ready.Load(md.FullName()); ok {
		return p.(*plan)
	}
	if p := made[md.FullName()]; p != nil {
		return p
	}
	fds := md.Fields()
	p := &plan{fields: make([]field, fds.Len()), byName: make(map[string]*field, fds.Len()), duration: md.FullName() == durationName}
	made[md.FullName()] = p
	for i := range p.fields {
		f := &p.fields[i]
		makeField(f, fds.Get(i), made)
		f.index = i
		p.byName[f.name] = f
		n := int(f.desc.Number())
		if n >= len(p.byNumber) {
			p.byNumber = append(p.byNumber, make([]*field, n+1-len(p.byNumber))...)
		}
		p.byNumber[n] = f
		if f.desc.Cardinality() == protoreflect.Required {
			p.required = append(p.required, f)
		}
	}
	return p
}

func makeField(f *field, fd protoreflect.FieldDescriptor, made map[protoreflect.FullName]*plan) {
	name := string(fd.Name())
	*f = field{desc: fd, name: name, key: `"` + name + `":`, kind: fd.Kind(), wire: wireType(fd.Kind()), list: fd.IsList(), dict: fd.IsMap()}
	if f.dict {
		f.message = makePlan(fd.Message(), made) // of one entry
		f.value = &field{}
		makeField(f.value, fd.MapValue(), made)
		return
	}
	switch f.kind {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		f.message = makePlan(fd.Message(), made)
	case protoreflect.EnumKind:
		f.enum = fd.Enum().Values()
		for i := range f.enum.Len() {
			v := f.enum.Get(i)
			for int(v.Number()) >= len(f.names) { // Mesos numbers its enums from 0, or 1000, up
				f.names = append(f.names, "")
			}
			if f.names[v.Number()] == "" {
				f.names[v.Number()] = `"` + string(v.Name()) + `"`
			}
		}
	}
	if fd.HasDefault() && fd.Cardinality() == protoreflect.Optional && !deprecated(fd) {
		f.ifUnset = f.key + string(f.appendScalar(nil, fd.Default()))
	}
}

func deprecated(fd protoreflect.FieldDescriptor) bool {
	o, ok := fd.Options().(*descriptorpb.FieldOptions)
	return ok && o.GetDeprecated()
}

// appendScalar writes one value that is neither message, list nor map.
func (f *field) appendScalar(dst []byte, v protoreflect.Value) []byte {
	switch f.kind {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, v.Bool())
	case protoreflect.StringKind:
		return AppendString(dst, v.String())
	case protoreflect.BytesKind:
		return AppendBytes(dst, v.Bytes())
	case protoreflect.EnumKind:
		if name := f.nameOf(int64(v.Enum())); name != "" {
			return append(dst, name...)
		}
		return append(dst, "null"...) // a number without a name reads as unset
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return AppendDouble(dst, v.Float())
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return strconv.AppendUint(dst, v.Uint(), 10)
	default:
		return strconv.AppendInt(dst, v.Int(), 10)
	}
}

// nameOf gives the name of an enum's number, in quotes, "" when it has none.
func (f *field) nameOf(n int64) string {
	if n < 0 || n >= int64(len(f.names)) {
		return ""
	}
	return f.names[n]
}
