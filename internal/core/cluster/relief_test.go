package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos/resource"
)

func TestFrameworksThatAllLetTheirOffersLieTakeTurns(t *testing.T) {
	total, err := resource.Parse("cpus:4;mem:1024", "*")
	if err != nil {
		t.Fatal(err)
	}
	b := New(Defaults(), nil, machine.Now{Mono: time.Second}, rand.New(rand.NewPCG(1, 2)))
	var out Out
	b.Step(machine.Now{Mono: time.Second}, &AgentRegister{Conn: 1, Links: 1, Spec: &AgentSpec{Hostname: "a", IP: "10.0.0.1", Port: 5051, Total: total}}, &out)
	const frameworks = 4
	for n := range frameworks {
		spec := &FrameworkSpec{Name: fmt.Sprint("f", n), User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}
		b.Step(machine.Now{Mono: time.Second}, &Subscribe{Stream: StreamID(n + 1), Spec: spec}, &out)
	}
	offered := map[StreamID]int{}
	for now := time.Second; now < 2*time.Minute; now += 500 * time.Millisecond {
		out.Reset()
		b.Step(machine.Now{Mono: now}, &AgentPong{Conn: 1}, &out)
		for _, m := range out.Send {
			if _, ok := m.Body.(Offers); ok {
				offered[m.Stream]++
			}
		}
	}
	for n := range frameworks {
		if offered[StreamID(n+1)] < 2 {
			t.Errorf("framework %d of %d was offered the agent %d times in two minutes: %v", n, frameworks, offered[StreamID(n+1)], offered)
		}
	}
}

// A liar's report: such a framework was removed and reported again, its state was dropped with the oldest of the removed,
// and the next look for whoever is poor fell over it.
func TestAFrameworkWithoutAnIDIsTakenFromNoAgent(t *testing.T) {
	b := New(Defaults(), nil, machine.Now{Mono: time.Second}, rand.New(rand.NewPCG(1, 2)))
	var out Out
	b.Step(machine.Now{Mono: time.Second}, &AgentRegister{
		Conn: 1, Links: 1, Spec: &AgentSpec{Hostname: "a", IP: "10.0.0.1", Port: 5051},
		Frameworks: []*FrameworkSpec{{ID: "old-0000", Name: "old", User: "root", Roles: []string{"*"}}, {Name: "f", User: "root", Roles: []string{"*"}}},
	}, &out)
	if b.View().Framework("old-0000") == nil || b.View().Framework("") != nil {
		t.Error("one without an id is there, or one with an id is not")
	}
}
