package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// hub is a registry in this process with a hook before every answer, and a list of what it was asked.
type hub struct {
	*httptest.Server
	host string
	mu   sync.Mutex
	hook func(w http.ResponseWriter, r *http.Request, next http.Handler)
	seen []string
}

func newHub(tb testing.TB) *hub {
	tb.Helper()
	h := &hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		hook := h.hook
		h.seen = append(h.seen, r.Method+" "+r.URL.Path)
		h.mu.Unlock()
		if hook != nil {
			hook(w, r, inner)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	tb.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	h.host = h.Listener.Addr().String()
	return h
}

// answer sets the hook and forgets what was asked.
func (h *hub) answer(hook func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook, h.seen = hook, nil
}

// asked gives the requests with a part, and forgets none.
func (h *hub) asked(part string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, s := range h.seen {
		if strings.Contains(s, part) {
			out = append(out, s)
		}
	}
	return out
}

func (h *hub) ref(path string) string { return h.host + "/" + path }

// push stores an image or an index.
func (h *hub) push(tb testing.TB, path string, what remote.Taggable) {
	tb.Helper()
	ref, err := name.ParseReference(h.ref(path), name.Insecure)
	if err != nil {
		tb.Fatal(err)
	}
	h.mu.Lock()
	hook := h.hook
	h.hook = nil
	h.mu.Unlock()
	defer h.answer(hook)
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(ref, what)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, what)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// files makes the archive of a layer with files of their own names, owned by whoever runs the test.
func files(tb testing.TB, names ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: n, Mode: 0o644, Size: int64(len(n)), Uid: os.Geteuid(), Gid: os.Getegid()}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, n); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(tb testing.TB, raw []byte, opts ...tarball.LayerOption) v1.Layer {
	tb.Helper()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// build makes an image for this machine of layers, bottom first.
func build(tb testing.TB, layers ...v1.Layer) v1.Image {
	tb.Helper()
	return buildFor(tb, "linux", runtime.GOARCH, layers...)
}

func buildFor(tb testing.TB, system, arch string, layers ...v1.Layer) v1.Image {
	tb.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: system, Architecture: arch, RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{
		Entrypoint: []string{"/bin/app"}, Cmd: []string{"-v"}, Env: []string{"A=1"}, WorkingDir: "/srv", User: "7:8",
		Volumes: map[string]struct{}{"/b": {}, "/a": {}}, StopSignal: "SIGINT", Labels: map[string]string{"k": "v"}, ExposedPorts: map[string]struct{}{"80/tcp": {}},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		tb.Fatal(err)
	}
	return img
}

func digestOf(tb testing.TB, what interface{ Digest() (v1.Hash, error) }) string {
	tb.Helper()
	d, err := what.Digest()
	if err != nil {
		tb.Fatal(err)
	}
	return d.String()
}

// told collects what a store logs.
type told struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

func (l *told) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// open opens a store that knows the hub; change adapts the settings.
func open(tb testing.TB, dir string, h *hub, change ...func(*Settings)) *Store {
	tb.Helper()
	cfg := Settings{Dir: dir, Attempts: 2}
	if h != nil {
		cfg.PlainHTTP, cfg.DefaultRegistry = []string{h.host}, h.host
	}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// contents lists the files below directories with what is in them.
func contentsOf(tb testing.TB, dirs ...string) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for _, d := range slices.Backward(dirs) {
		err := filepath.WalkDir(d, func(p string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			raw, err := os.ReadFile(p)
			rel, _ := filepath.Rel(d, p)
			out[rel] = string(raw)
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// leftovers lists what a store has on disk besides the images it should have.
func leftovers(tb testing.TB, s *Store) []string {
	tb.Helper()
	known := map[string]bool{}
	s.mu.Lock()
	for d, st := range s.images {
		known[s.recordPath(d)] = true
		known[s.path(blobsDir, fileName(st.Config))] = true
		for _, l := range st.Layers {
			known[s.layerPath(l.Chain)] = true
		}
	}
	s.mu.Unlock()
	var out []string
	for _, d := range []string{imagesDir, blobsDir, layersDir, workDir, trashDir, emptyDir} {
		entries, err := os.ReadDir(s.path(d))
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range entries {
			if p := s.path(d, e.Name()); !known[p] {
				out = append(out, fmt.Sprintf("%s/%s", d, e.Name()))
			}
			delete(known, s.path(d, e.Name()))
		}
	}
	for p := range known {
		out = append(out, "missing: "+p)
	}
	return out
}
