package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/pando-os/pando/internal/core/cluster"
)

// storeName is the store's place in the network.
const storeName = "store"

// store is what the masters share: records under keys, and the leader's key, which goes when its holder's lease runs out.
// As in production, a change is a compare-and-swap: a leader's transaction happens only while the leader's key is the one
// that it put.
type store struct {
	w        *World
	revision uint64
	// The leader's key: who put it, with which revision, and until when the lease lasts. revision 0: there is none.
	holder struct {
		m        *master
		revision uint64
		until    time.Duration
	}
	slow, deaf, mute time.Duration // until then: answers late; refuses; does what it is asked and does not say so

	agents     map[string]*cluster.AgentRecord
	frameworks map[string]*cluster.FrameworkRecord
}

func newStore(w *World) *store {
	return &store{w: w, agents: map[string]*cluster.AgentRecord{}, frameworks: map[string]*cluster.FrameworkRecord{}}
}

// leader gives the holder of the leader's key and its revision; 0 when nobody has it.
func (s *store) leader() (*master, uint64) {
	if s.holder.revision != 0 && s.holder.until <= s.w.Now() {
		s.w.Note("store: the lease of %s ran out", s.holder.m.name)
		s.holder.revision = 0
	}
	return s.holder.m, s.holder.revision
}

// swap gives the leader's key to a candidate if it is still as the candidate saw it. The new revision is its epoch.
func (s *store) swap(m *master, seen uint64, ttl time.Duration) (epoch uint64, ok bool) {
	if _, now := s.leader(); now != seen {
		return 0, false
	}
	s.revision++
	s.holder.m, s.holder.revision, s.holder.until = m, s.revision, s.w.Now()+ttl
	s.w.Note("store: the leader's key is %s's, epoch %d", m.name, s.revision)
	return s.revision, true
}

// renew keeps a leader's lease alive; false when it is over.
func (s *store) renew(epoch uint64, ttl time.Duration) bool {
	if _, now := s.leader(); now != epoch {
		return false
	}
	s.holder.until = s.w.Now() + ttl
	return true
}

// revoke ends a leader's lease.
func (s *store) revoke(epoch uint64) {
	if s.holder.revision == epoch {
		s.holder.revision = 0
	}
}

// commit applies one transaction, if the leader's key is still the one that it compares.
func (s *store) commit(epoch uint64, records []cluster.Record) bool {
	if _, now := s.leader(); now != epoch {
		return false
	}
	s.w.check.committed(epoch, records)
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

// load lists everything, in the order of its keys.
func (s *store) load() []cluster.Record {
	var out []cluster.Record
	for _, id := range slices.Sorted(maps.Keys(s.agents)) {
		out = append(out, cluster.Record{Agent: s.agents[id]})
	}
	for _, id := range slices.Sorted(maps.Keys(s.frameworks)) {
		out = append(out, cluster.Record{Framework: s.frameworks[id]})
	}
	return out
}

// latency draws how long one way to the store and back takes, each.
func (s *store) latency() time.Duration {
	if s.w.Now() < s.slow {
		return s.w.Between(time.Second, 8*time.Second)
	}
	if s.w.Chance(0.02) {
		return s.w.Between(10*time.Millisecond, time.Second)
	}
	return s.w.Between(100*time.Microsecond, 10*time.Millisecond)
}

// ask lets a master ask the store something: do runs at the store, then answered at the master, each after a while.
// answered hears false when the store refused, or when no answer came in time; whether do ran is then unknown.
func (s *store) ask(m *master, do func(), answered func(ok bool)) {
	w, over := s.w, false
	end := func(ok bool) {
		if !over {
			over = true
			answered(ok)
		}
	}
	w.After(saveTimeout, func() {
		if !over {
			w.Cover.Fault(noAnswer)
		}
		end(false)
	})
	w.At(max(w.Now()+s.latency(), w.Passes(m.name, storeName)), func() {
		if w.Now() < s.deaf {
			w.Cover.Fault(refused)
			w.At(max(w.Now()+s.latency(), w.Passes(storeName, m.name)), func() { end(false) })
			return
		}
		do()
		if w.Now() < s.mute {
			return
		}
		w.At(max(w.Now()+s.latency(), w.Passes(storeName, m.name)), func() { end(true) })
	})
}
