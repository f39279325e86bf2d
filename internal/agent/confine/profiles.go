package confine

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/seccomp"
)

// maxFilters bounds how many compiled filters are kept: profiles and sets of capabilities are few, and frameworks choose both.
const maxFilters = 100

// Profiles give containers their seccomp filters. The zero value has the built-in profile alone.
type Profiles struct {
	// Dir has the operator's profiles in files, by their names; empty: there are none.
	Dir string
	// Default is the name of the one for containers that ask for none; empty: the built-in one.
	Default string

	mu   sync.Mutex
	made map[filterKey][]byte
}

// filterKey is what a filter follows from: a profile's content, all zero for the built-in one, and what the container may do.
type filterKey struct {
	profile [sha256.Size]byte
	caps    Set
}

// Check says whether the settings can be kept: the directory is one, and the default can be had.
func (p *Profiles) Check() error {
	if p.Dir == "" {
		if p.Default != "" {
			return fmt.Errorf("--seccomp-profile-name: %q is looked for in --seccomp-config-dir, which is not set", p.Default)
		}
		return nil
	}
	if !filepath.IsAbs(p.Dir) {
		return fmt.Errorf("--seccomp-config-dir: %q is not an absolute path", p.Dir)
	}
	if st, err := os.Stat(p.Dir); err != nil || !st.IsDir() {
		return errors.Join(fmt.Errorf("--seccomp-config-dir: %s is no directory", p.Dir), err)
	}
	if p.Default == "" {
		return nil
	}
	if _, err := p.named(p.Default, All); err != nil {
		return fmt.Errorf("--seccomp-profile-name: %w", err)
	}
	return nil
}

// Filter is the filter, as seccomp/filter encodes it, of a container that asks for what s says, nil for nothing, and may have these
// capabilities at most. nil: it is to have none.
func (p *Profiles) Filter(s *mesosv1.SeccompInfo, caps Set) ([]byte, error) {
	switch {
	case s.GetUnconfined():
		return nil, nil
	case s != nil:
		b, err := p.named(s.GetProfileName(), caps)
		if err != nil {
			return nil, fmt.Errorf("container.linux_info.seccomp.profile_name: %w", err)
		}
		return b, nil
	case p.Default != "":
		b, err := p.named(p.Default, caps)
		if err != nil {
			return nil, fmt.Errorf("the default of the agent, --seccomp-profile-name: %w", err)
		}
		return b, nil
	}
	b, err := p.compiled(filterKey{caps: caps}, seccomp.Docker)
	if err != nil {
		return nil, fmt.Errorf("the default seccomp profile: %w", err)
	}
	return b, nil
}

// named gives the filter of one of the operator's profiles. It is read each time, so that a file that comes or changes counts.
func (p *Profiles) named(name string, caps Set) ([]byte, error) {
	data, err := p.read(name)
	if err != nil {
		return nil, err
	}
	b, err := p.compiled(filterKey{sha256.Sum256(data), caps}, func() (*seccomp.Profile, error) { return seccomp.Parse(data) })
	if err != nil {
		return nil, fmt.Errorf("%q cannot be used: %w; have the operator mend the file in --seccomp-config-dir", name, err)
	}
	return b, nil
}

// read gives what a profile's file says. No name and no link leads out of the directory.
func (p *Profiles) read(name string) ([]byte, error) {
	if p.Dir == "" {
		return nil, fmt.Errorf("%q is not known: this agent has no profiles (--seccomp-config-dir); leave it out for the default", name)
	}
	if !filepath.IsLocal(name) || slices.Contains(strings.Split(filepath.ToSlash(name), "/"), "..") {
		return nil, fmt.Errorf("%q is not the name of a profile; give the path of a file below the agent's --seccomp-config-dir, without .. in it", name)
	}
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return nil, fmt.Errorf("--seccomp-config-dir: %w", err)
	}
	defer root.Close()
	st, err := root.Stat(name) // before it is opened, which waits for the other end of a pipe
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	var f *os.File
	if err == nil {
		f, err = root.Open(name)
	}
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w; give the path of a file below the agent's --seccomp-config-dir", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, seccomp.MaxProfile+1)) // the profile's reader refuses what is more
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", name, err)
	}
	return data, nil
}

// compiled makes a filter once.
func (p *Profiles) compiled(key filterKey, profile func() (*seccomp.Profile, error)) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.made[key]; ok {
		return b, nil
	}
	var names []string
	for _, n := range key.caps.Names() {
		names = append(names, "CAP_"+n)
	}
	here, err := seccomp.Here(names)
	if err != nil {
		return nil, err
	}
	parsed, err := profile()
	if err != nil {
		return nil, err
	}
	program, err := seccomp.Compile(parsed, here)
	if err != nil {
		return nil, err
	}
	b := program.Encode()
	if p.made == nil || len(p.made) >= maxFilters {
		p.made = map[filterKey][]byte{}
	}
	p.made[key] = b
	return b, nil
}
