package fleet_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/fleet"
	"github.com/pando-os/pando/internal/master"
	"github.com/pando-os/pando/internal/meter"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/internal/store/mem"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// realMaster is one in this process. Masters of one store compete to lead.
type realMaster struct {
	addr string
	m    *master.Master
	kill func()
}

func newMaster(t *testing.T, store *mem.Server, pings time.Duration) *realMaster {
	t.Helper()
	metrics, err := meter.New(prometheus.NewRegistry())
	must(t, err)
	log := slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	book := cluster.Defaults()
	book.PingInterval, book.PingMisses = pings, 2
	m := master.New(master.Config{
		Hostname: "localhost", IP: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Book: book, LeaseTTL: 2 * time.Second,
	}, master.Deps{Store: store.Open(), Clock: clock.Real(), Log: log, Meter: metrics})
	ctx, cancel := context.WithCancel(context.Background())
	s := serve.Server(serve.Config{Log: log}, m.Handler())
	var running sync.WaitGroup
	running.Go(func() { _ = m.Run(ctx) }) // it ends with the test
	running.Go(func() { _ = s.Serve(l) }) // it ends with Close
	r := &realMaster{addr: l.Addr().String(), m: m, kill: sync.OnceFunc(func() {
		cancel()
		_ = s.Close()
		running.Wait()
	})}
	t.Cleanup(r.kill)
	return r
}

