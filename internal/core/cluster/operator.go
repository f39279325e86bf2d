package cluster

import (
	"fmt"

	"github.com/pando-os/pando/gen/mesosv1"
)

// MarkAgentGone says that an agent and all that ran on it will never come back. Nothing takes that back.
type MarkAgentGone struct {
	Call  CallID
	Agent string
}

// Observe asks for a FactObserved: whoever wants to follow the book learns by it which facts are behind him.
type Observe struct{ ID uint64 }

// operate takes an operator's input.
func (b *Book) operate(in In, out *Out) {
	switch in := in.(type) {
	case *MarkAgentGone:
		b.markAgentGone(in, out)
	case *Observe:
		out.Tell = append(out.Tell, Fact{Kind: FactObserved, N: int(in.ID)})
	default:
		b.stepOperation(in, out)
	}
}

// goneWords are for an agent that lives although it was marked gone.
const goneWords = "this agent was marked gone; remove its work directory to let it join anew"

// markAgentGone ends an agent for good: its frameworks are told at once, and it is told to end now and whenever it returns.
func (b *Book) markAgentGone(in *MarkAgentGone, out *Out) {
	answer := func(k AnswerKind, words string) {
		out.Send = append(out.Send, Msg{Call: in.Call, Body: Answer{k, words}})
	}
	a := b.agents.Get(in.Agent)
	switch {
	case a == nil:
		answer(Missing, fmt.Sprintf("no agent has the id %q; see /slaves for those that are there", in.Agent))
		return
	case a.Mark == Gone:
		answer(Done, "")
		return
	}
	state := b.states[in.Agent]
	if state.conn != 0 {
		out.Send = append(out.Send, Msg{Conn: state.conn, Body: Shutdown{goneWords}})
	}
	n := *a
	n.Mark, n.Since, n.Connected, n.Recovered = Gone, b.now.Wall, false, false
	b.detach(a, &n, out)
	b.dropOperations(state, mesosv1.OperationState_OPERATION_GONE_BY_OPERATOR, "An operator marked the operation's agent gone.", out)
	for _, key := range b.tasksOn(state) {
		if t := b.tasks.Get(key); t != nil {
			b.taskGone(t, out)
		}
	}
	out.Tell = append(out.Tell, Fact{Kind: FactAgentRemoved, Agent: in.Agent, Text: "an operator marked it gone", AgentIs: a})
	b.tellFailure(in.Agent, out)
	answer(Done, "")
}

// taskGone tells of a task whose agent is gone. Frameworks that know of partitions hear that an operator vouches for its
// end; for the others it is lost as on an agent that is unreachable, and stands there, as the original has it.
func (b *Book) taskGone(t *Task, out *Out) {
	if t.Released && !t.Unreachable {
		b.complete(t)
		return
	}
	n := *t
	reason := mesosv1.TaskStatus_REASON_AGENT_REMOVED_BY_OPERATOR
	f := b.frameworks.Get(t.Framework)
	n.State = b.aware(f, mesosv1.TaskState_TASK_GONE_BY_OPERATOR)
	if n.State == mesosv1.TaskState_TASK_LOST {
		if t.Unreachable {
			return // it was told so
		}
		reason = mesosv1.TaskStatus_REASON_AGENT_REMOVED
		n.Before, n.Unreachable = t.State, true
	}
	s := b.status(t.Spec.ID, t.Agent, n.State, reason, "An operator marked the task's agent gone.")
	n.Released, n.KillGrace, n.Statuses = true, nil, pushStatus(t.Statuses, s)
	b.tasks.Set(&n)
	b.tell(t.Framework, s, out)
	out.Tell = append(out.Tell, Fact{Kind: FactTaskState, Agent: t.Agent, Framework: t.Framework, Task: t.Spec.ID, State: s.State, Was: t.State, Status: s, FrameworkIs: f, TaskIs: &n})
	if n.State != mesosv1.TaskState_TASK_LOST {
		n.Unreachable = false
		b.complete(&n)
	}
}
