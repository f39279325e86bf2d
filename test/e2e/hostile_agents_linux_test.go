package e2e

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
)

func lyingAgent(s scene) {
	t, v := s.t, s.v
	var overflow []*mesosv1.Resource
	for range 3000 {
		overflow = append(overflow, amount("m", 1e12))
	}
	ports := &mesosv1.Value_Ranges{}
	for i := range 1_000_000 {
		ports.Range = append(ports.Range, &mesosv1.Value_Range{Begin: new(uint64(2 * i)), End: new(uint64(2 * i))})
	}
	tags := &mesosv1.AgentInfo{Hostname: new("liar"), Attributes: []*mesosv1.Attribute{
		{Name: new("a"), Type: mesosv1.Value_TEXT.Enum(), Text: &mesosv1.Value_Text{Value: new(strings.Repeat("a", 10<<20))}},
	}}
	encoded, err := proto.Marshal(tags)
	must(t, err)
	lies := map[string]*link.Register{
		"1e18 cpus":              machine(t, "", "liar", amount("cpus", 1e18)),
		"1e12 cpus":              machine(t, "", "liar", amount("cpus", 1e12)),
		"negative mem":           machine(t, "", "liar", amount("cpus", 1), amount("mem", -1)),
		"mem that is no number":  machine(t, "", "liar", amount("mem", math.NaN())),
		"the same over and over": machine(t, "", "liar", overflow...),
		"ranges by the million":  machine(t, "", "liar", &mesosv1.Resource{Name: new("ports"), Type: mesosv1.Value_RANGES.Enum(), Ranges: ports}),
		"10 MB of attributes":    {AgentInfo: encoded, Ip: "10.9.9.9"},
	}
	before := v.memory(t)
	v.meanwhile(t, 5*time.Second, func() {
		for range 3 {
			for name, l := range lies {
				if lie(t, v.master).register(l) {
					t.Errorf("%s: it is believed", name)
				}
			}
			must(t, lie(t, v.master).conn.Close())
		}
		crowd := lie(t, v.master) // a million empty updates are two megabytes on the wire
		crowd.say(&link.Up{Updates: make([]*link.Update, 1_000_001)})
		if crowd.register(machine(t, "", "liar", amount("cpus", 1))) {
			t.Error("a frame of a million updates is taken")
		}
	})
	if n := v.count(t, "pando/master/links_refused/registration"); n != 3*len(lies) {
		t.Errorf("%d of %d are counted", n, 3*len(lies))
	}
	if n := v.lines("link refused", "registration"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	if n := v.count(t, "pando/master/links_refused/malformed"); n != 1 {
		t.Errorf("%d crowded frames are counted", n)
	}
	if n := v.lines("link refused", "malformed", "send fewer"); n != 1 {
		t.Errorf("the crowded frame is logged %d times", n)
	}
	if after := v.memory(t); after > before+200 {
		t.Errorf("the node grew from %d to %d MiB", before, after)
	}
	if n := gauge(t, v.master, "pando_master_agents_active"); n != 1 {
		t.Errorf("there are %d agents", n)
	}
}

func thief(s scene) {
	t, v := s.t, s.v
	owner := lie(t, v.master)
	if !owner.register(machine(t, "", "owner", amount("cpus", 1), amount("mem", 64))) {
		t.Fatal("an honest agent is refused")
	}
	v.meanwhile(t, 5*time.Second, func() {
		for range 8 {
			for _, id := range []string{v.home, owner.id} {
				if lie(t, v.master).register(machine(t, id, "thief", amount("cpus", 1))) {
					t.Errorf("%s is the thief's", id)
				}
			}
		}
	})
	if n := v.count(t, "pando/master/refusals/agent_elsewhere"); n != 16 {
		t.Errorf("%d are counted", n)
	}
	if n := v.lines("agent_refused", v.home); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	if got := ask(t, http.DefaultClient, http.MethodGet, "http://"+v.master+"/slaves", "").body; strings.Contains(got, "thief") || strings.Count(got, `"active":true`) != 2 {
		t.Errorf("the agents are %s", got)
	}
	again := lie(t, v.master)
	if !again.register(machine(t, owner.id, "owner", amount("cpus", 1), amount("mem", 64))) {
		t.Error("the owner may not come back over another connection")
	}
	again.say(&link.Up{Unregister: true})
}

func restlessAgent(s scene) {
	t, v := s.t, s.v
	came := v.count(t, "master/slave_reregistrations")
	first := lie(t, v.master)
	if !first.register(machine(t, "", "restless", amount("cpus", 1))) {
		t.Fatal("it is refused at first")
	}
	v.meanwhile(t, 5*time.Second, func() {
		var ups []*link.Up
		for range 5000 {
			ups = append(ups, &link.Up{Register: machine(t, first.id, "restless", amount("cpus", 1))})
		}
		first.say(ups...)
		if first.register(machine(t, first.id, "restless", amount("cpus", 1))) {
			t.Error("it registers again and again over one link")
		}
		begun, ok := time.Now(), 0
		for range 300 {
			l := lie(t, v.master)
			if l.register(machine(t, first.id, "restless", amount("cpus", 1))) {
				ok++
			}
			must(t, l.conn.Close())
		}
		if most := 11 + int(time.Since(begun)/time.Second); ok == 0 || ok > most {
			t.Errorf("%d of 300 registrations were taken within %s", ok, time.Since(begun))
		}
	})
	if n := v.count(t, "master/slave_reregistrations") - came; n > 60 {
		t.Errorf("%d registrations reached the book", n)
	}
	if n := v.count(t, "pando/master/links_refused/pace"); n < 200 {
		t.Errorf("%d are counted", n)
	}
	for _, words := range [][]string{{"link refused", "kind=pace"}, {"link refused", "registers twice"}} {
		if n := v.lines(words...); n > 1 {
			t.Errorf("%q is logged %d times", words, n)
		}
	}
	if n := v.lines("agent_reregistered", first.id); n > 5 {
		t.Errorf("its coming back is logged %d times", n)
	}
}

func chatterer(s scene) {
	t, v := s.t, s.v
	l := lie(t, v.master)
	if !l.register(machine(t, "", "chatterer", amount("cpus", 1))) {
		t.Fatal("it is refused")
	}
	l.listen()
	status := func(id, agent string) []byte {
		b, err := proto.Marshal(&mesosv1.TaskStatus{
			TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: &agent}, State: mesosv1.TaskState_TASK_FAILED.Enum(), Uuid: []byte("0123456789abcdef"),
		})
		must(t, err)
		return b
	}
	const rounds, each = 100, 1000
	v.meanwhile(t, 5*time.Second, func() {
		for i := range rounds {
			up := &link.Up{Pong: 1}
			for n := range each {
				f := v.calm.s.FrameworkID()
				if n%2 == 1 {
					f = "no-such-framework"
				}
				up.Updates = append(up.Updates, &link.Update{FrameworkId: f, Status: status(fmt.Sprintf("never-%d-%d", i, n), l.id), LatestState: uint32(mesosv1.TaskState_TASK_FAILED)})
			}
			l.say(up)
		}
		// And one that speaks for another agent.
		l.say(&link.Up{Updates: []*link.Update{{FrameworkId: v.calm.s.FrameworkID(), Status: status("calm", v.home), LatestState: uint32(mesosv1.TaskState_TASK_FAILED)}}})
		eventually(t, "the updates to be looked at", func() error {
			if n := v.count(t, "pando/master/refusals/update_misaddressed"); n != 1 {
				return fmt.Errorf("%d counted", n)
			}
			return nil
		})
	})
	if n := v.count(t, "master/invalid_status_updates"); n < rounds*each*9/10 {
		t.Errorf("%d of %d are counted", n, rounds*each)
	}
	if n := v.lines("update_dropped", "without being asked", l.id); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	v.calm.mu.Lock()
	heard, calm := 0, len(v.calm.statuses["calm"])
	for id := range v.calm.statuses {
		if strings.HasPrefix(id, "never-") {
			heard++
		}
	}
	v.calm.mu.Unlock()
	if heard == 0 || heard > 3000 || calm != 2 {
		t.Errorf("the framework heard of %d tasks that never were, and %d times of its own", heard, calm)
	}
	l.say(&link.Up{Unregister: true})
}

