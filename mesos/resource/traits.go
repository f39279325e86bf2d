package resource

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Reservation is one layer of a resource's stack of reservations. Each layer's role is a strict
// descendant of the one below it.
type Reservation struct {
	Dynamic   bool // made by RESERVE; otherwise static, from the agent's settings
	Role      string
	Principal string // who made it, "" unknown
	Labels    []Label
}

// Label is a word that a client hung on something; without HasValue it is the key alone.
type Label struct {
	Key, Value string
	HasValue   bool
}

// SourceKind is what a disk is made from. Its numbers are those of DiskInfo.Source.Type.
type SourceKind uint8

// The sources of disks. A root disk and a path can be split; a mount and a block device are had
// whole or not at all; so is a raw disk once it has an id.
const (
	RootDisk SourceKind = iota
	PathDisk
	MountDisk
	BlockDisk
	RawDisk
)

// Source is where a disk comes from. The zero Source is the agent's root disk.
type Source struct {
	Kind     SourceKind
	Root     string // of a path or a mount
	HasPlace bool   // the path or mount member is there, if with an empty root
	Vendor   string
	ID       string
	Profile  string
	Metadata []Label
}

// Disk tells one disk from another.
type Disk struct {
	// PersistenceID makes the disk a persistent volume.
	PersistenceID string
	// Principal is who created the volume. It does not tell volumes apart.
	Principal string
	// Volume says how a task sees the disk. It belongs to the use of the disk, not to the disk,
	// so it does not tell volumes apart either. Nil: none.
	Volume *Volume
	Source Source
}

// Volume is how a task sees a disk.
type Volume struct {
	ContainerPath string
	HostPath      string // "" unset
	ReadOnly      bool
	// Rest is what else the client's Volume held (image, source), encoded as that message.
	Rest []byte
}

// Traits are what keeps resources of one name from being merged. They are shared and never
// changed once NewTraits returned them.
type Traits struct {
	Reservations      []Reservation // the oldest first
	Disk              *Disk
	Revocable, Shared bool
	Provider          string // id of the resource provider, "" for the agent itself

	key   string // equal for traits that are alike
	whole bool
	forms [3]atomic.Pointer[form] // by Format, made when first asked for
}

// form is how traits look on the wire: everything of a Resource but its name, type, amount and
// allocation.
type form struct{ proto, json string }

// NewTraits completes t, which the caller must not touch any more. It returns nil where t says
// nothing, so that plain resources stay plain.
func NewTraits(t *Traits) *Traits {
	if t == nil || len(t.Reservations) == 0 && t.Disk == nil && !t.Revocable && !t.Shared && t.Provider == "" {
		return nil
	}
	if t.key != "" {
		return t
	}
	t.key = string(t.appendKey(nil))
	t.whole = t.Shared || t.Disk.whole()
	return t
}

func (d *Disk) whole() bool {
	if d == nil {
		return false
	}
	switch d.Source.Kind {
	case MountDisk, BlockDisk:
		return true
	case RawDisk:
		return d.Source.ID != "" || d.PersistenceID != ""
	}
	return d.PersistenceID != ""
}

// Role is the role of the newest reservation, "*" when there is none.
func (t *Traits) Role() string {
	if t == nil || len(t.Reservations) == 0 {
		return "*"
	}
	return t.Reservations[len(t.Reservations)-1].Role
}

func compareTraits(a, b *Traits) int {
	switch {
	case a == b:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return strings.Compare(a.key, b.key)
}

// appendKey writes everything that tells traits apart, each text with its length before it so
// that no two different traits write the same.
func (t *Traits) appendKey(k []byte) []byte {
	for i := range t.Reservations {
		r := &t.Reservations[i]
		k = append(k, 'r', mark(r.Dynamic))
		k = keyText(keyText(k, r.Role), r.Principal)
		k = keyLabels(k, r.Labels)
	}
	k = append(k, '.', mark(t.Revocable), mark(t.Shared))
	k = keyText(k, t.Provider)
	if d := t.Disk; d != nil {
		k = append(k, 'd', '0'+byte(d.Source.Kind), mark(d.Source.HasPlace))
		k = keyText(keyText(keyText(keyText(keyText(k, d.PersistenceID), d.Source.Root), d.Source.Vendor), d.Source.ID), d.Source.Profile)
		k = keyLabels(k, d.Source.Metadata)
	}
	return k
}

func mark(b bool) byte {
	if b {
		return '1'
	}
	return '0'
}

func keyText(k []byte, s string) []byte {
	k = strconv.AppendInt(k, int64(len(s)), 10)
	return append(append(k, ':'), s...)
}

// keyLabels writes labels in sorted order: in Mesos the order of labels means nothing.
func keyLabels(k []byte, labels []Label) []byte {
	if len(labels) > 1 {
		labels = slices.Clone(labels)
		slices.SortFunc(labels, func(a, b Label) int {
			if c := strings.Compare(a.Key, b.Key); c != 0 {
				return c
			}
			if c := strings.Compare(a.Value, b.Value); c != 0 {
				return c
			}
			return int(mark(a.HasValue)) - int(mark(b.HasValue))
		})
	}
	for _, l := range labels {
		k = append(k, 'l', mark(l.HasValue))
		k = keyText(keyText(k, l.Key), l.Value)
	}
	return k
}
