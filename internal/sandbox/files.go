package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/user"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaxRead is the most bytes one Read gives: sixteen pages.
const MaxRead = 16 * 4096

// Error is a refused look into files; Status is the HTTP status that says so.
type Error struct {
	Status  int
	Message string
}

func (e *Error) Error() string { return e.Message }

func notFound(p string) *Error { return &Error{http.StatusNotFound, "there is no file " + p} }

// Files gives names to directories and files, and shows what is below them and nothing else: neither ".." nor a link leads
// out of what is attached. It is safe for use by many goroutines.
type Files struct {
	mu    sync.RWMutex
	roots map[string]string // virtual path, cleaned, to real path
	names owners
}

// Attach shows what is at the real path, a directory or a file, under a virtual one. It replaces an earlier attachment.
func (f *Files) Attach(virtual, place string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.roots == nil {
		f.roots = map[string]string{}
	}
	f.roots[clean(virtual)] = place
}

// AttachRun shows a run's sandbox under its real path, and the latest run's under the two that say so.
func (f *Files) AttachRun(workDir string, r Run) {
	place := r.Path(workDir)
	f.Attach(place, place)
	f.Attach(r.Latest(workDir), place)
	f.Attach(r.Virtual(), place)
}

// DetachRun takes it away again; the two names of the latest run only when they still mean this one.
func (f *Files) DetachRun(workDir string, r Run) {
	place := r.Path(workDir)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range []string{place, r.Latest(workDir), r.Virtual()} {
		if f.roots[clean(v)] != place {
			continue
		}
		delete(f.roots, clean(v))
		for below := range f.roots {
			if strings.HasPrefix(below, clean(v)+"/") {
				delete(f.roots, below)
			}
		}
	}
}

// AttachBelow shows a directory that lies elsewhere at a path in a run's sandbox, under each name that the sandbox has.
func (f *Files) AttachBelow(workDir string, r Run, place, dir string) {
	for _, v := range []string{r.Path(workDir), r.Latest(workDir), r.Virtual()} {
		f.Attach(path.Join(v, path.Clean("/"+place)), dir)
	}
}

// DetachPlace takes away every name of a directory that is gone.
func (f *Files) DetachPlace(dir string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for v, place := range f.roots {
		if place == dir {
			delete(f.roots, v)
		}
	}
}

// Attached gives the attached virtual path that p is at or below, for authorisation; "" when there is none.
func (f *Files) Attached(p string) string {
	v, _, _, ok := f.resolve(p)
	if !ok {
		return ""
	}
	return v
}

// Debug lists what is attached: virtual to real path.
func (f *Files) Debug() map[string]string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	m := make(map[string]string, len(f.roots))
	maps.Copy(m, f.roots)
	return m
}

// attachedAt is what is attached at exactly this path.
func (f *Files) attachedAt(p string) (place string, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	place, ok = f.roots[clean(p)]
	return place, ok
}

// clean makes a virtual path absolute and takes dots and double slashes out.
func clean(p string) string { return path.Clean("/" + p) }

// resolve finds the longest attached path that p is at or below, what it stands for, and what follows it ("." for nothing).
func (f *Files) resolve(p string) (virtual, place, rest string, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	p = clean(p)
	for at := p; ; at = path.Dir(at) {
		if place, ok := f.roots[at]; ok {
			rest := strings.TrimPrefix(strings.TrimPrefix(p, at), "/")
			if rest == "" {
				rest = "."
			}
			return at, place, rest, true
		}
		if at == "/" {
			return "", "", "", false
		}
	}
}

// opened is a file or directory with the root it is in and its path there.
type opened struct {
	*os.File
	info fs.FileInfo
	root *os.Root
	rest string
}

func (o *opened) Close() error {
	o.root.Close()
	return o.File.Close()
}

