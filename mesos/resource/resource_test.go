package resource

import (
	"encoding/json"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/mesos/internal/codec"
)

func mustParse(tb testing.TB, text string) List {
	tb.Helper()
	l, err := Parse(text, "*")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func TestSumsAndDifferences(t *testing.T) {
	for name, c := range map[string]struct{ a, b, plus, minus string }{
		"scalars are exact to a thousandth":              {"cpus:0.1;mem:10", "cpus:0.2", "cpus:0.3;mem:10", "mem:10"},
		"what is used up is not listed":                  {"cpus:4;mem:1", "cpus:4", "cpus:8;mem:1", "mem:1"},
		"nothing goes below zero":                        {"cpus:1", "cpus:3", "cpus:4", ""},
		"ports are cut in the middle":                    {"ports:[1-10]", "ports:[4-5]", "ports:[1-10]", "ports:[1-3,6-10]"},
		"neighbouring ports are joined":                  {"ports:[1-3,8-9]", "ports:[4-7]", "ports:[1-9]", "ports:[1-3,8-9]"},
		"a cut may span several ranges":                  {"ports:[1-3,5-7,9-12]", "ports:[3-10]", "ports:[1-12]", "ports:[1-2,11-12]"},
		"sets have no duplicates":                        {"s:{a,b}", "s:{b,c}", "s:{a,b,c}", "s:{a}"},
		"roles are kept apart":                           {"cpus(a):1;cpus:1", "cpus(a):1", "cpus:1;cpus(a):2", "cpus:1"},
		"revocable is kept apart":                        {"cpus{REV}:1;cpus:1", "cpus:1", "cpus:2;cpus{REV}:1", "cpus{REV}:1"},
		"other names are added in order":                 {"mem:1", "cpus:1;ports:[1-1]", "cpus:1;mem:1;ports:[1-1]", "mem:1"},
		"the whole of nothing is nothing":                {"", "cpus:1", "cpus:1", ""},
		"the last port there is can be cut off":          {"ports:[0-18446744073709551615]", "ports:[18446744073709551615-18446744073709551615]", "ports:[0-18446744073709551615]", "ports:[0-18446744073709551614]"},
		"what is the same on both sides in other things": {"cpus:1;mem:2", "disk:1;mem:2", "cpus:1;disk:1;mem:4", "cpus:1"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := mustParse(t, c.a), mustParse(t, c.b)
			before := a.String() + b.String()
			if got := a.Plus(b).String(); got != c.plus {
				t.Errorf("plus: got %s, want %s", got, c.plus)
			}
			if got := a.Minus(b).String(); got != c.minus {
				t.Errorf("minus: got %s, want %s", got, c.minus)
			}
			if a.String()+b.String() != before {
				t.Error("an operand changed")
			}
		})
	}
}

func volume(id string, mb Quantity, shared bool) Resource {
	return Resource{Name: "disk", Scalar: mb * One, Traits: NewTraits(&Traits{
		Reservations: []Reservation{{Dynamic: true, Role: "r", Principal: "p"}},
		Disk:         &Disk{PersistenceID: id, Volume: &Volume{ContainerPath: "d"}}, Shared: shared,
	})}
}

func TestVolumesAreWhole(t *testing.T) {
	a, b := New(volume("a", 10, false)), New(volume("a", 5, false))
	if a.Contains(b) {
		t.Error("a volume holds a smaller one of its id")
	}
	if got := a.Minus(b); !got.Equal(a) {
		t.Errorf("a volume was cut: %v", got)
	}
	if got := a.Minus(a); !got.IsEmpty() {
		t.Errorf("a volume less itself is %v", got)
	}
	s := New(volume("s", 10, true))
	if got := s.Plus(s); !got.Equal(s) {
		t.Errorf("a shared volume was counted twice: %v", got)
	}
	other := volume("a", 10, false)
	other.Traits = NewTraits(&Traits{Reservations: other.Traits.Reservations, Disk: &Disk{PersistenceID: "a", Volume: &Volume{ContainerPath: "elsewhere", ReadOnly: true}}})
	if !a.Equal(New(other)) {
		t.Error("how a task sees a volume tells volumes apart")
	}
	if got := a.WithoutVolumes().String(); got != "disk(r)<dynamic r p>:10" {
		t.Errorf("without volumes: %s", got)
	}
}

