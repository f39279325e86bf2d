package resource

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
)

// Format is one of the ways in which Mesos writes reservations.
type Format uint8

const (
	// PostRefinement writes the stack of reservations: what frameworks with
	// RESERVATION_REFINEMENT and the operator API speak.
	PostRefinement Format = iota
	// PreRefinement writes `role` and `reservation`; what is unreserved has the role "*". It
	// cannot say refined reservations; those are written as a stack all the same, so leave them
	// out first (WithoutRefined).
	PreRefinement
	// Endpoint writes both, as the *_full members of the v0 endpoints do.
	Endpoint
)

// FromProto reads resources in either format, and the role that they are allocated to ("" when
// none says so; those that do not say are taken to be of the role that the others name). Empty
// resources are dropped. Refused, with the field's name: an amount that is negative, not a number
// or above MaxQuantity, a value that does not go with the type, ranges that overlap, items given
// twice, an impossible stack of reservations, and resources allocated to different roles.
func FromProto(rs []*mesosv1.Resource) (l List, allocationRole string, err error) {
	if len(rs) == 0 {
		return nil, "", nil
	}
	l = make(List, 0, len(rs))
	for i, p := range rs {
		if p == nil {
			return nil, "", fmt.Errorf("resources[%d]: is nil; leave it out", i)
		}
		if a := p.AllocationInfo; a != nil && a.GetRole() != "" {
			switch {
			case allocationRole == "":
				allocationRole = a.GetRole()
				if err := CheckRole(allocationRole); err != nil {
					return nil, "", fmt.Errorf("resources[%d].allocation_info.role: %w", i, err)
				}
			case allocationRole != a.GetRole():
				return nil, "", fmt.Errorf("resources[%d].allocation_info.role: is %q where another resource has %q; use resources of one role together", i, a.GetRole(), allocationRole)
			}
		}
		r, err := fromProto(p)
		if err != nil {
			return nil, "", fmt.Errorf("resources[%d] (%q).%w", i, p.GetName(), err)
		}
		if r.IsEmpty() {
			continue
		}
		if n := len(l); n > 0 && compareTraits(l[n-1].Traits, r.Traits) == 0 && sameUse(l[n-1].Traits, r.Traits) {
			r.Traits = l[n-1].Traits
		}
		l = append(l, r)
	}
	return canonical(l), allocationRole, nil
}

// sameUse tells whether traits that are alike also agree in what does not tell them apart.
func sameUse(a, b *Traits) bool { return a == b || a.Disk == nil && b.Disk == nil }

func fromProto(p *mesosv1.Resource) (Resource, error) {
	r := Resource{Name: p.GetName()}
	if r.Name == "" {
		return r, errors.New("name: is empty; give a name like \"cpus\"")
	}
	if p.Type == nil {
		return r, errors.New("type: is missing; give SCALAR, RANGES or SET")
	}
	if err := r.setValue(p); err != nil {
		return r, err
	}
	t, err := traitsFromProto(p)
	r.Traits = t
	return r, err
}

func (r *Resource) setValue(p *mesosv1.Resource) (err error) {
	stray := func(kind string) error {
		return fmt.Errorf("type: %s must come with the member of that kind and no other; correct the type or the value", kind)
	}
	switch p.GetType() {
	case mesosv1.Value_SCALAR:
		if p.Scalar == nil || p.Ranges != nil || p.Set != nil {
			return stray("SCALAR")
		}
		r.Kind = Scalar
		if r.Scalar, err = FromFloat(p.Scalar.GetValue()); err != nil {
			return fmt.Errorf("scalar.value: %w", err)
		}
	case mesosv1.Value_RANGES:
		if p.Ranges == nil || p.Scalar != nil || p.Set != nil {
			return stray("RANGES")
		}
		r.Kind = Ranges
		spans := make([]Span, len(p.Ranges.Range))
		for i, s := range p.Ranges.Range {
			spans[i] = Span{s.GetBegin(), s.GetEnd()}
		}
		if r.Spans, err = newSpans(spans); err != nil {
			return fmt.Errorf("ranges: %w", err)
		}
	case mesosv1.Value_SET:
		if p.Set == nil || p.Scalar != nil || p.Ranges != nil {
			return stray("SET")
		}
		r.Kind = Set
		if r.Items, err = newItems(p.Set.Item); err != nil {
			return fmt.Errorf("set: %w", err)
		}
	default:
		return fmt.Errorf("type: %v is no type of a resource; use SCALAR, RANGES or SET", p.GetType())
	}
	return nil
}

