package containertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pando-os/pando/internal/agent/container/launcher"
)

// built is one launcher for the whole test process, in a directory that Main removes.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pando-launcher-")
	if err != nil {
		return "", err
	}
	removeAtEnd = dir
	if path, err := launcher.Install(dir); err == nil {
		return path, nil
	}
	path := filepath.Join(dir, "pando-launcher")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/pando-os/pando/cmd/pando-launcher")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the launcher: %w\n%s", err, out)
	}
	return path, nil
})

var removeAtEnd string

// Launcher gives a launcher to test with: the embedded one, the one in the environment, or one built from source. The
// package's TestMain must be Main.
func Launcher(tb testing.TB) string {
	tb.Helper()
	path, err := built()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// Main is a TestMain: it runs the tests and removes the launcher built for them.
func Main(m *testing.M) {
	code := m.Run()
	if removeAtEnd != "" {
		os.RemoveAll(removeAtEnd)
	}
	os.Exit(code)
}
