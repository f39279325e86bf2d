package fake

import (
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pando-os/pando/internal/agent/container"
)

// hollow says whether it only holds what those below it share.
func (b *box) hollow() bool { return b.spec.Path == "" && len(b.spec.Args) == 0 }

// checkBelow refuses what cannot be below another, or hold others. m.mu is held.
func (m *Machine) checkBelow(s *container.Spec) error {
	if s.Path == "" && len(s.Args) == 0 && (!s.Alone || s.Parent != "") {
		return &container.Error{Kind: container.KindInvalid, Message: "a container without a command needs a shim of its own: set Alone, and no Parent"}
	}
	if s.Parent == "" {
		return nil
	}
	if up := m.boxes[s.Parent]; up == nil || up.exit != nil || up.ended != nil || !up.killAt.IsZero() {
		return &container.Error{Kind: container.KindGone, Message: "container " + s.Parent + ", which " + s.ID + " is to be below, is not running"}
	}
	return nil
}

// below lists what runs below a container. m.mu is held.
func (m *Machine) below(b *box) []*box {
	var out []*box
	for _, c := range m.boxes {
		if c.spec.Parent == b.spec.ID && c.exit == nil {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *box) int { return strings.Compare(a.spec.ID, b.spec.ID) })
	return out
}

// waitsBelow says whether a container that is to end waits for those below it to use their grace. Without one, they end
// now. m.mu is held.
func (m *Machine) waitsBelow(b *box, status uint32) bool {
	below := m.below(b)
	if len(below) > 0 && time.Now().Before(b.killAt) {
		b.ended = &status
		return true
	}
	b.ended = nil // or the end of the last below it would end it a second time
	for _, c := range below {
		c.killed = true
		m.endLocked(c, uint32(syscall.SIGKILL))
	}
	return false
}
