// Package wire is what an agent and a launcher say to each other over a shim's UNIX socket, and what a shim leaves in its
// directory: length-prefixed frames in a compact encoding that needs neither fmt nor reflection, since the launcher must
// stay tiny. A shim outlives upgrades of the agent, so the encoding of a version never changes.
package wire

import (
	"github.com/pando-os/pando/internal/host/cgroup"
)

// Version is the protocol spoken here. The agent names the newest it speaks in its Hello; the shim answers with that, or with
// its own when that is older. Frames are the same in all: what a version added comes behind what older ones read, and what is
// not there is zero. Version 2 knows containers below others, version 3 those that can be attached to, version 4 those with
// namespaces and files of their own.
const (
	Version = 4
	oldest  = 1
	// Below is the first version that knows containers below others.
	Below = 2
	// Streams is the first version that knows containers that can be attached to.
	Streams = 3
	// Roots is the first version that knows containers with namespaces and files of their own.
	Roots = 4
)

// Speaks says whether a shim that welcomes us with a version can be worked with.
func Speaks(version uint32) bool { return version >= oldest && version <= Version }

// recordVersion begins a record file.
const recordVersion = 1

// Type tells messages apart.
type Type uint8

// The messages. From the agent: Hello, Launch, Kill, Exec, Cancel, Quit. From the shim: Welcome, Started, Exited,
// ExecDone, OK, Refused. Inside a container's first process: Launch and Exec downwards, Ready and Refused upwards.
const (
	Hello    Type = 1 + iota // Version
	Welcome                  // Version, States: every container the shim still knows
	Launch                   // Seq, Spec; answered by Started or Refused
	Kill                     // Seq, ID, Grace; answered by OK, also when there is nothing to kill
	Exec                     // Seq, ID, Command; answered by ExecDone or Refused
	Cancel                   // Seq of an Exec; its process is killed, ExecDone still follows
	Quit                     // the shim exits once it has no container; answered by OK, or Refused while it has one
	Started                  // Seq, State
	Exited                   // State; sent to every connection, once each
	ExecDone                 // Seq, Status
	OK                       // Seq
	Refused                  // Seq, Kind, Text
	Ready                    // the first process is about to become the command

	// Since version 3.
	Attach // ID, Status: the first message on a connection of its own; answered by OK, after which it carries pieces, or Refused
	Signal // Seq, ID, Status: the number; for the main process; answered by OK or Refused
)

// Kind says which part of a launch failed.
type Kind uint8

// The kinds of Refused.
const (
	KindNone    Kind = iota
	KindInvalid      // the request makes no sense: a duplicate id, an empty command
	KindExec         // the command cannot be executed
	KindCgroup       // the container's cgroup cannot be made or joined
	KindRlimit       // a resource limit was refused by the kernel
	KindUser         // the user's ids cannot be taken on
	KindCaps         // capabilities cannot be set
	KindSandbox      // the sandbox cannot be entered, or its log files not made
	KindSystem       // anything else: out of processes, descriptors, memory
	KindGone         // no such container
	KindKilled       // it was killed before it could become its command
	KindBusy         // somebody else has it
	KindRoot         // its files or namespaces cannot be made; since version 4
)

// Rlimit is one resource limit by the kernel's own number.
type Rlimit struct {
	Type       uint32
	Soft, Hard uint64
}

// Spec is one container as the shim needs it: every name already resolved, nothing left to decide.
type Spec struct {
	ID      string
	Sandbox string // working directory and place of stdout and stderr; absolute
	Path    string // what to execute: looked up along PATH of Env when it has no slash
	Args    []string
	Env     []string

	SetUser  bool // false: stay who the shim is
	UID, GID uint32
	Groups   []uint32

	Rlimits    []Rlimit
	Bounding   *uint64 // capability masks; nil: leave
	Effective  *uint64
	NoNewPrivs bool

	Cgroup cgroup.Plan

	MaxCompletion int64 // nanoseconds from start after which it is killed; 0: never
	KillGrace     int64 // nanoseconds between SIGTERM and SIGKILL when MaxCompletion has passed

	LogBytes int64 // size at which stdout is rotated; 0: never
	LogFiles int64 // how many rotated files of it are kept

	// Since version 2. Without Args the container has no process.
	Parent string // the container it is below, of the same shim
	Shared bool   // it has its parent's limits; Cgroup.Groups only holds its processes together

	// Since version 3.
	Stdio         Stdio
	Rows, Columns uint16 // of its terminal
	// Inherit takes whatever is not said here from the parent: user, environment, sandbox, limits, capabilities.
	Inherit bool

	// Since version 4.
	Namespaces uint64 // CLONE_NEW… flags: what it has of its own
	Root       *Root  // nil: the machine's files
	Workdir    string // where the command begins, as the container sees it; empty: in the sandbox
	Hostname   string // with a UTS namespace of its own
	Seccomp    []byte // a filter, as seccomp/filter encodes it; empty: none
	StopSignal uint32 // what asks it to end; 0: SIGTERM
	NetNS      string // a network namespace to join, by the path that it is bound at; empty: none
	Enter      uint32 // used by the shim alone: the process whose namespaces the command is to be in
	// ErrBytes and ErrFiles are of stderr what LogBytes and LogFiles are of stdout. Before this version those were of both.
	ErrBytes, ErrFiles int64
	IPC                uint32 // used by the shim alone: the process in whose IPC namespace it is to be
}

