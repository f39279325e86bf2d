// Package fetch brings the URIs of a command into its sandbox: copied or downloaded, unpacked, made executable, and given
// to the task's user. It trusts neither the URI nor what comes from it: nothing is written outside of the sandbox, local
// files are read with the user's own rights, and sizes and stalls are bounded.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pando-os/pando/internal/host"
)

// URI is one thing to fetch.
type URI struct {
	// Value is a path on the agent, or a file, http or https URI.
	Value string
	// Executable makes the file executable and leaves it packed.
	Executable bool
	// Extract unpacks it when its name says that it is an archive.
	Extract bool
	// OutputFile is where it goes, relative to the sandbox; empty: the last element of its own path.
	OutputFile string
	// Cache allows a copy that was downloaded earlier for the same user.
	Cache bool
}

// Job is all that one sandbox gets.
type Job struct {
	Sandbox string
	// Root is the sandbox where it is open already; Sandbox is then only its name.
	Root *os.Root
	// User owns what is written, and reads what is local; nil: whoever the agent is.
	User *host.User
	URIs []URI
}

// Fetcher has the agent's settings.
type Fetcher struct {
	// Stall is how long a transfer may go without a byte; 0: one minute.
	Stall time.Duration
	// MaxBytes bounds what one URI may take in the sandbox, packed and unpacked each; 0: no bound.
	MaxBytes int64
	// Home is what relative paths are relative to; empty: they are refused.
	Home string
	// Cache keeps downloads of URIs that allow it; nil: none is kept.
	Cache *Cache
}

// Error says which URI could not be fetched and why.
type Error struct {
	URI string
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("fetch %s: %v", e.URI, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

const defaultStall = time.Minute

// Fetch brings the URIs into the sandbox one after the other. It stops at the first that fails, with an *Error, and leaves
// what is there by then: the sandbox shows what happened.
func (f *Fetcher) Fetch(ctx context.Context, j Job) error {
	if len(j.URIs) == 0 {
		return nil
	}
	root := j.Root
	if root == nil {
		var err error
		if root, err = os.OpenRoot(j.Sandbox); err != nil {
			return fmt.Errorf("open the sandbox: %w", err)
		}
		defer root.Close()
	}
	for _, u := range j.URIs {
		b := &box{root: root, uid: -1, gid: -1, left: f.MaxBytes, bounded: f.MaxBytes > 0, max: f.MaxBytes}
		if j.User != nil && os.Geteuid() == 0 {
			b.uid, b.gid = int(j.User.UID), int(j.User.GID)
		}
		if err := f.one(ctx, b, j, u); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return &Error{u.Value, err}
		}
	}
	return nil
}

func (f *Fetcher) one(ctx context.Context, b *box, j Job, u URI) error {
	name, err := u.name()
	if err != nil {
		return err
	}
	src, err := f.open(ctx, j, u)
	if err != nil {
		return err
	}
	defer src.Close()
	mode := os.FileMode(0o644)
	if u.Executable {
		mode = 0o755
	}
	if err := b.create(name, src, mode); err != nil {
		return err
	}
	if u.Executable || !u.Extract {
		return nil
	}
	unpack := unpackerOf(name)
	if unpack == nil {
		return nil
	}
	packed, err := b.root.Open(name)
	if err != nil {
		return err
	}
	defer packed.Close()
	b.left = f.MaxBytes
	if err := unpack(ctx, b, name, packed); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	return nil
}

// open gives the bytes of a URI, from the cache where that is allowed.
func (f *Fetcher) open(ctx context.Context, j Job, u URI) (io.ReadCloser, error) {
	path, local, err := f.local(u.Value)
	if err != nil {
		return nil, err
	}
	if local {
		file, err := openAs(j.User, path)
		if err != nil {
			return nil, err
		}
		if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
			file.Close()
			return nil, fmt.Errorf("%s is not a plain file", path)
		}
		return file, nil
	}
	if u.Cache && f.Cache != nil {
		key := u.Value
		if j.User != nil {
			key = fmt.Sprint(j.User.UID) + " " + key
		}
		file, err := f.Cache.get(ctx, key, func(ctx context.Context) (io.ReadCloser, error) { return download(ctx, u.Value, f.stall()) })
		if err == nil || !errors.Is(err, errNoRoom) {
			return file, err
		}
	}
	return download(ctx, u.Value, f.stall())
}

