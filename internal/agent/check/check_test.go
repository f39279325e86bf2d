package check

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/fake"
	"github.com/pando-os/pando/internal/machine"
)

const started = 100 * time.Second

// play drives a watch: each look that is asked for is answered by the next code (-1: an error), which takes one second.
// It gives a line for everything that came out, with the seconds since the task started.
func play(w *Watch, codes ...int) string {
	var b strings.Builder
	var out Out
	now := machine.Now{Mono: started}
	say := func(format string, a ...any) {
		fmt.Fprintf(&b, "%v "+format+"\n", append([]any{(now.Mono - started).Seconds()}, a...)...)
	}
	step := func(in In) (look uint64) {
		out.Reset()
		w.Step(now, in, &out)
		for _, r := range out.Save {
			say("save failures=%d healthy=%v", r.Failures, r.Healthy)
		}
		for _, v := range out.Send {
			switch {
			case v.Healthy != nil:
				say("healthy=%v failures=%d kill=%v", *v.Healthy, v.Failures, v.Kill)
			default:
				say("result %d %s", v.Result.Code, v.Result.Err)
			}
		}
		for _, f := range out.Tell {
			if f.Note != "" {
				say("ignored: %s", f.Note)
			}
		}
		for _, l := range out.Do {
			say("look")
			look = l.ID
		}
		return look
	}
	look := step(In{})
	for _, code := range codes {
		if look == 0 {
			d := w.Deadline()
			if d == machine.Never {
				break
			}
			now.Mono = d
			if look = step(In{}); look == 0 {
				say("woken for nothing")
				break
			}
		}
		now.Mono += time.Second
		r := Result{Code: code}
		if code < 0 {
			r = Result{Err: "it took longer than 20s"}
		}
		look = step(In{Look: look, Result: &r})
	}
	if w.Deadline() == machine.Never && look == 0 {
		say("over")
	}
	return b.String()
}

func command0() Probe { return Probe{Command: &container.Command{Args: []string{"true"}}} }

