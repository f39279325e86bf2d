// Package registry is what the masters of a simulated cluster share: records under keys, and the leader's key, which goes when its
// holder's lease runs out. As in production, a change is a compare-and-swap: a leader's transaction happens only while the
// leader's key is the one that it put.
package registry

import (
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/sim/stage"
)

// Name is the registry's place in the network.
const Name = "store"

// What is counted of it.
const (
	NoAnswer = "an answer of the store that never comes"
	Refused  = "a request that the store refuses"
)

// Registry is the one of a cluster.
type Registry struct {
	// Slow, Deaf and Mute are times until which it answers late; refuses; does what it is asked and does not say so.
	Slow, Deaf, Mute time.Duration

	w         *stage.Stage
	timeout   time.Duration
	committed func(epoch uint64, records []cluster.Record)
	revision  uint64
	// The leader's key: who put it, with which revision, and until when the lease lasts. revision 0: there is none.
	holder struct {
		name     string
		revision uint64
		until    time.Duration
	}
	agents     map[string]*cluster.AgentRecord
	frameworks map[string]*cluster.FrameworkRecord
}

// New makes an empty one. Who asks it gives up after the timeout; committed hears of each transaction just before it happens.
func New(w *stage.Stage, timeout time.Duration, committed func(epoch uint64, records []cluster.Record)) *Registry {
	return &Registry{
		w: w, timeout: timeout, committed: committed,
		agents: map[string]*cluster.AgentRecord{}, frameworks: map[string]*cluster.FrameworkRecord{},
	}
}

// Leader gives the holder of the leader's key and its revision; 0 when nobody has it.
func (s *Registry) Leader() (string, uint64) {
	if s.holder.revision != 0 && s.holder.until <= s.w.Now() {
		s.w.Note("store: the lease of %s ran out", s.holder.name)
		s.holder.revision = 0
	}
	return s.holder.name, s.holder.revision
}

// Swap gives the leader's key to a candidate if it is still as the candidate saw it. The new revision is its epoch.
func (s *Registry) Swap(name string, seen uint64, ttl time.Duration) (epoch uint64, ok bool) {
	if _, now := s.Leader(); now != seen {
		return 0, false
	}
	s.revision++
	s.holder.name, s.holder.revision, s.holder.until = name, s.revision, s.w.Now()+ttl
	s.w.Note("store: the leader's key is %s's, epoch %d", name, s.revision)
	return s.revision, true
}

// Renew keeps a leader's lease alive; false when it is over.
func (s *Registry) Renew(epoch uint64, ttl time.Duration) bool {
	if _, now := s.Leader(); now != epoch {
		return false
	}
	s.holder.until = s.w.Now() + ttl
	return true
}

// Lose ends the lease of whoever has it.
func (s *Registry) Lose() {
	s.w.Note("store: the leader's lease is lost")
	s.holder.revision = 0
}

// Revoke ends a leader's lease.
func (s *Registry) Revoke(epoch uint64) {
	if s.holder.revision == epoch {
		s.holder.revision = 0
	}
}

// Commit applies one transaction, if the leader's key is still the one that it compares.
func (s *Registry) Commit(epoch uint64, records []cluster.Record) bool {
	if _, now := s.Leader(); now != epoch {
		return false
	}
	s.committed(epoch, records)
	s.revision++
	for _, r := range records {
		switch {
		case r.Agent != nil:
			s.agents[r.Agent.Spec.ID] = r.Agent
		case r.Framework != nil:
			s.frameworks[r.Framework.Spec.ID] = r.Framework
		case r.Forget != "":
			delete(s.frameworks, r.Forget)
		case r.ForgetAgent != "":
			delete(s.agents, r.ForgetAgent)
		}
	}
	return true
}

// Load lists everything, in the order of its keys.
func (s *Registry) Load() []cluster.Record {
	var out []cluster.Record
	for _, id := range slices.Sorted(maps.Keys(s.agents)) {
		out = append(out, cluster.Record{Agent: s.agents[id]})
	}
	for _, id := range slices.Sorted(maps.Keys(s.frameworks)) {
		out = append(out, cluster.Record{Framework: s.frameworks[id]})
	}
	return out
}

// Latency draws how long one way to the store and back takes, each.
func (s *Registry) Latency() time.Duration {
	if s.w.Now() < s.Slow {
		return s.w.Between(time.Second, 8*time.Second)
	}
	if s.w.Chance(0.02) {
		return s.w.Between(10*time.Millisecond, time.Second)
	}
	return s.w.Between(100*time.Microsecond, 10*time.Millisecond)
}

// Ask lets a master ask the store something: do runs at the store, then answered at the master, each after a while.
// answered hears false when the store refused, or when no answer came in time; whether do ran is then unknown.
func (s *Registry) Ask(name string, do func(), answered func(ok bool)) {
	w, over := s.w, false
	end := func(ok bool) {
		if !over {
			over = true
			answered(ok)
		}
	}
	w.After(s.timeout, func() {
		if !over {
			w.Cover.Fault(NoAnswer)
		}
		end(false)
	})
	w.At(max(w.Now()+s.Latency(), w.Passes(name, Name)), func() {
		if w.Now() < s.Deaf {
			w.Cover.Fault(Refused)
			w.At(max(w.Now()+s.Latency(), w.Passes(Name, name)), func() { end(false) })
			return
		}
		do()
		if w.Now() < s.Mute {
			return
		}
		w.At(max(w.Now()+s.Latency(), w.Passes(Name, name)), func() { end(true) })
	})
}
