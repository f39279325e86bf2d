package codec

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// pathError is an error with the field it is about: `subscribe.framework_info.user`.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return e.path + ": " + e.err.Error() }
func (e *pathError) Unwrap() error { return e.err }

// within puts a field's name or an index before the path of err.
func within(name string, err error) error {
	var p *pathError
	if !errors.As(err, &p) {
		return &pathError{name, err}
	}
	dot := "."
	if strings.HasPrefix(p.path, "[") {
		dot = ""
	}
	return &pathError{name + dot + p.path, p.err}
}

// UnmarshalJSON replaces what is in m by what text says. A missing required field anywhere, a
// value of the wrong kind, and anything but one object are errors; those about a field name it
// with its path. Members that m does not have are skipped; of members that come twice, the last
// holds; null, and an enum's name that is unknown here, leave a field unset.
func UnmarshalJSON(text []byte, m proto.Message) error {
	if m == nil {
		return errors.New("decode JSON: the message is nil; pass a message to fill")
	}
	proto.Reset(m)
	s := NewScanner(text)
	if c := s.Peek(); c != '{' {
		if s.at == len(s.text) {
			return errors.New("the body is empty; send a JSON object")
		}
		return fmt.Errorf("the body is %s; send a JSON object", kindOf(c))
	}
	r := m.ProtoReflect()
	if err := s.message(planOf(r.Descriptor()), r); err != nil {
		return err
	}
	return s.End()
}

// UnmarshalField sets the field of that name in m to what text says, by the same rules.
func UnmarshalField(text []byte, m proto.Message, name string) error {
	r := m.ProtoReflect()
	f := planOf(r.Descriptor()).byName[name]
	if f == nil {
		return fmt.Errorf("%s has no field %q; name one of its own", r.Descriptor().FullName(), name)
	}
	s := NewScanner(text)
	if err := s.field(f, r); err != nil {
		return within(name, err)
	}
	return s.End()
}

