package codec

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/agent"
	"github.com/pando-os/pando/gen/mesosv1/executor"
	"github.com/pando-os/pando/gen/mesosv1/master"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
	"github.com/pando-os/pando/mesos/internal/random"
)

func TestWhatIsWritten(t *testing.T) {
	for want, m := range map[string]proto.Message{
		`{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}`: &mesosv1.FrameworkInfo{User: new("u"), Name: new("n")},
		`{"refuse_seconds":5.0}`:                                   &mesosv1.Filters{},
		`{"refuse_seconds":1e30}`:                                  &mesosv1.Filters{RefuseSeconds: new(1e30)},
		`{"nanoseconds":9223372036854775807}`:                      &mesosv1.TimeInfo{Nanoseconds: proto.Int64(math.MaxInt64)},
		`{"begin":0,"end":18446744073709551615}`:                   &mesosv1.Value_Range{Begin: proto.Uint64(0), End: proto.Uint64(math.MaxUint64)},
		`{"value":"//7+"}`:                                         &mesosv1.UUID{Value: []byte{255, 254, 254}},
		`{"value":"Infinity"}`:                                     &mesosv1.Value_Scalar{Value: new(math.Inf(1))},
		`{"max_grace_period":{"nanoseconds":1},"mark_gone":false}`: &mesosv1.DrainConfig{MaxGracePeriod: &mesosv1.DurationInfo{Nanoseconds: proto.Int64(1)}},
		`{"type":"SCALAR"}`:                                        &mesosv1.Resource{Type: mesosv1.Value_SCALAR.Enum()},
		`{"name":"n","type":"TEXT"}`:                               &mesosv1.Attribute{Name: new("n"), Type: mesosv1.Value_TEXT.Enum()},
		`{"name":"x"}`:                                             &mesosv1.Attribute{Name: new("x"), Type: mesosv1.Value_Type(99).Enum()},
		`{}`:                                                       &mesosv1.Labels{},
		`{"quantities":{"a":{"value":1.0},"b":{"value":0.5}}}`:     &mesosv1.OfferFilters_ResourceQuantities{Quantities: map[string]*mesosv1.Value_Scalar{"b": {Value: new(0.5)}, "a": {Value: proto.Float64(1)}}},
		`{"value":"tab\t \"quote\" \\ \u0001 \u001F é ` + "\x7f/\"}": &mesosv1.TaskID{Value: new("tab\t \"quote\" \\ \x01 \x1f é \x7f/")},
	} {
		got, err := AppendJSON(nil, m)
		if err != nil || string(got) != want {
			t.Errorf("got  %s (%v)\nwant %s", got, err, want)
		}
	}
	if _, err := AppendJSON(nil, nil); err == nil {
		t.Error("nil was written")
	}
}

