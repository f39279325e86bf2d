package shim

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// adopt puts a new container below the one it names, which must be running and not about to end.
func (s *shim) adopt(b *box) *failure {
	if b.spec.Parent == "" {
		return nil
	}
	p := s.boxes[b.spec.Parent]
	if p == nil || !p.born || p.reaped || !p.killAt.IsZero() {
		return &failure{wire.KindGone, "container " + b.spec.Parent + ", which " + b.spec.ID + " is to be below, is not running"}
	}
	b.parent = p
	p.below[b] = true
	return nil
}

// disown takes a container from below the other. One that waits for the end of those below it looks again, by the main loop:
// we may be called while it looks through them.
func (b *box) disown() {
	if b.parent == nil {
		return
	}
	delete(b.parent.below, b)
	if b.parent.reaped || !b.parent.killAt.IsZero() {
		b.parent.wakeBy(time.Now())
	}
	b.parent = nil
}

// hold starts a container without a command: it is what those below it share, which is its cgroup. It has no process but
// this one, and ends with it.
func (s *shim) hold(b *box) {
	if err := b.spec.Cgroup.Create(); err != nil {
		b.disown()
		refuse(b.conn, b.seq, &failure{wire.KindCgroup, err.Error()})
		return
	}
	now := time.Now()
	b.state.PID, b.state.Wall = uint32(os.Getpid()), now.UnixNano()
	b.state.Ticks = startTicks(os.Getpid())
	b.told, b.born = true, true
	s.boxes[b.spec.ID] = b
	save(b.spec.ID+runSuffix, &b.state)
	s.watchOOM(b)
	if b.spec.MaxCompletion > 0 {
		b.due = now.Add(time.Duration(b.spec.MaxCompletion))
		b.wakeBy(b.due)
	}
	b.conn.send(&wire.Message{Type: wire.Started, Seq: b.seq, States: []wire.State{b.state}})
}

// letGo ends a container without a process once it is to end and nothing is below it any more.
func (b *box) letGo(now time.Time) {
	if b.state.Hollow && !b.reaped && !b.killAt.IsZero() && len(b.below) == 0 {
		b.reaped = true
		b.state.EndWall = now.UnixNano()
	}
}

// killBelow has those below end with their container.
func (s *shim) killBelow(b *box, grace time.Duration) {
	for c := range b.below {
		c.state.Killed = c.state.Killed || !c.reaped
		s.kill(c, grace)
	}
}

// waitsBelow says whether a container whose process has ended waits for those below it. A grace that was given to all of
// them holds; where there is none, they end now.
func (s *shim) waitsBelow(b *box, now time.Time) bool {
	if len(b.below) > 0 && !now.Before(b.killAt) {
		s.killBelow(b, 0)
	}
	return len(b.below) > 0
}

// oomKills counts processes killed for the container's limit. On v1 the kernel counts each in the group it was in.
func (b *box) oomKills() uint64 {
	n := cgroup.OOMKills(b.spec.Cgroup.OOMFile)
	for c := range b.below {
		n += c.oomKills()
	}
	return n
}

// starveBelow ends those below a container that has reached its limit of memory: it was theirs too.
func (s *shim) starveBelow(b *box) {
	for c := range b.below {
		c.state.OOM = c.state.OOM || !c.reaped
		s.starveBelow(c)
		s.kill(c, 0)
	}
}

// openSandbox opens a container's sandbox. One below another is in the other's, whose user may put links in its way; none is
// followed.
func openSandbox(s *wire.Spec) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if s.Parent == "" {
		return unix.Open(s.Sandbox, flags, 0)
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, s.Sandbox, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err == unix.ENOSYS { // Linux before 5.6
		fd, err = unix.Open(s.Sandbox, flags|unix.O_NOFOLLOW, 0)
	}
	return fd, err
}

// enterSandbox makes it the working directory.
func enterSandbox(s *wire.Spec) error {
	if s.Parent == "" {
		return unix.Chdir(s.Sandbox)
	}
	fd, err := openSandbox(s)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchdir(fd)
}
