package master

import (
	"bufio"
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
	"github.com/pando-os/pando/internal/core/cluster"
	"github.com/pando-os/pando/internal/loop"
)

func encoded(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func fuzzAgentInfo(tb testing.TB) []byte {
	tb.Helper()
	return encoded(tb, &mesosv1.AgentInfo{Hostname: new("h"), Port: proto.Int32(5051), Resources: []*mesosv1.Resource{
		{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: proto.Float64(4)}},
	}})
}

// leading makes a master that leads, without a store.
func leading(tb testing.TB) (*Master, *term) {
	tb.Helper()
	m := newTestMaster(tb)
	cfg := m.cfg.Book
	cfg.MasterID = "m"
	book := cluster.New(cfg, nil, m.deps.Clock.Now(), rand.New(rand.NewPCG(1, 2)))
	t := &term{m: m, id: "m", events: m.newEvents()}
	t.view.Store(book.View())
	t.loop = loop.New[cluster.In, cluster.Record, cluster.Msg, cluster.Work, cluster.Fact](
		timedBook{book, m.deps.Clock, m.counts.runs}, unsaved{t}, m.deps.Clock, func() any { return book.View() }, loop.Config{},
	)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = t.loop.Run(ctx) // it ends with the test
	}()
	tb.Cleanup(func() { cancel(); <-done })
	m.term.Store(t)
	return m, t
}

// FuzzTake: whatever an agent sends once it was greeted becomes inputs of the book, or ends its link.
func FuzzTake(f *testing.F) {
	status := encoded(f, &mesosv1.TaskStatus{TaskId: &mesosv1.TaskID{Value: new("t")}, State: mesosv1.TaskState_TASK_RUNNING.Enum(), Uuid: []byte("0123456789abcdef")})
	task := encoded(f, &mesosv1.TaskInfo{Name: new("t"), TaskId: &mesosv1.TaskID{Value: new("t")}, AgentId: &mesosv1.AgentID{Value: new("a")}})
	framework := encoded(f, &mesosv1.FrameworkInfo{User: new("u"), Name: new("n"), Id: &mesosv1.FrameworkID{Value: new("F")}})
	for _, up := range []*link.Up{
		{Pong: 3},
		{Register: &link.Register{
			AgentInfo: fuzzAgentInfo(f), Ip: "127.0.0.1", FrameworkInfos: [][]byte{framework}, Capabilities: agentlink.Capabilities(),
			Tasks: []*link.TaskReport{{FrameworkId: "F", TaskInfo: task, State: 1, Statuses: [][]byte{status}}},
		}},
		{Updates: []*link.Update{{FrameworkId: "F", Status: status, LatestState: 1}}},
		{Messages: []*link.Message{{FrameworkId: "F", ExecutorId: "e", Data: []byte("d")}}, Unregister: true},
	} {
		b, err := agentlink.AppendFrame(nil, up)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0, 0, 0, 1, 0xff})
	m, t := leading(f)
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) >= 4 && b[0] != 0 { // it would only cost memory to announce megabytes again and again
			b = append([]byte{0}, b[1:]...)
		}
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		l := &agentLink{id: cluster.ConnID(m.id()), term: t, conn: near, lane: newLane()}
		r := bufio.NewReader(bytes.NewReader(b))
		var buf []byte
		for {
			var up link.Up
			var err error
			if buf, err = agentlink.ReadFrame(r, buf, &up); err != nil || l.take(&up) != nil {
				return
			}
		}
	})
}

// FuzzStoredRecords: what stands in the store is read as it was written, or refused.
func FuzzStoredRecords(f *testing.F) {
	spec, err := agentSpec(fuzzAgentInfo(f), "127.0.0.1", MesosVersion, agentlink.Capabilities())
	if err != nil {
		f.Fatal(err)
	}
	agent, err := encodeAgent(&cluster.AgentRecord{Spec: spec, Mark: cluster.Admitted, Registered: 5})
	if err != nil {
		f.Fatal(err)
	}
	info := &mesosv1.FrameworkInfo{
		User: new("u"), Name: new("n"), Id: &mesosv1.FrameworkID{Value: new("F")}, Roles: []string{"a"}, FailoverTimeout: new(1e300),
		OfferFilters: map[string]*mesosv1.OfferFilters{"a": {MinAllocatableResources: &mesosv1.OfferFilters_MinAllocatableResources{}}},
	}
	fs, err := frameworkSpec(info, nil)
	if err != nil {
		f.Fatal(err)
	}
	framework, err := encodeFramework(&cluster.FrameworkRecord{Spec: fs, Registered: 5, Removed: 6})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(agent)
	f.Add(framework)
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decodeAgent(b); err == nil {
			once, err := encodeAgent(r)
			if err != nil {
				t.Fatalf("an agent that was read cannot be written: %v", err)
			}
			r2, err := decodeAgent(once)
			if err != nil || r2.Mark != r.Mark || !bytes.Equal(r2.Spec.Info, r.Spec.Info) || r2.Since != r.Since {
				t.Fatalf("%+v became %+v: %v", r, r2, err)
			}
		}
		if r, err := decodeFramework(b); err == nil {
			once, err := encodeFramework(r)
			if err != nil {
				t.Fatalf("a framework that was read cannot be written: %v", err)
			}
			r2, err := decodeFramework(once)
			if err != nil || r2.Removed != r.Removed || !bytes.Equal(r2.Spec.Info, r.Spec.Info) || r2.Spec.FailoverTimeout != r.Spec.FailoverTimeout {
				t.Fatalf("%+v became %+v: %v", r, r2, err)
			}
		}
	})
}

// FuzzCalls: whatever a scheduler calls and passes the checks becomes inputs of the book.
func FuzzCalls(f *testing.F) {
	_, tm := leading(f)
	f.Add([]byte(`{"type":"ACCEPT","framework_id":{"value":"F"},"accept":{"offer_ids":[{"value":"o"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"t","task_id":{"value":"t"},"agent_id":{"value":"a"},"command":{"value":"true"}}]}}]}}`), true)
	f.Add([]byte(`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","roles":["a"]},"suppressed_roles":["a"]}}`), true)
	f.Add([]byte{8, 1}, false)
	f.Fuzz(func(_ *testing.T, b []byte, json bool) {
		call, err := decodeCall(b, json)
		if err != nil {
			return
		}
		if sub := call.GetSubscribe(); sub != nil {
			_, _ = subscription(sub) // a refusal is as good
			return
		}
		if a := call.GetAccept(); a != nil {
			_ = accept(a, "F", &stream{id: 1, user: "u", term: tm})
		}
	})
}
