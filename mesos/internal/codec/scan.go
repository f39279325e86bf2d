package codec

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may be nested, in members that are skipped as well.
const maxDepth = 200

// Scanner reads JSON text token by token. Texts must be UTF-8. After an error it is of no more use.
type Scanner struct {
	text  []byte
	at    int
	depth int
}

// NewScanner returns a Scanner at the start of text, which it reads but does not keep or change.
func NewScanner(text []byte) Scanner { return Scanner{text: text} }

// errorf makes an error that names the place in the text.
func (s *Scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("at byte %d: %s", s.at, fmt.Sprintf(format, args...))
}

func (s *Scanner) unexpected(want string) error {
	if s.at >= len(s.text) {
		return s.errorf("the text ends where %s should be; send the whole of it", want)
	}
	r, _ := utf8.DecodeRune(s.text[s.at:])
	return s.errorf("found %q where %s should be", r, want)
}

// Peek skips white space and returns the next byte, 0 at the end.
func (s *Scanner) Peek() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// Take consumes c when it comes next.
func (s *Scanner) Take(c byte) bool {
	if s.Peek() == c && s.at < len(s.text) {
		s.at++
		return true
	}
	return false
}

// End fails when anything but white space is left.
func (s *Scanner) End() error {
	if s.Peek(); s.at < len(s.text) {
		return s.unexpected("the end of the text")
	}
	return nil
}

// open and shut keep count of the depth.
func (s *Scanner) open() error {
	if s.depth++; s.depth > maxDepth {
		return s.errorf("objects and arrays are nested more than %d deep; flatten them", maxDepth)
	}
	s.at++
	return nil
}

func (s *Scanner) shut() {
	s.depth--
	s.at++
}

// Object reads an object, calling member with each key and the Scanner at its value, which member
// must consume. The key is valid until then.
func (s *Scanner) Object(member func(key []byte) error) error {
	if s.Peek() != '{' {
		return s.unexpected("an object")
	}
	if err := s.open(); err != nil {
		return err
	}
	if s.Peek() == '}' {
		s.shut()
		return nil
	}
	for {
		if s.Peek() != '"' {
			return s.unexpected("a member's name in quotes")
		}
		key, err := s.Text()
		if err != nil {
			return err
		}
		if !s.Take(':') {
			return s.unexpected("a colon")
		}
		if err := member(key); err != nil {
			return err
		}
		if s.Take(',') {
			continue
		}
		if s.Peek() != '}' {
			return s.unexpected("a comma or the object's end")
		}
		s.shut()
		return nil
	}
}

// Array reads an array, calling element with the Scanner at each value.
func (s *Scanner) Array(element func(i int) error) error {
	if s.Peek() != '[' {
		return s.unexpected("an array")
	}
	if err := s.open(); err != nil {
		return err
	}
	if s.Peek() == ']' {
		s.shut()
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return err
		}
		if s.Take(',') {
			continue
		}
		if s.Peek() != ']' {
			return s.unexpected("a comma or the array's end")
		}
		s.shut()
		return nil
	}
}

// Text reads a string and returns its bytes with the escapes resolved: a part of the text itself
// where there are none.
func (s *Scanner) Text() ([]byte, error) {
	if s.Peek() != '"' {
		return nil, s.unexpected("a string")
	}
	s.at++
	start := s.at
	ascii := true
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			out := s.text[start:s.at]
			if !ascii && !utf8.Valid(out) {
				s.at = start
				return nil, s.errorf("a string is not UTF-8; encode it so, or bytes as base64")
			}
			s.at++
			return out, nil
		case c == '\\':
			return s.escaped(start)
		case c < 0x20:
			return nil, s.errorf("a string holds a raw control character; escape it")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, s.unexpected("the string's closing quote")
}

// escaped reads on from the first backslash of a string that began at start.
func (s *Scanner) escaped(start int) ([]byte, error) {
	out := append(make([]byte, 0, s.at-start+32), s.text[start:s.at]...)
	for s.at < len(s.text) {
		c := s.text[s.at]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				s.at = start
				return nil, s.errorf("a string is not UTF-8; encode it so, or bytes as base64")
			}
			s.at++
			return out, nil
		case c < 0x20:
			return nil, s.errorf("a string holds a raw control character; escape it")
		case c != '\\':
			out = append(out, c)
			s.at++
			continue
		}
		if s.at+1 >= len(s.text) {
			break
		}
		s.at += 2
		switch c := s.text[s.at-1]; c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := s.hex()
			if !ok {
				return nil, s.errorf("an escape \\u has not four hexadecimal digits")
			}
			if utf16.IsSurrogate(r) {
				mark := s.at
				r2 := rune(-1)
				if s.at+1 < len(s.text) && s.text[s.at] == '\\' && s.text[s.at+1] == 'u' {
					s.at += 2
					if r2, ok = s.hex(); !ok {
						return nil, s.errorf("an escape \\u has not four hexadecimal digits")
					}
				}
				if r = utf16.DecodeRune(r, r2); r == utf8.RuneError {
					s.at = mark // half a pair alone stands for nothing
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			s.at--
			return nil, s.errorf("the escape \\%c is unknown to JSON", c)
		}
	}
	s.at = len(s.text)
	return nil, s.unexpected("the string's closing quote")
}

func (s *Scanner) hex() (rune, bool) {
	if s.at+4 > len(s.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s.text[s.at:s.at+4]), 16, 32)
	if err != nil {
		return 0, false
	}
	s.at += 4
	return rune(n), true
}

// Number reads a number and returns its text.
func (s *Scanner) Number() ([]byte, error) {
	if c := s.Peek(); c != '-' && !digit(c) {
		return nil, s.unexpected("a number")
	}
	n := numberLen(s.text[s.at:])
	if n == 0 {
		return nil, s.errorf("a number is not written as JSON wants it; write like 1, -0.5 or 1e9")
	}
	s.at += n
	return s.text[s.at-n : s.at], nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// numberLen is the length of the JSON number at the start of b, 0 when there is none.
func numberLen(b []byte) int {
	i := 0
	digits := func() bool {
		start := i
		for i < len(b) && digit(b[i]) {
			i++
		}
		return i > start
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// Word consumes true, false or null when it comes next.
func (s *Scanner) Word(w string) bool {
	s.Peek()
	if len(s.text)-s.at < len(w) || string(s.text[s.at:s.at+len(w)]) != w {
		return false
	}
	s.at += len(w)
	return true
}

// Skip consumes any value.
func (s *Scanner) Skip() error {
	switch c := s.Peek(); {
	case c == '{':
		return s.Object(func([]byte) error { return s.Skip() })
	case c == '[':
		return s.Array(func(int) error { return s.Skip() })
	case c == '"':
		_, err := s.Text()
		return err
	case c == '-' || digit(c):
		_, err := s.Number()
		return err
	case s.Word("true") || s.Word("false") || s.Word("null"):
		return nil
	}
	return s.unexpected("a value")
}

// kindOf names the kind of value that begins with c, for people.
func kindOf(c byte) string {
	switch {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "true or false"
	case c == '-' || digit(c):
		return "a number"
	case c == 0:
		return "nothing"
	}
	return "no JSON value"
}

var errNotWhole = errors.New("is no whole number in the field's range; give one")
