package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/pando-os/pando/internal/image/failure"
)

func TestAPulledImageIsThereAfterARestartWithoutItsRegistry(t *testing.T) {
	h, dir := newHub(t), t.TempDir()
	img := build(t, layerOf(t, files(t, "a", "d/b")), layerOf(t, files(t, "d/c"), tarball.WithCompression(compression.ZStd)))
	h.push(t, "team/app:1", img)
	s := open(t, dir, h)
	got, err := s.Pull(t.Context(), "team/app:1", PullOptions{Hold: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	want := Image{
		Digest: digestOf(t, img), References: []string{h.ref("team/app:1")}, Layers: 2, Bytes: 7, Packed: got.Packed, Pulled: got.Pulled, LastUsed: got.LastUsed, Holders: 1,
		Config: Config{
			Entrypoint: []string{"/bin/app"}, Cmd: []string{"-v"}, Env: []string{"A=1"}, WorkingDir: "/srv", User: "7:8",
			Volumes: []string{"/a", "/b"}, StopSignal: "SIGINT", Labels: map[string]string{"k": "v"}, ExposedPorts: []string{"80/tcp"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || got.Packed == 0 || got.Pulled.IsZero() {
		t.Errorf("%s %+v", diff, got)
	}
	lower, err := s.Lower("team/app:1")
	if err != nil || len(lower) != 2 {
		t.Fatal(lower, err)
	}
	top := map[string]string{"d/c": "d/c"}
	if diff := cmp.Diff(top, contentsOf(t, lower[0])); diff != "" {
		t.Errorf("the topmost layer has more than its own: %s", diff)
	}
	if diff := cmp.Diff([]string(nil), leftovers(t, s)); diff != "" {
		t.Error(diff)
	}
	s.Close()
	h.Close()

	s = open(t, dir, h)
	want.Holders = 0
	if again, err := s.Pull(t.Context(), h.ref("team/app:1"), PullOptions{}); err != nil {
		t.Error(err)
	} else if want.LastUsed = again.LastUsed; cmp.Diff(want, again) != "" {
		t.Error(cmp.Diff(want, again))
	}
	if again, err := s.Lower(got.Digest); err != nil || cmp.Diff(lower, again) != "" {
		t.Error(again, err)
	}
	all := map[string]string{"a": "a", "d/b": "d/b", "d/c": "d/c"}
	if diff := cmp.Diff(all, contentsOf(t, lower...)); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Pull(t.Context(), "team/app:2", PullOptions{}); !failure.Is(err, failure.Unreachable) {
		t.Error(err)
	}
}

func TestAnImageWithoutLayersHasAnEmptyDirectory(t *testing.T) {
	h := newHub(t)
	h.push(t, "scratch:1", build(t))
	s := open(t, t.TempDir(), h)
	if _, err := s.Pull(t.Context(), "scratch:1", PullOptions{}); err != nil {
		t.Fatal(err)
	}
	lower, err := s.Lower("scratch:1")
	if err != nil || len(lower) != 1 || len(contentsOf(t, lower...)) != 0 {
		t.Error(lower, err)
	}
}

func index(t *testing.T, platforms map[string]v1.Image, mediaType types.MediaType) v1.ImageIndex {
	t.Helper()
	idx := mutate.IndexMediaType(empty.Index, mediaType)
	for p, img := range platforms {
		parsed, err := v1.ParsePlatform(p)
		if err != nil {
			t.Fatal(err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: parsed}})
	}
	return idx
}

func TestTheImageForThisMachineIsChosen(t *testing.T) {
	h := newHub(t)
	arm, amd, plain := buildFor(t, "linux", "arm64", layerOf(t, files(t, "arm"))), buildFor(t, "linux", "amd64", layerOf(t, files(t, "amd"))), buildFor(t, "linux", "arm", layerOf(t, files(t, "v7")))
	attest := buildFor(t, "unknown", "unknown")
	h.push(t, "oci:1", index(t, map[string]v1.Image{"linux/amd64": amd, "linux/arm64/v8": arm, "unknown/unknown": attest}, types.OCIImageIndex))
	h.push(t, "docker:1", index(t, map[string]v1.Image{"linux/amd64": amd, "linux/arm/v7": plain, "windows/amd64:10.0.1": attest}, types.DockerManifestList))
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index(t, map[string]v1.Image{"linux/arm64": arm}, types.OCIImageIndex)})
	h.push(t, "nested:1", nested)
	h.push(t, "plain:1", amd)
	for _, c := range []struct {
		ref, platform string
		want          v1.Image // nil: there is none
	}{
		{"oci:1", "linux/amd64", amd},
		{"oci:1", "linux/arm64", arm},
		{"oci:1", "linux/riscv64", nil},
		{"oci:1", "linux/amd64/v3", amd},
		{"oci:1", "linux/arm64/v9", arm},
		{"docker:1", "linux/amd64", amd},
		{"docker:1", "linux/arm/v7", plain},
		{"docker:1", "linux/arm/v6", nil},
		{"docker:1", "linux/arm64", nil},
		{"nested:1", "linux/arm64", arm},
		{"nested:1", "linux/amd64", nil},
		{"plain:1", "linux/amd64", amd},
		{"plain:1", "linux/arm64", nil},
	} {
		s := open(t, t.TempDir(), h, func(s *Settings) { s.Platform = c.platform })
		got, err := s.Pull(t.Context(), c.ref, PullOptions{})
		if c.want == nil {
			if !failure.Is(err, failure.NoPlatform) || !strings.Contains(err.Error(), c.platform) || strings.Contains(err.Error(), "unknown") {
				t.Errorf("%s for %s: %v (%v)", c.ref, c.platform, err, failure.Of(err))
			}
			continue
		}
		if err != nil || got.Digest != digestOf(t, c.want) {
			t.Errorf("%s for %s: %s, %v", c.ref, c.platform, got.Digest, err)
		}
		if left := leftovers(t, s); left != nil {
			t.Error(left)
		}
	}
}

func TestOneDigestIsAskedForOnce(t *testing.T) {
	h := newHub(t)
	img := build(t, layerOf(t, files(t, "a")))
	idx := index(t, map[string]v1.Image{"linux/" + runtime.GOARCH: img}, types.OCIImageIndex)
	h.push(t, "app:1", idx)
	s := open(t, t.TempDir(), h)
	for _, ref := range []string{"app@" + digestOf(t, idx), "app@" + digestOf(t, img)} {
		for range 2 {
			if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		h.answer(nil)
		for _, o := range []PullOptions{{}, {Force: true}} {
			if got, err := s.Pull(t.Context(), ref, o); err != nil || got.Digest != digestOf(t, img) || len(h.asked("")) != 0 {
				t.Errorf("%v, %v, asked %q", got.Digest, err, h.asked(""))
			}
		}
	}
	if got, err := s.Pull(t.Context(), digestOf(t, img), PullOptions{}); err != nil || got.Digest != digestOf(t, img) {
		t.Error(got, err)
	}
	if _, err := s.Pull(t.Context(), "sha256:"+strings.Repeat("0", 64), PullOptions{}); !failure.Is(err, failure.NotFound) {
		t.Error(err)
	}
}

func TestForceFindsThatATagIsWhereItWasOrMoved(t *testing.T) {
	h, dir := newHub(t), t.TempDir()
	base := layerOf(t, files(t, "base"))
	one, two := build(t, base, layerOf(t, files(t, "one"))), build(t, base, layerOf(t, files(t, "two")))
	h.push(t, "app:1", one)
	s := open(t, dir, h)
	if _, err := s.Pull(t.Context(), "app:1", PullOptions{Hold: "old"}); err != nil {
		t.Fatal(err)
	}
	h.answer(nil)
	if got, err := s.Pull(t.Context(), "app:1", PullOptions{Force: true}); err != nil || got.Digest != digestOf(t, one) {
		t.Error(got, err)
	}
	if got := h.asked("app"); len(got) != 1 || !strings.HasPrefix(got[0], "HEAD") {
		t.Errorf("asked %q for a tag that is where it was", got)
	}
	h.push(t, "app:1", two)
	if got, err := s.Pull(t.Context(), "app:1", PullOptions{}); err != nil || got.Digest != digestOf(t, one) {
		t.Error("without force the tag moved", got, err)
	}
	h.answer(nil)
	got, err := s.Pull(t.Context(), "app:1", PullOptions{Force: true})
	if err != nil || got.Digest != digestOf(t, two) {
		t.Fatal(got, err)
	}
	if asked := h.asked("/blobs/"); len(asked) != 2 {
		t.Errorf("asked for %q; the base layer was there", asked)
	}
	check := func(s *Store) {
		t.Helper()
		old, err := s.Get(digestOf(t, one))
		if err != nil || len(old.References) != 0 {
			t.Error("the image that had the tag:", old, err)
		}
		if now, err := s.Get("app:1"); err != nil || now.Digest != digestOf(t, two) {
			t.Error(now, err)
		}
		lower, err := s.Lower(digestOf(t, one))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"base": "base", "one": "one"}, contentsOf(t, lower...)); diff != "" {
			t.Error(diff)
		}
	}
	check(s)
	s.Close()
	check(open(t, dir, h))
}

func TestAllWhoWantAnImageShareOnePull(t *testing.T) {
	h := newHub(t)
	h.push(t, "app:1", build(t, layerOf(t, files(t, "a")), layerOf(t, files(t, "b"))))
	s := open(t, t.TempDir(), h)
	started, let := make(chan struct{}, 100), make(chan struct{})
	h.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			started <- struct{}{}
			<-let
		}
		next.ServeHTTP(w, r)
	})
	first, stop := context.WithCancel(t.Context())
	errs := make(chan error, 20)
	go func() { _, err := s.Pull(first, "app:1", PullOptions{}); errs <- err }()
	<-started
	var wait sync.WaitGroup
	for i := range 10 {
		wait.Go(func() {
			_, err := s.Pull(t.Context(), "app:1", PullOptions{Hold: fmt.Sprint("c", i)})
			if err != nil {
				t.Error(err)
			}
		})
	}
	waiting := func() int {
		s.pulls.mu.Lock()
		defer s.pulls.mu.Unlock()
		for _, f := range s.pulls.up {
			return f.waiting
		}
		return 0
	}
	for waiting() < 11 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-errs; !failure.Is(err, failure.Canceled) {
		t.Errorf("the one that gave up: %v", err)
	}
	close(let)
	wait.Wait()
	for _, part := range []string{"GET /v2/app/manifests", "GET /v2/app/blobs"} {
		seen := map[string]bool{}
		for _, a := range h.asked(part) {
			if seen[a] {
				t.Errorf("asked twice: %s", a)
			}
			seen[a] = true
		}
	}
	if img, err := s.Get("app:1"); err != nil || img.Holders != 10 {
		t.Error(img.Holders, err)
	}
}

