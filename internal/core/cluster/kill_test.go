package cluster

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos/resource"
)

func TestAKillIsOwedToAnAgentThatLeftAndCameBackWithTheTask(t *testing.T) {
	total, err := resource.Parse("cpus:4;mem:1024", "*")
	if err != nil {
		t.Fatal(err)
	}
	now := machine.Now{Mono: time.Second}
	b := New(Defaults(), nil, now, rand.New(rand.NewPCG(1, 2)))
	var out Out
	step := func(in In) []Msg {
		now.Mono += 100 * time.Millisecond
		out.Reset()
		b.Step(now, in, &out)
		return out.Send
	}
	agent := AgentSpec{Hostname: "a", IP: "10.0.0.1", Port: 5051, Total: total}
	step(&AgentRegister{Conn: 1, Links: 1, Spec: &agent})
	step(&Subscribe{Stream: 1, Spec: &FrameworkSpec{Name: "f", User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}})
	step(nil)
	var offer *Offer
	b.View().Offers(func(o *Offer) bool { offer = o; return false })
	spec := &TaskSpec{ID: "t", Name: "t", AgentID: offer.Agent, User: "root", Resources: total}
	step(&Accept{Stream: 1, Framework: offer.Framework, Offers: []string{offer.ID}, Operations: []Operation{{
		Type: mesosv1.Offer_Operation_LAUNCH, Tasks: []*TaskSpec{spec},
	}}})
	task := b.View().Task(offer.Framework, "t")
	step(&Kill{Stream: 1, Framework: offer.Framework, Task: "t", Grace: 3 * time.Second})
	step(&AgentLeave{Conn: 1})
	agent.ID = offer.Agent
	back := step(&AgentRegister{Conn: 2, Links: 2, Spec: &agent, Tasks: []TaskReport{{
		Framework: offer.Framework, Spec: spec, Role: "*", State: mesosv1.TaskState_TASK_RUNNING, Launch: task.launch,
	}}})
	for _, m := range back {
		if k, ok := m.Body.(KillTask); ok && k == (KillTask{offer.Framework, "t", int64(3 * time.Second)}) {
			return
		}
	}
	t.Errorf("the kill is not sent again: %v", back)
}
