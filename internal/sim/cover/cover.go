// Package cover counts what really happened in simulated clusters, and names what should have happened and never did: a set
// of seeds that tests nothing is seen by it.
package cover

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/workload"
)

// Table counts faults, crashes by machine and boundary, and every kind of message that went into a book or came out of one.
type Table struct {
	// Events is how many there were, Shared how many clusters were shared at their end, and Time what the clusters lived.
	Events, Shared int
	Time           time.Duration

	faults     map[string]int
	in, out    map[reflect.Type]int
	agentOut   map[string]int
	boundaries []string
	crashes    map[string][]int
}

// New makes an empty table; boundaries names the places between two effects at which a process may crash.
func New(boundaries []string) *Table {
	return &Table{
		faults: map[string]int{}, in: map[reflect.Type]int{}, out: map[reflect.Type]int{}, agentOut: map[string]int{},
		boundaries: boundaries,
		crashes:    map[string][]int{"master": make([]int, len(boundaries)), "agent": make([]int, len(boundaries))},
	}
}

// Fault counts a fault, or something that faults led to.
func (c *Table) Fault(name string) { c.faults[name]++ }

// Crash counts a crash of a "master" or an "agent" at a boundary.
func (c *Table) Crash(kind string, boundary int) { c.crashes[kind][boundary]++ }

// Input counts an input of a book.
func (c *Table) Input(in any) {
	if in != nil {
		c.in[reflect.TypeOf(in)]++
	}
}

// Output counts a message of a master's book.
func (c *Table) Output(body any) { c.out[reflect.TypeOf(body)]++ }

// Agent counts the members of an agent's messages, works and records, of which one each is set.
func (c *Table) Agent(out *workload.Out) {
	for i := range out.Send {
		c.agentOut["sends "+Member(&out.Send[i])]++
	}
	for i := range out.Do {
		c.agentOut["does "+Member(&out.Do[i])]++
	}
	for i := range out.Save {
		c.agentOut["saves "+Member(&out.Save[i])]++
	}
}

// Member names the member of a message, work or record that is set.
func Member(x any) string {
	set := func(is bool, name, rest string) string {
		if is {
			return name
		}
		return rest
	}
	switch m := x.(type) {
	case *workload.Msg:
		return set(m.Register != nil, "Register", set(m.Update != nil, "Update", set(m.State != nil, "State", set(m.Unregister, "Unregister", set(m.Refuse != "", "Refuse",
			set(m.ExecutorEnd != nil, "ExecutorEnd", set(m.Message != nil, "Message", set(m.Operation != nil, "Operation", "Executor"))))))))
	case *workload.Work:
		return set(m.Launch != nil, "Launch", set(m.Cancel != "", "Cancel", set(m.Kill != nil, "Kill",
			set(m.Watch != nil, "Watch", set(m.Forget != "", "Forget", set(m.Left, "Left", set(m.Resize != nil, "Resize", set(m.RemoveVolume != nil, "RemoveVolume",
				set(m.ClearVolume != nil, "ClearVolume", set(m.PlaceVolumes != nil, "PlaceVolumes", "Destroy"))))))))))
	case *workload.Record:
		return set(m.Identity != nil, "Identity", set(m.Framework != nil, "Framework", set(m.FrameworkGone != "", "FrameworkGone",
			set(m.Accepted != nil, "Accepted", set(m.Container != nil, "Container", set(m.Status != nil, "Status",
				set(m.Acked != nil, "Acked", set(m.Kill != nil, "Kill", set(m.Check != nil, "Check", set(m.Gone != nil, "Gone", set(m.Compact != nil, "Compact", executorMember(m))))))))))))
	}
	return ""
}

// executorMember names the member of a record about an executor, or an operation, that is set.
func executorMember(r *workload.Record) string {
	switch {
	case r.Delivered != nil:
		return "Delivered"
	case r.ExecutorAccepted != nil:
		return "ExecutorAccepted"
	case r.ExecutorContainer != nil:
		return "ExecutorContainer"
	case r.ExecutorShutdown != nil:
		return "ExecutorShutdown"
	case r.OperationEnded != nil:
		return "OperationEnded"
	case r.OperationAcked != "":
		return "OperationAcked"
	case r.Kept != nil:
		return "Kept"
	case r.VolumeRemoved != "":
		return "VolumeRemoved"
	}
	return "ExecutorGone"
}

// Add adds the counts of another run.
func (c *Table) Add(o *Table) {
	for k, n := range o.faults {
		c.faults[k] += n
	}
	for k, n := range o.in {
		c.in[k] += n
	}
	for k, n := range o.out {
		c.out[k] += n
	}
	for k, n := range o.agentOut {
		c.agentOut[k] += n
	}
	for kind, row := range o.crashes {
		for b, n := range row {
			c.crashes[kind][b] += n
		}
	}
	c.Events += o.Events
	c.Time += o.Time
	c.Shared += o.Shared
}

