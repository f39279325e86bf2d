package agent

import "github.com/pando-os/pando/internal/agentlink"

// heed leaves a leader of an earlier epoch and goes to the new one. The link to a leader that is frozen looks like one that
// is idle, so the agent would wait for its next pings in vain.
func (a *Agent) heed(s agentlink.Summons) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.link != nil && a.link.epoch >= s.Epoch {
		return // it is there already
	}
	a.summoned = s.Leader
	if a.link != nil {
		a.deps.Log.Info("another master leads", "master", s.Leader, "epoch", s.Epoch)
		a.link.close()
	}
}

// next is the master to be tried now: one that says that it leads, or else the nth of those that are set.
func (a *Agent) next(n int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if to := a.summoned; to != "" {
		a.summoned = ""
		return to
	}
	return a.cfg.Masters[n%len(a.cfg.Masters)]
}
