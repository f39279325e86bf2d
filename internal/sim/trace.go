package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
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
		w.note("%s → %s (conn %d): %s", c.names[from], c.names[1-from], c.id, say(message))
	}
}

// words joins names and values, leaving out values that are empty.
func words(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		b.WriteByte(' ')
		if pairs[i] != "" {
			b.WriteString(pairs[i])
			b.WriteByte('=')
		}
		b.WriteString(pairs[i+1])
	}
	return b.String()
}

func stateName(s mesosv1.TaskState) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

func sayStatus(s *mesos.Status) string {
	return words("task", s.TaskID, "state", s.State.String(), "agent", s.AgentID, "uuid", fmt.Sprintf("%.4x", s.UUID), "", s.Message)
}

// say puts a message into words.
func say(message any) string {
	name := strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", message), "*"), "sim.")
	name = strings.TrimPrefix(name, "cluster.")
	switch m := message.(type) {
	case redirect:
		return "307, ask " + m.to.name
	case unavailable:
		return "503, no leader is known"
	case welcome:
		return fmt.Sprintf("Welcome epoch=%d", m.epoch)
	case *cluster.AgentRegister:
		var tasks []string
		for _, t := range m.Tasks {
			tasks = append(tasks, t.Spec.ID+" "+t.State.String())
		}
		return name + words("agent", m.Spec.ID, "links", fmt.Sprint(m.Links), "tasks", strings.Join(tasks, ", "))
	case *cluster.AgentUpdate:
		return name + words("framework", m.Framework, "latest", m.Latest.String(), "launch", fmt.Sprint(m.Launch)) + sayStatus(m.Status)
	case cluster.Update:
		return name + sayStatus(m.Status)
	case *cluster.Subscribe:
		return name + words("framework", m.Spec.ID, "roles", strings.Join(m.Spec.Roles, ","), "stream", fmt.Sprint(m.Stream))
	case *cluster.UpdateFramework:
		return name + words("framework", m.Spec.ID, "roles", strings.Join(m.Spec.Roles, ","), "suppressed", strings.Join(m.Suppressed, ","))
	case *cluster.Accept:
		var tasks []string
		for _, o := range m.Operations {
			for _, t := range o.Tasks {
				tasks = append(tasks, t.ID)
			}
		}
		return name + words("offers", strings.Join(m.Offers, ","), "tasks", strings.Join(tasks, ","), "refuse", sayRefuse(m.Refuse))
	case *cluster.Decline:
		return name + words("offers", strings.Join(m.Offers, ","), "refuse", sayRefuse(m.Refuse))
	case cluster.Offers:
		var b strings.Builder
		for _, o := range m.Offers {
			fmt.Fprintf(&b, " %s(%s on %s for %s)", o.ID, o.Resources, o.Agent, o.Role)
		}
		return name + b.String()
	case cluster.Run:
		return name + words("framework", m.Framework.ID, "task", m.Task.ID, "role", m.Role, "launch", fmt.Sprint(m.Launch))
	case cluster.FrameworkChanged:
		return name + words("framework", m.Framework.ID)
	case cluster.Ack:
		return name + words("framework", m.Framework, "task", m.Task, "uuid", fmt.Sprintf("%.4x", m.UUID))
	case *cluster.Acknowledge:
		return name + words("task", m.Task, "agent", m.Agent, "uuid", fmt.Sprintf("%.4x", m.UUID))
	}
	return fmt.Sprintf("%s %+v", name, deref(message))
}

func sayRefuse(d time.Duration) string {
	if d < 0 {
		return "the default"
	}
	return d.String()
}

// deref shows small messages by value, so that no address gets into a trace.
func deref(message any) any {
	switch m := message.(type) {
	case *cluster.AgentState:
		return *m
	case *cluster.Kill:
		return *m
	case *cluster.Reconcile:
		return *m
	case *cluster.ReconcileOperations:
		return *m
	case *cluster.Revive:
		return *m
	case *cluster.Suppress:
		return *m
	case *cluster.Teardown:
		return *m
	case *cluster.Message:
		return *m
	case *cluster.AgentMessage:
		return *m
	case *cluster.AgentPong, *cluster.AgentLeave, hello, heartbeat:
		return ""
	}
	return message
}

// sayRecords names what an agent has saved.
func sayRecords(records []workload.Record) string {
	var b strings.Builder
	for i := range records {
		r := &records[i]
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(member(r))
		switch {
		case r.Accepted != nil:
			b.WriteString(" " + r.Accepted.Task.ID)
		case r.Status != nil:
			fmt.Fprintf(&b, " %s %s uuid=%.4x", r.Status.Task, r.Status.Status.State, r.Status.Status.UUID)
		case r.Acked != nil:
			fmt.Fprintf(&b, " %s uuid=%.4x", r.Acked.Task, r.Acked.UUID)
		case r.Container != nil:
			b.WriteString(" " + r.Container.Task)
		case r.Kill != nil:
			b.WriteString(" " + r.Kill.Task)
		case r.Gone != nil:
			b.WriteString(" " + r.Gone.Task)
		case r.Identity != nil:
			fmt.Fprintf(&b, " %s epoch=%d links=%d", r.Identity.Agent, r.Identity.Epoch, r.Identity.Links)
		}
	}
	return b.String()
}
