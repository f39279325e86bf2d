package agentlink

import (
	"encoding/json"
	"net/http"

	"github.com/pando-os/pando/internal/serve"
)

// SummonsPath is where agents are told, with a Summons in JSON, that another master leads now.
const SummonsPath = "/pando/v1/leader"

// Summons is a new leader's word to agents that are linked to one before it.
type Summons struct {
	// Leader is its host:port.
	Leader string `json:"leader"`
	Epoch  uint64 `json:"epoch"`
}

// TakeSummons serves SummonsPath: it hands every summons of one of root's masters to heed, before it answers.
func TakeSummons(heed func(Summons)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !serve.Post(w, r) {
			return
		}
		if who := serve.Who(r); !who.Root {
			serve.Fail(w, http.StatusForbidden, "Only root's masters may summon agents here, and this connection is "+who.User+"'s; --trust-loopback lifts that.")
			return
		}
		body, err := serve.Body(r)
		if err != nil {
			serve.FailWith(w, err)
			return
		}
		var s Summons
		if err := json.Unmarshal(body, &s); err != nil || s.Leader == "" || s.Epoch == 0 {
			serve.Fail(w, http.StatusBadRequest, `The body must be {"leader": "host:port", "epoch": number}.`)
			return
		}
		heed(s)
		w.WriteHeader(http.StatusOK)
	}
}
