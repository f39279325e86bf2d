package interop

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// usual are the recorded cases that this version must answer as the original did.
const usual = "transport/*,subscribe/*,tasks/*,offers/*,executors/*,reconcile/tasks,endpoints/*,operator/*,groups/*"

// verdict is what the probe found of one case. A difference is where, why, what it was originally, what it is here.
type verdict struct {
	Case        string  `json:"case"`
	Differences [][]any `json:"differences"`
}

// probe asks recorded questions of a cluster and reports each case as a test of its own. env is beside the test's own.
func probe(t *testing.T, c cluster, only string, env ...string) {
	t.Helper()
	home := os.Getenv(runGolden)
	report := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(t.Context(), "python3", filepath.Join(home, "probe.py"), "check", "--master", c.Master, "--agent", c.Agent,
		"--only", only, "--deviations", "deviations.txt", "--json", report, "-v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	b, readErr := os.ReadFile(report)
	var verdicts []verdict
	if readErr != nil || json.Unmarshal(b, &verdicts) != nil {
		t.Fatalf("the probe ended without a report: %v\n%s", err, out)
	}
	differ := false
	for i := range verdicts {
		v := &verdicts[i]
		differ = differ || len(v.Differences) > 0
		v.Differences = slices.DeleteFunc(v.Differences, func(d []any) bool { return unreached(t, v.Case, d) })
		t.Run(v.Case, func(t *testing.T) {
			for _, d := range v.Differences {
				line, _ := json.Marshal(d) // it came from JSON
				t.Errorf("%s", line)
			}
		})
	}
	if len(verdicts) == 0 || err != nil && !differ {
		t.Errorf("the probe is not content: %v\n%s", err, out)
	}
}

// unreached says whether a difference is a step that the probe waited for in vain, and that is meant. The probe itself takes
// deviations of answers alone.
func unreached(t *testing.T, name string, difference []any) bool {
	t.Helper()
	if len(difference) < 2 || difference[1] != "not reached" {
		return false
	}
	b, err := os.ReadFile("deviations.txt")
	if err != nil {
		t.Fatal(err)
	}
	step := strings.ReplaceAll(fmt.Sprint(difference[0]), " ", "_")
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 2 && f[0] == name && strings.TrimSuffix(f[1], "*") == step {
			return true
		}
	}
	return false
}

func golden(t *testing.T) {
	t.Helper()
	if os.Getenv(runGolden) == "" {
		t.Skip("make golden asks what the original was asked")
	}
}

func TestPandoAnswersAsTheOriginalWasRecorded(t *testing.T) {
	golden(t)
	probe(t, start(t, recordedFlags...), cmp.Or(os.Getenv(onlyGolden), usual))
}

var deviation = regexp.MustCompile(`^\S+ \S+  # \S.*$`)

func TestEveryDeviationHasAReasonAndTheyAreFew(t *testing.T) {
	b, err := os.ReadFile("deviations.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSpace(l); l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		n++
		if !deviation.MatchString(l) {
			t.Errorf("%q is not CASE PATH-GLOB  # why", l)
		}
	}
	if n > 15 {
		t.Errorf("%d deviations; fifteen are many", n)
	}
}