func lead(t *testing.T, pings time.Duration) string {
	t.Helper()
	m := newMaster(t, mem.NewServer(clock.Real()), pings)
	eventually(t, "the master to lead", func() error {
		if !m.m.Leading() {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	return m.addr
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("waiting for %s: %v", what, err)
}

// counts waits until a fleet's counts fit.
func counts(t *testing.T, f *fleet.Fleet, what string, ok func(c fleet.Counts) bool) {
	t.Helper()
	eventually(t, what, func() error {
		if c := f.Counts(); !ok(c) {
			return fmt.Errorf("%+v (%s)", c, f.LastError())
		}
		return nil
	})
}

// run starts a fleet, which ends with the test, and waits until it has registered.
func run(t *testing.T, cfg fleet.Config) *fleet.Fleet {
	t.Helper()
	cfg.Clock, cfg.Log = clock.Real(), slog.New(slog.DiscardHandler)
	var err error
	cfg.Resources, err = resource.Parse("cpus:4;mem:1024", "*")
	must(t, err)
	f, err := fleet.New(cfg)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	counts(t, f, "all agents to register", func(c fleet.Counts) bool { return c.Registered == int64(cfg.Agents) })
	return f
}

// launch starts a load, which ends with the test; its end comes over the channel.
func launch(t *testing.T, l *fleet.Load) (*fleet.Load, <-chan error) {
	t.Helper()
	l.Prepare()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { defer close(done); ended <- l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l, ended
}

func finish(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the load does not end")
	}
}

func full(t *testing.T, l *fleet.Load) {
	t.Helper()
	select {
	case <-l.Full():
	case <-time.After(20 * time.Second):
		t.Fatalf("only %d tasks run", l.Running.Load())
	}
}

func operator(t *testing.T, addr string) *client.Operator {
	t.Helper()
	op, err := client.NewOperator([]string{addr}, nil)
	must(t, err)
	return op
}

func states(t *testing.T, addr string) (all []string) {
	t.Helper()
	tasks, err := operator(t, addr).Tasks(t.Context(), "", "")
	must(t, err)
	for _, task := range tasks {
		all = append(all, task.State)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestAgentsAreSpreadOverRacksAndZones(t *testing.T) {
	addr := lead(t, time.Minute)
	attributes, err := mesos.ParseAttributes("level:10")
	must(t, err)
	run(t, fleet.Config{Masters: []string{addr}, Agents: 8, Name: "east", Racks: 4, Zones: 3, Attributes: attributes})
	agents, err := operator(t, addr).Agents(t.Context())
	must(t, err)
	got := map[string]string{}
	for _, a := range agents {
		got[a.Hostname] = fmt.Sprintf("%v %v %v cpus %v", a.Attributes["rack"], a.Attributes["zone"], a.Attributes["level"], a.Resources.Scalar("cpus"))
	}
	want := map[string]string{}
	for i, place := range []string{"r0 z0", "r1 z1", "r2 z2", "r3 z0", "r0 z0", "r1 z1", "r2 z2", "r3 z0"} {
		want[fmt.Sprintf("agent-%d.east", i)] = place + " 10 cpus 4"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAConfigThatCannotBeNamesItsFlag(t *testing.T) {
	rack, err := mesos.ParseAttributes("rack:r1")
	must(t, err)
	for flag, c := range map[string]fleet.Config{
		"--agents":       {},
		"--racks":        {Agents: 1, Racks: 2, Zones: 3},
		"--zones":        {Agents: 1, Zones: -1},
		"--failure-rate": {Agents: 1, Tasks: fleet.Tasks{FailureRate: 1.5}},
		"--attributes":   {Agents: 1, Racks: 2, Attributes: rack},
	} {
		if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), flag+":") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestTasksRunUntilTheyAreKilledWhenTheyHaveNoTime(t *testing.T) {
	addr := lead(t, time.Minute)
	f := run(t, fleet.Config{Masters: []string{addr}, Agents: 2})
	l, _ := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 10, Stay: true, PerOffer: 5})
	full(t, l)
	tasks, err := operator(t, addr).Tasks(t.Context(), "", "")
	must(t, err)
	if len(tasks) != 10 || f.Counts().Running != 10 {
		t.Fatalf("%d tasks; %+v", len(tasks), f.Counts())
	}
	must(t, operator(t, addr).Kill(t.Context(), tasks[0].FrameworkID, tasks[0].ID))
	counts(t, f, "one to be killed", func(c fleet.Counts) bool { return c.Killed == 1 && c.Ended == 1 && c.Running == 9 })
	eventually(t, "its scheduler to hear it", func() error {
		if n := l.Killed.Load(); n != 1 {
			return fmt.Errorf("%d killed", n)
		}
		return nil
	})
}

func TestTaskStartingIsSentWhenItIsAskedFor(t *testing.T) {
	for _, starting := range []bool{false, true} {
		addr := lead(t, time.Minute)
		run(t, fleet.Config{Masters: []string{addr}, Agents: 1, Tasks: fleet.Tasks{Starting: starting}})
		l, _ := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 1, Stay: true})
		full(t, l)
		tasks, err := operator(t, addr).Tasks(t.Context(), "", "")
		must(t, err)
		var got []string
		for _, s := range tasks[0].Statuses {
			got = append(got, s.State)
		}
		want := []string{"TASK_STARTING", "TASK_RUNNING"}
		if !starting {
			want = want[1:]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("starting %v: %s", starting, diff)
		}
	}
}

func TestTasksTakeTheTimesThatAreSet(t *testing.T) {
	addr := lead(t, time.Minute)
	const start, life = 150 * time.Millisecond, 200 * time.Millisecond
	run(t, fleet.Config{Masters: []string{addr}, Agents: 2, Tasks: fleet.Tasks{Start: fleet.Span{Min: start, Max: start}, Run: fleet.Span{Min: life, Max: life}}})
	l, ended := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 4, PerOffer: 2})
	finish(t, ended)
	if got := l.Latency(0); got.P50 < start {
		t.Errorf("tasks ran %s after their launch, and take %s to start", got.P50, start)
	}
	if took := time.Since(l.Began()); took < start+life {
		t.Errorf("all has ended after %s", took)
	}
}

func TestTheShareOfTasksThatFailsIsTheOneThatIsSet(t *testing.T) {
	for rate, want := range map[float64][2]int64{0: {0, 0}, 1: {200, 200}, 0.5: {50, 150}} {
		addr := lead(t, time.Minute)
		f := run(t, fleet.Config{Masters: []string{addr}, Agents: 4, Seed: 1, Tasks: fleet.Tasks{Run: fleet.Span{Min: 1, Max: 1}, FailureRate: rate}})
		l, ended := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 200, PerOffer: 50})
		finish(t, ended)
		if n := l.Failed.Load(); n < want[0] || n > want[1] || n != f.Counts().Failed || l.Ended.Load() != 200 {
			t.Errorf("rate %v: %d of %d failed; %+v", rate, n, l.Ended.Load(), f.Counts())
		}
	}
}

