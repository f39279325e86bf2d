package seccomp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pando-os/pando/internal/fault"
)

// MaxProfile is the size of a profile in bytes up to which it is read. Docker's default has 15 KiB.
const MaxProfile = 1 << 20

// Parse reads a profile in Docker's format or in that of the OCI runtime-spec (config-linux.md, "Seccomp"), which is the
// same without archMap, name, comment, includes and excludes. An error has the kind fault.Invalid and names the field.
// Names of system calls are not looked at: see Profile.Unknown.
func Parse(data []byte) (*Profile, error) {
	if len(data) > MaxProfile {
		return nil, fault.New(fault.Invalid, "seccomp profile: has %d bytes, and no more than %d are read; name calls together that have the same action", len(data), MaxProfile)
	}
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fault.New(fault.Invalid, "seccomp profile: is not JSON: %v", err)
	}
	r := &reader{}
	p := r.profile(raw)
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

func (r *reader) profile(raw json.RawMessage) *Profile {
	o := r.object("", raw, "defaultAction", "defaultErrnoRet", "architectures", "archMap", "flags", "listenerPath", "listenerMetadata", "syscalls")
	p := &Profile{Default: o.action("defaultAction", "defaultErrnoRet")}
	for _, name := range []string{"listenerPath", "listenerMetadata"} {
		if o.text(name) != "" {
			r.fail(name, "asks for a program that decides about calls, and there is none here; leave it out")
		}
	}
	for i, token := range o.texts("architectures") {
		p.Archs = append(p.Archs, r.token(fmt.Sprintf("architectures[%d]", i), token))
	}
	p.ArchMap = o.archMap()
	if len(p.Archs) > 0 && len(p.ArchMap) > 0 {
		r.fail("architectures", "is there beside archMap; leave one of them out")
	}
	o.flags(p)
	for i, raw := range o.list("syscalls") {
		p.Rules = append(p.Rules, r.rule(fmt.Sprintf("syscalls[%d]", i), raw))
		if r.err != nil {
			break
		}
	}
	return p
}

