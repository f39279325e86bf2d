package operation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

func list(t *testing.T, text string) resource.List {
	t.Helper()
	l, err := resource.Parse(text, "*")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dynamic(l resource.List, role, principal string) resource.List {
	return l.PushReservation(resource.Reservation{Dynamic: true, Role: role, Principal: principal})
}

func volume(role, id, principal string, mb resource.Quantity, shared bool) resource.List {
	return resource.New(resource.Resource{Name: "disk", Scalar: mb * resource.One, Traits: &resource.Traits{
		Reservations: []resource.Reservation{{Dynamic: true, Role: role}},
		Disk:         &resource.Disk{PersistenceID: id, Principal: principal, Volume: &resource.Volume{ContainerPath: "d"}}, Shared: shared,
	}})
}

func every() []mesosv1.AgentInfo_Capability_Type {
	var all []mesosv1.AgentInfo_Capability_Type
	for c := mesosv1.AgentInfo_Capability_MULTI_ROLE; c <= mesosv1.AgentInfo_Capability_TASK_RESOURCE_LIMITS; c++ {
		all = append(all, c)
	}
	return all
}

func reserves(l resource.List) mesos.ResourceOperation {
	return mesos.ResourceOperation{Type: mesosv1.Offer_Operation_RESERVE, Change: resource.Change{Consumed: l.PopReservation(), Converted: l}}
}

func creates(l resource.List) mesos.ResourceOperation {
	return mesos.ResourceOperation{Type: mesosv1.Offer_Operation_CREATE, Change: resource.Change{Consumed: l.WithoutVolumes(), Converted: l}}
}

func destroys(l resource.List) mesos.ResourceOperation {
	return mesos.ResourceOperation{Type: mesosv1.Offer_Operation_DESTROY, Change: resource.Change{Consumed: l, Converted: l.WithoutVolumes()}}
}

func TestWhoMayChangeWhatWhere(t *testing.T) {
	total := list(t, "cpus:4;disk:90").Plus(volume("eng", "v", "", 10, false)).Plus(volume("eng", "busy", "", 10, true))
	place := Place{Total: total, Capabilities: every(), Used: func(role, id string) bool { return role == "eng" && id == "busy" }}
	bare := Place{Total: total, Used: place.Used}
	eng := Asker{Roles: []string{"eng", "eng/web"}, Role: "eng", Refined: true, Shared: true}
	cpus := list(t, "cpus:1")
	with := func(a Asker, change func(*Asker)) Asker { change(&a); return a }
	for _, c := range []struct {
		name  string
		op    mesos.ResourceOperation
		who   Asker
		where Place
		field string // of the refusal; empty when it may be
	}{
		{"a reservation for the offer's role", reserves(dynamic(cpus, "eng", "")), eng, bare, ""},
		{"for another of the framework's roles", reserves(dynamic(cpus, "eng/web", "")), eng, place, ".role"},
		{"for a stranger's role", reserves(dynamic(cpus, "ops", "")), with(eng, func(a *Asker) { a.Role = "ops" }), place, ".role"},
		{"for a role below, on an old agent", reserves(dynamic(cpus, "eng/web", "")), with(eng, func(a *Asker) { a.Role = "eng/web" }), bare, "HIERARCHICAL_ROLE"},
		{"by who has a principal and does not say so", reserves(dynamic(cpus, "eng", "")), with(eng, func(a *Asker) { a.Principal = "p" }), place, ".principal"},
		{"by who has a principal and says so", reserves(dynamic(cpus, "eng", "p")), with(eng, func(a *Asker) { a.Principal = "p" }), place, ""},
		{"in somebody else's name", reserves(dynamic(cpus, "eng", "q")), with(eng, func(a *Asker) { a.Principal = "p" }), place, ".principal"},
		{"a refined one", reserves(dynamic(dynamic(cpus, "eng", ""), "eng/web", "")), with(eng, func(a *Asker) { a.Role = "eng/web" }), place, ""},
		{"a refined one by who knows of none", reserves(dynamic(dynamic(cpus, "eng", ""), "eng/web", "")), with(eng, func(a *Asker) { a.Role, a.Refined = "eng/web", false }), place, "RESERVATION_REFINEMENT"},
		{"of what is allocated to another role", mesos.ResourceOperation{Type: mesosv1.Offer_Operation_UNRESERVE, Role: "ops"}, eng, place, "allocation_info.role"},
		{"a framework that moves reservations", mesos.ResourceOperation{Type: mesosv1.Offer_Operation_RESERVE, Moves: true}, eng, place, "reserve.source"},
		{"an operator's reservation for anybody", reserves(dynamic(cpus, "anybody", "")), Asker{Operator: true}, place, ""},
		{"a new volume", creates(volume("eng", "w", "", 1, false)), eng, place, ""},
		{"a volume with an id that is taken", creates(volume("eng", "v", "", 1, false)), eng, place, "persistence.id"},
		{"the same id in another role", creates(volume("ops", "v", "", 1, false)), eng, place, ""},
		{"a shared volume by who knows of none", creates(volume("eng", "w", "", 1, true)), with(eng, func(a *Asker) { a.Shared = false }), place, "SHARED_RESOURCES"},
		{"a volume in somebody else's name", creates(volume("eng", "w", "q", 1, false)), with(eng, func(a *Asker) { a.Principal = "p" }), place, "persistence.principal"},
		{"an end of a volume", destroys(volume("eng", "v", "", 10, false)), eng, bare, ""},
		{"an end of one that is not there", destroys(volume("eng", "w", "", 10, false)), eng, place, "no volume of this id"},
		{"an end of a part of one", destroys(volume("eng", "v", "", 5, false)), eng, place, "as it is there"},
		{"an end of one that is used", destroys(volume("eng", "busy", "", 10, true)), eng, place, "a task uses it"},
		{"growth on an old agent", mesos.ResourceOperation{Type: mesosv1.Offer_Operation_GROW_VOLUME}, eng, bare, "RESIZE_VOLUME"},
		{"growth of one that is not there", mesos.ResourceOperation{Type: mesosv1.Offer_Operation_GROW_VOLUME, Change: resource.Change{Consumed: volume("eng", "w", "", 1, false).Plus(list(t, "disk:1"))}}, eng, place, "no volume of this id"},
		{"shrinking", mesos.ResourceOperation{Type: mesosv1.Offer_Operation_SHRINK_VOLUME, Change: resource.Change{Consumed: volume("eng", "v", "", 10, false)}}, eng, place, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(c.op, c.who, c.where)
			switch {
			case c.field == "" && err != nil:
				t.Error(err)
			case c.field != "" && (err == nil || !strings.Contains(err.Error(), c.field)):
				t.Errorf("%v; want an error about %s", err, c.field)
			}
		})
	}
}

func TestAnAgentHasNoMoreKindsOfResourcesThanItMay(t *testing.T) {
	total := list(t, "cpus:4")
	for i := range MaxKinds - 1 {
		total = total.Plus(resource.New(resource.Resource{Name: "mem", Scalar: 1, Traits: &resource.Traits{Reservations: []resource.Reservation{{Dynamic: true, Role: fmt.Sprint("r", i)}}}}))
	}
	place := Place{Total: total, Capabilities: every(), Used: func(string, string) bool { return false }}
	if err := Check(reserves(dynamic(list(t, "cpus:4"), "eng", "")), Asker{Operator: true}, place); err != nil {
		t.Errorf("as many as before: %v", err)
	}
	if err := Check(reserves(dynamic(list(t, "cpus:1"), "eng", "")), Asker{Operator: true}, place); err == nil || !strings.Contains(err.Error(), "fewer labels") {
		t.Errorf("one more: %v", err)
	}
}
