package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
)

// Set is some capabilities, a bit each at the kernel's number.
type Set uint64

// The protocol's capabilities begin at first, and the kernel's end with last.
const (
	first = 1000
	last  = 40
)

// All are those that there are.
const All Set = 1<<(last+1) - 1

// Numbers makes a set of the kernel's numbers. What is no number of a capability is left out.
func Numbers(list []int) (s Set) {
	for _, n := range list {
		if n >= 0 && n <= last {
			s |= 1 << n
		}
	}
	return s
}

// Of reads the protocol's message; nil gives nil.
func Of(c *mesosv1.CapabilityInfo) *Set {
	if c == nil {
		return nil
	}
	var s Set
	for _, x := range c.GetCapabilities() {
		s |= Numbers([]int{int(x) - first})
	}
	return &s
}

// ByName finds a capability by its name, NET_RAW or CAP_NET_RAW; ALL are all of them.
func ByName(name string) (Set, error) {
	short := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "CAP_")
	if short == "ALL" {
		return All, nil
	}
	n, ok := mesosv1.CapabilityInfo_Capability_value[short]
	if !ok || n < first {
		return 0, fmt.Errorf("the capability %s is unknown; give one of those that Linux has, such as NET_RAW", name)
	}
	return Numbers([]int{int(n) - first}), nil
}

// ParseSet reads an operator's set: the original's {"capabilities": ["NET_RAW"]}, or names with commas between them. An empty text
// says nothing: nil.
func ParseSet(text string) (*Set, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	names := strings.Split(text, ",")
	if text[0] == '{' {
		var in struct {
			Capabilities []string `json:"capabilities"`
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil || in.Capabilities == nil || d.More() {
			return nil, errors.Join(fmt.Errorf("%q is not like {\"capabilities\": [\"NET_RAW\"]}", text), err)
		}
		names = in.Capabilities
	}
	out := new(Set)
	for _, name := range names {
		s, err := ByName(name)
		if err != nil {
			return nil, err
		}
		*out |= s
	}
	return out, nil
}

// List gives the kernel's numbers, ascending; never nil.
func (s Set) List() []int {
	out := []int{}
	for n := range last + 1 {
		if s&(1<<n) != 0 {
			out = append(out, n)
		}
	}
	return out
}

// Names are the protocol's, which lack the CAP_ before them.
func (s Set) Names() []string {
	var out []string
	for _, n := range s.List() {
		out = append(out, mesosv1.CapabilityInfo_Capability(first+n).String())
	}
	return out
}

// String lists the names.
func (s Set) String() string { return strings.Join(s.Names(), ", ") }

// Bounds are an operator's word on the capabilities of containers. A nil member says nothing.
type Bounds struct {
	// Effective is for containers that name none.
	Effective *Set
	// Bounding is what no container passes.
	Bounding *Set
}

// Check says whether the bounds can be kept together.
func (b Bounds) Check() error {
	if b.Effective != nil && b.Bounding != nil && *b.Effective&^*b.Bounding != 0 {
		return fmt.Errorf("--effective-capabilities: %s: beyond --bounding-capabilities; add them there, or leave them out here", *b.Effective&^*b.Bounding)
	}
	return nil
}

// Settle completes what a container asks for by the operator's word. It is refused when that is more than it may have.
func (b Bounds) Settle(effective, bounding *Set) (e, most *Set, err error) {
	if effective == nil {
		effective = b.Effective
	}
	if bounding == nil {
		bounding = b.Bounding
	}
	for _, s := range []*Set{effective, bounding} {
		if s == nil {
			continue
		}
		if err := b.Allow(*s); err != nil {
			return nil, nil, err
		}
	}
	if effective != nil && bounding != nil && *effective&^*bounding != 0 {
		return nil, nil, fmt.Errorf("capabilities that are to be effective and are not in the bounding set (container.linux_info.bounding_capabilities): %s; add them there, or leave them out", *effective&^*bounding)
	}
	return effective, bounding, nil
}

// Allow refuses capabilities that are beyond the operator's bound.
func (b Bounds) Allow(s Set) error {
	if b.Bounding == nil || s&^*b.Bounding == 0 {
		return nil
	}
	return fmt.Errorf("capabilities beyond what containers of this agent may have (--bounding-capabilities): %s; leave them out, or have the operator add them there", s&^*b.Bounding)
}
