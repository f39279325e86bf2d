// Package fakecluster is a master and an agent in one test server, as far as the command line talks to them. What it
// answers to questions is what the original answered; what it does with tasks is what the test's script says.
package fakecluster

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos"
)

// The ids of the recorded answers.
const (
	FrameworkID = "f0f0f0f0-0000-4000-8000-000000000001-0000"
	AgentID     = "f0f0f0f0-0000-4000-8000-000000000001-S0"
)

// Cluster is the fake. Its methods may be called from any goroutine.
type Cluster struct {
	Address string // "127.0.0.1:port", of master and agent

	t      *testing.T
	script func(c *Cluster, task *mesosv1.TaskInfo)

	mu      sync.Mutex
	answers map[string]json.RawMessage // by path
	files   map[string]string
	events  chan *scheduler.Event // of the subscriber; nil when there is none
	states  map[string]*mesosv1.TaskStatus
	calls   []string      // what was called, in words
	more    chan struct{} // closed and replaced with each call
	offers  int
}

// New starts one. answers is a file of recorded answers by path, or empty. script is called in a goroutine of its own for
// each task that is launched.
func New(t *testing.T, answers string, script func(c *Cluster, task *mesosv1.TaskInfo)) *Cluster {
	t.Helper()
	c := &Cluster{
		t: t, script: script, answers: map[string]json.RawMessage{}, files: map[string]string{},
		states: map[string]*mesosv1.TaskStatus{}, more: make(chan struct{}),
	}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.Address = strings.TrimPrefix(server.URL, "http://")
	if answers != "" {
		c.load(answers)
	}
	return c
}

// load reads recorded answers; the agent in them is made to be at our own address.
func (c *Cluster) load(name string) {
	c.t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		c.t.Fatal(err)
	}
	b = []byte(strings.ReplaceAll(string(b), "127.0.0.1:5051", c.Address))
	var recorded map[string]struct {
		Status int
		Body   json.RawMessage
	}
	if err := json.Unmarshal(b, &recorded); err != nil {
		c.t.Fatal(err)
	}
	for p, a := range recorded {
		if a.Status == http.StatusOK {
			c.Answer(p, string(a.Body))
		}
	}
}

// Answer sets what GET of a path answers.
func (c *Cluster) Answer(path, body string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[path] = json.RawMessage(body)
}

// Write sets a file of the agent.
func (c *Cluster) Write(path, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[path] = text
}

// Output sets what a task of the subscriber wrote.
func (c *Cluster) Output(task, name, text string) {
	c.Write("/frameworks/"+FrameworkID+"/executors/"+task+"/runs/latest/"+name, text)
}

// Calls are the calls so far, in words: "ACCEPT", "KILL id", "POST /teardown body".
func (c *Cluster) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// Await returns when a call that begins with prefix was made n times, or fails with the test.
func (c *Cluster) Await(prefix string, n int) {
	for {
		c.mu.Lock()
		more, have := c.more, 0
		for _, call := range c.calls {
			if strings.HasPrefix(call, prefix) {
				have++
			}
		}
		c.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-more:
		case <-c.t.Context().Done():
			return
		}
	}
}

func (c *Cluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
	close(c.more)
	c.more = make(chan struct{})
}

// Offer offers an amount of the agent to the subscriber.
func (c *Cluster) Offer(cpus, mem float64) {
	c.mu.Lock()
	c.offers++
	id := strconv.Itoa(c.offers)
	c.mu.Unlock()
	scalar := func(name string, v float64) *mesosv1.Resource {
		return &mesosv1.Resource{
			Name: &name, Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v},
			AllocationInfo: &mesosv1.Resource_AllocationInfo{Role: new("*")},
		}
	}
	host, port, _ := strings.Cut(c.Address, ":")
	number, _ := strconv.ParseInt(port, 10, 32)
	c.send(&scheduler.Event{Type: scheduler.Event_OFFERS.Enum(), Offers: &scheduler.Event_Offers{Offers: []*mesosv1.Offer{{
		Id: &mesosv1.OfferID{Value: &id}, FrameworkId: &mesosv1.FrameworkID{Value: new(FrameworkID)},
		AgentId: &mesosv1.AgentID{Value: new(AgentID)}, Hostname: new("node-1"), Resources: []*mesosv1.Resource{scalar("cpus", cpus), scalar("mem", mem), scalar("disk", 1000)},
		Url: &mesosv1.URL{Scheme: new("http"), Address: &mesosv1.Address{Ip: &host, Port: new(int32(number))}},
	}}}})
}

