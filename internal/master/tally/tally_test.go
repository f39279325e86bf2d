package tally

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos/resource"
)

// book has one framework with one task that runs, and one that is unsubscribed and wants nothing in one of its roles.
func book(t *testing.T) *cluster.Book {
	t.Helper()
	cfg := cluster.Defaults()
	cfg.MasterID = "M"
	now := machine.Now{Mono: time.Second, Wall: 1e18}
	b := cluster.New(cfg, nil, now, rand.New(rand.NewPCG(1, 1)))
	step := func(in cluster.In) {
		now.Mono += 100 * time.Millisecond
		b.Step(now, in, &cluster.Out{})
	}
	total, err := resource.Parse("cpus:4;mem:1024", "*")
	if err != nil {
		t.Fatal(err)
	}
	step(&cluster.AgentRegister{Conn: 1, Spec: &cluster.AgentSpec{Info: []byte("i"), Hostname: "h", IP: "10.0.0.1", Port: 5051, Total: total}})
	step(&cluster.Subscribe{Stream: 1, Spec: &cluster.FrameworkSpec{Name: "a b/c", User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}})
	step(nil)
	for o := range b.View().Offers {
		step(&cluster.Accept{Stream: 1, Framework: "M-0000", Offers: []string{o.ID}, Operations: []cluster.Operation{{
			Type: mesosv1.Offer_Operation_LAUNCH, Tasks: []*cluster.TaskSpec{{ID: "t", AgentID: "M-S0", User: "root", Resources: o.Resources}},
		}}})
		break
	}
	step(&cluster.Subscribe{Stream: 2, Spec: &cluster.FrameworkSpec{Name: "x", User: "root", Roles: []string{"eng/web", "ops"}, FailoverTimeout: time.Hour}, Suppressed: []string{"ops"}})
	step(&cluster.StreamClosed{Stream: 2})
	return b
}

func TestWhatAFrameworkAskedForAndWasToldIsShownUnderItsName(t *testing.T) {
	b := book(t)
	var l Ledger
	f := l.Of("M-0000")
	f.Call(scheduler.Call_SUBSCRIBE, nil)
	f.Call(scheduler.Call_ACCEPT, []*mesosv1.Offer_Operation{{Type: mesosv1.Offer_Operation_LAUNCH.Enum()}, {Type: mesosv1.Offer_Operation_RESERVE.Enum()}, {Type: mesosv1.Offer_Operation_LAUNCH.Enum()}})
	f.Event(scheduler.Event_UPDATE)
	f.Event(scheduler.Event_UPDATE)
	f.Call(99, nil) // of a newer version
	const failed, running = mesosv1.TaskState_TASK_FAILED, mesosv1.TaskState_TASK_RUNNING
	for _, fact := range []cluster.Fact{
		{Kind: cluster.FactOffersSent, Framework: "M-0000", N: 3},
		{Kind: cluster.FactOffersAccepted, Framework: "M-0000", N: 1},
		{Kind: cluster.FactOffersDeclined, Framework: "M-0000", N: 2},
		{Kind: cluster.FactOfferRescinded, Framework: "M-0000"},
		{Kind: cluster.FactTaskState, Framework: "M-0000", State: running},
		{Kind: cluster.FactTaskState, Framework: "M-0000", Was: running, State: failed},
		{Kind: cluster.FactTaskState, Framework: "M-0000", Was: failed, State: failed}, // an update that came behind the end
		{Kind: cluster.FactOffersSent, Framework: "nobody's", N: 3},
	} {
		l.Tell(&fact)
	}
	got := map[string]float64{}
	l.Emit(b.View(), func(name string, v float64) {
		if _, twice := got[name]; twice {
			t.Errorf("%s is shown twice", name)
		}
		got[name] = v
	})
	const one, two = "master/frameworks/a%20b%2Fc/M-0000/", "master/frameworks/x/M-0001/"
	want := map[string]float64{
		one + "subscribed": 1, one + "roles/%2A/suppressed": 0, one + "tasks/active/task_staging": 1, one + "tasks/terminal/task_failed": 1,
		one + "calls": 2, one + "calls/subscribe": 1, one + "calls/accept": 1, one + "operations": 3, one + "operations/launch": 2, one + "operations/reserve": 1,
		one + "events": 2, one + "events/update": 2, one + "offers/sent": 3, one + "offers/accepted": 1, one + "offers/declined": 2, one + "offers/rescinded": 1,
		two + "subscribed": 0, two + "roles/eng%2Fweb/suppressed": 0, two + "roles/ops/suppressed": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAFrameworkThatEndedIsForgottenAndItsStreamCountsForNobody(t *testing.T) {
	var l Ledger
	f := l.Of("M-0000")
	l.Tell(&cluster.Fact{Kind: cluster.FactFrameworkRemoved, Framework: "M-0000"})
	f.Event(scheduler.Event_ERROR)
	if l.known("M-0000") != nil {
		t.Error("it is remembered")
	}
	var none *Framework // of a stream whose SUBSCRIBE was refused
	none.Event(scheduler.Event_ERROR)
	none.Call(scheduler.Call_KILL, nil)
}