// State is what a shim knows of one container; also the content of its record files.
type State struct {
	ID      string
	PID     uint32
	Ticks   uint64 // field 22 of /proc/PID/stat, which with PID names a process for good
	Wall    int64  // start, nanoseconds since the epoch
	Cgroups []string

	Exited   bool
	Status   uint32 // as wait(2) gives it
	OOM      bool   // the kernel killed a process of it for its memory limit
	TimedOut bool   // it was killed because MaxCompletion had passed
	Killed   bool   // it was killed because it was asked to be
	MemLimit int64  // bytes; 0: none
	EndWall  int64
	Orphaned bool // it was ended because its shim died; written by the agent in the shim's place
	Unknown  bool // Status is not known

	// Since version 2.
	Parent string // the container it is or was below
	Shared bool   // it has its parent's limits
	Hollow bool   // it has no process of its own
}

// Message is any of the messages; Type tells which members count.
type Message struct {
	Type    Type
	Version uint32
	Seq     uint64
	ID      string
	Grace   int64
	Status  uint32
	Kind    Kind
	Text    string
	Spec    *Spec
	Args    []string // Exec: Path is Args[0] unless Spec says otherwise
	Env     []string // Exec: added to the container's own
	States  []State
}

// Append encodes m behind b.
func (m *Message) Append(b []byte) []byte {
	p := put{b}
	p.b = append(p.b, byte(m.Type))
	p.uint(uint64(m.Version))
	p.uint(m.Seq)
	p.string(m.ID)
	p.int(m.Grace)
	p.uint(uint64(m.Status))
	p.uint(uint64(m.Kind))
	p.string(m.Text)
	p.bool(m.Spec != nil)
	if m.Spec != nil {
		m.Spec.put(&p)
	}
	p.strings(m.Args)
	p.strings(m.Env)
	p.uint(uint64(len(m.States)))
	for i := range m.States {
		m.States[i].put(&p)
	}
	if m.Spec != nil {
		m.Spec.put2(&p)
	}
	for i := range m.States {
		m.States[i].put2(&p)
	}
	if m.Spec != nil {
		m.Spec.put3(&p)
		m.Spec.put4(&p)
	}
	return p.b
}

// Decode replaces m by what b holds.
func (m *Message) Decode(b []byte) error {
	if len(b) == 0 {
		return ErrCorrupt
	}
	*m = Message{Type: Type(b[0])}
	t := take{b: b[1:]}
	m.Version = uint32(t.uint())
	m.Seq = t.uint()
	m.ID = t.string()
	m.Grace = t.int()
	m.Status = uint32(t.uint())
	m.Kind = Kind(t.uint())
	m.Text = t.string()
	if t.bool() {
		m.Spec = new(Spec)
		m.Spec.take(&t)
	}
	m.Args = t.strings()
	m.Env = t.strings()
	if n := t.count(); n > 0 {
		m.States = make([]State, 0, min(n, 1024))
		for i := 0; i < n && !t.bad; i++ {
			var s State
			s.take(&t)
			m.States = append(m.States, s)
		}
	}
	if len(t.b) == 0 && !t.bad { // version 1 ends here
		return nil
	}
	if m.Spec != nil {
		m.Spec.take2(&t)
	}
	for i := range m.States {
		m.States[i].take2(&t)
	}
	if m.Spec != nil && (len(t.b) > 0 || t.bad) { // version 2 ends before it
		m.Spec.take3(&t)
	}
	if m.Spec != nil && len(t.b) > 0 { // version 3 before it
		m.Spec.take4(&t)
	}
	if t.bad {
		return ErrCorrupt
	}
	return nil
}

// Append encodes a record for a file.
func (s *State) Append(b []byte) []byte {
	p := put{append(b, recordVersion)}
	s.put(&p)
	s.put2(&p)
	return p.b
}

// Decode replaces s by what a record file holds.
func (s *State) Decode(b []byte) error {
	if len(b) == 0 || b[0] != recordVersion {
		return ErrCorrupt
	}
	t := take{b: b[1:]}
	*s = State{}
	s.take(&t)
	if len(t.b) > 0 { // version 1 has no more
		s.take2(&t)
	}
	if t.bad {
		return ErrCorrupt
	}
	return nil
}

