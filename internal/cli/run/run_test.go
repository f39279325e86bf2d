package run

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/fakecluster"
	"github.com/pando-os/pando/internal/cli/fate"
	"github.com/pando-os/pando/internal/clock"
)

// errand is a Run under way.
type errand struct {
	t         *testing.T
	cluster   *fakecluster.Cluster
	out, err  bytes.Buffer
	interrupt chan struct{}
	done      chan struct{}
	result    Result
	failed    error

	mu   sync.Mutex
	said []string
	more chan struct{}
}

func start(t *testing.T, script func(*fakecluster.Cluster, *mesosv1.TaskInfo), change func(*Options)) *errand {
	t.Helper()
	e := &errand{
		t: t, cluster: fakecluster.New(t, "", script), interrupt: make(chan struct{}), done: make(chan struct{}), more: make(chan struct{}),
	}
	e.cluster.Answer("/slaves", `{"slaves":[{"id":"`+fakecluster.AgentID+`","hostname":"node-1","active":true,"resources":{"cpus":4,"mem":1024},"used_resources":{"cpus":0.5}}]}`)
	o := Options{
		Masters: []string{e.cluster.Address}, Name: "job", Argv: []string{"sh", "-c", "true"}, Need: NewNeed(1, 64), User: "u", Role: "*", Instances: 1,
		Stdout: &e.out, Stderr: &e.err, Say: e.say, Interrupt: e.interrupt, Clock: clock.Real(),
	}
	if change != nil {
		change(&o)
	}
	go func() {
		defer close(e.done)
		e.result, e.failed = Run(t.Context(), o)
	}()
	e.cluster.Await("SUBSCRIBE", 1)
	return e
}

func (e *errand) say(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, fmt.Sprintf(format, args...))
	close(e.more)
	e.more = make(chan struct{})
}

// awaitWords returns when something with these words was said.
func (e *errand) awaitWords(words string) {
	e.t.Helper()
	for {
		e.mu.Lock()
		more, said := e.more, slices.Clone(e.said)
		e.mu.Unlock()
		if strings.Contains(strings.Join(said, "\n"), words) {
			return
		}
		select {
		case <-more:
		case <-e.done:
			e.t.Fatalf("it ended (%+v, %v) and said only %q", e.result, e.failed, said)
		}
	}
}

func (e *errand) finish(code int) {
	e.t.Helper()
	<-e.done
	if e.failed != nil || e.result.Code != code {
		e.t.Fatalf("code %d, want %d; error %v; said %q", e.result.Code, code, e.failed, e.said)
	}
}

const (
	running  = mesosv1.TaskState_TASK_RUNNING
	finished = mesosv1.TaskState_TASK_FINISHED
	failed   = mesosv1.TaskState_TASK_FAILED
)

func ends(state mesosv1.TaskState, message string) func(*fakecluster.Cluster, *mesosv1.TaskInfo) {
	return func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		id := task.GetTaskId().GetValue()
		c.Update(id, running, "")
		c.Output(id, "stdout", "to out\n")
		c.Output(id, "stderr", "to err\n")
		c.Update(id, state, message)
	}
}

func TestOutputIsCompleteAndApartAndTheCodeIsTheTasks(t *testing.T) {
	e := start(t, ends(failed, "Command exited with status 3"), nil)
	e.cluster.Offer(4, 1024)
	e.finish(3)
	if e.out.String() != "to out\n" || e.err.String() != "to err\n" {
		t.Errorf("stdout %q, stderr %q", e.out.String(), e.err.String())
	}
	calls := strings.Join(e.cluster.Calls(), ", ")
	if !strings.HasPrefix(calls, "SUBSCRIBE  60, ") || !strings.HasSuffix(calls, "TEARDOWN") || strings.Count(calls, "ACKNOWLEDGE") != 2 {
		t.Error(calls)
	}
}

