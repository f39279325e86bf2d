package nested

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/fake"
	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/core/workload"
	"github.com/pando-os/pando/internal/serve"
	"github.com/pando-os/pando/mesos"
)

// stand is a server of the calls without an agent around it: one container with a terminal, which echoes, and what the book
// is told.
type stand struct {
	*Server
	url  string
	time *clock.Fake
	view atomic.Pointer[workload.View]

	mu   sync.Mutex
	told []workload.In
}

func newStand(t *testing.T) *stand {
	t.Helper()
	machine := fake.NewMachine(nil)
	runtime := machine.Open()
	t.Cleanup(func() { _ = runtime.Close() }) // it cannot fail
	_, err := runtime.Launch(t.Context(), container.Spec{ID: "the-name", Path: "cat", Args: []string{"cat"}, Terminal: &container.Terminal{}, Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{time: clock.NewFake(time.Unix(1_700_000_000, 0))}
	s.shows(&workload.NestedView{Spec: &workload.Nested{Path: "cat", Container: "the-name"}, PID: 5})
	s.Server = New(Deps{
		Runtime: runtime, View: s.view.Load, Clock: s.time, Log: slog.New(slog.DiscardHandler), WorkDir: t.TempDir(), User: "root",
		Put: func(_ context.Context, in workload.In) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.told = append(s.told, in)
			return nil
		},
	})
	ctx, end := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stream, json, ok := serve.RecordsBody(w, r); stream {
			s.ServeInput(ctx, w, r, json)
			return
		} else if !ok {
			return
		}
		body, _, _ := serve.CallBody(w, r)
		call := &genagent.Call{}
		if err := serve.DecodeCall(body, true, call); err != nil {
			t.Error(err)
		}
		m, _ := serve.AnswerMedia(w, r)
		s.Serve(ctx, w, r, call, m)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(end)
	s.url = server.URL
	return s
}

func (s *stand) shows(v *workload.NestedView) {
	s.view.Store(&workload.View{Nested: []*workload.NestedView{v}})
}

func (s *stand) post(t *testing.T, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() }) // it may be closed
	return resp
}

const attachCat = `{"type":"ATTACH_CONTAINER_OUTPUT","attach_container_output":{"container_id":{"value":"cat"}}}`

