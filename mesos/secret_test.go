package mesos

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

// reaches says whether a message of this kind has a secret somewhere in it.
func reaches(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if d.FullName() == (*mesosv1.Secret)(nil).ProtoReflect().Descriptor().FullName() {
		return true
	}
	if seen[d.FullName()] {
		return false
	}
	seen[d.FullName()] = true
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if f.IsMap() {
			f = f.MapValue()
		}
		if f.Message() != nil && reaches(f.Message(), seen) {
			return true
		}
	}
	return false
}

// strew puts a secret into every place that a message has for one, and says how many there are.
func strew(m protoreflect.Message) (n int) {
	if s, ok := m.Interface().(*mesosv1.Secret); ok {
		s.Type, s.Value = mesosv1.Secret_VALUE.Enum(), &mesosv1.Secret_Value{Data: []byte("hushed")}
		return 1
	}
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		of := f
		if f.IsMap() {
			of = f.MapValue()
		}
		if of.Message() == nil || !reaches(of.Message(), map[protoreflect.FullName]bool{}) {
			continue
		}
		switch {
		case f.IsMap():
			for _, key := range []string{"b", "a"} {
				n += strew(m.Mutable(f).Map().Mutable(protoreflect.ValueOfString(key).MapKey()).Message())
			}
		case f.IsList():
			for range 2 {
				n += strew(m.Mutable(f).List().AppendMutable().Message())
			}
		default:
			n += strew(m.Mutable(f).Message())
		}
	}
	return n
}

func TestEverySecretOfATaskIsFoundCutOutAndPutBack(t *testing.T) {
	task := &mesosv1.TaskInfo{}
	n := strew(task.ProtoReflect())
	for i, s := range TaskSecrets(task) {
		s.Value.Data = []byte{'h', 'u', 's', 'h', 'e', 'd', byte(i), byte(i >> 8)}
	}
	whole := proto.CloneOf(task)
	list := TaskSecrets(task)
	if len(list) != n || n < 50 {
		t.Errorf("%d secrets are found of %d", len(list), n)
	}
	if !HoldsSecrets(list) {
		t.Error("it is said to hold none")
	}
	values := CutSecrets(list)
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(task)
	if err != nil || bytes.Contains(b, []byte("hushed")) || HoldsSecrets(list) {
		t.Errorf("a secret is left in it; %v", err)
	}
	read := &mesosv1.TaskInfo{} // maps come in another order
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(b, read); err != nil {
		t.Fatal(err)
	}
	if err := FillSecrets(TaskSecrets(read), values); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(whole, read, protocmp.Transform()); d != "" {
		t.Errorf("what was put back (-want +got):\n%s", d)
	}
	if err := FillSecrets(TaskSecrets(task), values[1:]); err == nil {
		t.Error("a value was missing, and nobody said so")
	}
	if err := FillSecrets(nil, values); err == nil {
		t.Error("there were too many values, and nobody said so")
	}
}

func TestWhatIsNoValueIsLeftAsItIs(t *testing.T) {
	reference := &mesosv1.Secret{Type: mesosv1.Secret_REFERENCE.Enum(), Reference: &mesosv1.Secret_Reference{Name: new("n")}}
	untyped := &mesosv1.Secret{Value: &mesosv1.Secret_Value{Data: []byte("x")}}
	empty := &mesosv1.Secret{Type: mesosv1.Secret_VALUE.Enum(), Value: &mesosv1.Secret_Value{}}
	list := []*mesosv1.Secret{reference, untyped, empty}
	values := CutSecrets(list)
	if d := cmp.Diff([][]byte{[]byte("x"), nil}, values); d != "" {
		t.Errorf("what was cut (-want +got):\n%s", d)
	}
	if err := FillSecrets(list, values); err != nil || string(untyped.GetValue().GetData()) != "x" || empty.Value == nil || reference.Value != nil {
		t.Errorf("put back: %v, %v", list, err)
	}
}
