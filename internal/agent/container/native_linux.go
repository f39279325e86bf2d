package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/agent/container/wire"
	"github.com/pando-os/pando/internal/host"
	"github.com/pando-os/pando/internal/host/cgroup"
)

// Native runs containers as processes of this machine.
type Native struct {
	cfg   Config
	log   *slog.Logger
	lock  *os.File
	image *os.File      // the launcher, sealed; nil: it is executed as the file that it is
	slots chan struct{} // launches in flight
	exits *exitQueue
	pidfd bool // the kernel tells how a stranger's process ended

	starting sync.Mutex // one shim is started at a time
	mu       sync.Mutex
	links    map[string]*link // by name of the shim's directory
	held     map[string]*held // by container
	closed   bool
	done     chan struct{}
	tasks    sync.WaitGroup // goroutines that Close waits for
}

// held is a container as the agent knows it.
type held struct {
	link      *link
	state     wire.State
	launching bool
	abandoned bool // nobody waits for it any more: kill and forget
	exited    bool
	killBy    time.Time // a kill to repeat when the connection to the shim is made anew
	pidfd     int       // -1: none
	memLimit  int64     // in bytes, once it was changed; 0: as it was made
}

var _ Runtime = (*Native)(nil)

// Open takes possession of the directory. Call Recover before Launch.
func Open(cfg Config) (*Native, error) {
	if cfg.PerShim <= 0 {
		cfg.PerShim = 16
	}
	if cfg.Spare == 0 {
		cfg.Spare = 1
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Cgroup == nil {
		cfg.Cgroup = new(cgroup.Parent)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the runtime directory: %w; name another with --runtime-dir", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the runtime directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("the runtime directory %s is in use by another agent; stop it, or name another with --runtime-dir", cfg.Dir)
	}
	// What whoever started us left open must not live on in shims: a pipe held by one would keep its reader waiting for as
	// long as tasks run. All that Go opens is marked so already.
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) // a kernel before 5.11 cannot, and it only spares a wait
	n := &Native{
		cfg:   cfg,
		log:   cfg.Log,
		lock:  lock,
		slots: make(chan struct{}, 2*runtime.NumCPU()),
		exits: newExitQueue(),
		pidfd: pidfdTellsExits(),
		links: map[string]*link{},
		held:  map[string]*held{},
		done:  make(chan struct{}),
	}
	if err := n.sameBoot(); err != nil {
		lock.Close()
		return nil, err
	}
	if n.image, err = seal(cfg.Launcher); err != nil {
		n.log.Warn("the launcher is not sealed: root in a container could write to it", "error", err)
	}
	n.tasks.Go(n.janitor)
	return n, nil
}

// sameBoot empties the directory when it is from an earlier boot, as one that is not on a tmpfs may be: nothing in it
// lives, and its pids belong to others now.
func (n *Native) sameBoot() error {
	id, err := host.BootID()
	if err != nil {
		return err
	}
	path := filepath.Join(n.cfg.Dir, "boot")
	if was, err := os.ReadFile(path); err == nil && string(was) == id {
		return nil
	}
	for _, name := range shimDirs(n.cfg.Dir) {
		if err := os.RemoveAll(filepath.Join(n.cfg.Dir, name)); err != nil {
			return fmt.Errorf("clean the runtime directory after a reboot: %w", err)
		}
	}
	return os.WriteFile(path, []byte(id), 0o600)
}

// Close lets go of the shims. Those that have no container go home; the others go on for the next Native.
func (n *Native) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	close(n.done)
	links, idle := make([]*link, 0, len(n.links)), map[*link]bool{}
	for _, l := range n.links {
		links = append(links, l)
		idle[l] = l.usable() && l.used == 0
	}
	for _, h := range n.held {
		h.dropPidfd()
	}
	n.mu.Unlock()
	n.exits.close()
	for _, l := range links {
		if idle[l] {
			_ = l.send(&wire.Message{Type: wire.Quit}) // unheard, it goes by itself after a while
		}
		l.close()
	}
	n.tasks.Wait()
	if n.image != nil {
		n.image.Close()
	}
	return n.lock.Close()
}

// Exits implements Runtime.
func (n *Native) Exits() <-chan Exit { return n.exits.out }

// Launch implements Runtime.
func (n *Native) Launch(ctx context.Context, s Spec) (Started, error) {
	spec, err := n.resolve(&s)
	if err == nil {
		err = n.resolveBelow(&s, spec)
	}
	if err != nil {
		return Started{}, err
	}
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return Started{}, ctx.Err()
	}
	h := &held{launching: true, state: stateOf(spec), pidfd: -1}
	l, err := n.reserve(s.ID, h, &s)
	if err != nil {
		return Started{}, err
	}
	reply, err := l.call(ctx, &wire.Message{Type: wire.Launch, Spec: spec}, func(m *wire.Message) { n.launched(h, m) })
	if ctx.Err() != nil && err != nil {
		n.abandon(h)
		return Started{}, err
	}
	switch {
	case err != nil:
	case reply.Type == wire.Refused:
		err = &Error{kinds[reply.Kind], reply.Text}
	case len(reply.States) != 1:
		err = &Error{KindShim, "the launcher gave an answer that is none"}
	}
	if err != nil {
		n.mu.Lock()
		n.drop(h)
		n.mu.Unlock()
		return Started{}, err
	}
	st := reply.States[0]
	return Started{st.PID, st.Ticks, st.Wall}, nil
}

