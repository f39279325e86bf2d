// Package reads writes what a master's read endpoints show, from one published view of the book and plain values: it
// never asks the machine, so a reader waits for nobody and nobody for a reader. The members and their order are the
// original's.
package reads

import (
	"runtime"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
	v0 "github.com/pando-os/pando/mesos/v0"
)

// About is what a master says of itself.
type About struct {
	PID, Hostname, Cluster string
	Port                   int
	// Region and Zone are where it is; empty when nobody says.
	Region, Zone string
	// Build holds the members of /version, encoded, without braces.
	Build []byte
	// Flags are the settings, encoded as an object of strings.
	Flags        []byte
	Capabilities []string
	// Weights of roles, in thousandths; a role that is not there has 1.
	Weights map[string]int64
}

// breath is after how many tasks or agents a reader lets others run: about every 50 us. The runtime by itself would let a
// launch wait for ten milliseconds beside a reader of a large cluster.
const breath = 32

func breathe(n int) {
	if n%breath == 0 {
		runtime.Gosched()
	}
}

// Reader is one reader of one view.
type Reader struct {
	View  *cluster.View
	About *About
	// May says whether the reader may see what belongs to a user; nil: everything. Agents and sums are for everybody.
	May func(user string) bool
}

func (r *Reader) may(f *cluster.Framework) bool { return r.May == nil || r.May(f.Spec.User) }

// State appends the whole cluster, as /state shows it.
func (r *Reader) State(dst []byte) []byte {
	v, a := r.View, r.About
	x := r.index(false)
	dst = append(append(dst, '{'), a.Build...)
	dst = v0.Seconds(append(dst, `,"start_time":`...), v.Started)
	dst = v0.Seconds(append(dst, `,"elected_time":`...), v.Elected)
	dst = v0.Text(append(dst, `,"id":`...), v.MasterID)
	dst = v0.Text(append(dst, `,"pid":`...), a.PID)
	dst = v0.Text(append(dst, `,"hostname":`...), a.Hostname)
	dst = v0.Texts(append(dst, `,"capabilities":`...), a.Capabilities)
	n := Agents(v)
	dst = v0.Number(append(dst, `,"activated_slaves":`...), float64(n.Active))
	dst = v0.Number(append(dst, `,"deactivated_slaves":`...), float64(n.Inactive))
	dst = v0.Number(append(dst, `,"unreachable_slaves":`...), float64(n.Unreachable))
	dst = v0.Domain(dst, a.Region, a.Zone)
	dst = v0.Text(append(dst, `,"leader":`...), a.PID)
	dst = v0.Text(append(dst, `,"leader_info":{"id":`...), v.MasterID)
	dst = v0.Text(append(dst, `,"pid":`...), a.PID)
	dst = strconv.AppendInt(append(dst, `,"port":`...), int64(a.Port), 10)
	dst = v0.Text(append(dst, `,"hostname":`...), a.Hostname)
	dst = append(v0.Domain(dst, a.Region, a.Zone), '}')
	dst = r.appendCluster(dst)
	dst = append(append(dst, `,"flags":`...), a.Flags...)
	dst = r.appendAgents(append(dst, `,"slaves":`...), x, "", agentPlain)
	dst = r.appendRecovered(append(dst, `,"recovered_slaves":`...), "")
	dst = r.appendFrameworks(append(dst, `,"frameworks":`...), x, "")
	dst = r.appendCompleted(append(dst, `,"completed_frameworks":`...), "")
	return append(dst, `,"orphan_tasks":[],"unregistered_frameworks":[]}`...)
}

// Summary appends the cluster without its tasks, as /state-summary shows it.
func (r *Reader) Summary(dst []byte) []byte {
	x := r.index(false)
	dst = v0.Text(append(dst, `{"hostname":`...), r.About.Hostname)
	dst = r.appendCluster(dst)
	dst = r.appendAgents(append(dst, `,"slaves":`...), x, "", agentSummary)
	dst = append(dst, `,"frameworks":[`...)
	i := 0
	for f := range r.View.Frameworks {
		if !r.may(f) {
			continue
		}
		s := x.framework(f.Spec.ID)
		dst = appendFrameworkSummary(v0.Comma(dst, i), f, info(f), s)
		dst = s.counts.append(dst)
		dst = append(v0.Texts(append(dst, `,"slave_ids":`...), s.agents), '}')
		i++
	}
	return append(dst, "]}"...)
}

// Slaves appends the agents, as /slaves shows them; id, if it is not empty, picks one.
func (r *Reader) Slaves(dst []byte, id string) []byte {
	dst = r.appendAgents(append(dst, `{"slaves":`...), r.index(true), id, agentFull)
	dst = r.appendRecovered(append(dst, `,"recovered_slaves":`...), id)
	return append(dst, '}')
}

// Frameworks appends the frameworks with their tasks, as /frameworks shows them; id, if it is not empty, picks one.
func (r *Reader) Frameworks(dst []byte, id string) []byte {
	dst = r.appendFrameworks(append(dst, `{"frameworks":`...), r.index(false), id)
	dst = r.appendCompleted(append(dst, `,"completed_frameworks":`...), id)
	return append(dst, `,"unregistered_frameworks":[]}`...)
}

