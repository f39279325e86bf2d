package sim

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/sim/cover"
)

// seeds are those that failed once, and then as many fresh ones as PANDO_SIM_SEEDS says (10), from PANDO_SIM_FROM on
// (1); PANDO_SIM_SEED names one alone.
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
	fresh, from := uint64(10), uint64(1)
	if s := os.Getenv("PANDO_SIM_SEEDS"); s != "" {
		fresh = number("PANDO_SIM_SEEDS", s)
	}
	if s := os.Getenv("PANDO_SIM_FROM"); s != "" { // a part of many: those that failed once ran with the first
		from = number("PANDO_SIM_FROM", s)
	} else {
		list = kept(t, number)
	}
	for n := range fresh {
		list = append(list, from+n)
	}
	return list, false
}

// kept are the seeds that failed once.
func kept(t *testing.T, number func(name, text string) uint64) (list []uint64) {
	t.Helper()
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
	return list
}

// shown is how many of the last lines of its trace a failure prints.
const shown = 300

func TestTheClusterKeepsItsPromisesUnderFaults(t *testing.T) {
	list, only := seeds(t)
	sum := cover.New(boundaryNames[:])
	slowest, took := uint64(0), time.Duration(0)
	for _, seed := range list {
		begun := time.Now()
		w, failure := Run(Params{Seed: seed})
		if d := time.Since(begun); d > took {
			slowest, took = seed, d
		}
		sum.Add(w.cover)
		if failure != nil {
			again, _ := Run(Params{Seed: seed, Trace: true})
			write(t, again)
			t.Fatalf("%s\nreplay with: make sim SEED=%d\n%v\nthe last events:\n%s\n%s", w.Params, seed, failure, again.Trace(shown), failure)
		}
		if only {
			again, _ := Run(Params{Seed: seed, Trace: true})
			write(t, again)
		}
	}
	if only {
		return
	}
	t.Logf("%d seeds, %d events, %s of cluster time; seed %d took longest, %s\n%s", len(list), sum.Events, sum.Time.Round(time.Minute), slowest, took, sum)
	if len(list) < 50 {
		return
	}
	for _, m := range sum.Missing(wanted()) {
		t.Errorf("this never happened: %s", m)
	}
}

// write puts a whole trace where PANDO_SIM_TRACE says.
func write(t *testing.T, w *World) {
	t.Helper()
	file := os.Getenv("PANDO_SIM_TRACE")
	if file == "" {
		return
	}
	if err := os.WriteFile(file, []byte(w.Params.String()+"\n"+w.Trace(0)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("the trace is in %s", file)
}

func TestASeedReplaysExactly(t *testing.T) {
	a, _ := Run(Params{Seed: 7, Trace: true})
	b, _ := Run(Params{Seed: 7, Trace: true})
	if a.steps != b.steps || a.now != b.now || !slices.Equal(a.trace, b.trace) {
		t.Errorf("two runs of one seed differ: %d and %d events, until %s and %s", a.steps, b.steps, a.now, b.now)
	}
	if c, _ := Run(Params{Seed: 7}); c.steps != a.steps || c.now != a.now {
		t.Errorf("a run that writes no trace differs: %d and %d events, until %s and %s", a.steps, c.steps, a.now, c.now)
	}
}
