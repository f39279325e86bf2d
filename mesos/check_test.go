package mesos

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/gen/mesosv1/scheduler"
)

// read makes a message from JSON.
func read[M any, P interface {
	*M
	proto.Message
}](tb testing.TB, text string) P {
	tb.Helper()
	m := P(new(M))
	if err := UnmarshalJSON([]byte(text), m); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return m
}

// about wants an error that begins with the field's name, or none for "".
func about(tb testing.TB, name string, err error, field string) {
	tb.Helper()
	switch {
	case field == "" && err != nil:
		tb.Errorf("%s: refused: %v", name, err)
	case field != "" && (err == nil || !strings.HasPrefix(err.Error(), field)):
		tb.Errorf("%s: got %v, want an error about %s", name, err, field)
	}
}

// recorded is what the original answered to each question of a case.
func recorded(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Steps []struct {
			Step string
			Saw  any
		}
	}
	// What differs from run to run is recorded as a word; it was a number.
	text = bytes.ReplaceAll(text, []byte(`"<number>"`), []byte("1"))
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for _, s := range c.Steps {
		out[s.Step] = s.Saw
	}
	return out
}

func TestFrameworkInfosAreRefusedAsTheOriginalDoes(t *testing.T) {
	answers := recorded(t, "refused_infos.json")
	const base = `{"user":"root","name":"probe",`
	const multi = `"capabilities":[{"type":"MULTI_ROLE"}],`
	for step, more := range map[string]string{
		"role with MULTI_ROLE": multi + `"role":"x"`, "roles without MULTI_ROLE": `"roles":["probe"]`, "both": multi + `"role":"x","roles":["probe"]`,
		"duplicate roles": multi + `"roles":["a","b","a"]`, "empty role": multi + `"roles":[""]`, "role .": multi + `"roles":["."]`, "role ..": multi + `"roles":["a/.."]`,
		"role /a": multi + `"roles":["/a"]`, "role a/": multi + `"roles":["a/"]`, "role a//b": multi + `"roles":["a//b"]`, "role -a": multi + `"roles":["-a"]`,
		"role with space": multi + `"roles":["a b"]`, "role a/*": multi + `"roles":["a/*"]`, "id with slash": multi + `"id":{"value":"a/b"}`, "empty id": multi + `"id":{"value":""}`,
		"id ..": multi + `"id":{"value":".."}`, "long id": multi + `"id":{"value":"` + strings.Repeat("x", 300) + `"}`,
		"negative failover timeout": multi + `"failover_timeout":-1`, "huge failover timeout": multi + `"failover_timeout":1e300`,
		"offer filter of a foreign role": multi + `"roles":["probe"],"offer_filters":{"other":{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":1}}}]}}}`,
	} {
		saw, asked := answers[step]
		if !asked {
			t.Errorf("%s was not asked", step)
		}
		delete(answers, step)
		err := CheckFrameworkInfo(read[mesosv1.FrameworkInfo](t, base+more+"}"))
		if taken := saw == "SUBSCRIBED"; taken != (err == nil) {
			t.Errorf("%s: %v, where the original said %v", step, err, saw)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "framework_info.") {
			t.Errorf("%s: %v names no field", step, err)
		}
	}
	for step := range answers {
		t.Errorf("%s was asked of the original only", step)
	}
}

func TestOfferFilters(t *testing.T) {
	for name, c := range map[string]struct{ filters, field string }{
		"no minimum at all":    {`{"a":{"min_allocatable_resources":{}}}`, ""},
		"an empty alternative": {`{"a":{"min_allocatable_resources":{"quantities":[{}]}}}`, "framework_info.offer_filters.a.min_allocatable_resources.quantities[0]"},
		"a negative amount":    {`{"a":{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":-1}}}]}}}`, "framework_info.offer_filters.a.min_allocatable_resources.quantities[0].cpus"},
		"an infinite amount":   {`{"a":{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":"Infinity"}}}]}}}`, "framework_info.offer_filters.a"},
		"a role that is none":  {`{"a b":{}}`, "framework_info.offer_filters.a b"},
	} {
		about(t, name, CheckFrameworkInfo(read[mesosv1.FrameworkInfo](t, `{"user":"u","name":"n","offer_filters":`+c.filters+`}`)), c.field)
	}
}