func TestDoubles(t *testing.T) {
	for f, want := range map[float64]string{
		15: "15.0", 0.1: "0.1", 1e30: "1e30", 1.5e-7: "1.5e-7", 1e21: "1e21", 1e20: "100000000000000000000.0", 1e-6: "0.000001", 1e-7: "1e-7", -2.5: "-2.5",
		1.7976931348623157e308: "1.7976931348623157e308", 5e-324: "5e-324", 9007199254740993: "9007199254740992.0", 1500000000.123456: "1500000000.123456", math.Copysign(0, -1): "-0.0",
		math.Inf(-1): `"-Infinity"`,
	} {
		if got := string(AppendDouble(nil, f)); got != want {
			t.Errorf("%v: got %s, want %s", f, got, want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		if back, err := strconv.ParseFloat(string(AppendDouble(nil, f)), 64); err != nil || back != f {
			t.Fatalf("%v reads back as %v, %v", f, back, err)
		}
	}
}

func TestWhatIsRead(t *testing.T) {
	for text, want := range map[string]proto.Message{
		` {"value" : "x", "more": [1, {"a": null}, "b", true, false, -1.5e+3]} `: &mesosv1.TaskID{Value: new("x")},
		`{"value":"a","value":"b"}`:                  &mesosv1.TaskID{Value: new("b")},
		`{"value":"\u00e9\ud83d\ude00\ud800\n\/"}`:   &mesosv1.TaskID{Value: new("é😀\uFFFD\n/")},
		`{"refuse_seconds":"Infinity"}`:              &mesosv1.Filters{RefuseSeconds: new(math.Inf(1))},
		`{"refuse_seconds":"1.5"}`:                   &mesosv1.Filters{RefuseSeconds: new(1.5)},
		`{"refuse_seconds":null}`:                    &mesosv1.Filters{},
		`{"refuse_seconds":1,"refuse_seconds":null}`: &mesosv1.Filters{},
		`{"nanoseconds":"-12"}`:                      &mesosv1.TimeInfo{Nanoseconds: proto.Int64(-12)},
		`{"nanoseconds":1.5e9}`:                      &mesosv1.TimeInfo{Nanoseconds: proto.Int64(1_500_000_000)},
		`{"begin":18446744073709551615,"end":0}`:     &mesosv1.Value_Range{Begin: proto.Uint64(math.MaxUint64), End: proto.Uint64(0)},
		`{"type":"NO_SUCH_TYPE"}`:                    &mesosv1.FrameworkInfo_Capability{},
		`{"type":"MULTI_ROLE"}`:                      &mesosv1.FrameworkInfo_Capability{Type: mesosv1.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
		`{"labels":[null,{"key":"k"},null]}`:         &mesosv1.Labels{Labels: []*mesosv1.Label{{Key: new("k")}}},
		`{"quantities":{"a":{"value":1},"b":null}}`:  &mesosv1.OfferFilters_ResourceQuantities{Quantities: map[string]*mesosv1.Value_Scalar{"a": {Value: proto.Float64(1)}}},
		`{"role_constraints":{"":{}}}`:               &scheduler.OfferConstraints{RoleConstraints: map[string]*scheduler.OfferConstraints_RoleConstraints{"": {}}},
	} {
		got := want.ProtoReflect().New().Interface()
		if err := UnmarshalJSON([]byte(text), got); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestDurationsAreObjectsOrStrings(t *testing.T) {
	for text, want := range map[string]int64{`"3s"`: 3, `{"seconds":3}`: 3, `"1h"`: 3600} {
		var c master.Call
		err := UnmarshalJSON([]byte(`{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"},"max_grace_period":`+text+`}}`), &c)
		if got := c.GetDrainAgent().GetMaxGracePeriod().GetSeconds(); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
}

func TestWhatIsRefusedNamesTheField(t *testing.T) {
	info := func(s string) string { return `{"type":"SUBSCRIBE","subscribe":{"framework_info":` + s + `}}` }
	for text, words := range map[string]string{
		"":                       "empty",
		" ":                      "empty",
		"{oops":                  "member's name",
		"[]":                     "an array",
		"null":                   "send a JSON object",
		`"x"`:                    "a string",
		`{"type":1}`:             "type: is a number",
		`{"type":"SUBSCRIBE"} x`: "end of the text",
		`{"type":"SUBSCRIBE"`:    "a comma",
		`{"type":"SUBSCRIBE",}`:  "member's name",
		`{"subscribe":[]}`:       "subscribe: is an array",
		info(`{"name":"x"}`):     "subscribe.framework_info.user: is required",
		info(`{"user":1}`):       "subscribe.framework_info.user: is a number",
		info(`{"user":"u","name":"n","roles":["a",2]}`):                                                         "subscribe.framework_info.roles[1]: is a number",
		info(`{"user":"u","name":"n","capabilities":[{"type":true}]}`):                                          "subscribe.framework_info.capabilities[0].type: is true or false",
		info(`{"user":"u","name":"n","checkpoint":"yes"}`):                                                      "subscribe.framework_info.checkpoint: is a string",
		info(`{"user":"u","name":"n","failover_timeout":"soon"}`):                                               "subscribe.framework_info.failover_timeout",
		info(`{"user":"u","name":"n","failover_timeout":1e999}`):                                                "subscribe.framework_info.failover_timeout",
		info(`{"user":"u","name":"n","offer_filters":{"r":[]}}`):                                                "subscribe.framework_info.offer_filters.r: is an array",
		info(`{"user":"u","name":"n","offer_filters":[]}`):                                                      "subscribe.framework_info.offer_filters: is an array",
		`{"accept":{"offer_ids":[{}]}}`:                                                                         "accept.offer_ids[0].value: is required",
		`{"accept":{"offer_ids":{}}}`:                                                                           "accept.offer_ids: is an object",
		`{"kill":{"task_id":{"value":"t"},"kill_policy":{"grace_period":{"nanoseconds":1.5}}}}`:                 "kill.kill_policy.grace_period.nanoseconds: is no whole number",
		`{"kill":{"task_id":{"value":"t"},"kill_policy":{"grace_period":{"nanoseconds":9223372036854775808}}}}`: "nanoseconds: is no whole number",
		`{"acknowledge":{"uuid":"?"}}`:                                                                          "acknowledge.uuid: is no standard base64",
		"{\"framework_id\":{\"value\":\"\xff\"}}":                                                               "framework_id.value",
		"{\"framework_id\":{\"value\":\"a\nb\"}}":                                                               "control character",
		`{"framework_id":{"value":"\x"}}`:                                                                       "escape",
		`{"framework_id":{"value":"\u12"}}`:                                                                     "hexadecimal",
		`{"x":01}`:                                                                                              "a comma",
		`{"x":tru}`:                                                                                             "a value",
		`{"x":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`:                                     "nested",
	} {
		if err := UnmarshalJSON([]byte(text), &scheduler.Call{}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%.80s: got %v, want words %q", text, err, words)
		}
	}
}

func TestAnUnknownNameOfARequiredEnumIsMissing(t *testing.T) {
	err := UnmarshalJSON([]byte(`{"name":"n","type":"MONSTER"}`), &mesosv1.Attribute{})
	if err == nil || !strings.Contains(err.Error(), "type: is required") {
		t.Error(err)
	}
}

// messages are the trees that random messages are drawn from.
var messages = []proto.Message{&scheduler.Call{}, &scheduler.Event{}, &executor.Call{}, &executor.Event{}, &master.Call{}, &master.Event{}, &master.Response{}, &agent.Call{}, &agent.Response{}, &mesosv1.Offer{}, &mesosv1.TaskInfo{}, &mesosv1.TaskStatus{}}

func TestRandomMessagesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for _, like := range messages {
			m := random.Message(r, like)
			text, err := AppendJSON(nil, m)
			if err != nil || !json.Valid(text) {
				t.Fatalf("%s: %v", text, err)
			}
			back := m.ProtoReflect().New().Interface()
			if err := UnmarshalJSON(text, back); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			again, _ := AppendJSON(nil, back)
			if !bytes.Equal(text, again) {
				t.Fatalf("%s reads back as %s", text, again)
			}
			theirs := m.ProtoReflect().New().Interface()
			err = protojson.Unmarshal(text, theirs)
			switch { // protojson does not know a Duration that is an object
			case bytes.Contains(text, []byte(`"max_grace_period":{"seconds"`)):
			case err != nil:
				t.Fatalf("protojson cannot read %s: %v", text, err)
			case !proto.Equal(back, theirs):
				t.Fatalf("protojson reads something else from %s: %s", text, cmp.Diff(theirs, back, protocmp.Transform()))
			}
			pj, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			fromTheirs := m.ProtoReflect().New().Interface()
			if err := UnmarshalJSON(pj, fromTheirs); err != nil {
				t.Fatalf("%s: %v", pj, err)
			}
			if !proto.Equal(m, fromTheirs) {
				t.Fatalf("from protojson's %s: %s", pj, cmp.Diff(m, fromTheirs, protocmp.Transform()))
			}
		}
	})
}

func TestEncodedMessagesBecomeTheSameJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for _, like := range messages {
			m, typ := random.Message(r, like), TypeOf(like)
			wire, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if err := typ.Check(wire, false); err != nil {
				t.Fatal(err)
			}
			want, _ := AppendJSON(nil, m)
			got, err := typ.AppendJSON([]byte("x"), wire)
			if err != nil || !equalJSON(t, want, got[1:]) {
				t.Fatalf("got  %s (%v)\nwant %s", got, err, want)
			}
			got, err = typ.AppendMembers([]byte(`{"":0`), wire)
			if err != nil || string(want) != "{}" && !equalJSON(t, append([]byte(`{"":0,`), want[1:]...), append(got, '}')) {
				t.Fatalf("got  %s (%v)\nwant %s", got, err, want)
			}
			twice := append(append([]byte(nil), wire...), wire...)
			merged := m.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(twice, merged); err != nil {
				t.Fatal(err)
			}
			want, _ = AppendJSON(nil, merged)
			if got, err = typ.AppendJSON(nil, twice); err != nil || !equalJSON(t, want, got) {
				t.Fatalf("merged: got  %s (%v)\nwant %s", got, err, want)
			}
			for range min(10, len(wire)) {
				cut := r.IntN(len(wire))
				broken := proto.Unmarshal(wire[:cut], m.ProtoReflect().New().Interface())
				if err := typ.Check(wire[:cut], false); (err == nil) != (broken == nil) {
					t.Fatalf("Check says %v where Unmarshal says %v", err, broken)
				}
			}
		}
	})
}

