package run

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/client"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/cli/fate"
)

// maxAttempts is how often an instance is launched anew when its launch is known to have come to nothing.
const maxAttempts = 5

// instance is one of the command's runs. A launch that came to nothing is tried again as a task with another id.
//
//	waiting --offer--> launched --RUNNING--> started --terminal--> over
//	   ^                  |
//	   +--- never ran ----+
type instance struct {
	number   int
	attempt  int
	id       string // the task's, of this attempt
	launched bool
	started  bool
	over     bool
	code     int // when over
	last     *mesosv1.TaskStatus

	agent   *mesosv1.AgentID
	host    string
	ports   []uint32      // of its node, in the order of its mappings
	address string        // "ip:port" of the agent
	ended   chan struct{} // closed with the terminal status, for those who copy its output
	copying int           // streams that are not complete; zero before they are looked at
}

func (r *run) newInstance(number int) *instance {
	i := &instance{number: number}
	r.reset(i)
	return i
}

func (r *run) reset(i *instance) {
	i.attempt++
	i.launched, i.last, i.ended = false, nil, make(chan struct{})
	i.id = fmt.Sprintf("%s-%s.%s", r.Name, r.suffix, r.label(i))
	if i.attempt > 1 {
		i.id += "." + strconv.Itoa(i.attempt)
	}
}

func (i *instance) taskID() *mesosv1.TaskID { return &mesosv1.TaskID{Value: &i.id} }

// label sets an instance apart from the others of its run.
func (r *run) label(i *instance) string {
	if r.Pod != nil {
		return r.Pod.Tasks[i.number].Name
	}
	return strconv.Itoa(i.number)
}

// title names the instance to people.
func (r *run) title(i *instance) string {
	if r.Pod != nil {
		return "task " + r.label(i)
	}
	if len(r.instances) == 1 {
		return "the task"
	}
	return fmt.Sprintf("instance %d", i.number)
}

// The times for which an offer that was not used is not made again, in seconds.
const (
	soon = 1.0
	late = 3600.0
)

// offer puts as many waiting instances on an offer as it holds and declines it otherwise.
func (r *run) offer(ctx context.Context, offer *mesosv1.Offer) {
	if r.Pod != nil {
		r.offerPod(ctx, offer)
		return
	}
	address := agentAddress(offer)
	rest := offer.GetResources()
	var placed []*instance
	var tasks []*mesosv1.TaskInfo
	for _, i := range r.instances {
		if i.launched || i.over || r.Here && !local(address) {
			continue
		}
		part, left, ok := r.Need.take(rest)
		if !ok {
			break
		}
		rest = left
		i.launched, i.agent, i.host, i.address = true, offer.GetAgentId(), offer.GetHostname(), address
		placed = append(placed, i)
		tasks = append(tasks, r.task(i, part))
	}
	if len(placed) == 0 {
		r.decline(ctx, offer)
		return
	}
	r.accept(ctx, offer, &mesosv1.Offer_Operation{
		Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: tasks},
	}, placed)
}

// decline gives an offer back.
func (r *run) decline(ctx context.Context, offer *mesosv1.Offer) {
	refuse := soon
	if !r.waiting() {
		refuse = late
	}
	_ = r.call(ctx, &scheduler.Call{Type: scheduler.Call_DECLINE.Enum(), Decline: &scheduler.Call_Decline{
		OfferIds: []*mesosv1.OfferID{offer.GetId()}, Filters: &mesosv1.Filters{RefuseSeconds: new(refuse)},
	}})
}

// accept launches instances by an operation.
func (r *run) accept(ctx context.Context, offer *mesosv1.Offer, op *mesosv1.Offer_Operation, placed []*instance) {
	err := r.call(ctx, &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: &scheduler.Call_Accept{
		OfferIds: []*mesosv1.OfferID{offer.GetId()}, Operations: []*mesosv1.Offer_Operation{op}, Filters: &mesosv1.Filters{RefuseSeconds: new(soon)},
	}})
	// Unless the master refused it, the launch may have happened; the next subscription's reconciliation tells.
	if refused(err) {
		for _, i := range placed {
			r.again(i, &mesosv1.TaskStatus{State: mesosv1.TaskState_TASK_DROPPED.Enum(), Message: new(err.Error())})
		}
	}
}

func agentAddress(offer *mesosv1.Offer) string {
	a := offer.GetUrl().GetAddress()
	switch {
	case a.GetIp() != "":
		return net.JoinHostPort(a.GetIp(), strconv.Itoa(int(a.GetPort())))
	case a.GetHostname() != "":
		return net.JoinHostPort(a.GetHostname(), strconv.Itoa(int(a.GetPort())))
	}
	return net.JoinHostPort(offer.GetHostname(), "5051")
}

func (r *run) task(i *instance, resources []*mesosv1.Resource) *mesosv1.TaskInfo {
	env := append([]*mesosv1.Environment_Variable{
		{Name: new("PANDO_INSTANCE"), Value: new(strconv.Itoa(i.number))},
	}, r.Env...)
	c := &mesosv1.CommandInfo{
		Shell: new(false), Arguments: r.Argv, User: &r.User, Uris: r.URIs, Environment: &mesosv1.Environment{Variables: env},
	}
	if len(r.Argv) > 0 {
		c.Value = &r.Argv[0]
	}
	i.ports = portsOf(resources)
	return &mesosv1.TaskInfo{
		Name: &r.Name, TaskId: i.taskID(), AgentId: i.agent, Resources: resources, Command: c, Container: r.mapped(i.ports),
	}
}

