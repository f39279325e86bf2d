package cluster

import (
	"fmt"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// every is what an agent of this version can do.
var every = []mesosv1.AgentInfo_Capability_Type{1, 2, 3, 4, 5, 6, 7, 8}

// part is resources as plays write them: "cpus:1;mem:2", reserved as "role/cpus:1", a volume of it as "role/id@disk:5", and one
// that is shared as "role/id!@disk:5".
func (s *stage) part(text string) resource.List {
	role, what, reserved := strings.Cut(text, "/")
	if !reserved {
		what = text
	}
	id, amount, isVolume := strings.Cut(what, "@")
	if !isVolume {
		amount = what
	}
	l, err := resource.Parse(amount, "*")
	if err != nil {
		s.t.Fatalf("%q: %v", text, err)
	}
	if reserved {
		l = l.PushReservation(resource.Reservation{Dynamic: true, Role: role})
	}
	if isVolume {
		t := &resource.Traits{Reservations: l[0].Traits.Reservations, Disk: &resource.Disk{PersistenceID: strings.TrimSuffix(id, "!"), Volume: &resource.Volume{ContainerPath: "d"}}}
		t.Shared = strings.HasSuffix(id, "!")
		l = resource.New(resource.Resource{Name: l[0].Name, Scalar: l[0].Scalar, Traits: t})
	}
	return l
}

// operation is one as plays write them: TYPE:id:resources, where "-" is no id; of GROW_VOLUME and SHRINK_VOLUME the volume, "=", and
// its new size.
func (s *stage) operation(text string) Operation {
	f := strings.SplitN(text, ":", 3)
	kind := mesosv1.Offer_Operation_Type(mesosv1.Offer_Operation_Type_value[f[0]])
	op := Operation{Type: kind, ID: strings.TrimPrefix(f[1], "-")}
	if words, invalid := strings.CutPrefix(f[2], "invalid"); invalid {
		op.Invalid = "it is invalid" + words
		return op
	}
	first, size, _ := strings.Cut(f[2], "=")
	l := s.resources(first)
	c := resource.Change{Consumed: l, Converted: l}
	switch kind {
	case mesosv1.Offer_Operation_RESERVE:
		c.Consumed = l.PopReservation()
	case mesosv1.Offer_Operation_UNRESERVE:
		c.Converted = l.PopReservation()
	case mesosv1.Offer_Operation_CREATE:
		c.Consumed = l.WithoutVolumes()
	case mesosv1.Offer_Operation_DESTROY:
		c.Converted = l.WithoutVolumes()
	case mesosv1.Offer_Operation_GROW_VOLUME, mesosv1.Offer_Operation_SHRINK_VOLUME:
		to, diff := l[0], l[0]
		to.Scalar = resource.Quantity(s.number(size, 0)) * resource.One
		if kind == mesosv1.Offer_Operation_GROW_VOLUME {
			diff.Scalar = to.Scalar - l[0].Scalar
			c = resource.Change{Consumed: l.Plus(resource.New(diff).WithoutVolumes()), Converted: resource.New(to)}
		} else {
			diff.Scalar = l[0].Scalar - to.Scalar
			c = resource.Change{Consumed: l, Converted: resource.New(to).Plus(resource.New(diff).WithoutVolumes())}
		}
	default: // it changes nothing
	}
	op.Change = &Change{ResourceOperation: mesos.ResourceOperation{Type: kind, Change: c}, Info: []byte(text)}
	return op
}

// ended are operations as an agent tells of them: id:STATE:uuid; one that the book does not know has the uuid "other".
func (s *stage) ended(fw string, texts []string) (all []OperationEnd) {
	for _, text := range texts {
		f := strings.Split(text, ":")
		e := OperationEnd{UUID: "other", Framework: fw, ID: f[0], State: mesosv1.OperationState(mesosv1.OperationState_value["OPERATION_"+f[1]]), Status: f[2]}
		if f[0] == "-" {
			e.ID = ""
		}
		s.book.operations.Ordered().Scan(func(o *AgentOperation) bool {
			if o.ID == e.ID {
				e.UUID, e.Framework = o.UUID, o.Framework
			}
			return true
		})
		all = append(all, e)
	}
	return all
}

func (s *stage) sayOperation(body any) string {
	switch b := body.(type) {
	case Apply:
		return fmt.Sprintf("apply %s of %q", b.Operation.Info, b.Operation.Framework)
	case OperationAck:
		return "ack operation " + b.UUID
	case OperationUpdate:
		words := fmt.Sprintf("OPERATION %s %s", b.Operation, b.State)
		if b.Agent != "" {
			words += " of " + b.Agent
		}
		if b.UUID != "" {
			words += " uuid " + b.UUID
		}
		if b.Message != "" {
			words += ": " + b.Message
		}
		return words
	}
	return fmt.Sprintf("%T", body)
}
