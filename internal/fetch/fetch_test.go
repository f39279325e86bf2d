//go:build unix

package fetch

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/pando-os/pando/internal/host"
)

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// member is one entry of an archive; a name that ends in a slash is a directory.
type member struct {
	name, body string
	mode       int64
	kind       byte
}

func tarOfMembers(tb testing.TB, ms ...member) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range ms {
		h := &tar.Header{Name: m.name, Mode: m.mode, Typeflag: m.kind, ModTime: time.Unix(1e9, 0)}
		switch m.kind {
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = m.body
		case tar.TypeReg:
			h.Size = int64(len(m.body))
		}
		check(tb, w.WriteHeader(h))
		if m.kind == tar.TypeReg {
			_, err := w.Write([]byte(m.body))
			check(tb, err)
		}
	}
	check(tb, w.Close())
	return b.Bytes()
}

func gz(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	check(tb, errors.Join(err, w.Close()))
	return out.Bytes()
}

func xzip(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	check(tb, err)
	_, err = w.Write(b)
	check(tb, errors.Join(err, w.Close()))
	return out.Bytes()
}

func zipped(tb testing.TB, ms ...member) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, m := range ms {
		h := &zip.FileHeader{Name: m.name}
		h.SetMode(os.FileMode(m.mode))
		if m.kind == tar.TypeSymlink {
			h.SetMode(os.ModeSymlink | 0o777)
		}
		f, err := w.CreateHeader(h)
		check(tb, err)
		_, err = f.Write([]byte(m.body))
		check(tb, err)
	}
	check(tb, w.Close())
	return out.Bytes()
}

// tree lists what is below a directory: mode, and content or target.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	m := map[string]string{}
	check(tb, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		what := st.Mode().String()
		switch {
		case st.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			what += " " + string(b)
		case st.Mode()&os.ModeSymlink != 0:
			to, _ := os.Readlink(p)
			what = "-> " + to
		}
		rel, _ := filepath.Rel(dir, p)
		m[rel] = what
		return nil
	}))
	return m
}

