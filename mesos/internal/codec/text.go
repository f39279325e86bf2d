// Package codec writes and reads the JSON of the Mesos v1 APIs for any generated message.
//
// It differs from protojson where Mesos does: 64-bit integers are numbers, explicit proto2
// defaults are written although unset, enums go by name only, null means unset, and unknown
// members are ignored. What is known of a message type is worked out once and kept.
package codec

import (
	"math"
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// AppendString appends s as a JSON string. Only the quote, the backslash and control characters
// are escaped; bytes that are no UTF-8 become U+FFFD, since strict readers drop a record with them.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// AppendDouble appends the shortest decimal that reads back as f, with a fraction always there
// (`15.0`), plain up to 21 digits and with an exponent beyond (`1e30`). JSON has no infinity: those
// are the strings "Infinity" and "-Infinity", and NaN, which no field may hold, is "NaN".
func AppendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case f == 0:
		if math.Signbit(f) {
			dst = append(dst, '-')
		}
		return append(dst, "0.0"...)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return append(strconv.AppendInt(dst, int64(f), 10), '.', '0')
	}
	if a := math.Abs(f); a >= 1e21 || a < 1e-6 {
		return appendExponent(dst, f)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[start:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

// appendExponent writes 1e30 and 1.5e-7: no plus sign, and no zero in front of the exponent.
func appendExponent(dst []byte, f float64) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	for i := start; i < len(dst); i++ {
		if dst[i] != 'e' {
			continue
		}
		out, in := i+1, i+1
		if dst[in] == '-' {
			out++
			in++
		} else if dst[in] == '+' {
			in++
		}
		for in < len(dst)-1 && dst[in] == '0' {
			in++
		}
		return append(dst[:out], dst[in:]...)
	}
	return dst
}
