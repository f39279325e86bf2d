// Package run is a small framework: it runs one command on a cluster through the scheduler API, in one or several
// instances, copies what they write, and ends as they end.
package run

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/cli/fate"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
)

// How long the master keeps the framework when it hears nothing of us.
const (
	// away is for a command that was killed, or cut off: its tasks end a minute later.
	away = time.Minute
	// detached is for one that left on purpose: its tasks end when they end.
	detached = 365 * 24 * time.Hour
)

// When a waiting run looks for the reason: soon, then now and then.
const (
	firstLook = time.Second
	nextLook  = 3 * time.Second
)

// callLimit is how long the loop waits for the master to take a call; meanwhile it hears nothing.
const callLimit = 5 * time.Second

// Interrupted is the exit code of a run that Ctrl-C ended: 128 and SIGINT's number.
const Interrupted = 130

// Options say what to run.
type Options struct {
	Masters   []string
	Name      string                 // of the framework and the tasks
	Argv      []string               // empty: what the image of Container runs
	Container *mesosv1.ContainerInfo // the mappings of its first network get the Ports of Need, in order
	Need      Need
	Pod       *Pod // run instead of Argv, once; Need, Env and URIs are its tasks' then
	Env       []*mesosv1.Environment_Variable
	URIs      []*mesosv1.CommandInfo_URI
	Here      bool // run on a node of this machine only, since URIs name its files
	User      string
	Role      string
	Instances int
	Timeout   time.Duration // zero: none
	Detach    bool          // leave once every instance was launched
	// Terminal connects a person to the terminal of the task, which is one instance, in the place of copying its output. It returns when
	// that ended, or when he went. nil: it has none.
	Terminal func(ctx context.Context, agent *client.Agent, container *mesosv1.ContainerID) (left bool, err error)

	Stdout, Stderr io.Writer
	Say            func(format string, args ...any) // tells a person what goes on; a call is a line
	Interrupt      <-chan struct{}                  // receives for each Ctrl-C
	Clock          clock.Clock
}

// Result is how a run went.
type Result struct {
	Code  int      // what the command line exits with
	Tasks []string // FRAMEWORK/TASK of each instance that was launched, in order
}

// Run runs the command until every instance has ended, or was launched when Detach is set. An error says that the run could
// not be made at all; how its tasks ended is in the Result.
func Run(ctx context.Context, o Options) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{
		Options: o, suffix: strings.ToLower(rand.Text()[:8]),
		events: make(chan *scheduler.Event), cut: make(chan error), copied: make(chan copyEnd), why: make(chan string, 1),
		out: &gate{w: o.Stdout}, err: &gate{w: o.Stderr},
	}
	var err error
	if r.operator, err = client.NewOperator(o.Masters, nil); err != nil {
		return Result{}, err
	}
	r.scheduler, err = client.NewScheduler(client.SchedulerOptions{
		Masters: o.Masters, Framework: r.framework(), Clock: o.Clock,
		Disconnected: func(err error) { give(ctx, r.cut, err) },
	})
	if err != nil {
		return Result{}, err
	}
	if o.Pod != nil {
		r.Instances, r.Need = len(o.Pod.Tasks), o.Pod.Total()
	}
	for i := range r.Instances {
		r.instances = append(r.instances, r.newInstance(i))
	}
	ended := make(chan error, 1)
	go func() {
		ended <- r.scheduler.Run(ctx, func(e *scheduler.Event) error {
			give(ctx, r.events, e)
			return ctx.Err()
		})
	}()
	return r.loop(ctx, ended)
}

// give hands a value to the run's goroutine, or drops it when the run is over.
func give[T any](ctx context.Context, c chan<- T, v T) {
	select {
	case c <- v:
	case <-ctx.Done():
	}
}

// run is the state of one Run. Its goroutine alone touches what is not a channel.
type run struct {
	Options
	operator  *client.Operator
	scheduler *client.Scheduler
	suffix    string // sets this run's task ids apart

	events chan *scheduler.Event
	cut    chan error   // why the subscription broke
	copied chan copyEnd // a stream of an instance is complete
	why    chan string  // why the run waits

	instances  []*instance
	out, err   *gate
	subscribed bool
	before     bool // it was subscribed before
	suppressed bool // no offers are wanted
	firstBad   int  // the code of the first instance that did not end well
	stopCode   int  // not zero: kill what runs, launch nothing, and exit with this
	asking     bool // somebody finds out why the run waits
	told       string
}