func TestReservationsAndRoles(t *testing.T) {
	free := mustParse(t, "cpus:4;mem:100")
	taken := mustParse(t, "cpus:1").PushReservation(Reservation{Dynamic: true, Role: "eng"})
	refined := mustParse(t, "mem:8").PushReservation(Reservation{Dynamic: true, Role: "eng"}).PushReservation(Reservation{Dynamic: true, Role: "eng/web"})
	all := free.Plus(taken).Plus(refined)
	for name, c := range map[string]struct{ got, want string }{
		"a role gets its own and what is free":        {all.AllocatableTo("eng").String(), "cpus:4;cpus(eng)<dynamic eng>:1;mem:100"},
		"a child gets its ancestors' too":             {all.AllocatableTo("eng/web").Minus(free).String(), "cpus(eng)<dynamic eng>:1;mem(eng/web)<dynamic eng, dynamic eng/web>:8"},
		"a role with the same beginning does not":     {all.AllocatableTo("engine").String(), free.String()},
		"unreserved is what no role has":              {all.Unreserved().String(), free.String()},
		"popping gives back what pushing took":        {taken.PopReservation().String(), "cpus:1"},
		"the newest layer is the role":                {strings.Join(all.Roles(), " "), "eng eng/web"},
		"refined ones can be left out":                {all.WithoutRefined().Minus(free).String(), taken.String()},
		"reserved to a role means exactly that role":  {all.ReservedTo("eng").String(), taken.String()},
		"a scalar is summed over all its traits":      {all.Scalar("cpus").String(), "5"},
		"what is reserved is all but what is free":    {all.Reserved().String(), taken.Plus(refined).String()},
		"nothing here is revocable":                   {all.Revocable().String(), ""},
		"all of it is therefore kept by NonRevocable": {all.NonRevocable().String(), all.String()},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", name, c.got, c.want)
		}
	}
	if !all.HasRefinedReservations() || taken.HasRefinedReservations() {
		t.Error("refined reservations are not told from others")
	}
	got := maps.Collect(all.Quantities())
	if diff := cmp.Diff(map[string]Quantity{"cpus": 5 * One, "mem": 108 * One}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRefusedResources(t *testing.T) {
	for text, word := range map[string]string{
		`{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}`:                                                                                                                  "scalar.value",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":"Infinity"}}`:                                                                                                          "scalar.value",
		`{"name":"cpus","type":"SCALAR"}`:                                                                                                                                        "type",
		`{"name":"cpus","type":"TEXT"}`:                                                                                                                                          "type",
		`{"name":"","type":"SCALAR","scalar":{"value":1}}`:                                                                                                                       "name",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"set":{}}`:                                                                                                          "type",
		`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":5},{"begin":5,"end":6}]}}`:                                                                          "ranges",
		`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":5,"end":1}]}}`:                                                                                              "ranges",
		`{"name":"s","type":"SET","set":{"item":["a","a"]}}`:                                                                                                                     "set",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"a b"}`:                                                                                                      "role",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"*","reservation":{}}`:                                                                                       "reservation",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"role":"a"}]}`:                                                                                     "reservations[0].type",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"role":"*","type":"DYNAMIC"}]}`:                                                                    "reservations[0].role",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"role":"a","type":"DYNAMIC"},{"role":"b","type":"DYNAMIC"}]}`:                                      "reservations[1].role",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"role":"a","type":"DYNAMIC"},{"role":"a/b","type":"STATIC"}]}`:                                     "reservations[1].type",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"b","reservations":[{"role":"a","type":"DYNAMIC"}]}`:                                                         "role",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"disk":{"persistence":{"id":"x"}}}`:                                                                                 "disk",
		`{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"persistence":{"id":""}}}`:                                                                                  "disk.persistence.id",
		`{"name":"disk","type":"SCALAR","scalar":{"value":1},"shared":{}}`:                                                                                                       "shared",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"a"}},{"name":"mem","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"b"}}`: "resources[1].allocation_info.role",
		`{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"source":{"type":"UNKNOWN"}}}`:                                                                              "disk.source.type",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"a","reservation":{"type":"STATIC"}}`:                                                                        "reservation",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1e300}}`:                                                                                                               "scalar.value",
		`{"name":"ports","type":"RANGES"}`:                                                                                                                                       "type",
		`{"name":"ports","type":"SET"}`:                                                                                                                                          "type",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"a/"}}`:                                                                                   "allocation_info.role",
		`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"reservations":[{"role":"a","type":"STATIC"},{"role":"a/b","type":"DYNAMIC"},{"role":"a/b","type":"DYNAMIC"}],"provider_id":null}`: "reservations[2].role",
	} {
		_, _, err := FromJSON([]byte("[" + text + "]"))
		if err == nil || !strings.Contains(err.Error(), word+":") {
			t.Errorf("%s: got %v, want an error about %s", text, err, word)
		}
	}
}

func TestNotANumberIsRefused(t *testing.T) {
	nan := &mesosv1.Resource{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: new(math.NaN())}}
	if _, _, err := FromProto([]*mesosv1.Resource{nan}); err == nil {
		t.Error("NaN was taken")
	}
}

func TestBothFormatsMeanTheSame(t *testing.T) {
	old := `[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"role":"probe","reservation":{"principal":"p","labels":{"labels":[{"key":"k"}]}}},
	         {"name":"cpus","type":"SCALAR","scalar":{"value":0},"role":"*"}, {"name":"mem","type":"SCALAR","scalar":{"value":2},"role":"s"}]`
	stack := `[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"reservations":[{"type":"DYNAMIC","role":"probe","principal":"p","labels":{"labels":[{"key":"k"}]}}]},
	         {"name":"mem","type":"SCALAR","scalar":{"value":2},"reservations":[{"type":"STATIC","role":"s"}]}]`
	a, _, err1 := FromJSON([]byte(old))
	b, _, err2 := FromJSON([]byte(stack))
	if err1 != nil || err2 != nil || !a.Equal(b) {
		t.Errorf("%v (%v) is not %v (%v)", a, err1, b, err2)
	}
	if got, want := string(a.AppendJSON(nil, "", Endpoint)), `[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"role":"probe","reservation":{"principal":"p","labels":{"labels":[{"key":"k"}]}},"reservations":[{"type":"DYNAMIC","role":"probe","principal":"p","labels":{"labels":[{"key":"k"}]}}]},{"name":"mem","type":"SCALAR","scalar":{"value":2.0},"role":"s","reservations":[{"type":"STATIC","role":"s"}]}]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestV0Forms(t *testing.T) {
	l := mustParse(t, "cpus:3.5;cpus(a):0.5;cpus{REV}:2;disk:10;ports:[31000-31001,31005-31005];ports(a):[1-1];s:{b,a};x:0.125")
	want := `{"cpus":4.0,"disk":10.0,"gpus":0.0,"mem":0.0,"cpus_revocable":2.0,"ports":"[1-1, 31000-31001, 31005-31005]","s":"{a, b}","x":0.125}`
	if got := string(l.AppendV0(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = `{"a":{"cpus":0.5,"disk":0.0,"gpus":0.0,"mem":0.0,"ports":"[1-1]"}}`
	if got := string(l.AppendV0Reserved(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(l.AppendV0ReservedFull(nil)), `{"a":[{"name":"cpus",`; !strings.HasPrefix(got, want) || !json.Valid([]byte(got)) {
		t.Errorf("got %s", got)
	}
	if got := string(List(nil).AppendV0(nil)); got != `{"cpus":0.0,"disk":0.0,"gpus":0.0,"mem":0.0}` {
		t.Errorf("got %s", got)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"cpus(role):4;mem:1024;ports:[1-5,7-9];set:{a,b}": "cpus(role):4;mem:1024;ports:[1-5,7-9];set:{a,b}",
		" cpus : 4 ; ; mem:0;\n disk ( a/b ) :1.0005 ":    "cpus:4;disk(a/b):1.001",
		"cpus:1;cpus:2":         "cpus:3",
		"ports:[7-9, 1-5, 6-6]": "ports:[1-9]",
		"ports:[]":              "",
		"":                      "",
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"role":"x"}]`: "cpus(x):2",
	} {
		if got, err := Parse(text, "*"); err != nil || got.String() != want {
			t.Errorf("%q: got %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"cpus", "cpus:", "cpus:x", ":1", "cpus(a:1", "cpus(a b):1", "cpus:-1", "cpus:NaN", "ports:[1", "ports:[5-1]", "ports:[1-3,2-4]", "ports:[a-b]", "s:{a", "s:{a,,b}", "s:{a,a}", "cpus:1;cpus:[1-2]", "[{}]", "[", "cpus:1e15;cpus:1e300", `[],"agent_id":{}`} {
		if got, err := Parse(text, "*"); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
	if got, err := Parse("cpus:1;mem(b):2", "a"); err != nil || got.String() != "cpus(a):1;mem(b):2" {
		t.Errorf("default role: got %v, %v", got, err)
	}
	if got, err := Parse(`[{"name":"cpus","type":"SCALAR","scalar":{"value":2}}]`, "a"); err != nil || got.String() != "cpus(a):2" {
		t.Errorf("default role in JSON: got %v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"cpus(role):4;mem:1024;ports:[1-5,7-9];set:{a,b}", "cpus{REV}:1", "a:[]", "a:{}", `[{"name":"disk","type":"SCALAR","scalar":{"value":2},"disk":{"source":{"type":"MOUNT","mount":{"root":"/x"}}}}]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text, "*")
		if err != nil {
			return
		}
		if again := canonical(append(List(nil), l...)); !again.Equal(l) {
			t.Fatalf("%v is not canonical: %v", l, again)
		}
		if s := l.String(); !strings.ContainsAny(text, "<>[\"") && !strings.ContainsAny(s, "<>\"") {
			if again, err := Parse(s, "*"); err != nil || !again.Equal(l) {
				t.Fatalf("%q reads back as %v, %v", s, again, err)
			}
		}
	})
}

