// Command plant puts known bugs into the code that the simulator drives, one at a time, and sees that a checker finds each
// within its seeds. Nothing in the tree changes: the bugs are patches, laid over the files when the test is built. It is
// run in the module's directory: go run ./tools/plant [-seeds 400] [name…]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	bugs = "internal/sim/testdata/bugs"
	// patience is how long the seeds of one bug may take; one that makes the simulator turn in circles is not found.
	patience = 2 * time.Minute
)

func main() {
	seeds := flag.Int("seeds", 400, "how many seeds a bug may take to be found")
	short := flag.Bool("short", false, "plant only the bugs that bugs.txt marks for the short form")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *seeds, *short, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "plant:", err)
		os.Exit(1)
	}
}

// bug is one line of bugs.txt.
type bug struct {
	name, part, words string
	short             bool
}

// found is how a bug was found.
type found struct{ seed, checker string }

func run(ctx context.Context, out io.Writer, seeds int, short bool, only []string) error {
	list, err := read(filepath.Join(bugs, "bugs.txt"))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "plant")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // copies of no worth
	missed := 0
	fmt.Fprintln(out, "| bug | in | what it does | seed | checker that spoke | seconds |\n|---|---|---|---|---|---|")
	for _, b := range list {
		if len(only) > 0 && !slices.Contains(only, b.name) || short && !b.short {
			continue
		}
		begun := time.Now()
		f, err := b.find(ctx, filepath.Join(dir, b.name), seeds)
		if err != nil {
			missed++
			f = found{"NOT FOUND", err.Error()}
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %.0f |\n", b.name, b.part, b.words, f.seed, f.checker, time.Since(begun).Seconds())
	}
	if missed > 0 {
		return fmt.Errorf("%d bugs were not found within %d seeds", missed, seeds)
	}
	return nil
}

func read(path string) ([]bug, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []bug
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 3 {
			return nil, fmt.Errorf("%s: a line needs the patch's name, the part it is in and words: %q", path, line)
		}
		part, short := strings.CutSuffix(f[1], "*")
		list = append(list, bug{f[0], part, strings.Join(f[2:], " "), short})
	}
	return list, nil
}

// find lays the bug over the tree, in dir, and gives the first seed that fails.
func (b bug) find(ctx context.Context, dir string, seeds int) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	overlay, err := b.patch(ctx, dir)
	if err != nil {
		return found{}, err
	}
	test := filepath.Join(dir, "sim.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", test, "./internal/sim")
	if text, err := build.CombinedOutput(); err != nil {
		return found{}, fmt.Errorf("it does not compile: %w: %s", err, text)
	}
	play := exec.CommandContext(ctx, test, "-test.run", "TestTheClusterKeepsItsPromises")
	play.Dir = "internal/sim"
	play.Env = append(os.Environ(), fmt.Sprint("PANDO_SIM_SEEDS=", seeds), "PANDO_SIM_FROM=1", "PANDO_SIM_SEED=", "PANDO_SIM_TRACE=")
	text, err := play.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return found{}, errors.New("no checker spoke")
	case !errors.As(err, &exit) || ctx.Err() != nil:
		return found{}, errors.Join(ctx.Err(), err)
	}
	return verdict(string(text))
}

var (
	replay  = regexp.MustCompile(`replay with: make sim SEED=(\d+)`)
	speaker = regexp.MustCompile(`CHECKER ([a-z-]+):`)
)

// verdict reads a failed test's output.
func verdict(text string) (found, error) {
	seed, checker := replay.FindStringSubmatch(text), speaker.FindStringSubmatch(text)
	if seed == nil || checker == nil {
		return found{}, fmt.Errorf("it fails without a checker's word:\n%s", text)
	}
	return found{seed[1], checker[1]}, nil
}

// patch copies the files that the bug's patch names into dir, patches them there, and writes the overlay that puts them in
// the place of the tree's own.
func (b bug) patch(ctx context.Context, dir string) (overlay string, err error) {
	patch, err := filepath.Abs(filepath.Join(bugs, b.name+".patch"))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(patch)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "+++ b/")
		if !ok {
			continue
		}
		from, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		source, err := os.ReadFile(from)
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, source, 0o600)); err != nil { //nolint:gosec // the patches are ours
			return "", err
		}
		replace[from] = to
	}
	apply := exec.CommandContext(ctx, "git", "apply", "-C1", patch) // what stands around it may change
	apply.Dir = dir
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if text, err := apply.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the patch does not apply: %w: %s", err, text)
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o600)
}
