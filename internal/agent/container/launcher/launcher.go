// Package launcher carries the launcher inside the agent's binary and writes it out. The build puts it there:
//
//	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o internal/agent/container/launcher/bin/pando-launcher ./cmd/pando-launcher
//
// A binary built without that step has a placeholder in its place.
package launcher

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Variable names an executable to use when none is embedded.
const Variable = "PANDO_LAUNCHER"

//go:embed all:bin
var files embed.FS

// ErrMissing says that the binary was built without its launcher and the environment names none.
var ErrMissing = errors.New("this binary was built without its launcher, which starts containers; build it with make build, or set " + Variable + " to the path of a pando-launcher")

// Install gives the path of an executable launcher: the embedded one, written below dir under a name that holds the hash
// of its content, so that shims of earlier versions keep theirs across an upgrade; or else the one that the environment
// names. dir is made when missing; its file system must allow execution.
func Install(dir string) (string, error) {
	content, err := files.ReadFile("bin/pando-launcher")
	if errors.Is(err, fs.ErrNotExist) {
		path := os.Getenv(Variable)
		if path == "" {
			return "", ErrMissing
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", Variable, err)
		}
		return filepath.Abs(path)
	}
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	path := filepath.Join(dir, "pando-launcher-"+hex.EncodeToString(sum[:8]))
	if have, err := os.ReadFile(path); err == nil && sha256.Sum256(have) == sum {
		return path, os.Chmod(path, 0o755)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("write out the launcher: %w", err)
	}
	// Renamed into place: another agent may be executing the old file, and a crash must not leave half of it.
	tmp, err := os.CreateTemp(dir, ".pando-launcher-")
	if err != nil {
		return "", fmt.Errorf("write out the launcher: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // renamed already, unless something failed
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("write out the launcher: %w", err)
	}
	return path, nil
}
