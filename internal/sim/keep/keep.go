// Package keep is what a simulated cluster knows of reservations, volumes and operations beside its books: what an operation
// changes, what lies on a machine's disk, and what must have become of both.
package keep

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Ledger is that of one cluster.
type Ledger struct {
	fail    func(rule, format string, args ...any)
	changes map[string]resource.Change // by Info
	applied map[string]bool            // by the operation's uuid
	lives   map[seat]*life
	kept    map[string]resource.List // by machine, what its disk says last
}

// seat is a volume's name on a machine.
type seat struct{ machine, role, id string }

// life is one volume, from its CREATE to its DESTROY.
type life struct {
	size    resource.Quantity
	written string // by whom last
}

// New makes the ledger of a cluster. What it finds wrong it tells fail, which takes the name of a rule first.
func New(fail func(rule, format string, args ...any)) *Ledger {
	return &Ledger{fail: fail, changes: map[string]resource.Change{}, applied: map[string]bool{}, lives: map[seat]*life{}, kept: map[string]resource.List{}}
}

// Operation makes one that an ACCEPT carries, or an operator asks for. Its Info is like no other's.
func (k *Ledger) Operation(kind mesosv1.Offer_Operation_Type, c resource.Change) cluster.Operation {
	info := fmt.Sprintf("%s#%d", kind, len(k.changes))
	k.changes[info] = c
	return cluster.Operation{Type: kind, Change: &cluster.Change{ResourceOperation: mesos.ResourceOperation{Type: kind, Change: c}, Info: []byte(info)}}
}

// ChangeOf is what an operation changes, by its Info.
func (k *Ledger) ChangeOf(info []byte) resource.Change { return k.changes[string(info)] }

// Reserve reserves something unreserved for a role.
func (k *Ledger) Reserve(what resource.List, role string) cluster.Operation {
	made := what.PushReservation(resource.Reservation{Dynamic: true, Role: role})
	return k.Operation(mesosv1.Offer_Operation_RESERVE, resource.Change{Consumed: what, Converted: made})
}

// Unreserve undoes the last reservation of what no volume is made of.
func (k *Ledger) Unreserve(what resource.List) cluster.Operation {
	return k.Operation(mesosv1.Offer_Operation_UNRESERVE, resource.Change{Consumed: what, Converted: what.PopReservation()})
}

// Create makes a volume of reserved disk.
func (k *Ledger) Create(disk resource.Resource, id string, shared bool) cluster.Operation {
	was := resource.List{disk}
	disk.Traits = resource.NewTraits(&resource.Traits{
		Reservations: disk.Traits.Reservations, Disk: &resource.Disk{PersistenceID: id, Volume: &resource.Volume{ContainerPath: "data"}}, Shared: shared,
	})
	return k.Operation(mesosv1.Offer_Operation_CREATE, resource.Change{Consumed: was, Converted: resource.List{disk}})
}

// Destroy ends a volume.
func (k *Ledger) Destroy(volume resource.Resource) cluster.Operation {
	l := resource.List{volume}
	return k.Operation(mesosv1.Offer_Operation_DESTROY, resource.Change{Consumed: l, Converted: l.WithoutVolumes()})
}

// Undo is the operation with which something that is kept begins to go.
func (k *Ledger) Undo(r resource.Resource) cluster.Operation {
	if r.PersistenceID() != "" {
		return k.Destroy(r)
	}
	return k.Unreserve(resource.List{r})
}

// For sees that what is offered or given in a role is for that role: unreserved, or reserved to it or to one above it.
func (k *Ledger) For(role string, what resource.List, who string) {
	for i := range what {
		if r := &what[i]; r.Reserved() && r.Role() != role && !strings.HasPrefix(role, r.Role()+"/") {
			k.fail(rule.Stranger, "%s has %s in role %s", who, resource.List{*r}, role)
		}
	}
}

