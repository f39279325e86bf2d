// Package container runs an agent's containers. Runtime is all the agent knows of them; Native starts processes through
// shims, tiny supervisors that outlive the agent, and finds them again; containertest has a fake and the suite both pass.
package container

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// Spec is one container to start. The sandbox must exist and belong to the user.
type Spec struct {
	// ID is unique on this machine for as long as the container is not forgotten; a plain name without a slash, up to 200
	// bytes, not beginning with a dot.
	ID string
	// Sandbox is the absolute path of the working directory, where stdout and stderr are written too. With a Parent it must be
	// without symbolic links: it is in a directory of the user's.
	Sandbox string
	// Path is what is executed, looked up along PATH of Env when it has no slash. Args includes argument 0. Without both the
	// container has no process of its own: it holds what those below it share until it is killed. It must be Alone and below
	// no other. Its pid is that of its shim; its wait status 0, or that of a shim that died. No command runs beside it.
	Path string
	Args []string
	// Env is the whole environment as NAME=value; nothing of the agent's own is added.
	Env []string
	// User is a name or a number; empty means whoever the agent is. As, unless it is nil, is the user by numbers, in User's place.
	User string
	As   *host.User

	// CPUs and Mem are what it should have, in thousandths of a cpu and of a megabyte.
	CPUs, Mem int64
	// CPULimit and MemLimit are what it must not pass, likewise; 0: not given (for memory Mem is then the limit), -1:
	// unlimited.
	CPULimit, MemLimit int64

	Rlimits []Rlimit
	// Bounding and Effective list capabilities by number; nil leaves what the user has. With Effective alone, the bounding
	// set is the same.
	Bounding, Effective *[]int
	NoNewPrivs          bool

	// MaxCompletion kills the container that long after its start, with KillGrace between SIGTERM and SIGKILL; 0: never.
	MaxCompletion time.Duration
	KillGrace     time.Duration

	// Alone gives it a shim of its own, so that it ends with no other.
	Alone bool

	// Parent is the running container that this one is below: of the same shim, with a cgroup below the parent's. When the
	// parent is killed so are those below it, with the same grace; when it ends they are killed at once; either way they end
	// first, and their exits come first. User, environment and sandbox are its own.
	Parent string
	// ShareCgroup holds it to its parent's limits in the parent's account, and has none of its own. A container below
	// one that shares does so too, and on cgroup v2 one below one that has a command: the kernel limits no group below one
	// with processes.
	ShareCgroup bool

	// Terminal gives it one, which can be attached to; what it shows is written to the file stdout too. It needs Alone or
	// Parent.
	Terminal *Terminal
	// Session makes it one that belongs to whoever is attached to it with AttachSession, within ten seconds of its start: its
	// output goes there alone, it waits for it to be read, and it is killed when that ends. It needs Parent, whose sandbox,
	// environment, user, limits and capabilities it has where it names none itself; nothing is written into the sandbox.
	Session bool

	// Root is a file system of its own, and Namespaces what else it has of its own; with a pid namespace the command is the first
	// process in it. Commands beside it, and sessions below it, are in the same; a container with layers below it is in its namespaces of
	// pids and IPC unless it has its own, any other on the machine. Workdir is where the command begins, as the
	// container sees it; empty: in the sandbox, which is then to be the machine's path. With a Root it must be given.
	Root       *Root
	Namespaces Namespaces
	Workdir    string
	// NetNS is the path at which a network namespace is bound that the container is to be in; empty: the machine's. Whoever made it
	// removes it once the container has ended.
	NetNS string
	// Hostname needs a UTS namespace.
	Hostname string
	// Seccomp is a filter, as seccomp/filter encodes it; empty: none.
	Seccomp []byte
	// StopSignal asks the container to end in the place of SIGTERM; 0: SIGTERM.
	StopSignal int

	// Stdout and Stderr say how the files of those names are kept. With a terminal there is the first alone.
	Stdout, Stderr Log
}

// Log is how a file of a container's output is kept.
type Log struct {
	// Bytes is the size at which it is rotated, and Files how many rotated ones are kept; 0 means the default (10 MB, 9), -1 no rotation
	// and no old file.
	Bytes, Files int64
}

// The defaults of Log, and what keeps no old file.
const (
	DefaultLogBytes = 10 << 20
	DefaultLogFiles = 9
	NoOldLogs       = -1
)

// Rlimit is one resource limit. Type is the kernel's number (RLIMIT_NOFILE is 7 on amd64 and arm64); RLIM_INFINITY is all ones.
type Rlimit struct {
	Type       uint32
	Soft, Hard uint64
}

// Limits are a Spec's members of the same names.
type Limits struct{ CPUs, Mem, CPULimit, MemLimit int64 }

// Started is a container whose command has been executed.
type Started struct {
	PID uint32
	// StartTicks is field 22 of /proc/PID/stat; PID and StartTicks name a process for good within a boot.
	StartTicks uint64
	// Wall is nanoseconds since the epoch.
	Wall int64
}

