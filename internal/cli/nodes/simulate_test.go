package nodes

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/fault"
	"github.com/pando-os/pando/internal/fleet"
)

func TestAFlagOfSimulateThatCannotBeIsNamed(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--agents", "0"}, "--agents: 0"},
		{[]string{"--master", "here"}, "--master: \"here\" is not HOST:PORT"},
		{[]string{"--resources", "cpus"}, "--resources: "},
		{[]string{"--attributes", "rack"}, "--attributes: "},
		{[]string{"--attributes", "rack:r1", "--racks", "3"}, "--attributes: rack"},
		{[]string{"--racks", "2", "--zones", "3"}, "--racks: 2 cannot fill 3 zones"},
		{[]string{"--start-time", "soon"}, "--start-time: \"soon\""},
		{[]string{"--run-time", "2s..1s"}, "--run-time: \"2s..1s\""},
		{[]string{"--failure-rate", "2"}, "--failure-rate: 2"},
		{[]string{"--failure-rate", "NaN"}, "--failure-rate: NaN"},
		{[]string{"--hang", "10"}, "--hang: \"10\""},
		{[]string{"--drop", "5@1m+1s"}, "--drop: \"5@1m+1s\""},
		{[]string{"--agents", "10", "--restart", "11@1s"}, "--restart 11@1s: there are only 10 agents"},
		{[]string{"--tasks", "-1"}, "--tasks: it must be"},
		{[]string{"--in-flight", "5", "--per-offer", "6"}, "--per-offer: 6"},
		{[]string{"--rate", "-1"}, "--rate: it must be"},
		{[]string{"--encoding", "xml"}, "--encoding: it must be protobuf or json"},
		{[]string{"--output", "xml"}, "--output: it must be table or json"},
		{[]string{"--log", "loud"}, "--log: \"loud\""},
	} {
		cmd := simulate()
		cmd.SetArgs(c.args)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.ExecuteContext(t.Context()); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}

func TestSimulateHasTasksOfItsOwnOnlyWhereNoClusterIsNamed(t *testing.T) {
	until := fleet.Span{}
	for _, c := range []struct {
		args  []string
		tasks int
		run   fleet.Span
	}{
		{nil, 10_000, fleet.Span{Min: now, Max: now}},
		{[]string{"--run-time", "0"}, 10_000, until},
		{[]string{"--master", "a:1,b:2"}, 0, until},
		{[]string{"--master", "a:1", "--tasks", "7"}, 7, fleet.Span{Min: now, Max: now}},
		{[]string{"--master", "a:1", "--tasks", "7", "--run-time", "1s..2s"}, 7, fleet.Span{Min: time.Second, Max: 2 * time.Second}},
	} {
		p, cmd := &plan{}, simulate()
		cmd.ResetFlags()
		p.bind(cmd)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		if err := p.check(cmd); err != nil {
			t.Errorf("%v: %v", c.args, err)
		}
		if p.tasks != c.tasks || p.fleet.Tasks.Run != c.run || (p.load() == nil) != (c.tasks == 0) {
			t.Errorf("%v: %d tasks of %s", c.args, p.tasks, p.fleet.Tasks.Run)
		}
	}
}

func TestABrokenPromiseOfTheLoadIsTold(t *testing.T) {
	lose := func(l *fleet.Load) { l.Lost.Add(1) }
	for name, c := range map[string]struct {
		faults []fleet.Fault
		rate   float64
		do     func(*fleet.Load)
		want   string
	}{
		"all finished":                         {do: func(*fleet.Load) {}},
		"a failure that was not asked for":     {do: func(l *fleet.Load) { l.Failed.Add(1) }, want: "1 task failed"},
		"a failure that was":                   {rate: 0.1, do: func(l *fleet.Load) { l.Failed.Add(1) }},
		"a loss without a reason":              {do: lose, want: "1 task was lost"},
		"a loss with a drop":                   {faults: []fleet.Fault{{Kind: fleet.Drop}}, do: lose},
		"a loss with a restart, which is none": {faults: []fleet.Fault{{Kind: fleet.Restart, For: time.Second}}, do: lose, want: "1 task was lost"},
		"a kill":                               {do: func(l *fleet.Load) { l.Killed.Add(2) }, want: "2 tasks were killed"},
	} {
		l := &fleet.Load{}
		c.do(l)
		err := (&plan{faults: c.faults, failureRate: c.rate}).broken(l)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheFileOfFiguresHasALineForEachSecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.csv")
	table, err := newRows(path)
	if err != nil {
		t.Fatal(err)
	}
	cells := make([]string, len(columns))
	table.add(cells)
	if err := table.close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := csv.NewReader(f).ReadAll()
	if diff := cmp.Diff([][]string{columns, cells}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := newRows(t.TempDir()); err == nil || !strings.HasPrefix(err.Error(), "--csv: ") {
		t.Errorf("a directory is taken for a file: %v", err)
	}
}

func TestTheSummaryTellsOfTheMasterOnlyWhenItIsOwn(t *testing.T) {
	for _, own := range []bool{false, true} {
		var b bytes.Buffer
		r := report{own: own, Agents: 3, Tasks: 5, Encoding: "json"}
		r.Counts.Drops = 1
		if err := r.print(&b, false); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "MASTER"); got != own || !strings.Contains(b.String(), "1 dropped") {
			t.Errorf("own %v:\n%s", own, &b)
		}
	}
}
