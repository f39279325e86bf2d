package reads

import (
	"slices"
	"strconv"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos/resource"
)

// sum adds resources up. The list is its own, so that plain scalars, which are nearly all there is, are added in place.
type sum struct{ list resource.List }

func (s *sum) add(l resource.List) {
	if len(s.list) == 0 {
		s.list = slices.Clone(l)
		return
	}
	for i := range l {
		if !s.addPlain(&l[i]) {
			s.list = s.list.Plus(l[i : i+1])
		}
	}
}

func (s *sum) addPlain(r *resource.Resource) bool {
	if r.Kind != resource.Scalar || r.Traits != nil {
		return false
	}
	for i := range s.list {
		if x := &s.list[i]; x.Traits == nil && x.Kind == resource.Scalar && x.Name == r.Name {
			x.Scalar += r.Scalar
			return true
		}
	}
	return false
}

// byRole adds resources up for each role that they are allocated to. There are few roles.
type byRole []roleSum

type roleSum struct {
	role string
	sum  sum
}

func (b *byRole) add(role string, l resource.List) {
	for i := range *b {
		if (*b)[i].role == role {
			(*b)[i].sum.add(l)
			return
		}
	}
	*b = append(*b, roleSum{role: role})
	(*b)[len(*b)-1].sum.add(l)
}

// appendFull appends an array of Resource objects that name the role they are allocated to.
func (b byRole) appendFull(dst []byte) []byte {
	dst = append(dst, '[')
	for i := range b {
		start := len(dst)
		dst = b[i].sum.list.AppendJSON(dst, b[i].role, resource.Endpoint)
		if len(dst) == start+len("[]") {
			dst = dst[:start]
			continue
		}
		if dst[start-1] == '[' {
			dst = dst[:start+copy(dst[start:], dst[start+1:])] // the bracket of the one array there is is there already
		} else {
			dst[start] = ','
		}
		dst = dst[:len(dst)-1]
	}
	return append(dst, ']')
}

// shown are the states that summaries count, in the original's order.
var shown = [...]mesosv1.TaskState{
	mesosv1.TaskState_TASK_STAGING, mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_RUNNING, mesosv1.TaskState_TASK_KILLING,
	mesosv1.TaskState_TASK_FINISHED, mesosv1.TaskState_TASK_KILLED, mesosv1.TaskState_TASK_FAILED, mesosv1.TaskState_TASK_LOST,
	mesosv1.TaskState_TASK_ERROR, mesosv1.TaskState_TASK_UNREACHABLE,
}

// counts are tasks by the number of their state.
type counts [32]int

func (c *counts) add(s mesosv1.TaskState) {
	if s >= 0 && int(s) < len(c) {
		c[s]++
	}
}

func (c *counts) append(dst []byte) []byte {
	for _, s := range shown {
		dst = append(append(append(dst, `,"`...), s.String()...), `":`...)
		dst = strconv.AppendInt(dst, int64(c[s]), 10)
	}
	return dst
}

type agentSums struct {
	used, offered sum
	// usedBy and offeredTo are filled only where they are shown.
	usedBy, offeredTo byRole
	counts            counts
	frameworks        []string
}

type frameworkSums struct {
	used, offered     sum
	usedBy, offeredTo byRole // as an agent's
	counts            counts
	agents            []string
	on                map[string]struct{}
	offers            []*cluster.Offer
}

// index holds what is added up over all tasks and offers.
type index struct {
	agents     map[string]*agentSums
	frameworks map[string]*frameworkSums
}

func (x *index) agent(id string) *agentSums {
	s := x.agents[id]
	if s == nil {
		s = &agentSums{}
		x.agents[id] = s
	}
	return s
}

func (x *index) framework(id string) *frameworkSums {
	s := x.frameworks[id]
	if s == nil {
		s = &frameworkSums{on: map[string]struct{}{}}
		x.frameworks[id] = s
	}
	return s
}

// index adds everything up; by role too when that will be shown.
func (r *Reader) index(roles bool) *index {
	x := &index{agents: map[string]*agentSums{}, frameworks: map[string]*frameworkSums{}}
	for f := range r.View.Frameworks {
		fs, may := x.framework(f.Spec.ID), r.may(f)
		n := 0
		each := func(t *cluster.Task) bool {
			n++
			breathe(n)
			as := x.agent(t.Agent)
			as.counts.add(t.State)
			fs.counts.add(t.State)
			if n := len(as.frameworks); may && (n == 0 || as.frameworks[n-1] != f.Spec.ID) {
				as.frameworks = append(as.frameworks, f.Spec.ID)
			}
			if _, ok := fs.on[t.Agent]; !ok {
				fs.on[t.Agent] = struct{}{}
				fs.agents = append(fs.agents, t.Agent)
			}
			if !t.Released {
				as.used.add(t.Spec.Resources)
				fs.used.add(t.Spec.Resources)
				if roles {
					as.usedBy.add(t.Role, t.Spec.Resources)
					fs.usedBy.add(t.Role, t.Spec.Resources)
				}
			}
			return true
		}
		r.View.ExecutorsOf(f.Spec.ID, func(e *cluster.Executor) bool {
			as := x.agent(e.Agent)
			as.used.add(e.Spec.Resources)
			fs.used.add(e.Spec.Resources)
			if roles {
				as.usedBy.add(e.Role, e.Spec.Resources)
			}
			return true
		})
		r.View.TasksOf(f.Spec.ID, each)
		r.View.CompletedTasksOf(f.Spec.ID, each)
	}
	for o := range r.View.Offers {
		as, fs := x.agent(o.Agent), x.framework(o.Framework)
		as.offered.add(o.Resources)
		fs.offered.add(o.Resources)
		fs.offers = append(fs.offers, o)
		if roles {
			as.offeredTo.add(o.Role, o.Resources)
			fs.offeredTo.add(o.Role, o.Resources)
		}
	}
	return x
}

// AgentCounts says how many agents there are of a kind.
type AgentCounts struct {
	Active, Inactive, Connected, Disconnected, Unreachable, Recovered int
}

// Agents counts the agents of a view. Those that have not come back since the election are neither active nor inactive.
func Agents(v *cluster.View) AgentCounts {
	var n AgentCounts
	for a := range v.Agents {
		switch {
		case a.Recovered:
			n.Recovered++
		case a.Mark == cluster.Unreachable:
			n.Unreachable++
		case a.Mark == cluster.Gone:
		default:
			if a.Active() {
				n.Active++
			} else {
				n.Inactive++
			}
			if a.Connected {
				n.Connected++
			} else {
				n.Disconnected++
			}
		}
	}
	return n
}