func deafAgent(s scene) {
	t, v := s.t, s.v
	l := lie(t, v.master)
	if !l.register(machine(t, "", "deaf", amount("cpus", 1000), amount("mem", 1e6))) {
		t.Fatal("it is refused")
	}
	e := v.enemy(t)
	before := v.memory(t)
	v.meanwhile(t, 5*time.Second, func() {
		for i := 0; v.count(t, "pando/master/links_cut_off") == 0; i++ {
			if i == 10 {
				t.Fatal("it is not cut off")
			}
			var tasks []*mesosv1.TaskInfo
			for n := range 50 {
				tasks = append(tasks, on(l, fmt.Sprintf("for-the-deaf-%d-%d", i, n), make([]byte, 1<<20), wanted("cpus", 1)))
			}
			if i > 0 && v.lines("agent_disconnected", l.id) > 0 {
				break
			}
			if got := e.accept(e.offer(), tasks...); got.status != http.StatusAccepted {
				t.Errorf("%d %s", got.status, got.body)
			}
		}
	})
	if n := v.count(t, "pando/master/links_cut_off"); n != 1 {
		t.Errorf("%d are counted", n)
	}
	if n := v.lines("agent's link cut off"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	t.Logf("memory went from %d to %d MiB", before, v.memory(t))
	call(t, e.hc, v.master, e.framework, e.id, `"type":"TEARDOWN"`)
}
