package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/pando-os/pando/gen/mesosv1"
	_ "github.com/pando-os/pando/gen/mesosv1/agent"
	_ "github.com/pando-os/pando/gen/mesosv1/allocator"
	_ "github.com/pando-os/pando/gen/mesosv1/executor"
	_ "github.com/pando-os/pando/gen/mesosv1/maintenance"
	_ "github.com/pando-os/pando/gen/mesosv1/master"
	_ "github.com/pando-os/pando/gen/mesosv1/quota"
	_ "github.com/pando-os/pando/gen/mesosv1/resourceprovider"
	_ "github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// later is what the original's last sources have and its release 1.11.0, which made the classes, has not; with the reason.
// What is part of it need not be named.
var later = map[protoreflect.FullName]string{
	"mesos.v1.CapabilityInfo.Capability.PERFMON":            capabilities,
	"mesos.v1.CapabilityInfo.Capability.BPF":                capabilities,
	"mesos.v1.CapabilityInfo.Capability.CHECKPOINT_RESTORE": capabilities,
	"mesos.v1.MasterInfo.Capability.Type.QUOTA_V2":          "1.11.0 has it in its v0 files alone, and its masters send it",

	"mesos.v1.ResourceStatistics.mem_kmem_usage_bytes":     kernelMemory,
	"mesos.v1.ResourceStatistics.mem_kmem_tcp_usage_bytes": kernelMemory,

	"mesos.v1.ResourceStatistics.RatePercentiles":         portMapping,
	"mesos.v1.ResourceStatistics.RateStatistics":          portMapping,
	"mesos.v1.ResourceStatistics.net_rate_statistics":     portMapping,
	"mesos.v1.ResourceStatistics.net_ephemeral_ports":     portMapping,
	"mesos.v1.ResourceStatistics.net_rx_rate_limit":       portMapping,
	"mesos.v1.ResourceStatistics.net_rx_burst_rate_limit": portMapping,
	"mesos.v1.ResourceStatistics.net_rx_burst_size":       portMapping,
	"mesos.v1.ResourceStatistics.net_tx_rate_limit":       portMapping,
	"mesos.v1.ResourceStatistics.net_tx_burst_rate_limit": portMapping,
	"mesos.v1.ResourceStatistics.net_tx_burst_size":       portMapping,
}

// Reasons for several lines of later.
const (
	capabilities = "capabilities of Linux 5.8 and 5.9, which came when 1.11.0 was nearly out"
	kernelMemory = "kernel memory was counted after 1.11.0"
	portMapping  = "the port mapping isolator learned to limit and to sample rates after 1.11.0"
)

// packages are those of the v1 API, all of it.
var packages = []protoreflect.FullName{
	"mesos.v1", "mesos.v1.agent", "mesos.v1.allocator", "mesos.v1.executor", "mesos.v1.maintenance", "mesos.v1.master", "mesos.v1.quota",
	"mesos.v1.resource_provider", "mesos.v1.scheduler",
}

// ours are our files of the v1 API.
func ours() []protoreflect.FileDescriptor {
	var out []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if slices.Contains(packages, f.Package()) {
			out = append(out, f)
		}
		return true
	})
	return out
}

// facts are what must agree of everything that files define, by full name, each as one line.
func facts(files []*descriptorpb.FileDescriptorProto) map[string]string {
	out := map[string]string{}
	enum := func(in string, e *descriptorpb.EnumDescriptorProto) {
		out[in+e.GetName()] = "enum"
		for _, v := range e.GetValue() {
			out[in+e.GetName()+"."+v.GetName()] = fmt.Sprintf("value %d, deprecated %t", v.GetNumber(), v.GetOptions().GetDeprecated())
		}
	}
	var message func(in string, m *descriptorpb.DescriptorProto)
	message = func(in string, m *descriptorpb.DescriptorProto) {
		name := in + m.GetName() + "."
		out[in+m.GetName()] = "message"
		if m.GetOptions().GetMapEntry() {
			out[in+m.GetName()] = "map"
		}
		for _, f := range m.GetField() {
			oneof := ""
			if f.OneofIndex != nil {
				oneof = ", one of " + m.GetOneofDecl()[f.GetOneofIndex()].GetName()
			}
			out[name+f.GetName()] = fmt.Sprintf("field %d, %s %s %s, default %q, deprecated %t, packed %t%s", f.GetNumber(), f.GetLabel(), f.GetType(),
				f.GetTypeName(), f.GetDefaultValue(), f.GetOptions().GetDeprecated(), f.GetOptions().GetPacked(), oneof)
		}
		for _, n := range m.GetNestedType() {
			message(name, n)
		}
		for _, e := range m.GetEnumType() {
			enum(name, e)
		}
	}
	for _, f := range files {
		for _, m := range f.GetMessageType() {
			message(f.GetPackage()+".", m)
		}
		for _, e := range f.GetEnumType() {
			enum(f.GetPackage()+".", e)
		}
	}
	return out
}

func TestOurMessagesAreDefinedAsTheOriginals(t *testing.T) {
	interop(t)
	cmd := java(t, "interop.Oracle", "descriptors")
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("the oracle: %v", err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &set); err != nil {
		t.Fatal(err)
	}
	var files []*descriptorpb.FileDescriptorProto
	for _, f := range ours() {
		files = append(files, protodesc.ToFileDescriptorProto(f))
	}
	want, got := facts(set.GetFile()), facts(files)
	if len(want) < 1500 {
		t.Fatalf("the oracle knows %d things", len(want))
	}
	used := map[protoreflect.FullName]bool{}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; ok {
			continue
		}
		if key, ok := isLater(protoreflect.FullName(name)); ok {
			used[key] = true
			continue
		}
		t.Errorf("%s is ours alone: %s", name, got[name])
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s\n  originally: %s\n  here:       %s", name, want[name], got[name])
		}
	}
	for name := range later {
		if !used[name] {
			t.Errorf("%s is said to be later, and is not ours, or is in 1.11.0 too", name)
		}
	}
	t.Logf("%d messages, fields, enums and values", len(want))
}

