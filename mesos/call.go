package mesos

import (
	"encoding/base64"
	"errors"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/internal/codec"
)

// DecodeCall reads the body of a scheduler's call, as JSON or protobuf, by the rules of
// UnmarshalJSON and DecodeProto. What comes by the thousand in JSON (ACKNOWLEDGE, ACCEPT, DECLINE)
// is read by hand; its strings then share one copy of the body. It keeps nothing of body itself.
func DecodeCall(body []byte, json bool) (*scheduler.Call, error) {
	if !json {
		call := &scheduler.Call{}
		if err := DecodeProto(body, call); err != nil {
			return nil, err
		}
		return call, nil
	}
	r := callReader{s: codec.NewScanner(body), source: string(body)}
	if call := r.read(); call != nil {
		return call, nil
	}
	// Anything unusual, an error too, is told by the general codec.
	call := &scheduler.Call{}
	if err := UnmarshalJSON(body, call); err != nil {
		return nil, err
	}
	return call, nil
}

// callReader reads by hand what the calls that come by the thousand have, and leaves other members
// to the general codec one by one. Its methods return errUnusual where the general codec has to
// judge the whole call: members that come twice or are missing, unknown names of enums, wrong kinds.
type callReader struct {
	s      codec.Scanner
	source string
	texts  []string // where the next strings go, so that they are allocated together
}

var errUnusual = errors.New("unusual")

// read returns nil for a call that is not of the usual form.
func (r *callReader) read() *scheduler.Call {
	call := &scheduler.Call{}
	err := r.object(call, func(key []byte) error {
		switch string(key) {
		case "framework_id":
			return readMessage(&call.FrameworkId, func(m *mesosv1.FrameworkID) error { return r.id(m, &m.Value) })
		case "type":
			return readEnum(r, &call.Type, scheduler.Call_Type_value)
		case "acknowledge":
			return readMessage(&call.Acknowledge, r.acknowledge)
		case "accept":
			return readMessage(&call.Accept, r.accept)
		case "decline":
			return readMessage(&call.Decline, r.decline)
		}
		return r.s.Field(call, key)
	})
	if err != nil || r.s.End() != nil {
		return nil
	}
	return call
}

// object reads the members of m. Nulls are the general codec's, and what member returns Field for.
func (r *callReader) object(m proto.Message, member func(key []byte) error) error {
	return r.s.Object(func(key []byte) error {
		if r.s.Peek() == 'n' {
			return r.s.Field(m, key)
		}
		return member(key)
	})
}

// readMessage fills a field that has not been there yet.
func readMessage[M any](at **M, read func(*M) error) error {
	if *at != nil {
		return errUnusual
	}
	*at = new(M)
	return read(*at)
}

func readEnum[E ~int32](r *callReader, at **E, values map[string]int32) error {
	if *at != nil {
		return errUnusual
	}
	name, err := r.s.Text()
	if err != nil {
		return err
	}
	n, ok := values[string(name)]
	if !ok {
		return errUnusual
	}
	e := E(n)
	*at = &e
	return nil
}

func (r *callReader) text(at **string) error {
	if *at != nil {
		return errUnusual
	}
	s, err := r.s.SharedText(r.source)
	if err != nil {
		return err
	}
	if len(r.texts) == 0 {
		r.texts = make([]string, 8)
	}
	r.texts[0] = s
	*at = &r.texts[0]
	r.texts = r.texts[1:]
	return nil
}

// id reads a message whose one, required, member is `value`.
func (r *callReader) id(m proto.Message, at **string) error {
	err := r.object(m, func(key []byte) error {
		if string(key) == "value" {
			return r.text(at)
		}
		return r.s.Field(m, key)
	})
	if err == nil && *at == nil {
		return errUnusual
	}
	return err
}

func (r *callReader) double(at **float64) error {
	if *at != nil {
		return errUnusual
	}
	n, err := r.s.Number()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(n), 64)
	*at = &f
	return err
}

func (r *callReader) acknowledge(a *scheduler.Call_Acknowledge) error {
	err := r.object(a, func(key []byte) error {
		switch string(key) {
		case "agent_id":
			return readMessage(&a.AgentId, func(m *mesosv1.AgentID) error { return r.id(m, &m.Value) })
		case "task_id":
			return readMessage(&a.TaskId, func(m *mesosv1.TaskID) error { return r.id(m, &m.Value) })
		case "uuid":
			if a.Uuid != nil {
				return errUnusual
			}
			text, err := r.s.Text()
			if err != nil {
				return err
			}
			a.Uuid, err = base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
			return err
		}
		return r.s.Field(a, key)
	})
	if err == nil && (a.AgentId == nil || a.TaskId == nil || a.Uuid == nil) {
		return errUnusual
	}
	return err
}

