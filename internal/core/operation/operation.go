// Package operation says whether an operation on an agent's resources may be carried out: the rules of Mesos that need to know
// who asks and what there is. What can be told of the operation alone, mesos.CheckOperation tells.
package operation

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// MaxKinds bounds how many different resources an agent may have, and MaxRanges into how many ranges those are cut: labels and ids make
// as many as somebody likes. A registration with more is refused.
const (
	MaxKinds  = 1000
	MaxRanges = 1000
)

// Asker is who asks for an operation. A framework asks for its part of an offer, an operator for what is free.
type Asker struct {
	Operator bool
	// Roles are the framework's, and Role the one that the offer is for.
	Roles []string
	Role  string
	// Principal is empty for who has none.
	Principal string
	// Refined and Shared are the framework's capabilities.
	Refined, Shared bool
}

// Place is the agent that is to carry it out.
type Place struct {
	Total        resource.List
	Capabilities []mesosv1.AgentInfo_Capability_Type
	// Used says whether a task has a volume, by role and persistence id.
	Used func(role, id string) bool
}

func (p Place) can(c mesosv1.AgentInfo_Capability_Type) bool {
	return slices.Contains(p.Capabilities, c)
}

// Standing is an error that comes from how the agent's resources stand, and not from what was asked for. The original counts so the
// volumes that are to change their size, and not those that are to be destroyed.
type Standing struct{ error }

// Check refuses an operation that breaks a rule. The error names the field and the way out.
func Check(o mesos.ResourceOperation, who Asker, at Place) error {
	if !who.Operator && o.Role != "" && o.Role != who.Role {
		return fmt.Errorf("allocation_info.role: the resources are allocated to %q, and the offer is for %q; use the offer's", o.Role, who.Role)
	}
	if o.Moves && !who.Operator {
		return errors.New("reserve.source: only an operator moves reservations; UNRESERVE, then RESERVE")
	}
	var err error
	switch o.Type {
	case mesosv1.Offer_Operation_RESERVE:
		err = reserve(o.Converted, who, at)
	case mesosv1.Offer_Operation_CREATE:
		err = create(o.Converted, who, at)
	case mesosv1.Offer_Operation_DESTROY:
		err = destroy(o.Consumed, at)
	case mesosv1.Offer_Operation_GROW_VOLUME, mesosv1.Offer_Operation_SHRINK_VOLUME:
		if !at.can(mesosv1.AgentInfo_Capability_RESIZE_VOLUME) {
			return errors.New("type: the agent cannot change the size of volumes (RESIZE_VOLUME); upgrade it")
		}
		if err = destroy(o.Consumed.PersistentVolumes(), at); err != nil {
			return &Standing{err}
		}
	default: // whatever is unreserved was there
	}
	if err != nil {
		return err
	}
	after := at.Total.Minus(o.Consumed).Plus(o.Converted)
	if n := len(after); n > MaxKinds && n > len(at.Total) {
		return fmt.Errorf("the agent has %d different reservations and volumes, and no more than %d may be; free some, or use fewer labels", len(at.Total), MaxKinds)
	}
	if n := ranges(after); n > MaxRanges && n > ranges(at.Total) {
		return fmt.Errorf("the agent's resources are cut into %d ranges, and no more than %d may be; reserve what is side by side", ranges(at.Total), MaxRanges)
	}
	return nil
}

func ranges(l resource.List) (n int) {
	for i := range l {
		n += len(l[i].Spans)
	}
	return n
}

func reserve(l resource.List, who Asker, at Place) error {
	for i := range l {
		stack := l[i].Traits.Reservations
		last := stack[len(stack)-1]
		field := fmt.Sprintf("reserve.resources (%q).reservations", l[i].Name)
		switch {
		case !who.Operator && last.Role != who.Role:
			return fmt.Errorf("%s.role: is %q, and the offer is for %q; reserve for the offer's role", field, last.Role, who.Role)
		case !who.Operator && !slices.Contains(who.Roles, last.Role):
			return fmt.Errorf("%s.role: the framework does not have the role %q; subscribe with it first", field, last.Role)
		case who.Principal != "" && last.Principal != who.Principal:
			return fmt.Errorf("%s.principal: is %q, and %q asks; a reservation names who makes it", field, last.Principal, who.Principal)
		case strings.Contains(last.Role, "/") && !at.can(mesosv1.AgentInfo_Capability_HIERARCHICAL_ROLE):
			return fmt.Errorf("%s.role: the agent does not know roles below others (HIERARCHICAL_ROLE); upgrade it", field)
		case len(stack) > 1 && !who.Operator && !who.Refined:
			return fmt.Errorf("%s: more than one needs the framework's capability RESERVATION_REFINEMENT; subscribe with it", field)
		case len(stack) > 1 && !at.can(mesosv1.AgentInfo_Capability_RESERVATION_REFINEMENT):
			return fmt.Errorf("%s: the agent does not know refined reservations (RESERVATION_REFINEMENT); upgrade it", field)
		}
	}
	return nil
}

func create(l resource.List, who Asker, at Place) error {
	for i := range l {
		v := &l[i]
		role, id := v.VolumeKey()
		field := fmt.Sprintf("create.volumes (%q)", id)
		switch {
		case at.Total.FindVolume(role, id) != nil:
			return fmt.Errorf("%s.disk.persistence.id: role %q has a volume of this id on the agent; choose another", field, role)
		case v.Shared() && !who.Operator && !who.Shared:
			return fmt.Errorf("%s.shared: needs the framework's capability SHARED_RESOURCES; subscribe with it, or leave it out", field)
		case who.Principal != "" && v.Traits.Disk.Principal != who.Principal:
			return fmt.Errorf("%s.disk.persistence.principal: is %q, and %q asks; a volume names who makes it", field, v.Traits.Disk.Principal, who.Principal)
		}
	}
	return nil
}

// destroy holds for all that changes a volume that there is.
func destroy(l resource.List, at Place) error {
	for i := range l {
		role, id := l[i].VolumeKey()
		there := at.Total.FindVolume(role, id)
		switch {
		case there == nil:
			return fmt.Errorf("volume %q: role %q has no volume of this id on the agent; see the agent's resources", id, role)
		case !at.Total.Contains(l[i : i+1]):
			return fmt.Errorf("volume %q: is %s on the agent, not %s; name it as it is there", id, resource.List{*there}, l[i:i+1])
		case at.Used(role, id):
			return fmt.Errorf("volume %q: a task uses it; wait for its end, or kill it", id)
		}
	}
	return nil
}
