package sim

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// seeds are those that failed once, and then as many fresh ones as PANDO_SIM_SEEDS says (10); PANDO_SIM_SEED names one
// alone.
func seeds(t *testing.T) (list []uint64, only bool) {
	t.Helper()
	number := func(name, text string) uint64 {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	if s := os.Getenv("PANDO_SIM_SEED"); s != "" {
		return []uint64{number("PANDO_SIM_SEED", s)}, true
	}
	f, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if text, _, _ := strings.Cut(in.Text(), "#"); strings.TrimSpace(text) != "" {
			list = append(list, number("testdata/seeds.txt", strings.TrimSpace(text)))
		}
	}
	fresh, from := uint64(10), uint64(1)
	if s := os.Getenv("PANDO_SIM_SEEDS"); s != "" {
		fresh = number("PANDO_SIM_SEEDS", s)
	}
	if s := os.Getenv("PANDO_SIM_FROM"); s != "" {
		from = number("PANDO_SIM_FROM", s)
	}
	for n := range fresh {
		list = append(list, from+n)
	}
	return list, false
}

func TestTheClusterKeepsItsPromisesUnderFaults(t *testing.T) {
	list, only := seeds(t)
	sum := Crashes{}
	steps := 0
	for _, seed := range list {
		p := Params{Seed: seed}
		file := os.Getenv("PANDO_SIM_TRACE") // of the last seed, whole
		if file != "" {
			p.TraceLines = 1 << 24
		}
		w, failure := Run(p)
		steps += w.steps
		if file != "" {
			if err := os.WriteFile(file, []byte(w.Trace()), 0o600); err != nil {
				t.Fatal(err)
			}
			w.trace = w.trace[max(0, len(w.trace)-traceLines):]
		}
		if failure != nil {
			t.Errorf("%s\nreplay with: make sim SEED=%d\n%v\nthe last events:\n%s\n%s", w.Params, seed, failure, w.Trace(), failure)
		}
		for kind, row := range w.Crashes {
			for b, n := range row {
				for range n {
					sum.count(kind, Boundary(b))
				}
			}
		}
		if t.Failed() {
			break
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d seeds, %d events; crashes at the boundaries of effects:\n%-8s", len(list), steps, "")
	for b := range boundaries {
		fmt.Fprintf(&table, "%12s", b)
	}
	for _, kind := range []string{"master", "agent"} {
		fmt.Fprintf(&table, "\n%-8s", kind)
		for b := range boundaries {
			n := 0
			if sum[kind] != nil {
				n = sum[kind][b]
			}
			fmt.Fprintf(&table, "%12d", n)
			if n < 20 && len(list) >= 50 && !t.Failed() {
				t.Errorf("%s was crashed at %s only %d times; 20 are wanted within 50 seeds", kind, b, n)
			}
		}
	}
	if !only {
		t.Log(table.String())
	}
}

func TestASeedReplaysExactly(t *testing.T) {
	a, _ := Run(Params{Seed: 7})
	b, _ := Run(Params{Seed: 7})
	if a.steps != b.steps || a.now != b.now || !slices.Equal(a.trace, b.trace) {
		t.Errorf("two runs of one seed differ: %d and %d events, until %s and %s", a.steps, b.steps, a.now, b.now)
	}
}
