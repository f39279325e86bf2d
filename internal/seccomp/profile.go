// Package seccomp turns seccomp profiles into programs for the kernel. A profile, in Docker's or the OCI runtime's JSON, says
// which system calls a container may make; the program is classic BPF that the launcher installs before it executes the
// command. The agent compiles, since the launcher has no room for it.
//
// What a profile means is what runc makes of it with libseccomp, with these choices where they leave one:
//   - a rule without conditions holds for its call whatever other rules say, and the first of several such rules;
//   - of several rules with conditions the first that matches holds;
//   - a rule that says what the default says anyway is passed over;
//   - two conditions on one argument in one rule make two rules, as if there was an "or" between them;
//   - calls beyond the highest number that the profile names were not known to its author, and fail with ENOSYS, unless
//     the default lets them happen; so a C library falls back to older calls, as on an older kernel;
//   - a call through an architecture that the profile does not list kills the thread; x32 is never let in, and fails with
//     ENOSYS where it is listed, as on kernels that are built without it;
//   - arguments of 32-bit architectures are compared as 32 bits.
package seccomp

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pando-os/pando/internal/fault"
)

// Profile is a profile as it was read. It is not changed after that and may be shared.
type Profile struct {
	Default Action
	// Archs are the architectures whose calls are let in, under libseccomp's names (SCMP_ARCH_X86). The native one
	// always is.
	Archs []string
	// ArchMap, in Docker's profiles in place of Archs: by the native architecture, those that are let in beside it.
	ArchMap map[string][]string
	// LogAll has the kernel log all actions but Allow (SECCOMP_FILTER_FLAG_LOG).
	LogAll bool
	// SpecAllow leaves out the mitigation of speculative store bypass (SECCOMP_FILTER_FLAG_SPEC_ALLOW).
	SpecAllow bool
	Rules     []Rule
}

// Rule is what to do with some calls.
type Rule struct {
	Names  []string // of system calls
	Action Action
	Args   []Condition // all have to hold
	// The rule is there when all of Includes holds and nothing of Excludes does.
	Includes, Excludes Scope
}

// Scope says where a rule is there. An empty one says nothing.
type Scope struct {
	Caps   []string // capabilities, such as CAP_SYS_ADMIN
	Arches []string // under Docker's names: amd64, arm64, x86…
	// MinKernel is the first kernel; zero: none.
	MinKernel Kernel
}

// Kernel is a version of the kernel, of which patches and suffixes say nothing about system calls.
type Kernel struct{ Major, Minor int }

// Compare is negative when k is older than other.
func (k Kernel) Compare(other Kernel) int {
	return cmp.Or(cmp.Compare(k.Major, other.Major), cmp.Compare(k.Minor, other.Minor))
}

// Op compares an argument with a value, unsigned.
type Op uint8

// The comparisons of libseccomp.
const (
	NotEqual Op = iota
	Less
	LessOrEqual
	Equal
	GreaterOrEqual
	Greater
	MaskedEqual // argument & Value == ValueTwo & Value
)

// Condition compares one argument.
type Condition struct {
	Index    uint8 // 0 to 5
	Op       Op
	Value    uint64
	ValueTwo uint64 // of MaskedEqual alone
}

// Target is what a profile is compiled for.
type Target struct {
	Arch   Arch
	Kernel Kernel
	// Caps are the capabilities in the bounding set of the container, as CAP_….
	Caps []string
}

func (t Target) check() error {
	for _, c := range t.Caps {
		if !strings.HasPrefix(c, "CAP_") {
			return fault.New(fault.Invalid, "caps: %q is not the name of a capability; write it like CAP_NET_ADMIN", c)
		}
	}
	return nil
}

// Resolve leaves the rules and architectures that are there for a target, without conditions on where they are.
func (p *Profile) Resolve(t Target) (*Profile, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	first, err := native(t.Arch)
	if err != nil {
		return nil, err
	}
	out := *p
	out.Rules, out.ArchMap = nil, nil
	if extra, ok := p.ArchMap[first.scmp]; ok {
		out.Archs = append([]string{first.scmp}, extra...)
	}
	for _, r := range p.Rules {
		if !r.Excludes.any(t) && r.Includes.all(t) {
			r.Includes, r.Excludes = Scope{}, Scope{}
			out.Rules = append(out.Rules, r)
		}
	}
	return &out, nil
}

// all holds when nothing in the scope speaks against the target: it has every capability, and its architecture is one.
func (s Scope) all(t Target) bool {
	for _, c := range s.Caps {
		if !slices.Contains(t.Caps, c) {
			return false
		}
	}
	return (len(s.Arches) == 0 || slices.Contains(s.Arches, string(t.Arch))) && t.Kernel.Compare(s.MinKernel) >= 0
}

// any holds when something in the scope is true of the target: one capability is enough.
func (s Scope) any(t Target) bool {
	return slices.ContainsFunc(s.Caps, func(c string) bool { return slices.Contains(t.Caps, c) }) ||
		slices.Contains(s.Arches, string(t.Arch)) ||
		s.MinKernel != Kernel{} && t.Kernel.Compare(s.MinKernel) >= 0
}

// Unknown lists the names that mean no call on an architecture, sorted: those of other architectures, those of newer
// kernels, and mistakes. Compile passes over them.
func (p *Profile) Unknown(a Arch) ([]string, error) {
	all, err := abis(a, tokens())
	if err != nil {
		return nil, err
	}
	var list []string
	for _, r := range p.Rules {
		for _, name := range r.Names {
			if !slices.ContainsFunc(all, func(abi abi) bool { return abi.knows(name) }) {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func (a abi) knows(name string) bool {
	_, direct := a.lookup(name)
	_, muxed := a.mux(name)
	return direct || muxed
}
