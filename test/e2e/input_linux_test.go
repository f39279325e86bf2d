package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/internal/agentlink"
)

// zeros is a body of so many bytes that takes no memory.
type zeros int64

func (z *zeros) Read(p []byte) (int, error) {
	if *z <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(*z))
	clear(p[:n])
	*z -= zeros(n)
	return int(n), nil
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	need(t, false)
	n := newNode(t, "up")
	n.start()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	big := zeros(65 << 20)
	_, err := io.Copy(z, &big)
	must(t, err)
	must(t, z.Close())
	for name, c := range map[string]struct {
		path, typ string
		body      io.Reader
		length    int64
		encoding  string
	}{
		"announced":     {"/api/v1/scheduler", "application/json", bytes.NewReader(make([]byte, 65<<20)), 65 << 20, ""},
		"in chunks":     {"/api/v1/scheduler", "application/x-protobuf", new(zeros(64<<20 + 1)), -1, ""},
		"when unpacked": {"/api/v1/scheduler", "application/json", &bomb, int64(bomb.Len()), "gzip"},
		"of a kill":     {"/pando/v1/kill", "application/json", new(zeros(64<<20 + 1)), -1, ""},
		"of a form":     {"/teardown", "application/x-www-form-urlencoded", strings.NewReader("frameworkId=" + strings.Repeat("a", 2<<20)), 2<<20 + 12, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodPost, "http://"+n.master+c.path, c.body)
			must(t, err)
			r.ContentLength = c.length
			r.Header.Set("Content-Type", c.typ)
			r.Header.Set("Expect", "100-continue") // so that the answer is read before the body is sent
			if c.encoding != "" {
				r.Header.Set("Content-Encoding", c.encoding)
			}
			resp, err := (&http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(b), "larger than") {
				t.Errorf("%d %s", resp.StatusCode, b)
			}
		})
	}
}

// dialLink asks for the link as an agent does.
func dialLink(t *testing.T, master string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, r, _, err := agentlink.Dial(t.Context(), master)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed already
	return conn, r
}

func frame(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := agentlink.AppendFrame(nil, m)
	must(t, err)
	return b
}

func TestAMalformedLinkIsCutAndDisturbsNobody(t *testing.T) {
	need(t, false)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("steady", "exec sleep 600"))
	hello := frame(t, &link.Up{Hello: &link.Hello{Versions: []uint32{agentlink.Version}, Session: "s"}})
	silent, _ := dialLink(t, n.master) // says nothing at all
	sized := func(size uint32, content ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), content...)
	}
	info := func(i *mesosv1.AgentInfo) []byte {
		b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(i)
		must(t, err)
		return b
	}
	status, err := proto.Marshal(&mesosv1.TaskStatus{TaskId: &mesosv1.TaskID{Value: new("steady")}, State: mesosv1.TaskState_TASK_FAILED.Enum(), Uuid: []byte("0123456789abcdef")})
	must(t, err)
	cases := map[string][]byte{
		"no hello":                          frame(t, &link.Up{Pong: 1}),
		"garbage for a hello":               []byte("GET / HTTP/1.1\r\n\r\n"),
		"a frame of 4 GB":                   sized(1<<32 - 1),
		"a frame of 65 MB":                  sized(65 << 20),
		"a second frame that is no message": append(bytes.Clone(hello), sized(4, 0xff, 0xff, 0xff, 0xff)...),
		"an unknown version":                frame(t, &link.Up{Hello: &link.Hello{Versions: []uint32{77}}}),
		"a registration of nothing":         append(bytes.Clone(hello), frame(t, &link.Up{Register: &link.Register{}})...),
		"a registration of garbage":         append(bytes.Clone(hello), frame(t, &link.Up{Register: &link.Register{AgentInfo: []byte{1, 2, 3}}})...),
		"an update that cannot be read":     append(bytes.Clone(hello), frame(t, &link.Up{Updates: []*link.Update{{FrameworkId: f.s.FrameworkID(), Status: []byte{0xff}}}})...),
		"a task that cannot be read": append(bytes.Clone(hello), frame(t, &link.Up{Register: &link.Register{
			AgentInfo: info(&mesosv1.AgentInfo{Hostname: new("h")}), Tasks: []*link.TaskReport{{TaskInfo: []byte{0xff}}},
		}})...),
		"a framework that cannot be read": append(bytes.Clone(hello), frame(t, &link.Up{Register: &link.Register{
			AgentInfo: info(&mesosv1.AgentInfo{Hostname: new("h")}), FrameworkInfos: [][]byte{{0xff}},
		}})...),
	}
	for name, sent := range cases {
		t.Run(name, func(t *testing.T) {
			conn, r := dialLink(t, n.master)
			_, err := conn.Write(sent)
			must(t, err)
			must(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
			if _, err := io.Copy(io.Discard, r); err != nil && !isReset(err) {
				t.Errorf("the link was not cut: %v", err)
			}
		})
	}
	t.Run("updates of one that did not register count for nothing", func(t *testing.T) {
		conn, r := dialLink(t, n.master)
		_, err := conn.Write(append(bytes.Clone(hello), frame(t, &link.Up{
			Updates: []*link.Update{{FrameworkId: f.s.FrameworkID(), Status: status, LatestState: uint32(mesosv1.TaskState_TASK_FAILED)}}, Unregister: true, Pong: 9,
		})...))
		must(t, err)
		var d link.Down
		_, err = agentlink.ReadFrame(r, nil, &d)
		if err != nil || d.GetWelcome() == nil {
			t.Fatalf("%v %v", &d, err)
		}
	})
	must(t, silent.SetReadDeadline(time.Now().Add(patience)))
	if _, err := silent.Read(make([]byte, 1)); err != io.EOF && !isReset(err) {
		t.Errorf("a link that says nothing stays: %v", err)
	}
	if got := ask(t, &http.Client{}, http.MethodGet, "http://"+n.master+"/slaves", ""); strings.Count(got.body, `"registered_time"`) != 1 {
		t.Errorf("the agents are %s", got.body)
	}
	if len(f.statuses["steady"]) != 2 || f.subscriptions() != 1 {
		t.Errorf("the framework was disturbed: %s", f.said())
	}
	f.launch(task("steady-too", "exec sleep 600"))
}