func TestRolesAndCapabilities(t *testing.T) {
	for text, want := range map[string]string{
		`{"user":"u","name":"n"}`:            "*",
		`{"user":"u","name":"n","role":"r"}`: "r",
		`{"user":"u","name":"n","roles":["a","b"],"capabilities":[{"type":"MULTI_ROLE"}]}`:  "a b",
		`{"user":"u","name":"n","capabilities":[{"type":"NEW_ONE"},{"type":"MULTI_ROLE"}]}`: "",
	} {
		if got := strings.Join(Roles(read[mesosv1.FrameworkInfo](t, text)), " "); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	info := read[mesosv1.FrameworkInfo](t, `{"user":"u","name":"n","roles":["a"],"capabilities":[{"type":"MULTI_ROLE"}]}`)
	about(t, "own role", CheckSuppressedRoles(info, []string{"a"}), "")
	about(t, "foreign role", CheckSuppressedRoles(info, []string{"a", "b"}), "suppressed_roles[1]")
}

func TestUpdateFramework(t *testing.T) {
	old := read[mesosv1.FrameworkInfo](t, `{"user":"root","name":"n","roles":["a"],"capabilities":[{"type":"MULTI_ROLE"}]}`)
	for name, c := range map[string]struct{ info, field string }{
		"the same":           {`{"user":"root","name":"n","roles":["a"],"capabilities":[{"type":"MULTI_ROLE"}]}`, ""},
		"another name, role": {`{"user":"root","name":"m","roles":["a","b"],"capabilities":[{"type":"MULTI_ROLE"}]}`, ""},
		"another user":       {`{"user":"nobody","name":"n"}`, "framework_info.user"},
		"another checkpoint": {`{"user":"root","name":"n","checkpoint":true}`, "framework_info.checkpoint"},
		"another principal":  {`{"user":"root","name":"n","principal":"p"}`, "framework_info.principal"},
		"a bad role":         {`{"user":"root","name":"n","role":"a b"}`, "framework_info.role"},
	} {
		about(t, name, CheckUpdateFramework(old, read[mesosv1.FrameworkInfo](t, c.info)), c.field)
	}
}

func TestIDs(t *testing.T) {
	for _, id := range []string{"a", "space d", "é", "...", "-", strings.Repeat("x", 255)} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", ".", "..", "a/b", `a\b`, "a\n", "\x7f", strings.Repeat("x", 256)} {
		if CheckID(id) == nil {
			t.Errorf("%q was taken", id)
		}
	}
}

func TestCalls(t *testing.T) {
	for kind := range scheduler.Call_Type_value {
		if kind == "SUBSCRIBE" {
			continue
		}
		about(t, kind+" bare", CheckCall(read[scheduler.Call](t, `{"type":"`+kind+`"}`)), "framework_id")
		err := CheckCall(read[scheduler.Call](t, `{"type":"`+kind+`","framework_id":{"value":"f"}}`))
		switch kind {
		case "TEARDOWN", "REVIVE", "SUPPRESS", "UNKNOWN":
			about(t, kind+" with an id only", err, "")
		default:
			about(t, kind+" with an id only", err, strings.ToLower(kind)+": is missing")
		}
	}
	about(t, "a number for a type of the future", CheckCall(&scheduler.Call{Type: scheduler.Call_Type(99).Enum(), FrameworkId: &mesosv1.FrameworkID{Value: new("f")}}), "type")
	const info = `{"user":"u","name":"n"`
	for name, c := range map[string]struct{ call, field string }{
		"no type":                   {`{}`, "type"},
		"an unknown type":           {`{"type":"NO_SUCH_CALL"}`, "type"},
		"SUBSCRIBE bare":            {`{"type":"SUBSCRIBE"}`, "subscribe"},
		"SUBSCRIBE anew":            {`{"type":"SUBSCRIBE","subscribe":{"framework_info":` + info + `}}}`, ""},
		"SUBSCRIBE with empty ids":  {`{"type":"SUBSCRIBE","subscribe":{"framework_info":` + info + `,"id":{"value":""}}}}`, ""},
		"SUBSCRIBE with its id":     {`{"type":"SUBSCRIBE","framework_id":{"value":"f"},"subscribe":{"framework_info":` + info + `,"id":{"value":"f"}}}}`, ""},
		"SUBSCRIBE with one id":     {`{"type":"SUBSCRIBE","framework_id":{"value":"f"},"subscribe":{"framework_info":` + info + `}}}`, "framework_id"},
		"UPDATE_FRAMEWORK, two ids": {`{"type":"UPDATE_FRAMEWORK","framework_id":{"value":"f"},"update_framework":{"framework_info":` + info + `}}}`, "framework_id"},
		"ACKNOWLEDGE":               {acknowledgeJSON[:strings.Index(acknowledgeJSON, "MDEy")] + `MDEyMzQ1RTc4OWFiY2RlZg=="}}`, ""},
		"ACKNOWLEDGE, short uuid":   {`{"type":"ACKNOWLEDGE","framework_id":{"value":"f"},"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAA"}}`, "acknowledge.uuid"},
		"ACKNOWLEDGE, nil uuid":     {`{"type":"ACKNOWLEDGE","framework_id":{"value":"f"},"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}}`, "acknowledge.uuid"},
		"an operation's, no agent":  {`{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"f"},"acknowledge_operation_status":{"operation_id":{"value":"o"},"uuid":"AAAA"}}`, "acknowledge_operation_status.agent_id"},
		"an operation's, short":     {`{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"f"},"acknowledge_operation_status":{"agent_id":{"value":"a"},"operation_id":{"value":"o"},"uuid":"AAAA"}}`, "acknowledge_operation_status.uuid"},
	} {
		about(t, name, CheckCall(read[scheduler.Call](t, c.call)), c.field)
	}
}

