package seccomp

import (
	"slices"
	"strings"
	"sync"
)

// naive evaluates a profile for one call, rule by rule, as the package's words say.
func naive(p *Profile, t Target, c call) Action {
	archs, self := p.Archs, map[Arch]string{AMD64: "SCMP_ARCH_X86_64", ARM64: "SCMP_ARCH_AARCH64"}[t.Arch]
	if p.ArchMap != nil {
		archs = p.ArchMap[self]
	}
	var a abi
	switch {
	case t.Arch == AMD64 && c.audit == x8664Audit || t.Arch == ARM64 && c.audit == arm64Audit:
		a, _ = native(t.Arch)
	case t.Arch == AMD64 && c.audit == i386Audit && slices.Contains(archs, "SCMP_ARCH_X86"):
		a = i386()
	default:
		return KillThread
	}
	if c.audit == x8664Audit && c.nr >= x32Bit {
		switch {
		case slices.Contains(archs, "SCMP_ARCH_X32"):
			return Errno(38)
		case c.nr != 0xffffffff:
			return KillThread
		}
		return p.Default
	}
	if newer(p, t, a, c.nr) {
		return Errno(38)
	}
	var conditional []Action
	for _, r := range p.Rules {
		if !there(r, t) || r.Action == p.Default {
			continue
		}
		for _, name := range r.Names {
			matches, always := matches(a, r, name, c)
			if matches && always {
				return r.Action
			}
			if matches {
				conditional = append(conditional, r.Action)
			}
		}
	}
	if len(conditional) > 0 {
		return conditional[0]
	}
	return p.Default
}

// newer says whether a number is beyond all that the profile names.
func newer(p *Profile, t Target, a abi, nr uint32) bool {
	if p.Default == Allow || p.Default == Log || strings.HasPrefix(p.Default.String(), "TRACE") {
		return false
	}
	last := uint32(0)
	for _, r := range p.Rules {
		for _, name := range r.Names {
			if n, ok := number32(a, name); ok && there(r, t) {
				last = max(last, n)
			}
			if m, ok := a.mux(name); ok && there(r, t) && len(r.Args) == 0 {
				n, _ := number32(a, m.through)
				last = max(last, n)
			}
		}
	}
	return last > 0 && nr > last
}

func number32(a abi, name string) (uint32, bool) {
	nr, ok := byName()[a.audit][name]
	return nr, ok
}

var byName = sync.OnceValue(func() map[uint32]map[string]uint32 {
	m := map[uint32]map[string]uint32{}
	for audit, numbers := range map[uint32][]number{x8664Audit: amd64Numbers, i386Audit: i386Numbers, arm64Audit: arm64Numbers} {
		m[audit] = map[string]uint32{}
		for _, n := range numbers {
			m[audit][n.name] = n.nr
		}
	}
	return m
})

func there(r Rule, t Target) bool {
	for _, c := range r.Includes.Caps {
		if !slices.Contains(t.Caps, c) {
			return false
		}
	}
	for _, c := range r.Excludes.Caps {
		if slices.Contains(t.Caps, c) {
			return false
		}
	}
	old := func(first Kernel) bool {
		return t.Kernel.Major < first.Major || t.Kernel.Major == first.Major && t.Kernel.Minor < first.Minor
	}
	if old(r.Includes.MinKernel) || r.Excludes.MinKernel.Major > 0 && !old(r.Excludes.MinKernel) {
		return false
	}
	if slices.Contains(r.Excludes.Arches, string(t.Arch)) {
		return false
	}
	return r.Includes.Arches == nil || slices.Contains(r.Includes.Arches, string(t.Arch))
}

func matches(a abi, r Rule, name string, c call) (yes, always bool) {
	if nr, ok := number32(a, name); ok && nr == c.nr {
		if len(r.Args) == 0 {
			return true, true
		}
		seen, twice := map[uint8]bool{}, false
		every, some := true, false
		for _, arg := range r.Args {
			twice = twice || seen[arg.Index]
			seen[arg.Index] = true
			h := holds(a, arg, c)
			every, some = every && h, some || h
		}
		if twice && some || every {
			return true, false
		}
	}
	if m, ok := a.mux(name); ok && len(r.Args) == 0 {
		if nr, _ := number32(a, m.through); nr == c.nr && holds(a, m.choice, c) {
			return true, false
		}
	}
	return false, false
}

func holds(a abi, c Condition, d call) bool {
	x, v, w := d.args[c.Index], c.Value, c.ValueTwo
	if a.bits == 32 {
		x, v, w = uint64(uint32(x)), uint64(uint32(v)), uint64(uint32(w))
	}
	return map[Op]bool{
		NotEqual: x != v, Less: x < v, LessOrEqual: x <= v, Equal: x == v, GreaterOrEqual: x >= v, Greater: x > v,
		MaskedEqual: x&v == w&v,
	}[c.Op]
}
