package agent

import (
	"fmt"
	"path/filepath"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/mesos"
)

// identify looks whether the agent may go on as whom its journal says that it is. After a reboot nothing of its tasks is
// left, so one that may not joins as a new agent; otherwise it must not start, since its tasks run. It gives the records to
// begin with.
func (a *Agent) identify(records []workload.Record) ([]workload.Record, error) {
	var was *workload.Identity
	for i := range records {
		if records[i].Identity != nil {
			was = records[i].Identity
		}
	}
	if was == nil || was.Agent == "" || len(was.Info) == 0 {
		return records, nil
	}
	var info mesosv1.AgentInfo
	if err := mesos.DecodeProto(was.Info, &info); err != nil {
		return nil, fmt.Errorf("the agent's own description in the journal cannot be read: %w", err)
	}
	is := a.agentInfo(was.Agent)
	if a.cfg.AnyPort {
		is.Port = new(info.GetPort())
	}
	differ, err := a.cfg.Reconfiguration.Refuse(&info, is)
	if err != nil || differ == "" {
		return records, err
	}
	meta := filepath.Join(a.cfg.WorkDir, "meta")
	if was.Boot == a.cfg.Boot {
		return nil, fmt.Errorf("agent %s is not what it was when it registered last (%s), and --reconfiguration-policy=%s does not allow that; start it as it was, or with --reconfiguration-policy=additive (more) or any, or move %s away to join as a new agent, which loses the tasks that run here",
			was.Agent, differ, a.cfg.Reconfiguration, meta)
	}
	a.deps.Log.Warn("the machine was rebooted and is not what it was; it joins as a new agent", "was", was.Agent, "difference", differ)
	if k := workload.KeptOf(records); len(k.Resources)+len(k.Doomed) > 0 {
		return []workload.Record{{Kept: &k}}, nil // what is reserved here is so whatever the agent is called
	}
	return nil, nil
}