func (r *callReader) offerIDs(at *[]*mesosv1.OfferID) error {
	if *at != nil {
		return errUnusual
	}
	return r.s.Array(func(int) error {
		id := &mesosv1.OfferID{}
		*at = append(*at, id)
		return r.id(id, &id.Value)
	})
}

func (r *callReader) filters(f *mesosv1.Filters) error {
	return r.object(f, func(key []byte) error {
		if string(key) == "refuse_seconds" {
			return r.double(&f.RefuseSeconds)
		}
		return r.s.Field(f, key)
	})
}

func (r *callReader) decline(d *scheduler.Call_Decline) error {
	return r.object(d, func(key []byte) error {
		switch string(key) {
		case "offer_ids":
			return r.offerIDs(&d.OfferIds)
		case "filters":
			return readMessage(&d.Filters, r.filters)
		}
		return r.s.Field(d, key)
	})
}

func (r *callReader) accept(a *scheduler.Call_Accept) error {
	return r.object(a, func(key []byte) error {
		switch string(key) {
		case "offer_ids":
			return r.offerIDs(&a.OfferIds)
		case "filters":
			return readMessage(&a.Filters, r.filters)
		case "operations":
			if a.Operations != nil {
				return errUnusual
			}
			return r.s.Array(func(int) error {
				op := &mesosv1.Offer_Operation{}
				a.Operations = append(a.Operations, op)
				return r.operation(op)
			})
		}
		return r.s.Field(a, key)
	})
}

func (r *callReader) operation(op *mesosv1.Offer_Operation) error {
	return r.object(op, func(key []byte) error {
		switch string(key) {
		case "type":
			return readEnum(r, &op.Type, mesosv1.Offer_Operation_Type_value)
		case "launch":
			return readMessage(&op.Launch, func(l *mesosv1.Offer_Operation_Launch) error {
				return r.object(l, func(key []byte) error {
					if string(key) != "task_infos" || l.TaskInfos != nil {
						return errUnusual
					}
					return r.s.Array(func(int) error {
						t := &task{}
						l.TaskInfos = append(l.TaskInfos, &t.info)
						return r.task(t)
					})
				})
			})
		}
		return r.s.Field(op, key)
	})
}

// task is a TaskInfo with what every one has, allocated together.
type task struct {
	info    mesosv1.TaskInfo
	id      mesosv1.TaskID
	agent   mesosv1.AgentID
	command mesosv1.CommandInfo
}

func (r *callReader) task(t *task) error {
	info := &t.info
	err := r.object(info, func(key []byte) error {
		switch string(key) {
		case "name":
			return r.text(&info.Name)
		case "task_id":
			if info.TaskId != nil {
				return errUnusual
			}
			info.TaskId = &t.id
			return r.id(&t.id, &t.id.Value)
		case "agent_id":
			if info.AgentId != nil {
				return errUnusual
			}
			info.AgentId = &t.agent
			return r.id(&t.agent, &t.agent.Value)
		case "resources":
			if info.Resources != nil {
				return errUnusual
			}
			return r.s.Array(func(i int) error {
				if i == 0 {
					info.Resources = make([]*mesosv1.Resource, 0, 4)
				}
				p := &amount{}
				info.Resources = append(info.Resources, &p.resource)
				return r.resource(p)
			})
		case "command":
			if info.Command != nil {
				return errUnusual
			}
			info.Command = &t.command
			return r.command(&t.command)
		case "labels":
			return readMessage(&info.Labels, r.labels)
		}
		return r.s.Field(info, key)
	})
	if err == nil && (info.Name == nil || info.TaskId == nil || info.AgentId == nil) {
		return errUnusual
	}
	return err
}

func (r *callReader) command(c *mesosv1.CommandInfo) error {
	return r.object(c, func(key []byte) error {
		switch string(key) {
		case "value":
			return r.text(&c.Value)
		case "user":
			return r.text(&c.User)
		case "environment":
			return readMessage(&c.Environment, r.environment)
		case "shell":
			v := r.s.Word("true")
			if c.Shell != nil || !v && !r.s.Word("false") {
				return errUnusual
			}
			c.Shell = &v
			return nil
		case "arguments":
			if c.Arguments != nil {
				return errUnusual
			}
			return r.s.Array(func(int) error {
				s, err := r.s.SharedText(r.source)
				c.Arguments = append(c.Arguments, s)
				return err
			})
		}
		return r.s.Field(c, key)
	})
}

