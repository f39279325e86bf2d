package agent

import (
	"encoding/json"
	"net/http"

	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/serve"
)

// serveSummons takes a new leader's word that it leads. The link to a leader that is frozen looks like one that is idle, so
// the agent would wait for its next pings in vain.
func (a *Agent) serveSummons(w http.ResponseWriter, r *http.Request) {
	if !serve.Post(w, r) {
		return
	}
	if who := serve.Who(r); !who.Root {
		serve.Fail(w, http.StatusForbidden, "Only root's masters may summon this agent, and this connection is "+who.User+"'s; --trust-loopback lifts that.")
		return
	}
	body, err := serve.Body(r)
	if err != nil {
		serve.FailWith(w, err)
		return
	}
	var s agentlink.Summons
	if err := json.Unmarshal(body, &s); err != nil || s.Leader == "" || s.Epoch == 0 {
		serve.Fail(w, http.StatusBadRequest, `The body must be {"leader": "host:port", "epoch": number}.`)
		return
	}
	a.heed(s)
	w.WriteHeader(http.StatusOK)
}

// heed leaves a leader of an earlier epoch and goes to the new one.
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