func (r *run) framework() *mesosv1.FrameworkInfo {
	timeout := away
	if r.Detach {
		timeout = detached
	}
	info := &mesosv1.FrameworkInfo{
		User: &r.User, Name: new("run " + r.Name), Roles: []string{r.Role}, FailoverTimeout: new(timeout.Seconds()),
	}
	for _, c := range []mesosv1.FrameworkInfo_Capability_Type{
		mesosv1.FrameworkInfo_Capability_MULTI_ROLE, mesosv1.FrameworkInfo_Capability_PARTITION_AWARE,
		mesosv1.FrameworkInfo_Capability_TASK_KILLING_STATE, mesosv1.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
	} {
		info.Capabilities = append(info.Capabilities, &mesosv1.FrameworkInfo_Capability{Type: c.Enum()})
	}
	return info
}

func (r *run) loop(ctx context.Context, ended <-chan error) (Result, error) {
	look := r.Clock.NewTimer(firstLook)
	defer look.Stop()
	var limit <-chan time.Time
	if r.Timeout > 0 {
		t := r.Clock.NewTimer(r.Timeout)
		defer t.Stop()
		limit = t.C()
	}
	for !r.done() {
		select {
		case e := <-r.events:
			r.event(ctx, e)
		case err := <-r.cut:
			r.lost(err)
		case err := <-ended:
			return r.result(), removal(err)
		case end := <-r.copied:
			if end.left && r.stopCode == 0 {
				r.stop(ctx, Interrupted)
			}
			r.complete(end)
		case <-look.C():
			r.ask(ctx)
			look.Reset(nextLook)
		case words := <-r.why:
			r.asking = false
			r.tell(words)
		case <-limit:
			limit = nil
			r.Say("the time limit of %v is over", r.Timeout)
			r.stop(ctx, fate.TimedOut)
		case <-r.Interrupt:
			if r.stopCode != 0 {
				r.Say("leaving at once; what still runs ends within %v", away)
				r.leave(ctx)
				return r.result(), nil
			}
			r.stop(ctx, Interrupted)
		case <-ctx.Done():
			return r.result(), ctx.Err()
		}
	}
	if !r.Detach || r.stopCode != 0 {
		r.leave(ctx)
	}
	return r.result(), nil
}

// removal explains why the master ended the framework; when somebody tore it down, its tasks went with it.
func removal(err error) error {
	if removed, ok := errors.AsType[*client.RemovedError](err); ok {
		return fault.New(fault.Conflict, "the cluster ended this run: %s", removed.Message)
	}
	return err
}

// leave takes the framework out of the cluster. A master that does not hear it forgets the framework by itself.
func (r *run) leave(ctx context.Context) {
	if r.scheduler.FrameworkID() == "" {
		return
	}
	_ = r.call(ctx, &scheduler.Call{Type: scheduler.Call_TEARDOWN.Enum()})
}

// done says whether nothing is left to wait for.
func (r *run) done() bool {
	for _, i := range r.instances {
		if r.Detach && r.stopCode == 0 && i.last != nil {
			continue // its agent has it
		}
		if !i.over || i.copying > 0 {
			return false
		}
	}
	return true
}

// result is the code of the lowest-numbered instance that did not end well, unless the run itself was ended. Of a pod it is
// that of the first in time: the others were ended because of it.
func (r *run) result() Result {
	out := Result{Code: r.stopCode}
	if r.Pod != nil && out.Code == 0 {
		out.Code = r.firstBad
	}
	for _, i := range r.instances {
		if i.launched {
			out.Tasks = append(out.Tasks, r.scheduler.FrameworkID()+"/"+i.id)
		}
		if out.Code == 0 && i.over {
			out.Code = i.code
		}
	}
	return out
}

// lost tells once that the master is away.
func (r *run) lost(err error) {
	if r.subscribed || !r.before && r.told == "" {
		r.tell(fmt.Sprintf("%v; trying again", err))
	}
	r.subscribed = false
}

func (r *run) tell(words string) {
	if words != "" && words != r.told {
		r.Say("%s", words)
	}
	r.told = words
}