func TestConstraintsAreRefusedAsTheOriginalDoes(t *testing.T) {
	host := `{"pseudoattribute_type":"HOSTNAME"}`
	one := func(selector, predicate string) string {
		return `{"probe":{"groups":[{"attribute_constraints":[{"selector":` + selector + `,"predicate":` + predicate + `}]}]}}`
	}
	answers := recorded(t, "constraints.json")
	for step, roles := range map[string]string{
		"no groups": `{"probe":{"groups":[]}}`, "empty group": `{"probe":{"groups":[{}]}}`, "foreign role": strings.Replace(one(host, `{"exists":{}}`), "probe", "other", 1),
		"bad regex": one(host, `{"text_matches":{"regex":"("}}`), "huge regex": one(host, `{"text_matches":{"regex":"(a{1,100}){1,100}"}}`),
	} {
		if saw, _ := answers[step].(map[string]any); saw["type"] != "ERROR" {
			t.Errorf("%s: the original said %v", step, saw)
		}
		_, err := CompileConstraints(read[scheduler.OfferConstraints](t, `{"role_constraints":`+roles+`}`), []string{"probe"})
		about(t, step, err, "offer_constraints.role_constraints.")
	}
	for name, roles := range map[string]string{
		"a selector without member": one(`{}`, `{"exists":{}}`), "an unknown pseudoattribute": one(`{"pseudoattribute_type":"UNKNOWN"}`, `{"exists":{}}`),
		"a predicate without member": one(host, `{}`), "a program of many steps": one(host, `{"text_not_matches":{"regex":"a{200}"}}`), "a long expression": one(host, `{"text_matches":{"regex":"`+strings.Repeat("[ab]", 2000)+`"}}`),
	} {
		_, err := CompileConstraints(read[scheduler.OfferConstraints](t, `{"role_constraints":`+roles+`}`), []string{"probe"})
		about(t, name, err, "offer_constraints.role_constraints.probe.groups[0].attribute_constraints[0].")
	}
}

