package client

import (
	"encoding/json"
	"strings"

	"github.com/pando-os/pando/gen/mesosv1"
)

// The types below hold the members of the v0 endpoints that people and tools read. Members that are not listed are skipped;
// Operator.Get gives all of them.

// State is the answer of the master's /state.
type State struct {
	Version             string      `json:"version"`
	ID                  string      `json:"id"`
	PID                 string      `json:"pid"` // "master@ip:port"
	Hostname            string      `json:"hostname"`
	Cluster             string      `json:"cluster,omitempty"`
	Leader              string      `json:"leader"`
	StartTime           float64     `json:"start_time"`   // seconds since the epoch
	ElectedTime         float64     `json:"elected_time"` // seconds since the epoch
	Agents              []AgentInfo `json:"slaves"`
	Frameworks          []Framework `json:"frameworks"`
	CompletedFrameworks []Framework `json:"completed_frameworks"`
	ActivatedAgents     float64     `json:"activated_slaves"`
	DeactivatedAgents   float64     `json:"deactivated_slaves"`
	UnreachableAgents   float64     `json:"unreachable_slaves"`
	OrphanTasks         []Task      `json:"orphan_tasks"`
}

// AgentInfo is an agent as the master knows it.
type AgentInfo struct {
	ID             string         `json:"id"`
	Hostname       string         `json:"hostname"`
	Port           int            `json:"port"`
	PID            string         `json:"pid"` // "slave(1)@ip:port"
	Active         bool           `json:"active"`
	Deactivated    bool           `json:"deactivated"`
	Version        string         `json:"version"`
	RegisteredTime float64        `json:"registered_time"` // seconds since the epoch
	Attributes     map[string]any `json:"attributes"`
	Resources      Resources      `json:"resources"`
	Used           Resources      `json:"used_resources"`
	Offered        Resources      `json:"offered_resources"`
}

// Free is what no task uses of the agent's scalar resource; offers do not count.
func (a *AgentInfo) Free(name string) float64 { return a.Resources.Scalar(name) - a.Used.Scalar(name) }

// Framework is a framework as the master knows it.
type Framework struct {
	ID              string   `json:"id"`
	Name            string   `json:"name"`
	User            string   `json:"user"`
	Principal       string   `json:"principal,omitempty"`
	Hostname        string   `json:"hostname"`
	WebUIURL        string   `json:"webui_url"`
	Active          bool     `json:"active"`
	Connected       bool     `json:"connected"`
	Recovered       bool     `json:"recovered"`
	Role            string   `json:"role,omitempty"`
	Roles           []string `json:"roles,omitempty"`
	FailoverTimeout float64  `json:"failover_timeout"`  // seconds
	RegisteredTime  float64  `json:"registered_time"`   // seconds since the epoch
	Unregistered    float64  `json:"unregistered_time"` // seconds since the epoch; zero: it has not been
	Tasks           []Task   `json:"tasks"`
	Unreachable     []Task   `json:"unreachable_tasks"`
	Completed       []Task   `json:"completed_tasks"`
}

// AllRoles are its roles, whichever member they came in.
func (f *Framework) AllRoles() []string {
	if f.Role != "" {
		return []string{f.Role}
	}
	return f.Roles
}

// Task is a task as the master knows it.
type Task struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	FrameworkID string       `json:"framework_id"`
	ExecutorID  string       `json:"executor_id"` // empty for command tasks
	AgentID     string       `json:"slave_id"`
	State       string       `json:"state"` // TASK_RUNNING and its like
	Role        string       `json:"role"`
	User        string       `json:"user,omitempty"`
	Resources   Resources    `json:"resources"`
	Statuses    []TaskStatus `json:"statuses"` // the latest of each state, oldest first
}

// Executor is the id of the task's executor; that of a command task is the task's own.
func (t *Task) Executor() string {
	if t.ExecutorID != "" {
		return t.ExecutorID
	}
	return t.ID
}

// Sandbox is the path of the task's sandbox for Agent's methods: that of its executor's latest run.
func (t *Task) Sandbox() string {
	return "/frameworks/" + t.FrameworkID + "/executors/" + t.Executor() + "/runs/latest"
}

// Terminal says whether the task has ended and will not run again.
func (t *Task) Terminal() bool { return Terminal(t.State) }

// Terminal says whether a state by its name is an end. TASK_UNREACHABLE and TASK_UNKNOWN are none: such a task may come back.
func Terminal(state string) bool {
	switch strings.TrimPrefix(state, "TASK_") {
	case "FINISHED", "FAILED", "KILLED", "ERROR", "LOST", "DROPPED", "GONE", "GONE_BY_OPERATOR":
		return true
	}
	return false
}

// TaskStatus is one state of a task's life.
type TaskStatus struct {
	State           string          `json:"state"`
	Timestamp       float64         `json:"timestamp"` // seconds since the epoch
	Healthy         *bool           `json:"healthy,omitempty"`
	ContainerStatus ContainerStatus `json:"container_status"`
}

// ContainerID names a container, with the one that it is below.
type ContainerID struct {
	Value  string       `json:"value"`
	Parent *ContainerID `json:"parent,omitempty"`
}

// Proto is the same as a v1 message.
func (c *ContainerID) Proto() *mesosv1.ContainerID {
	if c == nil {
		return nil
	}
	return &mesosv1.ContainerID{Value: &c.Value, Parent: c.Parent.Proto()}
}

// ContainerStatus says in which container a task runs and where it can be reached.
type ContainerStatus struct {
	ContainerID  ContainerID `json:"container_id"`
	ExecutorPID  int         `json:"executor_pid,omitempty"`
	NetworkInfos []struct {
		Name        string `json:"name,omitempty"` // empty: the machine's own network
		IPAddresses []struct {
			IPAddress string `json:"ip_address"`
		} `json:"ip_addresses"`
		PortMappings []struct {
			HostPort      uint32 `json:"host_port"`
			ContainerPort uint32 `json:"container_port"`
			Protocol      string `json:"protocol,omitempty"` // empty: tcp
		} `json:"port_mappings,omitempty"`
	} `json:"network_infos,omitempty"`
}

// Version is the answer of /version.
type Version struct {
	Version   string  `json:"version"` // of Mesos' API, such as 1.11.0
	BuildDate string  `json:"build_date"`
	BuildTime float64 `json:"build_time"`
	BuildUser string  `json:"build_user"`
}

// Resources are amounts by name: numbers for scalars, texts such as "[31000-32000]" for ranges and sets.
type Resources map[string]any

// Scalar is the amount of a scalar resource, zero when there is none.
func (r Resources) Scalar(name string) float64 {
	switch v := r[name].(type) {
	case float64:
		return v
	case json.Number:
		f, _ := v.Float64() // not a number counts as none
		return f
	}
	return 0
}
