package container

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/host/cgroup"
)

const (
	runSuffix  = ".run"
	exitSuffix = ".exit"

	buryTime = 10 * time.Second
	reapTime = 300 * time.Millisecond
)

// Recover implements Runtime.
func (n *Native) Recover(ctx context.Context) ([]State, error) {
	for _, name := range shimDirs(n.cfg.Dir) {
		l := newLink(n, name)
		states, err := l.dial(ctx)
		for err != nil && !errors.Is(err, errDead) && ctx.Err() == nil { // it may be stopped, or starved
			n.log.Warn("a launcher does not answer", "shim", name, "error", err)
			time.Sleep(50 * time.Millisecond)
			states, err = l.dial(ctx)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			states = l.inherit()
		}
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return nil, errClosed
		}
		for _, st := range states {
			h := &held{link: l, state: st, exited: st.Exited, pidfd: -1}
			if !st.Exited {
				l.used++
				n.openPidfd(h)
			}
			n.held[st.ID] = h
		}
		if err == nil {
			l.up = true
			n.links[name] = l
			n.tasks.Go(l.run)
		}
		n.mu.Unlock()
		if err != nil {
			l.tidy()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// A shim that died between making a cgroup and recording it leaves the cgroup.
	for _, name := range n.cfg.Cgroup.Names() {
		if n.held[name] == nil {
			n.log.Info("removing a cgroup nobody knows", "name", name)
			if err := cgroup.Destroy(n.cfg.Cgroup.Group(name), buryTime); err != nil {
				n.log.Error("cannot remove a cgroup", "error", err)
			}
		}
	}
	var out []State
	for _, h := range n.held {
		s := State{ID: h.state.ID, Parent: h.state.Parent, Started: Started{h.state.PID, h.state.Ticks, h.state.Wall}}
		if h.state.Exited {
			e := n.exitOf(&h.state)
			s.Exit = &e
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b State) int { return strings.Compare(a.ID, b.ID) })
	if !n.closed && n.cfg.Spare > 0 {
		n.tasks.Go(n.addSpare)
	}
	return out, nil
}

// inherit reads what a dead shim left, ends what still runs of it, and records that in its place.
func (l *link) inherit() []wire.State {
	var found []wire.State
	by := map[string]*wire.State{}
	for id, st := range l.records() {
		st.ID = id
		by[id] = &st
		found = append(found, st)
	}
	lowestFirst(found, func(st wire.State) *wire.State { return &st })
	for i, st := range found {
		if !st.Exited {
			name := states(func(id string) *wire.State { return by[id] }).limited(&st)
			found[i] = l.bury(st, -1, l.n.oomFile(name))
		}
	}
	return found
}

// records reads the record files of the shim's directory; an exit supersedes a start.
func (l *link) records() map[string]wire.State {
	found := map[string]wire.State{}
	entries, _ := os.ReadDir(l.dir)
	for _, e := range entries {
		id, ended := strings.CutSuffix(e.Name(), exitSuffix)
		id, started := strings.CutSuffix(id, runSuffix)
		if !ended && !started {
			continue
		}
		if was, ok := found[id]; ok && was.Exited {
			continue
		}
		if st, ok := readRecord(filepath.Join(l.dir, e.Name())); ok {
			found[id] = st
		}
	}
	return found
}

func readRecord(path string) (st wire.State, ok bool) {
	b, err := os.ReadFile(path)
	return st, err == nil && st.Decode(b) == nil
}

// bury ends one container of a dead shim and records its exit. It waits until nothing of it is left. oom is the file that
// counts deaths for its limit of memory.
func (l *link) bury(st wire.State, pidfd int, oom string) wire.State {
	if rec, ok := readRecord(filepath.Join(l.dir, st.ID+exitSuffix)); ok {
		return rec
	}
	for end := time.Now().Add(buryTime); !st.Hollow && host.Alive(int(st.PID), st.Ticks) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		_ = unix.Kill(int(st.PID), unix.SIGKILL) // it may be gone
	}
	st.OOM = cgroup.OOMKills(oom) > 0
	if err := cgroup.Destroy(st.Cgroups, buryTime); err != nil {
		l.n.log.Error("a container of a dead launcher does not end", "container", st.ID, "error", err)
	}
	ws, known := awaitPidfd(pidfd, reapTime)
	if st.Hollow && !known {
		ws, known = l.awaitShim(reapTime)
	}
	st.Exited, st.Orphaned, st.Status, st.Unknown = true, true, ws, !known
	st.EndWall = time.Now().UnixNano()
	path := filepath.Join(l.dir, st.ID+exitSuffix)
	err := os.WriteFile(path+".tmp", st.Append(nil), 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		l.n.log.Error("cannot record an exit", "container", st.ID, "error", err)
	}
	_ = os.Remove(filepath.Join(l.dir, st.ID+runSuffix)) // the exit beside it counts first
	return st
}

// tidy removes a dead shim's directory once no record is in it.
func (l *link) tidy() {
	if len(l.records()) == 0 {
		_ = os.RemoveAll(l.dir) // the next start tidies again
	}
}

