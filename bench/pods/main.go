// Command pods measures task groups and executors of frameworks' own through one real agent: groups of three tasks a second beside
// as many single tasks of the same client, one executor with a thousand tasks, and the memory of idle pods and idle executors.
//
//	tools/build && bin/pando up --detach --data-dir D && go run ./bench/pods --master 127.0.0.1:5050 --pid $(pidof pando)
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/host"
)

const patience = 5 * time.Minute

func main() {
	if len(os.Args) > 1 && os.Args[1] == "executor" {
		if err := beExecutor(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	master := flag.String("master", "127.0.0.1:5050", "the master")
	pid := flag.Int("pid", 0, "the node's process, whose memory is looked at")
	groups := flag.Int("groups", 300, "groups of three, and a third as many single tasks at a time")
	inFlight := flag.Int("in-flight", 20, "groups at once")
	tasks := flag.Int("tasks", 1000, "tasks of one executor")
	idle := flag.Int("idle", 50, "idle pods, and idle executors")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	err := run(ctx, *master, *pid, *groups, *inFlight, *tasks, *idle)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, master string, pid, groups, inFlight, tasks, idle int) error {
	f, err := subscribe(ctx, master)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	single := f.rounds(ctx, groups, inFlight, func(n int) []*mesosv1.Offer_Operation {
		return []*mesosv1.Offer_Operation{launch(task(n, 0, "true"), task(n, 1, "true"), task(n, 2, "true"))}
	})
	grouped := f.rounds(ctx, groups, inFlight, func(n int) []*mesosv1.Offer_Operation {
		return []*mesosv1.Offer_Operation{f.group(fmt.Sprint("pod-", n), task(n, 0, "true"), task(n, 1, "true"), task(n, 2, "true"))}
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	show("groups of three", map[string]any{
		"single_tasks_a_second": 3 * float64(groups) / single.Seconds(), "grouped_tasks_a_second": 3 * float64(groups) / grouped.Seconds(),
		"groups_a_second": float64(groups) / grouped.Seconds(), "in_flight": inFlight,
	})

	begun := time.Now()
	all := make([]*mesosv1.TaskInfo, tasks)
	for n := range all {
		all[n] = executed(f.s.FrameworkID(), "many", self, fmt.Sprint("many-", n), "end")
	}
	if err := f.accept(ctx, launch(all...)); err != nil {
		return err
	}
	if !f.until(ctx, func() bool { return f.ended >= 6*groups+tasks }) {
		return fmt.Errorf("of the executor's tasks only %d have ended: %w", f.ended-6*groups, errors.Join(f.err, ctx.Err()))
	}
	show("one executor with many tasks", map[string]any{"tasks": tasks, "seconds": time.Since(begun).Seconds(), "a_second": float64(tasks) / time.Since(begun).Seconds()})

	weigh := func(what string, op func(n int) *mesosv1.Offer_Operation) error {
		node, shims, running := mib(host.Resident(pid)), proportional("pando-launcher"), f.running
		for n := range idle {
			if err := f.accept(ctx, op(n)); err != nil {
				return err
			}
		}
		if !f.until(ctx, func() bool { return f.running >= running+idle }) {
			return fmt.Errorf("of %d idle %s only %d run: %w", idle, what, f.running-running, errors.Join(f.err, ctx.Err()))
		}
		time.Sleep(2 * time.Second)
		kib := func(now, before float64) float64 { return (now - before) * 1024 / float64(idle) }
		show("idle "+what, map[string]any{
			"how_many": idle, "node_kib_each": kib(mib(host.Resident(pid)), node), "shims_pss_kib_each": kib(proportional("pando-launcher"), shims),
		})
		return nil
	}
	err = weigh("pods of one task", func(n int) *mesosv1.Offer_Operation {
		return f.group(fmt.Sprint("idle-", n), task(1_000_000+n, 0, "exec sleep 100000"))
	})
	return errors.Join(err, weigh("executors of the framework's own", func(n int) *mesosv1.Offer_Operation {
		return launch(executed(f.s.FrameworkID(), fmt.Sprint("own-", n), self, fmt.Sprint("own-", n), "stay"))
	}), f.s.Call(ctx, &scheduler.Call{Type: scheduler.Call_TEARDOWN.Enum()}))
}

func show(what string, figures any) {
	b, _ := json.Marshal(figures) // they are numbers
	fmt.Printf("%s %s\n", what, b)
}

// framework is a scheduler that uses whatever it is offered.
type framework struct {
	s *client.Scheduler

	mu             sync.Mutex
	offers         []*mesosv1.Offer
	running, ended int
	err            error
	news           chan struct{} // closed and made anew with each event
}

func subscribe(ctx context.Context, master string) (*framework, error) {
	f := &framework{news: make(chan struct{})}
	var err error
	f.s, err = client.NewScheduler(client.SchedulerOptions{Masters: []string{master}, Framework: &mesosv1.FrameworkInfo{
		Name: new("bench-pods"), User: new("root"), Roles: []string{"bench"},
		Capabilities: []*mesosv1.FrameworkInfo_Capability{{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}},
	}})
	if err != nil {
		return nil, err
	}
	go func() {
		err := f.s.Run(ctx, func(e *scheduler.Event) error { return f.take(ctx, e) })
		f.mu.Lock()
		f.err = errors.Join(err, errors.New("the scheduler's stream has ended"))
		f.tell()
		f.mu.Unlock()
	}()
	if !f.until(ctx, func() bool { return len(f.offers) > 0 }) {
		return nil, errors.Join(f.err, errors.New("no offer came"))
	}
	return f, nil
}

func (f *framework) tell() {
	close(f.news)
	f.news = make(chan struct{})
}

func (f *framework) take(ctx context.Context, e *scheduler.Event) error {
	f.mu.Lock()
	switch e.GetType() {
	case scheduler.Event_OFFERS:
		f.offers = append(f.offers, e.GetOffers().GetOffers()...)
	case scheduler.Event_RESCIND:
		f.offers = nil // another comes
	case scheduler.Event_UPDATE:
		switch s := e.GetUpdate().GetStatus(); {
		case client.Terminal(s.GetState().String()):
			f.ended++
		case s.GetState() == mesosv1.TaskState_TASK_RUNNING:
			f.running++
		}
	default:
	}
	f.tell()
	f.mu.Unlock()
	s := e.GetUpdate().GetStatus()
	if e.GetType() == scheduler.Event_UPDATE && len(s.GetUuid()) == 0 {
		return fmt.Errorf("task %s is %s: %s", s.GetTaskId().GetValue(), s.GetState(), s.GetMessage())
	}
	if e.GetType() == scheduler.Event_UPDATE {
		return f.s.Acknowledge(ctx, s)
	}
	return nil
}

// until waits until something is so; false when it never will be.
func (f *framework) until(ctx context.Context, so func() bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !so() {
		if f.err != nil {
			return false
		}
		news := f.news
		f.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			f.mu.Lock()
			return false
		}
		f.mu.Lock()
	}
	return true
}

// accept makes operations on all that is offered; what is left of it comes again at once. It waits until that is much: what became
// free since may be crumbs.
func (f *framework) accept(ctx context.Context, ops ...*mesosv1.Offer_Operation) error {
	if !f.until(ctx, func() bool { return slices.ContainsFunc(f.offers, much) }) {
		return errors.Join(f.err, errors.New("no offer came"))
	}
	f.mu.Lock()
	all := f.offers
	f.offers = nil
	f.mu.Unlock()
	var ids []*mesosv1.OfferID
	for _, o := range all {
		ids = append(ids, o.GetId())
	}
	for _, op := range ops {
		for _, t := range append(op.GetLaunch().GetTaskInfos(), op.GetLaunchGroup().GetTaskGroup().GetTasks()...) {
			t.AgentId = all[0].GetAgentId() // there is one
		}
	}
	return f.s.Call(ctx, &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: &scheduler.Call_Accept{
		OfferIds: ids, Operations: ops, Filters: &mesosv1.Filters{RefuseSeconds: new(0.0)},
	}})
}

// much says whether an offer has more than a cpu.
func much(o *mesosv1.Offer) bool {
	return slices.ContainsFunc(o.GetResources(), func(r *mesosv1.Resource) bool { return r.GetName() == "cpus" && r.GetScalar().GetValue() > 1 })
}

// rounds makes so many rounds of three tasks each, some at a time, and gives how long all took.
func (f *framework) rounds(ctx context.Context, n, inFlight int, ops func(n int) []*mesosv1.Offer_Operation) time.Duration {
	f.mu.Lock()
	base := f.ended
	f.mu.Unlock()
	begun := time.Now()
	for i := range n {
		if !f.until(ctx, func() bool { return 3*i-(f.ended-base) < 3*inFlight }) || f.accept(ctx, ops(base+i)...) != nil {
			return 0
		}
	}
	f.until(ctx, func() bool { return f.ended-base >= 3*n })
	return time.Since(begun)
}

func scalars(cpus, mem, disk float64) []*mesosv1.Resource {
	var all []*mesosv1.Resource
	for i, v := range []float64{cpus, mem, disk} { // in this order: an executor's description must be the same for each of its tasks
		if name := []string{"cpus", "mem", "disk"}[i]; v > 0 {
			all = append(all, &mesosv1.Resource{
				Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v},
				AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("bench")},
			})
		}
	}
	return all
}