// launched notes the answer to a launch before anything that the shim says later is read.
func (n *Native) launched(h *held, m *wire.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h.launching = false
	if m.Type != wire.Started || len(m.States) != 1 {
		if h.abandoned {
			n.drop(h)
		}
		return
	}
	h.state = m.States[0]
	n.openPidfd(h)
}

// abandon makes sure that a container whose launch nobody waits for any more comes to an end.
func (n *Native) abandon(h *held) {
	n.mu.Lock()
	h.abandoned = true
	id := h.state.ID
	switch {
	case h.exited:
		n.drop(h)
		_ = n.unrecord(h.link, id) // what stays is found and forgotten by the next agent
	case !h.launching && h.state.PID == 0: // it was refused meanwhile
		n.drop(h)
	}
	n.mu.Unlock()
	_ = n.Kill(id, 0) // it returns none
}

// drop forgets a container and frees its place. n.mu is held.
func (n *Native) drop(h *held) {
	if n.held[h.state.ID] != h {
		return
	}
	delete(n.held, h.state.ID)
	h.leave()
	h.dropPidfd()
}

// leave gives the container's place in its shim back.
func (h *held) leave() {
	if !h.exited && h.link != nil {
		h.link.used--
		h.link.alone = h.link.alone && h.link.used > 0
		h.link.idleSince = time.Now()
	}
	h.exited = true
}

// Kill implements Runtime. It does not wait for the end, and holds across a reconnection to the shim.
func (n *Native) Kill(id string, grace time.Duration) error {
	n.mu.Lock()
	h := n.held[id]
	if h == nil || h.exited {
		n.mu.Unlock()
		return nil
	}
	if by := time.Now().Add(grace); h.killBy.IsZero() || by.Before(h.killBy) {
		h.killBy = by
	}
	l := h.link
	n.mu.Unlock()
	// Whatever goes wrong is the connection's: then the kill is repeated once it is made again, or the shim is dead.
	_ = l.send(&wire.Message{Type: wire.Kill, ID: id, Grace: int64(max(grace, 0))})
	return nil
}

// Forget implements Runtime.
func (n *Native) Forget(id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.held[id]
	if h == nil {
		return nil
	}
	if !h.exited {
		return &Error{KindInvalid, "container " + id + " still runs; kill it and wait for its exit before forgetting it"}
	}
	delete(n.held, id)
	h.dropPidfd()
	return n.unrecord(h.link, id)
}

// Stats implements Runtime.
func (n *Native) Stats(id string) (Stats, error) {
	n.mu.Lock()
	h := n.held[id]
	ok := h != nil && !h.exited
	var group string
	if ok {
		group = states(n.states).limited(&h.state)
	}
	n.mu.Unlock()
	if !ok {
		return Stats{}, &Error{KindGone, "container " + id + " is not running"}
	}
	return n.cfg.Cgroup.Stats(group)
}

// Resize implements Runtime.
func (n *Native) Resize(id string, l Limits) error {
	n.mu.Lock()
	h := n.held[id]
	ok := h != nil && !h.exited && !h.launching
	if ok && h.state.Shared {
		n.mu.Unlock()
		return &Error{KindInvalid, "container " + id + " has the limits of " + h.state.Parent + "; resize that"}
	}
	var plan cgroup.Plan
	if ok {
		plan = n.plan(states(n.states).groupName(&h.state), h.state.Hollow, l)
		h.memLimit = max(h.memLimit, plan.MemLimit)
		h.link.alone = h.link.alone || h.state.Parent == "" // only what has a shim of its own changes; an earlier process may have made it
	}
	n.mu.Unlock()
	if !ok {
		return &Error{KindGone, "container " + id + " is not running"}
	}
	if err := plan.Change(); err != nil {
		return &Error{KindCgroup, "change the limits of container " + id + ": " + err.Error()}
	}
	return nil
}

// Run implements Runtime.
func (n *Native) Run(ctx context.Context, id string, c Command) (int, error) {
	n.mu.Lock()
	h := n.held[id]
	ok := h != nil && !h.exited && !h.launching
	n.mu.Unlock()
	if !ok {
		return 0, &Error{KindGone, "container " + id + " is not running"}
	}
	reply, err := h.link.call(ctx, &wire.Message{Type: wire.Exec, ID: id, Text: c.Path, Args: c.Args, Env: c.Env}, nil)
	if err != nil {
		return 0, err
	}
	if reply.Type == wire.Refused {
		return 0, &Error{kinds[reply.Kind], reply.Text}
	}
	ws := unix.WaitStatus(reply.Status)
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitStatus(), nil
}

