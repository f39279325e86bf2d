package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/host"
)

// framework is a scheduler of a test: one client.Scheduler for its whole life, which acknowledges and remembers all.
type framework struct {
	t    *testing.T
	s    *client.Scheduler
	done chan struct{} // closed when Run has returned, with err set

	mu         sync.Mutex
	err        error
	want       bool // offers; others are declined, and none are made where nobody wants one
	offers     map[string]*mesosv1.Offer
	statuses   map[string][]*mesosv1.TaskStatus      // by task, as they came
	operations map[string][]*mesosv1.OperationStatus // by operation, as they came; the test acknowledges them
	failures   []*scheduler.Event_Failure
	messages   []string      // of executors
	times      int           // of having subscribed
	news       chan struct{} // closed and made anew with each event
}

// options changes how a framework subscribes.
type options func(*client.SchedulerOptions)

func ofUser(name string) options {
	return func(o *client.SchedulerOptions) { o.Framework.User = &name }
}

// fromUID has the framework's connections belong to another user of the machine.
func fromUID(uid int) options {
	return func(o *client.SchedulerOptions) { o.HTTP = httpAs(uid) }
}

// httpAs makes a client whose sockets belong to a user: what the kernel tells of them is what it would of his processes.
func httpAs(uid int) *http.Client {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = syscall.Fchown(int(fd), uid, uid) })
		if cerr != nil {
			return cerr
		}
		return err
	}}
	return &http.Client{
		Transport:     &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 8},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// connect starts a scheduler, which runs until the test ends. It does not wait.
func connect(t *testing.T, master string, opts ...options) *framework {
	t.Helper()
	f := &framework{
		t: t, done: make(chan struct{}), offers: map[string]*mesosv1.Offer{}, statuses: map[string][]*mesosv1.TaskStatus{},
		operations: map[string][]*mesosv1.OperationStatus{}, news: make(chan struct{}),
	}
	o := client.SchedulerOptions{Masters: []string{master}, SuppressedRoles: []string{"test"}, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}, Framework: &mesosv1.FrameworkInfo{
		Name: new(t.Name()), User: new(me(t)), Roles: []string{"test"}, FailoverTimeout: proto.Float64(3600),
		Capabilities: []*mesosv1.FrameworkInfo_Capability{{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}},
	}}
	for _, opt := range opts {
		opt(&o)
	}
	var err error
	f.s, err = client.NewScheduler(o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := f.s.Run(ctx, func(e *scheduler.Event) error { return f.take(ctx, e) })
		f.mu.Lock()
		f.err = err
		f.tell()
		f.mu.Unlock()
		close(f.done)
	}()
	t.Cleanup(func() {
		cancel()
		<-f.done
		o.HTTP.CloseIdleConnections()
	})
	return f
}

// subscribe connects a scheduler and waits until it is subscribed.
func subscribe(t *testing.T, master string, opts ...options) *framework {
	t.Helper()
	f := connect(t, master, opts...)
	f.until("a subscription", func() bool { return f.times > 0 })
	return f
}

func me(t *testing.T) string {
	t.Helper()
	if os.Geteuid() == 0 {
		return "root"
	}
	return fmt.Sprint(os.Geteuid())
}

// tell wakes who waits; the lock is held.
func (f *framework) tell() {
	close(f.news)
	f.news = make(chan struct{})
}