func traitsFromProto(p *mesosv1.Resource) (*Traits, error) {
	reservations, err := reservationsFromProto(p)
	if err != nil {
		return nil, err
	}
	if reservations == nil && p.Disk == nil && p.Revocable == nil && p.Shared == nil && p.ProviderId == nil {
		return nil, nil
	}
	t := &Traits{Reservations: reservations, Revocable: p.Revocable != nil, Shared: p.Shared != nil, Provider: p.ProviderId.GetValue()}
	if p.Disk != nil {
		if p.GetName() != "disk" || p.GetType() != mesosv1.Value_SCALAR {
			return nil, errors.New("disk: only the scalar \"disk\" may have it; leave it out")
		}
		if t.Disk, err = diskFromProto(p.Disk); err != nil {
			return nil, err
		}
	}
	if t.Shared && (t.Disk == nil || t.Disk.PersistenceID == "") {
		return nil, errors.New("shared: only persistent volumes can be shared; leave it out")
	}
	return NewTraits(t), nil
}

func reservationsFromProto(p *mesosv1.Resource) ([]Reservation, error) {
	if len(p.Reservations) == 0 {
		role := p.GetRole() // "*" by default
		if role == "*" {
			if p.Reservation != nil {
				return nil, errors.New("reservation: the role \"*\" cannot reserve; set role to the role that does")
			}
			return nil, nil
		}
		if err := CheckRole(role); err != nil {
			return nil, fmt.Errorf("role: %w", err)
		}
		r := Reservation{Role: role}
		if v := p.Reservation; v != nil {
			if v.Role != nil && v.GetRole() != role || v.Type != nil && v.GetType() != mesosv1.Resource_ReservationInfo_DYNAMIC {
				return nil, errors.New("reservation: beside `role` it may hold a principal and labels only; or use `reservations`")
			}
			r.Dynamic, r.Principal, r.Labels = true, v.GetPrincipal(), labelsFromProto(v.Labels)
		}
		return []Reservation{r}, nil
	}
	stack := make([]Reservation, len(p.Reservations))
	for i, v := range p.Reservations {
		switch v.GetType() {
		case mesosv1.Resource_ReservationInfo_DYNAMIC:
		case mesosv1.Resource_ReservationInfo_STATIC:
			if i > 0 {
				return nil, fmt.Errorf("reservations[%d].type: only the first reservation may be STATIC; use DYNAMIC", i)
			}
		default:
			return nil, fmt.Errorf("reservations[%d].type: is missing; give STATIC or DYNAMIC", i)
		}
		role := v.GetRole()
		if err := CheckRole(role); err != nil {
			return nil, fmt.Errorf("reservations[%d].role: %w", i, err)
		}
		if role == "*" {
			return nil, fmt.Errorf("reservations[%d].role: the role \"*\" cannot reserve; name another", i)
		}
		if i > 0 && !IsAncestor(stack[i-1].Role, role) {
			return nil, fmt.Errorf("reservations[%d].role: %q does not lie below %q, which it refines; name a child of it", i, role, stack[i-1].Role)
		}
		stack[i] = Reservation{Dynamic: v.GetType() == mesosv1.Resource_ReservationInfo_DYNAMIC, Role: role, Principal: v.GetPrincipal(), Labels: labelsFromProto(v.Labels)}
	}
	if p.Role != nil && p.GetRole() != stack[len(stack)-1].Role {
		return nil, fmt.Errorf("role: is %q, but the newest of `reservations` is of %q; leave `role` out", p.GetRole(), stack[len(stack)-1].Role)
	}
	return stack, nil
}

func labelsFromProto(p *mesosv1.Labels) []Label {
	var out []Label
	for _, l := range p.GetLabels() {
		out = append(out, Label{l.GetKey(), l.GetValue(), l.Value != nil})
	}
	return out
}

func diskFromProto(p *mesosv1.Resource_DiskInfo) (*Disk, error) {
	d := &Disk{PersistenceID: p.GetPersistence().GetId(), Principal: p.GetPersistence().GetPrincipal()}
	if p.Persistence != nil && d.PersistenceID == "" {
		return nil, errors.New("disk.persistence.id: is empty; give the volume an id")
	}
	if v := p.Volume; v != nil {
		d.Volume = &Volume{ContainerPath: v.GetContainerPath(), HostPath: v.GetHostPath(), ReadOnly: v.GetMode() == mesosv1.Volume_RO}
		if v.Image != nil || v.Source != nil {
			rest, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(&mesosv1.Volume{Image: v.Image, Source: v.Source})
			if err != nil {
				return nil, fmt.Errorf("disk.volume: %w", err)
			}
			d.Volume.Rest = rest
		}
	}
	if s := p.Source; s != nil {
		d.Source = Source{Kind: SourceKind(s.GetType()), Vendor: s.GetVendor(), ID: s.GetId(), Profile: s.GetProfile(), Metadata: labelsFromProto(s.Metadata)}
		switch s.GetType() {
		case mesosv1.Resource_DiskInfo_Source_PATH:
			d.Source.Root, d.Source.HasPlace = s.GetPath().GetRoot(), s.Path != nil
		case mesosv1.Resource_DiskInfo_Source_MOUNT:
			d.Source.Root, d.Source.HasPlace = s.GetMount().GetRoot(), s.Mount != nil
		case mesosv1.Resource_DiskInfo_Source_BLOCK, mesosv1.Resource_DiskInfo_Source_RAW:
		default:
			return nil, errors.New("disk.source.type: is missing; give PATH, MOUNT, BLOCK or RAW")
		}
	}
	return d, nil
}