func (s *Scanner) message(p *plan, m protoreflect.Message) error {
	if p.duration && s.Peek() == '"' {
		return s.duration(m)
	}
	if c := s.Peek(); c != '{' {
		return s.wrong("an object")
	}
	err := s.Object(func(key []byte) error {
		f := p.byName[string(key)]
		if f == nil {
			return s.Skip()
		}
		if err := s.field(f, m); err != nil {
			return within(f.name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.check(m)
}

// check names the first required field that is not there.
func (p *plan) check(m protoreflect.Message) error {
	for _, f := range p.required {
		if !m.Has(f.desc) {
			return &pathError{f.name, errMissing}
		}
	}
	return nil
}

var errMissing = errors.New("is required and missing (or its value is unknown here); set it")

// wrong says that a value is of another kind than wanted.
func (s *Scanner) wrong(want string) error {
	return fmt.Errorf("is %s where %s belongs; change the value's kind", kindOf(s.Peek()), want)
}

func (s *Scanner) field(f *field, m protoreflect.Message) error {
	if s.Word("null") {
		m.Clear(f.desc)
		return nil
	}
	switch {
	case f.list:
		return s.list(f, m)
	case f.dict:
		return s.dict(f, m)
	case f.message != nil:
		v := m.NewField(f.desc)
		if err := s.message(f.message, v.Message()); err != nil {
			return err
		}
		m.Set(f.desc, v)
		return nil
	}
	v, ok, err := s.scalar(f)
	switch {
	case err != nil:
		return err
	case ok:
		m.Set(f.desc, v)
	default:
		m.Clear(f.desc)
	}
	return nil
}

func (s *Scanner) list(f *field, m protoreflect.Message) error {
	if s.Peek() != '[' {
		return s.wrong("an array")
	}
	v := m.NewField(f.desc)
	l := v.List()
	err := s.Array(func(i int) error {
		err := s.element(f, l)
		if err != nil {
			return within("["+strconv.Itoa(i)+"]", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.Set(f.desc, v)
	return nil
}

func (s *Scanner) element(f *field, l protoreflect.List) error {
	if s.Word("null") {
		return nil
	}
	if f.message != nil {
		return s.message(f.message, l.AppendMutable().Message())
	}
	v, ok, err := s.scalar(f)
	if err == nil && ok {
		l.Append(v)
	}
	return err
}

func (s *Scanner) dict(f *field, m protoreflect.Message) error {
	if s.Peek() != '{' {
		return s.wrong("an object")
	}
	v := m.NewField(f.desc)
	d := v.Map()
	if f.desc.MapKey().Kind() != protoreflect.StringKind {
		return errors.New("is a map whose keys are no strings, which no Mesos message has; leave it out")
	}
	err := s.Object(func(key []byte) error {
		name := string(key)
		k := protoreflect.ValueOfString(name).MapKey()
		if err := s.entry(f.value, d, k); err != nil {
			return within(name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.Set(f.desc, v)
	return nil
}

func (s *Scanner) entry(f *field, d protoreflect.Map, k protoreflect.MapKey) error {
	d.Clear(k)
	if s.Word("null") {
		return nil
	}
	if f.message != nil {
		v := d.NewValue()
		if err := s.message(f.message, v.Message()); err != nil {
			return err
		}
		d.Set(k, v)
		return nil
	}
	v, ok, err := s.scalar(f)
	if err == nil && ok {
		d.Set(k, v)
	}
	return err
}

// scalar reads one value; it is not ok when the value is the unknown name of an enum.
func (s *Scanner) scalar(f *field) (v protoreflect.Value, ok bool, err error) {
	c := s.Peek()
	switch f.kind {
	case protoreflect.BoolKind:
		switch {
		case s.Word("true"):
			return protoreflect.ValueOfBool(true), true, nil
		case s.Word("false"):
			return protoreflect.ValueOfBool(false), true, nil
		}
		return v, false, s.wrong("true or false")
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		if c != '"' {
			return v, false, s.wrong("a string")
		}
		text, err := s.Text()
		if err != nil {
			return v, false, err
		}
		return f.fromText(text)
	}
	if c != '"' {
		if c != '-' && !digit(c) {
			return v, false, s.wrong("a number")
		}
		text, err := s.Number()
		if err != nil {
			return v, false, err
		}
		v, err = f.fromNumber(text)
		return v, err == nil, err
	}
	text, err := s.Text()
	if err != nil {
		return v, false, err
	}
	if f.kind == protoreflect.DoubleKind || f.kind == protoreflect.FloatKind {
		switch string(text) {
		case "Infinity":
			return f.float(math.Inf(1)), true, nil
		case "-Infinity":
			return f.float(math.Inf(-1)), true, nil
		}
	}
	if n := numberLen(text); n == 0 || n != len(text) {
		return v, false, fmt.Errorf("is the string %q where a number belongs; give a number", clip(text))
	}
	v, err = f.fromNumber(text)
	return v, err == nil, err
}

// clip keeps what a client sent short enough to be shown.
func clip(text []byte) []byte {
	if len(text) > 40 {
		return append(append([]byte(nil), text[:40]...), "…"...)
	}
	return text
}

func (f *field) fromText(text []byte) (v protoreflect.Value, ok bool, err error) {
	switch f.kind {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(text)), true, nil
	case protoreflect.BytesKind:
		b, err := DecodeBytes(text)
		return protoreflect.ValueOfBytes(b), err == nil, err
	}
	e := f.enum.ByName(protoreflect.Name(text))
	if e == nil {
		return v, false, nil
	}
	return protoreflect.ValueOfEnum(e.Number()), true, nil
}

// DecodeBytes reads standard base64 with padding.
func DecodeBytes(text []byte) ([]byte, error) {
	b, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	if err != nil {
		return nil, errors.New("is no standard base64; encode the bytes so, with padding")
	}
	return b, nil
}

func (f *field) float(x float64) protoreflect.Value {
	if f.kind == protoreflect.FloatKind {
		return protoreflect.ValueOfFloat32(float32(x))
	}
	return protoreflect.ValueOfFloat64(x)
}

func (f *field) fromNumber(text []byte) (protoreflect.Value, error) {
	switch f.kind {
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		x, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return protoreflect.Value{}, fmt.Errorf("%s is beyond what a double holds; give a smaller number", clip(text))
		}
		return f.float(x), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		n, err := whole(text, 0, math.MaxUint32)
		return protoreflect.ValueOfUint32(uint32(n)), err
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		n, err := wholeUint(text)
		return protoreflect.ValueOfUint64(n), err
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		n, err := whole(text, math.MinInt32, math.MaxInt32)
		return protoreflect.ValueOfInt32(int32(n)), err
	default:
		n, err := whole(text, math.MinInt64, math.MaxInt64)
		return protoreflect.ValueOfInt64(n), err
	}
}

// whole reads a whole number; 1e3 and 5.0 are some.
func whole(text []byte, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		x, ferr := strconv.ParseFloat(string(text), 64)
		if ferr != nil || x != math.Trunc(x) || x < -(1<<63) || x >= 1<<63 || errors.Is(err, strconv.ErrRange) {
			return 0, errNotWhole
		}
		n = int64(x)
	}
	if n < low || n > high {
		return 0, errNotWhole
	}
	return n, nil
}

func wholeUint(text []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		x, ferr := strconv.ParseFloat(string(text), 64)
		if ferr != nil || x != math.Trunc(x) || x < 0 || x >= 1<<64 || errors.Is(err, strconv.ErrRange) {
			return 0, errNotWhole
		}
		n = uint64(x)
	}
	return n, nil
}

// duration reads a google.protobuf.Duration in its string form ("3s", "1.5s"), and what Go takes.
func (s *Scanner) duration(m protoreflect.Message) error {
	text, err := s.Text()
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("is %q, which is no duration; write like \"3s\"", clip(text))
	}
	fields := m.Descriptor().Fields()
	m.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(int64(d/time.Second)))
	m.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(int32(d%time.Second)))
	return nil
}

// Field reads the value that comes next into the field of m that has that name, by the
// rules of UnmarshalJSON; a name that the message does not have is skipped. It is for hand-written
// decoders that know some members and leave the rest to this.
func (s *Scanner) Field(m proto.Message, name []byte) error {
	r := m.ProtoReflect()
	f := planOf(r.Descriptor()).byName[string(name)]
	if f == nil {
		return s.Skip()
	}
	return s.field(f, r)
}

// SharedText reads a string as a part of source, which has the same text as the Scanner, where
// it has no escapes.
func (s *Scanner) SharedText(source string) (string, error) {
	s.Peek()
	start := s.at + 1
	b, err := s.Text()
	if err != nil {
		return "", err
	}
	if len(b) == s.at-1-start { // an escape is longer than what it stands for
		return source[start : s.at-1], nil
	}
	return string(b), nil
}