func (s *State) put(p *put) {
	p.string(s.ID)
	p.uint(uint64(s.PID))
	p.uint(s.Ticks)
	p.int(s.Wall)
	p.strings(s.Cgroups)
	p.bool(s.Exited)
	p.uint(uint64(s.Status))
	p.bool(s.OOM)
	p.bool(s.TimedOut)
	p.bool(s.Killed)
	p.int(s.MemLimit)
	p.int(s.EndWall)
	p.bool(s.Orphaned)
	p.bool(s.Unknown)
}

func (s *State) take(t *take) {
	s.ID = t.string()
	s.PID = uint32(t.uint())
	s.Ticks = t.uint()
	s.Wall = t.int()
	s.Cgroups = t.strings()
	s.Exited = t.bool()
	s.Status = uint32(t.uint())
	s.OOM = t.bool()
	s.TimedOut = t.bool()
	s.Killed = t.bool()
	s.MemLimit = t.int()
	s.EndWall = t.int()
	s.Orphaned = t.bool()
	s.Unknown = t.bool()
}

func (s *Spec) put(p *put) {
	p.string(s.ID)
	p.string(s.Sandbox)
	p.string(s.Path)
	p.strings(s.Args)
	p.strings(s.Env)
	p.bool(s.SetUser)
	p.uint(uint64(s.UID))
	p.uint(uint64(s.GID))
	p.uint(uint64(len(s.Groups)))
	for _, g := range s.Groups {
		p.uint(uint64(g))
	}
	p.uint(uint64(len(s.Rlimits)))
	for _, r := range s.Rlimits {
		p.uint(uint64(r.Type))
		p.uint(r.Soft)
		p.uint(r.Hard)
	}
	p.mask(s.Bounding)
	p.mask(s.Effective)
	p.bool(s.NoNewPrivs)
	p.uint(uint64(len(s.Cgroup.Groups)))
	for _, g := range s.Cgroup.Groups {
		p.string(g.Dir)
		p.uint(uint64(len(g.Writes)))
		for _, w := range g.Writes {
			p.string(w.File)
			p.string(w.Value)
			p.bool(w.Optional)
		}
	}
	p.string(s.Cgroup.OOMFile)
	p.int(s.Cgroup.MemLimit)
	p.int(s.MaxCompletion)
	p.int(s.KillGrace)
	p.int(s.LogBytes)
	p.int(s.LogFiles)
}

func (s *Spec) take(t *take) {
	s.ID = t.string()
	s.Sandbox = t.string()
	s.Path = t.string()
	s.Args = t.strings()
	s.Env = t.strings()
	s.SetUser = t.bool()
	s.UID = uint32(t.uint())
	s.GID = uint32(t.uint())
	for n := t.count(); n > 0 && !t.bad; n-- {
		s.Groups = append(s.Groups, uint32(t.uint()))
	}
	for n := t.count(); n > 0 && !t.bad; n-- {
		s.Rlimits = append(s.Rlimits, Rlimit{uint32(t.uint()), t.uint(), t.uint()})
	}
	s.Bounding = t.mask()
	s.Effective = t.mask()
	s.NoNewPrivs = t.bool()
	for n := t.count(); n > 0 && !t.bad; n-- {
		g := cgroup.Group{Dir: t.string()}
		for k := t.count(); k > 0 && !t.bad; k-- {
			g.Writes = append(g.Writes, cgroup.Write{File: t.string(), Value: t.string(), Optional: t.bool()})
		}
		s.Cgroup.Groups = append(s.Cgroup.Groups, g)
	}
	s.Cgroup.OOMFile = t.string()
	s.Cgroup.MemLimit = t.int()
	s.MaxCompletion = t.int()
	s.KillGrace = t.int()
	s.LogBytes = t.int()
	s.LogFiles = t.int()
	s.ErrBytes, s.ErrFiles = s.LogBytes, s.LogFiles
}

func (s *State) put2(p *put) {
	p.string(s.Parent)
	p.bool(s.Shared)
	p.bool(s.Hollow)
}

func (s *State) take2(t *take) {
	s.Parent = t.string()
	s.Shared = t.bool()
	s.Hollow = t.bool()
}

func (s *Spec) put2(p *put) {
	p.string(s.Parent)
	p.bool(s.Shared)
	p.strings(s.Cgroup.Join)
}

func (s *Spec) put3(p *put) {
	p.uint(uint64(s.Stdio))
	p.uint(uint64(s.Rows))
	p.uint(uint64(s.Columns))
	p.bool(s.Inherit)
}

func (s *Spec) take2(t *take) {
	s.Parent = t.string()
	s.Shared = t.bool()
	s.Cgroup.Join = t.strings()
}

func (s *Spec) take3(t *take) {
	s.Stdio = Stdio(t.uint())
	s.Rows = uint16(t.uint())
	s.Columns = uint16(t.uint())
	s.Inherit = t.bool()
}
