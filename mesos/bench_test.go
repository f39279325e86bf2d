package mesos

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// The plain structs are what a Go program would use with encoding/json.
type (
	plainID struct {
		Value string `json:"value"`
	}
	plainLabel struct {
		Key   string `json:"key"`
		Value string `json:"value,omitempty"`
	}
	plainResource struct {
		Name   string `json:"name"`
		Type   string `json:"type"`
		Scalar *struct {
			Value float64 `json:"value"`
		} `json:"scalar,omitempty"`
		Ranges *struct {
			Range []struct{ Begin, End uint64 } `json:"range"`
		} `json:"ranges,omitempty"`
		AllocationInfo *struct {
			Role string `json:"role"`
		} `json:"allocation_info,omitempty"`
		Reservations []struct {
			Type, Role, Principal string
			Labels                *struct {
				Labels []plainLabel `json:"labels"`
			} `json:"labels,omitempty"`
		} `json:"reservations,omitempty"`
	}
	plainOffer struct {
		ID             plainID          `json:"id"`
		FrameworkID    plainID          `json:"framework_id"`
		AgentID        plainID          `json:"agent_id"`
		Hostname       string           `json:"hostname"`
		URL            any              `json:"url,omitempty"`
		Domain         any              `json:"domain,omitempty"`
		Resources      []plainResource  `json:"resources"`
		Attributes     []plainAttribute `json:"attributes"`
		ExecutorIDs    []plainID        `json:"executor_ids"`
		AllocationInfo *struct {
			Role string `json:"role"`
		} `json:"allocation_info,omitempty"`
	}
	plainAttribute struct {
		Name   string `json:"name"`
		Type   string `json:"type"`
		Scalar *struct {
			Value float64 `json:"value"`
		} `json:"scalar,omitempty"`
		Text *plainID `json:"text,omitempty"`
	}
	plainStatus struct {
		TaskID          plainID  `json:"task_id"`
		State           string   `json:"state"`
		Source          string   `json:"source"`
		AgentID         *plainID `json:"agent_id,omitempty"`
		ExecutorID      *plainID `json:"executor_id,omitempty"`
		Timestamp       float64  `json:"timestamp"`
		UUID            []byte   `json:"uuid,omitempty"`
		Healthy         *bool    `json:"healthy,omitempty"`
		ContainerStatus *struct {
			ContainerID  plainID `json:"container_id"`
			ExecutorPID  uint32  `json:"executor_pid"`
			NetworkInfos []struct {
				IPAddresses []struct {
					Protocol  string `json:"protocol"`
					IPAddress string `json:"ip_address"`
				} `json:"ip_addresses"`
			} `json:"network_infos"`
		} `json:"container_status,omitempty"`
	}
	plainCall struct {
		FrameworkID plainID `json:"framework_id"`
		Type        string  `json:"type"`
		Acknowledge *struct {
			AgentID plainID `json:"agent_id"`
			TaskID  plainID `json:"task_id"`
			UUID    []byte  `json:"uuid"`
		} `json:"acknowledge,omitempty"`
		Accept *struct {
			OfferIDs   []plainID `json:"offer_ids"`
			Operations []struct {
				Type   string `json:"type"`
				Launch *struct {
					TaskInfos []struct {
						Name      string          `json:"name"`
						TaskID    plainID         `json:"task_id"`
						AgentID   plainID         `json:"agent_id"`
						Resources []plainResource `json:"resources"`
						Command   *struct {
							Value       string   `json:"value"`
							Shell       *bool    `json:"shell,omitempty"`
							Arguments   []string `json:"arguments,omitempty"`
							Environment *struct {
								Variables []struct{ Name, Value string } `json:"variables"`
							} `json:"environment,omitempty"`
						} `json:"command,omitempty"`
						Labels *struct {
							Labels []plainLabel `json:"labels"`
						} `json:"labels,omitempty"`
					} `json:"task_infos"`
				} `json:"launch,omitempty"`
			} `json:"operations"`
			Filters *struct {
				RefuseSeconds float64 `json:"refuse_seconds"`
			} `json:"filters,omitempty"`
		} `json:"accept,omitempty"`
	}
)

