package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/mesos"
)

// maxAnswer bounds what one answer may take in memory.
const maxAnswer = 1 << 30

// Operator asks the leading master what it knows and gives it the orders of people. Its methods may be called from any
// goroutine.
type Operator struct{ masters *masters }

// NewOperator makes one for the cluster at these addresses, "host:port" each. A nil client is one that is shared.
func NewOperator(addresses []string, hc *http.Client) (*Operator, error) {
	m, err := newMasters(addresses, hc)
	if err != nil {
		return nil, err
	}
	return &Operator{m}, nil
}

// Get reads any endpoint of the leading master, such as "/state", as it is.
func (o *Operator) Get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	response, err := o.masters.do(ctx, func(base *url.URL) (*http.Request, error) {
		return get(ctx, base, path, query)
	})
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	return whole(response, path)
}

func get(ctx context.Context, base *url.URL, path string, query url.Values) (*http.Request, error) {
	u := base.JoinPath(path)
	u.RawQuery = query.Encode()
	return http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
}

func whole(response *http.Response, path string) ([]byte, error) {
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "GET %s: the answer broke off: %w", path, err)
	}
	if len(b) > maxAnswer {
		return nil, fault.New(fault.Invalid, "GET %s: the answer is larger than %d bytes", path, maxAnswer)
	}
	return b, nil
}

func (o *Operator) read(ctx context.Context, path string, query url.Values, into any) error {
	b, err := o.Get(ctx, path, query)
	if err != nil {
		return err
	}
	return parse(b, path, into)
}

func parse(b []byte, path string, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fault.New(fault.Internal, "GET %s: the answer cannot be read: %w", path, err)
	}
	return nil
}

func (o *Operator) post(ctx context.Context, path, contentType string, body []byte) error {
	response, err := o.masters.do(ctx, func(base *url.URL) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath(path).String(), bytes.NewReader(body))
		if err == nil {
			r.Header.Set("Content-Type", contentType)
		}
		return r, err
	})
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxMessage))
	return response.Body.Close()
}

// State reads /state: everything the master knows.
func (o *Operator) State(ctx context.Context) (*State, error) {
	var s State
	return &s, o.read(ctx, "/state", nil, &s)
}

// Agents reads /slaves: the registered agents.
func (o *Operator) Agents(ctx context.Context) ([]AgentInfo, error) {
	var answer struct {
		Slaves []AgentInfo `json:"slaves"`
	}
	return answer.Slaves, o.read(ctx, "/slaves", nil, &answer)
}

// Frameworks reads /frameworks: those that are registered, and those that have completed.
func (o *Operator) Frameworks(ctx context.Context) (active, completed []Framework, err error) {
	var answer struct {
		Frameworks []Framework `json:"frameworks"`
		Completed  []Framework `json:"completed_frameworks"`
	}
	err = o.read(ctx, "/frameworks", nil, &answer)
	return answer.Frameworks, answer.Completed, err
}

// taskPage is how many tasks one request asks for.
const taskPage = 5000

// Tasks reads /tasks: all tasks the master knows, completed ones among them, the latest first. Empty ids stand for any.
func (o *Operator) Tasks(ctx context.Context, frameworkID, taskID string) ([]Task, error) {
	var all []Task
	for {
		query := url.Values{"limit": {strconv.Itoa(taskPage)}, "offset": {strconv.Itoa(len(all))}}
		if frameworkID != "" {
			query.Set("framework_id", frameworkID)
		}
		if taskID != "" {
			query.Set("task_id", taskID)
		}
		var answer struct {
			Tasks []Task `json:"tasks"`
		}
		if err := o.read(ctx, "/tasks", query, &answer); err != nil {
			return nil, err
		}
		all = append(all, answer.Tasks...)
		if len(answer.Tasks) < taskPage {
			return all, nil
		}
	}
}

// TaskStatuses reads the statuses of one task with their reasons and messages, which /tasks leaves out. Apache Mesos has no
// such call; there it is fault.NotFound, as it is for a task that is not known.
func (o *Operator) TaskStatuses(ctx context.Context, frameworkID, taskID string) ([]*mesosv1.TaskStatus, error) {
	const path = "/pando/v1/task"
	b, err := o.Get(ctx, path, url.Values{"framework_id": {frameworkID}, "task_id": {taskID}})
	if err != nil {
		return nil, err
	}
	var task mesosv1.Task
	if err := mesos.UnmarshalJSON(b, &task); err != nil {
		return nil, fault.New(fault.Internal, "GET %s: the answer cannot be read: %w", path, err)
	}
	return task.Statuses, nil
}

// Teardown removes a framework and kills its tasks.
func (o *Operator) Teardown(ctx context.Context, frameworkID string) error {
	form := url.Values{"frameworkId": {frameworkID}}.Encode()
	return o.post(ctx, "/teardown", "application/x-www-form-urlencoded", []byte(form))
}

// Kill kills one task of any framework. Apache Mesos has no such call.
func (o *Operator) Kill(ctx context.Context, frameworkID, taskID string) error {
	body, err := json.Marshal(map[string]string{"framework_id": frameworkID, "task_id": taskID})
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	return o.post(ctx, "/pando/v1/kill", "application/json", body)
}

// Version reads /version.
func (o *Operator) Version(ctx context.Context) (Version, error) {
	var v Version
	return v, o.read(ctx, "/version", nil, &v)
}

// Health asks /health: nil when a master answers.
func (o *Operator) Health(ctx context.Context) error {
	_, err := o.Get(ctx, "/health", nil)
	return err
}

// Agent makes a client of the agent.
func (o *Operator) Agent(info AgentInfo) (*Agent, error) {
	_, address, ok := strings.Cut(info.PID, "@") // "slave(1)@10.0.0.7:5051"
	if !ok {
		return nil, fault.New(fault.Internal, "agent %s has no address: its pid is %q", info.ID, info.PID)
	}
	return NewAgent(address, o.masters.http)
}
