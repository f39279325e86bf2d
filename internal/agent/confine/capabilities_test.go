package confine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

func TestAnOperatorsCapabilitiesAreReadByTheirNames(t *testing.T) {
	for text, want := range map[string]string{
		"NET_RAW, CAP_KILL": "KILL, NET_RAW", ` {"capabilities": ["NET_RAW", "MKNOD"]}`: "NET_RAW, MKNOD", `{"capabilities": []}`: "", "checkpoint_restore": "CHECKPOINT_RESTORE",
	} {
		if got, err := ParseSet(text); err != nil || got == nil || got.String() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if got, err := ParseSet("ALL"); err != nil || *got != All || len(got.List()) != 41 {
		t.Errorf("all are %v, %v", got, err)
	}
	if got, err := ParseSet(" "); err != nil || got != nil {
		t.Errorf("no text is %v, %v", got, err)
	}
	for _, text := range []string{"FLY", "UNKNOWN", `{"capabilities": ["FLY"]}`, `{"effective": ["KILL"]}`, `{}`, `{"capabilities": ["KILL"]} x`, `{"capabilities": "KILL"}`} {
		if got, err := ParseSet(text); err == nil {
			t.Errorf("%s was taken for %v", text, got)
		}
	}
}

func set(names ...string) *Set {
	var s Set
	for _, n := range names {
		x, err := ByName(n)
		if err != nil {
			panic(err)
		}
		s |= x
	}
	return &s
}

func TestNoContainerPassesTheOperatorsBounds(t *testing.T) {
	none := (*Set)(nil)
	for name, c := range map[string]struct {
		bounds              Bounds
		effective, bounding *Set
		wantE, wantB        *Set
		words               []string
	}{
		"nothing said":                         {},
		"its own word":                         {Bounds{}, set("KILL"), set("KILL", "CHOWN"), set("KILL"), set("KILL", "CHOWN"), nil},
		"the operator's for who says nothing":  {Bounds{set("KILL"), set("KILL", "CHOWN")}, nil, nil, set("KILL"), set("KILL", "CHOWN"), nil},
		"a default is no bound":                {Bounds{Effective: set("KILL")}, set("CHOWN"), nil, set("CHOWN"), none, nil},
		"nothing instead of the default":       {Bounds{Effective: set("KILL")}, set(), nil, set(), none, nil},
		"within the bound":                     {Bounds{Bounding: set("KILL", "CHOWN")}, set("KILL"), nil, set("KILL"), set("KILL", "CHOWN"), nil},
		"a bound below the operator's":         {Bounds{Bounding: set("KILL", "CHOWN")}, nil, set("KILL"), none, set("KILL"), nil},
		"effective beyond the bound":           {Bounds{Bounding: set("KILL")}, set("KILL", "NET_RAW"), nil, nil, nil, []string{": NET_RAW;", "--bounding-capabilities"}},
		"bounding beyond the bound":            {Bounds{Bounding: set("KILL")}, nil, set("SYS_ADMIN"), nil, nil, []string{": SYS_ADMIN;", "--bounding-capabilities"}},
		"effective beyond its own bound":       {Bounds{}, set("KILL"), set("CHOWN"), nil, nil, []string{": KILL;", "container.linux_info.bounding_capabilities"}},
		"the default beyond its own bound":     {Bounds{Effective: set("KILL")}, nil, set("CHOWN"), nil, nil, []string{": KILL;", "container.linux_info.bounding_capabilities"}},
		"a bound of nothing, and one is asked": {Bounds{Bounding: set()}, set("KILL"), nil, nil, nil, []string{": KILL;", "--bounding-capabilities"}},
	} {
		e, b, err := c.bounds.Settle(c.effective, c.bounding)
		if d := cmp.Diff([]*Set{c.wantE, c.wantB}, []*Set{e, b}); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if (err == nil) != (c.words == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range c.words {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q lacks %q", name, err, w)
			}
		}
	}
	if err := (Bounds{set("KILL"), set("CHOWN")}).Check(); err == nil || !strings.Contains(err.Error(), "--effective-capabilities: KILL") {
		t.Errorf("a default beyond the bound: %v", err)
	}
	if err := (Bounds{set("KILL"), set("KILL")}).Check(); err != nil {
		t.Error(err)
	}
}

func TestCapabilitiesOfTheProtocolHaveTheKernelsNumbers(t *testing.T) {
	c := &mesosv1.CapabilityInfo{Capabilities: []mesosv1.CapabilityInfo_Capability{mesosv1.CapabilityInfo_CHOWN, mesosv1.CapabilityInfo_SYS_ADMIN, mesosv1.CapabilityInfo_UNKNOWN}}
	if d := cmp.Diff([]int{0, 21}, Of(c).List()); d != "" {
		t.Error(d)
	}
	if Of(nil) != nil || *Of(&mesosv1.CapabilityInfo{}) != 0 {
		t.Error("no word and a word for none are not told apart")
	}
	for n := range last + 1 { // every name that there is, so that none of the protocol's is lost
		if name := Numbers([]int{n}).String(); name == "" || strings.HasPrefix(name, "1") {
			t.Errorf("the capability %d has the name %q", n, name)
		}
	}
}