func (f *framework) take(ctx context.Context, e *scheduler.Event) error {
	var unwanted []*mesosv1.OfferID
	f.mu.Lock()
	switch e.GetType() {
	case scheduler.Event_SUBSCRIBED:
		f.times++
		clear(f.offers)
	case scheduler.Event_OFFERS:
		for _, o := range e.GetOffers().GetOffers() {
			if f.want {
				f.offers[o.GetId().GetValue()] = o
			} else {
				unwanted = append(unwanted, o.GetId())
			}
		}
	case scheduler.Event_RESCIND:
		delete(f.offers, e.GetRescind().GetOfferId().GetValue())
	case scheduler.Event_UPDATE_OPERATION_STATUS:
		s := e.GetUpdateOperationStatus().GetStatus()
		f.operations[s.GetOperationId().GetValue()] = append(f.operations[s.GetOperationId().GetValue()], s)
	case scheduler.Event_FAILURE:
		f.failures = append(f.failures, e.GetFailure())
	case scheduler.Event_MESSAGE:
		f.messages = append(f.messages, string(e.GetMessage().GetData()))
	case scheduler.Event_UPDATE:
		s := e.GetUpdate().GetStatus()
		id := s.GetTaskId().GetValue()
		f.statuses[id] = append(f.statuses[id], s)
	}
	f.tell()
	f.mu.Unlock()
	if len(unwanted) > 0 {
		_ = f.s.Call(ctx, &scheduler.Call{Type: scheduler.Call_DECLINE.Enum(), Decline: &scheduler.Call_Decline{OfferIds: unwanted}}) // a master that is gone takes them back itself
	}
	if e.GetType() == scheduler.Event_UPDATE {
		_ = f.s.Acknowledge(ctx, e.GetUpdate().GetStatus()) // one that is lost is asked for again by the update's repetition
	}
	return nil
}

// until waits for what is said of the framework's state; the lock is held where it is asked.
func (f *framework) until(what string, holds func() bool) {
	f.t.Helper()
	timeout := time.After(patience)
	f.mu.Lock()
	defer f.mu.Unlock()
	for !holds() {
		if f.err != nil {
			f.t.Fatalf("the scheduler ended while waiting for %s: %v", what, f.err)
		}
		news := f.news
		f.mu.Unlock()
		select {
		case <-news:
		case <-timeout:
			f.mu.Lock()
			f.t.Fatalf("waited in vain for %s; statuses: %s", what, f.said())
		}
		f.mu.Lock()
	}
}

// said is all that was heard of tasks, in short.
func (f *framework) said() string {
	var b strings.Builder
	for id, all := range f.statuses {
		fmt.Fprintf(&b, "\n%s:", id)
		for _, s := range all {
			fmt.Fprintf(&b, " %s(%s %q)", s.GetState(), s.GetReason(), s.GetMessage())
		}
	}
	return b.String()
}

// task is a small shell task; its environment names it, so that its processes can be counted.
func task(id, shell string) *mesosv1.TaskInfo {
	scalar := func(name string, v float64) *mesosv1.Resource {
		return &mesosv1.Resource{
			Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v},
			AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("test")},
		}
	}
	return &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, Resources: []*mesosv1.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
		Command: &mesosv1.CommandInfo{
			Value: &shell, Environment: &mesosv1.Environment{Variables: []*mesosv1.Environment_Variable{{Name: new(mark), Value: &id}}},
		},
		KillPolicy: &mesosv1.KillPolicy{GracePeriod: &mesosv1.DurationInfo{Nanoseconds: proto.Int64(int64(5 * time.Second))}},
	}
}

// mark is the variable by which a task's processes are known; others may test at the same time.
var mark = fmt.Sprintf("PANDO_E2E_TASK_%d", os.Getpid())

