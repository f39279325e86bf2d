package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

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
	v.leader, v.home = v.leaderID(t), v.calm.statuses["calm"][0].GetAgentId().GetValue()
	for _, c := range []struct {
		name string
		test func(scene)
	}{
		{"an agent that lies about its resources is refused", lyingAgent},
		{"one that claims another's id is refused as long as that one is there", thief},
		{"one that registers without end is cut, and slowed when it connects anew", restlessAgent},
		{"one that sends updates of tasks that are not there is heard so often and no more", chatterer},
		{"a framework that subscribes a thousand times leaves one stream", restlessFramework},
		{"a user's thousand frameworks are all that he may have", thousandFrameworks},
		{"an agent that never reads is cut off", deafAgent},
		{"a framework that accepts an offer twice loses the second tasks and nothing else", greedyFramework},
		{"a launch of ten thousand tasks delays nobody", hugeLaunch},
		{"a framework too large to keep is refused, and the leader stays", hugeFramework},
		{"one that reconciles without end waits for itself alone", reconciler},
		{"bodies that are large, packed, slow or false take little memory", bodies},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(scene{t, v}) })
	}
	if strings.Contains(v.out.String(), "panic") {
		t.Errorf("%s", v.out)
	}
}

// scene is one of the tests with its victim.
type scene struct {
	t *testing.T
	v *victim
}

func greedyFramework(s scene) {
	t, v := s.t, s.v
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

func hugeLaunch(s scene) {
	t, v := s.t, s.v
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

func restlessFramework(s scene) {
	t, v := s.t, s.v
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

func thousandFrameworks(s scene) {
	t, v := s.t, s.v
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

func hugeFramework(s scene) {
	t, v := s.t, s.v
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	v.meanwhile(t, 5*time.Second, func() {
		for range 3 {
			event, body := quietly(t, hc, v.master, `{"user":"root","roles":["hostile"],"capabilities":[{"type":"MULTI_ROLE"}],"name":"`+strings.Repeat("n", 9<<20)+`"}`)
			_ = body.Close() // it was read
			if field(event, "type") != "ERROR" || !strings.Contains(event, "framework_info: it has") {
				t.Errorf("%.300s", event)
			}
		}
	})
}

func reconciler(s scene) {
	t, v := s.t, s.v
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

func bodies(s scene) {
	t, v := s.t, s.v
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