func TestAHungAgentIsSilentAndTellsItsTasksEndsWhenItGoesOn(t *testing.T) {
	addr := lead(t, 100*time.Millisecond)
	f := run(t, fleet.Config{Masters: []string{addr}, Agents: 1, Tasks: fleet.Tasks{Run: fleet.Span{Min: 600 * time.Millisecond, Max: 600 * time.Millisecond}}})
	l, ended := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 4, InFlight: 3}) // the fourth waits for room
	counts(t, f, "three tasks to run", func(c fleet.Counts) bool { return c.Running == 3 })
	go f.Inject(t.Context(), []fleet.Fault{{Kind: fleet.Hang, Count: 1, For: 1500 * time.Millisecond}})
	counts(t, f, "the agent to hang", func(c fleet.Counts) bool { return c.Hung == 1 })
	counts(t, f, "its containers to end", func(c fleet.Counts) bool { return c.Ended == 3 && c.Hung == 1 })
	eventually(t, "the master to miss it", func() error {
		if got := states(t, addr); !slices.Equal(got, []string{"TASK_UNREACHABLE"}) || l.Lost.Load() != 3 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if f.Counts().Hung != 1 {
		t.Fatal("it goes on too early")
	}
	eventually(t, "it to tell what happened", func() error {
		if got := states(t, addr); slices.Contains(got, "TASK_UNREACHABLE") || !slices.Contains(got, "TASK_FINISHED") {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	finish(t, ended)
	if got := states(t, addr); !slices.Equal(got, []string{"TASK_FINISHED"}) {
		t.Errorf("in the end tasks are %v", got)
	}
	if c := f.Counts(); c.Hung != 0 || c.Registered != 1 || c.Hangs != 1 || c.Launched != 4 || c.Ended != 4 {
		t.Errorf("%+v", c)
	}
}

func TestARestartLosesNothing(t *testing.T) {
	addr := lead(t, time.Minute)
	life := fleet.Span{Min: 500 * time.Millisecond, Max: 1500 * time.Millisecond}
	f := run(t, fleet.Config{Masters: []string{addr}, Agents: 10, Seed: 7, Tasks: fleet.Tasks{
		Start: fleet.Span{Max: 300 * time.Millisecond}, Run: life, Starting: true,
	}})
	l, ended := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 200, PerOffer: 20})
	counts(t, f, "the launches", func(c fleet.Counts) bool { return c.Launched == 200 })
	go f.Inject(t.Context(), []fleet.Fault{
		{Kind: fleet.Restart, Count: 5, Every: 300 * time.Millisecond},
		{Kind: fleet.Restart, Count: 50, Percent: true, For: 900 * time.Millisecond},
	})
	finish(t, ended)
	c := f.Counts()
	if c.Restarts < 10 || c.Launched != 200 || c.Ended != 200 || l.Lost.Load()+l.Failed.Load()+l.Killed.Load() != 0 || l.Running.Load() != 200 {
		t.Errorf("%+v; %d ran, %d lost, %d failed", c, l.Running.Load(), l.Lost.Load(), l.Failed.Load())
	}
	agents, err := operator(t, addr).Agents(t.Context())
	must(t, err)
	if len(agents) != 10 {
		t.Errorf("%d agents are known, of ten", len(agents))
	}
}

func TestADroppedAgentIsGoneWithItsTasks(t *testing.T) {
	addr := lead(t, 50*time.Millisecond)
	f := run(t, fleet.Config{Masters: []string{addr}, Agents: 3})
	l, _ := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 9, PerOffer: 3, Stay: true})
	full(t, l)
	f.Inject(t.Context(), []fleet.Fault{{Kind: fleet.Drop, Count: 1}})
	if c := f.Counts(); c.Dropped != 1 || c.Gone != 3 || c.Running != 6 || c.Registered != 2 || f.Missing() != 0 {
		t.Errorf("%+v", c)
	}
	eventually(t, "the scheduler to hear it", func() error {
		if n := l.Lost.Load(); n != 3 {
			return fmt.Errorf("%d lost", n)
		}
		return nil
	})
	f.Inject(t.Context(), []fleet.Fault{{Kind: fleet.Restart, Count: 3}})
	if c := f.Counts(); c.Restarts != 2 || c.Missed != 1 {
		t.Errorf("of three restarts %d were carried out, %d not", c.Restarts, c.Missed)
	}
	counts(t, f, "the others to be back", func(c fleet.Counts) bool { return c.Registered == 2 && c.Away == 0 })
}

