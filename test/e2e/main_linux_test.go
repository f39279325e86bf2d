package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// enable turns the tests on: they take minutes, so plain go test passes them over.
const enable = "PANDO_TEST_E2E"

// base holds everything that a run of the tests writes. Other users of the machine may pass through it.
var base string

func TestMain(m *testing.M) {
	if how := os.Getenv(asExecutor); how != "" {
		os.Exit(executorMain(how))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if base, err = os.MkdirTemp("", "pando-e2e-"); err == nil {
		err = os.Chmod(base, 0o711)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(base)
	// Every node started here leaves the note by which the command line finds the last one; the machine's own comes back.
	const note = "/run/pando/up.json"
	before, err := os.ReadFile(note)
	defer func() {
		if err == nil && os.Geteuid() == 0 {
			_ = os.WriteFile(note, before, 0o644) // it is a hint only
		}
	}()
	code := m.Run()
	if left := leftovers(base); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "left running: %s\n", strings.Join(left, "; "))
		code = 1
	}
	return code
}

// need skips a test that cannot run here, with the reason.
func need(t *testing.T, root bool) {
	t.Helper()
	if os.Getenv(enable) == "" {
		t.Skip("takes long: set " + enable + "=1, or run make e2e")
	}
	if root && os.Geteuid() != 0 {
		t.Skip("needs root, to act as several users of the machine")
	}
}

// binaries builds pando twice, once for the whole run: the launcher inside, and versions "one" and "two".
var binaries = sync.OnceValues(func() (map[string]string, error) {
	all := map[string]string{}
	if built := os.Getenv(inside); built != "" {
		for _, version := range []string{"one", "two"} {
			all[version] = filepath.Join(built, "pando-"+version)
		}
		return all, nil
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	launcher := filepath.Join(base, "launcher")
	if err := build(root, launcher, "-s -w", "./cmd/pando-launcher"); err != nil {
		return nil, err
	}
	// The launcher is embedded without touching the sources: an overlay puts it in its place for these builds.
	overlay := filepath.Join(base, "overlay.json")
	place := filepath.Join(root, "internal/agent/container/launcher/bin/pando-launcher")
	if err := os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, place, launcher), 0o600); err != nil {
		return nil, err
	}
	for _, version := range []string{"one", "two"} {
		path := filepath.Join(base, "pando-"+version)
		if err := build(root, path, "-s -w -X main.version="+version, "./cmd/pando", "-overlay", overlay); err != nil {
			return nil, err
		}
		all[version] = path
	}
	return all, nil
})

func build(root, out, flags, pkg string, more ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags", flags, "-o", out}, more...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("building %s: %w", pkg, err), errors.New(string(said)))
	}
	return os.Chmod(out, 0o755)
}
