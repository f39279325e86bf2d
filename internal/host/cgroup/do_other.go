//go:build !linux

package cgroup

import (
	"errors"
	"time"
)

var errLinux = errors.New("cgroups exist on Linux only; containers run here without enforced limits")

// Detect finds nothing: every limit is named as not enforced.
func Detect() (*System, error) {
	s := parse("", nil)
	return &s, nil
}

// Prepare has nothing to prepare.
func (s *System) Prepare(string, ...string) *Parent { return &Parent{Lacks: s.Lacks} }

// Remove has nothing to remove.
func (p *Parent) Remove() error { return nil }

// Within leaves out nothing.
func (p *Parent) Within(plan Plan) Plan { return plan }

// Names lists nothing.
func (p *Parent) Names() []string { return nil }

// Stats reports that nothing is counted.
func (p *Parent) Stats(string) (Stats, error) { return Stats{}, errLinux }

// Create refuses anything but the empty plan.
func (p Plan) Create() error {
	if len(p.Groups) > 0 {
		return errLinux
	}
	return nil
}

// Destroy has nothing to destroy.
func Destroy([]string, time.Duration) error { return nil }