func TestWhatIsLaunchedIsWhatWasAsked(t *testing.T) {
	got := make(chan *mesosv1.TaskInfo, 1)
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		got <- task
		ends(finished, "")(c, task)
	}, func(o *Options) {
		o.Env = []*mesosv1.Environment_Variable{{Name: new("A"), Value: new("b")}}
		o.URIs = []*mesosv1.CommandInfo_URI{{Value: new("http://h/f")}}
	})
	e.cluster.Offer(4, 1024)
	e.finish(0)
	task := <-got
	c := task.GetCommand()
	if c.GetShell() || c.GetValue() != "sh" || len(c.GetArguments()) != 3 || c.GetUser() != "u" || c.GetUris()[0].GetValue() != "http://h/f" {
		t.Errorf("command %v", c)
	}
	if v := c.GetEnvironment().GetVariables(); len(v) != 2 || v[1].GetName() != "A" {
		t.Errorf("environment %v", v)
	}
	if r := task.GetResources(); len(r) != 2 || r[0].GetScalar().GetValue() != 1 || r[1].GetScalar().GetValue() != 64 {
		t.Errorf("resources %v", r)
	}
	if len(e.result.Tasks) != 1 || !strings.HasPrefix(e.result.Tasks[0], fakecluster.FrameworkID+"/job-") {
		t.Errorf("tasks %v", e.result.Tasks)
	}
}

func TestWhileItWaitsItSaysWhy(t *testing.T) {
	c := clock.NewFake(time.Unix(1e9, 0))
	e := start(t, ends(finished, ""), func(o *Options) { o.Need, o.Clock = NewNeed(3.75, 64), c })
	e.cluster.Offer(3.5, 1024)
	e.cluster.Await("DECLINE", 1)
	c.Advance(firstLook)
	e.awaitWords("waiting for 3.75 cpus and 64 MB: largest free: 3.5 cpus on node-1")
	e.cluster.Offer(4, 1024)
	e.finish(0)
}

func TestSeveralInstancesHaveAPrefixAndTheLowestFailureSpeaks(t *testing.T) {
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		id := task.GetTaskId().GetValue()
		number := id[len(id)-1:]
		c.Output(id, "stdout", "a\nb"+number)
		if number == "0" {
			c.Update(id, running, "")
			c.Update(id, finished, "Command exited with status 0")
			return
		}
		c.Update(id, failed, "Command exited with status "+number)
	}, func(o *Options) { o.Instances = 3 })
	e.cluster.Offer(2, 1024)
	e.cluster.Offer(2, 1024)
	e.finish(1)
	got := strings.Split(strings.TrimSpace(e.out.String()), "\n")
	slices.Sort(got)
	if diff := cmp.Diff([]string{"[0] a", "[0] b0", "[1] a", "[1] b1", "[2] a", "[2] b2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestALaunchThatCameToNothingIsTriedAgain(t *testing.T) {
	times := 0
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		id := task.GetTaskId().GetValue()
		if times++; times == 1 {
			c.Update(id, mesosv1.TaskState_TASK_DROPPED, "offer rescinded")
			c.Await("ACKNOWLEDGE", 1)
			c.Offer(4, 1024)
			return
		}
		if !strings.HasSuffix(id, ".0.2") {
			t.Errorf("the second attempt is %s", id)
		}
		ends(finished, "")(c, task)
	}, nil)
	e.cluster.Offer(4, 1024)
	e.finish(0)
}

func TestATaskThatIsRefusedNeverStarted(t *testing.T) {
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		c.Update(task.GetTaskId().GetValue(), mesosv1.TaskState_TASK_ERROR, "no such user")
	}, nil)
	e.cluster.Offer(4, 1024)
	e.finish(fate.NeverStarted)
	e.awaitSaid("it was refused (no such user)")
}

// awaitSaid checks, after the end, that something was said.
func (e *errand) awaitSaid(words string) {
	e.t.Helper()
	if !strings.Contains(strings.Join(e.said, "\n"), words) {
		e.t.Errorf("said %q", e.said)
	}
}

func TestItComesBackWhenTheMasterDoes(t *testing.T) {
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		id := task.GetTaskId().GetValue()
		c.Update(id, running, "")
		c.Await("ACKNOWLEDGE", 1)
		c.Cut()
		c.Update(id, finished, "Command exited with status 0") // while nobody listens
		c.Output(id, "stdout", "done")
	}, nil)
	e.cluster.Offer(4, 1024)
	e.finish(0)
	calls := strings.Join(e.cluster.Calls(), ", ")
	if !strings.Contains(calls, "SUBSCRIBE "+fakecluster.FrameworkID) || !strings.Contains(calls, "RECONCILE") || e.out.String() != "done" {
		t.Errorf("%s; %q", calls, e.out.String())
	}
	e.awaitSaid("the master is back")
}