func (r *Reader) appendCluster(dst []byte) []byte {
	if r.About.Cluster == "" {
		return dst
	}
	return v0.Text(append(dst, `,"cluster":`...), r.About.Cluster)
}

// shape says how much is shown of an agent.
type shape uint8

const (
	agentPlain shape = iota
	agentSummary
	agentFull
)

func (r *Reader) appendAgents(dst []byte, x *index, id string, as shape) []byte {
	dst = append(dst, '[')
	i := 0
	for a := range r.View.Agents {
		if a.Recovered || a.Mark != cluster.Admitted || id != "" && id != a.Spec.ID {
			continue
		}
		dst = appendAgent(v0.Comma(dst, i), a, x.agent(a.Spec.ID), as)
		i++
		breathe(i)
	}
	return append(dst, ']')
}

// appendAgentInfo appends the members that are known of an agent that has not come back too.
func appendAgentInfo(dst []byte, s *cluster.AgentSpec) []byte {
	dst = v0.Text(append(dst, `{"id":`...), s.ID)
	dst = v0.Text(append(dst, `,"hostname":`...), s.Hostname)
	dst = strconv.AppendInt(append(dst, `,"port":`...), int64(s.Port), 10)
	dst = v0.Attributes(append(dst, `,"attributes":`...), s.Attributes)
	return v0.Domain(dst, s.Region, s.Zone)
}

// agentPID is an agent's address as libprocess wrote it.
func agentPID(s *cluster.AgentSpec) string {
	return "slave(1)@" + s.IP + ":" + strconv.Itoa(int(s.Port))
}

func appendAgent(dst []byte, a *cluster.Agent, sums *agentSums, as shape) []byte {
	s := a.Spec
	dst = appendAgentInfo(dst, s)
	dst = v0.Text(append(dst, `,"pid":`...), agentPID(s))
	dst = v0.Seconds(append(dst, `,"registered_time":`...), a.Registered)
	if a.Reregistered != 0 {
		dst = v0.Seconds(append(dst, `,"reregistered_time":`...), a.Reregistered)
	}
	unreserved := s.Total.Unreserved()
	dst = s.Total.AppendV0(append(dst, `,"resources":`...))
	dst = sums.used.list.AppendV0(append(dst, `,"used_resources":`...))
	dst = sums.offered.list.AppendV0(append(dst, `,"offered_resources":`...))
	dst = s.Total.AppendV0Reserved(append(dst, `,"reserved_resources":`...))
	dst = unreserved.AppendV0(append(dst, `,"unreserved_resources":`...))
	dst = v0.Bool(append(dst, `,"active":`...), a.Active())
	dst = v0.Bool(append(dst, `,"deactivated":`...), false)
	dst = v0.Text(append(dst, `,"version":`...), s.Version)
	dst = v0.AgentCapabilities(append(dst, `,"capabilities":`...), s.Capabilities)
	switch as {
	case agentFull:
		dst = s.Total.AppendV0ReservedFull(append(dst, `,"reserved_resources_full":`...))
		dst = unreserved.AppendJSON(append(dst, `,"unreserved_resources_full":`...), "", resource.Endpoint)
		dst = sums.usedBy.appendFull(append(dst, `,"used_resources_full":`...))
		dst = sums.offeredTo.appendFull(append(dst, `,"offered_resources_full":`...))
	case agentSummary:
		dst = sums.counts.append(dst)
		dst = v0.Texts(append(dst, `,"framework_ids":`...), sums.frameworks)
	}
	return append(dst, '}')
}

func (r *Reader) appendRecovered(dst []byte, id string) []byte {
	dst = append(dst, '[')
	i := 0
	for a := range r.View.Agents {
		if a.Recovered && (id == "" || id == a.Spec.ID) {
			dst = append(appendAgentInfo(v0.Comma(dst, i), a.Spec), '}')
			i++
		}
	}
	return append(dst, ']')
}

// info decodes what a framework says of itself; the book has checked it.
func info(f *cluster.Framework) *mesosv1.FrameworkInfo {
	var i mesosv1.FrameworkInfo
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(f.Spec.Info, &i) // what cannot be read says nothing
	return &i
}

// appendFrameworkSummary appends the members that every listing has, and leaves the object open.
func appendFrameworkSummary(dst []byte, f *cluster.Framework, i *mesosv1.FrameworkInfo, s *frameworkSums) []byte {
	dst = v0.Text(append(dst, `{"id":`...), f.Spec.ID)
	dst = v0.Text(append(dst, `,"name":`...), f.Spec.Name)
	dst = s.used.list.AppendV0(append(dst, `,"used_resources":`...))
	dst = s.offered.list.AppendV0(append(dst, `,"offered_resources":`...))
	dst = v0.FrameworkCapabilities(append(dst, `,"capabilities":`...), i.GetCapabilities())
	dst = v0.Text(append(dst, `,"hostname":`...), i.GetHostname())
	dst = v0.Text(append(dst, `,"webui_url":`...), i.GetWebuiUrl())
	dst = v0.Bool(append(dst, `,"active":`...), f.Connected)
	dst = v0.Bool(append(dst, `,"connected":`...), f.Connected)
	return v0.Bool(append(dst, `,"recovered":`...), f.Recovered)
}

