package agentlink

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// MaxElements bounds the messages and repeated values in one frame or call: decoded, each takes up to some hundred bytes
	// where the wire has two, so that 64 MiB of empty ones would take gigabytes.
	MaxElements = 1_000_000
	// fewElements is a size that holds too few elements to matter; what is smaller is not counted.
	fewElements = 256 << 10
	maxDepth    = 100
)

// CheckElements refuses an encoded message of a type, before it is decoded, when it holds more than MaxElements. What is
// malformed passes: the decoder says it better.
func CheckElements(b []byte, of protoreflect.MessageDescriptor) error {
	if len(b) <= fewElements {
		return nil
	}
	if left := countElements(b, of, MaxElements, 0); left < 0 {
		return fmt.Errorf("it holds more than %d messages and values; send fewer at once", MaxElements)
	}
	return nil
}

// countElements takes the elements of a message off what is left; a negative answer is too many.
func countElements(b []byte, of protoreflect.MessageDescriptor, left, depth int) int {
	if depth > maxDepth {
		return -1
	}
	fields := of.Fields()
	for len(b) > 0 && left >= 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return left
		}
		b = b[n:]
		f := fields.ByNumber(number)
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return left
			}
			if b = b[n:]; f != nil && f.IsList() {
				left--
			}
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return left
		}
		b = b[n:]
		switch {
		case f == nil:
		case f.Message() != nil:
			left = countElements(value, f.Message(), left-1, depth+1)
		case f.IsList() && f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind:
			left -= 1 + len(value)/8 // packed numbers
		case f.IsList():
			left--
		}
	}
	return left
}
