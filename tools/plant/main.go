// Command plant puts known bugs into a copy of the cores, one at a time, and sees that the simulator's checkers find each
// within its seeds. It is run in the module's directory: go run ./tools/plant [-seeds 50] [name…]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const bugs = "internal/sim/testdata/bugs"

// needed is what the simulator is built from.
var needed = []string{"go.mod", "go.sum", "gen", "mesos", "internal/machine", "internal/core", "internal/sim"}

func main() {
	seeds := flag.Int("seeds", 50, "how many seeds a bug may take to be found")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *seeds, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "plant:", err)
		os.Exit(1)
	}
}

// bug is one line of bugs.txt.
type bug struct{ name, checker, words string }

func run(ctx context.Context, out io.Writer, seeds int, only []string) error {
	list, err := read(filepath.Join(bugs, "bugs.txt"))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "plant")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a copy of no worth
	missed := 0
	for _, b := range list {
		if len(only) > 0 && !slices.Contains(only, b.name) {
			continue
		}
		begun := time.Now()
		seed, err := b.find(ctx, filepath.Join(dir, b.name), seeds)
		if err != nil {
			missed++
			fmt.Fprintf(out, "%-30s NOT FOUND: %v\n", b.name, err)
			continue
		}
		fmt.Fprintf(out, "%-30s found by %s with seed %d (%s): %s\n", b.name, b.checker, seed, time.Since(begun).Round(100*time.Millisecond), b.words)
	}
	if missed > 0 {
		return fmt.Errorf("%d bugs were not found by their checkers within %d seeds", missed, seeds)
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
			return nil, fmt.Errorf("%s: a line needs the patch's name, its checker and words: %q", path, line)
		}
		list = append(list, bug{f[0], f[1], strings.Join(f[2:], " ")})
	}
	return list, nil
}

// find plants the bug into a copy below dir and gives the first seed with which its checker fails.
func (b bug) find(ctx context.Context, dir string, seeds int) (int, error) {
	for _, path := range needed {
		if err := copyTree(path, filepath.Join(dir, path)); err != nil {
			return 0, err
		}
	}
	patch, err := filepath.Abs(filepath.Join(bugs, b.name+".patch"))
	if err != nil {
		return 0, err
	}
	apply := exec.CommandContext(ctx, "git", "apply", "-C1", patch) // what stands around it may change
	apply.Dir = dir
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	if text, err := apply.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("the patch does not apply: %w: %s", err, text)
	}
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", "sim.test", "./internal/sim")
	build.Dir = dir
	if text, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("it does not compile: %w: %s", err, text)
	}
	others := map[string]int{}
	for seed := 1; seed <= seeds; seed++ {
		found, err := play(ctx, dir, seed)
		if err != nil {
			return 0, err
		}
		if found == b.checker {
			return seed, nil
		}
		others[found]++
	}
	return 0, fmt.Errorf("the checkers that failed: %v", others)
}

// play runs one seed and gives the checker that failed; "" when none did.
func play(ctx context.Context, dir string, seed int) (string, error) {
	test := exec.CommandContext(ctx, filepath.Join(dir, "sim.test"), "-test.run", "TestTheClusterKeepsItsPromises")
	test.Dir = filepath.Join(dir, "internal/sim")
	test.Env = append(os.Environ(), fmt.Sprint("PANDO_SIM_SEED=", seed))
	text, err := test.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "", nil
	case !errors.As(err, &exit):
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if _, after, ok := strings.Cut(line, "CHECKER "); ok {
			checker, _, _ := strings.Cut(after, ":")
			return checker, nil
		}
	}
	return "", fmt.Errorf("seed %d fails without a checker's word:\n%s", seed, text)
}

func copyTree(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(to, os.DirFS(from))
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600) //nolint:gosec // both paths are of this program
}
