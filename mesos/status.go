package mesos

import (
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/internal/codec"
)

// Status is a TaskStatus as the hot paths hold it: what is calculated with as values, the rest as
// its bytes. It is a value; nothing in it is changed in place.
type Status struct {
	TaskID, AgentID, ExecutorID string // "" unset, but for TaskID, which is required
	State                       mesosv1.TaskState
	Source                      mesosv1.TaskStatus_Source // always written; SOURCE_MASTER where none was read
	HasReason                   bool
	Reason                      mesosv1.TaskStatus_Reason
	Message                     string  // "" unset
	Timestamp                   float64 // seconds since the epoch, 0 unset
	UUID                        string  // 16 raw bytes when the status wants to be acknowledged, else ""
	Healthy                     int8    // -1 unset, 0 no, 1 yes
	UnreachableTime             int64   // nanoseconds since the epoch, 0 unset
	// Rest is an encoded TaskStatus that holds only data, labels, check_status, container_status
	// and limitation.
	Rest []byte
}

// The numbers of TaskStatus' fields.
const (
	statusTaskID          protowire.Number = 1
	statusState           protowire.Number = 2
	statusData            protowire.Number = 3
	statusMessage         protowire.Number = 4
	statusAgentID         protowire.Number = 5
	statusTimestamp       protowire.Number = 6
	statusExecutorID      protowire.Number = 7
	statusHealthy         protowire.Number = 8
	statusSource          protowire.Number = 9
	statusReason          protowire.Number = 10
	statusUUID            protowire.Number = 11
	statusLabels          protowire.Number = 12
	statusContainer       protowire.Number = 13
	statusUnreachableTime protowire.Number = 14
	statusCheck           protowire.Number = 15
	statusLimitation      protowire.Number = 16
)

var statusType = codec.TypeOf((*mesosv1.TaskStatus)(nil))

// ParseStatus reads an encoded TaskStatus, without keeping b. The strings of the result share one
// copy of it, so who keeps an id for long clones or interns it. Refused: what is no TaskStatus,
// and one without task_id or state.
func ParseStatus(b []byte) (Status, error) {
	s := Status{Healthy: -1}
	if err := statusType.Check(b, false); err != nil {
		return s, fmt.Errorf("status: %w", err)
	}
	text := string(b)
	for at := 0; at < len(b); {
		num, kind, n := protowire.ConsumeTag(b[at:])
		size := protowire.ConsumeFieldValue(num, kind, b[at+n:])
		from, to := at+n, at+n+size
		if kind == protowire.BytesType {
			_, m := protowire.ConsumeVarint(b[from:])
			s.setBytes(num, text[from+m:to], b[at:to])
		} else {
			s.setNumber(num, kind, b[from:to])
		}
		at = to
	}
	return s, nil
}

// setBytes takes over a field whose value is text; field is the whole of it, with its tag.
func (s *Status) setBytes(num protowire.Number, text string, field []byte) {
	switch num {
	case statusTaskID:
		s.TaskID = idOf(text)
	case statusAgentID:
		s.AgentID = idOf(text)
	case statusExecutorID:
		s.ExecutorID = idOf(text)
	case statusMessage:
		s.Message = text
	case statusUUID:
		s.UUID = text
	case statusUnreachableTime:
		s.UnreachableTime = nanosecondsOf(text)
	case statusData, statusLabels, statusContainer, statusCheck, statusLimitation:
		s.Rest = append(s.Rest, field...)
	}
}

func (s *Status) setNumber(num protowire.Number, kind protowire.Type, value []byte) {
	if num == statusTimestamp && kind == protowire.Fixed64Type {
		v, _ := protowire.ConsumeFixed64(value)
		s.Timestamp = math.Float64frombits(v)
	}
	if kind != protowire.VarintType {
		return
	}
	v, _ := protowire.ConsumeVarint(value)
	switch num {
	case statusState:
		if _, ok := mesosv1.TaskState_name[int32(v)]; ok {
			s.State = mesosv1.TaskState(v)
		}
	case statusSource:
		if _, ok := mesosv1.TaskStatus_Source_name[int32(v)]; ok {
			s.Source = mesosv1.TaskStatus_Source(v)
		}
	case statusReason:
		if _, ok := mesosv1.TaskStatus_Reason_name[int32(v)]; ok {
			s.Reason, s.HasReason = mesosv1.TaskStatus_Reason(v), true
		}
	case statusHealthy:
		s.Healthy = 0
		if v != 0 {
			s.Healthy = 1
		}
	}
}

