package mesos

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/resource"
)

// ParseAttributes reads what the agent's --attributes takes: `rack:r1;level:10;ports:[1-5]`. A
// value is a number, ranges in brackets, or else text; sets are refused. The order is kept, and
// a name may come again: readers take the first.
func ParseAttributes(text string) ([]*mesosv1.Attribute, error) {
	var out []*mesosv1.Attribute
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == '\n' }) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("attributes: %q has no name or no value; write name:value", part)
		}
		a, err := attribute(name, value)
		if err != nil {
			return nil, fmt.Errorf("attributes: %q: %w", part, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func attribute(name, value string) (*mesosv1.Attribute, error) {
	a := &mesosv1.Attribute{Name: new(name)}
	switch value[0] {
	case '{':
		return nil, errors.New("an attribute may not be a set; write several attributes, or text")
	case '[':
		spans, err := resource.ParseSpans(value)
		if err != nil {
			return nil, err
		}
		a.Type, a.Ranges = mesosv1.Value_RANGES.Enum(), &mesosv1.Value_Ranges{}
		for _, s := range spans {
			a.Ranges.Range = append(a.Ranges.Range, &mesosv1.Value_Range{Begin: new(s.Begin), End: new(s.End)})
		}
		return a, nil
	}
	if f, ok := attributeNumber(value); ok {
		a.Type, a.Scalar = mesosv1.Value_SCALAR.Enum(), &mesosv1.Value_Scalar{Value: new(f)}
		return a, nil
	}
	a.Type, a.Text = mesosv1.Value_TEXT.Enum(), &mesosv1.Value_Text{Value: new(value)}
	return a, nil
}

// attributeNumber takes plain decimals only: "inf", "nan", "0x10" and "1_000" are words here.
func attributeNumber(value string) (float64, bool) {
	if strings.Trim(value, "0123456789.+-eE") != "" || !strings.ContainsAny(value, "0123456789") {
		return 0, false
	}
	f, err := strconv.ParseFloat(value, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// FormatAttributes is the inverse of ParseAttributes.
func FormatAttributes(list []*mesosv1.Attribute) string {
	parts := make([]string, len(list))
	for i, a := range list {
		value := a.GetText().GetValue()
		switch a.GetType() {
		case mesosv1.Value_SCALAR:
			value = strconv.FormatFloat(a.GetScalar().GetValue(), 'f', -1, 64)
		case mesosv1.Value_RANGES:
			spans := make([]string, len(a.GetRanges().GetRange()))
			for k, r := range a.GetRanges().GetRange() {
				spans[k] = fmt.Sprintf("%d-%d", r.GetBegin(), r.GetEnd())
			}
			value = "[" + strings.Join(spans, ",") + "]"
		}
		parts[i] = a.GetName() + ":" + value
	}
	return strings.Join(parts, ";")
}