func TestAPullThatNobodyWaitsForEndsAndLeavesNothingOnItsWay(t *testing.T) {
	h := newHub(t)
	h.push(t, "app:1", build(t, layerOf(t, files(t, "a")), layerOf(t, files(t, "b"))))
	s := open(t, t.TempDir(), h)
	started, ended := make(chan struct{}, 100), make(chan struct{}, 100)
	h.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			started <- struct{}{}
			<-r.Context().Done()
			ended <- struct{}{}
			return
		}
		next.ServeHTTP(w, r)
	})
	ctx, stop := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for range 2 {
		go func() { _, err := s.Pull(ctx, "app:1", PullOptions{}); errs <- err }()
	}
	<-started
	stop()
	for range 2 {
		if err := <-errs; !failure.Is(err, failure.Canceled) || !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	<-ended
	s.pulls.wait()
	s.layers.wait()
	if left := leftovers(t, s); left != nil {
		t.Error(left)
	}
}

func TestImagesThatArePulledAtOnceShareTheirLayers(t *testing.T) {
	h := newHub(t)
	base := layerOf(t, files(t, "base"))
	for i := range 5 {
		h.push(t, fmt.Sprintf("app%d:1", i), build(t, base, layerOf(t, files(t, fmt.Sprint(i)))))
	}
	s := open(t, t.TempDir(), h)
	h.answer(nil)
	var wait sync.WaitGroup
	for i := range 5 {
		wait.Go(func() {
			if _, err := s.Pull(t.Context(), fmt.Sprintf("app%d:1", i), PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := len(h.asked("GET")) - len(h.asked("manifests")) - len(h.asked("GET /v2/ ")); n == 0 {
		t.Error("nothing was asked")
	}
	if got := h.asked("blobs/" + digestOf(t, base)); len(got) != 1 {
		t.Errorf("the shared layer was fetched %d times", len(got))
	}
	if left := leftovers(t, s); left != nil {
		t.Error(left)
	}
}

// spoil answers for a blob with other bytes.
func spoil(d string, change func([]byte) []byte) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.HasSuffix(r.URL.Path, d) {
			next.ServeHTTP(w, r)
			return
		}
		rec := &recorder{header: http.Header{}}
		next.ServeHTTP(rec, r)
		_, _ = w.Write(change(rec.body.Bytes()))
	}
}

type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }

func TestAPullThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	good, other := layerOf(t, files(t, "good")), layerOf(t, files(t, "other", "x"))
	big := layerOf(t, files(t, strings.Repeat("big/", 40)+"f", "g", "h", "i"))
	img := build(t, good, other)
	lied, err := mutate.ConfigFile(img, func() *v1.ConfigFile {
		c, _ := img.ConfigFile()
		c = c.DeepCopy()
		c.RootFS.DiffIDs[1] = c.RootFS.DiffIDs[0]
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	short, err := mutate.ConfigFile(img, func() *v1.ConfigFile {
		c, _ := img.ConfigFile()
		c = c.DeepCopy()
		c.RootFS.DiffIDs = c.RootFS.DiffIDs[:1]
		return c
	}())
	if err != nil {
		t.Fatal(err)
	}
	outside := build(t, good, layerOf(t, files(t, "../../escaped")))
	for _, c := range []struct {
		name   string
		img    v1.Image
		hook   func(http.ResponseWriter, *http.Request, http.Handler)
		change func(*Settings)
		kind   Kind
		words  string
	}{
		{"other bytes in a layer", img, spoil(digestOf(t, other), func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), nil, failure.BadDigest, "layers[1]"},
		{"a layer cut short", img, spoil(digestOf(t, other), func(b []byte) []byte { return b[:len(b)/2] }), nil, failure.Unreachable, "broke off"},
		{"a config that is another", img, spoil(must(img.ConfigName()).String(), func(b []byte) []byte { return bytes.Replace(b, []byte("/srv"), []byte("/bad"), 1) }), nil, failure.BadDigest, "config"},
		{"a manifest that is another", img, spoil("manifests/1", func(b []byte) []byte { return append(b, ' ') }), nil, failure.Internal, ""},
		{"a layer that unpacks to another", lied, nil, nil, failure.BadDigest, "diff_ids[1]"},
		{"a config with too few layers", short, nil, nil, failure.BadArchive, "diff_ids"},
		{"a layer that would leave", outside, nil, nil, failure.BadArchive, "would leave"},
		{"too many files", build(t, good, big), nil, func(s *Settings) { s.MaxEntries = 20 }, failure.TooLarge, "MaxEntries"},
		{"too large a layer", build(t, good, big), nil, func(s *Settings) { s.MaxLayerBytes = 3000 }, failure.TooLarge, "MaxLayerBytes"},
		{"too large a layer for an image", build(t, good, big), nil, func(s *Settings) { s.MaxImageBytes = 3000 }, failure.TooLarge, "MaxImageBytes"},
		{"too large an image", build(t, layerOf(t, fat(t, 6000)), layerOf(t, fat(t, 7000)), layerOf(t, fat(t, 7500))), nil, func(s *Settings) { s.MaxImageBytes = 18_000 }, failure.TooLarge, "MaxImageBytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHub(t)
			h.push(t, "app:1", c.img)
			h.answer(c.hook)
			dir := t.TempDir()
			s := open(t, filepath.Join(dir, "store"), h, func(s *Settings) {
				s.Downloads, s.Unpacks = 1, 1
				if c.change != nil {
					c.change(s)
				}
			})
			_, err := s.Pull(t.Context(), "app:1", PullOptions{})
			if c.kind == failure.Internal { // a tag says no digest, and the registry took its header back
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !failure.Is(err, c.kind) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), h.ref("app:1")) {
				t.Errorf("%v (%v)", err, failure.Of(err))
			}
			s.Close()
			if left := leftovers(t, s); left != nil && c.kind != failure.Unreachable {
				t.Error(left)
			}
			if _, err := os.Lstat(filepath.Join(dir, "escaped")); !errors.Is(err, fs.ErrNotExist) {
				t.Error("a file escaped")
			}
			h.answer(nil)
			if c.hook != nil {
				if _, err := open(t, filepath.Join(dir, "store"), h).Pull(t.Context(), "app:1", PullOptions{}); err != nil {
					t.Errorf("the next try: %v", err)
				}
			}
		})
	}
}