// idOf reads one of the id messages, which all hold `value` as field 1.
func idOf(text string) (id string) {
	for b := text; len(b) > 0; {
		num, kind, n := consumeTag(b)
		size := valueLen(b[n:], num, kind)
		if num == 1 && kind == protowire.BytesType {
			_, m := consumeVarint(b[n:])
			id = b[n+m : n+size]
		}
		b = b[n+size:]
	}
	return id
}

// nanosecondsOf reads a TimeInfo.
func nanosecondsOf(text string) (t int64) {
	for b := text; len(b) > 0; {
		num, kind, n := consumeTag(b)
		size := valueLen(b[n:], num, kind)
		if num == 1 && kind == protowire.VarintType {
			v, _ := consumeVarint(b[n:])
			t = int64(v)
		}
		b = b[n+size:]
	}
	return t
}

// valueLen is the size of a field's value.
func valueLen(b string, num protowire.Number, kind protowire.Type) int {
	switch kind {
	case protowire.VarintType:
		_, n := consumeVarint(b)
		return n
	case protowire.BytesType:
		size, n := consumeVarint(b)
		return n + int(size)
	case protowire.Fixed64Type:
		return 8
	case protowire.Fixed32Type:
		return 4
	}
	return protowire.ConsumeFieldValue(num, kind, []byte(b))
}

// consumeTag, consumeVarint and valueLen are protowire's for text that is known to be well formed.
func consumeTag(b string) (protowire.Number, protowire.Type, int) {
	v, n := consumeVarint(b)
	num, kind := protowire.DecodeTag(v)
	return num, kind, n
}

func consumeVarint(b string) (v uint64, n int) {
	for n < len(b) {
		c := b[n]
		v |= uint64(c&0x7f) << (7 * n)
		n++
		if c < 0x80 {
			break
		}
	}
	return v, n
}

// The numbers of the fields of Event that are written by hand.
const (
	eventType   protowire.Number = 1
	eventOffers protowire.Number = 3
	eventUpdate protowire.Number = 5
)

// AppendProto appends the status as an encoded TaskStatus. It allocates nothing.
func (s *Status) AppendProto(dst []byte) []byte {
	dst = appendID(dst, statusTaskID, s.TaskID)
	dst = appendUint(dst, statusState, uint64(s.State))
	if s.Message != "" {
		dst = appendText(dst, statusMessage, s.Message)
	}
	if s.AgentID != "" {
		dst = appendID(dst, statusAgentID, s.AgentID)
	}
	if s.Timestamp != 0 {
		dst = protowire.AppendTag(dst, statusTimestamp, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, math.Float64bits(s.Timestamp))
	}
	if s.ExecutorID != "" {
		dst = appendID(dst, statusExecutorID, s.ExecutorID)
	}
	if s.Healthy >= 0 {
		dst = appendUint(dst, statusHealthy, uint64(s.Healthy))
	}
	dst = appendUint(dst, statusSource, uint64(s.Source))
	if s.HasReason {
		dst = appendUint(dst, statusReason, uint64(s.Reason))
	}
	if s.UUID != "" {
		dst = appendText(dst, statusUUID, s.UUID)
	}
	if s.UnreachableTime != 0 {
		dst = protowire.AppendTag(dst, statusUnreachableTime, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeVarint(uint64(s.UnreachableTime))))
		dst = appendUint(dst, 1, uint64(s.UnreachableTime))
	}
	return append(dst, s.Rest...)
}

func appendUint(dst []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

func appendText(dst []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func appendID(dst []byte, num protowire.Number, id string) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeBytes(len(id))))
	return appendText(dst, 1, id)
}

// enumNames holds the names of an enum in quotes, by number.
type enumNames []string

func quoted(names map[int32]string) enumNames {
	var out enumNames
	for n, name := range names {
		for int(n) >= len(out) {
			out = append(out, `null`)
		}
		out[n] = `"` + name + `"`
	}
	return out
}

func (e enumNames) of(n int32) string {
	if n < 0 || int(n) >= len(e) {
		return "null"
	}
	return e[n]
}

