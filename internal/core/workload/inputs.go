package workload

import (
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// In is one input of the book; nil means that only time has passed. Values are shared and never changed by either side.
type In any

// Framework is what the agent must know of a scheduler that has tasks here.
type Framework struct {
	ID, Name, User string
	// Info is the encoded FrameworkInfo.
	Info []byte
	// PartitionAware frameworks are told DROPPED and GONE; the others LOST. TaskKilling ones are told of KILLING.
	PartitionAware, TaskKilling bool
}

// Task is a task as the master sent it.
type Task struct {
	Framework, ID, Name, Role, User string
	Resources                       resource.List
	// Launch is the master's number of this launch: it tells it from others of the same id.
	Launch uint64
	// Info is the encoded TaskInfo.
	Info []byte
	// Grace is the task's own time between SIGTERM and SIGKILL.
	Grace time.Duration
	// Completion is how long it may run; zero: as long as it likes.
	Completion time.Duration
	// Check is the encoded empty check_status that its first RUNNING update carries; nil without a check.
	Check []byte
	// Refused says why this agent cannot run it; empty when it can.
	Refused string
	// Executor is its framework's own, or the default one; nil for a command task.
	Executor *Executor
	// Group is the launch of the first task of its group, of which there are GroupSize; 0 for a task that was launched alone.
	Group     uint64
	GroupSize int
	// Separate tasks of a group have cgroups and limits of their own.
	Separate bool
	// Secrets says that Info lacks values of secrets, which the shell keeps for as long as the task runs.
	Secrets bool
}

// Inputs from the link to the master.
type (
	// Linked says that a leader answered. Link names the connection, never the same twice in a run; Epoch is the leader's.
	Linked struct{ Link, Epoch uint64 }
	// Unlinked says that the connection is gone.
	Unlinked struct{}
	// Registered is the leader's answer to a Register.
	Registered struct {
		Agent string
		Info  []byte
		// Unknown are tasks that the master sent here and that were not reported.
		Unknown []UnknownTask
		// UnknownOperations likewise.
		UnknownOperations []*Operation
	}
	// Run starts a task.
	Run struct {
		Framework *Framework
		Task      *Task
		// StartsExecutor says that the master knows of no executor like the task's here. Otherwise it must be here.
		StartsExecutor bool
	}
	// Kill ends one; a negative grace means the task's own.
	Kill struct {
		Ref
		Grace time.Duration
	}
	// Ack ends the retries of one update.
	Ack struct {
		Ref
		UUID string
	}
	// ShutdownFramework ends all of a framework, without updates.
	ShutdownFramework struct{ Framework string }
	// FrameworkChanged replaces what is known of a framework.
	FrameworkChanged struct{ Framework *Framework }
	// Resend asks for a framework's unacknowledged updates at once.
	Resend struct{ Framework string }
	// Leave says that the agent goes for good, or was told to: all tasks end without a word, and then it says goodbye to its
	// master if it has one. It is not remembered over a restart.
	Leave struct{}
	// Compact asks for the journal to be written anew.
	Compact struct{}
)

// UnknownTask is a task that never arrived. Nothing may be known here of its framework.
type UnknownTask struct {
	Ref
	PartitionAware bool
	// Launch is the number that its Run had.
	Launch uint64
}

// Ref names a task.
type Ref struct{ Framework, Task string }

// Inputs from the hands: the ends of Work, and what happens to containers.
type (
	// Launched is the end of a Launch. PID is set when a process was started; otherwise Failure says what went wrong.
	Launched struct {
		Container string
		PID       uint32
		Ticks     uint64
		Failure   LaunchFailure
		Words     string
	}
	// Joined comes before the Launched of a container that has networks of its own: what it starts may speak first.
	Joined struct {
		Container string
		Networks  []*mesosv1.NetworkInfo
	}
	// Exited is the end of a container's process. The same end may be told more than once.
	Exited struct {
		Container string
		Exit      Exit
	}
	// Overdrawn says that a task or an executor has taken more disk than it has: of its files, not of its volumes. Amounts are in bytes.
	Overdrawn struct {
		Container   string
		Used, Limit int64
	}
	// Health is a result of a task's health check, or of its check, that is to be told.
	Health struct {
		Container string
		// Healthy is -1 when this is about the check alone.
		Healthy int8
		// Kill says that the task failed its health check too often.
		Kill bool
		// Check is the encoded check_status to be told; nil when this is about health alone.
		Check []byte
		// Failures in a row and whether it was ever well, to go on from after a restart.
		Failures    uint32
		EverHealthy bool
	}
	// Recovered lists, once after a start, the containers that are found.
	Recovered struct{ Containers []Found }
)

// Found is a container that outlived the agent's process.
type Found struct {
	Container string
	PID       uint32
	Ticks     uint64
	Wall      int64 // when it started, in nanoseconds since the epoch
	// Networks are those of its own; none: it has the machine's.
	Networks []*mesosv1.NetworkInfo
	// Exit is set when it has ended.
	Exit *Exit
}

// Exit is how a container's process ended.
type Exit struct {
	// Status is the raw word of wait(2); Known is false when nobody could tell it.
	Status uint32
	Known  bool
	// OOM says that it hit its memory limit, of Limit bytes.
	OOM   bool
	Limit int64
	// TimedOut says that it ran longer than it may.
	TimedOut bool
	// Orphaned says that it was ended because the process that watched over it died.
	Orphaned bool
}

// LaunchFailure says at which place a launch failed.
type LaunchFailure uint8

// Places where launches fail.
const (
	LaunchOK LaunchFailure = iota
	// LaunchRefused: the container could not be made (fetching, limits, sandbox).
	LaunchRefused
	// UserUnknown: the machine does not have the user.
	UserUnknown
	// ExecFailed: the container was made, and its program could not be executed.
	ExecFailed
	// LaunchCanceled: a kill came first.
	LaunchCanceled
)

// Out is what a step asks for.
type Out = machine.Out[Record, Msg, Work, Fact]

// Record is one entry of the journal: exactly one member is set. The last entry about a thing holds.
type Record struct {
	Identity      *Identity
	Framework     *Framework
	FrameworkGone string
	Accepted      *Accepted
	Container     *Container
	Status        *StatusRecord
	Acked         *AckedRecord
	Kill          *KillRecord
	Check         *CheckRecord
	Gone          *Ref
	// Delivered says that a task was given to its executor.
	Delivered         *Ref
	ExecutorAccepted  *ExecutorAccepted
	ExecutorContainer *ExecutorContainer
	ExecutorShutdown  *ExecutorShutdown
	ExecutorGone      *ExecutorRef
	// Of containers of the API; the last is a path.
	NestedAccepted *Nested
	NestedEnded    *NestedEnded
	NestedGone     string
	OperationEnded *OperationEnded
	// OperationAcked is the operation whose end was acknowledged.
	OperationAcked string
	Kept           *Kept
	// VolumeRemoved is the doomed volume whose data is gone.
	VolumeRemoved string
	// Compact takes the place of all records before it.
	Compact []Record
}

// Identity is who the agent is.
type Identity struct {
	Agent string
	Info  []byte
	Epoch uint64
	Boot  string
	// Links counts the registrations that were sent.
	Links uint64
}

// Accepted says that the agent owes a terminal status for a task.
type Accepted struct {
	Task      *Task
	Container string
}

// Container says that a task's process was started.
type Container struct {
	Ref
	PID   uint32
	Ticks uint64
	Wall  int64
}

// StatusRecord is an update that is owed until it is acknowledged.
type StatusRecord struct {
	Ref
	Status *mesos.Status
}

// AckedRecord ends an update.
type AckedRecord struct {
	Ref
	UUID string
}

// KillRecord says that a task is being killed, and why.
type KillRecord struct {
	Ref
	Grace time.Duration
	Cause KillCause
}

// CheckRecord is from where health checks go on.
type CheckRecord struct {
	Ref
	Failures    uint32
	EverHealthy bool
}

// KillCause says why a task is killed.
type KillCause uint32

// Causes of kills.
const (
	NotKilled KillCause = iota
	KillAsked
	KillUnhealthy
	KillFrameworkGone
	// KillGroup: another task of its group did not end well.
	KillGroup
	// KillDisk: it took more disk than it has.
	KillDisk
)

// Msg is a message to the master, or an event for an executor: exactly one of the members but Link is set.
type Msg struct {
	// Link is the connection that it is for. What was meant for one that is gone must not go over the next.
	Link     uint64
	Register *Register
	Update   *Update
	// State is a newer state of a task whose update waits behind one that is not acknowledged.
	State *State
	// ExecutorEnd and Message are of executors.
	ExecutorEnd *ExecutorEnd
	Message     *Message
	// Operation is the end of one.
	Operation *OperationView
	// Executor is for an executor, and has no Link.
	Executor *ToExecutor
	// Nested answers a call, and has no Link.
	Nested *NestedAnswer
	// Unregister says goodbye.
	Unregister bool
	// Refuse closes the link: its master has an older epoch than one that was seen.
	Refuse string
}

// Register is the agent with everything that it holds.
type Register struct {
	Agent      string
	Tasks      []*TaskView
	Executors  []*ExecutorView
	Frameworks []*Framework
	// Total is all that the agent has, and Operations the ends that are owed.
	Total      resource.List
	Operations []*OperationView
	// Links is higher in every registration: a master heeds none that is older than one that it has seen.
	Links uint64
}

// State is what a task has come to, for the master alone.
type State struct {
	Ref
	State  mesosv1.TaskState
	Launch uint64
}

// Update is one status with the latest state that the agent knows.
type Update struct {
	Framework string
	Status    *mesos.Status
	Latest    mesosv1.TaskState
	// Launch is the task's.
	Launch uint64
}

// Work is one slow deed: exactly one member is set.
type Work struct {
	// Launch ends in Launched.
	Launch *LaunchWork
	// Cancel stops a Launch that has not started a process; its Launched says which came first.
	Cancel string
	// Kill ends a container; that comes back as Exited. Grace is between SIGTERM and SIGKILL.
	Kill *KillWork
	// LaunchNested ends in Launched, NestedEnded tells an end to who waits for it, RemoveNested removes a sandbox.
	LaunchNested *Nested
	NestedEnded  *NestedView
	RemoveNested *NestedRemoval
	// Watch starts the checks of a task that runs.
	Watch *WatchWork
	// Resize changes the limits of a container that runs.
	Resize *ResizeWork
	// Forget cleans up after a container that ended.
	Forget string
	// Destroy ends a container that nobody knows, and cleans up.
	Destroy string
	// RemoveVolume removes the data of a volume that was destroyed, and ends in VolumeRemoved. Whatever is launched after it finds
	// a volume of the same name empty.
	RemoveVolume *Doomed
	// ClearVolume removes the last trace of such a volume.
	ClearVolume *Doomed
	// PlaceVolumes brings a task's volumes into the sandbox of its executor, which runs, and ends in VolumesPlaced.
	PlaceVolumes *LaunchWork
	// Left says, once, that the agent is leaving and nothing of its tasks is here any more.
	Left bool
}

// LaunchWork is a container to be made: a task's, or an executor's, where Task is the one that it is started for, and Needs
// are all that it is started for if that is more.
type LaunchWork struct {
	Task      *Task
	Executor  *Executor
	Container string
	Framework *Framework
	Needs     []Need
	// Parent is set for a task of the default executor: its container is to be below that one.
	Parent string
}

// KillWork is a container to be ended.
type KillWork struct {
	Container string
	Grace     time.Duration
}

// WatchWork is a task whose checks begin or go on.
type WatchWork struct {
	Task      *Task
	Container string
	PID       uint32
	// Started is when its process began, in nanoseconds since the epoch.
	Started     int64
	Failures    uint32
	EverHealthy bool
}

// FactKind says what a Fact is about.
type FactKind uint8

// Facts that the book tells.
const (
	FactRegistered FactKind = iota
	FactReregistered
	FactUnlinked
	FactLeaderRefused
	FactTaskAccepted
	FactTaskRefused
	FactTaskStarted
	FactTaskState
	FactTaskAcked
	FactTaskKill
	FactTaskForgotten
	FactFrameworkShutdown
	FactOrphanDestroyed
	FactMessageDropped
	FactLeaving
	FactExecutorAccepted
	FactExecutorStarted
	FactExecutorSubscribed
	FactExecutorDisconnected
	FactExecutorShutdown
	FactExecutorEnded
	FactTaskDelivered
	FactNestedAccepted
	FactNestedStarted
	FactNestedEnded
	FactOperationEnded
	FactOperationAcked

	factKinds // how many there are
)

// factNames are for logs and metrics, by kind.
var factNames = [factKinds]string{
	FactRegistered: "registered", FactReregistered: "reregistered", FactUnlinked: "unlinked", FactLeaderRefused: "leader_refused",
	FactTaskAccepted: "task_accepted", FactTaskRefused: "task_refused", FactTaskStarted: "task_started",
	FactTaskState: "task_state", FactTaskAcked: "task_acked", FactTaskKill: "task_kill", FactTaskForgotten: "task_forgotten",
	FactFrameworkShutdown: "framework_shutdown", FactOrphanDestroyed: "orphan_destroyed", FactMessageDropped: "message_dropped",
	FactLeaving: "leaving", FactExecutorAccepted: "executor_accepted", FactExecutorStarted: "executor_started",
	FactExecutorSubscribed: "executor_subscribed", FactExecutorDisconnected: "executor_disconnected",
	FactExecutorShutdown: "executor_shutdown", FactExecutorEnded: "executor_ended", FactTaskDelivered: "task_delivered",
	FactNestedAccepted: "nested_accepted", FactNestedStarted: "nested_started", FactNestedEnded: "nested_ended",
	FactOperationEnded: "operation_ended", FactOperationAcked: "operation_acked",
}

// String is the fact's name in logs and metrics.
func (k FactKind) String() string { return factNames[k] }

// Fact is something that happened. Only the members that fit its kind are set.
type Fact struct {
	Kind            FactKind
	Framework, Task string
	Executor        string
	Container       string
	// Launch is the number of the task's launch, in FactTaskState and FactTaskForgotten, and in FactMessageDropped of a Run.
	Launch    uint64
	State     mesosv1.TaskState
	Status    *mesos.Status
	Text      string
	PID       uint32
	Operation *OperationView
}
