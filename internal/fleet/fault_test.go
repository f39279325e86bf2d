package fleet

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestAFaultIsReadOrRefusedWithTheWayOut(t *testing.T) {
	for _, c := range []struct {
		text string
		kind FaultKind
		want Fault
		fail string
	}{
		{text: "10@30s+20s", kind: Hang, want: Fault{Kind: Hang, Count: 10, At: 30 * time.Second, For: 20 * time.Second}},
		{text: "10@30s", kind: Hang, want: Fault{Kind: Hang, Count: 10, At: 30 * time.Second}},
		{text: "5@1m", kind: Drop, want: Fault{Kind: Drop, Count: 5, At: time.Minute}},
		{text: "5%@0s/1h", kind: Drop, want: Fault{Kind: Drop, Count: 5, Percent: true, Every: time.Hour}},
		{text: "100@45s+1.5s/10m", kind: Restart, want: Fault{Kind: Restart, Count: 100, At: 45 * time.Second, For: 1500 * time.Millisecond, Every: 10 * time.Minute}},
		{text: "", fail: "does not say when"},
		{text: "10", fail: "does not say when"},
		{text: "@30s", fail: "number of agents"},
		{text: "0@30s", fail: "number of agents"},
		{text: "-1@30s", fail: "number of agents"},
		{text: "1.5@30s", fail: "number of agents"},
		{text: "101%@30s", fail: "more than 100 %"},
		{text: "10@", fail: "AT is not a time"},
		{text: "10@30", fail: "AT is not a time"},
		{text: "10@-30s", fail: "AT is not a time"},
		{text: "10@30s+", fail: "FOR is not a time"},
		{text: "10@30s+0s", fail: "FOR is not a time"},
		{text: "10@30s/0s", fail: "EVERY is not a time"},
		{text: "10@30s/1m+5s", fail: "EVERY is not a time"},
		{text: "5@1m+10s", kind: Drop, fail: "never comes back"},
	} {
		got, err := ParseFault(c.kind, c.text)
		if c.fail != "" {
			if err == nil || !strings.Contains(err.Error(), c.fail) || !strings.Contains(err.Error(), FaultGrammar) {
				t.Errorf("%q: %v", c.text, err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", c.text, err, diff)
		}
	}
}

func TestAFaultIsReadAsItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		long := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(1, int64(1000*time.Hour)).Draw(t, "time"))
		})
		f := Fault{
			Kind: rapid.SampledFrom([]FaultKind{Hang, Drop, Restart}).Draw(t, "kind"), Percent: rapid.Bool().Draw(t, "percent"),
			Count: rapid.IntRange(1, 100).Draw(t, "count"), At: long.Draw(t, "at"),
		}
		if f.Kind != Drop && rapid.Bool().Draw(t, "lasts") {
			f.For = long.Draw(t, "for")
		}
		if rapid.Bool().Draw(t, "repeats") {
			f.Every = long.Draw(t, "every")
		}
		got, err := ParseFault(f.Kind, f.String())
		if diff := cmp.Diff(f, got); diff != "" || err != nil {
			t.Fatalf("%s: %v\n%s", f, err, diff)
		}
	})
}

// FuzzParseFault: whatever is written, it is refused, or is a fault that can happen and is read again as it is written.
func FuzzParseFault(f *testing.F) {
	for _, text := range []string{"10@30s+20s", "5%@1m/10m", "1@0s", "@", "1@1s+1s/1s", "+1@1s", "1@+1s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFault(Restart, text)
		if err != nil {
			return
		}
		again, err := ParseFault(Restart, got.String())
		if err != nil || again != got || got.Count < 1 || got.At < 0 || got.For < 0 || got.Every < 0 {
			t.Fatalf("%q is read as %+v, then as %+v (%v)", text, got, again, err)
		}
	})
}

func TestAFaultForMoreAgentsThanThereAreNamesTheFlag(t *testing.T) {
	for text, ok := range map[string]bool{"10@1s": true, "11@1s": false, "100%@1s": true} {
		f, err := ParseFault(Hang, text)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckFaults([]Fault{f}, 10); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "--hang "+text) {
			t.Errorf("%s of ten agents: %v", text, err)
		}
	}
	if f := (Fault{Count: 1, Percent: true}); f.of(10) != 1 || f.of(101) != 2 {
		t.Error("a share of agents is not rounded up")
	}
}

func TestASpanIsATimeOrTwo(t *testing.T) {
	for text, want := range map[string]Span{
		"2s": {2 * time.Second, 2 * time.Second}, "0": {}, "100ms..2s": {100 * time.Millisecond, 2 * time.Second},
	} {
		got, err := ParseSpan(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if again, err := ParseSpan(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q", text, got)
		}
	}
	for _, text := range []string{"", "2", "-1s", "2s..1s", "1s..", "..1s", "1s...2s"} {
		if got, err := ParseSpan(text); err == nil || !strings.Contains(err.Error(), "100ms..2s") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		if d := (Span{time.Second, 2 * time.Second}).draw(rng); d < time.Second || d > 2*time.Second {
			t.Fatalf("drawn: %s", d)
		}
	}
}