func TestAnOutputStreamHasHeartbeatsInItsEncoding(t *testing.T) {
	for _, kind := range []string{serve.TypeJSON, serve.TypeProtobuf} {
		s := newStand(t)
		resp := s.post(t, bytes.NewBufferString(attachCat), "Content-Type", serve.TypeJSON, "Accept", serve.TypeRecordIO, "Message-Accept", kind)
		if h := resp.Header; h.Get("Content-Type") != serve.TypeRecordIO || h.Get("Message-Content-Type") != kind {
			t.Errorf("the head says %v", h)
		}
		records := mesos.NewRecordReader(resp.Body, 1<<20)
		next := func() *genagent.ProcessIO {
			b, err := records.Next()
			if err != nil {
				t.Fatal(err)
			}
			p := &genagent.ProcessIO{}
			if kind == serve.TypeJSON {
				err = mesos.UnmarshalJSON(b, p)
			} else {
				err = proto.Unmarshal(b, p)
			}
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		defer context.AfterFunc(ctx, func() { _ = resp.Body.Close() })() // who reads on is told
		advance := func(d time.Duration) {                               // and lets what came due be done
			t.Helper()
			err := s.time.Await(ctx, 1)
			s.time.Advance(d)
			if err = errors.Join(err, s.time.Await(ctx, 1)); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 { // half of which are too early for one
			advance(beat / 2)
		}
		for range 2 {
			if p := next(); p.GetControl().GetType() != genagent.ProcessIO_Control_HEARTBEAT || p.GetControl().GetHeartbeat().GetInterval().GetNanoseconds() != int64(30*time.Second) {
				t.Errorf("while nothing is written there came %v", p)
			}
		}
		input := func(in string) []byte {
			return []byte(`{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":` + in + `}`)
		}
		body := mesos.AppendRecord(nil, input(`{"type":"CONTAINER_ID","container_id":{"value":"cat"}}`))
		body = mesos.AppendRecord(body, input(`{"type":"PROCESS_IO","process_io":{"type":"CONTROL","control":{"type":"HEARTBEAT"}}}`))
		body = mesos.AppendRecord(body, input(`{"type":"PROCESS_IO","process_io":{"type":"DATA","data":{"type":"STDIN","data":"aGVsbG8="}}}`))
		if r := s.post(t, bytes.NewReader(body), "Content-Type", serve.TypeRecordIO, "Message-Content-Type", serve.TypeJSON); r.StatusCode != http.StatusOK {
			t.Errorf("the input was answered %d", r.StatusCode)
		}
		if p := next(); p.GetData().GetType() != genagent.ProcessIO_Data_STDOUT || string(p.GetData().GetData()) != "hello" {
			t.Errorf("then came %v", p)
		}
		body = mesos.AppendRecord(body[:0], input(`{"type":"CONTAINER_ID","container_id":{"value":"cat"}}`))
		body = mesos.AppendRecord(body, input(`{"type":"PROCESS_IO","process_io":{"type":"DATA","data":{"type":"STDOUT","data":"aGVsbG8="}}}`))
		if r := s.post(t, bytes.NewReader(body), "Content-Type", serve.TypeRecordIO, "Message-Content-Type", serve.TypeJSON); r.StatusCode != http.StatusBadRequest {
			t.Errorf("output as input was answered %d", r.StatusCode)
		}
	}
}

func TestHeartbeatsOfAnInputStreamReachNoProcessAndEndNothing(t *testing.T) {
	for name, terminal := range map[string]*container.Terminal{"a session": nil, "a terminal": {}} {
		for _, kind := range []string{serve.TypeJSON, serve.TypeProtobuf} {
			t.Run(name+" in "+kind, func(t *testing.T) {
				s := newStand(t)
				for _, spec := range []container.Spec{
					{ID: "above", Alone: true},
					{ID: "below", Parent: "above", Path: "cat", Args: []string{"cat"}, Session: true, Terminal: terminal},
				} {
					if _, err := s.deps.Runtime.Launch(t.Context(), spec); err != nil {
						t.Fatal(err)
					}
				}
				s.shows(&workload.NestedView{Spec: &workload.Nested{Path: "cat", Container: "below"}, PID: 6})
				out, err := s.deps.Runtime.Attach(t.Context(), "below", container.AttachSession)
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				defer context.AfterFunc(ctx, out.Close)() // who reads on is told
				says := func(want string) {
					t.Helper()
					if _, data, err := out.Read(); string(data) != want || err != nil {
						t.Errorf("it writes %q (%v), want %q", data, err, want)
					}
				}
				body, pipe := io.Pipe()
				send := func(inputs ...*genagent.Call_AttachContainerInput) {
					t.Helper()
					for _, in := range inputs {
						call := &genagent.Call{Type: genagent.Call_ATTACH_CONTAINER_INPUT.Enum(), AttachContainerInput: in}
						b, err := proto.Marshal(call)
						if kind == serve.TypeJSON {
							b, err = mesos.AppendJSON(nil, call)
						}
						if err == nil {
							_, err = pipe.Write(mesos.AppendRecord(nil, b))
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
				say := func(p *genagent.ProcessIO) *genagent.Call_AttachContainerInput {
					return &genagent.Call_AttachContainerInput{Type: genagent.Call_AttachContainerInput_PROCESS_IO.Enum(), ProcessIo: p}
				}
				data := func(words string) *genagent.Call_AttachContainerInput {
					return say(&genagent.ProcessIO{Type: genagent.ProcessIO_DATA.Enum(), Data: &genagent.ProcessIO_Data{Type: genagent.ProcessIO_Data_STDIN.Enum(), Data: []byte(words)}})
				}
				beats := func(h *genagent.ProcessIO_Control_Heartbeat) *genagent.Call_AttachContainerInput {
					return say(&genagent.ProcessIO{Type: genagent.ProcessIO_CONTROL.Enum(), Control: &genagent.ProcessIO_Control{Type: genagent.ProcessIO_Control_HEARTBEAT.Enum(), Heartbeat: h}})
				}
				with := beats(&genagent.ProcessIO_Control_Heartbeat{Interval: &mesosv1.DurationInfo{Nanoseconds: new(int64(beat))}})
				answered := make(chan int, 1)
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{"Content-Type": {serve.TypeRecordIO}, "Message-Content-Type": {kind}}
				go func() {
					defer close(answered)
					resp, err := http.DefaultClient.Do(r)
					_ = body.CloseWithError(err) // whoever writes is told
					if err == nil {
						_ = resp.Body.Close() // it is empty
						answered <- resp.StatusCode
					}
				}()
				send(&genagent.Call_AttachContainerInput{Type: genagent.Call_AttachContainerInput_CONTAINER_ID.Enum(), ContainerId: &mesosv1.ContainerID{Value: new("cat")}})
				send(with, beats(nil), with, data("hello"))
				says("hello")
				for range 10 {
					send(with)
				}
				send(data("still here"))
				says("still here")
				send(with)
				if err := pipe.Close(); err != nil {
					t.Fatal(err)
				}
				if status := <-answered; status != http.StatusOK {
					t.Errorf("the stream was answered %d", status)
				}
			})
		}
	}
}

// waiters is how many calls of WAIT are under way.
func (s *stand) waiters() int {
	s.Server.mu.Lock()
	defer s.Server.mu.Unlock()
	return s.waiting
}

func (s *stand) until(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); s.waiters() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d wait, want %d", s.waiters(), n)
		}
	}
}

func TestCallsThatWaitAreAnsweredOnceAndLeaveNothing(t *testing.T) {
	s := newStand(t)
	const waits = `{"type":"WAIT_CONTAINER","wait_container":{"container_id":{"value":"cat"}}}`
	answers := make(chan string, 3)
	ask := func(ctx context.Context) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewBufferString(waits))
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Content-Type", serve.TypeJSON)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			answers <- "gone"
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body) // what there is of it is compared
		answers <- string(b)
	}
	leaving, leave := context.WithCancel(t.Context())
	go ask(t.Context())
	go ask(t.Context())
	go ask(leaving)
	s.until(t, 3)
	leave()
	if got := <-answers; got != "gone" {
		t.Errorf("who left was told %s", got)
	}
	s.until(t, 2)
	ended := &workload.NestedView{Spec: &workload.Nested{Path: "cat", Container: "the-name"}, PID: 5, Exit: &workload.Exit{Status: 9, Known: true, OOM: true, Limit: 64 << 20}}
	s.shows(ended)
	s.Ended(ended)
	for range 2 {
		var got map[string]any
		if err := json.Unmarshal([]byte(<-answers), &got); err != nil {
			t.Fatal(err)
		}
		w, _ := got["wait_container"].(map[string]any)
		want := map[string]any{"exit_status": 9.0, "state": "TASK_FAILED", "reason": "REASON_CONTAINER_LIMITATION_MEMORY"}
		for k := range want {
			if d := cmp.Diff(want[k], w[k]); d != "" {
				t.Errorf("%s: %s", k, d)
			}
		}
	}
	s.until(t, 0)
	ask(t.Context()) // of what has ended
	<-answers
	s.until(t, 0)
	s.shows(&workload.NestedView{Spec: &workload.Nested{Path: "cat", Container: "another"}, PID: 6})
	s.Server.mu.Lock()
	s.waiting = maxWaiters
	s.Server.mu.Unlock()
	if r := s.post(t, bytes.NewBufferString(waits), "Content-Type", serve.TypeJSON); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more than may was answered %d", r.StatusCode)
	}
	s.Server.mu.Lock()
	s.waiting = 0
	s.Server.mu.Unlock()
	go ask(t.Context())
	s.until(t, 1)
	s.Stop() // the agent ends
	if got := <-answers; got == "gone" || len(s.Server.waiters) != 0 {
		t.Errorf("who waited was told %q", got)
	}
}
