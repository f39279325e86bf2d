package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pando-os/pando/internal/fault"
)

// format is how a command prints; the zero one is a table.
type format string

const formatJSON format = "json"

// String, Set and Type make a format a flag.
func (f *format) String() string {
	if *f == "" {
		return "table"
	}
	return string(*f)
}

func (f *format) Set(s string) error {
	switch s {
	case "table":
		*f = ""
	case string(formatJSON):
		*f = formatJSON
	default:
		return fmt.Errorf("%q is neither table nor json", s)
	}
	return nil
}

func (*format) Type() string { return "FORMAT" }

// show prints value as indented JSON, or calls table with a writer that aligns columns divided by tabs.
func (a *App) show(value any, table func(w io.Writer)) error {
	if a.output == formatJSON {
		e := json.NewEncoder(a.Out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(value); err != nil {
			return fault.New(fault.Internal, "printing JSON: %w", err)
		}
		return nil
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// row writes the cells of one line of a table. What would break the table or the terminal is replaced, since names come from
// other people.
func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		cells[i] = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
				return '?'
			}
			return r
		}, c)
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// number writes an amount with up to three digits after the point, and none that say nothing.
func number(f float64) string {
	return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64)
}

// size writes an amount of MB as people read it.
func size(mb float64) string {
	if mb >= 10*1024 {
		return number(math.Round(mb/1024*10)/10) + " GB"
	}
	return number(mb) + " MB"
}

// ago writes how long before now a time in seconds since the epoch was, coarsely.
func (a *App) ago(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	d := time.Duration((a.Clock.Now().Seconds() - seconds) * float64(time.Second))
	switch {
	case d < 0:
		return "now"
	case d < 2*time.Minute:
		return d.Truncate(time.Second).String()
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

// state writes TASK_RUNNING as people say it.
func state(s string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s, "TASK_"), "_", " "))
}
