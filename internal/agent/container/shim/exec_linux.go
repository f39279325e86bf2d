package shim

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// running is a command beside a container's own: in its cgroup and sandbox, as its user, with its environment.
type running struct {
	box    *box
	pid    int
	reaped bool
	told   bool
	failed *failure
	status uint32
}

// exec starts one; its output is dropped, and ExecDone tells how it ended.
func (s *shim) exec(c *conn, m *wire.Message) {
	b := s.boxes[m.ID]
	if b == nil || !b.born || b.reaped {
		refuse(c, m.Seq, &failure{wire.KindGone, "container " + m.ID + " is not running"})
		return
	}
	if b.state.Hollow {
		refuse(c, m.Seq, &failure{wire.KindInvalid, "container " + m.ID + " has no command of its own to run another beside; name one below it"})
		return
	}
	if len(m.Args) == 0 || c.execs[m.Seq] != nil {
		refuse(c, m.Seq, &failure{wire.KindInvalid, "a command needs arguments and a number of its own"})
		return
	}
	spec := *b.spec
	spec.Path, spec.Args, spec.Env = m.Args[0], m.Args, merge(b.spec.Env, m.Env)
	if m.Text != "" {
		spec.Path = m.Text
	}
	var among uint32
	spec.Enter, among = b.inside()
	spec.Root, spec.Namespaces = nil, 0
	ch, f := fork(s.null, s.null, s.null, 0, among)
	if f != nil {
		refuse(c, m.Seq, f)
		return
	}
	x := &running{box: b, pid: ch.pid}
	c.execs[m.Seq] = x
	done := func() {
		if !x.reaped || !x.told {
			return
		}
		delete(c.execs, m.Seq)
		if !s.conns[c] {
			return
		}
		if x.failed != nil {
			refuse(c, m.Seq, x.failed)
			return
		}
		c.send(&wire.Message{Type: wire.ExecDone, Seq: m.Seq, Status: x.status})
	}
	s.procs[ch.pid] = watched{x.kill, func(ws syscall.WaitStatus) {
		x.reaped, x.status = true, uint32(ws)
		done()
	}}
	go func() {
		f := ch.raise(&spec)
		s.events <- func() {
			x.told, x.failed = true, f
			done()
		}
	}()
}

// kill ends the command and what it started in its session.
func (x *running) kill() {
	if x.reaped {
		return
	}
	var members []int
	if groups := x.box.state.Cgroups; len(groups) > 0 {
		members = append([]int{}, cgroup.Procs(groups[0])...)
	}
	signalSession(x.pid, members, unix.SIGKILL)
}

// merge puts more behind env, replacing variables of the same name.
func merge(env, more []string) []string {
	if len(more) == 0 {
		return env
	}
	out := make([]string, 0, len(env)+len(more))
	for _, e := range env {
		if !defined(more, e) {
			out = append(out, e)
		}
	}
	return append(out, more...)
}

func defined(in []string, e string) bool {
	name := e
	for i := range e {
		if e[i] == '=' {
			name = e[:i+1]
			break
		}
	}
	for _, m := range in {
		if len(m) >= len(name) && m[:len(name)] == name {
			return true
		}
	}
	return false
}