func TestWhatFollowsFromLooks(t *testing.T) {
	health := Plan{Health: true, Probe: command0(), Delay: 2 * time.Second, Interval: 5 * time.Second, Grace: 10 * time.Second, Failures: 3}
	for _, tt := range []struct {
		name  string
		plan  Plan
		from  *Record
		codes []int
		want  string
	}{
		{"healthy is said once", health, nil, []int{0, 0, 0}, `2 look
3 save failures=0 healthy=true
3 healthy=true failures=0 kill=false
8 look
14 look
`},
		{"failures within the grace period do not count, later ones do", health, nil, []int{1, 1, 1, 1, 1}, `2 look
3 ignored: within the grace period of 10s
8 look
9 ignored: within the grace period of 10s
14 look
15 save failures=1 healthy=false
15 healthy=false failures=1 kill=false
20 look
21 save failures=2 healthy=false
21 healthy=false failures=2 kill=false
26 look
27 save failures=3 healthy=false
27 healthy=false failures=3 kill=true
27 over
`},
		{"after the first success there is no grace, and a success starts the count anew", health, nil, []int{0, 7, 0, -1}, `2 look
3 save failures=0 healthy=true
3 healthy=true failures=0 kill=false
8 look
9 save failures=1 healthy=true
9 healthy=false failures=1 kill=false
14 look
15 save failures=0 healthy=true
15 healthy=true failures=0 kill=false
20 look
21 save failures=1 healthy=true
21 healthy=false failures=1 kill=false
`},
		{"a restarted agent goes on counting", health, &Record{Failures: 2, Healthy: true}, []int{1}, `2 look
3 save failures=3 healthy=true
3 healthy=false failures=3 kill=true
3 over
`},
		{"a check reports what changes and never kills", Plan{Probe: command0(), Interval: time.Second}, nil, []int{0, 0, 3, -1, -1, 3}, `0 look
1 result 0 
2 look
3 ignored: unchanged
4 look
5 result 3 
6 look
7 result 0 it took longer than 20s
8 look
9 ignored: unchanged
10 look
11 result 3 
`},
		{"without delay, interval and grace", Plan{Health: true, Probe: command0(), Failures: 1}, nil, []int{0, 1}, `0 look
1 save failures=0 healthy=true
1 healthy=true failures=0 kill=false
1 look
2 save failures=1 healthy=true
2 healthy=false failures=1 kill=true
2 over
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, play(New(tt.plan, started, tt.from), tt.codes...)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAnAnswerThatWasNotAskedForIsIgnored(t *testing.T) {
	w := New(Plan{Health: true, Probe: command0(), Failures: 1}, 0, nil)
	var out Out
	w.Step(machine.Now{Mono: time.Second}, In{}, &out)
	ask := out.Do[0].ID
	out.Reset()
	w.Step(machine.Now{Mono: 2 * time.Second}, In{Look: ask + 1, Result: &Result{Code: 1}}, &out)
	if len(out.Send)+len(out.Do)+len(out.Save) > 0 || w.Deadline() != machine.Never {
		t.Errorf("%+v", out)
	}
}

func TestATaskIsKilledExactlyWhenItsFailuresReachTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Uint32Range(1, 5).Draw(t, "limit")
		codes := rapid.SliceOfN(rapid.IntRange(0, 1), 1, 30).Draw(t, "codes")
		w := New(Plan{Health: true, Probe: command0(), Interval: time.Second, Failures: limit}, started, nil)
		said := play(w, codes...)
		run, killed := uint32(0), false
		for _, c := range codes {
			if run = run*uint32(c) + uint32(c); run >= limit {
				killed = true
				break
			}
		}
		if got := strings.Contains(said, "kill=true"); got != killed {
			t.Fatalf("killed %v, want %v:\n%s", got, killed, said)
		}
	})
}

func TestPlansHaveTheProtocolsDefaults(t *testing.T) {
	h := &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_COMMAND.Enum(), Command: &mesosv1.CommandInfo{Value: new("exit 0")}}
	got, err := OfHealth(h)
	if err != nil {
		t.Fatal(err)
	}
	want := Plan{
		Health: true, Probe: Probe{Command: &container.Command{Path: "/bin/sh", Args: []string{"sh", "-c", "exit 0"}}},
		Delay: 15 * time.Second, Interval: 10 * time.Second, Timeout: 20 * time.Second, Grace: 10 * time.Second, Failures: 3,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	c := &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_HTTP.Enum(), Http: &mesosv1.CheckInfo_Http{Port: proto.Uint32(80), Path: new("/x")}}
	if got, err = OfCheck(c); err != nil {
		t.Fatal(err)
	}
	want = Plan{Probe: Probe{HTTP: &HTTP{Scheme: "http", Port: 80, Path: "/x"}}, Delay: 15 * time.Second, Interval: 10 * time.Second, Timeout: 20 * time.Second}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAPlanThatMakesNoSenseNamesTheField(t *testing.T) {
	for text, field := range map[string]string{
		`{}`:                              "health_check.type",
		`{"type":"COMMAND"}`:              "health_check.command.value",
		`{"type":"HTTP"}`:                 "health_check.http.port",
		`{"type":"TCP","tcp":{"port":0}}`: "health_check.tcp.port",
		`{"type":"HTTP","http":{"port":80,"scheme":"ftp"}}`:            "health_check.http.scheme",
		`{"type":"HTTP","http":{"port":80,"path":"x"}}`:                "health_check.http.path",
		`{"type":"TCP","tcp":{"port":1},"timeout_seconds":-1}`:         "health_check.timeout_seconds",
		`{"type":"TCP","tcp":{"port":1},"grace_period_seconds":"NaN"}`: "health_check.grace_period_seconds",
	} {
		h := new(mesosv1.HealthCheck)
		if err := (protojson.UnmarshalOptions{AllowPartial: true}).Unmarshal([]byte(text), h); err != nil {
			t.Fatal(err)
		}
		if _, err := OfHealth(h); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v, want one that names %s", text, err, field)
		}
	}
}

func TestAResultIsToldInTheProtocolsForm(t *testing.T) {
	for _, tt := range []struct {
		probe  Probe
		result *Result
		want   string
	}{
		{command0(), nil, `{"type":"COMMAND","command":{}}`},
		{command0(), &Result{Err: "late"}, `{"type":"COMMAND","command":{}}`},
		{command0(), &Result{Code: 7}, `{"type":"COMMAND","command":{"exit_code":7}}`},
		{Probe{HTTP: &HTTP{}}, &Result{Code: 404}, `{"type":"HTTP","http":{"status_code":404}}`},
		{Probe{TCP: &TCP{}}, &Result{Code: 0}, `{"type":"TCP","tcp":{"succeeded":true}}`},
		{Probe{TCP: &TCP{}}, &Result{Code: 1}, `{"type":"TCP","tcp":{"succeeded":false}}`},
	} {
		want := new(mesosv1.CheckStatusInfo)
		if err := protojson.Unmarshal([]byte(tt.want), want); err != nil {
			t.Fatal(err)
		}
		if got := (&Plan{Probe: tt.probe}).Status(tt.result); !proto.Equal(want, got) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// portOf gives the port of a test server.
func portOf(t *testing.T, addr string) uint32 {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(p, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestLookingAtATask(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the agent was sent elsewhere") }))
	defer elsewhere.Close()
	hang := make(chan struct{})
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/sick", http.StatusFound)
		case "/away":
			http.Redirect(w, r, elsewhere.URL, http.StatusMovedPermanently)
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/hang":
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	})
	plain, secure := httptest.NewServer(pages), httptest.NewTLSServer(pages)
	defer plain.Close()
	defer secure.Close()
	defer close(hang)
	u, err := url.Parse(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	open, tlsPort := portOf(t, u.Host), portOf(t, secure.Listener.Addr().String())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := portOf(t, l.Addr().String())
	l.Close()

	rt := fake.NewMachine(nil).Open()
	defer rt.Close()
	if _, err := rt.Launch(t.Context(), container.Spec{ID: "c", Sandbox: "/", Path: "sleep", Args: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	looker := &Looker{Runtime: rt}
	page := func(scheme string, port uint32, path string) Probe {
		return Probe{HTTP: &HTTP{Scheme: scheme, Port: port, Path: path}}
	}
	run := func(args ...string) Probe { return Probe{Command: &container.Command{Args: args}} }
	for _, tt := range []struct {
		name  string
		probe Probe
		code  int
		err   string
	}{
		{"a page", page("http", open, "/"), 200, ""},
		{"no path", page("http", open, ""), 200, ""},
		{"a page over TLS", page("https", tlsPort, "/"), 200, ""},
		{"a redirect within the task", page("http", open, "/here"), 503, ""},
		{"a redirect to elsewhere", page("http", open, "/away"), 301, ""},
		{"a page that hangs", page("http", open, "/hang"), 0, "it took longer than 150ms"},
		{"nobody there", page("http", closed, "/"), 0, "refused"},
		{"a connection", Probe{TCP: &TCP{Port: open}}, 0, ""},
		{"no connection", Probe{TCP: &TCP{Port: closed}}, 1, ""},
		{"a command", run("sh", "-c", "exit 9"), 9, ""},
		{"a command that hangs", run("sleep", "1000"), 0, "it took longer than 150ms"},
		{"a command that is not there", run("/no/such"), 0, "not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			timeout := time.Minute
			if strings.Contains(tt.err, "longer") {
				timeout = 150 * time.Millisecond
			}
			got := looker.Look(context.Background(), "c", Look{Probe: tt.probe, Timeout: timeout})
			if got.Code != tt.code || (tt.err == "") != (got.Err == "") || !strings.Contains(got.Err, tt.err) {
				t.Errorf("%+v, want %d %q", got, tt.code, tt.err)
			}
		})
	}
}