func TestConstraintsAdmit(t *testing.T) {
	attributes, err := ParseAttributes("rack:r1;level:10;rack:r2")
	if err != nil {
		t.Fatal(err)
	}
	rack, level, none, zone, host := `{"attribute_name":"rack"}`, `{"attribute_name":"level"}`, `{"attribute_name":"none"}`, `{"pseudoattribute_type":"ZONE"}`, `{"pseudoattribute_type":"HOSTNAME"}`
	for _, c := range []struct {
		selector, predicate string
		want                bool
	}{
		{rack, `{"exists":{}}`, true},
		{none, `{"exists":{}}`, false},
		{rack, `{"not_exists":{}}`, false},
		{none, `{"not_exists":{}}`, true},
		{level, `{"exists":{}}`, true},
		{level, `{"not_exists":{}}`, false},
		{rack, `{"text_equals":{"value":"r1"}}`, true},
		{rack, `{"text_equals":{"value":"r2"}}`, false},
		{none, `{"text_equals":{"value":""}}`, false},
		{level, `{"text_equals":{"value":"x"}}`, true},
		{rack, `{"text_not_equals":{"value":"r1"}}`, false},
		{none, `{"text_not_equals":{"value":"x"}}`, true},
		{level, `{"text_not_equals":{"value":"x"}}`, true},
		{rack, `{"text_matches":{"regex":"r[0-9]"}}`, true},
		{rack, `{"text_matches":{"regex":"r"}}`, false},
		{rack, `{"text_matches":{"regex":"r|r1"}}`, true},
		{rack, `{"text_matches":{"regex":"(?U)r.*"}}`, true},
		{rack, `{"text_matches":{"regex":"\\Qr1"}}`, true},
		{rack, `{"text_matches":{"regex":"1"}}`, false},
		{rack, `{"text_matches":{"regex":"x|r"}}`, false},
		{none, `{"text_matches":{"regex":".*"}}`, false},
		{level, `{"text_matches":{"regex":"x"}}`, true},
		{rack, `{"text_not_matches":{"regex":"r."}}`, false},
		{none, `{"text_not_matches":{"regex":".*"}}`, true},
		{level, `{"text_not_matches":{"regex":"10"}}`, true},
		{zone, `{"exists":{}}`, false},
		{zone, `{"not_exists":{}}`, true},
		{host, `{"text_equals":{"value":"h1"}}`, true},
		{`{"pseudoattribute_type":"REGION"}`, `{"text_matches":{"regex":"eu-.*"}}`, true},
	} {
		text := `{"role_constraints":{"r":{"groups":[{"attribute_constraints":[{"selector":` + c.selector + `,"predicate":` + c.predicate + `}]}]}}}`
		compiled, err := CompileConstraints(read[scheduler.OfferConstraints](t, text), []string{"r", "s"})
		if err != nil {
			t.Fatal(err)
		}
		if got := compiled.Admit("r", "h1", "eu-west", "", attributes); got != c.want {
			t.Errorf("%s %s: %v", c.selector, c.predicate, got)
		}
		if !compiled.Admit("s", "h1", "", "", nil) {
			t.Error("a role without constraints is constrained")
		}
	}
	and := `{"selector":` + rack + `,"predicate":{"exists":{}}},{"selector":` + none + `,"predicate":{"exists":{}}}`
	for groups, want := range map[string]bool{
		`[{"attribute_constraints":[` + and + `]}]`: false,
		`[{"attribute_constraints":[` + and + `]},{"attribute_constraints":[{"selector":` + rack + `,"predicate":{"exists":{}}}]}]`: true,
	} {
		compiled, err := CompileConstraints(read[scheduler.OfferConstraints](t, `{"role_constraints":{"r":{"groups":`+groups+`}}}`), []string{"r"})
		if err != nil || compiled.Admit("r", "", "", "", attributes) != want {
			t.Errorf("%s: not %v, %v", groups, want, err)
		}
	}
	if c, err := CompileConstraints(nil, nil); err != nil || !c.Admit("r", "", "", "", nil) {
		t.Error("no constraints constrain")
	}
}

func TestAttributes(t *testing.T) {
	got, err := ParseAttributes("rack:r1; zone : z:1 ;level:10;ports:[1-3,5-5];odd:inf;hex:0x1;half:0.5;mix:1a")
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	for _, a := range got {
		text, _ = AppendJSON(text, a)
	}
	if want := `{"name":"rack","type":"TEXT","text":{"value":"r1"}}{"name":"zone","type":"TEXT","text":{"value":"z:1"}}{"name":"level","type":"SCALAR","scalar":{"value":10.0}}{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":3},{"begin":5,"end":5}]}}{"name":"odd","type":"TEXT","text":{"value":"inf"}}{"name":"hex","type":"TEXT","text":{"value":"0x1"}}{"name":"half","type":"SCALAR","scalar":{"value":0.5}}{"name":"mix","type":"TEXT","text":{"value":"1a"}}`; string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	for _, bad := range []string{"rack", ":x", "x:", "s:{a,b}", "p:[1", "p:[5-1]"} {
		if _, err := ParseAttributes(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParseAttributes(f *testing.F) {
	f.Add("rack:r1;zone:z1;level:10;ports:[1-5]")
	f.Add("a:{b};c")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseAttributes(text)
		for _, a := range got {
			if err != nil || a.GetName() == "" || a.Type == nil {
				t.Fatalf("%v with %v", a, err)
			}
		}
	})
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10mins": 10 * time.Minute, "5secs": 5 * time.Second, "1weeks": 7 * 24 * time.Hour, "1.5hrs": 90 * time.Minute, "2days": 48 * time.Hour, "500ms": 500 * time.Millisecond, "1us": time.Microsecond, "7ns": 7,
		"1h30m": 90 * time.Minute, "1h5ms": time.Hour + 5*time.Millisecond, "0ns": 0, " 3 secs ": 3 * time.Second, "-1secs": -time.Second,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "secs", "xmins", "1000000weeks", "1e300secs", "nansecs", "5 parsecs"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{5 * time.Second: "5secs", 15 * time.Minute: "15mins", 7 * 24 * time.Hour: "1weeks", 90 * time.Second: "1.5mins", 0: "0ns", 100 * time.Millisecond: "100ms", -time.Second: "-1secs", 36 * time.Hour: "1.5days", 3: "3ns"} {
		got := FormatDuration(d)
		if back, err := ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%v: %q reads back as %v, %v", d, got, back, err)
		}
	}
}