// open opens what a virtual path names. What is no plain file or directory is refused: opening a pipe that a task has made
// would hang.
func (f *Files) open(p string) (*opened, error) {
	if p == "" {
		return nil, &Error{http.StatusBadRequest, "expecting path=VALUE in the query"}
	}
	_, place, rest, ok := f.resolve(p)
	if !ok || strings.ContainsRune(rest, 0) {
		return nil, notFound(p)
	}
	st, err := os.Stat(place)
	if err != nil {
		return nil, trouble(p, err)
	}
	base := place
	if !st.IsDir() { // an attached file has nothing below it
		if rest != "." {
			return nil, notFound(p)
		}
		base, rest = path.Split(place)
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, trouble(p, err)
	}
	file, err := root.OpenFile(rest, os.O_RDONLY|nonblock, 0)
	if err != nil {
		root.Close()
		return nil, trouble(p, err)
	}
	st, err = file.Stat()
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		err = &Error{http.StatusBadRequest, p + " is neither a file nor a directory"}
	}
	if err != nil {
		file.Close()
		root.Close()
		return nil, trouble(p, err)
	}
	return &opened{file, st, root, rest}, nil
}

// trouble turns an error into one with a status. What leads out of a root is as good as absent.
func trouble(p string, err error) error {
	var typed *Error
	switch {
	case errors.As(err, &typed):
		return typed
	case errors.Is(err, fs.ErrNotExist), isEscape(err):
		return notFound(p)
	case errors.Is(err, fs.ErrPermission):
		return &Error{http.StatusForbidden, "the agent may not read " + p}
	}
	return &Error{http.StatusInternalServerError, "reading " + p + " failed: " + err.Error()}
}

// isEscape knows the errors of os.Root for paths it does not follow, which have no exported value: everything that the
// kernel did not say.
func isEscape(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe) && pe.Err != nil && (strings.Contains(pe.Err.Error(), "escapes") || isNotDir(pe.Err))
}

// Info describes a file as ls does.
type Info struct {
	Path  string  `json:"path"`
	Nlink uint64  `json:"nlink"`
	Size  int64   `json:"size"`
	MTime float64 `json:"mtime"` // seconds since the epoch
	Mode  string  `json:"mode"`
	UID   string  `json:"uid"` // names where they have one
	GID   string  `json:"gid"`
	// Bits are the mode as the system has it, type included.
	Bits uint32 `json:"-"`
}

// Browse lists a directory, sorted by path; a file has nothing to list. Links are described by what they lead to, unless
// that is outside.
func (f *Files) Browse(p string) ([]Info, error) {
	dir, err := f.open(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // it was only read
	list := []Info{}
	if !dir.info.IsDir() {
		return list, nil
	}
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, trouble(p, err)
	}
	for _, e := range entries {
		name := path.Join(dir.rest, e.Name())
		if place, ok := f.attachedAt(path.Join(p, e.Name())); ok {
			if st, err := os.Stat(place); err == nil {
				list = append(list, f.describe(path.Join(p, e.Name()), st))
				continue
			}
		}
		st, err := dir.root.Stat(name)
		if err != nil {
			st, err = dir.root.Lstat(name)
		}
		if err != nil {
			continue // it went meanwhile
		}
		list = append(list, f.describe(path.Join(p, e.Name()), st))
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Path < list[j].Path })
	return list, nil
}

func (f *Files) describe(p string, st fs.FileInfo) Info {
	nlink, uid, gid := sysInfo(st)
	return Info{
		Path: p, Nlink: nlink, Size: st.Size(), MTime: float64(st.ModTime().UnixNano()) / 1e9, Mode: modeString(st.Mode()),
		UID: f.names.user(uid), GID: f.names.group(gid), Bits: modeBits(st.Mode()),
	}
}