func (o object) archMap() map[string][]string {
	m := map[string][]string{}
	for i, raw := range o.list("archMap") {
		entry := o.object(fmt.Sprintf("archMap[%d]", i), raw, "architecture", "subArchitectures")
		first := o.token(entry.at("architecture"), entry.text("architecture"))
		if _, twice := m[first]; twice {
			o.fail(entry.at("architecture"), "%s is there twice; put the subArchitectures together", first)
		}
		m[first] = []string{}
		for j, token := range entry.texts("subArchitectures") {
			m[first] = append(m[first], o.token(fmt.Sprintf("%s[%d]", entry.at("subArchitectures"), j), token))
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func (r *reader) token(place, token string) string {
	if !slices.Contains(tokens(), token) {
		r.fail(place, "%q is not an architecture; use one of %s", token, strings.Join(tokens(), ", "))
	}
	return token
}

func (o object) flags(p *Profile) {
	for i, flag := range o.texts("flags") {
		switch flag {
		case "SECCOMP_FILTER_FLAG_LOG":
			p.LogAll = true
		case "SECCOMP_FILTER_FLAG_SPEC_ALLOW":
			p.SpecAllow = true
		case "SECCOMP_FILTER_FLAG_TSYNC":
			// Nothing to do: execve(2) ends all threads but the one that has the filter.
		default:
			o.fail(fmt.Sprintf("flags[%d]", i), "%q cannot be set; use SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW or SECCOMP_FILTER_FLAG_TSYNC", flag)
		}
	}
}

func (r *reader) rule(place string, raw json.RawMessage) Rule {
	o := r.object(place, raw, "name", "names", "action", "errnoRet", "args", "comment", "includes", "excludes")
	rule := Rule{Names: o.texts("names"), Action: o.action("action", "errnoRet")}
	_ = o.text("comment") // for people
	if name := o.text("name"); name != "" {
		if len(rule.Names) > 0 {
			r.fail(o.at("name"), "is there beside names; leave one of them out")
		}
		rule.Names = []string{name}
	}
	if len(rule.Names) == 0 {
		r.fail(o.at("names"), "is empty; name the system calls, or leave the rule out")
	}
	for i, raw := range o.list("args") {
		rule.Args = append(rule.Args, r.condition(fmt.Sprintf("%s[%d]", o.at("args"), i), raw))
	}
	rule.Includes, rule.Excludes = o.scope("includes"), o.scope("excludes")
	return rule
}

// action reads an action and its number, which OCI lets be there only where it means something.
func (o object) action(name, number string) Action {
	word := o.text(name)
	limit, takes := map[string]uint64{"SCMP_ACT_ERRNO": maxErrno, "SCMP_ACT_TRACE": maxTrace}[word]
	n := uint64(eperm)
	if takes {
		if given, there := o.number(number, limit); there {
			n = given
		}
	} else if o.has(number) {
		o.fail(o.at(number), "says nothing with the action %s; leave it out, or use SCMP_ACT_ERRNO", word)
	}
	switch word {
	case "SCMP_ACT_ERRNO":
		return Errno(uint16(n))
	case "SCMP_ACT_TRACE":
		return Trace(uint16(n))
	case "SCMP_ACT_NOTIFY":
		o.fail(o.at(name), "SCMP_ACT_NOTIFY asks a program that decides about calls, and there is none here; use SCMP_ACT_ERRNO")
	}
	plain := map[string]Action{
		"SCMP_ACT_KILL": KillThread, "SCMP_ACT_KILL_THREAD": KillThread, "SCMP_ACT_KILL_PROCESS": KillProcess,
		"SCMP_ACT_TRAP": Trap, "SCMP_ACT_LOG": Log, "SCMP_ACT_ALLOW": Allow,
	}
	a, ok := plain[word]
	if !ok {
		o.fail(o.at(name), "%q is not an action; use SCMP_ACT_ERRNO, SCMP_ACT_TRACE or one of %s", word, sorted(plain))
	}
	return a
}

func (r *reader) condition(place string, raw json.RawMessage) Condition {
	o := r.object(place, raw, "index", "value", "valueTwo", "op")
	var c Condition
	index, there := o.number("index", 5)
	if !there {
		r.fail(o.at("index"), "is missing; write which argument is compared, from 0 to 5")
	}
	c.Index = uint8(index)
	if c.Value, there = o.number("value", 1<<64-1); !there {
		r.fail(o.at("value"), "is missing; write what the argument is compared with")
	}
	c.ValueTwo, _ = o.number("valueTwo", 1<<64-1)
	ops := map[string]Op{
		"SCMP_CMP_NE": NotEqual, "SCMP_CMP_LT": Less, "SCMP_CMP_LE": LessOrEqual, "SCMP_CMP_EQ": Equal,
		"SCMP_CMP_GE": GreaterOrEqual, "SCMP_CMP_GT": Greater, "SCMP_CMP_MASKED_EQ": MaskedEqual,
	}
	word := o.text("op")
	op, known := ops[word]
	if !known {
		r.fail(o.at("op"), "%q is not a comparison; use one of %s", word, sorted(ops))
	}
	if c.Op = op; op != MaskedEqual && c.ValueTwo != 0 {
		r.fail(o.at("valueTwo"), "says nothing with %s; leave it out, or use SCMP_CMP_MASKED_EQ", word)
	}
	return c
}

func (o object) scope(name string) (s Scope) {
	if !o.has(name) {
		return s
	}
	in := o.object(o.at(name), o.fields[name], "caps", "arches", "minKernel")
	s.Caps, s.Arches = in.texts("caps"), in.texts("arches")
	for i, c := range s.Caps {
		if !strings.HasPrefix(c, "CAP_") {
			o.fail(fmt.Sprintf("%s[%d]", in.at("caps"), i), "%q is not the name of a capability; write it like CAP_NET_ADMIN", c)
		}
	}
	if version := in.text("minKernel"); version != "" {
		var ok bool
		if s.MinKernel, ok = kernel(version); !ok {
			o.fail(in.at("minKernel"), "%q is not a version of the kernel; write it like 4.8", version)
		}
	}
	return s
}

// kernel reads "4.8".
func kernel(version string) (Kernel, bool) {
	a, b, two := strings.Cut(version, ".")
	major, err := strconv.ParseUint(a, 10, 16)
	minor, err2 := strconv.ParseUint(b, 10, 16)
	return Kernel{int(major), int(minor)}, two && err == nil && err2 == nil && major > 0
}

func sorted[V any](m map[string]V) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
