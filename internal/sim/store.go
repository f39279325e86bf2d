package sim

import (
	"slices"

	"github.com/pando-os/pando/internal/core/cluster"
)

// store is what the masters share: records under keys, and who leads.
type store struct {
	epoch      uint64
	agents     map[string]*cluster.AgentRecord
	frameworks map[string]*cluster.FrameworkRecord
}

func newStore() *store {
	return &store{agents: map[string]*cluster.AgentRecord{}, frameworks: map[string]*cluster.FrameworkRecord{}}
}

// commit applies one transaction, if the leader's epoch is still the one that it compares.
func (s *store) commit(epoch uint64, records []cluster.Record) bool {
	if epoch != s.epoch {
		return false
	}
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
	for _, id := range sortedKeys(s.agents) {
		out = append(out, cluster.Record{Agent: s.agents[id]})
	}
	for _, id := range sortedKeys(s.frameworks) {
		out = append(out, cluster.Record{Framework: s.frameworks[id]})
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func sortedIDs[K ~uint64, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
