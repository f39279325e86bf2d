package stage

import (
	"fmt"
	"strings"

	"github.com/pando-os/pando/internal/sim/say"
)

// The trace is for people: one event a line, with its time in seconds since the stage is there. It costs more than the world
// itself, so it is written only when that is asked for; a seed that failed is run again for it.

// Tracing says whether a trace is written.
func (w *Stage) Tracing() bool { return w.tracing }

// Note writes a line into the trace.
func (w *Stage) Note(format string, args ...any) {
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%12.6f ", w.Now().Seconds())+fmt.Sprintf(format, args...))
	}
}

// Trace gives the last lines of the trace, the oldest first; all of it when last is 0.
func (w *Stage) Trace(last int) string {
	lines := w.trace
	if last > 0 {
		lines = lines[max(0, len(lines)-last):]
	}
	return strings.Join(lines, "\n")
}

// Lines is the whole trace.
func (w *Stage) Lines() []string { return w.trace }

// noteMessage writes who sends what to whom.
func (w *Stage) noteMessage(c *Conn, from int, message any) {
	if w.tracing {
		w.Note("%s → %s (conn %d): %s", c.Names[from], c.Names[1-from], c.ID, say.Message(message))
	}
}