func isReset(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "broken pipe"))
}

func TestReplayedAndMisdirectedCallsChangeNothing(t *testing.T) {
	need(t, false)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("acked", "exec sleep 600"))
	for _, s := range f.statuses["acked"] {
		for range 3 {
			must(t, f.s.Acknowledge(t.Context(), s)) // again
		}
	}
	agent := f.statuses["acked"][0].GetAgentId()
	for _, id := range []string{"acked", "unknown"} {
		must(t, f.s.Acknowledge(t.Context(), &mesosv1.TaskStatus{AgentId: agent, TaskId: &mesosv1.TaskID{Value: &id}, Uuid: []byte("0123456789abcdef")}))
	}
	err := f.s.Acknowledge(t.Context(), &mesosv1.TaskStatus{AgentId: agent, TaskId: &mesosv1.TaskID{Value: new("acked")}, Uuid: []byte("short")})
	if err == nil || !strings.Contains(err.Error(), "uuid") {
		t.Errorf("a uuid that is none: %v", err)
	}
	must(t, f.kill("acked"))
	f.end("acked")
	last := f.end("acked")
	for range 3 {
		must(t, f.s.Acknowledge(t.Context(), last))
	}
	f.oneEnd("acked", killed)

	// A stream that was replaced is told so and ended, and its id is worth nothing.
	hc := &http.Client{}
	const info = `"user":"root","name":"twice","roles":["test"],"failover_timeout":60,"capabilities":[{"type":"MULTI_ROLE"}]`
	old := open(t, hc, n.master, "{"+info+"}")
	young := open(t, hc, n.master, `{"id":{"value":"`+old.framework+`"},`+info+"}")
	if young.framework != old.framework || young.id == old.id {
		t.Fatalf("%+v, %+v", old, young)
	}
	old.event("ERROR")
	if _, err := old.records.Next(); err != io.EOF {
		t.Errorf("the replaced stream goes on: %v", err)
	}
	for _, rest := range []string{`"type":"REVIVE"`, `"type":"TEARDOWN"`, `"type":"KILL","kill":{"task_id":{"value":"x"}}`} {
		if got := call(t, hc, n.master, old.framework, old.id, rest); got.status != http.StatusBadRequest || !strings.Contains(got.body, "stream ID") {
			t.Errorf("%s over the replaced stream: %d %s", rest, got.status, got.body)
		}
	}
	if got := call(t, hc, n.master, young.framework, young.id, `"type":"REVIVE"`); got.status != http.StatusAccepted {
		t.Errorf("over the one that stands: %d %s", got.status, got.body)
	}
	for want, rest := range map[int]string{
		http.StatusBadRequest: `"type":"KILL"`, // without what it needs
		http.StatusAccepted:   `"type":"ACCEPT","accept":{"offer_ids":[{"value":"no-such-offer"}],"operations":[]}`,
	} {
		if got := call(t, hc, n.master, young.framework, young.id, rest); got.status != want || want == http.StatusBadRequest && !strings.Contains(got.body, "kill") {
			t.Errorf("%s: %d %s", rest, got.status, got.body)
		}
	}
}