// unrecord removes an exit record. n.mu is held.
func (n *Native) unrecord(l *link, id string) error {
	err := os.Remove(filepath.Join(l.dir, id+exitSuffix))
	if n.links[l.name] != l {
		l.tidy()
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// exited takes the end of a container from its shim.
func (n *Native) exited(l *link, st wire.State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.held[st.ID]
	switch {
	case h == nil: // its launch was given up
		_ = n.unrecord(l, st.ID) // what stays is found and forgotten by the next agent
	case h.exited:
	case h.abandoned:
		n.drop(h)
		_ = n.unrecord(l, st.ID) // what stays is found and forgotten by the next agent
	default:
		n.tell(h, st)
	}
}

// tell marks a container as exited and delivers that. n.mu is held.
func (n *Native) tell(h *held, st wire.State) {
	h.state = st
	h.leave()
	h.dropPidfd()
	n.exits.put(n.exitOf(&st))
}

// exitOf is the end of a container, with the limit of memory that held for it. n.mu is held.
func (n *Native) exitOf(st *wire.State) Exit {
	e := Exit{
		ID: st.ID, Known: !st.Unknown, WaitStatus: st.Status, OOM: st.OOM, MemLimit: st.MemLimit, TimedOut: st.TimedOut,
		Killed: st.Killed, ShimDied: st.Orphaned, Wall: st.EndWall,
	}
	if up := n.held[states(n.states).limiter(st).ID]; up != nil {
		e.MemLimit = cmp.Or(up.memLimit, up.state.MemLimit)
	}
	return e
}

// reconcile compares what a shim says after a reconnection with what we thought.
func (n *Native) reconcile(l *link, states []wire.State) {
	known := map[string]bool{}
	for _, st := range states {
		known[st.ID] = true
		if st.Exited {
			n.exited(l, st)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, h := range n.held {
		if h.link != l || h.exited || h.launching {
			continue
		}
		if !known[id] { // cannot be; but a container that nobody watches must not be believed in
			st := h.state
			st.Exited, st.Unknown, st.EndWall = true, true, time.Now().UnixNano()
			n.tell(h, st)
			continue
		}
		if !h.killBy.IsZero() {
			_ = l.send(&wire.Message{Type: wire.Kill, ID: id, Grace: int64(max(0, time.Until(h.killBy)))}) // a lost connection brings us here again
		}
	}
}

// shimDied ends the containers of a dead shim.
func (n *Native) shimDied(l *link) {
	n.mu.Lock()
	delete(n.links, l.name)
	var mine []*held
	for _, h := range n.held {
		if h.link == l && !h.exited {
			mine = append(mine, h)
		}
	}
	quitting := l.quitting
	lowestFirst(mine, func(h *held) *wire.State { return &h.state })
	n.mu.Unlock()
	if !quitting {
		n.log.Error("a launcher died; its containers are ended", "shim", l.name, "containers", len(mine))
	}
	for _, h := range mine {
		if h.launching { // its caller is told by failCalls; what there is of it goes
			if st, ok := readRecord(filepath.Join(l.dir, h.state.ID+runSuffix)); ok {
				if !st.Hollow {
					_ = unix.Kill(int(st.PID), unix.SIGKILL) // it may be gone
				}
				_ = os.Remove(filepath.Join(l.dir, h.state.ID+runSuffix)) // as in bury
			}
			_ = cgroup.Destroy(h.state.Cgroups, buryTime) // a leftover is looked for at the next start
			continue
		}
		n.mu.Lock()
		oom := n.oomFile(states(n.states).limited(&h.state))
		n.mu.Unlock()
		st := l.bury(h.state, h.pidfd, oom)
		n.mu.Lock()
		if h.abandoned {
			n.drop(h)
			_ = n.unrecord(l, st.ID) // what stays is found and forgotten by the next agent
		} else if !h.exited {
			n.tell(h, st)
		}
		n.mu.Unlock()
	}
	l.tidy()
}

func (n *Native) setUp(l *link, up bool) {
	n.mu.Lock()
	l.up = up
	n.mu.Unlock()
}

// trim lets go of shims that have been idle for long, all but the spare ones.
func (n *Native) trim(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	idle := 0
	for _, l := range n.links {
		if !l.usable() || l.used > 0 {
			continue
		}
		if idle++; idle > n.cfg.Spare && now.Sub(l.idleSince) > idleKeep {
			l.quitting = true
			n.tasks.Go(func() { _ = l.send(&wire.Message{Type: wire.Quit}) }) // one that is gone need not go
		}
	}
}

// context ends when the runtime is closed.
func (n *Native) context() context.Context { return closing{context.Background(), n.done} }

// closing is a context that ends with a channel.
type closing struct {
	context.Context
	done chan struct{}
}

func (c closing) Done() <-chan struct{} { return c.done }

func (c closing) Err() error {
	select {
	case <-c.done:
		return errClosed
	default:
		return nil
	}
}
