package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/machine"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

// desk drives a book by hand.
type desk struct {
	t   *testing.T
	b   *Book
	now machine.Now
	out Out
}

func newDesk(t *testing.T, change func(*Config)) *desk {
	t.Helper()
	cfg := Defaults()
	cfg.MasterID = "M"
	if change != nil {
		change(&cfg)
	}
	d := &desk{t: t, now: machine.Now{Mono: time.Second, Wall: 1}}
	d.b = New(cfg, nil, d.now, rand.New(rand.NewPCG(1, 2)))
	return d
}

// step takes one input in and gives the facts and messages that came of it.
func (d *desk) step(wait time.Duration, in In) ([]Fact, []Msg) {
	d.t.Helper()
	d.now.Mono += wait
	d.now.Wall += int64(wait)
	d.out.Reset()
	d.b.Step(d.now, in, &d.out)
	if err := d.b.Audit(); err != nil {
		d.t.Fatal(err)
	}
	return d.out.Tell, d.out.Send
}

func (d *desk) agent(conn ConnID, id, host string) []Fact {
	d.t.Helper()
	total, err := resource.Parse("cpus:4;mem:1024", "*")
	if err != nil {
		d.t.Fatal(err)
	}
	facts, _ := d.step(time.Millisecond, &AgentRegister{Conn: conn, Links: uint64(conn), Spec: &AgentSpec{ID: id, Hostname: host, IP: "10.0.0.1", Port: 5051, Total: total}})
	return facts
}

func refused(facts []Fact) (reason Reason) {
	for _, f := range facts {
		if f.Kind == FactAgentRefused || f.Kind == FactFrameworkRefused || f.Kind == FactUpdateDropped {
			reason = f.Reason
		}
	}
	return reason
}

func TestAnAgentThatClaimsTheIDOfAConnectedOneIsRefusedUntilThatOneMissesPings(t *testing.T) {
	d := newDesk(t, nil)
	d.agent(1, "", "owner")
	if got := refused(d.agent(2, "M-S0", "copy")); got != AgentElsewhere {
		t.Errorf("the copy of a machine is refused because %q", got.Text())
	}
	if a := d.b.View().Agent("M-S0"); a.Spec.Hostname != "owner" || !a.Connected {
		t.Errorf("the owner is %+v", a)
	}
	if got := refused(d.agent(3, "M-S0", "owner")); got != NoReason {
		t.Errorf("the owner over another connection is refused: %s", got.Text())
	}
	d.step(16*time.Second, nil)
	if got := refused(d.agent(4, "M-S0", "moved")); got != AgentElsewhere {
		t.Errorf("one missed ping is no reason to let another in: %q", got.Text())
	}
	d.step(16*time.Second, nil)
	if got := refused(d.agent(5, "M-S0", "moved")); got != NoReason {
		t.Errorf("an owner with a new address is refused though the old connection is silent: %s", got.Text())
	}
}

func TestAnAgentMayNotFloodASchedulerWithUpdatesThatNobodyWaitsFor(t *testing.T) {
	d := newDesk(t, nil)
	d.agent(1, "", "a")
	d.step(0, &Subscribe{Stream: 1, Spec: &FrameworkSpec{Name: "f", User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}})
	flood := func(n int) (told int, why Reason) {
		for i := range n {
			s := &mesos.Status{TaskID: fmt.Sprint("no", i), AgentID: "M-S0", State: mesosv1.TaskState_TASK_RUNNING, UUID: fmt.Sprint(i)}
			facts, msgs := d.step(0, &AgentUpdate{Conn: 1, Framework: "M-0000", Status: s, Latest: s.State})
			for _, m := range msgs {
				if _, ok := m.Body.(Update); ok {
					told++
				}
			}
			if r := refused(facts); r != NoReason {
				why = r
			}
		}
		return told, why
	}
	if told, why := flood(5000); told != talkBurst || why != UpdatesTooMany {
		t.Errorf("%d of 5000 updates reached the scheduler; the others were dropped because %q", told, why.Text())
	}
	d.now.Mono += time.Second
	if told, _ := flood(5000); told != talkRate {
		t.Errorf("%d reached it a second later", told)
	}
	d.now.Mono += time.Hour
	if told, _ := flood(5000); told != talkBurst {
		t.Errorf("%d reached it an hour later", told)
	}
	facts, msgs := d.step(0, &AgentMessage{Conn: 1, Framework: "M-0000", Executor: "e", Data: []byte("x")})
	if refused(facts) != UpdatesTooMany || len(msgs) != 0 {
		t.Errorf("a message passes when updates do not: %v", msgs)
	}
	// What the book waits for passes all the same.
	d.step(10*time.Millisecond, nil)
	var offer *Offer
	d.b.View().Offers(func(o *Offer) bool { offer = o; return false })
	d.step(0, &Accept{Stream: 1, Framework: "M-0000", Offers: []string{offer.ID}, Operations: []Operation{{
		Type: mesosv1.Offer_Operation_LAUNCH, Tasks: []*TaskSpec{{ID: "t", AgentID: "M-S0", User: "root", Resources: offer.Resources}},
	}}})
	flood(100)
	s := &mesos.Status{TaskID: "t", AgentID: "M-S0", State: mesosv1.TaskState_TASK_RUNNING, UUID: "u"}
	if facts, _ := d.step(0, &AgentUpdate{Conn: 1, Framework: "M-0000", Status: s, Latest: s.State}); refused(facts) != NoReason {
		t.Errorf("the update of a task that runs is dropped: %s", refused(facts).Text())
	}
	s = &mesos.Status{TaskID: "t", AgentID: "M-S9", State: mesosv1.TaskState_TASK_FAILED, UUID: "v"}
	if facts, msgs := d.step(0, &AgentUpdate{Conn: 1, Framework: "M-0000", Status: s, Latest: s.State}); refused(facts) != UpdateMisaddressed || len(msgs) > 0 {
		t.Errorf("an agent speaks for another one: %v", msgs)
	}
}

