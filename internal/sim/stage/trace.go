package sim

import (
	"fmt"
	"strings"

	"github.com/pando-os/pando/internal/sim/say"
)

// The trace is for people: one event a line, with its time in seconds since the world began. It costs more than the world
// itself, so it is written only when Params.Trace asks; a seed that failed is run again for it.

func (w *World) tracing() bool { return w.Params.Trace }

// note writes a line into the trace.
func (w *World) note(format string, args ...any) {
	if w.Params.Trace {
		w.trace = append(w.trace, fmt.Sprintf("%12.6f ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// Trace gives the last lines of the trace, the oldest first; all of it when last is 0.
func (w *World) Trace(last int) string {
	lines := w.trace
	if last > 0 {
		lines = lines[max(0, len(lines)-last):]
	}
	return strings.Join(lines, "\n")
}

func (w *World) noteSave(who string, records int) { w.note("%s saves %d records", who, records) }

// noteMessage writes who sends what to whom.
func (w *World) noteMessage(c *conn, from int, message any) {
	if w.Params.Trace {
		w.note("%s → %s (conn %d): %s", c.names[from], c.names[1-from], c.id, say.Message(message))
	}
}
