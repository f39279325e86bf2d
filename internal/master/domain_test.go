package master

import (
	"testing"

	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/mesos"
)

func TestAnAgentsDomainFitsTheCluster(t *testing.T) {
	for name, c := range map[string]struct {
		domain  string
		require bool
		region  string
		want    bool
	}{
		"neither says where it is":            {"", false, "", true},
		"the agent alone says it":             {"", false, "west", false},
		"the master alone says it":            {"east/1", false, "", true},
		"both say it":                         {"east/1", false, "west", true},
		"the agent must say it, and does":     {"east/1", true, "west", true},
		"the agent must say it, and does not": {"east/1", true, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newTestMaster(t)
			var err error
			if m.cfg.Domain, err = mesos.ParseDomain(c.domain); err != nil {
				t.Fatal(err)
			}
			m.cfg.RequireDomain = c.require
			if err := m.checkDomain(&cluster.AgentSpec{Region: c.region}); (err == nil) != c.want {
				t.Errorf("it is let in: %t (%v)", err == nil, err)
			}
		})
	}
}