// amount is a scalar Resource, allocated together.
type amount struct {
	resource   mesosv1.Resource
	kind       mesosv1.Value_Type
	scalar     mesosv1.Value_Scalar
	allocation mesosv1.Resource_AllocationInfo
}

func (r *callReader) resource(p *amount) error {
	m := &p.resource
	err := r.object(m, func(key []byte) error {
		switch string(key) {
		case "name":
			return r.text(&m.Name)
		case "type":
			name, err := r.s.Text()
			n, ok := mesosv1.Value_Type_value[string(name)]
			if err != nil || !ok || m.Type != nil {
				return errUnusual
			}
			p.kind = mesosv1.Value_Type(n)
			m.Type = &p.kind
			return nil
		case "scalar":
			if m.Scalar != nil {
				return errUnusual
			}
			m.Scalar = &p.scalar
			err := r.object(m.Scalar, func(key []byte) error {
				if string(key) == "value" {
					return r.double(&p.scalar.Value)
				}
				return r.s.Field(m.Scalar, key)
			})
			if err == nil && p.scalar.Value == nil {
				return errUnusual
			}
			return err
		case "allocation_info":
			if m.AllocationInfo != nil {
				return errUnusual
			}
			m.AllocationInfo = &p.allocation
			return r.object(m.AllocationInfo, func(key []byte) error {
				if string(key) == "role" {
					return r.text(&p.allocation.Role)
				}
				return r.s.Field(m.AllocationInfo, key)
			})
		case "role":
			return r.text(&m.Role)
		case "ranges":
			return readMessage(&m.Ranges, r.ranges)
		}
		return r.s.Field(m, key)
	})
	if err == nil && (m.Name == nil || m.Type == nil) {
		return errUnusual
	}
	return err
}

// span is a Range, allocated together.
type span struct {
	bounds     mesosv1.Value_Range
	begin, end uint64
}

func (r *callReader) ranges(m *mesosv1.Value_Ranges) error {
	return r.object(m, func(key []byte) error {
		if string(key) != "range" || m.Range != nil {
			return errUnusual
		}
		return r.s.Array(func(int) error {
			p := &span{}
			m.Range = append(m.Range, &p.bounds)
			err := r.object(&p.bounds, func(key []byte) error {
				switch {
				case string(key) == "begin" && p.bounds.Begin == nil:
					p.bounds.Begin = &p.begin
					return r.whole(&p.begin)
				case string(key) == "end" && p.bounds.End == nil:
					p.bounds.End = &p.end
					return r.whole(&p.end)
				}
				return errUnusual
			})
			if err == nil && (p.bounds.Begin == nil || p.bounds.End == nil) {
				return errUnusual
			}
			return err
		})
	})
}

func (r *callReader) whole(at *uint64) error {
	n, err := r.s.Number()
	if err != nil {
		return err
	}
	*at, err = strconv.ParseUint(string(n), 10, 64)
	return err
}

func (r *callReader) labels(m *mesosv1.Labels) error {
	return r.object(m, func(key []byte) error {
		if string(key) != "labels" || m.Labels != nil {
			return errUnusual
		}
		return r.s.Array(func(int) error {
			l := &mesosv1.Label{}
			m.Labels = append(m.Labels, l)
			err := r.object(l, func(key []byte) error {
				switch string(key) {
				case "key":
					return r.text(&l.Key)
				case "value":
					return r.text(&l.Value)
				}
				return r.s.Field(l, key)
			})
			if err == nil && l.Key == nil {
				return errUnusual
			}
			return err
		})
	})
}

func (r *callReader) environment(m *mesosv1.Environment) error {
	return r.object(m, func(key []byte) error {
		if string(key) != "variables" || m.Variables != nil {
			return errUnusual
		}
		return r.s.Array(func(int) error {
			v := &mesosv1.Environment_Variable{}
			m.Variables = append(m.Variables, v)
			err := r.object(v, func(key []byte) error {
				switch string(key) {
				case "name":
					return r.text(&v.Name)
				case "value":
					return r.text(&v.Value)
				case "type":
					return readEnum(r, &v.Type, mesosv1.Environment_Variable_Type_value)
				}
				return r.s.Field(v, key)
			})
			if err == nil && v.Name == nil {
				return errUnusual
			}
			return err
		})
	})
}