// fat makes a layer with one file of n bytes.
func fat(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o644, Size: int64(n), Uid: os.Geteuid(), Gid: os.Getegid()}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestCredentialsAreUsedAndKeptNowhere(t *testing.T) {
	h, dir := newHub(t), t.TempDir()
	h.push(t, "app:1", build(t, layerOf(t, files(t, "a"))))
	const password = "hunter2-very-secret"
	h.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if _, pw, _ := r.BasicAuth(); pw != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	secret := base64.StdEncoding.EncodeToString([]byte("me:" + password))
	config := fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, h.host, secret)
	log := &told{}
	s := open(t, dir, h, func(s *Settings) { s.Log = log.logger() })
	_, err := s.Pull(t.Context(), "app:1", PullOptions{})
	if !failure.Is(err, failure.Unauthorised) {
		t.Errorf("without credentials: %v", err)
	}
	if _, err := s.Pull(t.Context(), "app:1", PullOptions{DockerConfig: []byte("{")}); !failure.Is(err, failure.Invalid) {
		t.Errorf("with a damaged config: %v", err)
	}
	if _, err := s.Pull(t.Context(), "app:1", PullOptions{DockerConfig: config}); err != nil {
		t.Errorf("with the image's credentials: %v", err)
	}
	other := open(t, t.TempDir(), h, func(s *Settings) { s.DockerConfig = config })
	if _, err := other.Pull(t.Context(), "app:1", PullOptions{}); err != nil {
		t.Errorf("with the cluster's credentials: %v", err)
	}
	everything := log.String() + fmt.Sprintf("%v %+v", s.cfg, other.cfg)
	for _, d := range []string{dir, other.cfg.Dir} {
		for name, body := range contentsOf(t, d) {
			everything += name + body
		}
	}
	for _, s := range []string{password, secret} {
		if strings.Contains(everything, s) {
			t.Error("a secret is on the disk, in the log or in the settings")
		}
	}
}

