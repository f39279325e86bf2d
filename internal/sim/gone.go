package sim

import (
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/lie"
	"github.com/pando-os/pando/internal/sim/promise"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/internal/sim/stage"
	"github.com/pando-os/pando/mesos"
)

// masterTook looks at what one input led to.
func (c *checks) masterTook(t *term, now time.Duration, in cluster.In, out *cluster.Out, from stage.Mark) {
	p := c.promises[t]
	if p == nil {
		p = promise.New(t.name, c.keep, c.w.Params.Cluster.RemovalRate, c.w.Fail)
		c.promises[t] = p
	}
	if r, ok := in.(*cluster.AgentRegister); ok && r.Spec.Hostname == lie.Name {
		for _, f := range out.Tell[from.Tell:] {
			if f.Kind == cluster.FactAgentRegistered || f.Kind == cluster.FactAgentReregistered {
				c.liars[f.Agent] = true
			}
		}
	}
	p.Took(now, in, out.Tell[from.Tell:], out.Send[from.Send:], t.book)
}

// recorded looks at what a leader's transaction says of agents: a mark that an agent is gone is never taken back.
func (c *checks) recorded(epoch uint64, r *cluster.Record) {
	switch {
	case r.ForgetAgent != "" && c.gone[r.ForgetAgent] != 0:
		c.w.Fail(rule.Gone, "the registry forgets %s, which was marked gone", r.ForgetAgent)
	case r.Agent == nil:
	case r.Agent.Mark == cluster.Gone:
		if c.gone[r.Agent.Spec.ID] == 0 {
			c.gone[r.Agent.Spec.ID] = epoch
		}
	case c.gone[r.Agent.Spec.ID] != 0:
		c.w.Fail(rule.Gone, "the registry has %s back, which was marked gone", r.Agent.Spec.ID)
	}
}

// registered looks at an agent that is told that it is registered.
func (c *checks) registered(a *agent, id string) {
	if e := c.gone[id]; e != 0 && a.epoch > e {
		c.w.Fail(rule.Gone, "%s is registered as %s with epoch %d, and was marked gone in epoch %d", a.p.Name, id, a.epoch, e)
	}
}

// answered looks at what an operator is told: what is said to be done is in the store.
func (c *checks) answered(in cluster.In, a cluster.Answer) {
	if a.Kind != cluster.Done {
		return
	}
	switch in := in.(type) {
	case *cluster.MarkAgentGone:
		if c.gone[in.Agent] == 0 {
			c.w.Fail(rule.Gone, "an operator is told that %s is gone, and the registry does not say so", in.Agent)
		}
	case *cluster.Teardown:
		if !c.removed[in.Framework] {
			c.w.Fail(rule.Checkpointed, "an operator is told that %s was torn down, and the registry does not say so", in.Framework)
		}
	}
}

// toldGone looks at a status of a task: that an operator vouches for its end is told once, and is its end.
func (c *checks) toldGone(i *instance, s *mesos.Status) {
	switch {
	case c.liars[s.AgentID]: // it was never there
	case s.UUID == "" && s.HasReason && s.Reason == mesosv1.TaskStatus_REASON_AGENT_REMOVED_BY_OPERATOR:
		if i.goneTold {
			c.w.Fail(rule.Gone, "%s is told twice to be %s", i.key, s.State)
		}
		i.goneTold = true
	case i.goneTold && !cluster.Terminal(s.State) && s.State != mesosv1.TaskState_TASK_UNKNOWN:
		c.w.Fail(rule.Gone, "%s was %s, and comes back as %s (%s)", i.key, mesosv1.TaskState_TASK_GONE_BY_OPERATOR, s.State, s.Message)
	}
}

// liarsIn names the agents of liars that a leader's book has and that are not marked gone.
func (c *checks) liarsIn(t *term) (ids []string) {
	t.book.View().Agents(func(a *cluster.Agent) bool {
		if c.liars[a.Spec.ID] && a.Mark != cluster.Gone {
			ids = append(ids, a.Spec.ID)
		}
		return true
	})
	return ids
}