// Exit is the end of a container: no process of it is left, its output is complete, its cgroup is gone.
type Exit struct {
	ID string
	// Known says whether WaitStatus is the truth. It is false when the container died with its shim and the kernel did not
	// tell how.
	Known      bool
	WaitStatus uint32 // as wait(2) gives it
	// OOM: the kernel killed a process of it for its memory limit, which was MemLimit bytes.
	OOM      bool
	MemLimit int64
	// TimedOut: it was killed because MaxCompletion had passed. Killed: because Kill was called before it ended, or it was
	// below one that ended.
	TimedOut, Killed bool
	// ShimDied: it was killed because its supervisor died.
	ShimDied bool
	Wall     int64 // nanoseconds since the epoch
}

// State is a container found after a restart: running, or exited when Exit is not nil.
type State struct {
	ID string
	// Parent is the container it is below; empty: none.
	Parent string
	Started
	Exit *Exit
}

// Command is run beside a container: in its cgroup and sandbox, as its user.
type Command struct {
	// Path is looked up like Spec.Path; empty means Args[0].
	Path string
	Args []string
	// Env is added to the container's environment and replaces variables of the same name.
	Env []string
}

// Stats is what a container uses and may use.
type Stats = cgroup.Stats

// Runtime starts, watches and ends containers. All methods may be called at the same time.
type Runtime interface {
	// Launch returns once the command has been executed, or an *Error that says what failed; then nothing is left. When ctx
	// ends first, the container is killed and forgotten as soon as it can be. At most a few launches per cpu are in flight,
	// the others wait. An Exit may arrive before Launch has returned.
	Launch(ctx context.Context, s Spec) (Started, error)
	// Kill sends SIGTERM at once and SIGKILL after grace (at once when it is zero), even if this process ends meanwhile. A
	// later call can only shorten the grace. Killing what does not run is no error.
	Kill(id string, grace time.Duration) error
	// Exits delivers every exit at least once until Forget. The channel is closed by Close.
	Exits() <-chan Exit
	// Recover finds all containers, running or exited, that earlier processes left. It is called once, before Launch. What
	// it reports as exited is not delivered by Exits again. Among them may be containers whose Launch never returned; who
	// does not know them kills them.
	Recover(ctx context.Context) ([]State, error)
	// Forget drops the record of a container that has exited. Forgetting what is unknown is no error.
	Forget(id string) error
	// Resize changes what a running container should have and must not pass. Its memory limit is never lowered, since that
	// could kill what fits by its own account. One that shares its parent's cgroup has nothing to resize.
	Resize(id string, l Limits) error
	// Stats reads what a running container uses; of one that shares its parent's cgroup, what they all use.
	Stats(id string) (Stats, error)
	// Run executes a command beside a running container and returns its exit code (128 + n for signal n). When ctx ends
	// first, the command is killed and ctx's error returned. Its output is dropped.
	Run(ctx context.Context, id string, c Command) (int, error)
	// Attach connects to what a running container with a terminal, or a session, reads and writes.
	Attach(ctx context.Context, id string, how Attachment) (*Stream, error)
	// Signal sends a signal to the main process of a running container.
	Signal(id string, signal int) error
	// Close lets go of the containers, which go on.
	Close() error
}

// Kind says what stopped a container from starting.
type Kind string

// The kinds of Error.
const (
	KindInvalid Kind = "invalid"  // the spec contradicts itself, or the id is taken
	KindUser    Kind = "user"     // no such user, or not allowed to become it
	KindExec    Kind = "exec"     // the command cannot be executed
	KindCgroup  Kind = "cgroup"   // the cgroup cannot be made or joined
	KindRlimit  Kind = "rlimit"   // the kernel refused a resource limit
	KindCaps    Kind = "caps"     // the kernel refused the capabilities
	KindSandbox Kind = "sandbox"  // the sandbox cannot be entered or written
	KindSystem  Kind = "system"   // the machine is out of something
	KindShim    Kind = "launcher" // the launcher cannot be started, or died
	KindGone    Kind = "gone"     // no such running container
	KindKilled  Kind = "killed"   // Kill came before the command was executed
	KindBusy    Kind = "busy"     // somebody else is attached, or as many as may be
	KindRoot    Kind = "root"     // its file system or its namespaces cannot be made
)

// Error is a refused launch or command.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

// KindOf gives the kind of an error from a Runtime, "" when it has none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// ValidID says whether a container may have this id: it names files and cgroups.
func ValidID(id string) error {
	if id == "" || len(id) > 200 || id[0] == '.' || strings.ContainsAny(id, "/\x00\n") {
		return &Error{KindInvalid, "container id " + strconv.Quote(id) + " must be a plain name of 1 to 200 bytes without a slash, not beginning with a dot"}
	}
	return nil
}