func TestCallersOfOtherCredentialsNeitherProfitNorFail(t *testing.T) {
	h := newHub(t)
	h.push(t, "app:1", build(t, layerOf(t, files(t, "a"))))
	at, let := make(chan struct{}, 10), make(chan struct{})
	h.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch _, pw, _ := r.BasicAuth(); pw {
		case "good":
			at <- struct{}{}
			<-let
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	s := open(t, t.TempDir(), h)
	pull := func(password string) error {
		secret := base64.StdEncoding.EncodeToString([]byte("me:" + password))
		_, err := s.Pull(t.Context(), "app:1", PullOptions{DockerConfig: fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, h.host, secret)})
		return err
	}
	good := make(chan error)
	go func() { good <- pull("good") }()
	<-at // the good one's pull is under way
	bad := make(chan error)
	go func() { bad <- pull("bad") }()
	select {
	case err := <-bad:
		if !failure.Is(err, failure.Unauthorised) {
			t.Errorf("with bad credentials: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the one with bad credentials waits for the good one's pull")
		defer func() { <-bad }()
	}
	close(let)
	if err := <-good; err != nil {
		t.Errorf("with good credentials: %v", err)
	}
}

func TestNamesThatCannotBePulledSayWhatToChange(t *testing.T) {
	s := open(t, t.TempDir(), nil)
	for ref, words := range map[string]string{"app:1": "default registry", "App": "no name of an image", "": "no name"} {
		if _, err := s.Pull(t.Context(), ref, PullOptions{}); !failure.Is(err, failure.Invalid) || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	s.Close()
	if _, err := s.Pull(t.Context(), "r.test/app:1", PullOptions{}); !failure.Is(err, failure.Canceled) || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}