// Read gives bytes of a file and the offset they are from. An offset of -1 asks for the size: it gives no bytes and the
// size as offset, as does one past the end. A length of -1 is as much as there is; MaxRead bounds it in any case.
func (f *Files) Read(p string, offset, length int64) ([]byte, int64, error) {
	if offset < -1 || length < -1 {
		return nil, 0, &Error{http.StatusBadRequest, "offset and length must not be negative, other than -1"}
	}
	file, err := f.open(p)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = file.Close() }() // as above
	size := file.info.Size()
	if file.info.IsDir() {
		return nil, 0, &Error{http.StatusBadRequest, "cannot read a directory: " + p}
	}
	if offset == -1 || offset >= size {
		return nil, size, nil
	}
	if length == -1 || length > MaxRead {
		length = MaxRead
	}
	buf := make([]byte, min(length, size-offset))
	n, err := file.ReadAt(buf, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, trouble(p, err)
	}
	return buf[:n], offset, nil
}

// Open opens a file to be downloaded; the caller closes it.
func (f *Files) Open(p string) (*os.File, fs.FileInfo, error) {
	file, err := f.open(p)
	if err != nil {
		return nil, nil, err
	}
	file.root.Close()
	if file.info.IsDir() {
		file.File.Close()
		return nil, nil, &Error{http.StatusBadRequest, "cannot download a directory: " + p}
	}
	return file.File, file.info, nil
}

// modeBits is a mode in the numbers of stat(2), which do not differ between systems.
func modeBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for _, t := range []struct {
		is   fs.FileMode
		bits uint32
	}{
		{fs.ModeSetuid, 0o4000},
		{fs.ModeSetgid, 0o2000},
		{fs.ModeSticky, 0o1000},
		{fs.ModeDir, 0o40000},
		{fs.ModeSymlink, 0o120000},
		{fs.ModeNamedPipe, 0o10000},
		{fs.ModeSocket, 0o140000},
	} {
		if m&t.is != 0 {
			bits |= t.bits
		}
	}
	switch {
	case m.IsRegular():
		bits |= 0o100000
	case m&fs.ModeCharDevice != 0:
		bits |= 0o20000
	case m&fs.ModeDevice != 0:
		bits |= 0o60000
	}
	return bits
}

// modeString writes a mode as ls does; Go's own differs for links and special bits.
func modeString(m fs.FileMode) string {
	b := []byte("----------")
	switch {
	case m.IsDir():
		b[0] = 'd'
	case m&fs.ModeSymlink != 0:
		b[0] = 'l'
	case m&fs.ModeNamedPipe != 0:
		b[0] = 'p'
	case m&fs.ModeSocket != 0:
		b[0] = 's'
	case m&fs.ModeCharDevice != 0:
		b[0] = 'c'
	case m&fs.ModeDevice != 0:
		b[0] = 'b'
	}
	const rwx = "rwxrwxrwx"
	for i := range rwx {
		if m&(1<<(8-i)) != 0 {
			b[i+1] = rwx[i]
		}
	}
	special := func(set bool, i int, with, without byte) {
		if set && b[i] == 'x' {
			b[i] = with
		} else if set {
			b[i] = without
		}
	}
	special(m&fs.ModeSetuid != 0, 3, 's', 'S')
	special(m&fs.ModeSetgid != 0, 6, 's', 'S')
	special(m&fs.ModeSticky != 0, 9, 't', 'T')
	return string(b)
}

// owners remembers the names of users and groups for a while: a listing asks for the same one again and again, and asking
// reads a file.
type owners struct {
	mu    sync.Mutex
	since time.Time
	names map[string]string
}

func (o *owners) user(id uint32) string {
	return o.name("u", id, func(s string) (string, error) {
		u, err := user.LookupId(s)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (o *owners) group(id uint32) string {
	return o.name("g", id, func(s string) (string, error) {
		g, err := user.LookupGroupId(s)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func (o *owners) name(kind string, id uint32, look func(string) (string, error)) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.names == nil || time.Since(o.since) > time.Minute {
		o.names, o.since = map[string]string{}, time.Now()
	}
	s := strconv.FormatUint(uint64(id), 10)
	if n, ok := o.names[kind+s]; ok {
		return n
	}
	n, err := look(s)
	if err != nil {
		n = s
	}
	o.names[kind+s] = n
	return n
}
