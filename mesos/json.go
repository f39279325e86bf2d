// Package mesos holds the words of the Mesos v1 APIs: the codecs of messages, record streams and
// the hot values, and the checks of what clients send. The messages themselves are generated, in
// gen/mesosv1; resources are counted in mesos/resource.
//
// Errors name the field they are about, as a path in proto names, and say what to do.
package mesos

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/mesos/internal/codec"
)

// AppendJSON appends m to dst as one line of Mesos JSON: members in the order of the proto files
// and in its names, 64-bit numbers as numbers, bytes as base64, explicit defaults that are not
// deprecated although unset. The only error is a nil message.
func AppendJSON(dst []byte, m proto.Message) ([]byte, error) { return codec.AppendJSON(dst, m) }

// UnmarshalJSON replaces what is in m by the one JSON object in b. Unknown members are skipped,
// null means unset, the last of members that come twice holds, and the unknown name of an enum
// leaves its field unset. Refused: a missing required field anywhere, a value of the wrong kind,
// anything behind the object, text that is no UTF-8, nesting deeper than 200.
func UnmarshalJSON(b []byte, m proto.Message) error { return codec.UnmarshalJSON(b, m) }

// DecodeProto replaces what is in m by the protobuf message in b. Refused: bytes that are no such
// message, and a missing required field anywhere. Numbers of enums that have no name here stay in
// their fields, so who switches over an enum has a default.
func DecodeProto(b []byte, m proto.Message) error {
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("the body is no protobuf message %s: %w; check the Content-Type", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return codec.CheckRequired(m)
}

// Type is a message type that encoded bytes can be checked against, and turned into JSON, without
// decoding them: for what is kept as its bytes and shown as JSON. It is safe for use by many
// goroutines.
type Type = codec.Type

// TypeOf returns the Type of m, which may be a nil pointer of its type.
func TypeOf(m proto.Message) *Type { return codec.TypeOf(m) }
