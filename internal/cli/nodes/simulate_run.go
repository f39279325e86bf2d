package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/host"
)

// simulation is one that runs.
type simulation struct {
	*plan
	fl     *fleet.Fleet
	load   *fleet.Load // nil: none
	pid    int         // of a master of its own; 0: it has none
	words  io.Writer   // what people are told meanwhile
	rep    report
	broken []error
}

// run carries the plan out, prints what came of it, and says what of its promises did not hold.
func (p *plan) run(ctx context.Context, cmd *cobra.Command) (err error) {
	table, err := newRows(p.csv)
	if err != nil {
		return err
	}
	s := &simulation{plan: p, words: cmd.ErrOrStderr()}
	if p.ownsCluster {
		addr, pid, stop, err := ownMaster(ctx)
		if err != nil {
			return errors.Join(err, table.close())
		}
		defer stop()
		s.masters, s.pid = []string{addr}, pid
	}
	p.fleet.Masters = s.masters
	s.rep = report{Masters: s.masters, Agents: p.agents, Tasks: p.tasks, Encoding: p.encoding, Seed: p.seed, own: s.pid != 0}
	s.rep.RSSEmpty, s.rep.SelfEmpty = mib(s.pid), ownMiB()
	if s.fl, err = fleet.New(p.fleet); err != nil {
		return errors.Join(err, table.close())
	}
	s.load = p.load()

	linked, cut := context.WithCancel(context.WithoutCancel(ctx)) // the agents outlive Ctrl-C, to say goodbye
	defer cut()
	ended := make(chan error, 1)
	go func() { ended <- s.fl.Run(linked) }()
	watching, unwatch := context.WithCancel(linked)
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching, table, p.verbose || terminal(s.words)) })
	begun := time.Now()
	err = s.phases(ctx, ended)
	s.rep.TotalSecs = time.Since(begun).Seconds()
	s.conclude()
	unwatch()
	watch.Wait()
	if s.pid == 0 { // or its cluster would wait for the agents, and keep them as unreachable
		bye, cancel := context.WithTimeout(linked, 5*time.Second)
		s.fl.Leave(bye)
		cancel()
	}
	cut()
	if e := <-ended; err == nil {
		err = e
	}
	if e := table.close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := s.rep.print(cmd.OutOrStdout(), p.output == "json"); err != nil {
		return err
	}
	return errors.Join(s.broken...)
}

// phases are registration, rest, and load or mere presence.
func (s *simulation) phases(ctx context.Context, ended chan error) error {
	begun, cpu := time.Now(), s.cpu()
	for s.fl.Counts().Registered < int64(s.agents) {
		select {
		case err := <-ended:
			ended <- nil // it is waited for again
			return err
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Millisecond):
		}
		if c := s.fl.Counts(); c.Dismissed > 0 || time.Since(begun) > s.registerWithin {
			s.broken = append(s.broken, fmt.Errorf("only %d of %d agents registered within %s%s", c.Registered, s.agents, s.registerWithin, s.lastError()))
			return nil
		}
	}
	s.rep.RegisterSecs = time.Since(begun).Seconds()
	fmt.Fprintf(s.words, "%s registered in %.1f s\n", count(s.agents, "agent", "agents"), s.rep.RegisterSecs)
	if s.pid != 0 {
		s.rep.RegisterCPU = micros(s.cpu()-cpu) / float64(s.agents)
		if s.idle > 0 && s.tasks > 0 {
			sleep(ctx, 2*time.Second)
			cpu, begun = s.cpu(), time.Now()
			sleep(ctx, s.idle)
			s.rep.IdleCPU = 100 * (s.cpu() - cpu).Seconds() / time.Since(begun).Seconds()
		}
		s.rep.RSSRegistered = mib(s.pid)
		s.rep.KiBPerAgent = (s.rep.RSSRegistered - s.rep.RSSEmpty) * 1024 / float64(s.agents)
	}
	s.rep.SelfRegistered = ownMiB()
	s.rep.SelfKiBPerAgent = (s.rep.SelfRegistered - s.rep.SelfEmpty) * 1024 / float64(s.agents)
	if s.load == nil && s.duration == 0 {
		fmt.Fprintln(s.words, "They stay until Ctrl-C.")
	}
	if s.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	faults, calm := context.WithCancel(ctx)
	var schedule sync.WaitGroup
	schedule.Go(func() { s.fl.Inject(faults, s.faults) })
	defer schedule.Wait()
	defer calm()
	if s.load == nil {
		<-ctx.Done()
		return nil
	}
	s.loading(ctx)
	return nil
}

// lastError is a hint at why agents do not register.
func (s *simulation) lastError() string {
	if why := s.fl.Dismissal(); why != "" {
		return "; the master says: " + why
	}
	if why := s.fl.LastError(); why != "" {
		return "; the last try: " + why
	}
	return ""
}

