package mesos

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// checkAcknowledgement wants the quick reading to take only what the general one takes, and to read the same.
func checkAcknowledgement(t rapid.TB, body []byte) bool {
	t.Helper()
	a, ok := ReadAcknowledgement(body)
	if !ok {
		return false
	}
	call, err := DecodeCall(body, false)
	if err == nil {
		err = CheckCall(call)
	}
	if err != nil {
		t.Fatalf("%x was taken, and is wrong: %v", body, err)
	}
	k := call.GetAcknowledge()
	want := Acknowledgement{call.GetFrameworkId().GetValue(), k.GetAgentId().GetValue(), k.GetTaskId().GetValue(), string(k.GetUuid())}
	if call.GetType() != scheduler.Call_ACKNOWLEDGE || a != want || len(call.ProtoReflect().GetUnknown())+len(k.ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("%x was read as %+v, want %+v", body, a, want)
	}
	return true
}

func usualAcknowledgement() *scheduler.Call {
	return &scheduler.Call{
		FrameworkId: &mesosv1.FrameworkID{Value: new("f-0000")}, Type: scheduler.Call_ACKNOWLEDGE.Enum(),
		Acknowledge: &scheduler.Call_Acknowledge{
			AgentId: &mesosv1.AgentID{Value: new("a-S1")}, TaskId: &mesosv1.TaskID{Value: new("web.1")},
			Uuid: []byte("0123456789012345"),
		},
	}
}

func TestAcknowledgementsAreReadAsTheGeneralCodecDoes(t *testing.T) {
	usual, err := proto.Marshal(usualAcknowledgement())
	if err != nil {
		t.Fatal(err)
	}
	if !checkAcknowledgement(t, usual) {
		t.Fatal("the usual one is left to the general codec")
	}
	rapid.Check(t, func(t *rapid.T) {
		r := seeded(t)
		body, err := proto.Marshal(drawCall(r))
		if err != nil {
			t.Fatal(err)
		}
		checkAcknowledgement(t, body)
		for range 20 {
			broken := bytes.Clone(usual)
			switch at := r.IntN(len(broken)); r.IntN(3) {
			case 0:
				broken[at] = byte(r.IntN(256))
			case 1:
				broken = broken[:at]
			case 2:
				broken = append(broken, broken[:at]...)
			}
			checkAcknowledgement(t, broken)
		}
	})
}

func FuzzReadAcknowledgement(f *testing.F) {
	usual, err := proto.Marshal(usualAcknowledgement())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(usual)
	f.Fuzz(func(t *testing.T, body []byte) { checkAcknowledgement(t, body) })
}
