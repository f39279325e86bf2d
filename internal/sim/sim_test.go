package sim

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pando-os/pando/internal/sim/stage"
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
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // worlds are small and soon over
	list, only := seeds(t)
	sum := stage.New(0, false).Cover
	slowest, took, all := uint64(0), time.Duration(0), time.Duration(0)
	for _, seed := range list {
		begun := machineTime(t)
		w, failure := Run(Params{Seed: seed})
		d := machineTime(t) - begun
		if all += d; d > took {
			slowest, took = seed, d
		}
		sum.Add(w.Cover)
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
	pace := fmt.Sprintf("pace: %d seeds, %.1f cluster hours in %.1f s of machine time, %.2f hours a second; the slowest seed, %d, took %.2f s",
		len(list), sum.Time.Hours(), all.Seconds(), sum.Time.Hours()/all.Seconds(), slowest, took.Seconds())
	t.Logf("%s; %d events\n%s", pace, sum.Events, sum)
	if file := os.Getenv("PANDO_SIM_PACE"); file != "" {
		if err := os.WriteFile(file, []byte(pace+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(list) < 50 {
		return
	}
	for _, m := range sum.Missing(wanted()) {
		t.Errorf("this never happened: %s", m)
	}
}

// machineTime is what this process has had of the machine.
func machineTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
	if a.steps != b.steps || a.Now() != b.Now() || !slices.Equal(a.Lines(), b.Lines()) {
		t.Errorf("two runs of one seed differ: %d and %d events, until %s and %s", a.steps, b.steps, a.Now(), b.Now())
	}
	if c, _ := Run(Params{Seed: 7}); c.steps != a.steps || c.Now() != a.Now() {
		t.Errorf("a run that writes no trace differs: %d and %d events, until %s and %s", a.steps, c.steps, a.Now(), c.Now())
	}
}
