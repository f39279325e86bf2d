package mesos

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// Acknowledgement is an ACKNOWLEDGE call that passes CheckCall.
type Acknowledgement struct {
	Framework, Agent, Task string
	// UUID is the 16 bytes of the status.
	UUID string
}

// ReadAcknowledgement reads the body of an ACKNOWLEDGE call in protobuf, the call of which there are most, without making a
// message of it. It reports false for every other call, and for what only DecodeCall and CheckCall can judge: fields that
// are unknown, missing or there twice, and bytes that are no message. Its strings share one copy of body.
func ReadAcknowledgement(body []byte) (a Acknowledgement, ok bool) {
	src := string(body)
	var acknowledge string
	var kind uint64
	ok = fields(src, func(n protowire.Number, value string, v uint64) bool {
		switch {
		case n == 1 && value != "" && a.Framework == "":
			return onlyValue(value, &a.Framework)
		case n == 2 && value == "" && kind == 0:
			kind = v
			return true
		case n == 8 && acknowledge == "":
			acknowledge = value
			return true
		}
		return false
	})
	if !ok || kind != uint64(scheduler.Call_ACKNOWLEDGE) || a.Framework == "" {
		return a, false
	}
	ok = fields(acknowledge, func(n protowire.Number, value string, _ uint64) bool {
		switch {
		case n == 1 && a.Agent == "":
			return onlyValue(value, &a.Agent)
		case n == 2 && a.Task == "":
			return onlyValue(value, &a.Task)
		case n == 3 && a.UUID == "":
			a.UUID = value
			return true
		}
		return false
	})
	return a, ok && a.Agent != "" && a.Task != "" && CheckUUID([]byte(a.UUID)) == nil
}

// onlyValue reads an id: a message whose one field, of number 1, is a text that is not empty.
func onlyValue(message string, at *string) bool {
	return fields(message, func(n protowire.Number, value string, _ uint64) bool {
		if n != 1 || value == "" || *at != "" {
			return false
		}
		*at = value
		return true
	})
}

// fields visits the fields of a message until visit says no, and reports whether it said yes to all. A field has a text, or
// a number when it is a varint; other kinds are not visited.
func fields(message string, visit func(n protowire.Number, text string, number uint64) bool) bool {
	for message != "" {
		tag, n := varint(message)
		if n == 0 {
			return false
		}
		message = message[n:]
		v, n := varint(message)
		if n == 0 {
			return false
		}
		message = message[n:]
		number, kind := protowire.DecodeTag(tag)
		text := ""
		switch kind {
		case protowire.VarintType:
		case protowire.BytesType:
			if v > uint64(len(message)) {
				return false
			}
			text, message, v = message[:v], message[v:], 0
		default:
			return false
		}
		if !visit(number, text, v) {
			return false
		}
	}
	return true
}

// varint reads a number, and says how long it is; 0 when it is none.
func varint(s string) (v uint64, n int) {
	for shift := 0; n < len(s) && shift < 63; shift += 7 {
		c := s[n]
		n++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, n
		}
	}
	return 0, 0
}