func task(round, n int, command string) *mesosv1.TaskInfo {
	id := fmt.Sprintf("t-%d-%d", round, n)
	return &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, Resources: scalars(0.001, 4, 0), Command: &mesosv1.CommandInfo{Value: &command},
	}
}

func launch(tasks ...*mesosv1.TaskInfo) *mesosv1.Offer_Operation {
	return &mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks}}
}

func (f *framework) group(pod string, tasks ...*mesosv1.TaskInfo) *mesosv1.Offer_Operation {
	x := &mesosv1.ExecutorInfo{
		Type: mesosv1.ExecutorInfo_DEFAULT.Enum(), ExecutorId: &mesosv1.ExecutorID{Value: &pod},
		FrameworkId: &mesosv1.FrameworkID{Value: new(f.s.FrameworkID())}, Resources: scalars(0.01, 32, 1),
	}
	return &mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_LAUNCH_GROUP.Enum(), LaunchGroup: &mesosv1.Offer_Operation_LaunchGroup{
		Executor: x, TaskGroup: &mesosv1.TaskGroupInfo{Tasks: tasks},
	}}
}

// executed is a task for an executor that is this program.
func executed(framework, executor, self, id, what string) *mesosv1.TaskInfo {
	return &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, Resources: scalars(0.001, 1, 0), Data: []byte(what),
		Executor: &mesosv1.ExecutorInfo{
			Type: mesosv1.ExecutorInfo_CUSTOM.Enum(), ExecutorId: &mesosv1.ExecutorID{Value: &executor}, FrameworkId: &mesosv1.FrameworkID{Value: &framework},
			Resources: scalars(1, 64, 0), Command: &mesosv1.CommandInfo{Shell: new(false), Value: &self, Arguments: []string{self, "executor"}},
		},
	}
}

// proportional is the memory of all processes of a program's name, also of one that runs from memory ("/memfd:NAME"), shared pages
// divided among those who share them, in MiB.
func proportional(name string) float64 {
	sum := 0.0
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, d := range dirs {
		exe, err := os.Readlink(d + "/exe")
		if err != nil || !strings.HasPrefix(strings.TrimPrefix(filepath.Base(exe), "memfd:"), name) {
			continue
		}
		b, err := os.ReadFile(d + "/smaps_rollup")
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if v, ok := strings.CutPrefix(line, "Pss:"); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64) // the kernel's own number
				sum += kb / 1024
			}
		}
	}
	return sum
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
