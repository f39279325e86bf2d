package master

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/serve"
)

const (
	summonAfter   = 500 * time.Millisecond // agents whose leader died come by themselves before that
	summonRounds  = 5                      // each twice as long after the one before
	summonAtOnce  = 32
	summonTimeout = 2 * time.Second
)

// summon tells agents that have not come back since the election who leads now: they may be linked to a leader that is
// frozen, and would find out by its missing pings only.
func (t *term) summon(ctx context.Context, me *Leader) {
	body, err := json.Marshal(agentlink.Summons{Leader: me.Addr(), Epoch: uint64(t.leadership.Epoch())})
	if err != nil {
		t.m.deps.Log.Error("agents cannot be told who leads", "error", err)
		return
	}
	c := &http.Client{Timeout: summonTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	wait := summonAfter
	for range summonRounds {
		if clock.Sleep(ctx, t.m.deps.Clock, wait) != nil {
			return
		}
		wait *= 2
		var ids []string
		t.view.Load().Agents(func(a *cluster.Agent) bool {
			if a.Recovered && a.Spec.Port != 0 {
				ids = append(ids, a.Spec.ID)
			}
			return true
		})
		if len(ids) == 0 {
			return
		}
		places := make(chan struct{}, summonAtOnce)
		var calls sync.WaitGroup
		for _, id := range ids {
			places <- struct{}{}
			calls.Go(func() {
				defer func() { <-places }()
				if a := t.view.Load().Agent(id); a != nil && a.Recovered && ctx.Err() == nil {
					t.summonOne(ctx, c, a.Spec, body)
				}
			})
		}
		calls.Wait()
	}
}

// summonOne tells one agent. One that does not answer is down, or comes by itself.
func (t *term) summonOne(ctx context.Context, c *http.Client, spec *cluster.AgentSpec, body []byte) {
	url := "http://" + net.JoinHostPort(spec.IP, strconv.Itoa(int(spec.Port))) + agentlink.SummonsPath
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", serve.TypeJSON)
		var r *http.Response
		if r, err = c.Do(req); err == nil {
			err = r.Body.Close() // the agent's coming is the answer
		}
	}
	if err != nil {
		t.m.deps.Log.Debug("an agent cannot be told who leads", "agent", spec.ID, "error", err)
	}
}
