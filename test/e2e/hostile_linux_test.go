package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
)

// TestWhoeverMisbehavesIsBoundedCountedLoggedOnceAndHarmlessToOthers goes through what agents, frameworks and clients can
// do wrong, on one node, while another framework works on.
func TestWhoeverMisbehavesIsBoundedCountedLoggedOnceAndHarmlessToOthers(t *testing.T) {
	need(t, false)
	v := &victim{node: newNode(t, "up", "--log", "info")}
	v.start()
	v.calm = subscribe(t, v.master)
	v.calm.launch(task("calm", "exec sleep 600"))
	v.leader = v.leaderID(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *victim)
	}{
		{"an agent that lies about its resources is refused", lyingAgent},
		{"one that claims another's id is refused as long as that one is there", thief},
		{"one that registers without end is cut, and slowed when it connects anew", restlessAgent},
		{"one that sends updates of tasks that are not there is heard so often and no more", chatterer},
		{"one that never reads is cut off", deafAgent},
		{"a framework that accepts an offer twice loses the second tasks and nothing else", greedyFramework},
		{"a launch of ten thousand tasks delays nobody", hugeLaunch},
		{"one that subscribes a thousand times leaves one stream", restlessFramework},
		{"a user's thousand frameworks are all that he may have", thousandFrameworks},
		{"a framework too large to keep is refused, and the leader stays", hugeFramework},
		{"one that reconciles without end waits for itself alone", reconciler},
		{"bodies that are large, packed, slow or false take little memory", bodies},
	} {
		if !t.Run(c.name, func(t *testing.T) { c.test(t, v) }) && t.Context().Err() != nil {
			break
		}
	}
	if strings.Contains(v.out.String(), "panic") {
		t.Errorf("%s", v.out)
	}
}

func lyingAgent(t *testing.T, v *victim) {
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
	if after := v.memory(t); after > before+200 {
		t.Errorf("the node grew from %d to %d MiB", before, after)
	}
	if n := gauge(t, v.master, "pando_master_slaves_active"); n != 1 {
		t.Errorf("there are %d agents", n)
	}
}