var (
	stateNames  = quoted(mesosv1.TaskState_name)
	sourceNames = quoted(mesosv1.TaskStatus_Source_name)
	reasonNames = quoted(mesosv1.TaskStatus_Reason_name)
)

// AppendJSON appends the status as a JSON object. It allocates nothing, unless Rest holds a field
// in several pieces.
func (s *Status) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"task_id":{"value":`...)
	dst = codec.AppendString(dst, s.TaskID)
	dst = append(dst, `},"state":`...)
	dst = append(dst, stateNames.of(int32(s.State))...)
	dst = append(dst, `,"source":`...)
	dst = append(dst, sourceNames.of(int32(s.Source))...)
	if s.HasReason {
		dst = append(dst, `,"reason":`...)
		dst = append(dst, reasonNames.of(int32(s.Reason))...)
	}
	if s.Message != "" {
		dst = append(dst, `,"message":`...)
		dst = codec.AppendString(dst, s.Message)
	}
	if s.AgentID != "" {
		dst = appendIDJSON(dst, `,"agent_id":{"value":`, s.AgentID)
	}
	if s.ExecutorID != "" {
		dst = appendIDJSON(dst, `,"executor_id":{"value":`, s.ExecutorID)
	}
	if s.Timestamp != 0 {
		dst = append(dst, `,"timestamp":`...)
		dst = codec.AppendDouble(dst, s.Timestamp)
	}
	if s.UUID != "" {
		dst = append(dst, `,"uuid":`...)
		dst = codec.AppendBytes(dst, s.UUID)
	}
	if s.Healthy >= 0 {
		dst = append(dst, `,"healthy":`...)
		dst = strconv.AppendBool(dst, s.Healthy > 0)
	}
	if s.UnreachableTime != 0 {
		dst = append(dst, `,"unreachable_time":{"nanoseconds":`...)
		dst = strconv.AppendInt(dst, s.UnreachableTime, 10)
		dst = append(dst, '}')
	}
	dst, _ = statusType.AppendMembers(dst, s.Rest) // a Rest that is no TaskStatus says nothing
	return append(dst, '}')
}

func appendIDJSON(dst []byte, key, id string) []byte {
	dst = append(dst, key...)
	dst = codec.AppendString(dst, id)
	return append(dst, '}')
}

// WithoutData is the status without the executor's data, as the books keep it.
func (s *Status) WithoutData() Status {
	out := *s
	for at, kept := 0, 0; at < len(s.Rest); {
		num, kind, n := protowire.ConsumeTag(s.Rest[at:])
		if n < 0 {
			return out
		}
		size := protowire.ConsumeFieldValue(num, kind, s.Rest[at+n:])
		if size < 0 {
			return out
		}
		next := at + n + size
		switch {
		case num == statusData && kept == at: // the first data: what was before it stays
			out.Rest = append([]byte(nil), s.Rest[:at]...)
			kept = -1
		case num != statusData && kept < 0:
			out.Rest = append(out.Rest, s.Rest[at:next]...)
		case num != statusData:
			kept = next
		}
		at = next
	}
	return out
}

// AppendUpdateEvent appends a scheduler's UPDATE event, as JSON or protobuf, without the framing
// of RecordIO. It allocates nothing where s does not.
func AppendUpdateEvent(dst []byte, s *Status, json bool) []byte {
	if json {
		dst = append(dst, `{"type":"UPDATE","update":{"status":`...)
		dst = s.AppendJSON(dst)
		return append(dst, '}', '}')
	}
	dst = appendUint(dst, eventType, uint64(scheduler.Event_UPDATE))
	dst = protowire.AppendTag(dst, eventUpdate, protowire.BytesType)
	update := len(dst)
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	status := len(dst)
	dst = s.AppendProto(dst)
	return closeBytes(closeBytes(dst, status), update)
}

// closeBytes puts the length of what was appended since start before it.
func closeBytes(dst []byte, start int) []byte {
	var length [10]byte
	size := len(dst) - start
	n := len(protowire.AppendVarint(length[:0], uint64(size)))
	dst = append(dst, length[:n]...)
	copy(dst[start+n:], dst[start:start+size])
	protowire.AppendVarint(dst[:start], uint64(size))
	return dst
}
