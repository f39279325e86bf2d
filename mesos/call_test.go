package mesos

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/internal/codec"
	"github.com/pando-os/pando/mesos/internal/random"
)

// checkDecode wants DecodeCall to say what the general codec says, and tells whether it took text.
func checkDecode(t rapid.TB, text []byte) bool {
	t.Helper()
	var want scheduler.Call
	wantErr := UnmarshalJSON(text, &want)
	got, err := DecodeCall(text, true)
	switch {
	case (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error():
		t.Fatalf("%s: %v, where the general codec says %v", text, err, wantErr)
	case err == nil && !proto.Equal(got, &want):
		t.Fatalf("%s: %s", text, cmp.Diff(&want, got, protocmp.Transform()))
	}
	return err == nil
}

func drawCall(r *rand.Rand) *scheduler.Call {
	c := random.Message(r, &scheduler.Call{}).(*scheduler.Call)
	switch r.IntN(4) {
	case 0:
		c = &scheduler.Call{Type: scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: random.Message(r, &scheduler.Call_Acknowledge{}).(*scheduler.Call_Acknowledge)}
	case 1:
		c = &scheduler.Call{Type: scheduler.Call_ACCEPT.Enum(), Accept: random.Message(r, &scheduler.Call_Accept{}).(*scheduler.Call_Accept)}
		for range r.IntN(3) {
			task := random.Message(r, &mesosv1.TaskInfo{}).(*mesosv1.TaskInfo)
			if r.IntN(2) == 0 {
				task.Command = random.Message(r, &mesosv1.CommandInfo{}).(*mesosv1.CommandInfo)
			}
			c.Accept.Operations = append(c.Accept.Operations, &mesosv1.Offer_Operation{Type: mesosv1.Offer_Operation_LAUNCH.Enum(), Launch: &mesosv1.Offer_Operation_Launch{TaskInfos: []*mesosv1.TaskInfo{task}}})
		}
	case 2:
		c = &scheduler.Call{Type: scheduler.Call_DECLINE.Enum(), Decline: random.Message(r, &scheduler.Call_Decline{}).(*scheduler.Call_Decline)}
	}
	if r.IntN(4) > 0 {
		c.FrameworkId = &mesosv1.FrameworkID{Value: new(random.String(r))}
	}
	return c
}

func TestCallsAreDecodedAsTheGeneralCodecDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := seeded(t)
		call := drawCall(r)
		text, err := AppendJSON(nil, call)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := protojson.MarshalOptions{UseProtoNames: true, Multiline: true}.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		nulls, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		if !checkDecode(t, text) || !checkDecode(t, theirs) || !checkDecode(t, nulls) {
			t.Fatalf("%s was refused", text)
		}
		wire, err := proto.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeCall(wire, false); err != nil || !proto.Equal(got, call) {
			t.Fatalf("protobuf: %v", err)
		}
		for range 10 { // what is no longer well formed must be refused with the same words
			broken := append([]byte(nil), text...)
			switch at := r.IntN(len(broken)); r.IntN(4) {
			case 0:
				broken[at] = byte(r.IntN(256))
			case 1:
				broken = broken[:at]
			case 2:
				broken = append(broken[:at], broken[min(at+r.IntN(20), len(broken)):]...)
			case 3:
				broken = append(broken[:at:at], append([]byte(`null`), text[at:]...)...)
			}
			checkDecode(t, broken)
		}
	})
}

func TestUnusualCalls(t *testing.T) {
	for name, text := range map[string]string{
		"nulls":                  `{"type":"ACKNOWLEDGE","framework_id":null,"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"","x":null},"subscribe":null}`,
		"set, then null":         `{"type":"ACCEPT","type":null,"framework_id":{"value":"f"},"framework_id":null,"accept":{"filters":{},"filters":null}}`,
		"null, then set":         `{"type":null,"type":"ACCEPT","accept":null,"accept":{"offer_ids":null,"offer_ids":[{"value":"o"}]}}`,
		"a required null":        `{"framework_id":{"value":"f","value":null}}`,
		"no null":                `{"framework_id":nul}`,
		"an unknown type":        `{"type":"ACKNOWLEDGED","accept":{}}`,
		"a type twice":           `{"type":"ACCEPT","type":"REVIVE"}`,
		"a member twice":         `{"type":"DECLINE","decline":{"offer_ids":[{"value":"a"}]},"decline":{"offer_ids":[]}}`,
		"empty lists":            `{"type":"ACCEPT","accept":{"offer_ids":[],"operations":[{"type":"LAUNCH","launch":{"task_infos":[]}}]}}`,
		"a task without id":      `{"accept":{"operations":[{"launch":{"task_infos":[{"name":"x","agent_id":{"value":"a"}}]}}]}}`,
		"a range without end":    `{"accept":{"operations":[{"launch":{"task_infos":[{"name":"x","task_id":{"value":"t"},"agent_id":{"value":"a"},"resources":[{"name":"p","type":"RANGES","ranges":{"range":[{"begin":1}]}}]}]}}]}}`,
		"an id that is a number": `{"framework_id":{"value":7}}`,
		"an infinite scalar":     `{"accept":{"operations":[{"launch":{"task_infos":[{"name":"x","task_id":{"value":"t"},"agent_id":{"value":"a"},"limits":{"cpus":{"value":"Infinity"}},"resources":[{"name":"p","type":"SCALAR","scalar":{"value":"Infinity"}}]}]}}]}}`,
		"escapes":                `{"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"\u0061\n"},"task_id":{"value":"\ud83d\ude00"},"uuid":"AA\u003d\u003d"}}`,
		"a body of null":         `null`,
		"nothing":                ``,
		"a newline in base64":    `{"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AA\n=="}}`,
		"garbage behind":         acknowledgeJSON + "x",
	} {
		t.Run(name, func(t *testing.T) { checkDecode(t, []byte(text)) })
	}
}

func TestTheUsualCallsTakeTheFastWay(t *testing.T) {
	for _, text := range []string{
		acknowledgeJSON, acceptJSON, `{"type":"DECLINE","framework_id":{"value":"f"},"decline":{"offer_ids":[{"value":"o"}],"filters":{"refuse_seconds":5}}}`,
		`{"type":"DECLINE","subscribe":null,"framework_id":{"value":"f"},"decline":{"offer_ids":[{"value":"o"}],"filters":null,"new":{}}}`, `{"type":"KILL","kill":{"task_id":{"value":"t"}}}`,
	} {
		r := callReader{s: codec.NewScanner([]byte(text)), source: text}
		if r.read() == nil {
			t.Errorf("%.40s… is left to the general codec", text)
		}
		checkDecode(t, []byte(text))
	}
}

func TestADecodedCallKeepsNothingOfTheBody(t *testing.T) {
	body := []byte(acknowledgeJSON)
	call, err := DecodeCall(body, true)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	if got := call.GetAcknowledge().GetTaskId().GetValue(); !strings.HasPrefix(got, "service.web") {
		t.Errorf("the task id became %q", got)
	}
}

func FuzzDecodeCall(f *testing.F) {
	f.Add([]byte(acknowledgeJSON))
	f.Add([]byte(acceptJSON))
	f.Add([]byte(`{"type":"DECLINE","decline":{"offer_ids":[{"value":"o"}],"filters":{"refuse_seconds":5}}}`))
	f.Fuzz(func(t *testing.T, text []byte) { checkDecode(t, text) })
}
