// Package where finds the cluster a command is for: the one named by a flag, by PANDO_MASTER, or the last one that
// "pando up" started on this machine.
package where

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pando-os/pando/internal/fault"
)

// Variable names the environment's master.
const Variable = "PANDO_MASTER"

// shared is where root's last up is written; every user may read it.
const shared = "/run/pando"

// file is the name of the note in its directory.
const file = "up.json"

// Up is the note that "pando up" leaves: what runs where. A reboot or a crash can leave it behind, so it is a hint.
type Up struct {
	Masters []string `json:"masters"` // "host:port" each
	Agent   string   `json:"agent,omitempty"`
	PID     int      `json:"pid"`
	DataDir string   `json:"data_dir"`
}

// Place is where notes are kept. The zero Place is the real one of this user; tests make their own.
type Place struct {
	// Own is the directory of this user's notes; empty: the one Dir gives.
	Own string
	// Shared is looked into when Own has no note; empty: root's.
	Shared string
}

// Dir is the directory for this user's notes: /run/pando for root, else pando below XDG_STATE_HOME or ~/.local/state.
func Dir() (string, error) {
	if os.Geteuid() == 0 {
		return shared, nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pando"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.New(fault.Unavailable, "no place for the note of the last pando up: %w; set XDG_STATE_HOME", err)
	}
	return filepath.Join(home, ".local", "state", "pando"), nil
}

func (p Place) own() (string, error) {
	if p.Own != "" {
		return p.Own, nil
	}
	return Dir()
}

// Remember writes the note of an up that runs, in place of the one before.
func (p Place) Remember(up Up) error {
	dir, err := p.own()
	if err != nil {
		return err
	}
	b, err := json.Marshal(up)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fault.New(fault.Unavailable, "noting where the cluster is: %w", err)
	}
	name := filepath.Join(dir, file)
	temporary := name + ".new"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o644); err != nil {
		return fault.New(fault.Unavailable, "noting where the cluster is: %w", err)
	}
	if err := os.Rename(temporary, name); err != nil {
		return fault.New(fault.Unavailable, "noting where the cluster is: %w", err)
	}
	return nil
}

// Forget removes the note if it is still that of the process pid.
func (p Place) Forget(pid int) error {
	dir, err := p.own()
	if err != nil {
		return err
	}
	name := filepath.Join(dir, file)
	up, err := read(name)
	if err != nil || up.PID != pid {
		return nil //nolint:nilerr // a note that is missing or somebody else's needs no removing
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Unavailable, "removing the note of where the cluster is: %w", err)
	}
	return nil
}

// Last is the note of this user's last up, or else of root's; fault.NotFound when there is none.
func (p Place) Last() (Up, error) {
	dirs := make([]string, 0, 2)
	if dir, err := p.own(); err == nil {
		dirs = append(dirs, dir)
	}
	if p.Shared != "" {
		dirs = append(dirs, p.Shared)
	} else {
		dirs = append(dirs, shared)
	}
	for _, dir := range dirs {
		up, err := read(filepath.Join(dir, file))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return up, err
		}
	}
	return Up{}, fault.New(fault.NotFound, "no pando up was started on this machine")
}

func read(name string) (Up, error) {
	var up Up
	b, err := os.ReadFile(name)
	if err != nil {
		return up, err
	}
	if err := json.Unmarshal(b, &up); err != nil || len(up.Masters) == 0 {
		return Up{}, fault.New(fault.Invalid, "the note %s cannot be read: remove it, or name the cluster with --master", name)
	}
	return up, nil
}

// Found is a cluster and how it was found.
type Found struct {
	Masters []string
	// By says in words who named it, for messages: "--master", "PANDO_MASTER" or "the last pando up".
	By string
}

// Masters finds the cluster. flag is what --master was given, with commas between several; env is the environment's
// PANDO_MASTER. When nothing names a cluster the error is fault.NotFound and says what to do.
func (p Place) Masters(flag, env string) (Found, error) {
	for _, named := range []struct{ by, value string }{{"--master", flag}, {Variable, env}} {
		if named.value == "" {
			continue
		}
		var masters []string
		for m := range strings.SplitSeq(named.value, ",") {
			if m = strings.TrimSpace(m); m != "" {
				masters = append(masters, m)
			}
		}
		if len(masters) == 0 {
			return Found{}, fault.New(fault.Invalid, "%s is %q: give it HOST:PORT", named.by, named.value)
		}
		return Found{masters, named.by}, nil
	}
	up, err := p.Last()
	if fault.Is(err, fault.NotFound) {
		return Found{}, fault.New(fault.NotFound,
			"no cluster is known: start one with `pando up`, or name one with --master HOST:PORT or %s", Variable)
	}
	if err != nil {
		return Found{}, err
	}
	return Found{up.Masters, "the last pando up"}, nil
}