func TestAnAgentThatIsMarkedGoneEnds(t *testing.T) {
	addr := lead(t, time.Minute)
	f := run(t, fleet.Config{Masters: []string{addr}, Agents: 2})
	l, _ := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 4, PerOffer: 2, Stay: true})
	full(t, l)
	agents, err := operator(t, addr).Agents(t.Context())
	must(t, err)
	body := `{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"` + agents[0].ID + `"}}}`
	r, err := http.Post("http://"+addr+"/api/v1", "application/json", strings.NewReader(body))
	must(t, err)
	must(t, r.Body.Close())
	counts(t, f, "the agent to end", func(c fleet.Counts) bool {
		return c.Dismissed == 1 && c.Registered == 1 && c.Running == 2 && c.Gone == 2
	})
	if f.Dismissal() == "" || f.Missing() != 0 {
		t.Errorf("it was dismissed with %q; %d are missing", f.Dismissal(), f.Missing())
	}
}

func TestLeavingAgentsAreForgottenAtOnce(t *testing.T) {
	addr := lead(t, time.Minute)
	f := run(t, fleet.Config{Masters: []string{addr}, Agents: 50})
	l, _ := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 50, PerOffer: 1, Stay: true})
	full(t, l)
	f.Leave(t.Context())
	eventually(t, "the master to forget them", func() error {
		agents, err := operator(t, addr).Agents(t.Context())
		must(t, err)
		if len(agents) != 0 || l.Lost.Load() != 50 {
			return fmt.Errorf("it knows %d; %d tasks are told lost", len(agents), l.Lost.Load())
		}
		return nil
	})
}

func TestALoadKeepsItsPace(t *testing.T) {
	addr := lead(t, time.Minute)
	run(t, fleet.Config{Masters: []string{addr}, Agents: 5, Tasks: fleet.Tasks{Run: fleet.Span{Min: 1, Max: 1}}})
	l, ended := launch(t, &fleet.Load{Masters: []string{addr}, Tasks: 200, Rate: 400})
	finish(t, ended)
	if took := time.Since(l.Began()); took < 490*time.Millisecond {
		t.Errorf("200 tasks at 400/s took %s", took)
	}
}

func TestAgentsAndLoadFollowTheLeader(t *testing.T) {
	store := mem.NewServer(clock.Real())
	first, second := newMaster(t, store, time.Second), newMaster(t, store, time.Second)
	all := []string{first.addr, second.addr}
	eventually(t, "a leader", func() error {
		if first.m.Leading() == second.m.Leading() {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	f := run(t, fleet.Config{Masters: all, Agents: 20})
	l, ended := launch(t, &fleet.Load{Masters: all, Tasks: 100, PerOffer: 5, Stay: true, Failover: time.Minute})
	full(t, l)
	if second.m.Leading() {
		first, second = second, first
	}
	first.kill()
	eventually(t, "the scheduler to be back", func() error {
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		if l.Subscriptions.Load() < 2 || l.Open() > 0 {
			return fmt.Errorf("subscribed %d times; %d tasks not heard of", l.Subscriptions.Load(), l.Open())
		}
		return nil
	})
	counts(t, f, "all agents to be back", func(c fleet.Counts) bool { return c.Registered == 20 && c.Running == 100 })
	if n := l.Ended.Load(); n != 0 {
		t.Errorf("%d tasks were lost", n)
	}
}