func killed(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
	id := task.GetTaskId().GetValue()
	c.Update(id, running, "")
	c.Await("KILL "+id, 1)
	c.Output(id, "stdout", "last words")
	c.Update(id, mesosv1.TaskState_TASK_KILLED, "Command terminated with signal Terminated")
}

func TestCtrlCKillsTheTaskAndKeepsItsLastWords(t *testing.T) {
	e := start(t, killed, nil)
	e.cluster.Offer(4, 1024)
	e.cluster.Await("ACKNOWLEDGE", 1)
	e.interrupt <- struct{}{}
	e.finish(Interrupted)
	if e.out.String() != "last words" {
		t.Errorf("stdout %q", e.out.String())
	}
}

func TestCtrlCWhileItWaitsLaunchesNothing(t *testing.T) {
	e := start(t, nil, nil)
	e.cluster.Offer(.1, 1)
	e.cluster.Await("DECLINE", 1)
	e.interrupt <- struct{}{}
	e.finish(Interrupted)
	if len(e.result.Tasks) != 0 || !slices.Contains(e.cluster.Calls(), "TEARDOWN") {
		t.Error(e.result, e.cluster.Calls())
	}
}

func TestASecondCtrlCLeavesAtOnce(t *testing.T) {
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		c.Update(task.GetTaskId().GetValue(), running, "")
	}, nil)
	e.cluster.Offer(4, 1024)
	e.cluster.Await("ACKNOWLEDGE", 1)
	e.interrupt <- struct{}{}
	e.interrupt <- struct{}{}
	e.finish(Interrupted)
}

func TestTheTimeLimitKillsTheTask(t *testing.T) {
	c := clock.NewFake(time.Unix(1e9, 0))
	e := start(t, killed, func(o *Options) { o.Timeout, o.Clock = time.Minute, c })
	e.cluster.Offer(4, 1024)
	e.cluster.Await("ACKNOWLEDGE", 1)
	e.cluster.Answer("/slaves", `{"slaves":[]}`)
	c.Advance(time.Minute) // less than a silent master is given
	e.cluster.Await("KILL", 1)
	for running := true; running; { // whoever waits on the clock now is let go
		select {
		case <-e.done:
			running = false
		case <-time.After(time.Millisecond):
			c.Advance(10 * time.Millisecond)
		}
	}
	e.finish(fate.TimedOut)
}

func TestDetachedItLeavesTheTaskRunning(t *testing.T) {
	e := start(t, func(c *fakecluster.Cluster, task *mesosv1.TaskInfo) {
		c.Update(task.GetTaskId().GetValue(), running, "")
	},
		func(o *Options) { o.Detach = true })
	e.cluster.Offer(4, 1024)
	e.finish(0)
	calls := e.cluster.Calls()
	if slices.Contains(calls, "TEARDOWN") || !strings.HasPrefix(calls[0], "SUBSCRIBE  3.1536e+07") || len(e.result.Tasks) != 1 {
		t.Error(calls, e.result)
	}
}