func thief(t *testing.T, v *victim) {
	real := v.calm.statuses["calm"][0].GetAgentId().GetValue()
	owner := lie(t, v.master)
	if !owner.register(machine(t, "", "owner", amount("cpus", 1), amount("mem", 64))) {
		t.Fatal("an honest agent is refused")
	}
	v.meanwhile(t, 5*time.Second, func() {
		for range 8 {
			for _, id := range []string{real, owner.id} {
				if lie(t, v.master).register(machine(t, id, "thief", amount("cpus", 1))) {
					t.Errorf("%s is the thief's", id)
				}
			}
		}
	})
	if n := v.count(t, "pando/master/refusals/agent_elsewhere"); n != 16 {
		t.Errorf("%d are counted", n)
	}
	if n := v.lines("agent_refused", real); n != 1 {
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

func restlessAgent(t *testing.T, v *victim) {
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

func chatterer(t *testing.T, v *victim) {
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
		real := v.calm.statuses["calm"][0].GetAgentId().GetValue()
		l.say(&link.Up{Updates: []*link.Update{{FrameworkId: v.calm.s.FrameworkID(), Status: status("calm", real), LatestState: uint32(mesosv1.TaskState_TASK_FAILED)}}})
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

func deafAgent(t *testing.T, v *victim) {
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

func greedyFramework(t *testing.T, v *victim) {
	l := lie(t, v.master)
	if !l.register(machine(t, "", "greedy", amount("cpus", 8), amount("mem", 1024))) {
		t.Fatal("it is refused")
	}
	l.listen()
	e := v.enemy(t)
	lost, wrong := v.count(t, "master/tasks_lost"), v.count(t, "master/tasks_error")
	const times = 50
	v.meanwhile(t, 5*time.Second, func() {
		offer := e.offer()
		for i := range times {
			if got := e.accept(offer, on(l, fmt.Sprintf("greedy-%d", i), nil, wanted("cpus", 8))); got.status != http.StatusAccepted {
				t.Errorf("%d %s", got.status, got.body)
			}
		}
		for range times - 1 {
			u := e.event("UPDATE")
			if field(u, "update", "status", "state") != "TASK_LOST" || field(u, "update", "status", "reason") != "REASON_INVALID_OFFERS" {
				t.Errorf("the answer is %s", u)
			}
		}
	})
	if a, b := v.count(t, "master/tasks_lost")-lost, v.count(t, "master/tasks_error")-wrong; a != times-1 || b != 0 {
		t.Errorf("%d are counted as lost and %d as wrong", a, b)
	}
	if n := v.count(t, "pando/master/refusals/offers_invalid"); n < times-1 {
		t.Errorf("%d are counted", n)
	}
	if n := v.lines("task_refused", e.framework); n == 0 || n > 5 {
		t.Errorf("it is logged %d times", n)
	}
	if got := ask(t, http.DefaultClient, http.MethodGet, "http://"+v.master+"/tasks?framework_id="+e.framework, "").body; strings.Count(got, `"slave_id"`) != 1 {
		t.Errorf("its tasks are %.2000s", got)
	}
	call(t, e.hc, v.master, e.framework, e.id, `"type":"TEARDOWN"`)
	l.say(&link.Up{Unregister: true})
}

func hugeLaunch(t *testing.T, v *victim) {
	const many = 10_000
	for name, cpus := range map[string]float64{"for few of them": 100, "for all of them": many} {
		t.Run("with resources "+name, func(t *testing.T) {
			l := lie(t, v.master)
			if !l.register(machine(t, "", "huge", amount("cpus", cpus), amount("mem", 1e6))) {
				t.Fatal("it is refused")
			}
			l.listen()
			e := v.enemy(t)
			var tasks []*mesosv1.TaskInfo
			for n := range many {
				tasks = append(tasks, on(l, fmt.Sprintf("huge-%d", n), nil, wanted("cpus", 1), wanted("mem", 1)))
			}
			launched := v.count(t, "master/messages_launch_tasks")
			v.meanwhile(t, 2*time.Second, func() {
				begun := time.Now()
				if got := e.accept(e.offer(), tasks...); got.status != http.StatusAccepted {
					t.Errorf("%d %s", got.status, got.body)
				}
				for range many - int(cpus) {
					if u := e.event("UPDATE"); !strings.Contains(u, "TASK_ERROR") {
						t.Fatalf("the answer is %s", u)
					}
				}
				eventually(t, "the tasks to be launched", func() error {
					if n := v.count(t, "master/messages_launch_tasks") - launched; n < int(cpus) {
						return fmt.Errorf("%d are", n)
					}
					return nil
				})
				t.Logf("it took %s", time.Since(begun).Round(time.Millisecond))
			})
			if n := v.lines("task_refused", e.framework); n > 5 {
				t.Errorf("it is logged %d times", n)
			}
			v.meanwhile(t, 2*time.Second, func() { call(t, e.hc, v.master, e.framework, e.id, `"type":"TEARDOWN"`) })
			l.say(&link.Up{Unregister: true})
		})
	}
}

// quietly subscribes without reading on; the answer is SUBSCRIBED's or ERROR's event.
func quietly(t *testing.T, hc *http.Client, master, info string) (event string, body io.ReadCloser) {
	t.Helper()
	s := `{"type":"SUBSCRIBE","subscribe":{"suppressed_roles":["hostile"],"framework_info":` + info + `}}`
	if id := field(info, "id", "value"); id != "" {
		s = `{"framework_id":{"value":"` + id + `"},` + s[1:]
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+master+"/api/v1/scheduler", strings.NewReader(s))
	must(t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := hc.Do(r)
	must(t, err)
	b := make([]byte, 4096)
	n, err := resp.Body.Read(b)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	_, event, _ = strings.Cut(string(b[:n]), "\n")
	return event, resp.Body
}

const thousandInfo = `"user":"nobody","name":"one of a thousand","roles":["hostile"],"capabilities":[{"type":"MULTI_ROLE"}],"failover_timeout":3600}`

func restlessFramework(t *testing.T, v *victim) {
	goroutines, fds := gauge(t, v.master, "go_goroutines"), gauge(t, v.master, "process_open_fds")
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	event, body := quietly(t, hc, v.master, "{"+thousandInfo)
	id := field(event, "subscribed", "framework_id", "value")
	bodies := []io.Closer{body}
	v.meanwhile(t, 5*time.Second, func() {
		for range 1000 {
			event, body := quietly(t, hc, v.master, `{"id":{"value":"`+id+`"},`+thousandInfo)
			if field(event, "type") != "SUBSCRIBED" {
				t.Fatalf("%s", event)
			}
			bodies = append(bodies, body)
		}
		eventually(t, "the replaced streams to end", func() error {
			if g, d := gauge(t, v.master, "go_goroutines"), gauge(t, v.master, "process_open_fds"); g > goroutines+40 || d > fds+40 {
				return fmt.Errorf("%d goroutines and %d descriptors, before %d and %d", g, d, goroutines, fds)
			}
			return nil
		})
	})
	if n := gauge(t, v.master, "pando_master_frameworks_connected"); n != 2 {
		t.Errorf("%d frameworks are connected", n)
	}
	if n := v.lines("framework_failed_over", id); n > 5 {
		t.Errorf("it is logged %d times", n)
	}
	for _, b := range bodies {
		_ = b.Close() // it ended
	}
	if got := ask(t, hc, http.MethodPost, "http://"+v.master+"/teardown", "frameworkId="+id, "Content-Type", "application/x-www-form-urlencoded"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func thousandFrameworks(t *testing.T, v *victim) {
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	before, fds := v.memory(t), gauge(t, v.master, "process_open_fds")
	info := "{" + strings.Replace(thousandInfo, "3600", "0", 1)
	var open []io.Closer
	refused := 0
	v.meanwhile(t, 5*time.Second, func() {
		for range 1010 {
			event, body := quietly(t, hc, v.master, info)
			open = append(open, body)
			switch field(event, "type") {
			case "SUBSCRIBED":
			case "ERROR":
				if refused++; !strings.Contains(event, "--max-frameworks-per-user") {
					t.Errorf("%s", event)
				}
			default:
				t.Fatalf("%s", event)
			}
		}
	})
	if refused != 10 {
		t.Errorf("%d of 1010 were refused", refused)
	}
	if n := v.count(t, "pando/master/refusals/frameworks_too_many"); n != refused {
		t.Errorf("%d are counted", n)
	}
	if n := v.lines("framework_refused", "too_many"); n > 1 {
		t.Errorf("it is logged %d times", n)
	}
	after := v.memory(t)
	t.Logf("a thousand streams: from %d to %d MiB", before, after)
	if after > before+150 {
		t.Errorf("the node grew from %d to %d MiB", before, after)
	}
	if e := v.enemy(t); e.framework == "" {
		t.Error("another user is refused")
	} else {
		call(t, e.hc, v.master, e.framework, e.id, `"type":"TEARDOWN"`)
	}
	for _, c := range open {
		_ = c.Close() // nothing is lost
	}
	eventually(t, "the streams to end", func() error {
		if n, d := gauge(t, v.master, "pando_master_frameworks_connected"), gauge(t, v.master, "process_open_fds"); n > 1 || d > fds+40 {
			return fmt.Errorf("%d frameworks, %d descriptors", n, d)
		}
		return nil
	})
}

func hugeFramework(t *testing.T, v *victim) {
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	v.meanwhile(t, 5*time.Second, func() {
		for range 3 {
			event, body := quietly(t, hc, v.master, `{"user":"root","name":"`+strings.Repeat("n", 9<<20)+`"}`)
			_ = body.Close() // it was read
			if field(event, "type") != "ERROR" || !strings.Contains(event, "framework_info: it has") {
				t.Errorf("%.300s", event)
			}
		}
	})
}

func reconciler(t *testing.T, v *victim) {
	l := lie(t, v.master)
	if !l.register(machine(t, "", "reconciled", amount("cpus", 5000), amount("mem", 1e6))) {
		t.Fatal("it is refused")
	}
	l.listen()
	e := v.enemy(t)
	var tasks []*mesosv1.TaskInfo
	for n := range 5000 {
		tasks = append(tasks, on(l, fmt.Sprintf("known-%d", n), nil, wanted("cpus", 1)))
	}
	e.accept(e.offer(), tasks...)
	go func() { _, _ = io.Copy(io.Discard, e.body) }() // until it is torn down
	v.meanwhile(t, 3*time.Second, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for ctx.Err() == nil {
					r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(`{"framework_id":{"value":"`+e.framework+`"},"type":"RECONCILE","reconcile":{}}`))
					if err != nil {
						return
					}
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Mesos-Stream-Id", e.id)
					if resp, err := e.hc.Do(r); err == nil {
						_ = resp.Body.Close() // it is empty
					}
				}
			})
		}
		wg.Wait()
	})
	call(t, e.hc, v.master, e.framework, e.id, `"type":"TEARDOWN"`)
	l.say(&link.Up{Unregister: true})
}

func bodies(t *testing.T, v *victim) {
	ten := zeros(10 << 20)
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	_, err := io.Copy(z, &ten)
	must(t, err)
	must(t, z.Close())
	hundred := func() io.Reader { return new(zeros(100 << 20)) }
	before := v.memory(t)
	counted := v.count(t, "pando/master/bodies_refused/large")
	v.meanwhile(t, 5*time.Second, func() {
		for name, c := range map[string]struct {
			body     io.Reader
			length   int64
			encoding string
		}{
			"100 MB":                       {hundred(), 100 << 20, ""},
			"100 MB in chunks":             {hundred(), -1, ""},
			"10 MB that unpack to 10 GB":   {bytes.NewReader(bytes.Repeat(member.Bytes(), 1000)), -1, "gzip"},
			"the same with a known length": {bytes.NewReader(bytes.Repeat(member.Bytes(), 1000)), int64(1000 * member.Len()), "gzip"},
		} {
			r, err := http.NewRequest(http.MethodPost, "http://"+v.master+"/api/v1/scheduler", c.body)
			must(t, err)
			r.ContentLength = c.length
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Content-Encoding", c.encoding)
			resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
			if err != nil {
				if !isReset(err) { // the answer may be lost when the connection ends while the body is sent
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: %d", name, resp.StatusCode)
			}
			_ = resp.Body.Close() // nothing more is wanted of it
		}
		var held []net.Conn
		for range 200 { // each announces 60 MB, and sends a byte now and then
			conn, err := net.Dial("tcp", v.master)
			must(t, err)
			held = append(held, conn)
			_, err = io.WriteString(conn, "POST /api/v1/scheduler HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000000\r\n\r\n{")
			must(t, err)
		}
		for range 10 {
			for _, c := range held {
				_, _ = c.Write([]byte(" ")) // it may have been given up
			}
			time.Sleep(50 * time.Millisecond)
		}
		if heap := gauge(t, v.master, "go_memstats_heap_sys_bytes") >> 20; heap > 2048 {
			t.Errorf("200 lengths take %d MiB", heap)
		}
		for _, c := range held {
			_ = c.Close() // it is of no use any more
		}
	})
	if n := v.count(t, "pando/master/bodies_refused/large") - counted; n != 4 {
		t.Errorf("%d are counted", n)
	}
	if n := v.lines("refused for its body", "large"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	after := v.memory(t)
	t.Logf("from %d to %d MiB", before, after)
	if after > before+400 {
		t.Errorf("the node grew from %d to %d MiB", before, after)
	}
}
