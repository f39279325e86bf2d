package reads

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genmaster "github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Listed gives the kind of answer to a call of the operator's API that lists what is there; UNKNOWN for other calls.
func Listed(call genmaster.Call_Type) genmaster.Response_Type {
	switch call {
	case genmaster.Call_GET_STATE, genmaster.Call_GET_AGENTS, genmaster.Call_GET_FRAMEWORKS, genmaster.Call_GET_EXECUTORS,
		genmaster.Call_GET_TASKS, genmaster.Call_GET_ROLES, genmaster.Call_GET_OPERATIONS:
		return genmaster.Response_Type(genmaster.Response_Type_value[call.String()])
	}
	return genmaster.Response_UNKNOWN
}

// Listing gives the answer to a call that is Listed; nil for other calls.
func (r *Reader) Listing(call genmaster.Call_Type) *mesos.Listing {
	switch call {
	case genmaster.Call_GET_STATE:
		return r.V1State(9)
	case genmaster.Call_GET_AGENTS:
		return r.v1Agents(10, r.index(true))
	case genmaster.Call_GET_FRAMEWORKS:
		return r.v1Frameworks(11, r.index(true))
	case genmaster.Call_GET_EXECUTORS:
		return r.v1Executors(12)
	case genmaster.Call_GET_TASKS:
		return r.v1Tasks(13)
	case genmaster.Call_GET_ROLES:
		return &mesos.Listing{Name: "get_roles", Number: 14, Lists: []mesos.List{{Name: "roles", Number: 1, Each: r.v1Roles}}}
	case genmaster.Call_GET_OPERATIONS:
		return &mesos.Listing{Name: "get_operations", Number: 20, Lists: []mesos.List{{Name: "operations", Number: 1, Each: r.v1Operations}}}
	}
	return nil
}

// V1State is the whole cluster, the answer to GET_STATE and the beginning of every stream of events; number is the member's.
func (r *Reader) V1State(number protowire.Number) *mesos.Listing {
	x := r.index(true)
	return &mesos.Listing{Name: "get_state", Number: number, Inner: []mesos.Listing{*r.v1Tasks(1), *r.v1Executors(2), *r.v1Frameworks(3, x), *r.v1Agents(4, x)}}
}

// v1Executors lists those that frameworks bring.
func (r *Reader) v1Executors(number protowire.Number) *mesos.Listing {
	each := func(yield func(proto.Message) bool) {
		for f := range r.View.Frameworks {
			on := true
			if r.may(f) {
				r.View.ExecutorsOf(f.Spec.ID, func(x *cluster.Executor) bool {
					on = yield(V1Executor(x))
					return on
				})
			}
			if !on {
				return
			}
		}
	}
	return &mesos.Listing{Name: "get_executors", Number: number, Lists: []mesos.List{{Name: "executors", Number: 1, Always: true, Each: each}}}
}