func TestTheReasonOfAWaitIsTheOneThingThatIsShort(t *testing.T) {
	agent := func(host string, cpus, mem, usedCPUs, usedMem float64) client.AgentInfo {
		return client.AgentInfo{
			Hostname: host, Active: true,
			Resources: client.Resources{"cpus": cpus, "mem": mem}, Used: client.Resources{"cpus": usedCPUs, "mem": usedMem},
		}
	}
	for _, tc := range []struct {
		want   string
		need   Need
		agents []client.AgentInfo
	}{
		{"no node has joined the cluster", NewNeed(1, 1), nil},
		{"none of the 1 nodes is active", NewNeed(1, 1), []client.AgentInfo{{}}},
		{"no node is that large: largest: 8 cpus on b", NewNeed(9, 1), []client.AgentInfo{agent("a", 4, 64, 0, 0), agent("b", 8, 64, 8, 0)}},
		{"largest free: 3.5 cpus on a", NewNeed(4, 1), []client.AgentInfo{agent("a", 4, 64, .5, 0), agent("b", 8, 64, 8, 0)}},
		{"largest free: 60 MB on a", NewNeed(1, 64), []client.AgentInfo{agent("a", 4, 64, 0, 4)}},
		{
			"largest free: 4 cpus on a, 64 MB on b", NewNeed(4, 64),
			[]client.AgentInfo{agent("a", 4, 64, 0, 64), agent("b", 4, 64, 4, 0)},
		},
		{
			"there is room, but it is offered to somebody else or reserved for another role", NewNeed(.1, 1),
			[]client.AgentInfo{agent("a", 1, 64, .9, 0)},
		},
	} {
		if got := tc.need.Explain(tc.agents); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestTakingSpansReservationsAndLeavesTheRest(t *testing.T) {
	scalar := func(name string, v float64, role string) *mesosv1.Resource {
		r := &mesosv1.Resource{Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v}}
		if role != "" {
			r.Reservations = []*mesosv1.Resource_ReservationInfo{{Role: &role}}
		}
		return r
	}
	revocable := scalar("cpus", 9, "")
	revocable.Revocable = &mesosv1.Resource_RevocableInfo{}
	offered := []*mesosv1.Resource{revocable, scalar("cpus", 1, "eng"), scalar("cpus", 1.1, ""), scalar("mem", 64, "")}
	part, rest, ok := NewNeed(1.3, 64).take(offered)
	if !ok || len(part) != 3 || part[0].GetReservations()[0].GetRole() != "eng" || part[1].GetScalar().GetValue() != .3 {
		t.Fatal(part, ok)
	}
	if rest[2].GetScalar().GetValue() != .8 || offered[2].GetScalar().GetValue() != 1.1 {
		t.Fatal(rest, offered)
	}
	if _, _, ok := NewNeed(.9, 0).take(rest); ok {
		t.Fatal("took more than was left")
	}
}

func TestPortsAreTakenByNumberFirstAndThenAnyThatAreLeft(t *testing.T) {
	ports := func(role string, spans ...uint64) *mesosv1.Resource {
		r := &mesosv1.Resource{Name: new("ports"), Type: mesosv1.Value_RANGES.Enum(), Role: &role, Ranges: &mesosv1.Value_Ranges{}}
		for i := 0; i < len(spans); i += 2 {
			r.Ranges.Range = append(r.Ranges.Range, &mesosv1.Value_Range{Begin: &spans[i], End: &spans[i+1]})
		}
		return r
	}
	offered := []*mesosv1.Resource{ports("web", 80, 80), ports("*", 100, 102, 200, 200)}
	before := proto.CloneOf(offered[1])
	part, rest, ok := Need{Ports: []uint32{0, 101, 0, 200, 80}}.take(offered)
	if !ok || !slices.Equal(portsOf(part), []uint32{100, 101, 102, 200, 80}) || part[4].GetRole() != "web" {
		t.Errorf("it takes %v, %v", part, ok)
	}
	if len(rest[0].GetRanges().GetRange())+len(rest[1].GetRanges().GetRange()) != 0 || !proto.Equal(before, offered[1]) {
		t.Errorf("there is left %v of %v", rest, offered)
	}
	if _, rest, ok := (Need{Ports: []uint32{101}}).take(offered[1:]); !ok || len(rest[0].GetRanges().GetRange()) != 3 {
		t.Errorf("of the middle there is left %v", rest)
	}
	for _, none := range [][]uint32{{103}, {101, 101}, {0, 0, 0, 0, 0, 0}} {
		if part, rest, ok := (Need{Ports: none}).take(offered); ok || len(part) != 0 || !slices.Equal(rest, offered) {
			t.Errorf("%v: it takes %v", none, part)
		}
	}
	if got := (Need{CPUs: 1000, Ports: []uint32{0, 80}}).String(); got != "1 cpus, a port and port 80" {
		t.Errorf("it is called %q", got)
	}
	if got := (Need{Ports: []uint32{80}}).Explain([]client.AgentInfo{{Active: true}}); !strings.Contains(got, "ports are taken") {
		t.Error(got)
	}
}

func TestWhatATerminalShowedIsShownByAnother(t *testing.T) {
	for _, pieces := range [][]string{{"a\r\nb\rc\r\r\nd\n"}, {"a\r", "\nb\r", "c\r", "\r", "\nd", "\n"}} {
		var got strings.Builder
		c := &cooked{w: &got}
		for _, p := range pieces {
			if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if got.String() != "a\nb\rc\r\nd\n" {
			t.Errorf("%q", got.String())
		}
	}
}