// loading runs the load to its end, and takes its measure.
func (s *simulation) loading(ctx context.Context) {
	l := s.load
	var marks []time.Time
	tenth := int64(max(s.tasks/10, 1))
	l.Progress = func(running int64) {
		if running%tenth == 0 {
			marks = append(marks, time.Now())
		}
	}
	begun, cpu, self := time.Now(), s.cpu(), host.CPUTime(os.Getpid())
	var took, used, usedSelf time.Duration // until the last task ran
	full := make(chan struct{})
	go func() {
		defer close(full)
		select {
		case <-l.Full():
		case <-ctx.Done():
		}
		took, used, usedSelf = time.Since(begun), s.cpu()-cpu, host.CPUTime(os.Getpid())-self
		if l.Stay && ctx.Err() == nil {
			fmt.Fprintf(s.words, "%s in %.1f s; they stay until Ctrl-C, or --duration.\n", count(s.tasks, "task runs", "tasks run"), took.Seconds())
		}
	}()
	loading, stop := context.WithCancel(ctx)
	err := l.Run(loading)
	early := ctx.Err() != nil
	stop()
	if err == nil || early {
		<-full
	} else {
		s.broken = append(s.broken, fmt.Errorf("the scheduler: %w", err))
		return
	}
	if !l.Stay {
		used, usedSelf = s.cpu()-cpu, host.CPUTime(os.Getpid())-self
	}
	r := &s.rep
	r.Seconds, r.PerSecond = took.Seconds(), float64(l.Running.Load())/took.Seconds()
	if n := len(marks); n > 1 {
		r.FirstPerSecond = float64(tenth) / marks[0].Sub(l.Began()).Seconds()
		r.LastPerSecond = float64(tenth) / marks[n-1].Sub(marks[n-2]).Seconds()
	}
	r.loaded(l, used, usedSelf)
	if s.pid != 0 {
		r.RSSAfter = mib(s.pid)
	}
	if open := int64(s.tasks) - l.Ended.Load(); early && !l.Stay && open > 0 {
		s.broken = append(s.broken, fmt.Errorf("%s not ended when it was stopped", count(int(open), "task had", "tasks had")))
	} else if n := int64(s.tasks) - l.Running.Load(); l.Stay && n > 0 && l.Ended.Load() == 0 {
		s.broken = append(s.broken, fmt.Errorf("%s not run when it was stopped", count(int(n), "task had", "tasks had")))
	}
	if err := s.plan.broken(l); err != nil {
		s.broken = append(s.broken, err)
	}
}

// conclude looks at the agents once more: those that should be registered may be on their way back.
func (s *simulation) conclude() {
	for range 500 {
		if len(s.broken) > 0 || s.fl.Missing() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	c := s.fl.Counts()
	s.rep.Counts = c
	if c.Dismissed > 0 {
		s.broken = append(s.broken, fmt.Errorf("the master told %s to end: %s", count(int(c.Dismissed), "agent", "agents"), s.fl.Dismissal()))
	}
	if n := s.fl.Missing(); n > 0 && s.rep.RegisterSecs > 0 {
		s.broken = append(s.broken, fmt.Errorf("%s not registered at the end%s", count(n, "agent was", "agents were"), s.lastError()))
	}
}

func (s *simulation) cpu() time.Duration {
	if s.pid == 0 {
		return 0
	}
	return host.CPUTime(s.pid)
}

// ownMaster starts this very program as a master of its own.
func ownMaster(ctx context.Context) (addr string, pid int, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", 0, nil, err
	}
	dir, err := os.MkdirTemp("", "pando-simulate-")
	if err != nil {
		return "", 0, nil, err
	}
	c := exec.Command(self, "master", "--data-dir", dir, "--master-port", "0") //nolint:noctx // it ends after the agents
	c.Stderr = os.Stderr
	detach(c)
	if err := c.Start(); err != nil {
		_ = os.RemoveAll(dir) // it is empty
		return "", 0, nil, err
	}
	stop = func() {
		_ = terminate(c.Process.Pid) // it may have ended
		_ = c.Wait()                 // how it ended does not matter any more
		_ = os.RemoveAll(dir)        // a temporary directory
	}
	for range 500 {
		if r, ok := read(dir); ok && r.Ready {
			return r.Master, c.Process.Pid, stop, nil
		}
		if ctx.Err() != nil {
			stop()
			return "", 0, nil, ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	return "", 0, nil, errors.New("the master did not start within ten seconds")
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// mib is a process's resident memory in MiB; 0 for none.
func mib(pid int) float64 {
	if pid == 0 {
		return 0
	}
	return float64(host.Resident(pid)) / (1 << 20)
}

// ownMiB is this process's resident memory after a collection.
func ownMiB() float64 {
	debug.FreeOSMemory()
	return mib(os.Getpid())
}

func micros(d time.Duration) float64 { return float64(d.Microseconds()) }

// terminal says whether people look at what is written.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
