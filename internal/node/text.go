package node

import (
	"iter"
	"strconv"
	"strings"

	"github.com/pando-os/pando/mesos/resource"
)

// splitNonEmpty gives the trimmed parts of a text that are not empty.
func splitNonEmpty(text, sep string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := range strings.SplitSeq(text, sep) {
			if p = strings.TrimSpace(p); p != "" && !yield(p) {
				return
			}
		}
	}
}

func cut(text, sep string) (before, after string, ok bool) {
	before, after, ok = strings.Cut(text, sep)
	return strings.TrimSpace(before), strings.TrimSpace(after), ok
}

func parseQuantity(text string) (int64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, err
	}
	q, err := resource.FromFloat(f)
	return int64(q), err
}
