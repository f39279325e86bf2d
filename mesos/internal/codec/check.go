package codec

import (
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// CheckRequired names, with its path, a required field that is missing anywhere in m.
func CheckRequired(m proto.Message) error {
	if proto.CheckInitialized(m) == nil { // much faster, but says no path
		return nil
	}
	r := m.ProtoReflect()
	return planOf(r.Descriptor()).checkTree(r)
}

func (p *plan) checkTree(m protoreflect.Message) error {
	if err := p.check(m); err != nil {
		return err
	}
	for i := range p.fields {
		f := &p.fields[i]
		if !m.Has(f.desc) {
			continue
		}
		if err := f.checkTree(m.Get(f.desc)); err != nil {
			return within(f.name, err)
		}
	}
	return nil
}

func (f *field) checkTree(v protoreflect.Value) error {
	switch {
	case f.list && f.message != nil:
		for i := range v.List().Len() {
			if err := f.message.checkTree(v.List().Get(i).Message()); err != nil {
				return within("["+strconv.Itoa(i)+"]", err)
			}
		}
	case f.dict && f.value.message != nil:
		var err error
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			if err = f.value.message.checkTree(v.Message()); err != nil {
				err = within(k.String(), err)
			}
			return err == nil
		})
		return err
	case f.message != nil && !f.list && !f.dict:
		return f.message.checkTree(v.Message())
	}
	return nil
}
