package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// parseRead takes the answer of /files/read apart: {"data": "…", "offset": n}. The agent puts a file's bytes into the string
// as they are, be they UTF-8 or not, and encoding/json would replace some of them; here they survive.
func parseRead(b []byte) (data []byte, offset int64, err error) {
	start, end, err := dataString(b)
	if err != nil {
		return nil, 0, err
	}
	// What is left without the string is plain JSON.
	rest := append(append(bytes.Clone(b[:start]), `""`...), b[end:]...)
	var answer struct {
		Offset int64 `json:"offset"`
	}
	if err := json.Unmarshal(rest, &answer); err != nil {
		return nil, 0, err
	}
	data, err = unquote(b[start+1 : end-1])
	return data, answer.Offset, err
}

// dataString finds where the value of the member "data" begins and ends, quotes included. The object is flat, so the first
// `"data"` outside a string is the member.
func dataString(b []byte) (start, end int, err error) {
	key := false
	for i := 0; i < len(b); i++ {
		if b[i] != '"' {
			if c := b[i]; key && c != ':' && c != ' ' && c != '\t' && c != '\r' && c != '\n' {
				return 0, 0, errors.New("data is no string")
			}
			continue
		}
		begin := i
		for i++; i < len(b) && b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
		}
		if i >= len(b) {
			return 0, 0, errors.New("a string does not end")
		}
		if key {
			return begin, i + 1, nil
		}
		key = string(b[begin:i+1]) == `"data"`
	}
	return 0, 0, errors.New("there is no data")
}

// unquote undoes the escapes of a JSON string and leaves every other byte alone.
func unquote(s []byte) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(out, s...), nil
		}
		out = append(out, s[:i]...)
		s = s[i:]
		if len(s) < 2 {
			return nil, errors.New("an escape does not end")
		}
		switch c := s[1]; c {
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
			r, n := rune4(s)
			if n == 0 {
				return nil, errors.New("a \\u escape is no number")
			}
			out = utf8.AppendRune(out, r)
			s = s[n:]
			continue
		default:
			return nil, errors.New("an unknown escape")
		}
		s = s[2:]
	}
	return out, nil
}

// rune4 reads \uXXXX, or two of them that make one rune, and says how many bytes they took; none when it is no number.
func rune4(s []byte) (rune, int) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hex4(s[6:]); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return both, 12
			}
		}
	}
	return r, 6
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	r := rune(0)
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
