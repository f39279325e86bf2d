package v0

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/internal/codec"
	"github.com/pando-os/pando/mesos/resource"
)

// Task is what is shown of a task.
type Task struct {
	ID, Name, Framework, Agent string
	// Executor is empty for tasks that bring none of their own.
	Executor  string
	Role      string
	State     mesosv1.TaskState
	Resources resource.List
	// Statuses are its changes of state, oldest first.
	Statuses []*mesos.Status
	// Info is the encoded TaskInfo, of which labels, discovery, container, health check, limits and user are shown. It is
	// read where it lies, without decoding it. It may be empty.
	Info []byte
}

// The numbers of the fields that are read: of TaskInfo, and of what is in it.
const (
	infoExecutor  protowire.Number = 5
	infoCommand   protowire.Number = 7
	infoHealth    protowire.Number = 8
	infoContainer protowire.Number = 9
	infoLabels    protowire.Number = 10
	infoDiscovery protowire.Number = 11
	infoLimits    protowire.Number = 15

	executorCommand protowire.Number = 7
	commandUser     protowire.Number = 5

	statusLabels    protowire.Number = 12
	statusContainer protowire.Number = 13
)

var (
	labelsType          = codec.TypeOf((*mesosv1.Labels)(nil))
	discoveryType       = codec.TypeOf((*mesosv1.DiscoveryInfo)(nil))
	containerType       = codec.TypeOf((*mesosv1.ContainerInfo)(nil))
	healthType          = codec.TypeOf((*mesosv1.HealthCheck)(nil))
	containerStatusType = codec.TypeOf((*mesosv1.ContainerStatus)(nil))
	scalarType          = codec.TypeOf((*mesosv1.Value_Scalar)(nil))
)

// Append appends the task as a JSON object.
func (t *Task) Append(dst []byte) []byte {
	dst = codec.AppendString(append(dst, `{"id":`...), t.ID)
	dst = codec.AppendString(append(dst, `,"name":`...), t.Name)
	dst = codec.AppendString(append(dst, `,"framework_id":`...), t.Framework)
	dst = codec.AppendString(append(dst, `,"executor_id":`...), t.Executor)
	dst = codec.AppendString(append(dst, `,"slave_id":`...), t.Agent)
	dst = codec.AppendString(append(dst, `,"state":`...), t.State.String())
	dst = t.Resources.AppendV0(append(dst, `,"resources":`...))
	if t.Role != "" {
		dst = codec.AppendString(append(dst, `,"role":`...), t.Role)
	}
	dst = append(dst, `,"statuses":[`...)
	for i, s := range t.Statuses {
		dst = Status(Comma(dst, i), s)
	}
	dst = append(dst, ']')
	dst = appendInfo(dst, t.Info)
	return append(dst, '}')
}

// Status appends a status as it stands in a task's history.
func Status(dst []byte, s *mesos.Status) []byte {
	dst = codec.AppendString(append(dst, `{"state":`...), s.State.String())
	dst = codec.AppendDouble(append(dst, `,"timestamp":`...), s.Timestamp)
	fields(s.Rest, func(num protowire.Number, value []byte) {
		switch num {
		case statusLabels:
			dst = appendLabels(dst, value)
		case statusContainer:
			dst = appendContainerStatus(dst, value)
		}
	})
	if s.Healthy >= 0 {
		dst = Bool(append(dst, `,"healthy":`...), s.Healthy > 0)
	}
	return append(dst, '}')
}

// appendContainerStatus appends what is shown of a container here: all but the executor's pid, its one number.
func appendContainerStatus(dst, status []byte) []byte {
	start := len(dst) // what is shown is gathered there, and makes room for its JSON then
	fields(status, func(num protowire.Number, value []byte) {
		dst = protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), value)
	})
	end := len(dst)
	dst = member(dst, `,"container_status":`, containerStatusType, dst[start:])
	return append(dst[:start], dst[end:]...)
}

// appendInfo appends the members that come from the TaskInfo, each with a comma before it.
func appendInfo(dst, info []byte) []byte {
	limits, user := 0, ""
	fields(info, func(num protowire.Number, value []byte) {
		switch num {
		case infoCommand:
			user = userOf(value)
		case infoExecutor:
			fields(value, func(num protowire.Number, value []byte) {
				if num == executorCommand && user == "" {
					user = userOf(value)
				}
			})
		case infoLabels:
			dst = appendLabels(dst, value)
		case infoDiscovery:
			dst = member(dst, `,"discovery":`, discoveryType, value)
		case infoContainer:
			dst = member(dst, `,"container":`, containerType, value)
		case infoHealth:
			dst = member(dst, `,"health_check":`, healthType, value)
		case infoLimits:
			limits++
		}
	})
	if user != "" {
		dst = codec.AppendString(append(dst, `,"user":`...), user)
	}
	if limits > 0 {
		dst = appendLimits(append(dst, `,"limits":{`...), info)
		dst = append(dst, '}')
	}
	return dst
}

func userOf(command []byte) (user string) {
	fields(command, func(num protowire.Number, value []byte) {
		if num == commandUser {
			user = string(value)
		}
	})
	return user
}

// appendLimits appends the members of a task's limits, by name in the order of the bytes.
func appendLimits(dst, info []byte) []byte {
	n := 0
	fields(info, func(num protowire.Number, entry []byte) {
		if num != infoLimits {
			return
		}
		dst = Comma(dst, n)
		n++
		name, limit := []byte(nil), []byte(nil)
		fields(entry, func(num protowire.Number, value []byte) {
			switch num {
			case 1:
				name = value
			case 2:
				limit = value
			}
		})
		dst = append(codec.AppendString(dst, name), ':')
		start := len(dst)
		dst, _ = scalarType.AppendJSON(dst, limit) // what cannot be read says nothing
		const before = `{"value":`
		if len(dst) <= start+len(before) {
			dst = append(dst[:start], "0.0"...)
			return
		}
		dst = dst[:start+copy(dst[start:], dst[start+len(before):len(dst)-1])]
	})
	return dst
}

// appendLabels appends `,"labels":` with the array of an encoded Labels.
func appendLabels(dst, wire []byte) []byte {
	dst = append(dst, `,"labels":`...)
	start := len(dst)
	dst, err := labelsType.AppendJSON(dst, wire)
	const before = `{"labels":`
	if err != nil || len(dst) <= start+len(before) {
		return append(dst[:start], "[]"...)
	}
	return dst[:start+copy(dst[start:], dst[start+len(before):len(dst)-1])]
}

// member appends key and an encoded message; one that cannot be read is left out.
func member(dst []byte, key string, t *codec.Type, wire []byte) []byte {
	start := len(dst)
	dst, err := t.AppendJSON(append(dst, key...), wire)
	if err != nil {
		return dst[:start]
	}
	return dst
}

// fields visits the length-delimited fields of an encoded message up to the first byte that is none of it.
func fields(wire []byte, visit func(protowire.Number, []byte)) {
	for len(wire) > 0 {
		num, kind, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return
		}
		size := protowire.ConsumeFieldValue(num, kind, wire[n:])
		if size < 0 {
			return
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(wire[n:])
			visit(num, value)
		}
		wire = wire[n+size:]
	}
}
