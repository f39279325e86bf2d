// Package promise keeps what one leader owes to frameworks about offers, and to operators about the pace at which it gives agents
// up, beside the leader's book and by other means: from the inputs that the book took and from what it said of them.
package promise

import (
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/core/removal"
	"github.com/pando-os/pando/internal/sim/envelope"
	"github.com/pando-os/pando/internal/sim/keep"
	"github.com/pando-os/pando/internal/sim/rule"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// Ledger is what one leader owes.
type Ledger struct {
	name string // of the leader
	fail func(rule, format string, args ...any)
	keep *keep.Ledger
	pace removal.Rate

	offers  map[string]*cluster.Offer // outstanding, by id
	ended   map[string]string         // how the others ended
	roles   map[string][]string       // of each framework
	quiet   map[string][]string       // roles for which it has suppressed offers
	filters map[seat][]refusal
	streams map[string]cluster.StreamID   // of each framework, as it subscribed last
	there   map[string]*cluster.AgentSpec // agents that are connected, as they registered last
	removed time.Duration                 // when it marked an agent unreachable last; 0: never
}

type seat struct{ framework, role, agent string }

// refusal is resources that a framework has said it does not want before some time.
type refusal struct {
	what  resource.List
	until time.Duration
}

// New makes the ledger of a leader that begins; k knows what operations change. It may mark agents unreachable at a pace. What it finds wrong it tells fail, which takes the name of a rule first.
func New(name string, k *keep.Ledger, pace removal.Rate, fail func(rule, format string, args ...any)) *Ledger {
	return &Ledger{
		name: name, fail: fail, keep: k, pace: pace,
		offers: map[string]*cluster.Offer{}, ended: map[string]string{}, roles: map[string][]string{}, quiet: map[string][]string{},
		filters: map[seat][]refusal{}, there: map[string]*cluster.AgentSpec{}, streams: map[string]cluster.StreamID{},
	}
}

func (p *Ledger) clear(which func(seat) bool) {
	for s := range p.filters {
		if which(s) {
			delete(p.filters, s)
		}
	}
}

func (p *Ledger) end(id, how string) {
	delete(p.offers, id)
	p.ended[id] = how
}

func (p *Ledger) endAll(framework, how string) {
	for id, o := range p.offers {
		if o.Framework == framework {
			p.end(id, how)
		}
	}
}

// paced looks at whether the leader gives agents up one by one.
func (p *Ledger) paced(now time.Duration, facts []cluster.Fact) {
	if p.pace.Agents == 0 {
		return
	}
	apart := p.pace.Per / time.Duration(p.pace.Agents)
	for i := range facts {
		if facts[i].Kind != cluster.FactAgentUnreachable {
			continue
		}
		if p.removed != 0 && now-p.removed < apart {
			p.fail(rule.Gradual, "%s marks %s unreachable %s after another; the rate is %s", p.name, facts[i].Agent, now-p.removed, p.pace)
		}
		p.removed = now
	}
}

// Took looks at what one input led to: offers are used up once, and made as the framework asked. It came to the leader at its
// own time now; book is what it is afterwards.
func (p *Ledger) Took(now time.Duration, in cluster.In, facts []cluster.Fact, sends []cluster.Msg, book *cluster.Book) {
	did := func(kind cluster.FactKind) *cluster.Fact {
		for i := range facts {
			if facts[i].Kind == kind {
				return &facts[i]
			}
		}
		return nil
	}
	p.paced(now, facts)
	dropped := did(cluster.FactCallDropped) != nil
	_, last := in.(*cluster.Teardown) // counts although its stream has ended, if there was none after it
	if stream, framework := envelope.Stream(in); stream != 0 && stream != p.streams[framework] && !dropped && !last {
		p.fail(rule.OneStream, "%s obeys %T of stream %d of %s, whose stream is %d", p.name, in, stream, framework, p.streams[framework])
	}
	switch in := in.(type) {
	case *cluster.Subscribe:
		f := did(cluster.FactFrameworkSubscribed)
		if f == nil {
			f = did(cluster.FactFrameworkFailedOver)
		}
		if f != nil {
			p.streams[f.Framework] = in.Stream
			p.endAll(f.Framework, "its framework failed over")
			p.clear(func(s seat) bool { return s.framework == f.Framework })
			p.roles[f.Framework], p.quiet[f.Framework] = in.Spec.Roles, in.Suppressed
		}
	case *cluster.UpdateFramework:
		if did(cluster.FactFrameworkUpdated) != nil {
			id := in.Spec.ID
			p.clear(func(s seat) bool { return s.framework == id })
			p.roles[id], p.quiet[id] = in.Spec.Roles, in.Suppressed
		}
	case *cluster.Revive:
		if !dropped {
			p.clear(func(s seat) bool {
				return s.framework == in.Framework && (len(in.Roles) == 0 || slices.Contains(in.Roles, s.role))
			})
			p.quiet[in.Framework] = slices.DeleteFunc(slices.Clone(p.quiet[in.Framework]), func(r string) bool {
				return len(in.Roles) == 0 || slices.Contains(in.Roles, r)
			})
		}
	case *cluster.Suppress:
		if !dropped {
			roles := in.Roles
			if len(roles) == 0 {
				roles = p.roles[in.Framework]
			}
			p.quiet[in.Framework] = slices.Concat(p.quiet[in.Framework], roles)
		}
	case *cluster.Decline:
		if did(cluster.FactOffersDeclined) != nil {
			for _, id := range in.Offers {
				if o := p.offers[id]; o != nil && o.Framework == in.Framework {
					p.refuse(o, o.Resources, now, in.Refuse)
					p.end(id, "was declined")
				}
			}
		}
	case *cluster.Accept:
		p.accepted(now, in, did(cluster.FactOffersAccepted) != nil, facts, book)
	}
	for i := range facts {
		p.agentIs(in, &facts[i])
		switch f := &facts[i]; f.Kind {
		case cluster.FactFrameworkDisconnected, cluster.FactFrameworkRemoved:
			delete(p.streams, f.Framework)
			p.endAll(f.Framework, "its framework went away")
			p.clear(func(s seat) bool { return s.framework == f.Framework })
		case cluster.FactAgentRegistered, cluster.FactAgentReregistered, cluster.FactAgentUnreachable, cluster.FactAgentRemoved:
			p.clear(func(s seat) bool { return s.agent == f.Agent })
		}
	}
	for i := range sends {
		switch m := sends[i].Body.(type) {
		case cluster.Rescind:
			p.end(m.Offer, "was rescinded")
		case cluster.Offers:
			for _, o := range m.Offers {
				p.offered(now, o)
			}
		}
	}
}

// agentIs notes who is there and how.
func (p *Ledger) agentIs(in cluster.In, f *cluster.Fact) {
	switch f.Kind {
	case cluster.FactAgentRegistered, cluster.FactAgentReregistered:
		p.there[f.Agent] = in.(*cluster.AgentRegister).Spec
	case cluster.FactAgentDisconnected, cluster.FactAgentUnreachable, cluster.FactAgentRemoved:
		delete(p.there, f.Agent)
	case cluster.FactOperationAccepted:
		spec := *p.there[f.Agent]
		c := p.keep.ChangeOf(f.Operation.Info)
		total, err := spec.Total.Apply(c)
		if err != nil {
			p.fail(rule.OneOwner, "%s makes of %s what it has not: %v", p.name, f.Agent, err)
			return
		}
		spec.Total = total
		p.there[f.Agent] = &spec
	}
}

func (p *Ledger) refuse(o *cluster.Offer, what resource.List, now, refuse time.Duration) {
	if refuse < 0 {
		refuse = 5 * time.Second
	}
	s := seat{o.Framework, o.Role, o.Agent}
	p.filters[s] = append(slices.DeleteFunc(p.filters[s], func(r refusal) bool { return r.until <= now }), refusal{what, now + refuse})
}

// accepted looks at an ACCEPT, whether the book took it or not.
func (p *Ledger) accepted(now time.Duration, in *cluster.Accept, taken bool, facts []cluster.Fact, book *cluster.Book) {
	var left resource.List
	var last *cluster.Offer
	for _, id := range in.Offers {
		o := p.offers[id]
		switch {
		case o == nil && taken:
			how := p.ended[id]
			if how == "" {
				how = "was never made"
			}
			p.fail(rule.OfferOnce, "%s accepts %s, which %s", p.name, id, how)
			return
		case o == nil:
		case o.Framework != in.Framework && taken:
			p.fail(rule.OfferOnce, "%s accepts %s of %s for %s", p.name, id, o.Framework, in.Framework)
			return
		case o.Framework == in.Framework:
			left, last = left.Plus(o.Resources), o
			p.end(id, "was used up")
		}
	}
	if !taken {
		for i := range facts {
			if f := &facts[i]; f.Kind == cluster.FactTaskRefused && cluster.Terminal(f.Status.State) {
				if x := book.View().Task(f.Framework, f.Task); x != nil && !x.Released && x.Agent == f.Status.AgentID {
					p.fail(rule.OneEnd, "%s says %s of %s, which lives: its ACCEPT came twice", p.name, f.Status.State, f.Task)
				}
			}
		}
	}
	if !taken || last == nil {
		return
	}
	offered := left // what of it no operation has changed
	for i := range facts {
		f := &facts[i]
		switch f.Kind {
		case cluster.FactOperationAccepted:
			c := p.keep.ChangeOf(f.Operation.Info)
			if !left.Contains(c.Consumed) {
				p.fail(rule.OneOwner, "%s changes %s of offers that have %s left", p.name, c.Consumed, left)
				return
			}
			left, offered = left.Minus(c.Consumed).Plus(c.Converted), offered.Minus(c.Consumed)
		case cluster.FactTaskLaunched, cluster.FactExecutorStarted:
			if !left.Contains(f.Resources) {
				p.fail(rule.OneOwner, "%s launches %s%s with %s from offers that have %s left", p.name, f.Task, f.Executor, f.Resources, left)
				return
			}
			p.keep.For(last.Role, f.Resources, f.Task+f.Executor)
			left = left.Minus(f.Resources.NonShared())
		}
	}
	if refused := left.Minus(left.Minus(offered)); !refused.IsEmpty() {
		p.refuse(last, refused, now, in.Refuse)
	}
}

// offered looks at an offer that is being made.
func (p *Ledger) offered(now time.Duration, o *cluster.Offer) {
	p.keep.For(o.Role, o.Resources, "an offer of "+p.name)
	switch spec := p.there[o.Agent]; {
	case spec == nil:
		p.fail(rule.There, "%s offers %s of %s, which is not there", p.name, o.Resources, o.Agent)
	case !spec.Total.Contains(o.Resources) || !o.Spec.Total.Equal(spec.Total):
		p.fail(rule.There, "%s offers %s of %s, which has %s", p.name, o.Resources, o.Agent, spec.Total)
	case mesos.FormatAttributes(spec.Attributes) != mesos.FormatAttributes(o.Spec.Attributes):
		p.fail(rule.There, "%s offers %s with attributes %s, and it has %s", p.name, o.Agent, mesos.FormatAttributes(o.Spec.Attributes), mesos.FormatAttributes(spec.Attributes))
	}
	switch {
	case p.ended[o.ID] != "" || p.offers[o.ID] != nil:
		p.fail(rule.OfferOnce, "%s makes offer %s twice", p.name, o.ID)
	case !slices.Contains(p.roles[o.Framework], o.Role):
		p.fail(rule.Honoured, "%s offers %s in role %s, which has roles %v", p.name, o.Framework, o.Role, p.roles[o.Framework])
	case slices.Contains(p.quiet[o.Framework], o.Role):
		p.fail(rule.Honoured, "%s offers %s something in role %s, which is suppressed", p.name, o.Framework, o.Role)
	}
	for _, r := range p.filters[seat{o.Framework, o.Role, o.Agent}] {
		if now < r.until && r.what.Contains(o.Resources) {
			p.fail(rule.Honoured, "%s offers %s in role %s %s of %s, and it has refused %s for %s more",
				p.name, o.Framework, o.Role, o.Resources, o.Agent, r.what, r.until-now)
		}
	}
	p.offers[o.ID] = o
}