// The kinds that every long enough run must see.
var (
	wantedIn = []any{
		&cluster.AgentRegister{}, &cluster.AgentClosed{}, &cluster.AgentPong{}, &cluster.AgentLeave{}, &cluster.AgentUpdate{},
		&cluster.AgentState{}, &cluster.AgentMessage{}, &cluster.Subscribe{}, &cluster.StreamClosed{}, &cluster.UpdateFramework{},
		&cluster.Accept{}, &cluster.Decline{}, &cluster.Revive{}, &cluster.Suppress{}, &cluster.Kill{}, &cluster.Acknowledge{},
		&cluster.Reconcile{}, &cluster.ReconcileOperations{}, &cluster.Message{}, &cluster.Teardown{}, &cluster.MarkAgentGone{},
		&cluster.AgentExecutorEnd{}, &cluster.ShutdownExecutor{},
		&cluster.AgentOperationEnd{}, &cluster.AcknowledgeOperation{}, &cluster.ChangeResources{},
		&workload.Linked{}, &workload.Unlinked{}, &workload.Registered{}, &workload.Run{}, &workload.RunGroup{}, &workload.Kill{}, &workload.Ack{},
		&workload.ShutdownFramework{}, &workload.FrameworkChanged{}, &workload.Resend{}, &workload.Compact{}, &workload.Joined{}, &workload.Launched{},
		&workload.Exited{}, &workload.Health{}, &workload.Overdrawn{}, &workload.Recovered{}, &workload.Leave{},
		&workload.ExecutorSubscribe{}, &workload.ExecutorClosed{}, &workload.ExecutorUpdate{}, &workload.ExecutorMessage{},
		&workload.ShutdownExecutor{}, &workload.SchedulerMessage{},
		&workload.Apply{}, &workload.OperationAck{}, &workload.VolumeRemoved{}, &workload.VolumesPlaced{},
	}
	wantedOut = []any{
		cluster.Subscribed{},
		cluster.Offers{},
		cluster.Rescind{},
		cluster.Update{},
		cluster.OperationUpdate{},
		cluster.ExecutorMessage{},
		cluster.Failure{},
		cluster.Error{},
		cluster.Close{},
		cluster.Registered{},
		cluster.Run{},
		cluster.RunGroup{},
		cluster.KillTask{},
		cluster.Ack{},
		cluster.ShutdownFramework{},
		cluster.FrameworkChanged{},
		cluster.Ping{},
		cluster.Shutdown{},
		cluster.Resend{},
		cluster.SchedulerMessage{},
		cluster.Disconnect{},
		cluster.Answer{},
		cluster.EndExecutor{},
		cluster.Apply{},
		cluster.OperationAck{},
	}
	wantedAgent = []string{
		"sends Register", "sends Update", "sends State", "sends Refuse", "sends Unregister",
		"does Launch", "does Cancel", "does Kill", "does Watch", "does Forget", "does Destroy", "does Left",
		"saves Identity", "saves Framework", "saves FrameworkGone", "saves Accepted", "saves Container", "saves Status", "saves Acked",
		"saves Kill", "saves Check", "saves Gone", "saves Compact",
		"sends Operation", "does RemoveVolume", "does ClearVolume", "does PlaceVolumes", "saves OperationEnded", "saves OperationAcked",
		"saves VolumeRemoved",
		"sends Executor", "sends ExecutorEnd", "sends Message", "does Resize",
		"saves Delivered", "saves ExecutorAccepted", "saves ExecutorContainer", "saves ExecutorShutdown", "saves ExecutorGone",
	}
)

// Missing names what should have happened in a run of many seeds and never did: of these faults, and of all kinds of inputs,
// messages, records and deeds.
func (c *Table) Missing(faults []string) []string {
	var out []string
	for _, name := range faults {
		if c.faults[name] == 0 {
			out = append(out, "the fault, or what faults lead to: "+name)
		}
	}
	for _, x := range wantedIn {
		if c.in[reflect.TypeOf(x)] == 0 {
			out = append(out, fmt.Sprintf("the input %T", x))
		}
	}
	for _, x := range wantedOut {
		if c.out[reflect.TypeOf(x)] == 0 {
			out = append(out, fmt.Sprintf("the message %T", x))
		}
	}
	for _, x := range wantedAgent {
		if c.agentOut[x] == 0 {
			out = append(out, "an agent that "+x)
		}
	}
	for _, kind := range []string{"agent", "master"} {
		for b, n := range c.crashes[kind] {
			if n < 20 {
				out = append(out, fmt.Sprintf("crashes of the %s at %s: only %d, and 20 are wanted", kind, c.boundaries[b], n))
			}
		}
	}
	if c.Shared == 0 {
		out = append(out, "a cluster that is shared at the end")
	}
	return out
}

// String is the table.
func (c *Table) String() string {
	var b strings.Builder
	row := func(title string, counts map[string]int) {
		fmt.Fprintf(&b, "%s:\n", title)
		for _, k := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&b, "  %-44s %10d\n", k, counts[k])
		}
	}
	row("faults, and what they led to", c.faults)
	row("inputs of the books", byName(c.in))
	row("messages of the master's book", byName(c.out))
	row("effects of the agent's book", c.agentOut)
	fmt.Fprintf(&b, "crashes at the boundaries of effects:\n  %-10s", "")
	for _, x := range c.boundaries {
		fmt.Fprintf(&b, "%12s", x)
	}
	for _, kind := range []string{"master", "agent"} {
		fmt.Fprintf(&b, "\n  %-10s", kind)
		for _, n := range c.crashes[kind] {
			fmt.Fprintf(&b, "%12d", n)
		}
	}
	return b.String()
}

func byName(m map[reflect.Type]int) map[string]int {
	out := map[string]int{}
	types := make([]reflect.Type, 0, len(m))
	for t := range m {
		types = append(types, t)
	}
	slices.SortFunc(types, func(x, y reflect.Type) int { return strings.Compare(x.String(), y.String()) })
	for _, t := range types {
		out[strings.TrimPrefix(t.String(), "*")] = m[t]
	}
	return out
}
