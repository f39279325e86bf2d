package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/clock"
	"github.com/pando-os/pando/internal/fault"
)

// recorded serves what the original answered.
func recorded(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var answers map[string]struct {
		Status int
		Body   json.RawMessage
	}
	if err := json.Unmarshal(b, &answers); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := answers[r.URL.Path]
		if !ok {
			a.Status = http.StatusNotFound
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTheOriginalsAnswersAreRead(t *testing.T) {
	o, err := NewOperator([]string{recorded(t, "testdata/master.json")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const agentID, frameworkID = "f0f0f0f0-0000-4000-8000-000000000001-S0", "f0f0f0f0-0000-4000-8000-000000000001-0000"
	agents, err := o.Agents(t.Context())
	if err != nil || len(agents) != 1 {
		t.Fatal(agents, err)
	}
	if a := agents[0]; a.ID != agentID || !a.Active || a.Port != 5051 || a.Free("cpus") != 3.9 || a.Free("mem") != 4064 || a.Resources["ports"] != "[31000-32000]" {
		t.Errorf("agent %+v", a)
	}
	tasks, err := o.Tasks(t.Context(), "", "")
	if err != nil || len(tasks) != 2 {
		t.Fatal(tasks, err)
	}
	var got []string
	for _, task := range tasks {
		got = append(got, fmt.Sprint(task.ID, " ", task.State, " ", task.Terminal(), " ", task.Sandbox(), " ", len(task.Statuses)))
	}
	want := []string{
		"runs TASK_RUNNING false /frameworks/" + frameworkID + "/executors/runs/runs/latest 2",
		"done TASK_FINISHED true /frameworks/" + frameworkID + "/executors/done/runs/latest 3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	active, completed, err := o.Frameworks(t.Context())
	if err != nil || len(active) != 1 || len(completed) != 0 || active[0].Name != "watched" || len(active[0].Tasks) != 1 {
		t.Errorf("frameworks %+v, %+v, %v", active, completed, err)
	}
	state, err := o.State(t.Context())
	if err != nil || len(state.Agents) != 1 || len(state.Frameworks) != 1 || state.Version != "1.11.0" {
		t.Errorf("state %+v, %v", state, err)
	}
	if v, err := o.Version(t.Context()); err != nil || v.Version != "1.11.0" {
		t.Errorf("version %+v, %v", v, err)
	}
	if err := o.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := o.Get(t.Context(), "/nothing", nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("an endpoint that is not there: %v", err)
	}
	if _, err := o.TaskStatuses(t.Context(), frameworkID, "done"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a call the original lacks: %v", err)
	}
}

func TestOrdersCarryWhatTheyAreAbout(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprint(r.Method, " ", r.URL, " ", r.Header.Get("Content-Type"), " ", string(body)))
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	o, err := NewOperator([]string{server.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Teardown(t.Context(), "f 1"); err != nil {
		t.Error(err)
	}
	if err := o.Kill(t.Context(), "f", "t"); err != nil {
		t.Error(err)
	}
	want := []string{
		"POST /teardown application/x-www-form-urlencoded frameworkId=f+1",
		`POST /pando/v1/kill application/json {"framework_id":"f","task_id":"t"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheNextMasterIsAskedWhenOneIsDown(t *testing.T) {
	down := httptest.NewServer(nil)
	down.Close()
	o, err := NewOperator([]string{down.URL, recorded(t, "testdata/master.json")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Agents(t.Context()); err != nil {
		t.Fatal(err)
	}
	alone, err := NewOperator([]string{down.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.Agents(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("got %v", err)
	}
}

// fakeFiles is an agent that has files, and serves at most piece bytes at a time.
type fakeFiles struct {
	mu    sync.Mutex
	files map[string]string
	piece int
}

func (f *fakeFiles) set(name, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[name] = text
}

func (f *fakeFiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.files[r.FormValue("path")]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	offset, _ := strconv.Atoi(r.FormValue("offset"))
	if offset < 0 {
		fmt.Fprintf(w, `{"data":"","offset":%d}`, len(text))
		return
	}
	data := text[min(offset, len(text)):]
	data = data[:min(f.piece, len(data))]
	fmt.Fprintf(w, `{"data":"%s","offset":%d}`, strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\x00", `\u0000`).Replace(data), offset)
}

func (f *fakeFiles) agent(t *testing.T) *Agent {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	a, err := NewAgent(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// notify is a writer that tells how much it has got.
type notify struct {
	bytes.Buffer
	got chan int
}

func (n *notify) Write(b []byte) (int, error) {
	written, err := n.Buffer.Write(b)
	n.got <- n.Len()
	return written, err
}

func (n *notify) await(length int) {
	for have := range n.got {
		if have >= length {
			return
		}
	}
}

func TestTailCopiesAllThatWasWrittenAcrossRotations(t *testing.T) {
	f := &fakeFiles{files: map[string]string{}, piece: 4}
	ended := make(chan struct{})
	out := &notify{got: make(chan int, 100)}
	done := make(chan error, 1)
	agent := f.agent(t)
	go func() { done <- agent.Tail(t.Context(), clock.Real(), "stdout", 0, out, ended) }()
	f.set("stdout", "first \"line\"\n")
	out.await(13)
	f.set("stdout.1", "first \"line\"\nrest of the old file\n")
	f.set("stdout", "new\x00\xff\n")
	out.await(13 + 21 + 6)
	f.set("stdout", "new\x00\xff\nlast words")
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := "first \"line\"\nrest of the old file\nnew\x00\xff\nlast words"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTailOfAFileThatNeverCameIsEmpty(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	var out bytes.Buffer
	agent := (&fakeFiles{}).agent(t)
	if err := agent.Tail(t.Context(), clock.Real(), "stdout", 0, &out, ended); err != nil || out.Len() != 0 {
		t.Fatal(err, out.String())
	}
}

func TestTailEndsWhenItsWriterFails(t *testing.T) {
	agent := (&fakeFiles{files: map[string]string{"f": "text"}, piece: 9}).agent(t)
	r, w := io.Pipe()
	_ = r.Close()
	if err := agent.Tail(t.Context(), clock.Real(), "f", 0, w, make(chan struct{})); err == nil {
		t.Fatal("no error")
	}
}

func TestBytesOfAFileSurviveTheJSON(t *testing.T) {
	for answer, want := range map[string]string{
		`{"data":"a\n\"\\\/\u0041\ud83d\ude00` + "\xff" + `","offset":7}`: "a\n\"\\/A\U0001f600\xff",
		`{"offset": 7, "data" : ""}`:                                      "",
	} {
		got, offset, err := parseRead([]byte(answer))
		if err != nil || string(got) != want || offset != 7 {
			t.Errorf("%s: got %q, %d, %v", answer, got, offset, err)
		}
	}
	for _, bad := range []string{``, `{`, `{"data":"`, `{"data":7}`, `{"offset":1}`, `{"data":"\q"}`, `{"data":"\u12"}`, `{"data":""`} {
		if _, _, err := parseRead([]byte(bad)); err == nil {
			t.Errorf("read %q", bad)
		}
	}
}

func FuzzParseRead(f *testing.F) {
	f.Add([]byte(`{"data":"a\n\ud83d\ude00","offset":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		data, _, err := parseRead(b)
		if err == nil && len(data) > len(b) {
			t.Errorf("%d bytes became %d", len(b), len(data))
		}
	})
}