func TestFrameworksAreBoundedInAllAndForEachUser(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.MaxFrameworks, c.MaxFrameworksPerUser = 5, 3 })
	stream := StreamID(0)
	subscribe := func(id, user string) (Reason, string) {
		stream++
		facts, msgs := d.step(0, &Subscribe{Stream: stream, Spec: &FrameworkSpec{ID: id, Name: "f", User: user, Roles: []string{"*"}, FailoverTimeout: time.Hour}})
		for _, m := range msgs {
			if e, ok := m.Body.(Error); ok {
				return refused(facts), e.Message
			}
		}
		return NoReason, ""
	}
	for range 3 {
		if why, _ := subscribe("", "eve"); why != NoReason {
			t.Fatal(why.Text())
		}
	}
	d.step(0, &StreamClosed{Stream: 1}) // it may come back, so it counts
	if why, words := subscribe("", "eve"); why != FrameworksTooMany || !strings.Contains(words, "--max-frameworks-per-user") {
		t.Errorf("a fourth is refused because %q: %q", why.Text(), words)
	}
	if why, words := subscribe("M-0000", "eve"); why != NoReason {
		t.Errorf("one that is known may not come back: %s", words)
	}
	for range 2 {
		if why, words := subscribe("", "bob"); why != NoReason {
			t.Errorf("another user is refused: %s", words)
		}
	}
	if why, words := subscribe("", "joe"); why != FrameworksTooMany || !strings.Contains(words, "--max-frameworks)") {
		t.Errorf("a sixth is refused because %q: %q", why.Text(), words)
	}
	in := &AgentRegister{Conn: 1, Links: 1, Spec: &AgentSpec{Hostname: "a"}}
	for i := range 9 {
		in.Frameworks = append(in.Frameworks, &FrameworkSpec{ID: fmt.Sprint("x", i), User: "root", Roles: []string{"*"}})
	}
	if facts, _ := d.step(0, in); refused(facts) != FrameworksTooMany || d.b.frameworks.Len() != 5 {
		t.Errorf("an agent brings more frameworks than there may be: there are %d", d.b.frameworks.Len())
	}
	d.step(0, &Teardown{Framework: "M-0000"})
	if why, words := subscribe("", "eve"); why != NoReason {
		t.Errorf("there is no room though one was torn down: %s", words)
	}
}

func TestWhenThereAreTooManyAgentsThoseThatAreAwayAreForgottenFirst(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.MaxAgents = 3 })
	for i := range 3 {
		d.agent(ConnID(i+1), "", fmt.Sprint("host", i))
	}
	if got := refused(d.agent(4, "", "host4")); got != AgentsTooMany {
		t.Errorf("a fourth is refused because %q", got.Text())
	}
	if got := refused(d.agent(5, "M-S1", "host1")); got != NoReason {
		t.Errorf("one that is known may not come back: %s", got.Text())
	}
	d.step(0, &AgentClosed{Conn: 1})
	for range 6 { // only the connected answer
		d.step(15*time.Second, &AgentPong{Conn: 5})
		d.step(0, &AgentPong{Conn: 3})
	}
	if a := d.b.View().Agent("M-S0"); a == nil || a.Mark != Unreachable {
		t.Fatalf("the first is not unreachable: %+v", a)
	}
	if got := refused(d.agent(6, "", "host4")); got != NoReason || d.b.View().Agent("M-S0") != nil || d.b.agents.Len() != 3 {
		t.Errorf("no room was made: %s", got.Text())
	}
}

