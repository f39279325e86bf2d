package resource

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Parse reads what the agent's --resources takes: `cpus:4;mem(eng):1024;ports:[1-5,7-9];set:{a,b}`,
// where a name's role is a static reservation and `{REV}` behind the name marks what is revocable,
// or a JSON array of Resource objects. What names no role is reserved to defaultRole, unless that
// is "*" or "". Things named twice are added up.
func Parse(text, defaultRole string) (List, error) {
	if defaultRole == "" {
		defaultRole = "*"
	}
	if err := CheckRole(defaultRole); err != nil {
		return nil, fmt.Errorf("the default role: %w", err)
	}
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		return parseJSON(text, defaultRole)
	}
	var l List
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == '\n' }) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		r, err := parseOne(part, defaultRole)
		if err != nil {
			return nil, fmt.Errorf("resources: %q: %w", part, err)
		}
		l = append(l, r)
	}
	return checkKinds(New(l...))
}

// checkKinds refuses a name that is a number here and a range or set there.
func checkKinds(l List) (List, error) {
	for i := 1; i < len(l); i++ {
		if l[i].Name == l[i-1].Name && l[i].Kind != l[i-1].Kind {
			return nil, fmt.Errorf("resources: %q is both %v and %v; give it one kind of value", l[i].Name, l[i-1].Kind, l[i].Kind)
		}
	}
	for i := range l {
		if l[i].Kind == Scalar && l[i].Scalar > MaxQuantity {
			return nil, fmt.Errorf("resources: %q adds up to more than %v; give less", l[i].Name, MaxQuantity)
		}
	}
	return l, nil
}

func parseOne(part, defaultRole string) (Resource, error) {
	var r Resource
	name, value, ok := strings.Cut(part, ":")
	if !ok {
		return r, errors.New("there is no colon; write name:value")
	}
	name = strings.TrimSpace(name)
	name, revocable := strings.CutSuffix(name, "{REV}")
	role := defaultRole
	if before, in, ok := strings.Cut(name, "("); ok {
		in, ok = strings.CutSuffix(strings.TrimSpace(in), ")")
		if !ok {
			return r, errors.New("the role has no closing parenthesis; write name(role):value")
		}
		name, role = before, strings.TrimSpace(in)
	}
	if err := CheckRole(role); err != nil {
		return r, err
	}
	if r.Name = strings.TrimSpace(name); r.Name == "" {
		return r, errors.New("there is no name before the colon; write name:value")
	}
	if strings.ContainsAny(r.Name, "(){}[]") {
		return r, fmt.Errorf("the name %q holds brackets; write name(role):value", r.Name)
	}
	t := Traits{Revocable: revocable}
	if role != "*" {
		t.Reservations = []Reservation{{Role: role}}
	}
	r.Traits = NewTraits(&t)
	return r, r.parseValue(strings.TrimSpace(value))
}

func (r *Resource) parseValue(text string) (err error) {
	inside := func(end string) ([]string, error) {
		body, ok := strings.CutSuffix(text[1:], end)
		if !ok {
			return nil, fmt.Errorf("the value has no closing %q; add it", end)
		}
		if strings.TrimSpace(body) == "" {
			return nil, nil
		}
		return strings.Split(body, ","), nil
	}
	switch {
	case strings.HasPrefix(text, "["):
		r.Kind = Ranges
		parts, err := inside("]")
		if err != nil {
			return err
		}
		r.Spans, err = parseSpans(parts)
		return err
	case strings.HasPrefix(text, "{"):
		r.Kind = Set
		parts, err := inside("}")
		if err != nil {
			return err
		}
		for i := range parts {
			if parts[i] = strings.TrimSpace(parts[i]); parts[i] == "" || strings.ContainsAny(parts[i], "{}") {
				return errors.New("an item of the set is empty or holds a brace; write {a,b}")
			}
		}
		r.Items, err = newItems(parts)
		return err
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return fmt.Errorf("%q is no number, range or set; write 4, [1-5,7-9] or {a,b}", text)
	}
	r.Scalar, err = FromFloat(f)
	return err
}

// ParseSpans reads the inside of `[1-5,7-9]`, with the brackets.
func ParseSpans(text string) ([]Span, error) {
	r := Resource{}
	if !strings.HasPrefix(text, "[") {
		return nil, fmt.Errorf("%q is no range; write [1-5,7-9]", text)
	}
	err := r.parseValue(text)
	return r.Spans, err
}

func parseSpans(parts []string) ([]Span, error) {
	spans := make([]Span, 0, len(parts))
	for _, p := range parts {
		from, to, ok := strings.Cut(p, "-")
		if !ok {
			return nil, fmt.Errorf("%q is no range; write first-last", strings.TrimSpace(p))
		}
		b, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 64)
		e, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 64)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%q is no range of numbers; write first-last", strings.TrimSpace(p))
		}
		spans = append(spans, Span{b, e})
	}
	return newSpans(spans)
}

// String writes l the way Parse reads it, as far as that can say it; disks, principals, labels
// and deeper reservations are shown in angle brackets, which Parse does not take.
func (l List) String() string {
	var b []byte
	for i := range l {
		if i > 0 {
			b = append(b, ';')
		}
		r := &l[i]
		b = append(b, r.Name...)
		if t := r.Traits; t != nil {
			b = t.appendText(b)
		}
		b = append(b, ':')
		switch r.Kind {
		case Scalar:
			b = append(b, r.Scalar.String()...)
		case Ranges:
			b = appendSpans(b, r.Spans, ",")
		case Set:
			b = append(append(append(b, '{'), strings.Join(r.Items, ",")...), '}')
		}
	}
	return string(b)
}

func (t *Traits) appendText(b []byte) []byte {
	if len(t.Reservations) > 0 {
		b = append(append(append(b, '('), t.Role()...), ')')
	}
	var more []string
	for _, r := range t.Reservations {
		if r.Dynamic {
			more = append(more, strings.TrimSpace("dynamic "+r.Role+" "+r.Principal))
		}
	}
	if t.Disk != nil {
		more = append(more, strings.Join(slices.DeleteFunc([]string{"disk", t.Disk.PersistenceID, t.Disk.Source.Root, t.Disk.Source.ID}, func(s string) bool { return s == "" }), " "))
	}
	if t.Shared {
		more = append(more, "shared")
	}
	if t.Provider != "" {
		more = append(more, "provider "+t.Provider)
	}
	if len(more) > 0 {
		b = append(append(append(b, '<'), strings.Join(more, ", ")...), '>')
	}
	if t.Revocable {
		b = append(b, "{REV}"...)
	}
	return b
}
