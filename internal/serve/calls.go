package serve

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/mesos"
)

// Encodings of the v1 APIs.
const (
	TypeJSON     = "application/json"
	TypeProtobuf = "application/x-protobuf"
)

// CallBody reads the body of a v1 call, in the encoding that its Content-Type names. When it is not ok the request has been
// answered.
func CallBody(w http.ResponseWriter, r *http.Request) (body []byte, json, ok bool) {
	switch r.Header.Get("Content-Type") {
	case TypeJSON:
		json = true
	case TypeProtobuf:
	case "":
		Fail(w, http.StatusBadRequest, "Content-Type is missing; set it to "+TypeJSON+" or "+TypeProtobuf+".")
		return nil, false, false
	default:
		Fail(w, http.StatusUnsupportedMediaType, "Content-Type must be exactly "+TypeJSON+" or "+TypeProtobuf+", without parameters.")
		return nil, false, false
	}
	body, err := Body(r)
	if err != nil {
		FailWith(w, err)
		return nil, false, false
	}
	return body, json, true
}

// DecodeCall reads a call of an operator API, and checks that it has a known type and the member that goes with it. The
// fields that bare names are members without which a call means something all the same.
func DecodeCall(body []byte, json bool, call proto.Message, bare ...protoreflect.Name) error {
	decode := mesos.DecodeProto
	if json {
		decode = mesos.UnmarshalJSON
	}
	if err := decode(body, call); err != nil {
		return err
	}
	m := call.ProtoReflect()
	fields := m.Descriptor().Fields()
	kind := fields.ByName("type")
	named := kind.Enum().Values().ByNumber(m.Get(kind).Enum())
	if named == nil || named.Number() == 0 {
		return fmt.Errorf("type is missing or unknown; it must be one of %s.Type, such as GET_HEALTH", m.Descriptor().FullName())
	}
	name := protoreflect.Name(strings.ToLower(string(named.Name())))
	if slices.Contains(bare, name) {
		return nil
	}
	if member := fields.ByName(name); member != nil && !m.Has(member) {
		return fmt.Errorf("%s is missing; a call of type %s has it", name, named.Name())
	}
	return nil
}

// Accepts finds the encoding of the answer in the Accept headers; JSON when there is none, or both are taken.
func Accepts(r *http.Request) (json, ok bool) {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return true, true
	}
	protobuf := false
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			media, _, _ := strings.Cut(part, ";")
			switch strings.TrimSpace(media) {
			case TypeJSON, "*/*", "application/*", "":
				return true, true
			case TypeProtobuf:
				protobuf = true
			}
		}
	}
	return false, protobuf
}

// NotAcceptable answers a request whose Accept headers allow no encoding that there is.
func NotAcceptable(w http.ResponseWriter) {
	Fail(w, http.StatusNotAcceptable, "Accept must allow "+TypeJSON+" or "+TypeProtobuf+".")
}

// ContentType is the media type of an encoding.
func ContentType(json bool) string {
	if json {
		return TypeJSON
	}
	return TypeProtobuf
}

// Respond answers a v1 call in the encoding that the client takes.
func Respond(w http.ResponseWriter, r *http.Request, answer proto.Message, json bool) {
	var body []byte
	var err error
	if json {
		body, err = mesos.AppendJSON(nil, answer)
	} else {
		body, err = proto.Marshal(answer)
	}
	if err != nil {
		Fail(w, http.StatusInternalServerError, "The answer cannot be encoded: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", ContentType(json))
	Write(w, r, body)
}

// AppendListed appends the answer of an operator API that has a type and one listing.
func AppendListed(dst []byte, kind protoreflect.Enum, list *mesos.Listing, json bool) ([]byte, error) {
	if !json {
		dst = protowire.AppendTag(dst, 1, protowire.VarintType)
		return list.Append(protowire.AppendVarint(dst, uint64(kind.Number())), false)
	}
	named := kind.Descriptor().Values().ByNumber(kind.Number())
	if named == nil {
		return dst, errors.New("the answer's type has no name")
	}
	dst = append(append(append(dst, `{"type":"`...), named.Name()...), `",`...)
	dst, err := list.Append(dst, true)
	return append(dst, '}'), err
}

// Metrics are a meter's numbers in the words of the v1 APIs, by name: those that are there within the time that is given; nil
// for as long as it takes.
func Metrics(m *meter.Meter, c Clock, timeout *mesosv1.DurationInfo) ([]*mesosv1.Metric, error) {
	within := timeout.GetNanoseconds()
	if within < 0 {
		return nil, fault.New(fault.Invalid, "get_metrics.timeout must not be negative; leave it out to wait as long as it takes")
	}
	start := c.Now().Mono
	numbers := m.SnapshotUntil(func() bool { return timeout != nil && c.Now().Mono-start > time.Duration(within) })
	out := make([]*mesosv1.Metric, 0, len(numbers))
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		out = append(out, &mesosv1.Metric{Name: &name, Value: new(numbers[name])})
	}
	return out, nil
}

// Clock tells the time; clock.Clock is one.
type Clock interface{ Now() machine.Now }