// V1Executor is an executor as the operator's API shows it.
func V1Executor(x *cluster.Executor) *genmaster.Response_GetExecutors_Executor {
	info := &mesosv1.ExecutorInfo{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(x.Spec.Info, info) // the shell has checked it
	info.ExecutorId, info.FrameworkId = &mesosv1.ExecutorID{Value: &x.Spec.ID}, &mesosv1.FrameworkID{Value: &x.Framework}
	info.Resources = x.Spec.Resources.ToProto(x.Role, resource.PostRefinement)
	return &genmaster.Response_GetExecutors_Executor{ExecutorInfo: info, AgentId: &mesosv1.AgentID{Value: &x.Agent}}
}

func (r *Reader) v1Agents(number protowire.Number, x *index) *mesos.Listing {
	each := func(recovered bool) func(func(proto.Message) bool) {
		return func(yield func(proto.Message) bool) {
			for a := range r.View.Agents {
				switch {
				case a.Mark != cluster.Admitted || a.Recovered != recovered:
				case recovered && !yield(agentInfo(a)), !recovered && !yield(V1Agent(a, x.agent(a.Spec.ID))):
					return
				}
			}
		}
	}
	return &mesos.Listing{Name: "get_agents", Number: number, Lists: []mesos.List{
		{Name: "agents", Number: 1, Always: true, Each: each(false)},
		{Name: "recovered_agents", Number: 2, Always: true, Each: each(true)},
	}}
}

// agentInfo decodes what an agent says of itself; the shell has checked it.
func agentInfo(a *cluster.Agent) *mesosv1.AgentInfo {
	i := &mesosv1.AgentInfo{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(a.Spec.Info, i) // what cannot be read says nothing
	return i
}

// V1Agent is an agent as the operator's API shows it. sums may be nil for one on which nothing is.
func V1Agent(a *cluster.Agent, sums *agentSums) *genmaster.Response_GetAgents_Agent {
	s := a.Spec
	out := &genmaster.Response_GetAgents_Agent{
		AgentInfo: agentInfo(a), Active: new(a.Active()), Deactivated: new(false), Version: &s.Version, Pid: new(agentPID(s)),
		RegisteredTime: v1Time(a.Registered), TotalResources: s.Total.ToProto("", resource.Endpoint),
	}
	if a.Reregistered != 0 {
		out.ReregisteredTime = v1Time(a.Reregistered)
	}
	if sums != nil {
		out.AllocatedResources, out.OfferedResources = sums.usedBy.toProto(), sums.offeredTo.toProto()
	}
	for _, c := range s.Capabilities {
		out.Capabilities = append(out.Capabilities, &mesosv1.AgentInfo_Capability{Type: c.Enum()})
	}
	return out
}

func (b byRole) toProto() []*mesosv1.Resource {
	var out []*mesosv1.Resource
	for i := range b {
		out = append(out, b[i].sum.list.ToProto(b[i].role, resource.Endpoint)...)
	}
	return out
}

func v1Time(ns int64) *mesosv1.TimeInfo { return &mesosv1.TimeInfo{Nanoseconds: &ns} }

func (r *Reader) v1Frameworks(number protowire.Number, x *index) *mesos.Listing {
	return &mesos.Listing{Name: "get_frameworks", Number: number, Lists: []mesos.List{
		{Name: "frameworks", Number: 1, Always: true, Each: func(yield func(proto.Message) bool) {
			for f := range r.View.Frameworks {
				if r.may(f) && !yield(shownFramework(f, x.framework(f.Spec.ID))) {
					return
				}
			}
		}},
		{Name: "completed_frameworks", Number: 2, Always: true, Each: func(yield func(proto.Message) bool) {
			for f := range r.View.CompletedFrameworks {
				if r.may(f) && !yield(shownFramework(f, &frameworkSums{})) {
					return
				}
			}
		}},
	}}
}

// V1Framework is a framework as the operator's API tells of it when it comes, changes and goes.
func V1Framework(f *cluster.Framework) *genmaster.Response_GetFrameworks_Framework {
	i := info(f)
	i.Id = &mesosv1.FrameworkID{Value: &f.Spec.ID}
	return &genmaster.Response_GetFrameworks_Framework{
		FrameworkInfo: i, Active: &f.Connected, Connected: &f.Connected, Recovered: &f.Recovered, RegisteredTime: v1Time(f.Registered),
		ReregisteredTime: v1Time(max(f.Reregistered, f.Registered)), UnregisteredTime: v1Time(f.Unregistered),
	}
}

// shownFramework is a framework in a list, with what it has.
func shownFramework(f *cluster.Framework, s *frameworkSums) *genmaster.Response_GetFrameworks_Framework {
	out := V1Framework(f)
	if f.Unregistered == 0 {
		out.UnregisteredTime = nil
	}
	out.AllocatedResources, out.OfferedResources = s.usedBy.toProto(), s.offeredTo.toProto()
	for _, o := range s.offers {
		out.Offers = append(out.Offers, V1Offer(o))
	}
	out.OfferConstraints = &scheduler.OfferConstraints{}
	_ = proto.Unmarshal(f.ConstraintsInfo, out.OfferConstraints) // the book has checked it; none is an empty object
	return out
}

// V1Offer is an offer as its framework was told of it.
func V1Offer(o *cluster.Offer) *mesosv1.Offer {
	out := &mesosv1.Offer{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(WireOffer(o).AppendProto(nil), out) // of our own making
	return out
}

// WireOffer is an offer in the form that is encoded.
func WireOffer(o *cluster.Offer) *mesos.Offer {
	return &mesos.Offer{
		ID: o.ID, FrameworkID: o.Framework, AgentID: o.Agent, Hostname: o.Spec.Hostname, Role: o.Role, Resources: o.Resources,
		Format: o.Format, LegacyRole: o.Legacy, Agent: o.Spec.Face, ExecutorIDs: o.Executors,
	}
}

// v1Tasks lists tasks of the frameworks that the reader may see.
func (r *Reader) v1Tasks(number protowire.Number) *mesos.Listing {
	living := func(unreachable bool) func(func(proto.Message) bool) {
		return func(yield func(proto.Message) bool) {
			for f := range r.View.Frameworks {
				on := true
				each := func(t *cluster.Task) bool {
					on = t.Unreachable != unreachable || yield(V1Task(t))
					return on
				}
				if r.may(f) {
					r.View.TasksOf(f.Spec.ID, each)
				}
				if !on {
					return
				}
			}
		}
	}
	completed := func(yield func(proto.Message) bool) {
		on := true
		each := func(t *cluster.Task) bool {
			on = yield(V1Task(t))
			return on
		}
		visit := func(f *cluster.Framework) bool {
			if r.may(f) {
				r.View.CompletedTasksOf(f.Spec.ID, each)
			}
			return on
		}
		r.View.Frameworks(visit)
		if on {
			r.View.CompletedFrameworks(visit)
		}
	}
	return &mesos.Listing{Name: "get_tasks", Number: number, Lists: []mesos.List{
		{Name: "tasks", Number: 2, Always: true, Each: living(false)},
		{Name: "completed_tasks", Number: 3, Always: true, Each: completed},
		{Name: "unreachable_tasks", Number: 5, Always: true, Each: living(true)},
	}}
}

// V1Task is a task as the v1 APIs show it.
func V1Task(t *cluster.Task) *mesosv1.Task {
	var i mesosv1.TaskInfo
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(t.Spec.Info, &i) // the shell has checked it
	out := &mesosv1.Task{
		Name: &t.Spec.Name, TaskId: &mesosv1.TaskID{Value: &t.Spec.ID}, FrameworkId: &mesosv1.FrameworkID{Value: &t.Framework},
		AgentId: &mesosv1.AgentID{Value: &t.Agent}, State: &t.State, Resources: t.Spec.Resources.ToProto(t.Role, resource.PostRefinement),
		Labels: i.GetLabels(), Discovery: i.GetDiscovery(), Container: i.GetContainer(), HealthCheck: i.GetHealthCheck(),
		KillPolicy: i.GetKillPolicy(), Limits: i.GetLimits(),
	}
	if u := i.GetCommand().GetUser(); u != "" {
		out.User = &u
	}
	if t.Spec.ExecutorID != "" {
		out.ExecutorId = &mesosv1.ExecutorID{Value: &t.Spec.ExecutorID}
	}
	if n := len(t.Statuses); n > 0 {
		out.StatusUpdateState = &t.UpdateState
		if t.UpdateUUID != "" {
			out.StatusUpdateUuid = []byte(t.UpdateUUID)
		} else if uuid := t.Statuses[n-1].UUID; uuid != "" {
			out.StatusUpdateUuid = []byte(uuid)
		}
	}
	for _, s := range t.Statuses {
		out.Statuses = append(out.Statuses, V1Status(s))
	}
	return out
}

// V1Status is a status without its data.
func V1Status(s *mesos.Status) *mesosv1.TaskStatus {
	bare := s.WithoutData()
	out := &mesosv1.TaskStatus{}
	_ = proto.UnmarshalOptions{AllowPartial: true}.Unmarshal(bare.AppendProto(nil), out) // of our own making
	return out
}

func (r *Reader) v1Roles(yield func(proto.Message) bool) {
	all := r.roles()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x := all[name]
		role := &mesosv1.Role{Name: &name, Weight: new(r.weight(name))}
		for _, id := range x.frameworks {
			role.Frameworks = append(role.Frameworks, &mesosv1.FrameworkID{Value: &id})
		}
		for what, q := range x.allocated.list.Plus(x.offered.list).Quantities() {
			role.Resources = append(role.Resources, &mesosv1.Resource{
				Name: &what, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(q.Float())},
			})
		}
		if !yield(role) {
			return
		}
	}
}

// V1Weights are the weights that were set; nil when none was, which GET_WEIGHTS then leaves out.
func (a *About) V1Weights() *genmaster.Response_GetWeights {
	if len(a.Weights) == 0 {
		return nil
	}
	out := &genmaster.Response_GetWeights{}
	for _, name := range slices.Sorted(maps.Keys(a.Weights)) {
		out.WeightInfos = append(out.WeightInfos, &mesosv1.WeightInfo{Role: &name, Weight: new(float64(a.Weights[name]) / 1000)})
	}
	return out
}
