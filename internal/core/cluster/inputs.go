package cluster

import (
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/allocator"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// In is one input of the book; nil means that only time has passed. Its values are shared and never changed by either
// side.
type In any

// Names of connections are never used again, so what comes late from one that was replaced is told from the new one's.
type (
	// ConnID names one connection of an agent.
	ConnID uint64
	// StreamID names one SUBSCRIBE of a scheduler.
	StreamID uint64
	// CallID names a call whose caller waits.
	CallID uint64
)

// AgentSpec is what an agent says of itself when it registers.
type AgentSpec struct {
	// ID is empty for an agent that was never registered.
	ID string
	// Info is the encoded AgentInfo; the book appends the id that it gives.
	Info         []byte
	Hostname     string
	IP           string
	Port         int32
	Region, Zone string
	Total        resource.List
	Attributes   []*mesosv1.Attribute
	Version      string
	// Face is what every offer of the agent says the same way, encoded.
	Face         *mesos.AgentFace
	Capabilities []mesosv1.AgentInfo_Capability_Type
}

// TaskSpec is a task as its framework asked for it.
type TaskSpec struct {
	ID, Name, AgentID string
	// ExecutorID is set for tasks that bring an executor of their own.
	ExecutorID string
	// Executor describes it when the task is launched.
	Executor *ExecutorSpec
	// Separate tasks of a group have cgroups of their own instead of their executor's.
	Separate bool
	// User is whom it runs as.
	User string
	// Role is named by its resources' allocation; empty when they name none.
	Role      string
	Resources resource.List
	// Info is the encoded TaskInfo, without the values of its secrets: it is kept and shown. Whole has them, and is for its agent
	// alone; nil: Info lacks nothing.
	Info, Whole []byte
	// Invalid says why checks that need no state refuse it; Reason is then set too.
	Invalid string
	Reason  mesosv1.TaskStatus_Reason
}

// TaskReport is a task as an agent reports it when it registers.
type TaskReport struct {
	Framework string
	Spec      *TaskSpec
	Role      string
	State     mesosv1.TaskState
	// Statuses are its changes of state, oldest first, without data.
	Statuses []*mesos.Status
	// UpdateState and UpdateUUID belong to the update that was last sent.
	UpdateState mesosv1.TaskState
	UpdateUUID  string
	// Launch is the number that its Run had; 0 for a task that never arrived.
	Launch uint64
}

// FrameworkSpec is a scheduler as it describes itself.
type FrameworkSpec struct {
	// ID is empty on a first subscription.
	ID string
	// Info is the encoded FrameworkInfo; the book appends the id that it gives.
	Info                  []byte
	Name, User, Principal string
	Roles                 []string
	// Legacy is a framework of before MULTI_ROLE: it never sees allocation_info.
	Legacy          bool
	Caps            Capabilities
	Checkpoint      bool
	FailoverTimeout time.Duration
	Filters         map[string][]allocator.Quantities
}

// Capabilities of a framework that the book acts on.
type Capabilities struct {
	PartitionAware, Refinement, Revocable, Shared, TaskKilling, GPU, RegionAware bool
}

// Inputs from agents.
type (
	// AgentRegister is an agent with everything that it holds.
	AgentRegister struct {
		Conn       ConnID
		Spec       *AgentSpec
		Tasks      []TaskReport
		Executors  []ExecutorReport
		Frameworks []*FrameworkSpec
		// Operations are those whose ends are not acknowledged.
		Operations []OperationEnd
		// Links is higher in every registration of the agent.
		Links uint64
	}
	// AgentClosed says that a connection is gone.
	AgentClosed struct{ Conn ConnID }
	// AgentPong answers a ping.
	AgentPong struct{ Conn ConnID }
	// AgentLeave says that the agent goes for good.
	AgentLeave struct{ Conn ConnID }
	// AgentUpdate is one reliable status update.
	AgentUpdate struct {
		Conn      ConnID
		Framework string
		Status    *mesos.Status
		// Latest is the newest state that the agent knows.
		Latest mesosv1.TaskState
		// Launch is the number of the task's launch.
		Launch uint64
	}
	// AgentState is a newer state of a task than its outstanding update says.
	AgentState struct {
		Conn            ConnID
		Framework, Task string
		State           mesosv1.TaskState
		// Launch is the number of the Run.
		Launch uint64
	}
	// AgentMessage goes from an executor to its scheduler.
	AgentMessage struct {
		Conn                ConnID
		Framework, Executor string
		Data                []byte
	}
)

// Inputs from schedulers. Stream is the one that the call named; a call of a replaced stream is dropped.
type (
	// Subscribe opens a stream: a new framework, one that comes back, or one that takes over.
	Subscribe struct {
		Stream      StreamID
		Spec        *FrameworkSpec
		Suppressed  []string
		Constraints *mesos.Constraints
		// ConstraintsInfo is the encoded OfferConstraints, for showing.
		ConstraintsInfo []byte
	}
	// StreamClosed says that a scheduler's connection is gone.
	StreamClosed struct{ Stream StreamID }
	// UpdateFramework changes what may change.
	UpdateFramework struct {
		Call CallID
		Subscribe
	}
	// Accept runs operations on offers.
	Accept struct {
		Stream     StreamID
		Framework  string
		Offers     []string
		Operations []Operation
		// Refuse is how long what is left is not wanted; negative: the default.
		Refuse time.Duration
	}
	// Decline gives offers back.
	Decline struct {
		Stream    StreamID
		Framework string
		Offers    []string
		Refuse    time.Duration
	}
	// Revive asks for offers again, Suppress for none. No roles: all.
	Revive struct {
		Stream    StreamID
		Framework string
		Roles     []string
	}
	// Suppress stops offers.
	Suppress struct {
		Stream    StreamID
		Framework string
		Roles     []string
	}
	// Kill ends a task. Call is set when an operator asks and waits; Stream is then zero.
	Kill struct {
		Stream                 StreamID
		Call                   CallID
		Framework, Task, Agent string
		// Grace between SIGTERM and SIGKILL; negative: the task's own.
		Grace time.Duration
	}
	// Acknowledge ends the retries of one update.
	Acknowledge struct {
		Stream                 StreamID
		Framework, Agent, Task string
		UUID                   string
	}
	// Reconcile asks for the state of tasks; none named: of all.
	Reconcile struct {
		Stream    StreamID
		Framework string
		Tasks     []TaskRef
	}
	// TaskRef names a task, perhaps with the agent where it is thought to be.
	TaskRef struct{ Task, Agent string }
	// ReconcileOperations asks for the state of operations.
	ReconcileOperations struct {
		Stream     StreamID
		Framework  string
		Operations []OperationRef
	}
	// OperationRef names an operation, perhaps with its agent.
	OperationRef struct{ Operation, Agent string }
	// Message goes from a scheduler to an executor.
	Message struct {
		Stream                     StreamID
		Framework, Agent, Executor string
		Data                       []byte
	}
	// Teardown ends a framework and its tasks. Stream is zero when an operator asks.
	Teardown struct {
		Stream    StreamID
		Call      CallID
		Framework string
	}
)

// Operation is one step of an ACCEPT.
type Operation struct {
	// ID is set by frameworks that want its outcome told.
	ID   string
	Type mesosv1.Offer_Operation_Type
	// Tasks of a LAUNCH or LAUNCH_GROUP.
	Tasks []*TaskSpec
	// Change is what any other does. Invalid says why checks that need no state refuse it; Change is then nil.
	Change  *Change
	Invalid string
}