func TestTenThousandRefusedTasksAreAnsweredInFewWords(t *testing.T) {
	d := newDesk(t, nil)
	var ports []string
	for i := range 1000 {
		ports = append(ports, fmt.Sprintf("%d-%d", 10*i, 10*i+1))
	}
	total, err := resource.Parse("cpus:4;mem:1024;ports:["+strings.Join(ports, ",")+"]", "*")
	if err != nil {
		t.Fatal(err)
	}
	d.step(0, &AgentRegister{Conn: 1, Links: 1, Spec: &AgentSpec{Hostname: "a", Total: total}})
	d.step(0, &Subscribe{Stream: 1, Spec: &FrameworkSpec{Name: "f", User: "root", Roles: []string{"*"}}})
	d.step(10*time.Millisecond, nil)
	var offer *Offer
	d.b.View().Offers(func(o *Offer) bool { offer = o; return false })
	op := Operation{Type: mesosv1.Offer_Operation_LAUNCH}
	for i := range 10_000 {
		op.Tasks = append(op.Tasks, &TaskSpec{ID: fmt.Sprint(i), AgentID: "M-S0", Resources: total.Plus(total)})
	}
	_, msgs := d.step(0, &Accept{Stream: 1, Framework: "M-0000", Offers: []string{offer.ID}, Operations: []Operation{op}})
	size := 0
	for _, m := range msgs {
		if u, ok := m.Body.(Update); ok {
			size += len(u.Status.Message)
		}
	}
	if size < 10_000 || size > 10_000*3*briefly {
		t.Errorf("the answers have %d bytes", size)
	}
}

func TestAThousandFrameworksOfOneUserThatLetOffersLieCountAsOne(t *testing.T) {
	d := newDesk(t, nil)
	d.agent(1, "", "a")
	subscribe := func(stream StreamID, user string) {
		d.step(0, &Subscribe{Stream: stream, Spec: &FrameworkSpec{Name: "f", User: user, Roles: []string{user}, FailoverTimeout: time.Hour}})
	}
	for i := range 1000 {
		subscribe(StreamID(i+1), "eve")
	}
	subscribe(2000, "bob")
	offers := 0
	for range 10 * 60 {
		_, msgs := d.step(100*time.Millisecond, nil)
		for _, m := range msgs {
			if o, ok := m.Body.(Offers); ok && m.Stream == 2000 {
				offers++
				d.step(0, &Decline{Stream: 2000, Framework: o.Offers[0].Framework, Offers: []string{o.Offers[0].ID}, Refuse: time.Second})
			}
		}
		d.step(0, &AgentPong{Conn: 1})
	}
	if offers < 4 {
		t.Errorf("bob was offered something %d times in a minute", offers)
	}
}

