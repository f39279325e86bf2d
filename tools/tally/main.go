// Command tally runs a "go test -json" command and retells it for people: a line for each package, the output of what
// failed, the reason of each skip, and one line that counts. With -into FILE the counts are added to those in FILE, so that
// several stages can be summed; with -sum FILE it only prints that sum.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is one line of go test -json.
type event struct {
	Action  string  `json:"Action"`
	Package string  `json:"Package"` // empty for build output
	Test    string  `json:"Test"`    // empty for what is told of a package
	Output  string  `json:"Output"`
	Elapsed float64 `json:"Elapsed"` // seconds
}

// counts are the tests, subtests among them. A package that failed without a failed test of its own counts as one.
type counts struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.Passed, c.Failed, c.Skipped)
}

// tally retells one run.
type tally struct {
	out     io.Writer
	total   counts
	output  map[string][]string // by package and test, until its fate is known
	skipped map[string]bool     // packages and tests whose skip was told
	failed  map[string]bool     // packages with a failed test
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, output: map[string][]string{}, skipped: map[string]bool{}, failed: map[string]bool{}}
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "output":
		t.output[key] = append(t.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.pkg(e)
		} else {
			t.test(e, key)
		}
		delete(t.output, key)
	}
}

func (t *tally) test(e event, key string) {
	switch e.Action {
	case "pass":
		t.total.Passed++
	case "skip":
		t.total.Skipped++
		fmt.Fprintf(t.out, "skip  %s %s: %s\n", e.Package, e.Test, reason(t.output[key]))
	case "fail":
		t.total.Failed++
		t.failed[e.Package] = true
		fmt.Fprintf(t.out, "FAIL  %s %s\n%s", e.Package, e.Test, strings.Join(t.output[key], ""))
	}
}

func (t *tally) pkg(e event) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(t.out, "ok    %s (%.1fs)\n", e.Package, e.Elapsed)
	case "fail":
		if !t.failed[e.Package] {
			t.total.Failed++
			fmt.Fprint(t.out, strings.Join(t.output[e.Package+" "], ""))
		}
		fmt.Fprintf(t.out, "FAIL  %s (%.1fs)\n", e.Package, e.Elapsed)
	}
}

// reason is what a test said when it skipped itself: its output without go test's own lines.
func reason(lines []string) string {
	lines = slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		l = strings.TrimSpace(l)
		return l == "" || strings.HasPrefix(l, "=== ") || strings.HasPrefix(l, "--- ")
	})
	if len(lines) == 0 {
		return "no reason given"
	}
	said := strings.TrimSpace(strings.Join(lines, " "))
	if _, after, ok := strings.Cut(said, ".go:"); ok {
		if _, after, ok = strings.Cut(after, ": "); ok {
			said = after
		}
	}
	return strings.Join(strings.Fields(said), " ")
}

// read takes events until r ends. Lines that are no events, such as what a tool prints, are passed on.
func (t *tally) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				t.take(e)
			} else {
				_, _ = t.out.Write(line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sum reads counts from a file; a missing file is no counts.
func sum(file string) (counts, error) {
	var c counts
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

func add(file string, c counts) error {
	old, err := sum(file)
	if err != nil {
		return err
	}
	b, err := json.Marshal(counts{old.Passed + c.Passed, old.Failed + c.Failed, old.Skipped + c.Skipped})
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

func run() error {
	into := flag.String("into", "", "add the counts to those in this `file`")
	of := flag.String("sum", "", "print the counts in this `file` and end")
	flag.Parse()
	if *of != "" {
		c, err := sum(*of)
		if err != nil {
			return err
		}
		fmt.Println(c)
		return nil
	}
	if flag.NArg() == 0 {
		return errors.New("usage: tally [-into FILE] go test -json …")
	}
	cmd := exec.CommandContext(context.Background(), flag.Arg(0), flag.Args()[1:]...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	t := newTally(os.Stdout)
	err = errors.Join(t.read(stdout), cmd.Wait())
	if err != nil && t.total.Failed == 0 {
		t.total.Failed = 1 // the command itself
	}
	fmt.Println(t.total)
	if *into != "" {
		err = errors.Join(err, add(*into, t.total))
	}
	return err
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}
