package mesos

import (
	"errors"
	"fmt"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// ResourceOperation is an operation that changes what an agent's resources are: RESERVE, UNRESERVE, CREATE, DESTROY,
// GROW_VOLUME or SHRINK_VOLUME.
type ResourceOperation struct {
	resource.Change
	Type mesosv1.Offer_Operation_Type
	// Role is the one that its resources are allocated to, "" when none says so.
	Role string
	// Moves tells that it is a RESERVE with a source: it moves reservations instead of adding a layer.
	Moves bool
}

// CheckOperation reads an operation on resources, in either format of reservations, and tells whether it makes sense, as far
// as that can be told without knowing who asks and what there is. Errors name the field.
func CheckOperation(op *mesosv1.Offer_Operation) (ResourceOperation, error) {
	o := ResourceOperation{Type: op.GetType()}
	var err error
	switch op.GetType() {
	case mesosv1.Offer_Operation_RESERVE:
		err = o.reserve(op.GetReserve())
	case mesosv1.Offer_Operation_UNRESERVE:
		err = o.unreserve(op.GetUnreserve().GetResources())
	case mesosv1.Offer_Operation_CREATE:
		o.Converted, err = o.volumes("create.volumes", op.GetCreate().GetVolumes())
		o.Consumed = o.Converted.WithoutVolumes()
	case mesosv1.Offer_Operation_DESTROY:
		o.Consumed, err = o.volumes("destroy.volumes", op.GetDestroy().GetVolumes())
		o.Converted = o.Consumed.WithoutVolumes()
	case mesosv1.Offer_Operation_GROW_VOLUME:
		err = o.grow(op.GetGrowVolume())
	case mesosv1.Offer_Operation_SHRINK_VOLUME:
		err = o.shrink(op.GetShrinkVolume())
	case mesosv1.Offer_Operation_CREATE_DISK, mesosv1.Offer_Operation_DESTROY_DISK:
		err = fmt.Errorf("type: %v is for disks of resource providers, which this version of Pando does not have yet; use the agent's own disks", op.GetType())
	default:
		err = fmt.Errorf("type: %v is not known; use an operation of Mesos 1.11", op.GetType())
	}
	if err == nil {
		err = o.noProvider()
	}
	return o, err
}

// noProvider refuses what belongs to resource providers.
func (o *ResourceOperation) noProvider() error {
	for _, l := range []resource.List{o.Consumed, o.Converted} {
		for i := range l {
			if t := l[i].Traits; t != nil && t.Provider != "" {
				return fmt.Errorf("provider_id: %q is a resource provider, and this version of Pando does not have them yet; use the agent's own resources", t.Provider)
			}
		}
	}
	return nil
}

// list reads the resources of a field.
func (o *ResourceOperation) list(field string, rs []*mesosv1.Resource) (resource.List, error) {
	l, role, err := resource.FromProto(rs)
	switch {
	case err != nil:
		return nil, at(field, err)
	case l.IsEmpty():
		return nil, fmt.Errorf("%s: is empty; name the resources", field)
	case o.Role != "" && role != "" && o.Role != role:
		return nil, fmt.Errorf("%s: is allocated to %q, and other resources of the operation to %q; use resources of one offer", field, role, o.Role)
	case role != "":
		o.Role = role
	}
	return l, nil
}

func (o *ResourceOperation) reserve(r *mesosv1.Offer_Operation_Reserve) (err error) {
	if o.Converted, err = o.list("reserve.resources", r.GetResources()); err != nil {
		return err
	}
	for i := range o.Converted {
		x := &o.Converted[i]
		switch {
		case x.PersistenceID() != "":
			return fmt.Errorf("reserve.resources (%q).disk.persistence: a volume is on reserved disk already; reserve the disk, then CREATE the volume", x.Name)
		case x.Revocable():
			return fmt.Errorf("reserve.resources (%q).revocable: what is revocable cannot be reserved; use other resources", x.Name)
		case !x.Reserved() || !newest(x).Dynamic:
			return fmt.Errorf("reserve.resources (%q).reservations: the last one must be DYNAMIC; say with it for whom the resource is reserved", x.Name)
		}
	}
	if len(r.GetSource()) == 0 {
		o.Consumed = o.Converted.PopReservation()
		return nil
	}
	o.Moves = true
	if o.Consumed, err = o.list("reserve.source", r.GetSource()); err != nil {
		return err
	}
	if len(o.Consumed.PersistentVolumes()) > 0 {
		return errors.New("reserve.source: holds a persistent volume; DESTROY it first")
	}
	if !o.Consumed.Original().Equal(o.Converted.Original()) {
		return fmt.Errorf("reserve.source: holds other resources (%s) than reserve.resources (%s); name the same, reserved otherwise", o.Consumed, o.Converted)
	}
	return nil
}

// newest is a reserved resource's last layer.
func newest(r *resource.Resource) resource.Reservation {
	return r.Traits.Reservations[len(r.Traits.Reservations)-1]
}

func (o *ResourceOperation) unreserve(rs []*mesosv1.Resource) (err error) {
	if o.Consumed, err = o.list("unreserve.resources", rs); err != nil {
		return err
	}
	for i := range o.Consumed {
		x := &o.Consumed[i]
		switch {
		case !x.Reserved() || !newest(x).Dynamic:
			return fmt.Errorf("unreserve.resources (%q): is not dynamically reserved; name resources as the offer has them", x.Name)
		case x.PersistenceID() != "":
			return fmt.Errorf("unreserve.resources (%q).disk.persistence: the volume %q is on it; DESTROY that first", x.Name, x.PersistenceID())
		}
	}
	o.Converted = o.Consumed.PopReservation()
	return nil
}

// volumes reads persistent volumes, each of which has an id and a place.
func (o *ResourceOperation) volumes(field string, rs []*mesosv1.Resource) (resource.List, error) {
	l, err := o.list(field, rs)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range l {
		x := &l[i]
		if x.PersistenceID() == "" {
			return nil, fmt.Errorf("%s (%q).disk.persistence: is missing; give each volume an id", field, x.Name)
		}
		if err := CheckDisk(x); err != nil {
			return nil, at(field, err)
		}
		d := x.Traits.Disk
		switch key := x.Role() + "\x00" + d.PersistenceID; {
		case seen[key]:
			return nil, fmt.Errorf("%s (%q).disk.persistence.id: %q is there twice; name each volume once", field, x.Name, d.PersistenceID)
		case d.Volume.ReadOnly:
			return nil, fmt.Errorf("%s (%q).disk.volume.mode: is RO; a volume is made RW, and used RO by a task that says so", field, x.Name)
		case len(d.Volume.Rest) > 0:
			return nil, fmt.Errorf("%s (%q).disk.volume: has an image or a source; a persistent volume has neither", field, x.Name)
		default:
			seen[key] = true
		}
	}
	return l, nil
}

// one reads the volume that grows or shrinks.
func (o *ResourceOperation) one(field string, v *mesosv1.Resource) (*resource.Resource, error) {
	if v == nil {
		return nil, fmt.Errorf("%s: is missing; name the volume", field)
	}
	l, err := o.volumes(field, []*mesosv1.Resource{v})
	if err != nil {
		return nil, err
	}
	switch {
	case l[0].Shared():
		return nil, fmt.Errorf("%s.shared: the size of a shared volume cannot change; make another volume", field)
	case l[0].Traits.Disk.Source.Kind == resource.MountDisk:
		return nil, fmt.Errorf("%s.disk.source: a volume on a MOUNT disk has the size of that; use a ROOT or PATH disk", field)
	}
	return &l[0], nil
}

// resized is a volume of another size.
func resized(v *resource.Resource, size resource.Quantity) resource.List {
	n := *v
	n.Scalar = size
	return resource.New(n)
}

func (o *ResourceOperation) grow(g *mesosv1.Offer_Operation_GrowVolume) error {
	v, err := o.one("grow_volume.volume", g.GetVolume())
	if err != nil {
		return err
	}
	if g.GetAddition() == nil {
		return errors.New("grow_volume.addition: is missing; say with which disk the volume grows")
	}
	more, err := o.list("grow_volume.addition", []*mesosv1.Resource{g.GetAddition()})
	if err != nil {
		return err
	}
	if like := resized(v, more[0].Scalar).WithoutVolumes(); !like.Equal(more) {
		return fmt.Errorf("grow_volume.addition: is %s, and the volume is on disk like %s; use disk with the same reservations and source", more, like)
	}
	o.Consumed, o.Converted = resource.New(*v).Plus(more), resized(v, v.Scalar+more[0].Scalar)
	if o.Converted[0].Scalar > resource.MaxQuantity {
		return fmt.Errorf("grow_volume.addition: the volume would be larger than %v; give less", resource.MaxQuantity)
	}
	return nil
}

func (o *ResourceOperation) shrink(s *mesosv1.Offer_Operation_ShrinkVolume) error {
	v, err := o.one("shrink_volume.volume", s.GetVolume())
	if err != nil {
		return err
	}
	less, err := resource.FromFloat(s.GetSubtract().GetValue())
	switch {
	case err != nil:
		return at("shrink_volume.subtract", err)
	case less == 0:
		return errors.New("shrink_volume.subtract: is 0; say by how much the volume shrinks")
	case less >= v.Scalar:
		return fmt.Errorf("shrink_volume.subtract: is %v, and the volume has %v; leave some of it, or DESTROY it", less, v.Scalar)
	}
	o.Consumed = resource.New(*v)
	o.Converted = resized(v, v.Scalar-less).Plus(resized(v, less).WithoutVolumes())
	return nil
}

// Refined is an operation with its resources in the format after refinement, allocated to a role unless that is "". It was
// checked. Nothing of op is changed.
func Refined(op *mesosv1.Offer_Operation, role string) *mesosv1.Offer_Operation {
	list := func(rs []*mesosv1.Resource) []*mesosv1.Resource {
		l, _, err := resource.FromProto(rs)
		if err != nil {
			return rs // CheckOperation has read them
		}
		return l.ToProto(role, resource.PostRefinement)
	}
	one := func(r *mesosv1.Resource) *mesosv1.Resource {
		if all := list([]*mesosv1.Resource{r}); len(all) == 1 {
			return all[0]
		}
		return r
	}
	out := &mesosv1.Offer_Operation{Type: op.Type, Id: op.Id}
	switch {
	case op.Reserve != nil:
		out.Reserve = &mesosv1.Offer_Operation_Reserve{Source: list(op.Reserve.Source), Resources: list(op.Reserve.Resources)}
	case op.Unreserve != nil:
		out.Unreserve = &mesosv1.Offer_Operation_Unreserve{Resources: list(op.Unreserve.Resources)}
	case op.Create != nil:
		out.Create = &mesosv1.Offer_Operation_Create{Volumes: list(op.Create.Volumes)}
	case op.Destroy != nil:
		out.Destroy = &mesosv1.Offer_Operation_Destroy{Volumes: list(op.Destroy.Volumes)}
	case op.GrowVolume != nil:
		out.GrowVolume = &mesosv1.Offer_Operation_GrowVolume{Volume: one(op.GrowVolume.Volume), Addition: one(op.GrowVolume.Addition)}
	case op.ShrinkVolume != nil:
		out.ShrinkVolume = &mesosv1.Offer_Operation_ShrinkVolume{Volume: one(op.ShrinkVolume.Volume), Subtract: op.ShrinkVolume.Subtract}
	}
	return out
}
