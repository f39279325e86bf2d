package v0

import (
	"encoding/json"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos"
	"github.com/pando-os/pando/mesos/resource"
)

func encode(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.MarshalOptions{AllowPartial: true, Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestTasksShowWhatTheirInfoHolds(t *testing.T) {
	const before = `{"id":"t","name":"n","framework_id":"f","executor_id":"","slave_id":"a","state":"TASK_RUNNING",` +
		`"resources":{"cpus":0.0,"disk":0.0,"gpus":0.0,"mem":0.0},"role":"r","statuses":[]`
	scalar := func(v float64) *mesosv1.Value_Scalar { return &mesosv1.Value_Scalar{Value: &v} }
	label := &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("k"), Value: new(`"v"`)}, {Key: new("bare")}}}
	for _, tt := range []struct {
		name string
		info *mesosv1.TaskInfo
		want string
	}{
		{"nothing", &mesosv1.TaskInfo{}, ""},
		{"labels are an array", &mesosv1.TaskInfo{Labels: label}, `,"labels":[{"key":"k","value":"\"v\""},{"key":"bare"}]`},
		{"no label at all", &mesosv1.TaskInfo{Labels: &mesosv1.Labels{}}, `,"labels":[]`},
		{"the user of the command", &mesosv1.TaskInfo{Command: &mesosv1.CommandInfo{User: new("u")}}, `,"user":"u"`},
		{
			"the user of the executor's command",
			&mesosv1.TaskInfo{Executor: &mesosv1.ExecutorInfo{Command: &mesosv1.CommandInfo{User: new("e")}}},
			`,"user":"e"`,
		},
		{
			"limits are an object", &mesosv1.TaskInfo{Limits: map[string]*mesosv1.Value_Scalar{"cpus": scalar(1.5), "mem": scalar(math.Inf(1))}},
			`,"limits":{"cpus":1.5,"mem":"Infinity"}`,
		},
		{"a container", &mesosv1.TaskInfo{Container: &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()}}, `,"container":{"type":"MESOS"}`},
		{
			"a discovery info",
			&mesosv1.TaskInfo{Discovery: &mesosv1.DiscoveryInfo{Visibility: mesosv1.DiscoveryInfo_CLUSTER.Enum(), Name: new("d")}},
			`,"discovery":{"visibility":"CLUSTER","name":"d"}`,
		},
		{
			"a health check",
			&mesosv1.TaskInfo{HealthCheck: &mesosv1.HealthCheck{Type: mesosv1.HealthCheck_TCP.Enum(), Tcp: &mesosv1.HealthCheck_TCPCheckInfo{Port: proto.Uint32(80)}}},
			`,"health_check":{"tcp":{"port":80,"protocol":"IPv4"},"type":"TCP","delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0,"consecutive_failures":3,"grace_period_seconds":10.0}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			task := Task{ID: "t", Name: "n", Framework: "f", Agent: "a", Role: "r", State: mesosv1.TaskState_TASK_RUNNING, Info: encode(t, tt.info)}
			got := string(task.Append(nil))
			if want := before + tt.want + "}"; !equal(t, got, want) {
				t.Errorf("%s\nwant\n%s", got, want)
			}
		})
	}
}

// equal compares JSON whatever the order of members.
func equal(tb testing.TB, a, b string) bool {
	tb.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		tb.Fatalf("%v in %s", err, a)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		tb.Fatalf("%v in %s", err, b)
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}

func TestStatusesShowWhatPeopleRead(t *testing.T) {
	rest := encode(t, &mesosv1.TaskStatus{
		Labels:          &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("k")}}},
		ContainerStatus: &mesosv1.ContainerStatus{ContainerId: &mesosv1.ContainerID{Value: new("c")}},
		Data:            []byte("not shown"),
	})
	for _, tt := range []struct {
		name string
		s    mesos.Status
		want string
	}{
		{"little", mesos.Status{State: mesosv1.TaskState_TASK_STAGING, Healthy: -1, Timestamp: 1.5}, `{"state":"TASK_STAGING","timestamp":1.5}`},
		{
			"much",
			mesos.Status{State: mesosv1.TaskState_TASK_RUNNING, Healthy: 1, Timestamp: 2, Message: "not shown", Rest: rest},
			`{"state":"TASK_RUNNING","timestamp":2.0,"labels":[{"key":"k"}],"container_status":{"container_id":{"value":"c"}},"healthy":true}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(Status(nil, &tt.s)); !equal(t, got, tt.want) {
				t.Errorf("%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestAttributesAreAnObject(t *testing.T) {
	list, err := mesos.ParseAttributes("rack:r1;level:10;ports:[1-5,7-9];rack:r2")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(Attributes(nil, list)), `{"rack":"r1","level":10.0,"ports":"[1-5, 7-9]"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := mesos.FormatAttributes(list), "rack:r1;level:10;ports:[1-5,7-9];rack:r2"; got != want {
		t.Errorf("written back they are %s, want %s", got, want)
	}
}

func TestSmallWords(t *testing.T) {
	l, err := resource.Parse("cpus:1.5;mem(role):64;ports:[1-2]", "*")
	if err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string][]byte{
		`"a\"b"`:                  Text(nil, `a"b`),
		`1700000000.25`:           Seconds(nil, 1_700_000_000_250_000_000),
		`0.0`:                     Seconds(nil, 0),
		`["a","b"]`:               Texts(nil, []string{"a", "b"}),
		`[]`:                      Texts(nil, nil),
		`{"cpus":1.5,"mem":64.0}`: Quantities(nil, l),
	} {
		if string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// FuzzTask feeds bytes that are no TaskInfo: whatever they are, the answer is JSON.
func FuzzTask(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(encode(f, &mesosv1.TaskInfo{
		Labels: &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("k")}}}, Container: &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum()},
		Limits: map[string]*mesosv1.Value_Scalar{"cpus": {Value: proto.Float64(1)}},
	}), []byte{0x6a, 0x00, 0x62, 0x00})
	f.Fuzz(func(t *testing.T, info, rest []byte) {
		task := Task{ID: "t", Info: info, Statuses: []*mesos.Status{{Healthy: -1, Rest: rest}}}
		if b := task.Append(nil); !json.Valid(b) {
			t.Errorf("not JSON: %s", b)
		}
	})
}

func TestAStatusShowsItsContainerWithoutThePid(t *testing.T) {
	rest := encode(t, &mesosv1.TaskStatus{ContainerStatus: &mesosv1.ContainerStatus{
		ContainerId: &mesosv1.ContainerID{Value: new("c")}, ExecutorPid: proto.Uint32(4711),
		NetworkInfos: []*mesosv1.NetworkInfo{{IpAddresses: []*mesosv1.NetworkInfo_IPAddress{{IpAddress: new("10.0.0.1")}}}},
	}})
	got := string(Status(nil, &mesos.Status{State: mesosv1.TaskState_TASK_RUNNING, Timestamp: 1, Healthy: -1, Rest: rest}))
	const want = `{"state":"TASK_RUNNING","timestamp":1.0,"container_status":{"network_infos":[{"ip_addresses":[{"ip_address":"10.0.0.1","protocol":"IPv4"}]}],"container_id":{"value":"c"}}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
