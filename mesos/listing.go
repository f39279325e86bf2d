package mesos

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Listing is a member that holds lists: an answer of the operator APIs. It is written object by object, so that one of a
// large cluster is never there as messages.
type Listing struct {
	// Name and Number are the member's in the message around it.
	Name   string
	Number protowire.Number
	Lists  []List
	// Inner are members that are listings themselves. They come before the lists.
	Inner []Listing
}

// List is a repeated field.
type List struct {
	Name   string
	Number protowire.Number
	// Always is set for a list that JSON shows although it is empty, as the original does with some.
	Always bool
	// Each visits the messages; each is only looked at until yield returns. What it lacks of its required fields is no error.
	Each func(yield func(proto.Message) bool)
}

// Append appends the listing, as the member of the message around it: with its name in JSON, with its number in protobuf.
// The error is that of the first message that cannot be encoded; what is appended is of no use then.
func (l *Listing) Append(dst []byte, json bool) ([]byte, error) {
	if json {
		return l.appendJSON(append(append(append(dst, '"'), l.Name...), `":`...))
	}
	return l.appendProto(dst)
}

func (l *Listing) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	start := len(dst)
	var err error
	for i := range l.Inner {
		if dst, err = l.Inner[i].Append(separate(dst, start), true); err != nil {
			return dst, err
		}
	}
	for i := range l.Lists {
		if dst, err = l.Lists[i].appendJSON(dst, start); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// appendJSON appends the list to an object whose members begin at start.
func (l *List) appendJSON(dst []byte, start int) ([]byte, error) {
	before := len(dst)
	dst = append(append(append(separate(dst, start), '"'), l.Name...), `":[`...)
	first, err := len(dst), error(nil)
	l.Each(func(m proto.Message) bool {
		dst, err = AppendJSON(separate(dst, first), m)
		return err == nil
	})
	if len(dst) == first && !l.Always {
		return dst[:before], err
	}
	return append(dst, ']'), err
}

// separate puts a comma behind members that are there.
func separate(dst []byte, start int) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	return dst
}

func (l *Listing) appendProto(dst []byte) ([]byte, error) {
	dst = protowire.AppendTag(dst, l.Number, protowire.BytesType)
	start := len(dst)
	var err error
	for i := range l.Inner {
		if dst, err = l.Inner[i].appendProto(dst); err != nil {
			return dst, err
		}
	}
	for i := range l.Lists {
		list := &l.Lists[i]
		list.Each(func(m proto.Message) bool {
			dst = protowire.AppendTag(dst, list.Number, protowire.BytesType)
			o := proto.MarshalOptions{AllowPartial: true}
			dst = protowire.AppendVarint(dst, uint64(o.Size(m)))
			o.UseCachedSize = true
			dst, err = o.MarshalAppend(dst, m)
			return err == nil
		})
		if err != nil {
			return dst, err
		}
	}
	// How long it is goes before it, and is known only now.
	var length [10]byte
	return slices.Insert(dst, start, protowire.AppendVarint(length[:0], uint64(len(dst)-start))...), nil
}
