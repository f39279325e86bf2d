package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pando-os/pando/internal/node"
)

// pidFile is the claim of a running node on its data directory: locked while it lives, with its pid and, once it works,
// where it is.
type pidFile struct {
	file *os.File
}

// running is what stands in the file.
type running struct {
	PID    int    `json:"pid"`
	Master string `json:"master,omitempty"`
	Agent  string `json:"agent,omitempty"`
	Ready  bool   `json:"ready"`
}

func pidPath(dataDir string) string { return filepath.Join(dataDir, "pando.pid") }

// claim takes the data directory for this process.
func claim(dataDir string) (*pidFile, error) {
	if dataDir == "" {
		return nil, errors.New("--data-dir is not set: name a directory where the node may keep its state")
	}
	if err := os.MkdirAll(dataDir, 0o711); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	f, err := os.OpenFile(pidPath(dataDir), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	// A command that only looks holds the lock for a moment, so one refusal is none.
	for range 10 {
		if err = lockFile(f); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		r, _ := read(dataDir) // only to name it
		_ = f.Close()         // nothing was written
		return nil, fmt.Errorf("a node already runs on %s (pid %d); stop it with pando down --data-dir %s, or choose another --data-dir", dataDir, r.PID, dataDir)
	}
	p := &pidFile{f}
	return p, p.write(running{PID: os.Getpid()})
}

func (p *pidFile) write(r running) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := p.file.Truncate(0); err != nil {
		return fmt.Errorf("the pid file: %w", err)
	}
	if _, err := p.file.WriteAt(append(b, '\n'), 0); err != nil {
		return fmt.Errorf("the pid file: %w", err)
	}
	return nil
}

// ready notes where the node is.
func (p *pidFile) ready(r node.Ready) error {
	return p.write(running{PID: os.Getpid(), Master: r.Master, Agent: r.Agent, Ready: true})
}

// release gives the directory back. The file stays: a lock on a file that is removed and made anew would lock nobody out.
func (p *pidFile) release() {
	_ = p.file.Truncate(0) // who reads it next finds nobody
	_ = p.file.Close()     // and the lock goes with it
}

// read says who claims a data directory; ok is false when nobody who lives does.
func read(dataDir string) (r running, ok bool) {
	f, err := os.OpenFile(pidPath(dataDir), os.O_RDWR, 0)
	if err != nil {
		if f, err = os.Open(pidPath(dataDir)); err != nil {
			return r, false
		}
	}
	defer f.Close()
	free := lockFile(f) == nil
	b := make([]byte, 4096)
	n, _ := f.ReadAt(b, 0) // an end that comes early is the usual one
	if json.Unmarshal(b[:n], &r) != nil {
		return r, false
	}
	return r, !free
}
