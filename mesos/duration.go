package mesos

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// units are Mesos' words for spans of time, the longest first.
var units = []struct {
	name string
	size time.Duration
}{
	{"weeks", 7 * 24 * time.Hour},
	{"days", 24 * time.Hour},
	{"hrs", time.Hour},
	{"mins", time.Minute},
	{"secs", time.Second},
	{"ms", time.Millisecond},
	{"us", time.Microsecond},
	{"ns", time.Nanosecond},
}

// ParseDuration reads a duration as Mesos writes it (`10mins`, `1.5hrs`, `1weeks`) or as Go does
// (`1h30m`).
func ParseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			break // "1h5ms" is Go's
		}
		// The bound itself is 2^63, one more than a duration holds.
		if f *= float64(u.size); math.IsNaN(f) || f >= math.MaxInt64 || f <= math.MinInt64 {
			return 0, fmt.Errorf("the duration %q is more than 292 years; give a shorter one", text)
		}
		return time.Duration(math.Round(f)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration; write like 10mins, 5secs or 1h30m", text)
	}
	return d, nil
}

// FormatDuration writes d as Mesos does: a number and the longest unit that is not longer than d,
// like `5secs`, `15mins`, `1.5hrs`. ParseDuration reads it back as d, as far as a double can say it.
func FormatDuration(d time.Duration) string {
	size := d
	if size < 0 {
		size = -size
	}
	for _, u := range units {
		if size >= u.size {
			return strconv.FormatFloat(float64(d)/float64(u.size), 'f', -1, 64) + u.name
		}
	}
	if d == 0 {
		return "0ns"
	}
	return strconv.FormatInt(int64(d), 10) + "ns"
}