// drawList draws lists that name the same few things, so that sums meet.
func drawList(t *rapid.T, label string) List {
	traits := func() *Traits {
		return NewTraits([]*Traits{
			nil,
			nil,
			{Reservations: []Reservation{{Role: "a"}}},
			{Reservations: []Reservation{{Role: "a", Dynamic: true, Principal: "p", Labels: []Label{{"x", "y", true}, {"k", "", false}}}}},
			{Reservations: []Reservation{{Role: "a"}, {Role: "a/b", Dynamic: true}}},
			{Revocable: true},
			{Provider: "rp"},
		}[rapid.IntRange(0, 6).Draw(t, "traits")])
	}
	disk := func() *Traits {
		return NewTraits([]*Traits{
			{Reservations: []Reservation{{Role: "a", Dynamic: true}}, Disk: &Disk{PersistenceID: "v", Principal: "p", Volume: &Volume{ContainerPath: "c", HostPath: "h"}}},
			{Reservations: []Reservation{{Role: "a", Dynamic: true}}, Disk: &Disk{PersistenceID: "w", Volume: &Volume{ContainerPath: "c", ReadOnly: true}}},
			{Disk: &Disk{Source: Source{Kind: PathDisk, Root: "/p", HasPlace: true}}},
			{Disk: &Disk{Source: Source{Kind: MountDisk, Root: "/m", HasPlace: true}}},
			{Disk: &Disk{Source: Source{Kind: RawDisk, ID: "i", Vendor: "v", Profile: "f", Metadata: []Label{{"k", "v", true}}}}},
		}[rapid.IntRange(0, 4).Draw(t, "disk")])
	}
	one := rapid.Custom(func(t *rapid.T) Resource {
		switch kind := rapid.IntRange(0, 5).Draw(t, "kind"); kind {
		case 0, 1, 2:
			return Resource{Name: []string{"cpus", "mem", "z"}[kind], Scalar: Quantity(rapid.IntRange(0, 5000).Draw(t, "amount")), Traits: traits()}
		case 3:
			var spans []Span
			at := uint64(0)
			for range rapid.IntRange(0, 4).Draw(t, "spans") {
				at += uint64(rapid.IntRange(2, 5).Draw(t, "gap"))
				end := at + uint64(rapid.IntRange(0, 4).Draw(t, "length"))
				spans, at = append(spans, Span{at, end}), end
			}
			return Resource{Name: "ports", Kind: Ranges, Spans: spans, Traits: traits()}
		case 4:
			items, _ := newItems(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d\n"}), 0, 4, rapid.ID).Draw(t, "items"))
			return Resource{Name: "set", Kind: Set, Items: items, Traits: traits()}
		}
		return Resource{Name: "disk", Scalar: Quantity(rapid.IntRange(1, 3).Draw(t, "amount")) * One, Traits: disk()}
	})
	return New(rapid.SliceOfN(one, 0, 8).Draw(t, label)...)
}

func isCanonical(l List) bool {
	for i := range l {
		if l[i].IsEmpty() {
			return false
		}
		if i > 0 && (compareWhole(&l[i-1], &l[i]) > 0 || compareWhole(&l[i-1], &l[i]) == 0 && !l[i].whole()) {
			return false
		}
		for j := 1; j < len(l[i].Spans); j++ {
			if l[i].Spans[j-1].next() >= l[i].Spans[j].Begin {
				return false
			}
		}
	}
	return true
}

func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawList(t, "a"), drawList(t, "b"), drawList(t, "c")
		before := a.String() + b.String()
		sum, rest := a.Plus(b), a.Minus(b)
		switch {
		case !isCanonical(a) || !isCanonical(sum) || !isCanonical(rest):
			t.Fatal("not canonical")
		case !sum.Equal(b.Plus(a)):
			t.Fatal("a+b is not b+a")
		case !sum.Plus(c).Equal(a.Plus(b.Plus(c))):
			t.Fatal("(a+b)+c is not a+(b+c)")
		case !sum.Contains(a) || !sum.Contains(b):
			t.Fatal("a sum does not contain its parts")
		case !a.Contains(rest) || !a.Minus(a).IsEmpty():
			t.Fatal("a difference is not part of what it was taken from")
		case a.Contains(b) && !rest.Plus(b).Equal(a):
			t.Fatalf("%v is in %v, and yet taking it and putting it back gives %v", b, a, rest.Plus(b))
		case a.Contains(b) && b.Contains(a) && !a.Equal(b):
			t.Fatal("two that contain each other differ")
		case a.Unreserved().Plus(a.Reserved()).String() != a.String():
			t.Fatal("unreserved and reserved are not the whole")
		case before != a.String()+b.String():
			t.Fatal("an operand changed")
		}
		for name, q := range sum.Quantities() {
			if q != a.Scalar(name)+b.Scalar(name) {
				t.Fatalf("the sum of %s is %v", name, q)
			}
		}
	})
}

func TestScalarsComeApartAsTheyWerePutTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scalars := func(l List) List { return l.Filter(func(r *Resource) bool { return r.Kind == Scalar }) }
		a, b := scalars(drawList(t, "a")), scalars(drawList(t, "b"))
		if got := a.Plus(b).Minus(b); !got.Equal(a) {
			t.Fatalf("(a+b)-b is %v", got)
		}
	})
}

func TestTheWireRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawList(t, "l")
		role := rapid.SampledFrom([]string{"", "a/b"}).Draw(t, "role")
		for _, f := range []Format{PostRefinement, PreRefinement, Endpoint} {
			want := &mesosv1.Request{Resources: l.ToProto(role, f)}
			back, gotRole, err := FromProto(want.Resources)
			if err != nil || !back.Equal(l) || gotRole != role && len(l) > 0 {
				t.Fatalf("format %d: %v reads back as %v, %q, %v", f, l, back, gotRole, err)
			}
			var fromWire, fromJSON mesosv1.Request
			if err := proto.Unmarshal(l.AppendProto(nil, 2, role, f), &fromWire); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, &fromWire, protocmp.Transform()); diff != "" {
				t.Fatalf("format %d, proto: %s", f, diff)
			}
			text := l.AppendJSON(nil, role, f)
			if err := protojson.Unmarshal([]byte(`{"resources":`+string(text)+`}`), &fromJSON); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			general, err := codec.AppendJSON(nil, want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(asAny(t, general)["resources"], asAny(t, []byte(`{"resources":`+string(text)+`}`))["resources"]); diff != "" && len(l) > 0 {
				t.Fatalf("format %d, JSON: %s", f, diff)
			}
		}
		if !json.Valid(l.AppendV0(nil)) || !json.Valid(l.AppendV0Reserved(nil)) || !json.Valid(l.AppendV0ReservedFull(nil)) {
			t.Fatal("a v0 form is no JSON")
		}
	})
}

