package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/mesos"
)

// asExecutor makes this program an executor. Its value says how: json or protobuf, with socket it goes by way of the agent's
// UNIX socket, with once it never subscribes again.
const asExecutor = "PANDO_E2E_EXECUTOR"

// myExecutor is an executor of a framework's own, as frameworks bring one. A task whose id begins with "quick" ends at once,
// one with "die" ends the executor, one with data ends when the file of that name is there. The others run until they are
// killed. What is sent to it, it sends back.
type myExecutor struct {
	how    string
	url    string
	client *http.Client

	mu      sync.Mutex
	tasks   []*mesosv1.TaskInfo          // of which no update was acknowledged
	updates []*executor.Call_Update      // that were not acknowledged
	running map[string]*mesosv1.TaskInfo // by id
}

func executorMain(how string) int {
	x := &myExecutor{how: how, running: map[string]*mesosv1.TaskInfo{}}
	x.url = "http://" + os.Getenv("MESOS_AGENT_ENDPOINT") + "/api/v1/executor"
	transport := &http.Transport{}
	if strings.Contains(how, "socket") {
		socket := os.Getenv("MESOS_DOMAIN_SOCKET")
		x.url = "http://nobody/slave(1)/api/v1/executor"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}
	}
	x.client = &http.Client{Transport: transport}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if code, ended := x.subscription(); ended {
			return code
		}
		if strings.Contains(how, "once") {
			time.Sleep(patience)
		}
	}
	return 4
}

// post makes a call.
func (x *myExecutor) post(call *executor.Call) (*http.Response, error) {
	call.ExecutorId = &mesosv1.ExecutorID{Value: new(os.Getenv("MESOS_EXECUTOR_ID"))}
	call.FrameworkId = &mesosv1.FrameworkID{Value: new(os.Getenv("MESOS_FRAMEWORK_ID"))}
	body, err := proto.Marshal(call)
	media := "application/x-protobuf"
	if strings.Contains(x.how, "json") {
		body, err = mesos.AppendJSON(nil, call)
		media = "application/json"
	}
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, x.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", media)
	r.Header.Set("Accept", media)
	return x.client.Do(r)
}

// update tells a state; one that does not arrive is told with the next subscription.
func (x *myExecutor) update(task string, state mesosv1.TaskState) {
	id := uuid.New()
	u := &executor.Call_Update{Status: &mesosv1.TaskStatus{
		TaskId: &mesosv1.TaskID{Value: &task}, State: &state, Source: mesosv1.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: id[:],
	}}
	x.mu.Lock()
	x.updates = append(x.updates, u)
	x.mu.Unlock()
	if w, err := x.post(&executor.Call{Type: executor.Call_UPDATE.Enum(), Update: u}); err == nil {
		w.Body.Close()
	}
}

// subscription subscribes and obeys until the stream ends, or the executor.
func (x *myExecutor) subscription() (code int, ended bool) {
	x.mu.Lock()
	call := &executor.Call{Type: executor.Call_SUBSCRIBE.Enum(), Subscribe: &executor.Call_Subscribe{UnacknowledgedTasks: x.tasks, UnacknowledgedUpdates: x.updates}}
	x.mu.Unlock()
	w, err := x.post(call)
	if err != nil {
		return 0, false
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, "SUBSCRIBE:", w.Status)
		return 0, false
	}
	for records := mesos.NewRecordReader(bufio.NewReader(w.Body), 1<<20); ; {
		b, err := records.Next()
		if err != nil {
			return 0, false
		}
		e := &executor.Event{}
		if strings.Contains(x.how, "json") {
			err = mesos.UnmarshalJSON(b, e)
		} else {
			err = mesos.DecodeProto(b, e)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 5, true
		}
		if code, ended := x.obey(e); ended {
			return code, true
		}
	}
}

func (x *myExecutor) obey(e *executor.Event) (code int, ended bool) {
	switch e.GetType() {
	case executor.Event_LAUNCH:
		task := e.GetLaunch().GetTask()
		id := task.GetTaskId().GetValue()
		x.mu.Lock()
		x.tasks = append(x.tasks, task)
		x.running[id] = task
		x.mu.Unlock()
		x.update(id, mesosv1.TaskState_TASK_RUNNING)
		switch {
		case strings.HasPrefix(id, "die"):
			return 3, true
		case strings.HasPrefix(id, "bad"):
			go x.misbehave()
		case strings.HasPrefix(id, "hushed"): // it and its executor have the same secret
			if s := task.GetContainer().GetVolumes()[0].GetSource().GetSecret(); string(s.GetValue().GetData()) != os.Getenv(secretEnv) || len(os.Getenv(secretEnv)) == 0 {
				x.update(id, mesosv1.TaskState_TASK_FAILED)
			}
		case strings.HasPrefix(id, "quick"):
			x.update(id, mesosv1.TaskState_TASK_FINISHED)
		case len(task.GetData()) > 0:
			go func() {
				for file := string(task.GetData()); ; time.Sleep(10 * time.Millisecond) {
					if _, err := os.Stat(file); err == nil {
						x.update(id, mesosv1.TaskState_TASK_FINISHED)
						_ = os.WriteFile(file+".seen", nil, 0o600) // the test waits in vain otherwise
						return
					}
				}
			}()
		}
	case executor.Event_KILL:
		x.update(e.GetKill().GetTaskId().GetValue(), mesosv1.TaskState_TASK_KILLED)
	case executor.Event_ACKNOWLEDGED:
		a := e.GetAcknowledged()
		x.mu.Lock()
		var left []*executor.Call_Update
		for _, u := range x.updates {
			if !bytes.Equal(u.GetStatus().GetUuid(), a.GetUuid()) {
				left = append(left, u)
			}
		}
		var tasks []*mesosv1.TaskInfo
		for _, t := range x.tasks {
			if t.GetTaskId().GetValue() != a.GetTaskId().GetValue() {
				tasks = append(tasks, t)
			}
		}
		x.updates, x.tasks = left, tasks
		x.mu.Unlock()
	case executor.Event_MESSAGE:
		if w, err := x.post(&executor.Call{Type: executor.Call_MESSAGE.Enum(), Message: &executor.Call_Message{Data: e.GetMessage().GetData()}}); err == nil {
			w.Body.Close()
		}
	case executor.Event_SHUTDOWN:
		if strings.Contains(x.how, "bad") {
			return 0, false
		}
		return 0, true
	case executor.Event_HEARTBEAT:
		fmt.Fprintln(os.Stderr, "a heartbeat came within a test")
		return 6, true
	}
	return 0, false
}
