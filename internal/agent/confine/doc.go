// Package confine is what holds an agent's containers back beside their limits: the operator's bounds of capabilities,
// seccomp profiles by name, and devices.
package confine

import (
	"os"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
)

// Rules are an operator's word on how containers are confined. The zero value is none.
type Rules struct {
	Bounds   Bounds
	Profiles Profiles
	Devices  []Device
}

// Check says whether the rules can be kept; the words name the setting.
func (r *Rules) Check() error {
	if err := r.Bounds.Check(); err != nil {
		return err
	}
	if err := r.Profiles.Check(); err != nil {
		return err
	}
	_, err := r.Nodes()
	return err
}

// Untrusted says why somebody who is not root may not have what he asks for; empty: he may.
func Untrusted(l *mesosv1.LinuxInfo) string {
	if l.GetEffectiveCapabilities() == nil && l.GetCapabilityInfo() == nil {
		return ""
	}
	return "Capabilities (container.linux_info) are only for frameworks of root, and containers by call that run as root; leave them out."
}

// Capabilities gives a container those that it asks for, within the operator's bounds.
func (r *Rules) Capabilities(s *container.Spec, l *mesosv1.LinuxInfo) error {
	asked := Of(l.GetEffectiveCapabilities())
	if asked == nil {
		asked = Of(l.GetCapabilityInfo())
	}
	effective, bounding, err := r.Bounds.Settle(asked, Of(l.GetBoundingCapabilities()))
	if effective != nil {
		s.Effective = new(effective.List())
	}
	if bounding != nil {
		s.Bounding = new(bounding.List())
	}
	return err
}

// Filter gives a container without an image, whose capabilities are known, the seccomp profile that it names. Without one it has none.
func (r *Rules) Filter(s *container.Spec, asked *mesosv1.SeccompInfo, trusted bool) (err error) {
	caps := All
	switch {
	case asked.GetProfileName() == "":
		return nil
	case s.Bounding != nil:
		caps = Numbers(*s.Bounding)
	case s.Effective != nil:
		caps = Numbers(*s.Effective)
	}
	// A set-user-id program under a filter of somebody's choice may believe that it gave up what it did not. The kernel has the same
	// rule for who is not root.
	s.NoNewPrivs = s.NoNewPrivs || !trusted || os.Geteuid() != 0
	s.Seccomp, err = r.Profiles.Filter(asked, caps)
	return err
}