func TestALargeTaskIsRememberedByLittle(t *testing.T) {
	encode := func(i *mesosv1.TaskInfo) []byte {
		b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	d := newDesk(t, nil)
	d.agent(1, "", "a")
	d.step(0, &Subscribe{Stream: 1, Spec: &FrameworkSpec{Name: "f", User: "root", Roles: []string{"*"}, FailoverTimeout: time.Hour}})
	d.step(10*time.Millisecond, nil)
	var offer *Offer
	d.b.View().Offers(func(o *Offer) bool { offer = o; return false })
	info := &mesosv1.TaskInfo{
		Name: new("t"), TaskId: &mesosv1.TaskID{Value: new("t")}, AgentId: &mesosv1.AgentID{Value: new("M-S0")},
		Command: &mesosv1.CommandInfo{Value: new(strings.Repeat("x", 100<<10))}, Data: make([]byte, 1<<20),
	}
	whole := encode(info)
	_, msgs := d.step(0, &Accept{Stream: 1, Framework: "M-0000", Offers: []string{offer.ID}, Operations: []Operation{{
		Type: mesosv1.Offer_Operation_LAUNCH, Tasks: []*TaskSpec{{ID: "t", AgentID: "M-S0", Info: whole, Resources: offer.Resources}},
	}}})
	for _, m := range msgs {
		if r, ok := m.Body.(Run); ok && len(r.Task.Info) != len(whole) {
			t.Errorf("the agent gets %d of %d bytes", len(r.Task.Info), len(whole))
		}
	}
	info.Data = nil
	if got := d.b.View().Task("M-0000", "t").Spec.Info; string(got) != string(encode(info)) {
		t.Errorf("%d bytes are kept while it runs", len(got))
	}
	s := &mesos.Status{TaskID: "t", AgentID: "M-S0", State: mesosv1.TaskState_TASK_FINISHED, UUID: "u"}
	d.step(0, &AgentUpdate{Conn: 1, Framework: "M-0000", Status: s, Latest: s.State})
	d.step(0, &Acknowledge{Stream: 1, Framework: "M-0000", Agent: "M-S0", Task: "t", UUID: "u"})
	info.Command = nil
	d.b.View().CompletedTasksOf("M-0000", func(x *Task) bool {
		if string(x.Spec.Info) != string(encode(info)) {
			t.Errorf("%d bytes are kept when it has ended", len(x.Spec.Info))
		}
		return true
	})
}

func TestAgentsThatComeAndLeaveWithoutEndLeaveLittleBehind(t *testing.T) {
	d := newDesk(t, nil)
	for i := range maxFormer + 500 {
		d.b.Step(d.now, &AgentRegister{Conn: ConnID(i + 1), Links: 1, Spec: &AgentSpec{Hostname: fmt.Sprint("host", i), IP: "10.0.0.1", Port: 5051}}, &d.out)
		d.b.Step(d.now, &AgentLeave{Conn: ConnID(i + 1)}, &d.out)
		d.out.Reset()
	}
	if n, m := len(d.b.states), len(d.b.addresses); n > maxFormer || m > maxFormer {
		t.Errorf("%d states and %d addresses are kept", n, m)
	}
	// The last is known well enough that what came late of it is told from what holds.
	id := fmt.Sprint("M-S", maxFormer+499)
	if got := refused(func() []Fact {
		facts, _ := d.step(0, &AgentRegister{Conn: 99999, Links: 0, Spec: &AgentSpec{ID: id, Hostname: "h"}})
		return facts
	}()); got != RegistrationStale {
		t.Errorf("what came late is refused because %q", got.Text())
	}
}

func TestATasksHistoryIsBounded(t *testing.T) {
	var list []*mesos.Status
	for i := range 3 * keptChanges {
		state := mesosv1.TaskState_TASK_RUNNING
		if i%2 == 0 {
			state = mesosv1.TaskState_TASK_STARTING
		}
		list = pushStatus(list, &mesos.Status{TaskID: "t", State: state, UUID: fmt.Sprint(i), Message: strings.Repeat("é", keptWords), Rest: make([]byte, keptRest+1)})
	}
	last := list[len(list)-1]
	if len(list) != keptChanges || last.UUID != fmt.Sprint(3*keptChanges-1) {
		t.Errorf("%d changes are kept, the last is %s", len(list), last.UUID)
	}
	if len(last.Message) > keptWords || !strings.HasPrefix(last.Message, "éé") || len(last.Rest) != 0 {
		t.Errorf("%d bytes of words are kept and %d of the rest", len(last.Message), len(last.Rest))
	}
	short := pushStatus(nil, &mesos.Status{State: mesosv1.TaskState_TASK_FAILED, Message: "why", Healthy: -1})
	if short[0].Message != "why" {
		t.Errorf("a short message became %q", short[0].Message)
	}
	d := newDesk(t, nil)
	d.step(0, &AgentRegister{Conn: 1, Spec: &AgentSpec{Hostname: "a"}, Frameworks: []*FrameworkSpec{{ID: "F", User: "root"}}, Tasks: []TaskReport{{
		Framework: "F", Spec: &TaskSpec{ID: "t"}, State: mesosv1.TaskState_TASK_RUNNING, Statuses: slices.Repeat(list, 3),
	}}})
	if n := len(d.b.View().Task("F", "t").Statuses); n != keptChanges {
		t.Errorf("%d changes of a reported task are kept", n)
	}
}

func TestOfATaskThatWasSentItsSecretsAreNotKept(t *testing.T) {
	if s := remembered(&TaskSpec{ID: "t", Info: []byte("i"), Whole: []byte("w")}); s.Whole != nil || string(s.Info) != "i" {
		t.Errorf("it is remembered as %+v", s)
	}
}
