package master

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Bounds of what agents and schedulers may say of themselves; docs/limits.md lists them. Most are far above what honest
// ones need: they keep one sender from taking a master's memory, time or store for himself.
const (
	// maxDescription bounds an AgentInfo and a FrameworkInfo. A record larger than the store's transaction would end the
	// leadership, again and again.
	maxDescription = 256 << 10
	// maxAmount is the most of one scalar that an agent may have, so that the sum over all agents stays a number.
	maxAmount = 10_000_000_000 * resource.One
	// maxResources, maxRanges and maxItems bound what is subtracted for each task.
	maxResources, maxRanges, maxItems = 1024, 1024, 4096
	// maxName bounds the short texts beside a description.
	maxName         = 256
	maxCapabilities = 64
	// maxReported bounds the frameworks that one registration brings, and maxExecutors the executors.
	// and operations.
	maxReported, maxExecutors = 4096, 100_000
	// maxRoles bounds a framework's roles.
	maxRoles = 1000
	// maxMessage bounds what goes to an executor at once: it travels in one frame beside others.
	maxMessage = 8 << 20
	// maxCallTasks bounds the tasks of an ACCEPT and of a RECONCILE, each of which is answered by an event.
	maxCallTasks = 50_000
	// maxTask bounds a TaskInfo without its data.
	maxTask = 1 << 20
	// ownBody is the size of a body in JSON from which a call is given memory of its own.
	ownBody = 64 << 10
	// maxHello bounds a link's first frame.
	maxHello = 64 << 10
	// registerWithin is how long an agent may take to register once it was greeted.
	registerWithin = 30 * time.Second
	// An agent may register so often at once, and then once a second.
	registerBurst, registerRate = 10, 1
)

// checkAgent refuses an agent that claims more than a machine has.
func checkAgent(r *link.Register, s *cluster.AgentSpec) error {
	switch {
	case len(s.Total) > maxResources:
		return fmt.Errorf("agent_info.resources: there are %d, and no more than %d may be", len(s.Total), maxResources)
	case len(r.GetFrameworkInfos()) > maxReported:
		return fmt.Errorf("framework_infos: there are %d, and no more than %d may be", len(r.GetFrameworkInfos()), maxReported)
	case len(r.GetOperations()) > maxExecutors:
		return fmt.Errorf("operations: there are %d, and no more than %d may be", len(r.GetOperations()), maxExecutors)
	case len(r.GetExecutors()) > maxExecutors:
		return fmt.Errorf("executors: there are %d, and no more than %d may be", len(r.GetExecutors()), maxExecutors)
	case s.Port < 0 || s.Port > 65535:
		return fmt.Errorf("agent_info.port: %d is not a port", s.Port)
	}
	sums := map[string]resource.Quantity{}
	ranges, items := 0, 0
	for i := range s.Total {
		x := &s.Total[i]
		ranges, items = ranges+len(x.Spans), items+len(x.Items)
		if x.Kind != resource.Scalar {
			continue
		}
		// Sums of like ones were made without a bound, so one that is negative by now was far too large.
		if sums[x.Name] += x.Scalar; x.Scalar < 0 || sums[x.Name] > maxAmount {
			return fmt.Errorf("agent_info.resources: %.100q adds up to more than %s, which no machine has", x.Name, maxAmount)
		}
	}
	if ranges > maxRanges || items > maxItems {
		return fmt.Errorf("agent_info.resources: there are %d ranges and %d items, and no more than %d and %d may be", ranges, items, maxRanges, maxItems)
	}
	return nil
}

// checkRegister refuses a registration for its size, before its parts are decoded.
func checkRegister(r *link.Register) error {
	switch {
	case len(r.GetAgentInfo()) > maxDescription:
		return fmt.Errorf("agent_info: it has %d bytes, and no more than %d may be; give the agent fewer attributes or ranges", len(r.GetAgentInfo()), maxDescription)
	case len(r.GetVersion()) > maxName || len(r.GetIp()) > maxName:
		return fmt.Errorf("version, ip: no more than %d bytes may be", maxName)
	case len(r.GetCapabilities()) > maxCapabilities:
		return fmt.Errorf("capabilities: there are %d, and no more than %d may be", len(r.GetCapabilities()), maxCapabilities)
	}
	return nil
}

// checkFramework refuses a framework whose description is too large to keep.
func checkFramework(encoded []byte, s *cluster.FrameworkSpec) error {
	if n := len(encoded); n > maxDescription {
		return fmt.Errorf("framework_info: it has %d bytes, and no more than %d may be", n, maxDescription)
	}
	if n := len(s.Roles); n > maxRoles {
		return fmt.Errorf("framework_info.roles: there are %d, and no more than %d may be", n, maxRoles)
	}
	return nil
}

// checkSize refuses a call's body for what it would take to decode it. Every message of a call in JSON begins with a brace.
func checkSize(body []byte, json bool, call proto.Message) error {
	if !json {
		return agentlink.CheckElements(body, call.ProtoReflect().Descriptor())
	}
	if len(body) > agentlink.MaxElements && bytes.Count(body, []byte{'{'}) > agentlink.MaxElements {
		return fmt.Errorf("it holds more than %d messages; send fewer at once", agentlink.MaxElements)
	}
	return nil
}