// mapped is the container, with the ports of the node that lead to its own in the place of those that were left open.
func (r *run) mapped(ports []uint32) *mesosv1.ContainerInfo {
	if len(ports) == 0 {
		return r.Container
	}
	c := proto.CloneOf(r.Container)
	for i, m := range c.GetNetworkInfos()[0].GetPortMappings() {
		m.HostPort = &ports[i]
	}
	return c
}

// reached says where the ports of an instance that runs are.
func (r *run) reached(i *instance) {
	for n, port := range i.ports {
		m := r.Container.GetNetworkInfos()[0].GetPortMappings()[n]
		r.Say("%s: port %d is reached at %s", r.title(i), m.GetContainerPort(), net.JoinHostPort(i.host, strconv.Itoa(int(port))))
	}
}

// update takes note of one status. One of another attempt, or after the end, says nothing new.
func (r *run) update(ctx context.Context, s *mesosv1.TaskStatus) {
	var i *instance
	for _, candidate := range r.instances {
		if candidate.id == s.GetTaskId().GetValue() {
			i = candidate
		}
	}
	if i == nil || i.over {
		return
	}
	state := s.GetState()
	switch {
	case state == mesosv1.TaskState_TASK_UNREACHABLE:
		r.Say("%s: its node %s cannot be reached; waiting for it", r.title(i), i.host)
		return
	case state == mesosv1.TaskState_TASK_UNKNOWN || state == mesosv1.TaskState_TASK_DROPPED, i.last == nil && absent(s):
		if i.last == nil {
			r.again(i, s)
			r.whole()
			return
		}
	}
	i.last = s
	r.told = ""
	if state == mesosv1.TaskState_TASK_RUNNING && !i.started {
		i.started = true
		r.reached(i)
		r.copy(ctx, i)
	}
	if client.Terminal(state.String()) || state == mesosv1.TaskState_TASK_UNKNOWN {
		r.end(ctx, i)
	}
}

// absent says that the cluster looked for the task and found nothing.
func absent(s *mesosv1.TaskStatus) bool {
	switch s.GetState() {
	case mesosv1.TaskState_TASK_GONE, mesosv1.TaskState_TASK_LOST:
		return s.GetReason() == mesosv1.TaskStatus_REASON_RECONCILIATION || s.GetReason() == mesosv1.TaskStatus_REASON_INVALID_OFFERS
	}
	return false
}

// again launches an instance that is known not to have run, unless that was tried too often or is not wanted any more.
func (r *run) again(i *instance, s *mesosv1.TaskStatus) {
	if r.stopCode == 0 && i.attempt < maxAttempts {
		r.reset(i)
		return
	}
	i.last, i.over, i.code = s, true, fate.NeverStarted
	r.Say("%s: %s", r.title(i), fate.Words(s))
}

func (r *run) end(ctx context.Context, i *instance) {
	i.over, i.code = true, fate.Code(i.last, i.started)
	if !i.started && wrote(i.last) {
		r.copy(ctx, i) // it was too quick for us to see it run
	}
	close(i.ended)
	if r.firstBad == 0 {
		r.firstBad = i.code
	}
	r.whole()
	if i.code != 0 && r.stopCode == 0 {
		r.Say("%s on %s: %s", r.title(i), i.host, fate.Words(i.last))
	}
}

// wrote says whether a task that ended like this may have had a sandbox.
func wrote(s *mesosv1.TaskStatus) bool {
	switch s.GetState() {
	case mesosv1.TaskState_TASK_FINISHED, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskState_TASK_KILLED:
		return true
	}
	return false
}

// copyEnd says that a stream of an instance is complete, or why it is not.
type copyEnd struct {
	instance *instance
	name     string
	err      error
	left     bool // a person went from its terminal
}

// copy starts to copy what the instance writes.
func (r *run) copy(ctx context.Context, i *instance) {
	if r.Detach {
		return
	}
	agent, err := client.NewAgent(i.address, nil)
	if err != nil {
		r.Say("%s: its output cannot be read: %v", r.title(i), err)
		return
	}
	sandbox := (&client.Task{ID: i.id, FrameworkID: r.scheduler.FrameworkID()}).Sandbox()
	if r.Pod != nil {
		sandbox = r.podSandbox(i)
	}
	if id := i.last.GetContainerStatus().GetContainerId(); r.Terminal != nil && id != nil {
		i.copying++
		go func() {
			left, err := r.Terminal(ctx, agent, id)
			if err != nil { // it has ended before, or its agent went: what it showed is in its sandbox
				if tail := agent.Tail(ctx, r.Clock, sandbox+"/stdout", 0, &cooked{w: through{r.out}}, i.ended); tail == nil {
					err = nil
				}
			}
			give(ctx, r.copied, copyEnd{i, "terminal", err, left})
		}()
		return
	}
	for name, to := range map[string]*gate{"stdout": r.out, "stderr": r.err} {
		var w io.Writer = through{to}
		flush := func() error { return nil }
		if len(r.instances) > 1 {
			l := &lines{gate: to, prefix: fmt.Sprintf("[%*s] ", r.width(), r.label(i))}
			w, flush = l, l.flush
		}
		i.copying++
		go func() {
			err := agent.Tail(ctx, r.Clock, sandbox+"/"+name, 0, w, i.ended)
			if err == nil {
				err = flush()
			}
			give(ctx, r.copied, copyEnd{i, name, err, false})
		}()
	}
}

func (r *run) complete(end copyEnd) {
	end.instance.copying--
	if end.err != nil {
		r.Say("%s: its %s is not complete: %v", r.title(end.instance), end.name, end.err)
	}
}

// width is that of the longest label.
func (r *run) width() int {
	n := 0
	for _, i := range r.instances {
		n = max(n, len(r.label(i)))
	}
	return n
}
