package secrets

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// Key names the launch of a task.
type Key struct {
	Framework, Task string
	Launch          uint64
}

// name is a file's, whatever is in the ids.
func (k Key) name() string {
	sum := sha256.Sum256([]byte(k.Framework + "\x00" + k.Task + "\x00" + strconv.FormatUint(k.Launch, 10)))
	return hex.EncodeToString(sum[:16])
}

// Vault keeps values in files of a tmpfs that only the agent's user can read. They outlive the agent's process and not the
// machine. All its methods may be called from any goroutine; no two may be about one launch, or one container, at a time.
type Vault struct {
	dir  string
	used atomic.Bool // something may be in it
}

// Parts of a vault.
const (
	launches = "launches" // the values of each launch
	volumes  = "volumes"  // files that containers see, by container
)

// NewVault makes one in a directory that belongs to it alone, and that is made when it is needed.
func NewVault(dir string) *Vault { return &Vault{dir: dir} }

// place makes a directory of the vault ready.
func (v *Vault) place(parts ...string) (string, error) {
	dir := filepath.Join(append([]string{v.dir}, parts...)...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := private(v.dir); err != nil {
		return "", err
	}
	switch in, err := inMemory(dir); {
	case err != nil:
		return "", err
	case !in:
		return "", fmt.Errorf("%s is on a disk, where they would stay; start the agent with a --runtime-dir on a tmpfs", v.dir)
	}
	return dir, nil
}

// private says whether others may look into a directory.
func private(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !st.IsDir() || st.Mode().Perm() != 0o700 || !mine(st) {
		return fmt.Errorf("%s is not a directory that only the agent's user can read; remove it", dir)
	}
	return nil
}

// Put keeps the values of a launch.
func (v *Vault) Put(k Key, values [][]byte) error {
	v.used.Store(true)
	dir, err := v.place(launches)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, k.name())
	if err := os.WriteFile(name+".tmp", encode(values), 0o600); err != nil {
		_ = os.Remove(name + ".tmp") // what stays is removed at the next start
		return err
	}
	return os.Rename(name+".tmp", name)
}

// Get gives them back.
func (v *Vault) Get(k Key) ([][]byte, error) {
	b, err := os.ReadFile(filepath.Join(v.dir, launches, k.name()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("the values of its secrets are not on this machine any more; run the task again")
	case err != nil:
		return nil, err
	}
	return decode(b)
}

// Drop forgets them, if there are any.
func (v *Vault) Drop(k Key) error {
	if !v.used.Load() {
		return nil // most agents never see a secret, and all their tasks end
	}
	return absent(os.Remove(filepath.Join(v.dir, launches, k.name())))
}

// File writes a file for a container, which a user and a group may read (-1: the agent's own), and gives its name.
func (v *Vault) File(container string, n int, data []byte, uid, gid int) (string, error) {
	dir, err := v.place(volumes, container)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, strconv.Itoa(n))
	if err := errors.Join(absent(os.Remove(name)), os.WriteFile(name, data, 0o400)); err != nil {
		return "", err
	}
	return name, os.Chown(name, uid, gid)
}

// DropFiles removes those of a container. A container that runs goes on to see what it has.
func (v *Vault) DropFiles(container string) error {
	return os.RemoveAll(filepath.Join(v.dir, volumes, container))
}

// Retain removes what belongs to no launch and to no container of some: an earlier run of the agent left it.
func (v *Vault) Retain(keys []Key, containers []string) error {
	if len(keys) > 0 {
		v.used.Store(true)
	}
	known := map[string]bool{}
	for _, k := range keys {
		known[k.name()] = true
	}
	err := retain(filepath.Join(v.dir, launches), known)
	known = map[string]bool{}
	for _, c := range containers {
		known[c] = true
	}
	return errors.Join(err, retain(filepath.Join(v.dir, volumes), known))
}

func retain(dir string, known map[string]bool) error {
	entries, err := os.ReadDir(dir)
	errs := []error{absent(err)}
	for _, e := range entries {
		if !known[e.Name()] {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// absent takes it that what is to go may have gone.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// version begins what is kept of a launch; its values follow, each after its length.
const version = 1

func encode(values [][]byte) []byte {
	b := []byte{version}
	for _, x := range values {
		b = append(binary.AppendUvarint(b, uint64(len(x))), x...)
	}
	return b
}

func decode(b []byte) ([][]byte, error) {
	damaged := errors.New("what is kept of its secrets cannot be read; run the task again")
	if len(b) == 0 || b[0] != version {
		return nil, damaged
	}
	var values [][]byte
	for b = b[1:]; len(b) > 0; {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, damaged
		}
		values = append(values, b[n:n+int(size)])
		b = b[n+int(size):]
	}
	return values, nil
}