func (r *Reader) appendFrameworks(dst []byte, x *index, id string) []byte {
	dst = append(dst, '[')
	i := 0
	for f := range r.View.Frameworks {
		if r.may(f) && (id == "" || id == f.Spec.ID) {
			dst = r.appendFramework(v0.Comma(dst, i), f, x.framework(f.Spec.ID))
			i++
		}
	}
	return append(dst, ']')
}

func (r *Reader) appendCompleted(dst []byte, id string) []byte {
	dst = append(dst, '[')
	i := 0
	for f := range r.View.CompletedFrameworks {
		if r.may(f) && (id == "" || id == f.Spec.ID) {
			dst = r.appendFramework(v0.Comma(dst, i), f, &frameworkSums{})
			i++
		}
	}
	return append(dst, ']')
}

func (r *Reader) appendFramework(dst []byte, f *cluster.Framework, s *frameworkSums) []byte {
	i := info(f)
	dst = appendFrameworkSummary(dst, f, i, s)
	dst = v0.Text(append(dst, `,"user":`...), f.Spec.User)
	dst = v0.Number(append(dst, `,"failover_timeout":`...), i.GetFailoverTimeout())
	dst = v0.Bool(append(dst, `,"checkpoint":`...), i.GetCheckpoint())
	dst = v0.Seconds(append(dst, `,"registered_time":`...), f.Registered)
	dst = v0.Seconds(append(dst, `,"unregistered_time":`...), f.Unregistered)
	if f.Reregistered != 0 {
		dst = v0.Seconds(append(dst, `,"reregistered_time":`...), f.Reregistered)
	}
	if i.Principal != nil {
		dst = v0.Text(append(dst, `,"principal":`...), i.GetPrincipal())
	}
	dst = s.used.list.Plus(s.offered.list).AppendV0(append(dst, `,"resources":`...))
	if f.Spec.Legacy {
		dst = v0.Text(append(dst, `,"role":`...), f.Spec.Roles[0])
	} else {
		dst = v0.Texts(append(dst, `,"roles":`...), f.Spec.Roles)
	}
	dst = append(dst, `,"tasks":[`...)
	n, lost := 0, []*cluster.Task(nil)
	r.View.TasksOf(f.Spec.ID, func(t *cluster.Task) bool {
		if t.Unreachable {
			lost = append(lost, t)
			return true
		}
		dst = AppendTask(v0.Comma(dst, n), t)
		n++
		breathe(n)
		return true
	})
	dst = append(dst, `],"unreachable_tasks":[`...)
	for n, t := range lost {
		dst = AppendTask(v0.Comma(dst, n), t)
		breathe(n)
	}
	dst = append(dst, `],"completed_tasks":[`...)
	n = 0
	r.View.CompletedTasksOf(f.Spec.ID, func(t *cluster.Task) bool {
		dst = AppendTask(v0.Comma(dst, n), t)
		n++
		breathe(n)
		return true
	})
	dst = append(dst, `],"offers":[`...)
	for n, o := range s.offers {
		dst = appendOffer(v0.Comma(dst, n), o)
	}
	dst = r.appendExecutors(append(dst, `],"executors":`...), f.Spec.ID)
	if i.Labels != nil {
		dst = append(dst, `,"labels":[`...)
		for n, l := range i.GetLabels().GetLabels() {
			dst, _ = mesos.AppendJSON(v0.Comma(dst, n), l) // it is not nil
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"offer_constraints":`...)
	var c scheduler.OfferConstraints
	_ = proto.Unmarshal(f.ConstraintsInfo, &c) // the book has checked it; none is an empty object
	dst, _ = mesos.AppendJSON(dst, &c)         // it is not nil
	return append(dst, '}')
}

// AppendTask appends a task as it is shown everywhere.
func AppendTask(dst []byte, t *cluster.Task) []byte {
	shown := v0.Task{
		ID: t.Spec.ID, Name: t.Spec.Name, Framework: t.Framework, Agent: t.Agent, Executor: t.Spec.ExecutorID, Role: t.Role,
		State: t.State, Resources: t.Spec.Resources, Statuses: t.Statuses, Info: t.Spec.Info,
	}
	return shown.Append(dst)
}

func appendOffer(dst []byte, o *cluster.Offer) []byte {
	dst = v0.Text(append(dst, `{"id":`...), o.ID)
	dst = v0.Text(append(dst, `,"framework_id":`...), o.Framework)
	dst = v0.Text(append(dst, `,"allocation_info":{"role":`...), o.Role)
	dst = v0.Text(append(dst, `},"slave_id":`...), o.Agent)
	dst = o.Resources.AppendV0(append(dst, `,"resources":`...))
	return append(dst, '}')
}