func plain[T any](tb testing.TB, text []byte) *T {
	tb.Helper()
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		tb.Fatal(err)
	}
	return v
}

func BenchmarkOffer(b *testing.B) {
	o := benchmarkOffer(b)
	m, p := o.message(b), plain[plainOffer](b, o.AppendJSON(nil))
	compareEncoders(b, func(dst []byte) []byte { return o.AppendProto(dst) }, func(dst []byte) []byte { return o.AppendJSON(dst) }, m, p)
}

func BenchmarkStatus(b *testing.B) {
	s := benchmarkStatus(b)
	m := &mesosv1.TaskStatus{}
	if err := DecodeProto(s.AppendProto(nil), m); err != nil {
		b.Fatal(err)
	}
	compareEncoders(b, func(dst []byte) []byte { return s.AppendProto(dst) }, func(dst []byte) []byte { return s.AppendJSON(dst) }, m, plain[plainStatus](b, s.AppendJSON(nil)))
}

func compareEncoders(b *testing.B, wire, text func([]byte) []byte, m proto.Message, p any) {
	b.Helper()
	buf := make([]byte, 0, 1<<16)
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
	run("proto/ours", func() { wire(buf) })
	run("proto/theirs", func() { _, _ = proto.MarshalOptions{}.MarshalAppend(buf, m) })
	run("json/ours", func() { text(buf) })
	run("json/encodingjson", func() { _, _ = json.Marshal(p) })
	run("json/general", func() { _, _ = AppendJSON(buf, m) })
}

const acknowledgeJSON = `{"type":"ACKNOWLEDGE","framework_id":{"value":"3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42-0001"},"acknowledge":{"agent_id":{"value":"3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42-S17"},"task_id":{"value":"service.web.3f2b6a1e.instance-17"},"uuid":"MDEyMzQ1Njc4OWFiY2RlZg=="}}`

const acceptJSON = `{"type": "ACCEPT", "framework_id": {"value": "3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42-0001"}, "accept": {"offer_ids": [{"value": "3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42-O1234"}], "operations": [{"type": "LAUNCH", "launch": {"task_infos": [
 {"name": "web", "task_id": {"value": "service.web.3f2b6a1e.instance-17"}, "agent_id": {"value": "3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42-S17"}, "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}, "allocation_info": {"role": "web"}}, {"name": "mem", "type": "SCALAR", "scalar": {"value": 128}, "allocation_info": {"role": "web"}}, {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 31001}]}, "allocation_info": {"role": "web"}}], "command": {"value": "exec ./serve --port $PORT0", "environment": {"variables": [{"name": "PORT0", "value": "31000"}]}}, "labels": {"labels": [{"key": "owner", "value": "team"}]}},
 {"name": "web", "task_id": {"value": "service.web.3f2b6a1e.instance-18"}, "agent_id": {"value": "3f2b6a1e-6c1c-4a55-9b3d-0c2a8f1d7e42-S17"}, "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}, "allocation_info": {"role": "web"}}, {"name": "mem", "type": "SCALAR", "scalar": {"value": 128}, "allocation_info": {"role": "web"}}], "command": {"value": "exec ./serve"}}
]}}], "filters": {"refuse_seconds": 5.0}}}`

func BenchmarkDecodeCall(b *testing.B) {
	for name, text := range map[string]string{"ACKNOWLEDGE": acknowledgeJSON, "ACCEPT": acceptJSON} {
		body := []byte(text)
		for which, f := range map[string]func() error{
			"ours":         func() error { _, err := DecodeCall(body, true); return err },
			"general":      func() error { return UnmarshalJSON(body, &scheduler.Call{}) },
			"encodingjson": func() error { return json.Unmarshal(body, &plainCall{}) },
		} {
			b.Run(name+"/"+which, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