// offered asks for offers and waits until there are some.
func (f *framework) offered() {
	f.t.Helper()
	f.mu.Lock()
	f.want = true
	f.mu.Unlock()
	for asked := -1; ; {
		n := f.subscriptions()
		if n != asked && f.s.Call(f.t.Context(), &scheduler.Call{Type: scheduler.Call_REVIVE.Enum()}) == nil {
			asked = n
		}
		f.until("an offer", func() bool { return len(f.offers) > 0 || f.times > asked })
		f.mu.Lock()
		done := len(f.offers) > 0
		f.mu.Unlock()
		if done {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// accept answers the present offers with tasks, and leaves what remains to others.
func (f *framework) accept(tasks ...*mesosv1.TaskInfo) error {
	f.t.Helper()
	f.offered()
	f.mu.Lock()
	a := &scheduler.Call_Accept{Filters: &mesosv1.Filters{RefuseSeconds: proto.Float64(0)}}
	var agent *mesosv1.AgentID
	for id, o := range f.offers {
		a.OfferIds = append(a.OfferIds, o.GetId())
		agent = o.GetAgentId()
		delete(f.offers, id)
	}
	f.want = false
	f.mu.Unlock()
	for _, x := range tasks {
		x.AgentId = agent
	}
	a.Operations = []*mesosv1.Offer_Operation{{Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks}}}
	err := f.s.Call(f.t.Context(), &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: a})
	_ = f.s.Call(f.t.Context(), &scheduler.Call{Type: scheduler.Call_SUPPRESS.Enum()}) // the same subscription's
	return err
}

// launch starts tasks and waits until they run.
func (f *framework) launch(tasks ...*mesosv1.TaskInfo) {
	f.t.Helper()
	must(f.t, f.accept(tasks...))
	for _, x := range tasks {
		id := x.GetTaskId().GetValue()
		if s := f.await(id, mesosv1.TaskState_TASK_RUNNING); s.GetState() != mesosv1.TaskState_TASK_RUNNING {
			f.t.Fatalf("%s: %s %s: %s", id, s.GetState(), s.GetReason(), s.GetMessage())
		}
	}
}

// await waits until a task was heard to be in a state, or has ended; it gives that status.
func (f *framework) await(id string, state mesosv1.TaskState) *mesosv1.TaskStatus {
	f.t.Helper()
	var found *mesosv1.TaskStatus
	f.until(fmt.Sprintf("%s of %s", state, id), func() bool {
		for _, s := range f.statuses[id] {
			if s.GetState() == state || terminal(s) {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// end waits for a task's end.
func (f *framework) end(id string) *mesosv1.TaskStatus {
	f.t.Helper()
	return f.await(id, mesosv1.TaskState_TASK_FINISHED)
}

func (f *framework) kill(id string) error {
	return f.s.Call(f.t.Context(), &scheduler.Call{Type: scheduler.Call_KILL.Enum(), Kill: &scheduler.Call_Kill{TaskId: &mesosv1.TaskID{Value: &id}}})
}

func terminal(s *mesosv1.TaskStatus) bool { return client.Terminal(s.GetState().String()) }

// oneEnd checks that all terminal statuses of a task are one: one uuid, one state.
func (f *framework) oneEnd(id string, states ...mesosv1.TaskState) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var first *mesosv1.TaskStatus
	for _, s := range f.statuses[id] {
		switch {
		case !terminal(s) || s.GetReason() == mesosv1.TaskStatus_REASON_RECONCILIATION && len(s.GetUuid()) == 0:
		case first == nil:
			first = s
		case !bytes.Equal(first.GetUuid(), s.GetUuid()) || first.GetState() != s.GetState():
			f.t.Errorf("%s ended twice: as %s %x and as %s %x", id, first.GetState(), first.GetUuid(), s.GetState(), s.GetUuid())
		}
	}
	if first == nil {
		f.t.Errorf("%s has no end", id)
		return
	}
	for _, want := range states {
		if first.GetState() == want {
			return
		}
	}
	f.t.Errorf("%s ended as %s (%s: %s), want %s", id, first.GetState(), first.GetReason(), first.GetMessage(), states)
}

// resubscribed waits until the framework has subscribed more than n times, and gives the number.
func (f *framework) resubscribed(n int) int {
	f.t.Helper()
	f.until("another subscription", func() bool { return f.times > n })
	return f.subscriptions()
}

func (f *framework) subscriptions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.times
}

// process is a process for good, within a boot.
type process struct {
	pid   int
	ticks uint64
}

// environment reads a process's environment. It is empty for a moment while a process executes another program, so that
// is not believed at once of one that has a program.
func environment(pid int) string {
	for range 5 {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || len(env) > 0 {
			return string(env)
		}
		if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil {
			return ""
		}
		time.Sleep(time.Millisecond)
	}
	return ""
}

// processesOf are the processes whose environment names a task, by task.
func processesOf(t *testing.T) map[string][]process {
	t.Helper()
	out := map[string][]process{}
	for pid := range processes() {
		for v := range strings.SplitSeq(environment(pid), "\x00") {
			if id, ok := strings.CutPrefix(v, mark+"="); ok {
				if ticks, err := host.StartTicks(pid); err == nil {
					out[id] = append(out[id], process{pid, ticks})
				}
			}
		}
	}
	return out
}