func (f *Fetcher) stall() time.Duration {
	if f.Stall > 0 {
		return f.Stall
	}
	return defaultStall
}

// local says whether a URI is a path on this machine, and which.
func (f *Fetcher) local(uri string) (string, bool, error) {
	scheme, rest, has := strings.Cut(uri, "://")
	switch {
	case !has:
		if filepath.IsAbs(uri) {
			return uri, true, nil
		}
		if f.Home == "" {
			return "", false, errors.New("a relative path needs the agent's --frameworks-home to be relative to; use an absolute path")
		}
		return filepath.Join(f.Home, uri), true, nil
	case strings.EqualFold(scheme, "file"):
		rest = strings.TrimPrefix(rest, "localhost")
		if !strings.HasPrefix(rest, "/") {
			return "", false, errors.New("a file URI must name an absolute path on the agent itself: file:///PATH")
		}
		return rest, true, nil
	case strings.EqualFold(scheme, "http"), strings.EqualFold(scheme, "https"):
		return "", false, nil
	}
	return "", false, fmt.Errorf("the scheme %q is not supported; use a path, file, http or https", scheme)
}

// name gives the path in the sandbox.
func (u *URI) name() (string, error) {
	if u.OutputFile != "" {
		if path.IsAbs(u.OutputFile) || !filepath.IsLocal(u.OutputFile) || strings.HasSuffix(u.OutputFile, "/") {
			return "", fmt.Errorf("output_file %q must be a path inside the sandbox", u.OutputFile)
		}
		return path.Clean(u.OutputFile), nil
	}
	p, err := pathOf(u.Value)
	if err != nil {
		return "", err
	}
	name := p[strings.LastIndexByte(p, '/')+1:]
	if name == "" || !filepath.IsLocal(name) || name == "." || strings.ContainsRune(name, 0) {
		return "", errors.New("it ends in no file name; give one with output_file")
	}
	return name, nil
}

// box is the sandbox as one URI may fill it.
type box struct {
	root     *os.Root
	uid, gid int // -1: as they come
	left     int64
	max      int64
	bounded  bool
}

// create writes a file, replacing what is there, and makes the directories above it.
func (b *box) create(name string, from io.Reader, mode os.FileMode) error {
	if err := b.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if err := b.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := b.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, b.bound(from))
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil && b.uid >= 0 {
		err = file.Chown(b.uid, b.gid)
	}
	return errors.Join(err, file.Close())
}

// bound makes a reader fail once it has given more than is left.
func (b *box) bound(r io.Reader) io.Reader {
	if !b.bounded {
		return r
	}
	return readerFunc(func(p []byte) (int, error) {
		if int64(len(p)) > b.left+1 {
			p = p[:b.left+1]
		}
		n, err := r.Read(p)
		if b.left -= int64(n); b.left < 0 {
			return 0, fmt.Errorf("it is longer than %d bytes, the agent's limit", b.max)
		}
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// mkdirAll makes the directories of a path that are missing, each owned by the user.
func (b *box) mkdirAll(dir string) error {
	if dir == "." || dir == "" {
		return nil
	}
	if err := b.mkdirAll(path.Dir(dir)); err != nil {
		return err
	}
	err := b.root.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return b.own(dir)
}

func (b *box) own(name string) error {
	if b.uid < 0 {
		return nil
	}
	return b.root.Lchown(name, b.uid, b.gid)
}