// Durable looks at records that have come to a machine's disk.
func (k *Ledger) Durable(machine string, records []workload.Record) {
	for i := range records {
		e := records[i].OperationEnded
		if e == nil {
			continue
		}
		op := e.Operation
		if e.Kept == nil {
			continue
		}
		if k.applied[op.UUID] {
			k.fail(rule.Once, "%s applies %s of %s twice", machine, op.Info, op.Framework)
		}
		k.applied[op.UUID], k.kept[machine] = true, e.Kept.Resources
		for _, v := range op.Consumed.PersistentVolumes() {
			role, id := v.VolumeKey()
			if op.Converted.FindVolume(role, id) == nil {
				delete(k.lives, seat{machine, role, id})
			}
		}
		for _, v := range op.Converted.PersistentVolumes() {
			role, id := v.VolumeKey()
			if op.Consumed.FindVolume(role, id) == nil {
				k.lives[seat{machine, role, id}] = &life{size: v.Scalar}
			}
		}
	}
}

// Returned looks at what a machine's agent finds that it has kept when it starts, and has its disk swept.
func (k *Ledger) Returned(machine string, found workload.Kept, d *Disk) {
	if want := k.kept[machine]; !want.Equal(found.Resources) {
		k.fail(rule.Volumes, "%s comes back with %s kept, and %s was there", machine, found.Resources, want)
	}
	d.Sweep(found.Doomed)
}

// Wiped says that a machine has lost all that it kept.
func (k *Ledger) Wiped(machine string) {
	delete(k.kept, machine)
	for s := range k.lives {
		if s.machine == machine {
			delete(k.lives, s)
		}
	}
}

// Started looks at something that starts on a machine with the volumes among what it has, beside others that run there, and has
// it write into them.
func (k *Ledger) Started(machine, who string, what resource.List, d *Disk, beside []resource.List) {
	for _, v := range what.PersistentVolumes() {
		role, id := v.VolumeKey()
		l := k.lives[seat{machine, role, id}]
		found := d.data[id+" of "+role]
		switch {
		case l == nil:
			k.fail(rule.Volumes, "%s starts on volume %s of %s, which %s does not have", who, id, role, machine)
			return
		case l.written != found:
			k.fail(rule.Volumes, "%s finds in volume %s of %s on %s what %q wrote, and %q wrote last", who, id, role, machine, found, l.written)
		case !v.Shared() && slices.ContainsFunc(beside, func(o resource.List) bool { return o.FindVolume(role, id) != nil }):
			k.fail(rule.Volumes, "%s starts on volume %s of %s on %s, which another uses", who, id, role, machine)
		}
		l.written, d.data[id+" of "+role] = who, who
	}
}

// Flat is what several have together of a machine, as its settings would name it: reservations and volumes are of something, and
// what is shared is there once.
func Flat(all []resource.List) resource.List {
	var sum, shared resource.List
	for _, l := range all {
		sum = sum.Plus(l.NonShared().Original())
		for _, v := range l.Shared() {
			if shared.FindVolume(v.VolumeKey()) == nil {
				shared = shared.Plus(resource.List{v})
			}
		}
	}
	return sum.Plus(shared.Original())
}

// Disk is where the data of a machine's volumes lies.
type Disk struct {
	data  map[string]string // by name, who wrote last
	trash map[string]bool   // by the doomed volume's uuid
}

// NewDisk makes an empty one.
func NewDisk() *Disk { return &Disk{map[string]string{}, map[string]bool{}} }

// Discard moves the data of a doomed volume aside, once.
func (d *Disk) Discard(v *workload.Doomed) {
	if d.trash[v.UUID] {
		return
	}
	d.trash[v.UUID] = true
	role, id := v.Volume.VolumeKey()
	delete(d.data, id+" of "+role)
}

// Sweep forgets what was moved aside of volumes that are not doomed any more.
func (d *Disk) Sweep(doomed []workload.Doomed) {
	for uuid := range d.trash { // order: each for itself
		if !slices.ContainsFunc(doomed, func(x workload.Doomed) bool { return x.UUID == uuid }) {
			delete(d.trash, uuid)
		}
	}
}

// Clear forgets what was moved aside.
func (d *Disk) Clear(uuid string) { delete(d.trash, uuid) }

// Trash is how much was moved aside and not cleared.
func (d *Disk) Trash() int { return len(d.trash) }
