package master

import (
	"errors"
	"fmt"

	"github.com/pando-os/pando/internal/core/cluster"
)

// checkDomain refuses an agent whose fault domain does not fit this cluster: where it is means nothing to masters that do not know
// where they are.
func (m *Master) checkDomain(s *cluster.AgentSpec) error {
	switch {
	case s.Region != "" && m.cfg.Domain == nil:
		return fmt.Errorf("agent_info.domain: the agent is in region %q and zone %q, and this master was not told where it is; start it with --domain, or the agent without", s.Region, s.Zone)
	case s.Region == "" && m.cfg.RequireDomain:
		return errors.New("agent_info.domain: the agent does not say where it is; start it with --domain, or the master without --require-agent-domain")
	}
	return nil
}