var kinds = map[wire.Kind]Kind{
	wire.KindInvalid: KindInvalid, wire.KindExec: KindExec, wire.KindCgroup: KindCgroup, wire.KindRlimit: KindRlimit,
	wire.KindUser: KindUser, wire.KindCaps: KindCaps, wire.KindSandbox: KindSandbox, wire.KindSystem: KindSystem, wire.KindGone: KindGone,
	wire.KindKilled: KindKilled, wire.KindBusy: KindBusy, wire.KindRoot: KindRoot,
}

// resolve turns a Spec into what a shim needs.
func (n *Native) resolve(s *Spec) (*wire.Spec, error) {
	if err := ValidID(s.ID); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(s.Sandbox) {
		return nil, &Error{KindInvalid, "the sandbox " + s.Sandbox + " is not an absolute path"}
	}
	hollow := s.Path == "" && len(s.Args) == 0
	if hollow && (!s.Alone || s.Parent != "") {
		return nil, &Error{KindInvalid, "a container without a command needs a shim of its own: set Alone, and no Parent"}
	}
	if !hollow && (s.Path == "" || len(s.Args) == 0) {
		return nil, &Error{KindInvalid, "no command: set CommandInfo.value, and argument 0 when it is not for the shell"}
	}
	if err := s.CheckStreams(); err != nil {
		return nil, err
	}
	w := &wire.Spec{
		ID: s.ID, Sandbox: s.Sandbox, Path: s.Path, Args: s.Args, Env: s.Env, NoNewPrivs: s.NoNewPrivs,
		Bounding: mask(s.Bounding), Effective: mask(s.Effective),
		MaxCompletion: int64(s.MaxCompletion), KillGrace: int64(s.KillGrace),
		LogBytes: orDefault(s.Stdout.Bytes, DefaultLogBytes), LogFiles: orDefault(s.Stdout.Files, DefaultLogFiles),
		ErrBytes: orDefault(s.Stderr.Bytes, DefaultLogBytes), ErrFiles: orDefault(s.Stderr.Files, DefaultLogFiles),
		Parent: s.Parent,
	}
	resolveStreams(s, w)
	if err := resolveRoot(s, w); err != nil {
		return nil, err
	}
	if err := resolveUser(s, w); err != nil {
		return nil, err
	}
	for _, r := range s.Rlimits {
		w.Rlimits = append(w.Rlimits, wire.Rlimit(r))
	}
	return w, nil
}

// resolveUser says by numbers who the container is.
func resolveUser(s *Spec, w *wire.Spec) error {
	u := s.As
	if u == nil {
		if s.User == "" {
			return nil
		}
		found, err := host.LookupUser(s.User)
		if err != nil {
			return &Error{KindUser, err.Error()}
		}
		u = &found
	}
	switch euid := os.Geteuid(); {
	case euid == 0:
		w.SetUser, w.UID, w.GID, w.Groups = true, u.UID, u.GID, u.Groups
	case uint32(euid) != u.UID:
		return &Error{KindUser, fmt.Sprintf("the agent does not run as root, so it cannot run a task as user %q; run the agent as root, or the task as the agent's own user", cmp.Or(s.User, strconv.FormatUint(uint64(u.UID), 10)))}
	}
	return nil
}

func orDefault(v, def int64) int64 {
	switch {
	case v == 0:
		return def
	case v < 0:
		return 0
	}
	return v
}

func mask(caps *[]int) *uint64 {
	if caps == nil {
		return nil
	}
	var m uint64
	for _, c := range *caps {
		if c >= 0 && c < 64 {
			m |= 1 << c
		}
	}
	return &m
}

// reserve takes a place in a shim for a container, one that has no other when it is to be alone.
func (n *Native) reserve(id string, h *held, s *Spec) (*link, error) {
	alone, version := s.Alone, uint32(wire.Below)
	if s.Attachable() {
		version = wire.Streams
	}
	if s.rooted() {
		version = wire.Roots
	}
	for {
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return nil, errClosed
		}
		if n.held[id] != nil {
			n.mu.Unlock()
			return nil, &Error{KindInvalid, "container " + id + " exists already; forget it first, or choose another id"}
		}
		if up := h.state.Parent; up != "" {
			l, err := n.reserveBelow(up, version)
			if err == nil {
				l.used++
				h.link = l
				n.held[id] = h
			}
			n.mu.Unlock()
			return l, err
		}
		// The fullest with room: the others can become idle and go.
		var best *link
		free := 0
		for _, l := range n.links {
			if !l.usable() || !l.room(alone) {
				continue
			}
			free++
			if best == nil || l.used > best.used {
				best = l
			}
		}
		if best != nil {
			best.used++
			best.alone = alone
			h.link = best
			n.held[id] = h
			if full := !best.room(false); full && free <= 1 && n.cfg.Spare > 0 {
				n.tasks.Go(n.addSpare)
			}
			n.mu.Unlock()
			return best, nil
		}
		n.mu.Unlock()
		if err := n.addShim(alone); err != nil {
			return nil, &Error{KindShim, err.Error()}
		}
	}
}

var errClosed = errors.New("the container runtime has been closed")
