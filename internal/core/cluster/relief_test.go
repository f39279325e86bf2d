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

// A framework that is known by the tasks that agents report has had no offers yet; looking for whoever is poor passes it by.
func TestAFrameworkKnownByItsTasksAloneDoesNotDisturbTheTurns(t *testing.T) {
	total, err := resource.Parse("cpus:4;mem:1024", "*")
	if err != nil {
		t.Fatal(err)
	}
	b := New(Defaults(), nil, machine.Now{Mono: time.Second}, rand.New(rand.NewPCG(1, 2)))
	var out Out
	b.Step(machine.Now{Mono: time.Second}, &AgentRegister{
		Conn: 1, Links: 1, Spec: &AgentSpec{Hostname: "a", IP: "10.0.0.1", Port: 5051, Total: total},
		Frameworks: []*FrameworkSpec{{ID: "old-0000", Name: "old", User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}},
	}, &out)
	for n := range 2 {
		spec := &FrameworkSpec{Name: fmt.Sprint("f", n), User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}
		b.Step(machine.Now{Mono: time.Second}, &Subscribe{Stream: StreamID(n + 1), Spec: spec}, &out)
	}
	offered := map[StreamID]int{}
	for now := time.Second; now < time.Minute; now += 500 * time.Millisecond {
		out.Reset()
		b.Step(machine.Now{Mono: now}, &AgentPong{Conn: 1}, &out)
		for _, m := range out.Send {
			if _, ok := m.Body.(Offers); ok {
				offered[m.Stream]++
			}
		}
	}
	if offered[1] == 0 || offered[2] == 0 {
		t.Errorf("offers for the two that are there: %v", offered)
	}
}