func (r *run) event(ctx context.Context, e *scheduler.Event) {
	switch e.GetType() {
	case scheduler.Event_SUBSCRIBED:
		if r.before {
			r.Say("the master is back")
			r.told = ""
		}
		r.subscribed, r.before, r.suppressed = true, true, false
		r.reconcile(ctx)
	case scheduler.Event_OFFERS:
		for _, offer := range e.GetOffers().GetOffers() {
			r.offer(ctx, offer)
		}
	case scheduler.Event_UPDATE:
		status := e.GetUpdate().GetStatus()
		r.update(ctx, status)
		acknowledging, cancel := context.WithTimeout(ctx, callLimit)
		_ = r.scheduler.Acknowledge(acknowledging, status) // what was not acknowledged comes again
		cancel()
	}
	r.hush(ctx)
}

// call sends one call. One that did not reach the master is made good after the next subscription, so a failure is told
// only when the master itself refused it.
func (r *run) call(ctx context.Context, c *scheduler.Call) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err := r.scheduler.Call(ctx, c)
	if refused(err) {
		r.Say("the master refused a call: %v", err)
	}
	return err
}

// refused says whether the master answered a call and did not take it.
func refused(err error) bool {
	s, ok := errors.AsType[*client.StatusError](err)
	return ok && s.Status >= 400 && s.Status < 500
}

// reconcile asks after a subscription for what may have been missed: the fate of each task, and kills.
func (r *run) reconcile(ctx context.Context) {
	call := &scheduler.Call_Reconcile{}
	for _, i := range r.instances {
		if i.launched && !i.over {
			call.Tasks = append(call.Tasks, &scheduler.Call_Reconcile_Task{TaskId: i.taskID(), AgentId: i.agent})
		}
	}
	if len(call.Tasks) == 0 {
		return
	}
	_ = r.call(ctx, &scheduler.Call{Type: scheduler.Call_RECONCILE.Enum(), Reconcile: call})
	if r.stopCode != 0 {
		r.kill(ctx)
	}
}

// hush stops the offers while no instance waits for one, and asks for them again when one does.
func (r *run) hush(ctx context.Context) {
	waiting := r.waiting()
	if !r.subscribed || waiting != r.suppressed {
		return
	}
	kind := scheduler.Call_SUPPRESS
	if waiting {
		kind = scheduler.Call_REVIVE
	}
	if r.call(ctx, &scheduler.Call{Type: kind.Enum()}) == nil {
		r.suppressed = !waiting
	}
}

// waiting says whether an instance needs an offer.
func (r *run) waiting() bool {
	for _, i := range r.instances {
		if !i.launched && !i.over {
			return true
		}
	}
	return false
}

// stop ends the run before its time.
func (r *run) stop(ctx context.Context, code int) {
	if r.stopCode != 0 {
		return
	}
	r.stopCode = code
	running := 0
	for _, i := range r.instances {
		if !i.launched {
			i.over = true
		} else if !i.over {
			running++
		}
	}
	if running > 0 {
		r.Say("killing %d of %d; press Ctrl-C again to leave at once", running, len(r.instances))
		r.kill(ctx)
	}
}

func (r *run) kill(ctx context.Context) {
	for _, i := range r.instances {
		if i.launched && !i.over {
			_ = r.call(ctx, &scheduler.Call{
				Type: scheduler.Call_KILL.Enum(), Kill: &scheduler.Call_Kill{TaskId: i.taskID(), AgentId: i.agent},
			})
		}
	}
}

// ask finds out, beside the loop, why the run waits.
func (r *run) ask(ctx context.Context) {
	if r.asking || !r.subscribed || !r.waiting() {
		return
	}
	r.asking = true
	go func() {
		asking, cancel := context.WithTimeout(ctx, nextLook)
		defer cancel()
		words := ""
		if agents, err := r.operator.Agents(asking); err == nil {
			if r.Here {
				agents = here(agents)
			}
			words = fmt.Sprintf("waiting for %v: %s", r.Need, r.Need.Explain(agents))
			if r.Here && len(agents) == 0 {
				words = "waiting for a node on this machine, since --file names a file of it"
			}
		}
		give(ctx, r.why, words)
	}()
}

// here are the agents of this machine.
func here(agents []client.AgentInfo) []client.AgentInfo {
	var out []client.AgentInfo
	for _, a := range agents {
		if _, address, ok := strings.Cut(a.PID, "@"); ok && local(address) {
			out = append(out, a)
		}
	}
	return out
}

// local says whether "ip:port" is of this machine.
func local(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return host == "localhost"
	}
	if ip.IsLoopback() {
		return true
	}
	ours, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range ours {
		if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
			return true
		}
	}
	return false
}
