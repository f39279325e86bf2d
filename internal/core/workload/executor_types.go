package workload

import (
	"time"

	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// ExecutorRef names an executor of a framework's own.
type ExecutorRef struct{ Framework, Executor string }

// Executor is an executor of a framework's own, as the master sent it with the first of its tasks.
type Executor struct {
	Framework, ID, Name, Source, Role, User string
	Resources                               resource.List
	// Info is the encoded ExecutorInfo.
	Info []byte
	// Grace is between SHUTDOWN and the end of its container; negative: the agent's.
	Grace time.Duration
	// Default is the executor that the agent itself is: it has no program.
	Default bool
}

// ExecutorState says how an executor stands.
type ExecutorState uint8

// States of executors.
const (
	// ExecutorRegistering: it has not subscribed yet.
	ExecutorRegistering ExecutorState = iota
	ExecutorRunning
	// ExecutorTerminating: it was told to end.
	ExecutorTerminating
)

// ExecutorView is an executor as it is shown. Values are replaced, never changed.
type ExecutorView struct {
	Spec      *Executor
	Container string
	PID       uint32
	Ticks     uint64
	// Started is when its process began, in nanoseconds since the epoch.
	Started int64
	State   ExecutorState
}

// EndCause says why an executor is ended. The numbers stand in journals.
type EndCause uint32

// Causes of executors' ends.
const (
	NotEnding EndCause = iota
	EndAsked
	// EndUnregistered: it did not subscribe in time.
	EndUnregistered
	// EndNotBack: it did not subscribe again in time after its agent's restart.
	EndNotBack
	EndFrameworkGone
	// EndIdle: all tasks that it was started for were killed before they came to it; or it is the default executor, and they
	// have ended.
	EndIdle
	// EndDisk: it and its tasks took more disk than they have.
	EndDisk
)

var endCauses = [...]string{"", "asked for", "it did not subscribe", "it did not come back", "its framework is gone", "it has no task", "it took too much disk"}

// String is the cause in words.
func (c EndCause) String() string {
	if int(c) < len(endCauses) {
		return endCauses[c]
	}
	return "a cause of a newer version"
}

// Inputs about executors: from the link the first two, from executors the others.
type (
	// ShutdownExecutor ends one.
	ShutdownExecutor struct{ ExecutorRef }
	// SchedulerMessage is for one; nobody makes sure that it arrives.
	SchedulerMessage struct {
		ExecutorRef
		Data []byte
	}
	// ExecutorSubscribe opens a stream. Stream names it, never the same twice in a run.
	ExecutorSubscribe struct {
		Stream uint64
		ExecutorRef
		// Tasks are ids of those whose first update was not acknowledged, Updates those that were not.
		Tasks   []string
		Updates []*mesos.Status
	}
	// ExecutorClosed says that a stream has ended.
	ExecutorClosed struct{ Stream uint64 }
	// ExecutorUpdate is a status of one of its tasks, with a uuid.
	ExecutorUpdate struct {
		ExecutorRef
		Status *mesos.Status
	}
	// ExecutorMessage is for its scheduler; nobody makes sure that it arrives.
	ExecutorMessage struct {
		ExecutorRef
		Data []byte
	}
)

// ExecutorAccepted says that the agent owes word of an executor's end.
type ExecutorAccepted struct {
	Executor  *Executor
	Container string
}

// ExecutorContainer says that an executor's process was started.
type ExecutorContainer struct {
	ExecutorRef
	PID   uint32
	Ticks uint64
	Wall  int64
}

// ExecutorShutdown says that an executor is being ended, and why.
type ExecutorShutdown struct {
	ExecutorRef
	Cause EndCause
}

// ToExecutor is an event for an executor's stream. It is for one stream: what was meant for one that is gone must not go
// over the next.
type ToExecutor struct {
	Stream uint64
	Event  any
}

// Events for executors.
type (
	// ExecutorSubscribed is the first.
	ExecutorSubscribed struct {
		Executor  *ExecutorView
		Framework *Framework
	}
	// LaunchEvent gives it a task.
	LaunchEvent struct {
		Task      *Task
		Framework *Framework
	}
	// KillEvent ends a task; a negative grace means as the task itself says.
	KillEvent struct {
		Task  string
		Grace time.Duration
	}
	// AcknowledgedEvent says that an update is in the journal.
	AcknowledgedEvent struct{ Task, UUID string }
	// MessageEvent comes from its scheduler.
	MessageEvent struct{ Data []byte }
	// ShutdownEvent tells it to end its tasks and itself.
	ShutdownEvent struct{}
	// CloseStream ends the stream.
	CloseStream struct{}
)

// ExecutorEnd tells the master of an executor's end. Status is as wait(2) gives it, or -1 when nobody knows.
type ExecutorEnd struct {
	ExecutorRef
	Status int32
}

// Message is an executor's, for its scheduler.
type Message struct {
	ExecutorRef
	Data []byte
}

// ResizeWork is a container whose limits are to follow what is in it.
type ResizeWork struct {
	Container string
	Needs     []Need
}

// Need is a part of what a container must have: an executor's own, or a task's.
type Need struct {
	Resources resource.List
	// Task is nil for the executor's own part.
	Task *Task
}
