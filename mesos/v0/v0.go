// Package v0 writes the JSON of the endpoints from before the v1 API (/state and its like), in the words that masters and
// agents share there: an agent is a slave, resources are an object, times are seconds. Everything is appended; nothing
// here keeps what it is given.
package v0

import (
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/internal/codec"
	"github.com/pando-os/pando/mesos/resource"
)

// Text appends a JSON string.
func Text(dst []byte, s string) []byte { return codec.AppendString(dst, s) }

// Domain appends the member of a fault domain, with a comma before it; nothing when nobody says where the thing is.
func Domain(dst []byte, region, zone string) []byte {
	if region == "" && zone == "" {
		return dst
	}
	dst = Text(append(dst, `,"domain":{"fault_domain":{"region":{"name":`...), region)
	dst = Text(append(dst, `},"zone":{"name":`...), zone)
	return append(dst, "}}}"...)
}

// Number appends a double with the shortest decimals that read back as it, and a fraction always.
func Number(dst []byte, f float64) []byte { return codec.AppendDouble(dst, f) }

// Seconds appends a time, in nanoseconds since the epoch, as seconds with the microseconds that a double has room for;
// zero is 0.0.
func Seconds(dst []byte, nanoseconds int64) []byte {
	return codec.AppendDouble(dst, float64(nanoseconds/1000)/1e6)
}

// Bool appends true or false.
func Bool(dst []byte, b bool) []byte {
	if b {
		return append(dst, "true"...)
	}
	return append(dst, "false"...)
}

// Texts appends an array of strings.
func Texts(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		dst = Comma(dst, i)
		dst = codec.AppendString(dst, s)
	}
	return append(dst, ']')
}

// Comma appends what goes before the i-th element of a list: nothing before the first.
func Comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

// Attributes appends an object of an agent's attributes: scalars as numbers, ranges as "[1-5]", texts as they are. Of
// several with one name the first is shown, which is the one that counts.
func Attributes(dst []byte, list []*mesosv1.Attribute) []byte {
	dst = append(dst, '{')
	n := 0
next:
	for i, a := range list {
		for _, b := range list[:i] {
			if a.GetName() == b.GetName() {
				continue next
			}
		}
		dst = Comma(dst, n)
		n++
		dst = codec.AppendString(dst, a.GetName())
		dst = append(dst, ':')
		switch a.GetType() {
		case mesosv1.Value_SCALAR:
			dst = codec.AppendDouble(dst, a.GetScalar().GetValue())
		case mesosv1.Value_RANGES:
			spans := make([]resource.Span, 0, len(a.GetRanges().GetRange()))
			for _, r := range a.GetRanges().GetRange() {
				spans = append(spans, resource.Span{Begin: r.GetBegin(), End: r.GetEnd()})
			}
			dst = resource.AppendV0Spans(append(dst, '"'), spans)
			dst = append(dst, '"')
		default:
			dst = codec.AppendString(dst, a.GetText().GetValue())
		}
	}
	return append(dst, '}')
}

// AgentCapabilities appends the names of what an agent can.
func AgentCapabilities(dst []byte, list []mesosv1.AgentInfo_Capability_Type) []byte {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.String()
	}
	return Texts(dst, names)
}

// FrameworkCapabilities appends the names of what a framework can.
func FrameworkCapabilities(dst []byte, list []*mesosv1.FrameworkInfo_Capability) []byte {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.GetType().String()
	}
	return Texts(dst, names)
}

// Quantities appends an object of scalars alone, by name: cpus and mem as they are there, nothing else.
func Quantities(dst []byte, l resource.List) []byte {
	dst = append(dst, '{')
	n := 0
	for name, q := range l.Quantities() {
		dst = Comma(dst, n)
		n++
		dst = codec.AppendString(dst, name)
		dst = append(dst, ':')
		dst = codec.AppendDouble(dst, q.Float())
	}
	return append(dst, '}')
}
