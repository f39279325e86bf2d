package agentlink_test

import (
	"bufio"
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/link"
	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agentlink"
)

func encoded(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// FuzzReadFrame: whatever a peer sends, a frame is a message or an error, a whole one is read back as it was sent, and no
// buffer grows with what was only announced beyond the bound.
func FuzzReadFrame(f *testing.F) {
	up, err := agentlink.AppendFrame(nil, &link.Up{Hello: &link.Hello{Versions: []uint32{1}, Session: "s", AgentId: "a"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(up)
	f.Add(append(bytes.Clone(up), up...))
	f.Add(up[:len(up)-1])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 && b[0] != 0 { // it would only cost memory to announce megabytes again and again
			b = append([]byte{0}, b[1:]...)
		}
		r := bufio.NewReader(bytes.NewReader(b))
		var buf []byte
		for {
			var m link.Up
			var err error
			if buf, err = agentlink.ReadFrame(r, buf, &m); err != nil {
				return
			}
			again, err := agentlink.AppendFrame(nil, &m)
			if err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			var second link.Up
			if _, err := agentlink.ReadFrame(bufio.NewReader(bytes.NewReader(again)), nil, &second); err != nil || !proto.Equal(&m, &second) {
				t.Fatalf("%v\n%v\n%v", err, &m, &second)
			}
		}
	})
}

// FuzzOrders: whatever a master orders, an agent makes inputs of it or refuses the frame.
func FuzzOrders(f *testing.F) {
	id, value := "t", "true"
	info := encoded(f, &mesosv1.TaskInfo{
		Name: &id, TaskId: &mesosv1.TaskID{Value: &id}, AgentId: &mesosv1.AgentID{Value: &id}, Command: &mesosv1.CommandInfo{Value: &value},
		Check: &mesosv1.CheckInfo{Type: mesosv1.CheckInfo_TCP.Enum()},
	})
	framework := encoded(f, &mesosv1.FrameworkInfo{Name: &id, User: &id, Id: &mesosv1.FrameworkID{Value: &id}})
	f.Add(encoded(f, &link.Down{Registered: &link.Registered{AgentId: id, UnknownTasks: []*link.TaskRef{{FrameworkId: id, TaskId: id}}}}))
	f.Add(encoded(f, &link.Down{Runs: []*link.Run{{FrameworkInfo: framework, TaskInfo: info, Role: "r", User: "u"}}}))
	f.Add(encoded(f, &link.Down{FrameworkInfos: [][]byte{framework, {0xff}}, ResendUpdates: []string{id}}))
	f.Add(encoded(f, &link.Down{Kills: []*link.Kill{{FrameworkId: id, TaskId: id}}, Acks: []*link.Ack{{Uuid: []byte("u")}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d link.Down
		if proto.Unmarshal(b, &d) != nil {
			return
		}
		a := &agentlink.Agent{Info: func(id string) []byte { return []byte(id) }, Unsupported: func(*mesosv1.TaskInfo) string { return "" }}
		ins, err := a.Orders(&d)
		if err != nil {
			return
		}
		for _, in := range ins {
			if in == nil {
				t.Fatal("an order became nothing")
			}
		}
	})
}
