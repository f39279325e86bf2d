package cluster

import (
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Out is what a step of the book asks for.
type Out = machine.Out[Record, Msg, Work, Fact]

// Work is empty: the book has no slow deeds of its own.
type Work struct{}

// Record is one durable change: an agent or a framework is put, or one of them forgotten.
type Record struct {
	Agent     *AgentRecord
	Framework *FrameworkRecord
	// Forget is the id of a framework whose record goes.
	Forget string
	// ForgetAgent is the id of an agent whose record goes.
	ForgetAgent string
}

// Mark is the standing of an agent in the registry.
type Mark uint32

// Standings of agents.
const (
	Admitted Mark = iota
	Unreachable
	Gone
)

// AgentRecord is what outlives a master of an agent.
type AgentRecord struct {
	Spec *AgentSpec
	Mark Mark
	// Since is when it was marked, and Registered when it first came, in nanoseconds since the epoch.
	Since, Registered int64
}

// FrameworkRecord is what outlives a master of a framework.
type FrameworkRecord struct {
	Spec       *FrameworkSpec
	Registered int64
	// Removed is when it was torn down or its failover timeout passed; 0 for one that lives.
	Removed int64
}

// Msg is one message: to a scheduler's stream, an agent's connection or a waiting caller. Exactly one of the three ids
// is set.
type Msg struct {
	Stream StreamID
	Conn   ConnID
	Call   CallID
	// Body is an Event for a stream, a Down for a connection, an Answer for a call.
	Body any
}

// Events for a scheduler's stream.
type (
	// Subscribed is the first.
	Subscribed struct{ Framework string }
	// Offers are new.
	Offers struct{ Offers []*Offer }
	// Rescind takes one back.
	Rescind struct{ Offer string }
	// Update is a status; one with a uuid wants an acknowledgement.
	Update struct{ Status *mesos.Status }
	// OperationUpdate is the outcome of an operation.
	OperationUpdate struct {
		Operation, Agent string
		State            mesosv1.OperationState
		Message          string
		// UUID is set when an acknowledgement is wanted.
		UUID string
	}
	// ExecutorMessage comes from an executor.
	ExecutorMessage struct {
		Agent, Executor string
		Data            []byte
	}
	// Failure says that an agent is gone, or that an executor on it has ended, with the status that wait(2) gave; -1 when
	// nobody knows it.
	Failure struct {
		Agent, Executor string
		Status          int32
	}
	// Error is the last event of its stream, which closes.
	Error struct{ Message string }
	// Close ends a stream without a word.
	Close struct{}
)

// Orders for an agent.
type (
	// Registered tells an agent its id, and which tasks and operations sent to it are missing from its report.
	Registered struct {
		Agent             string
		Unknown           []UnknownTask
		UnknownOperations []*AgentOperation
	}
	// UnknownTask is one of them. The agent may know nothing of its framework, so that stands here.
	UnknownTask struct {
		FrameworkTask
		PartitionAware bool
		// Launch is the number that its Run had.
		Launch uint64
	}
	// FrameworkTask names a task of a framework.
	FrameworkTask struct{ Framework, Task string }
	// Run starts a task.
	Run struct {
		Framework *FrameworkSpec
		Task      *TaskSpec
		Role      string
		// Launch tells this launch from others of the same task id.
		Launch uint64
		// StartsExecutor says that the task's executor is not known to be there.
		StartsExecutor bool
	}
	// KillTask ends one. Grace is in nanoseconds; negative: the task's own.
	KillTask struct {
		Framework, Task string
		Grace           int64
	}
	// Ack passes an acknowledgement on.
	Ack struct{ Framework, Task, UUID string }
	// ShutdownFramework ends all of a framework.
	ShutdownFramework struct{ Framework string }
	// FrameworkChanged passes a new FrameworkInfo on.
	FrameworkChanged struct{ Framework *FrameworkSpec }
	// Ping wants a pong.
	Ping struct{}
	// Resend asks for a framework's unacknowledged updates at once.
	Resend struct{ Framework string }
	// Shutdown ends the agent.
	Shutdown struct{ Why string }
	// SchedulerMessage is for an executor.
	SchedulerMessage struct {
		Framework, Executor string
		Data                []byte
	}
	// Disconnect closes the connection; the agent comes back by itself.
	Disconnect struct{ Why string }
)

// Answer ends a call that waits.
type Answer struct {
	Kind AnswerKind
	Text string
}

// AnswerKind says how a call ended.
type AnswerKind uint8

// Ends of calls.
const (
	Done AnswerKind = iota
	Invalid
	Missing
	Conflict
)

// FactKind says what a Fact is about.
type FactKind uint8

// Facts that the book tells. A task returned when its agent, which was unreachable, registered anew; it was reported when its
// agent registered anew and knew more of it than the book. FactObserved answers Observe.
const (
	FactAgentRegistered FactKind = iota
	FactAgentReregistered
	FactAgentDisconnected
	FactAgentUnreachable
	// FactAgentGivenUp says that an agent will be marked unreachable when its turn comes, and FactAgentSpared that it will not.
	FactAgentGivenUp
	FactAgentSpared
	FactAgentRemoved
	FactAgentRefused
	FactFrameworkSubscribed
	FactFrameworkFailedOver
	FactFrameworkDisconnected
	FactFrameworkRemoved
	FactFrameworkRefused
	FactFrameworkUpdated
	FactOffersSent
	FactOffersAccepted
	FactOffersDeclined
	FactOfferRescinded
	FactTaskLaunched
	FactTaskRefused
	FactTaskState
	FactTaskAcknowledged
	FactTaskKill
	FactTaskAdopted
	FactCallDropped
	FactAllocated
	FactUpdateDropped
	FactExecutorStarted
	FactExecutorEnded
	FactFrameworkRecovered
	FactTaskReturned
	FactTaskReported
	FactObserved
	FactOperationAccepted
	FactOperationRefused
	FactOperationEnded
	FactOperationAcknowledged

	factKinds // how many there are
)

// factNames are for logs and metrics, by kind.
var factNames = [factKinds]string{
	FactAgentRegistered: "agent_registered", FactAgentReregistered: "agent_reregistered",
	FactAgentDisconnected: "agent_disconnected", FactAgentUnreachable: "agent_unreachable", FactAgentGivenUp: "agent_given_up",
	FactAgentSpared: "agent_spared", FactAgentRemoved: "agent_removed", FactAgentRefused: "agent_refused",
	FactFrameworkSubscribed: "framework_subscribed", FactFrameworkFailedOver: "framework_failed_over",
	FactFrameworkDisconnected: "framework_disconnected", FactFrameworkRemoved: "framework_removed",
	FactFrameworkRefused: "framework_refused", FactFrameworkUpdated: "framework_updated", FactOffersSent: "offers_sent",
	FactOffersAccepted: "offers_accepted", FactOffersDeclined: "offers_declined", FactOfferRescinded: "offer_rescinded",
	FactTaskLaunched: "task_launched", FactTaskRefused: "task_refused", FactTaskState: "task_state",
	FactTaskAcknowledged: "task_acknowledged", FactTaskKill: "task_kill", FactTaskAdopted: "task_adopted",
	FactCallDropped: "call_dropped", FactAllocated: "allocated", FactUpdateDropped: "update_dropped",
	FactExecutorStarted: "executor_started", FactExecutorEnded: "executor_ended", FactFrameworkRecovered: "framework_recovered",
	FactTaskReturned: "task_returned", FactTaskReported: "task_reported", FactObserved: "observed",
	FactOperationAccepted: "operation_accepted", FactOperationRefused: "operation_refused", FactOperationEnded: "operation_ended",
	FactOperationAcknowledged: "operation_acknowledged",
}

// String is the fact's name in logs and metrics.
func (k FactKind) String() string { return factNames[k] }

// Reason says why something was refused or dropped. The list is closed; Text has the words for people.
type Reason uint8

// Reasons of refusals.
const (
	NoReason Reason = iota
	StreamReplaced
	FrameworkUnknown
	FrameworkGone
	OffersInvalid
	AgentUnknown
	AgentAway
	AgentMarkedGone
	TaskUnknown
	TaskMismatch
	RolesInvalid
	AcknowledgementStale
	SpecInvalid
	RegistrationStale
	AgentElsewhere
	AgentsTooMany
	FrameworksTooMany
	UpdateMisaddressed
	UpdatesTooMany
	OperationInvalid
	OperationUnknown
)

var reasonTexts = [...]string{
	"", "the stream was replaced by a newer subscription", "no such framework", "the framework was removed",
	"an offer is no longer valid", "no such agent", "the agent is not connected", "the agent was marked gone",
	"no such task", "the task is on another agent", "a role is invalid or not subscribed",
	"the acknowledgement is not for the outstanding update",
	"the description is invalid", "the agent has registered again since",
	"another agent is connected under this id, from another address", "there are as many agents as there may be",
	"there are as many frameworks as there may be", "the update names another agent than the one that sends it, or has no uuid",
	"the agent sends more than it may without being asked", "the operation breaks a rule", "no such operation",
}

// reasonNames are for metrics, by reason.
var reasonNames = [...]string{
	"", "stream_replaced", "framework_unknown", "framework_gone", "offers_invalid", "agent_unknown", "agent_away", "agent_gone",
	"task_unknown", "task_mismatch", "roles_invalid", "acknowledgement_stale", "spec_invalid",
	"registration_stale", "agent_elsewhere", "agents_too_many", "frameworks_too_many", "update_misaddressed", "updates_too_many",
	"operation_invalid", "operation_unknown",
}

// Reasons is every reason there is.
func Reasons() []Reason {
	out := make([]Reason, 0, len(reasonNames)-1)
	for r := range reasonNames[1:] {
		out = append(out, Reason(r+1))
	}
	return out
}

// Name is the reason's name in metrics.
func (r Reason) Name() string { return reasonNames[r] }

// Text says the reason in words.
func (r Reason) Text() string { return reasonTexts[r] }

// Fact is something that happened. Only the members that fit its kind are set.
type Fact struct {
	Kind                   FactKind
	Reason                 Reason
	Agent, Framework, Task string
	Executor               string
	State, Was             mesosv1.TaskState // of a FactTaskState: what the task has come to, and from what; they may be the same
	Status                 *mesos.Status
	Resources              resource.List
	Operation              *AgentOperation
	OperationType          mesosv1.Offer_Operation_Type // of one that is refused
	Text                   string
	N                      int
	// AgentIs, FrameworkIs and TaskIs are what it is about, as they are after it, where a reader of the book would see a
	// change: of a task's fact the framework is its own, and of an agent that is removed it is the agent as it was before.
	AgentIs     *Agent
	FrameworkIs *Framework
	TaskIs      *Task
}