// isLater says whether a name, or what it is part of, is in later, and under which name.
func isLater(name protoreflect.FullName) (protoreflect.FullName, bool) {
	for ; name != ""; name = name.Parent() {
		if _, ok := later[name]; ok {
			return name, true
		}
	}
	return "", false
}

// instances of each message are made: filled fully, and then at random.
const instances = 40

// filler fills messages from a seed, without what is later.
type filler struct{ rand *rand.Rand }

// fill sets each required field and each other one with the given chance, which falls with the depth.
func (f filler) fill(m protoreflect.Message, chance float64, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		d := fields.Get(i)
		if _, ok := isLater(d.FullName()); ok {
			continue
		}
		if d.Cardinality() != protoreflect.Required && (depth > 5 || f.rand.Float64() >= chance) {
			continue
		}
		next := func(in protoreflect.Message) { f.fill(in, chance*0.6, depth+1) }
		switch {
		case d.IsMap():
			in := m.Mutable(d).Map()
			for range 1 + f.rand.IntN(2) {
				v := in.NewValue()
				if d.MapValue().Message() != nil {
					next(v.Message())
				} else {
					v = f.scalar(d.MapValue())
				}
				in.Set(f.scalar(d.MapKey()).MapKey(), v)
			}
		case d.IsList():
			in := m.Mutable(d).List()
			for range 1 + f.rand.IntN(2) {
				if d.Message() != nil {
					next(in.AppendMutable().Message())
				} else {
					in.Append(f.scalar(d))
				}
			}
		case d.Message() != nil:
			next(m.Mutable(d).Message())
		default:
			m.Set(d, f.scalar(d))
		}
	}
}

// words are strings and bytes that were trouble somewhere.
var words = []string{"", "x", "a/b", "größe 東京 🌲", "\x00\n\t\"\\", strings.Repeat("long ", 60)}

func (f filler) scalar(d protoreflect.FieldDescriptor) protoreflect.Value {
	n := f.rand.Uint64() >> f.rand.IntN(64)
	switch d.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n%2 == 0)
	case protoreflect.EnumKind:
		for {
			v := d.Enum().Values().Get(f.rand.IntN(d.Enum().Values().Len()))
			if _, ok := isLater(d.Enum().FullName().Append(v.Name())); !ok {
				return protoreflect.ValueOfEnum(v.Number())
			}
		}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(n)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(f.rand.NormFloat64()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(f.rand.NormFloat64() * 1e6)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(words[f.rand.IntN(len(words))] + "\xff"))
	default:
		return protoreflect.ValueOfString(words[f.rand.IntN(len(words))])
	}
}

// messages are all messages that a file defines, nested ones too, without what is later.
func messages(in protoreflect.MessageDescriptors) []protoreflect.MessageDescriptor {
	var out []protoreflect.MessageDescriptor
	for i := range in.Len() {
		m := in.Get(i)
		if _, ok := isLater(m.FullName()); !ok && !m.IsMapEntry() {
			out = append(append(out, m), messages(m.Messages())...)
		}
	}
	return out
}

func TestOurBytesAreTheOriginalsBothWays(t *testing.T) {
	interop(t)
	const seed = 20201117 // the day 1.11.0 was released
	fill := filler{rand.New(rand.NewPCG(seed, 0))}
	var sent []proto.Message
	var records []byte
	for _, f := range ours() {
		for _, d := range messages(f.Messages()) {
			kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
			if err != nil {
				t.Fatal(err)
			}
			for i := range instances {
				m := kind.New()
				chance := 1.0
				if i > 0 {
					chance = fill.rand.Float64()
				}
				fill.fill(m, chance, 0)
				b, err := proto.Marshal(m.Interface())
				if err != nil {
					t.Fatalf("%s: %v", d.FullName(), err)
				}
				sent = append(sent, m.Interface())
				for _, part := range [][]byte{[]byte(d.FullName()), b} {
					records = append(binary.BigEndian.AppendUint32(records, uint32(len(part))), part...)
				}
			}
		}
	}
	cmd := java(t, "interop.Oracle", "bytes")
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	timed := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	timed.Dir, timed.Stdin = cmd.Dir, bytes.NewReader(records)
	var said strings.Builder
	timed.Stderr = &said
	out, err := timed.Output()
	if err != nil {
		t.Fatalf("the oracle: %v\n%s", err, said.String())
	}
	in := bufio.NewReader(bytes.NewReader(out))
	for _, m := range sent {
		name := m.ProtoReflect().Descriptor().FullName()
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			t.Fatalf("the oracle says nothing of a %s: %v", name, err)
		}
		b := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, b); err != nil {
			t.Fatal(err)
		}
		again := m.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(b, again); err != nil {
			t.Errorf("the original's bytes of a %s: %v", name, err)
		} else if !proto.Equal(m, again) {
			t.Errorf("%s (-ours +back from the original):\n%s", name, cmp.Diff(m, again, protocmp.Transform()))
		}
		if head[0] != 0 {
			t.Errorf("the original does not know all of %s: %v", name, m)
		}
	}
	t.Logf("%d instances of %d messages, %d bytes, seed %d", len(sent), len(sent)/instances, len(records), seed)
}