// Update sends a status of a task, and remembers it for reconciliations.
func (c *Cluster) Update(task string, state mesosv1.TaskState, message string) {
	s := &mesosv1.TaskStatus{
		TaskId: &mesosv1.TaskID{Value: &task}, State: &state, Message: &message, AgentId: &mesosv1.AgentID{Value: new(AgentID)},
		Uuid: []byte("0123456789abcdef"),
	}
	c.mu.Lock()
	c.states[task] = s
	c.mu.Unlock()
	c.send(&scheduler.Event{Type: scheduler.Event_UPDATE.Enum(), Update: &scheduler.Event_Update{Status: s}})
}

func (c *Cluster) send(e *scheduler.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events != nil {
		c.events <- e
	}
}

// Cut closes the subscriber's stream, as a master does that goes down.
func (c *Cluster) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events != nil {
		close(c.events)
		c.events = nil
	}
}

// ServeHTTP answers as master and as agent.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	switch {
	case r.URL.Path == "/api/v1/scheduler":
		call := &scheduler.Call{}
		if err := proto.Unmarshal(body, call); err != nil {
			c.t.Error(err)
			return
		}
		c.scheduler(w, r, call)
	case r.URL.Path == "/files/read":
		c.read(w, r)
	case r.Method == http.MethodPost:
		c.note("POST %s %s", r.URL.Path, body)
		w.WriteHeader(http.StatusAccepted)
	default:
		c.mu.Lock()
		answer, ok := c.answers[r.URL.Path]
		c.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}
}

func (c *Cluster) read(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	text, ok := c.files[r.FormValue("path")]
	c.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	offset, _ := strconv.Atoi(r.FormValue("offset"))
	data := ""
	if offset < 0 {
		offset = len(text)
	} else {
		data = text[min(offset, len(text)):]
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data, "offset": offset})
}

func (c *Cluster) scheduler(w http.ResponseWriter, r *http.Request, call *scheduler.Call) {
	if call.GetType() == scheduler.Call_SUBSCRIBE {
		c.subscribe(w, r, call)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	switch call.GetType() {
	case scheduler.Call_ACCEPT:
		c.note("ACCEPT")
		op := call.GetAccept().GetOperations()[0]
		for _, task := range op.GetLaunchGroup().GetTaskGroup().GetTasks() {
			task.Executor = op.GetLaunchGroup().GetExecutor()
			go c.script(c, task)
		}
		for _, task := range op.GetLaunch().GetTaskInfos() {
			go c.script(c, task)
		}
	case scheduler.Call_KILL:
		c.note("KILL %s", call.GetKill().GetTaskId().GetValue())
	case scheduler.Call_RECONCILE:
		c.note("RECONCILE")
		c.mu.Lock()
		states := maps.Clone(c.states)
		c.mu.Unlock()
		for _, t := range call.GetReconcile().GetTasks() {
			s, ok := states[t.GetTaskId().GetValue()]
			if !ok {
				s = &mesosv1.TaskStatus{
					TaskId: t.GetTaskId(), State: mesosv1.TaskState_TASK_GONE.Enum(), Reason: mesosv1.TaskStatus_REASON_RECONCILIATION.Enum(),
				}
			}
			s = proto.Clone(s).(*mesosv1.TaskStatus)
			s.Uuid = nil
			c.send(&scheduler.Event{Type: scheduler.Event_UPDATE.Enum(), Update: &scheduler.Event_Update{Status: s}})
		}
	default:
		c.note("%s", call.GetType())
	}
}

func (c *Cluster) subscribe(w http.ResponseWriter, r *http.Request, call *scheduler.Call) {
	events := make(chan *scheduler.Event, 1000)
	c.mu.Lock()
	c.events = events
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Header().Set("Mesos-Stream-Id", "1")
	write := func(e *scheduler.Event) {
		b, err := proto.Marshal(e)
		if err != nil {
			c.t.Error(err)
		}
		_, _ = w.Write(mesos.AppendRecord(nil, b)) // the subscriber may have gone
		_ = http.NewResponseController(w).Flush()
	}
	write(&scheduler.Event{Type: scheduler.Event_SUBSCRIBED.Enum(), Subscribed: &scheduler.Event_Subscribed{
		FrameworkId: &mesosv1.FrameworkID{Value: new(FrameworkID)}, HeartbeatIntervalSeconds: new(15.0),
	}})
	c.note("SUBSCRIBE %s %v", call.GetFrameworkId().GetValue(), call.GetSubscribe().GetFrameworkInfo().GetFailoverTimeout())
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			write(e)
		case <-r.Context().Done():
			return
		}
	}
}
