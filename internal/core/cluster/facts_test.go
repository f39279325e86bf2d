package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
)

// A task that ends before its first updates are acknowledged: each of them carries its end as the latest state.
func TestATaskComesToItsEndInOneFactHoweverManyUpdatesCarryIt(t *testing.T) {
	d := newDesk(t, nil)
	d.agent(1, "", "a")
	d.step(0, &Subscribe{Stream: 1, Spec: &FrameworkSpec{Name: "f", User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}})
	d.step(10*time.Millisecond, nil)
	var offer *Offer
	d.b.View().Offers(func(o *Offer) bool { offer = o; return false })
	d.step(0, &Accept{Stream: 1, Framework: "M-0000", Offers: []string{offer.ID}, Operations: []Operation{{
		Type: mesosv1.Offer_Operation_LAUNCH, Tasks: []*TaskSpec{{ID: "t", AgentID: "M-S0", User: "root", Resources: offer.Resources}},
	}}})
	const starting, running, finished = mesosv1.TaskState_TASK_STARTING, mesosv1.TaskState_TASK_RUNNING, mesosv1.TaskState_TASK_FINISHED
	var got []string
	note := func(facts []Fact, _ []Msg) {
		for _, f := range facts {
			if f.Kind == FactTaskState {
				got = append(got, fmt.Sprintf("%s to %s", f.Was, f.State))
			}
		}
	}
	update := func(state, latest mesosv1.TaskState) {
		note(d.step(0, &AgentUpdate{Conn: 1, Framework: "M-0000", Latest: latest, Status: &mesos.Status{TaskID: "t", AgentID: "M-S0", State: state, UUID: state.String()}}))
		d.step(0, &Acknowledge{Stream: 1, Framework: "M-0000", Agent: "M-S0", Task: "t", UUID: state.String()})
	}
	update(starting, starting)
	note(d.step(0, &AgentState{Conn: 1, Framework: "M-0000", Task: "t", State: finished}))
	update(running, finished)
	update(finished, finished)
	want := []string{"TASK_STAGING to TASK_STARTING", "TASK_STARTING to TASK_FINISHED", "TASK_FINISHED to TASK_FINISHED", "TASK_FINISHED to TASK_FINISHED"}
	if !slices.Equal(got, want) {
		t.Errorf("the facts say %q, want %q", got, want)
	}
}

func TestEveryKindOfFactHasANameOfItsOwn(t *testing.T) {
	seen := map[string]FactKind{}
	for k := range factKinds {
		other, taken := seen[k.String()]
		if k.String() == "" || taken {
			t.Errorf("fact %d is %q, as is %d", k, k, other)
		}
		seen[k.String()] = k
	}
}