// serve offers files by path.
func serve(tb testing.TB, files map[string][]byte) string {
	tb.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to, ok := strings.CutPrefix(r.URL.Path, "/to/"); ok {
			http.Redirect(w, r, "/"+to, http.StatusFound)
			return
		}
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(b)
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

// bzipped is a tar.bz2 with the member d/f, made with Python, since Go only reads the format.
const bzipped = "QlpoOTFBWSZTWb8eEdQAAG57gMmAAAFAAM+AAAJ1AJ4gCAggAFRGqaYJkxG1Maagkk1NDIAZNB91IghB7chCH7a80k8UCGBiub67QRFhF2AmN9tdrgimmERVU5gAi/F3JFOFCQvx4R1A"

func TestURIsComeIntoTheSandbox(t *testing.T) {
	plain := []member{{"d/", "", 0o755, tar.TypeDir}, {"d/f", "body", 0o4750, tar.TypeReg}, {"l", "d/f", 0, tar.TypeSymlink}, {"h", "d/f", 0, tar.TypeLink}}
	unpacked := map[string]string{"d": "drwxr-xr-x", "d/f": "-rwxr-x--- body", "l": "-> d/f", "h": "-rwxr-x--- body"}
	tarball := tarOfMembers(t, plain...)
	files := map[string][]byte{
		"/a.txt": []byte("text"), "/a.tar": tarball, "/a.tgz": gz(t, tarball), "/a.tar.gz": gz(t, tarball),
		"/a.txz": xzip(t, tarball), "/a.gz": gz(t, []byte("text")),
		"/a.zip":    zipped(t, member{"d/f", "body", 0o750, tar.TypeReg}, member{"l", "d/f", 0, tar.TypeSymlink}),
		"/with b.x": []byte("space"),
	}
	bz, err := base64.StdEncoding.DecodeString(bzipped)
	check(t, err)
	files["/a.tbz2"] = bz
	url := serve(t, files)
	local := filepath.Join(t.TempDir(), "local.txt")
	check(t, os.WriteFile(local, []byte("local"), 0o600))
	with := func(packed string, more map[string]string) map[string]string {
		m := map[string]string{packed: "-rw-r--r-- " + string(files["/"+packed])}
		maps.Copy(m, more)
		return m
	}
	for _, tt := range []struct {
		name string
		uri  URI
		want map[string]string
	}{
		{"a file over http", URI{Value: url + "/a.txt", Extract: true}, with("a.txt", nil)},
		{"through a redirect", URI{Value: url + "/to/a.txt"}, with("a.txt", nil)},
		{"with a query", URI{Value: url + "/a.txt?version=1/2"}, with("a.txt", nil)},
		{"with an escape", URI{Value: url + "/with%20b.x"}, with("with b.x", nil)},
		{"a local path", URI{Value: local}, map[string]string{"local.txt": "-rw-r--r-- local"}},
		{"a relative path", URI{Value: "local.txt"}, map[string]string{"local.txt": "-rw-r--r-- local"}},
		{"a file URI", URI{Value: "file://" + local}, map[string]string{"local.txt": "-rw-r--r-- local"}},
		{"an executable", URI{Value: url + "/a.tgz", Executable: true, Extract: true}, map[string]string{"a.tgz": "-rwxr-xr-x " + string(files["/a.tgz"])}},
		{"an archive to stay packed", URI{Value: url + "/a.tgz"}, with("a.tgz", nil)},
		{"another name", URI{Value: url + "/a.txt", OutputFile: "x/y.txt"}, map[string]string{"x": "drwxr-xr-x", "x/y.txt": "-rw-r--r-- text"}},
		{"tar", URI{Value: url + "/a.tar", Extract: true}, with("a.tar", unpacked)},
		{"tgz", URI{Value: url + "/a.tgz", Extract: true}, with("a.tgz", unpacked)},
		{"tar.gz", URI{Value: url + "/a.tar.gz", Extract: true}, with("a.tar.gz", unpacked)},
		{"txz", URI{Value: url + "/a.txz", Extract: true}, with("a.txz", unpacked)},
		{"tbz2", URI{Value: url + "/a.tbz2", Extract: true}, with("a.tbz2", map[string]string{"d": "drwxr-xr-x", "d/f": "-rwxr-x--- body"})},
		{"gz", URI{Value: url + "/a.gz", Extract: true}, with("a.gz", map[string]string{"a": "-rw-r--r-- text"})},
		{"zip", URI{Value: url + "/a.zip", Extract: true}, with("a.zip", map[string]string{"d": "drwxr-xr-x", "d/f": "-rwxr-x--- body", "l": "-> d/f"})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			f := &Fetcher{Home: filepath.Dir(local)}
			if err := f.Fetch(t.Context(), Job{Sandbox: dir, URIs: []URI{tt.uri}}); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, tree(t, dir)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatCannotBeFetchedIsNamedWithItsCause(t *testing.T) {
	reg := func(name string) member { return member{name, "x", 0o644, tar.TypeReg} }
	url := serve(t, map[string][]byte{
		"/up.tar":      tarOfMembers(t, reg("../../escaped")),
		"/link.tar":    tarOfMembers(t, member{"out", "../..", 0, tar.TypeSymlink}, reg("out/escaped")),
		"/abs.tar":     tarOfMembers(t, member{"out", "/tmp", 0, tar.TypeSymlink}, reg("out/escaped")),
		"/hard.tar":    tarOfMembers(t, member{"h", "../../victim", 0, tar.TypeLink}),
		"/fifo.tar":    tarOfMembers(t, member{"p", "", 0o644, tar.TypeFifo}),
		"/up.zip":      zipped(t, reg("../escaped")),
		"/link.zip":    zipped(t, member{"out", "..", 0, tar.TypeSymlink}, reg("out/escaped")),
		"/broken.tgz":  []byte("no archive"),
		"/broken.zip":  []byte("no archive"),
		"/big.txt":     make([]byte, 5000),
		"/bomb.tgz":    gz(t, tarOfMembers(t, member{"big", strings.Repeat("0", 5000), 0o644, tar.TypeReg})),
		"/bomb.gz":     gz(t, make([]byte, 5000)),
		"/no/such/dir": nil,
	})
	for _, tt := range []struct{ name, uri, out, cause string }{
		{"a missing page", url + "/nothing", "", "404 Not Found"},
		{"nobody there", "http://127.0.0.1:1/x", "", "refused"},
		{"a missing file", "/no/such/file", "", "no such file"},
		{"a directory", "/tmp", "", "not a plain file"},
		{"a device", "/dev/zero", "", "not a plain file"},
		{"an unknown scheme", "hdfs://name/x", "", `scheme "hdfs" is not supported`},
		{"a relative path without a home", "x", "", "--frameworks-home"},
		{"a foreign file URI", "file://other/x", "", "file:///PATH"},
		{"no file name", url + "/", "", "output_file"},
		{"dots for a name", url + "/x/..", "", "output_file"},
		{"an absolute output", url + "/big.txt", "/etc/x", "inside the sandbox"},
		{"an output that climbs", url + "/big.txt", "a/../../x", "inside the sandbox"},
		{"a tar that climbs", url + "/up.tar", "", "leave the sandbox"},
		{"a tar that goes through its link", url + "/link.tar", "", "escapes"},
		{"a tar that goes through an absolute link", url + "/abs.tar", "", "escapes"},
		{"a hard link out", url + "/hard.tar", "", "leave the sandbox"},
		{"a pipe", url + "/fifo.tar", "", "neither a file"},
		{"a zip that climbs", url + "/up.zip", "", "leave the sandbox"},
		{"a zip that goes through its link", url + "/link.zip", "", "escapes"},
		{"a broken tgz", url + "/broken.tgz", "", "unpack broken.tgz"},
		{"a broken zip", url + "/broken.zip", "", "unpack broken.zip"},
		{"too long a file", url + "/big.txt", "", "longer than 4000 bytes"},
		{"a tar that swells", url + "/bomb.tgz", "", "longer than 4000 bytes"},
		{"a gz that swells", url + "/bomb.gz", "", "longer than 4000 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "a", "b")
			check(t, os.MkdirAll(dir, 0o755))
			check(t, os.WriteFile(filepath.Join(top, "victim"), nil, 0o600))
			f := &Fetcher{MaxBytes: 4000}
			err := f.Fetch(t.Context(), Job{Sandbox: dir, URIs: []URI{{Value: tt.uri, OutputFile: tt.out, Extract: true}}})
			var fe *Error
			if !errors.As(err, &fe) || fe.URI != tt.uri || !strings.Contains(err.Error(), tt.cause) || strings.Contains(tt.uri, "://") && strings.Count(err.Error(), tt.uri) > 1 {
				t.Errorf("error %q, want one that says %q", err, tt.cause)
			}
			out := tree(t, top)
			for name := range out {
				if strings.Contains(name, "escaped") {
					t.Errorf("%s was written", name)
				}
			}
		})
	}
}

func TestWhatIsFetchedBelongsToTheUserWhoMustBeAllowedToReadIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP-HOST: needs root to give files away")
	}
	u := &host.User{UID: 4321, GID: 1234, Groups: []uint32{1234, 777}}
	dir, from := t.TempDir(), t.TempDir()
	check(t, os.Chmod(filepath.Dir(from), 0o755))
	check(t, os.Chmod(from, 0o755))
	write := func(name string, mode os.FileMode, gid int) string {
		p := filepath.Join(from, name)
		check(t, os.WriteFile(p, tarOfMembers(t, member{"d/f", "x", 0o644, tar.TypeReg}, member{"l", "x", 0, tar.TypeSymlink}), 0o600))
		check(t, os.Chown(p, 0, gid))
		check(t, os.Chmod(p, mode))
		return p
	}
	f := new(Fetcher)
	check(t, f.Fetch(t.Context(), Job{Sandbox: dir, User: u, URIs: []URI{{Value: write("group.tar", 0o640, 777), Extract: true}}}))
	for _, name := range []string{"group.tar", "d", "d/f", "l"} {
		st, err := os.Lstat(filepath.Join(dir, name))
		check(t, err)
		if s := st.Sys().(*syscall.Stat_t); s.Uid != u.UID || s.Gid != u.GID {
			t.Errorf("%s belongs to %d:%d", name, s.Uid, s.Gid)
		}
	}
	err := f.Fetch(t.Context(), Job{Sandbox: dir, User: u, URIs: []URI{{Value: write("secret.tar", 0o600, 0)}}})
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

func TestATransferThatStallsIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("first"))
		w.(http.Flusher).Flush()
		<-release
	}))
	defer s.Close()
	defer close(release)
	f := &Fetcher{Stall: 30 * time.Millisecond}
	err := f.Fetch(t.Context(), Job{Sandbox: t.TempDir(), URIs: []URI{{Value: s.URL + "/x"}}})
	if err == nil || !strings.Contains(err.Error(), "no byte has come") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	f.Stall = time.Hour
	if err := f.Fetch(ctx, Job{Sandbox: t.TempDir(), URIs: []URI{{Value: s.URL + "/x"}}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestTheCacheSharesADownloadAndEvictsTheOldest(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/broken" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		time.Sleep(10 * time.Millisecond)
		w.Write([]byte(r.URL.Path + strings.Repeat(".", 1000)))
	}))
	defer s.Close()
	c, err := NewCache(filepath.Join(t.TempDir(), "cache"), 2500)
	check(t, err)
	f := &Fetcher{Cache: c}
	fetch := func(path string, u *host.User) error {
		dir := t.TempDir()
		err := f.Fetch(t.Context(), Job{Sandbox: dir, User: u, URIs: []URI{{Value: s.URL + path, Cache: true}}})
		if err == nil && !strings.HasPrefix(tree(t, dir)[path[1:]], "-rw-r--r-- "+path) {
			t.Errorf("%s: %v", path, tree(t, dir))
		}
		return err
	}
	want := func(n int32, why string) {
		t.Helper()
		if got := asked.Swap(0); got != n {
			t.Errorf("%s: the server was asked %d times, want %d", why, got, n)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := fetch("/a", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want(1, "eight at once")
	check(t, fetch("/a", &host.User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}))
	want(1, "another user")
	check(t, fetch("/a", nil))
	check(t, fetch("/b", nil)) // the other user's copy was used longest ago and goes
	check(t, fetch("/a", nil))
	want(1, "one of two evicted")
	if used, limit := c.Size(); used > limit || used < 2000 {
		t.Errorf("%d of %d bytes are used", used, limit)
	}
	for range 2 {
		if fetch("/broken", nil) == nil {
			t.Error("a failed download counts as one")
		}
	}
	want(2, "failures are not kept")
	small, err := NewCache(filepath.Join(t.TempDir(), "cache"), 10)
	check(t, err)
	f.Cache = small
	check(t, fetch("/a", nil))
	if used, _ := small.Size(); used != 0 {
		t.Errorf("%d bytes are used by what was not kept", used)
	}
}

func FuzzNoArchiveLeavesTheSandbox(f *testing.F) {
	f.Add("../x", "y", byte(tar.TypeReg))
	f.Add("a", "../..", byte(tar.TypeSymlink))
	f.Add("/abs/x", "", byte(tar.TypeDir))
	f.Add("a/b/../../..", "", byte(tar.TypeDir))
	f.Add("h", "../../victim", byte(tar.TypeLink))
	f.Fuzz(func(t *testing.T, name, target string, kind byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "in", "side")
		check(t, os.MkdirAll(dir, 0o755))
		root, err := os.OpenRoot(dir)
		check(t, err)
		defer root.Close()
		b := &box{root: root, uid: -1, gid: -1}
		h := &tar.Header{Name: name, Linkname: target, Typeflag: kind, Mode: 0o644}
		b.tarMember("a.tar", h, strings.NewReader("x"))
		b.tarMember("a.tar", &tar.Header{Name: name + "/under", Typeflag: tar.TypeReg, Mode: 0o644}, strings.NewReader("x"))
		for p := range tree(t, top) {
			if p != "in" && p != filepath.Join("in", "side") && !strings.HasPrefix(p, filepath.Join("in", "side")+"/") {
				t.Fatalf("%q with %q writes %q", name, target, p)
			}
		}
	})
}