func TestASubscriberThatNeverReadsIsCutOffAndCanComeBack(t *testing.T) {
	need(t, false)
	n := newNode(t, "up", "--event-backlog", "262144", "--log", "info")
	n.start()
	narrow := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }) // it only speeds the test up
	}}
	hc := &http.Client{Transport: &http.Transport{DialContext: narrow.DialContext, ReadBufferSize: 512}}
	const info = `"user":"root","name":"deaf","roles":["deaf"],"failover_timeout":600,"capabilities":[{"type":"MULTI_ROLE"}]`
	deaf := open(t, hc, n.master, "{"+info+"}")
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf(`{"task_id":{"value":"never-was-%d"}}`, i))
	}
	ask1000 := `"type":"RECONCILE","reconcile":{"tasks":[` + strings.Join(many, ",") + `]}`

	busy := subscribe(t, n.master)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() { // another framework's tasks go on meanwhile
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			id := fmt.Sprintf("busy-%d", i)
			if busy.accept(task(id, "exit 0")) != nil || busy.end(id).GetState() != finished {
				t.Errorf("%s did not finish", id)
				return
			}
		}
	})
	cut := false
	calls := &http.Client{}
	for range 200 {
		if got := call(t, calls, n.master, deaf.framework, deaf.id, ask1000); got.status != http.StatusAccepted {
			if got.status != http.StatusForbidden {
				t.Errorf("once it is cut off: %d %s", got.status, got.body)
			}
			cut = true
			break
		}
	}
	close(stop)
	wg.Wait()
	if !cut {
		t.Fatalf("the stream was not cut off: %s", n.out)
	}
	if !strings.Contains(n.out.String(), "cut off") {
		t.Errorf("nothing was said of it: %s", n.out)
	}
	if got := ask(t, calls, http.MethodGet, "http://"+n.master+"/metrics", ""); !regexp.MustCompile(`(?m)^\S*cut\S* 1$`).MatchString(got.body) {
		t.Errorf("no metric counts it: %s", grep(got.body, "cut"))
	}
	_ = deaf.body.Close() // it is broken
	back := open(t, calls, n.master, `{"id":{"value":"`+deaf.framework+`"},`+info+"}")
	if back.framework != deaf.framework {
		t.Errorf("%s came back as %s", deaf.framework, back.framework)
	}
	back.event("OFFERS")
}

