// Package codec writes and reads the JSON of the Mesos v1 APIs for any generated message.
//
// It differs from protojson where Mesos does: 64-bit integers are numbers, explicit proto2
// defaults are written although unset, enums go by name only, null means unset, and unknown
// members are ignored. What is known of a message type is worked out once and kept.
package codec

import (
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// AppendString appends s as a JSON string. Only the quote, the backslash and control characters
// are escaped; bytes that are no UTF-8 become U+FFFD, since strict readers drop a record with them.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	for {
		n := plainLen(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return append(dst, '"')
		}
		s = s[n:]
		switch c := s[0]; c {
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
			if c < 0x20 {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
				break
			}
			r, n := utf8.DecodeRuneInString(string(s[:min(utf8.UTFMax, len(s))]))
			dst = utf8.AppendRune(dst, r)
			s = s[n:]
			continue
		}
		s = s[1:]
	}
}

// plainLen is the length of the beginning of s that needs no second look: ASCII without the
// quote, the backslash and control characters. It looks at eight bytes at a time.
func plainLen[T string | []byte](s T) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 | uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := w^ones*'"', w^ones*'\\'
		// The high bit of a byte is set where it is not ASCII, below 0x20, or equal to either.
		if (w|(w-ones*0x20)|(quote-ones)|(slash-ones))&high != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
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
	} else if a < 1<<33 {
		// Timestamps have six decimals at most. Doubles of this size lie closer together than a
		// millionth, so if a number of millionths reads back as f, no shorter one does.
		if n := math.Round(a * 1e6); n/1e6 == a {
			return appendMillionths(dst, f < 0, uint64(n))
		}
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if slices.Contains(dst[start:], '.') {
		return dst
	}
	return append(dst, '.', '0')
}

func appendMillionths(dst []byte, negative bool, n uint64) []byte {
	if negative {
		dst = append(dst, '-')
	}
	dst = strconv.AppendUint(dst, n/1e6, 10)
	dst = append(dst, '.')
	for n, unit := n%1e6, uint64(1e5); ; unit /= 10 {
		dst = append(dst, byte('0'+n/unit))
		if n %= unit; n == 0 {
			return dst
		}
	}
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
		switch dst[in] {
		case '-':
			out++
			in++
		case '+':
			in++
		}
		for in < len(dst)-1 && dst[in] == '0' {
			in++
		}
		return append(dst[:out], dst[in:]...)
	}
	return dst
}
