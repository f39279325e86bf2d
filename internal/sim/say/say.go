// Package say puts what passes through a simulated cluster into words, for its trace.
package say

import (
	"fmt"
	"strings"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/sim/cover"
	"github.com/pando-os/pando/mesos"
)

// Words joins names and values, leaving out values that are empty.
func Words(pairs ...string) string {
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

// State names a state; nothing for none.
func State(s mesosv1.TaskState) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

func sayStatus(s *mesos.Status) string {
	return Words("task", s.TaskID, "state", s.State.String(), "agent", s.AgentID, "uuid", fmt.Sprintf("%.4x", s.UUID), "", s.Message)
}

// Message puts a message into words.
func Message(message any) string {
	name := strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", message), "*"), "cluster.")
	switch m := message.(type) {
	case interface{ Say() string }:
		return m.Say()
	case *cluster.AgentRegister:
		var tasks []string
		for _, t := range m.Tasks {
			tasks = append(tasks, t.Spec.ID+" "+t.State.String())
		}
		return name + Words("agent", m.Spec.ID, "links", fmt.Sprint(m.Links), "tasks", strings.Join(tasks, ", "))
	case *cluster.AgentUpdate:
		return name + Words("framework", m.Framework, "latest", m.Latest.String(), "launch", fmt.Sprint(m.Launch)) + sayStatus(m.Status)
	case cluster.Update:
		return name + sayStatus(m.Status)
	case *cluster.Subscribe:
		return name + Words("framework", m.Spec.ID, "roles", strings.Join(m.Spec.Roles, ","), "stream", fmt.Sprint(m.Stream))
	case *cluster.UpdateFramework:
		return name + Words("framework", m.Spec.ID, "roles", strings.Join(m.Spec.Roles, ","), "suppressed", strings.Join(m.Suppressed, ","))
	case *cluster.Accept:
		var tasks []string
		for _, o := range m.Operations {
			for _, t := range o.Tasks {
				tasks = append(tasks, t.ID)
			}
		}
		return name + Words("offers", strings.Join(m.Offers, ","), "tasks", strings.Join(tasks, ","), "refuse", sayRefuse(m.Refuse))
	case *cluster.Decline:
		return name + Words("offers", strings.Join(m.Offers, ","), "refuse", sayRefuse(m.Refuse))
	case cluster.Offers:
		var b strings.Builder
		for _, o := range m.Offers {
			fmt.Fprintf(&b, " %s(%s on %s for %s)", o.ID, o.Resources, o.Agent, o.Role)
		}
		return name + b.String()
	case cluster.Run:
		return name + Words("framework", m.Framework.ID, "task", m.Task.ID, "role", m.Role, "launch", fmt.Sprint(m.Launch))
	case cluster.RunGroup:
		var tasks []string
		for _, t := range m.Tasks {
			tasks = append(tasks, t.ID)
		}
		return name + Words("framework", m.Framework.ID, "tasks", strings.Join(tasks, ","), "role", m.Role, "launches", fmt.Sprint(m.Launches))
	case cluster.FrameworkChanged:
		return name + Words("framework", m.Framework.ID)
	case cluster.Apply:
		return name + Words("framework", m.Operation.Framework, "id", m.Operation.ID, "", string(m.Operation.Info))
	case *cluster.ChangeResources:
		return name + Words("agent", m.Agent, "", string(m.Change.Info))
	case cluster.Registered:
		return name + Words("agent", m.Agent, "unknown", fmt.Sprint(m.Unknown), "operations", fmt.Sprint(len(m.UnknownOperations)))
	case *cluster.AgentOperationEnd:
		return name + Words("id", m.End.ID, "state", m.End.State.String(), "status", fmt.Sprintf("%.4x", m.End.Status), "", string(m.End.Info))
	case cluster.Ack:
		return name + Words("framework", m.Framework, "task", m.Task, "uuid", fmt.Sprintf("%.4x", m.UUID))
	case *cluster.Acknowledge:
		return name + Words("task", m.Task, "agent", m.Agent, "uuid", fmt.Sprintf("%.4x", m.UUID))
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
	case *cluster.AcknowledgeOperation:
		return *m
	case *cluster.ShutdownExecutor:
		return *m
	case *cluster.AgentMessage:
		return *m
	case *cluster.AgentPong, *cluster.AgentLeave:
		return ""
	}
	return message
}

// Records names what an agent has saved.
func Records(records []workload.Record) string {
	var b strings.Builder
	for i := range records {
		r := &records[i]
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(cover.Member(r))
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
