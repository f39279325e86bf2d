// Package agent is the shell around a machine's book: it keeps the journal, talks to the leading master, makes and ends
// containers, and answers what is asked of this machine.
package agent

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pando-os/pando/internal/agent/bounds"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/support"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/diskwatch"
	"github.com/pando-os/pando/internal/agent/imaged"
	"github.com/pando-os/pando/internal/agent/journal"
	"github.com/pando-os/pando/internal/agent/nested"
	"github.com/pando-os/pando/internal/agent/reconfigure"
	"github.com/pando-os/pando/internal/agent/records"
	"github.com/pando-os/pando/internal/agent/secrets"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/loop"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/internal/sandbox"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// compactAt is the size from which a journal is written anew when most of it is about the past.
const compactAt = 4 << 20

// Agent is one agent.
type Agent struct {
	cfg         Config
	deps        Deps
	started     machine.Now
	counts      *counters
	wire        agentlink.Agent
	build       []byte       // members of /version, encoded
	flags       []byte       // what /flags shows, encoded
	recovery    atomic.Int64 // nanoseconds that finding the containers took
	maxAge      atomic.Int64 // of ended sandboxes, in nanoseconds, as it was found last
	imaged      *imaged.Keeper
	disk        *diskwatch.Watch
	vault       *secrets.Vault
	collectable atomic.Int64 // sandboxes of what ended, as they were counted last

	journal *journal.Journal
	book    *workload.Book
	loop    *workLoop
	view    atomic.Pointer[workload.View]

	compactAt  int64       // of the journal's size; the saver owns it
	compacting atomic.Bool // a compaction was asked for

	launches chan struct{} // a place for each launch that may be under way
	work     sync.WaitGroup

	links     atomic.Uint64 // numbers them
	streamIDs atomic.Uint64 // numbers those of executors

	left    chan struct{} // closed when the agent leaves and nothing of its tasks is here any more
	goodbye chan struct{} // closed when the link ended over which it said goodbye
	parting sync.Once     // closes goodbye

	nested *nested.Server // answers the calls about containers of the API

	files     sandbox.Files // what /files shows; it has a lock of its own
	verbosity serve.Verbosity

	resizing sync.Mutex // one container's limits are changed at a time
	mu       sync.Mutex // guards the rest
	link     *masterLink
	cancels  map[string]context.CancelFunc // of launches, by container
	watchers map[string]context.CancelFunc // of checks, by container
	streams  map[uint64]*executorStream
	sizes    map[string][]workload.Need // to be given to containers
	master   string                     // host name of the leader
	summoned string                     // host:port of a master that says it leads, to be tried next
	base     context.Context            // of all work; ends with Run
}

type workLoop = loop.Loop[workload.In, workload.Record, workload.Msg, workload.Work, workload.Fact]