func grep(text, word string) string {
	var out []string
	for l := range strings.SplitSeq(text, "\n") {
		if strings.Contains(l, word) {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

// gauge reads a number of /metrics.
func gauge(t *testing.T, addr, name string) int {
	t.Helper()
	got := ask(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, http.MethodGet, "http://"+addr+"/metrics", "")
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(got.body)
	if m == nil {
		t.Fatalf("there is no %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	must(t, err)
	return int(v)
}

// flat reads a number by its flat name.
func flat(t *testing.T, addr, name string) int {
	t.Helper()
	got := ask(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, http.MethodGet, "http://"+addr+"/metrics/snapshot", "")
	numbers := map[string]float64{}
	must(t, json.Unmarshal([]byte(got.body), &numbers))
	v, ok := numbers[name]
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	return int(v)
}

func TestGarbageLeavesNothingBehind(t *testing.T) {
	need(t, false)
	n := newNode(t, "up")
	n.start()
	f := subscribe(t, n.master)
	f.launch(task("in-the-storm", "exec sleep 600"))
	goroutines, fds := gauge(t, n.master, "go_goroutines"), gauge(t, n.master, "process_open_fds")

	var held []net.Conn
	for i := range 400 { // half of a request, and then nothing
		conn, err := net.Dial("tcp", []string{n.master, n.agent}[i%2])
		must(t, err)
		held = append(held, conn)
		half := []string{"", "P", "POST /api/v1/scheduler HTTP/1.1\r\nHost: localhost\r\n", "POST /api/v1/scheduler HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"}[i%4]
		_, err = io.WriteString(conn, half)
		must(t, err)
	}
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	random := rand.New(rand.NewPCG(1, 2))
	valid, err := proto.Marshal(&scheduler.Call{Type: scheduler.Call_SUBSCRIBE.Enum(), Subscribe: &scheduler.Call_Subscribe{
		FrameworkInfo: &mesosv1.FrameworkInfo{User: new("root"), Name: new("garbage"), Roles: []string{"test"}},
	}})
	must(t, err)
	var wg sync.WaitGroup
	requests := make(chan func(), 64)
	for range 8 {
		wg.Go(func() {
			for r := range requests {
				r()
			}
		})
	}
	statuses := sync.Map{}
	for i := range 4000 {
		body := make([]byte, random.IntN(300))
		for j := range body {
			body[j] = byte(random.Uint32())
		}
		switch i % 4 {
		case 0: // nearly good
			body = bytes.Clone(valid)
			body[random.IntN(len(body))] ^= byte(1 + random.IntN(255))
		case 1:
			body = fmt.Appendf(nil, `{"type":"KILL","framework_id":{"value":%q},"kill":{"task_id":{"value":"in-the-storm"}}}`, f.s.FrameworkID())
			body = body[:random.IntN(len(body)+1)]
		}
		method := []string{http.MethodPost, http.MethodPost, http.MethodGet, http.MethodPut, "BREW"}[random.IntN(5)]
		url := "http://" + []string{n.master, n.agent}[random.IntN(2)] + []string{"/api/v1/scheduler", "/pando/v1/kill", "/teardown", "/state", "/files/read?path=" + fmt.Sprintf("%%%02x", random.IntN(256)), "/pando/v1/agent", "/tasks?limit=-1", "/..%2f..%2f"}[random.IntN(8)]
		typ := []string{"application/json", "application/x-protobuf", "text/plain", ""}[random.IntN(4)]
		requests <- func() {
			r, err := http.NewRequest(method, url, bytes.NewReader(body))
			if err != nil {
				return // not a URL at all
			}
			if typ != "" {
				r.Header.Set("Content-Type", typ)
			}
			ctx := r.Context()
			r.Header.Set("Accept", typ)
			resp, err := hc.Do(r.WithContext(ctx))
			if err != nil {
				t.Errorf("%s %s: %v", method, url, err)
				return
			}
			statuses.Store(resp.StatusCode, true)
			if resp.StatusCode != http.StatusOK || !strings.Contains(url, "scheduler") { // a SUBSCRIBE may have been good by chance
				_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
			}
			_ = resp.Body.Close() // it was read
		}
	}
	close(requests)
	wg.Wait()
	statuses.Range(func(status, _ any) bool {
		if status.(int) >= 500 && status != http.StatusNotImplemented {
			t.Errorf("garbage was answered with %d", status)
		}
		return true
	})
	f.launch(task("in-the-storm-too", "exec sleep 600"))
	if f.subscriptions() != 1 || len(processesOf(t)["in-the-storm"]) != 1 {
		t.Errorf("the framework was disturbed: %d subscriptions, processes %v; %s", f.subscriptions(), processesOf(t)["in-the-storm"], f.said())
	}
	hc.CloseIdleConnections()
	for _, c := range held[:200] {
		_ = c.Close() // it is of no use any more
	}
	// What is held open by the client is given up too, if not at once.
	eventually(t, "goroutines and descriptors to come back", func() error {
		if g, d := gauge(t, n.master, "go_goroutines"), gauge(t, n.master, "process_open_fds"); g > goroutines+20 || d > fds+20 {
			return fmt.Errorf("%d goroutines and %d descriptors, before %d and %d", g, d, goroutines, fds)
		}
		return nil
	})
	for _, c := range held[200:] {
		_ = c.Close() // as above
	}
	if strings.Contains(n.out.String(), "panic") {
		t.Errorf("%s", n.out)
	}
}