// ToProto writes l as messages that nobody else has. An allocationRole of "" leaves allocation_info out.
func (l List) ToProto(allocationRole string, f Format) []*mesosv1.Resource {
	if len(l) == 0 {
		return nil
	}
	out := make([]*mesosv1.Resource, len(l))
	for i := range l {
		r := &l[i]
		p := r.Traits.toProto(f)
		p.Name = new(r.Name)
		switch r.Kind {
		case Scalar:
			p.Type = mesosv1.Value_SCALAR.Enum()
			p.Scalar = &mesosv1.Value_Scalar{Value: new(r.Scalar.Float())}
		case Ranges:
			p.Type = mesosv1.Value_RANGES.Enum()
			p.Ranges = &mesosv1.Value_Ranges{}
			for _, s := range r.Spans {
				p.Ranges.Range = append(p.Ranges.Range, &mesosv1.Value_Range{Begin: new(s.Begin), End: new(s.End)})
			}
		case Set:
			p.Type = mesosv1.Value_SET.Enum()
			p.Set = &mesosv1.Value_Set{Item: append([]string(nil), r.Items...)}
		}
		if allocationRole != "" {
			p.AllocationInfo = &mesosv1.Resource_AllocationInfo{Role: new(allocationRole)}
		}
		out[i] = p
	}
	return out
}

func (t *Traits) toProto(f Format) *mesosv1.Resource {
	p := &mesosv1.Resource{}
	if t == nil {
		if f != PostRefinement {
			p.Role = new("*")
		}
		return p
	}
	if n := len(t.Reservations); f != PostRefinement && n < 2 {
		p.Role = new(t.Role())
		if n == 1 && t.Reservations[0].Dynamic {
			p.Reservation = &mesosv1.Resource_ReservationInfo{Principal: text(t.Reservations[0].Principal), Labels: labelsToProto(t.Reservations[0].Labels)}
		}
	}
	if f != PreRefinement || len(t.Reservations) > 1 {
		for i := range t.Reservations {
			r := &t.Reservations[i]
			kind := mesosv1.Resource_ReservationInfo_STATIC
			if r.Dynamic {
				kind = mesosv1.Resource_ReservationInfo_DYNAMIC
			}
			p.Reservations = append(p.Reservations, &mesosv1.Resource_ReservationInfo{Type: kind.Enum(), Role: new(r.Role), Principal: text(r.Principal), Labels: labelsToProto(r.Labels)})
		}
	}
	p.Disk = t.Disk.toProto()
	if t.Revocable {
		p.Revocable = &mesosv1.Resource_RevocableInfo{}
	}
	if t.Shared {
		p.Shared = &mesosv1.Resource_SharedInfo{}
	}
	if t.Provider != "" {
		p.ProviderId = &mesosv1.ResourceProviderID{Value: new(t.Provider)}
	}
	return p
}

func (d *Disk) toProto() *mesosv1.Resource_DiskInfo {
	if d == nil {
		return nil
	}
	p := &mesosv1.Resource_DiskInfo{}
	if d.PersistenceID != "" {
		p.Persistence = &mesosv1.Resource_DiskInfo_Persistence{Id: new(d.PersistenceID), Principal: text(d.Principal)}
	}
	if v := d.Volume; v != nil {
		p.Volume = &mesosv1.Volume{}
		if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(v.Rest, p.Volume); err != nil {
			p.Volume = &mesosv1.Volume{} // a Rest that is no Volume says nothing
		}
		p.Volume.ContainerPath, p.Volume.HostPath, p.Volume.Mode = new(v.ContainerPath), text(v.HostPath), mesosv1.Volume_RW.Enum()
		if v.ReadOnly {
			p.Volume.Mode = mesosv1.Volume_RO.Enum()
		}
	}
	if s := &d.Source; s.Kind != RootDisk {
		p.Source = &mesosv1.Resource_DiskInfo_Source{Type: mesosv1.Resource_DiskInfo_Source_Type(s.Kind).Enum(), Vendor: text(s.Vendor), Id: text(s.ID), Profile: text(s.Profile), Metadata: labelsToProto(s.Metadata)}
		switch {
		case s.HasPlace && s.Kind == PathDisk:
			p.Source.Path = &mesosv1.Resource_DiskInfo_Source_Path{Root: text(s.Root)}
		case s.HasPlace && s.Kind == MountDisk:
			p.Source.Mount = &mesosv1.Resource_DiskInfo_Source_Mount{Root: text(s.Root)}
		}
	}
	return p
}

func labelsToProto(labels []Label) *mesosv1.Labels {
	if len(labels) == 0 {
		return nil
	}
	p := &mesosv1.Labels{}
	for _, l := range labels {
		q := &mesosv1.Label{Key: new(l.Key)}
		if l.HasValue {
			q.Value = new(l.Value)
		}
		p.Labels = append(p.Labels, q)
	}
	return p
}

// text is s as an optional field, unset when empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return new(s)
}