func equalJSON(t rapid.TB, a, b []byte) bool {
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return cmp.Equal(x, y)
}

func TestCheckRequiredNamesThePath(t *testing.T) {
	m := &scheduler.Call{Accept: &scheduler.Call_Accept{OfferIds: []*mesosv1.OfferID{{Value: new("a")}, {}}}}
	if err := CheckRequired(m); err == nil || !strings.HasPrefix(err.Error(), "accept.offer_ids[1].value: ") {
		t.Error(err)
	}
	if err := CheckRequired(&scheduler.Call{}); err != nil {
		t.Error(err)
	}
	f := &mesosv1.TaskInfo{Name: new(""), TaskId: &mesosv1.TaskID{Value: new("")}, AgentId: &mesosv1.AgentID{Value: new("")}, Limits: map[string]*mesosv1.Value_Scalar{"cpus": {}}}
	if err := CheckRequired(f); err == nil || !strings.HasPrefix(err.Error(), "limits.cpus.value: ") {
		t.Error(err)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"x","roles":["a"],"failover_timeout":1e3}}}`))
	f.Add([]byte(`{"framework_id":{"value":"\ud83d\ude00"},"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}}`))
	f.Add([]byte(`{"type":null,"x":[{},1.5e-3,"\u0000"]} `))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m scheduler.Call
		if UnmarshalJSON(text, &m) != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("took what is no JSON: %q", text)
		}
		out, err := AppendJSON(nil, &m)
		if err != nil || !json.Valid(out) {
			t.Fatalf("wrote %q, %v", out, err)
		}
		var back scheduler.Call
		if err := UnmarshalJSON(out, &back); err != nil {
			t.Fatalf("%q reads back with %v", out, err)
		}
		again, _ := AppendJSON(nil, &back)
		if !bytes.Equal(again, out) {
			t.Fatalf("%q reads back as %q", out, again)
		}
	})
}
