package seccomp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/pando-os/pando/internal/fault"
)

// reader takes JSON values apart and keeps the first thing that is wrong, with the place of it. After that it reads zeros.
// It is stricter than encoding/json, which takes fields in any case, twice, and under unknown names: in a profile each of
// them would be a rule that is silently not there.
type reader struct{ err error }

// fail says what is wrong at a place such as syscalls[3].args[0].op, and what to do.
func (r *reader) fail(place, format string, args ...any) {
	if r.err == nil {
		r.err = fault.New(fault.Invalid, "seccomp profile: %s: %s", place, fmt.Sprintf(format, args...))
	}
}

// object is a JSON object whose fields are all known. A field that is null is not there.
type object struct {
	*reader
	place  string
	fields map[string]json.RawMessage
}

func (r *reader) object(place string, raw json.RawMessage, known ...string) object {
	o := object{r, place, map[string]json.RawMessage{}}
	dec := json.NewDecoder(bytes.NewReader(raw))
	start, err := dec.Token()
	if err != nil || start != json.Delim('{') {
		r.fail(orProfile(place), "is not an object; write {…}")
		return o
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		var value json.RawMessage
		if err == nil && ok {
			err = dec.Decode(&value)
		}
		switch {
		case err != nil || !ok:
			r.fail(orProfile(place), "is not JSON: %v", err)
			return o
		case !slices.Contains(known, name):
			r.fail(o.at(name), "is not known; leave it out, or use one of %s", strings.Join(known, ", "))
			return o
		case seen[name]:
			r.fail(o.at(name), "is there twice; leave one out")
			return o
		}
		seen[name] = true
		if string(value) != "null" {
			o.fields[name] = value
		}
	}
	return o
}

func orProfile(place string) string {
	if place == "" {
		return "the profile"
	}
	return place
}

// at is the place of a field.
func (o object) at(name string) string {
	if o.place == "" {
		return name
	}
	return o.place + "." + name
}

func (o object) has(name string) bool { _, ok := o.fields[name]; return ok }

// text is "" when the field is missing.
func (o object) text(name string) string {
	var s string
	if raw, ok := o.fields[name]; ok && json.Unmarshal(raw, &s) != nil {
		o.fail(o.at(name), "is not a text; write it in quotes")
	}
	return s
}

func (o object) texts(name string) []string {
	var list []string
	for i, raw := range o.list(name) {
		var s *string
		if json.Unmarshal(raw, &s) != nil || s == nil || *s == "" {
			o.fail(fmt.Sprintf("%s[%d]", o.at(name), i), "is not a text with something in it; write a name in quotes, or leave it out")
			return nil
		}
		list = append(list, *s)
	}
	return list
}

// number is at most limit; missing when the field is.
func (o object) number(name string, limit uint64) (n uint64, there bool) {
	raw, ok := o.fields[name]
	if !ok {
		return 0, false
	}
	if json.Unmarshal(raw, &n) != nil || n > limit {
		o.fail(o.at(name), "is %s; write a whole number from 0 to %d", short(raw), limit)
		return 0, false
	}
	return n, true
}

func (o object) list(name string) []json.RawMessage {
	var list []json.RawMessage
	if raw, ok := o.fields[name]; ok && json.Unmarshal(raw, &list) != nil {
		o.fail(o.at(name), "is not a list; write […]")
	}
	return list
}

// short keeps errors readable.
func short(raw json.RawMessage) string {
	const limit = 40
	if len(raw) > limit {
		return string(bytes.ToValidUTF8(raw[:limit], nil)) + "…"
	}
	return string(raw)
}