// decodeCall reads a scheduler's call and refuses one that is wrong or too large.
func decodeCall(body []byte, json bool) (*scheduler.Call, error) {
	if err := checkSize(body, json, (*scheduler.Call)(nil)); err != nil {
		return nil, err
	}
	call, err := mesos.DecodeCall(body, json)
	if err == nil {
		err = mesos.CheckCall(call)
	}
	if err == nil {
		err = checkCount(call)
	}
	if err == nil && json && len(body) > ownBody {
		return ofItsOwn(call)
	}
	return call, err
}

// ofItsOwn copies a call whose texts share one copy of the body: a task's id would hold all of it as long as it is remembered.
func ofItsOwn(call *scheduler.Call) (*scheduler.Call, error) {
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(call)
	if err != nil {
		return nil, err
	}
	out := &scheduler.Call{}
	return out, proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(b, out)
}

// checkCount refuses a call that asks for too many events, or sends too much at once.
func checkCount(call *scheduler.Call) error {
	if n := len(call.GetMessage().GetData()); n > maxMessage {
		return fmt.Errorf("message.data: it has %d bytes, and no more than %d may be; send the name of a file instead", n, maxMessage)
	}
	n, where := len(call.GetReconcile().GetTasks()), "reconcile.tasks"
	if x := len(call.GetReconcileOperations().GetOperations()); x > 0 {
		n, where = x, "reconcile_operations.operations"
	}
	for _, op := range call.GetAccept().GetOperations() {
		n += 1 + len(op.GetLaunch().GetTaskInfos()) + len(op.GetLaunchGroup().GetTaskGroup().GetTasks())
		where = "accept.operations"
	}
	if n > maxCallTasks {
		return fmt.Errorf("%s: there are %d tasks or operations, and no more than %d may be in one call; send several", where, n, maxCallTasks)
	}
	return nil
}

// Ends of links that are their agents' fault, by the names in metrics.
const (
	linkMalformed    = "malformed"    // what cannot be read, or is against the protocol
	linkSilent       = "silent"       // no hello or no registration in time
	linkRegistration = "registration" // a registration that was refused
	linkPace         = "pace"         // registrations too often
)

var linkFaults = []string{linkMalformed, linkSilent, linkRegistration, linkPace}

// linkFault is the end of a link that is its agent's fault.
type linkFault struct {
	kind string
	err  error
}

// Error says what was wrong.
func (f *linkFault) Error() string { return f.err.Error() }

// Unwrap gives the cause.
func (f *linkFault) Unwrap() error { return f.err }

// linkEnded counts and says why a link ended, when that is its agent's fault.
func (m *Master) linkEnded(conn net.Conn, err error, registered bool) {
	kind := ""
	if f, ok := errors.AsType[*linkFault](err); ok {
		kind = f.kind
	} else if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && !registered {
		kind = linkSilent
	} else if fault.Is(err, fault.Invalid) {
		kind = linkMalformed
	}
	if kind == "" {
		m.deps.Log.Debug("agent's link ended", "error", err)
		return
	}
	m.counts.linksRefused[kind].Inc()
	m.warn("agent's link refused", kind+" "+hostOf(conn), "peer", conn.RemoteAddr().String(), "kind", kind, "error", err)
}

func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}

// paces bound how often each of many does something: a burst, and then so often a second.
type paces struct {
	burst, rate int

	mu sync.Mutex // guards of
	of map[string]*pace
}

type pace struct {
	used int
	at   time.Duration
}

// maxPaces bounds how many are remembered; all are forgotten at once when there are more within a burst's time.
const maxPaces = 1 << 16

// take says whether somebody may go on.
func (p *paces) take(now time.Duration, who string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.of[who]
	if x == nil {
		if len(p.of) >= maxPaces || p.of == nil {
			p.of = map[string]*pace{}
		}
		x = &pace{at: now}
		p.of[who] = x
	}
	if back := int(min(now-x.at, time.Hour) * time.Duration(p.rate) / time.Second); back > 0 {
		x.used, x.at = max(0, x.used-back), now
	}
	if x.used >= p.burst {
		return false
	}
	x.used++
	return true
}

// hush bounds what is logged: of each kind and sender so many lines a minute. How many were left out, the next line says.
type hush struct {
	mu sync.Mutex // guards of
	of map[string]*hushed
}

type hushed struct {
	since        time.Duration
	said, unsaid int
}

const (
	hushTime = time.Minute
	maxHush  = 4096
)

// say says whether one more line may be logged, and how many like it were left out before.
func (h *hush) say(now time.Duration, key string, lines int) (unsaid int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.of[key]
	if x == nil {
		if len(h.of) >= maxHush || h.of == nil {
			h.of = map[string]*hushed{}
		}
		x = &hushed{since: now}
		h.of[key] = x
	}
	if now-x.since >= hushTime {
		unsaid = x.unsaid
		*x = hushed{since: now}
	}
	if x.said >= lines {
		x.unsaid++
		return 0, false
	}
	x.said++
	return unsaid, true
}