func asAny(t *rapid.T, text []byte) map[string]any {
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestPlainListsAllocateAtMostOnce(t *testing.T) {
	a, b := mustParse(t, "cpus:4;disk:10;gpus:1;mem:4"), mustParse(t, "cpus:1;disk:2;gpus:1;mem:1")
	var out List
	var text []byte
	for name, c := range map[string]struct {
		limit float64
		f     func()
	}{
		"plus":     {1, func() { out = a.Plus(b) }},
		"minus":    {1, func() { out = a.Minus(b) }},
		"contains": {0, func() { _ = a.Contains(b) }},
		"proto":    {0, func() { text = a.AppendProto(text[:0], 1, "r", PostRefinement) }},
		"json":     {0, func() { text = a.AppendJSON(text[:0], "r", PreRefinement) }},
		"v0":       {0, func() { text = a.AppendV0(text[:0]) }},
	} {
		c.f()
		if n := testing.AllocsPerRun(100, c.f); n > c.limit {
			t.Errorf("%s allocates %v times, at most %v is meant", name, n, c.limit)
		}
	}
	_ = out
}

func BenchmarkPlus(b *testing.B) {
	x, y := mustParse(b, "cpus:4;disk:10;mem:4;ports:[31000-32000]"), mustParse(b, "cpus:1;disk:2;mem:1")
	b.ReportAllocs()
	for b.Loop() {
		x.Plus(y)
	}
}

func BenchmarkMinus(b *testing.B) {
	x, y := mustParse(b, "cpus:4;disk:10;mem:4;ports:[31000-32000]"), mustParse(b, "cpus:1;disk:2;mem:1")
	b.ReportAllocs()
	for b.Loop() {
		x.Minus(y)
	}
}

func BenchmarkContains(b *testing.B) {
	x, y := mustParse(b, "cpus:4;disk:10;mem:4;ports:[31000-32000]"), mustParse(b, "cpus:1;disk:2;mem:1")
	b.ReportAllocs()
	for b.Loop() {
		x.Contains(y)
	}
}

func BenchmarkFromProto(b *testing.B) {
	rs := mustParse(b, "cpus:4;disk:10;mem:4;ports:[31000-32000]").ToProto("r", PostRefinement)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := FromProto(rs); err != nil {
			b.Fatal(err)
		}
	}
}