// Open reads the journal in the work directory and makes an agent of it that does nothing yet.
func Open(cfg Config, deps Deps) (*Agent, error) {
	if cfg.Reconfiguration == "" {
		cfg.Reconfiguration = reconfigure.Equal
	}
	if cfg.Confine == nil {
		cfg.Confine = &confine.Rules{}
	}
	a := &Agent{
		cfg: cfg, deps: deps, started: deps.Clock.Now(), compactAt: compactAt,
		launches: make(chan struct{}, max(cfg.Launches, 1)),
		cancels:  map[string]context.CancelFunc{}, watchers: map[string]context.CancelFunc{},
		streams: map[uint64]*executorStream{}, sizes: map[string][]workload.Need{}, left: make(chan struct{}), goodbye: make(chan struct{}),
	}
	a.imaged = imaged.New(deps.Images, cfg.WorkDir, cfg.ImageBackend, cfg.Confine, deps.GPUs, deps.Log)
	a.disk = a.newDiskWatch()
	a.vault = secrets.NewVault(cfg.SecretsDir)
	a.wire = agentlink.Agent{Info: a.info, IP: cfg.IP, Version: cfg.Version, Unsupported: support.With(deps.GPUs != nil), Keep: a.keep}
	dir := filepath.Join(cfg.WorkDir, "meta")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the agent's work directory cannot be made: %w", err)
	}
	var saved []workload.Record
	path := filepath.Join(dir, "journal")
	j, damage, err := journal.Open(path, cfg.Strict, func(b []byte) error {
		r, err := records.Decode(b, &a.wire)
		if err == nil {
			saved = append(saved, r)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if damage.Lost > 0 {
		deps.Log.Error("part of the journal could not be read and is lost", "journal", path, "bytes", damage.Lost, "places", damage.Gaps)
	}
	if damage.Torn > 0 {
		deps.Log.Info("the end of the journal was cut off by a crash and is dropped", "journal", path, "bytes", damage.Torn)
	}
	kept, err := a.identify(saved)
	if err == nil && len(kept) < len(saved) {
		err = replaceJournal(j, kept)
	}
	if err == nil {
		err = a.fits(workload.KeptOf(kept))
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	saved = kept
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	cfg.Book.Boot, cfg.Book.IP, cfg.Book.Resources = cfg.Boot, cfg.IP, cfg.Resources
	if cfg.ShutdownGrace > 0 {
		cfg.Book.ShutdownGrace = cfg.ShutdownGrace
	}
	a.journal = j
	a.book = workload.New(cfg.Book, saved, a.started, rand.New(rand.NewChaCha8(seed)))
	a.view.Store(a.book.View())
	a.loop = loop.New[workload.In, workload.Record, workload.Msg, workload.Work, workload.Fact](
		a.book, a, deps.Clock, func() any { return a.book.View() }, loop.Config{},
	)
	a.counts = newCounters(a)
	a.nested = nested.New(nested.Deps{
		Runtime: deps.Runtime, View: a.view.Load, Put: func(ctx context.Context, in workload.In) error { return a.loop.Put(ctx, in) },
		Clock: deps.Clock, Log: deps.Log, WorkDir: cfg.WorkDir, User: ownUser(),
	})
	a.verbosity.Level, a.verbosity.Duration = deps.Level, mesos.ParseDuration
	a.build, a.flags = serve.Build(cfg.Version), a.settings()
	a.maxAge.Store(int64(cfg.GCDelay))
	a.attachAll()
	a.findVolumes(workload.KeptOf(saved))
	return a, nil
}

// Run finds the containers that are there, connects to the master and works until the context ends. Tasks go on after it.
// When a master says that the agent must end, its tasks end first, and the error says why.
func (a *Agent) Run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	cancel := func() { end(nil) }
	defer cancel()
	looking := a.deps.Clock.Now().Mono
	found, err := a.deps.Runtime.Recover(ctx)
	if err != nil {
		return fmt.Errorf("finding the containers of earlier runs: %w", err)
	}
	a.recovery.Store(int64(a.deps.Clock.Now().Mono - looking))
	a.mu.Lock()
	a.base = ctx
	a.mu.Unlock()
	in := &workload.Recovered{}
	var ids, running []string
	for _, f := range found {
		w := workload.Found{Container: f.ID, PID: f.PID, Ticks: f.StartTicks, Wall: f.Wall, Networks: a.deps.Networks.Of(f.ID).Reported()}
		if f.Exit != nil {
			e := exit(*f.Exit)
			w.Exit = &e
		} else {
			running = append(running, f.ID)
		}
		in.Containers = append(in.Containers, w)
		ids = append(ids, f.ID)
	}
	a.imaged.Found(ids, running)
	a.deps.Networks.Found(ctx, running) // before the ends of the others are told, which frees their ports
	a.retainSecrets(ids)
	if err := a.loop.Post(in); err != nil {
		return err
	}
	a.work.Go(func() { a.exits(ctx) })
	a.work.Go(func() {
		if why := a.connect(ctx); why != nil && a.vacate(ctx) == nil {
			end(why)
		}
	})
	a.work.Go(func() { a.collect(ctx) })
	if a.disk != nil {
		a.work.Go(func() { a.disk.Run(ctx) })
	}
	err = a.loop.Run(ctx)
	cancel()
	a.nested.Stop()
	a.mu.Lock()
	if a.link != nil {
		a.link.close()
	}
	a.mu.Unlock()
	a.work.Wait()
	if cerr := a.journal.Close(); err == nil {
		err = cerr
	}
	if why, ok := errors.AsType[*dismissal](context.Cause(ctx)); ok && err == nil {
		err = why
	}
	return err
}

// Tasks says how many tasks run here now.
func (a *Agent) Tasks() int {
	n := 0
	for _, t := range a.view.Load().Tasks {
		if !t.Ended {
			n++
		}
	}
	return n
}

// exits passes the ends of containers on to the book.
func (a *Agent) exits(ctx context.Context) {
	for {
		select {
		case e, ok := <-a.deps.Runtime.Exits():
			if !ok {
				return
			}
			a.unwatch(e.ID)
			a.imaged.Ended(e.ID) // before its end is told, and its gpus are offered again
			in := &workload.Exited{Container: e.ID, Exit: exit(e)}
			if a.deps.Networks.Of(e.ID) != nil && !strings.Contains(e.ID, ".") {
				a.work.Go(func() {
					a.unlink(ctx, e.ID)
					_ = a.loop.Put(ctx, in) // an agent that stops leaves it to the next
				})
			} else if a.loop.Put(ctx, in) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// unlink takes a container that has ended out of its networks, before its end is told and its ports are offered again. A network that
// does not let go is tried again a few times, and then from time to time while the agent goes on; its ports stay taken until then.
func (a *Agent) unlink(ctx context.Context, id string) {
	for wait := unlinkPause; ; wait *= 4 {
		err := a.deps.Networks.Leave(ctx, id)
		if err == nil || ctx.Err() != nil {
			return
		}
		a.counts.destroyErrors.Inc()
		a.deps.Log.Warn("a container that has ended cannot be taken out of its networks; it is tried again", "container", id, "error", err)
		if wait > unlinkPatience || clock.Sleep(ctx, a.deps.Clock, wait) != nil {
			return
		}
	}
}

const (
	unlinkPause    = 250 * time.Millisecond
	unlinkPatience = 10 * time.Second
)

func exit(e container.Exit) workload.Exit {
	return workload.Exit{Status: e.WaitStatus, Known: e.Known, OOM: e.OOM, Limit: e.MemLimit, TimedOut: e.TimedOut, Orphaned: e.ShimDied}
}

// Save appends records to the journal with one write and one sync. A compaction among them takes the place of all that
// was before it.
func (a *Agent) Save(_ context.Context, saved []workload.Record) error {
	var out [][]byte
	for i := range saved {
		r := &saved[i]
		if r.Compact != nil {
			all := make([][]byte, 0, len(r.Compact))
			for k := range r.Compact {
				b, err := records.Encode(&r.Compact[k])
				if err != nil {
					return err
				}
				all = append(all, b)
			}
			if err := a.journal.Replace(all); err != nil {
				return err
			}
			a.compactAt = max(compactAt, 4*a.journal.Size())
			a.compacting.Store(false)
			out = out[:0]
			continue
		}
		b, err := records.Encode(r)
		if err != nil {
			return err
		}
		out = append(out, b)
	}
	if len(out) > 0 {
		if err := a.journal.Append(out); err != nil {
			return err
		}
	}
	if a.journal.Size() > a.compactAt && a.compacting.CompareAndSwap(false, true) {
		if a.loop.Post(&workload.Compact{}) != nil {
			a.compacting.Store(false) // another time
		}
	}
	return nil
}

// Send gives messages to the link and events to executors, if they are there; what is lost is owed still.
func (a *Agent) Send(messages []workload.Msg) {
	a.mu.Lock()
	l := a.link
	a.mu.Unlock()
	for _, m := range messages {
		if m.Executor != nil {
			a.toExecutor(m.Executor)
			continue
		}
		if m.Nested != nil {
			a.nested.Answer(m.Nested)
			continue
		}
		if l == nil || m.Link != l.id {
			continue
		}
		if m.Unregister {
			l.goodbye.Store(true)
		}
		if m.Refuse != "" {
			l.close()
			return
		}
		l.send(m)
	}
}

// Do begins slow deeds.
func (a *Agent) Do(work []workload.Work) {
	for i := range work {
		w := &work[i]
		switch {
		case w.Launch != nil:
			a.launch(w.Launch)
		case w.LaunchNested != nil:
			a.launchNested(w.LaunchNested)
		case w.NestedEnded != nil:
			a.nested.Ended(w.NestedEnded)
		case w.RemoveNested != nil:
			n := w.RemoveNested
			a.work.Go(func() {
				a.removeNested(n.Spec)
				a.nested.Answer(&workload.NestedAnswer{Call: n.Call})
			})
		case w.Cancel != "":
			a.mu.Lock()
			if cancel := a.cancels[w.Cancel]; cancel != nil {
				cancel()
			}
			a.mu.Unlock()
		case w.Kill != nil:
			k := *w.Kill
			a.unwatch(k.Container)
			a.work.Go(func() {
				if err := a.deps.Runtime.Kill(k.Container, k.Grace); err != nil {
					a.deps.Log.Warn("a container could not be killed", "container", k.Container, "error", err)
				}
			})
		case w.Watch != nil:
			a.watch(w.Watch)
		case w.Resize != nil:
			id := w.Resize.Container
			a.mu.Lock()
			a.sizes[id] = w.Resize.Needs
			a.mu.Unlock()
			a.work.Go(func() { a.resize(id) })
		case w.RemoveVolume != nil:
			a.removeVolume(w.RemoveVolume)
		case w.ClearVolume != nil:
			a.clearVolume(w.ClearVolume)
		case w.PlaceVolumes != nil:
			a.bringVolumes(w.PlaceVolumes)
		case w.Left:
			close(a.left)
		case w.Forget != "":
			id := w.Forget
			a.unwatch(id)
			a.work.Go(func() {
				a.forget(id)
				a.imaged.Drop(id)
				a.dropSecretFiles(id)
			})
		case w.Destroy != "":
			id := w.Destroy
			a.work.Go(func() { // its end comes back as Exited, and is forgotten then
				if err := a.deps.Runtime.Kill(id, 0); err != nil {
					a.deps.Log.Warn("a container that nobody knows could not be ended", "container", id, "error", err)
				}
				a.forget(id)
			})
		}
	}
}

// resize makes the limits of a container what its parts need by now.
func (a *Agent) resize(id string) {
	a.resizing.Lock()
	defer a.resizing.Unlock()
	a.mu.Lock()
	needs, ok := a.sizes[id]
	delete(a.sizes, id)
	a.mu.Unlock()
	if !ok {
		return // it was done for a later call already
	}
	if err := a.deps.Runtime.Resize(id, bounds.Sum(needs, a.cfg.Quota)); err != nil {
		a.deps.Log.Debug("the limits of a container stay as they were", "container", id, "error", err)
	}
}

func (a *Agent) forget(id string) {
	if err := a.deps.Runtime.Forget(id); err != nil {
		a.deps.Log.Debug("a container could not be forgotten yet", "container", id, "error", err)
	}
}

// Tell logs and counts what happened.
func (a *Agent) Tell(_ machine.Now, facts []workload.Fact) {
	for i := range facts {
		f := &facts[i]
		a.counts.count(f)
		a.dropSecrets(f)
		switch f.Kind {
		case workload.FactRegistered, workload.FactReregistered, workload.FactUnlinked, workload.FactLeaving:
			a.deps.Log.Info(f.Kind.String(), "agent", f.Text)
		case workload.FactLeaderRefused, workload.FactOrphanDestroyed:
			a.deps.Log.Warn(f.Kind.String(), "container", f.Container, "why", f.Text)
		case workload.FactOperationEnded:
			a.deps.Log.Info(f.Kind.String(), "framework", f.Framework, "operation", f.Operation.Operation.ID, "what", f.Text)
		case workload.FactTaskRefused:
			a.deps.Log.Info(f.Kind.String(), "framework", f.Framework, "task", f.Task, "why", f.Text)
		default:
			a.deps.Log.Debug(f.Kind.String(), "framework", f.Framework, "task", f.Task, "executor", f.Executor, "container", f.Container, "state", f.State.String(), "what", f.Text)
		}
	}
}

// Show publishes the book for readers.
func (a *Agent) Show(view any) { a.view.Store(view.(*workload.View)) }
