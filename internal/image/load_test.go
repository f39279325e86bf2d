package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/pando-os/pando/internal/image/failure"
)

// saved writes images as docker save does.
func saved(tb testing.TB, images map[string]v1.Image) string {
	tb.Helper()
	byTag := map[name.Tag]v1.Image{}
	for ref, img := range images {
		tag, err := name.NewTag(ref)
		if err != nil {
			tb.Fatal(err)
		}
		byTag[tag] = img
	}
	p := filepath.Join(tb.TempDir(), "images.tar")
	if err := tarball.MultiWriteToFile(p, byTag); err != nil {
		tb.Fatal(err)
	}
	return p
}

// laidOut writes an OCI layout.
func laidOut(tb testing.TB, add func(layout.Path) error) string {
	tb.Helper()
	p, err := layout.Write(tb.TempDir(), empty.Index)
	if err != nil {
		tb.Fatal(err)
	}
	if err := add(p); err != nil {
		tb.Fatal(err)
	}
	return string(p)
}

// tarred packs a directory into an archive.
func tarred(tb testing.TB, dir string) string {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return written(tb, b.Bytes())
}

func written(tb testing.TB, raw []byte) string {
	tb.Helper()
	p := filepath.Join(tb.TempDir(), "file.tar")
	if err := os.WriteFile(p, raw, 0o600); err != nil {
		tb.Fatal(err)
	}
	return p
}

func zipped(tb testing.TB, path string) string {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return written(tb, b.Bytes())
}

func annotated(ref string) layout.Option {
	return layout.WithAnnotations(map[string]string{nameAnnotation: ref})
}

func TestImagesAreLoadedFromFilesWithoutARegistry(t *testing.T) {
	one := build(t, layerOf(t, files(t, "base")), layerOf(t, files(t, "one")))
	two := build(t, layerOf(t, files(t, "base")), layerOf(t, files(t, "two")))
	config := func(i v1.Image) string { return must(i.ConfigName()).String() }
	docker := saved(t, map[string]v1.Image{"r.test/one:1": one, "r.test/two:2": two})
	plain := laidOut(t, func(p layout.Path) error { return p.AppendImage(one, annotated("r.test/one:1")) })
	bare := laidOut(t, func(p layout.Path) error { return p.AppendImage(one, annotated("v1")) })
	idx := index(&testing.T{}, map[string]v1.Image{"linux/amd64": buildFor(t, "linux", "amd64", layerOf(t, files(t, "one"))), "linux/arm64": buildFor(t, "linux", "arm64", layerOf(t, files(t, "one")))}, types.OCIImageIndex)
	multi := laidOut(t, func(p layout.Path) error { return p.AppendIndex(idx, annotated("r.test/multi:1")) })
	for _, c := range []struct {
		name, path, as string
		want           map[string]string // reference (or digest) → the topmost layer's only file
	}{
		{"docker save", docker, "", map[string]string{"r.test/one:1": "one", "r.test/two:2": "two", config(one): "one"}},
		{"docker save in gzip", zipped(t, docker), "", map[string]string{"r.test/one:1": "one", "r.test/two:2": "two"}},
		{"an OCI layout", plain, "", map[string]string{"r.test/one:1": "one", digestOf(t, one): "one"}},
		{"an OCI layout in an archive", tarred(t, plain), "", map[string]string{"r.test/one:1": "one"}},
		{"an OCI layout in a packed archive", zipped(t, tarred(t, plain)), "r.test/also:3", map[string]string{"r.test/one:1": "one", "r.test/also:3": "one"}},
		{"an OCI layout with a tag alone", bare, "", map[string]string{digestOf(t, one): "one"}},
		{"an OCI layout with a tag alone, named", bare, "r.test/named", map[string]string{"r.test/named:latest": "one"}},
		{"an OCI layout with an index", multi, "", map[string]string{"r.test/multi:1": "one"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, nil)
			got, err := s.Load(t.Context(), c.path, LoadOptions{Name: c.as, Hold: "c"})
			if err != nil {
				t.Fatal(err)
			}
			for _, img := range got {
				if img.Holders != 1 || img.Layers == 0 {
					t.Errorf("%+v", img)
				}
			}
			s.Close()
			s = open(t, dir, nil)
			for ref, file := range c.want {
				if _, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil {
					t.Error(err)
				}
				lower, err := s.Lower(ref)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(map[string]string{file: file}, contentsOf(t, lower[0])); diff != "" {
					t.Errorf("%s: %s", ref, diff)
				}
			}
			if left := leftovers(t, s); left != nil {
				t.Error(left)
			}
		})
	}
}

func TestAShortNameThatWasLoadedNeedsNoDefaultRegistry(t *testing.T) {
	img := build(t, layerOf(t, files(t, "a")))
	path := laidOut(t, func(p layout.Path) error { return p.AppendImage(img, annotated("app:1")) })
	s := open(t, t.TempDir(), nil)
	if _, err := s.Load(t.Context(), path, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Pull(t.Context(), "app:1", PullOptions{})
	if err != nil || cmp.Diff([]string{"app:1"}, got.References) != "" {
		t.Error(got, err)
	}
	if _, err := s.Pull(t.Context(), "app:1", PullOptions{Force: true}); !failure.Is(err, failure.Invalid) {
		t.Errorf("asked nobody: %v", err)
	}
}

// member is one file of an archive made by hand.
func handmade(tb testing.TB, members, links map[string]string) string {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for n, body := range members {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: n, Size: int64(len(body)), Mode: 0o600}); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			tb.Fatal(err)
		}
	}
	for n, to := range links {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: n, Linkname: to}); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return written(tb, b.Bytes())
}

func TestANameIsTheSameWithAndWithoutDockersOwnRegistry(t *testing.T) {
	for _, saved := range []string{"bb:1", "docker.io/library/bb:1", "team/bb:1", "index.docker.io/team/bb:1"} {
		dir := t.TempDir()
		s := open(t, dir, nil)
		img := build(t, layerOf(t, files(t, "a")))
		p := filepath.Join(t.TempDir(), "image.tar")
		tag, err := name.NewTag(saved)
		if err != nil {
			t.Fatal(err)
		}
		if err := tarball.WriteToFile(p, tag, img); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(t.Context(), p, LoadOptions{}); err != nil {
			t.Fatal(err)
		}
		short := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(saved, "index."), "docker.io/"), "library/")
		if got := s.List(); len(got) != 1 || !cmp.Equal(got[0].References, []string{short}) {
			t.Errorf("%s is listed as %v", saved, got)
		}
		s.Close()
		s = open(t, dir, nil)
		for _, ref := range []string{short, "docker.io/" + short, "index.docker.io/" + short} {
			if !strings.Contains(short, "/") {
				ref = strings.Replace(ref, "/bb", "/library/bb", 1)
			}
			if got, err := s.Pull(t.Context(), ref, PullOptions{}); err != nil || len(got.References) != 1 {
				t.Errorf("%s, loaded as %s: %v, %v", ref, saved, got.References, err)
			}
		}
		if err := s.Remove(short); err != nil || len(s.List()) != 0 {
			t.Errorf("%s is not removed as %s: %v", saved, short, err)
		}
	}
}

func TestLinksBetweenMembersOfAnArchiveAreFollowedInside(t *testing.T) {
	img := build(t, layerOf(t, files(t, "a")))
	config := string(must(img.RawConfigFile()))
	raw := string(files(t, "a"))
	good := handmade(t, map[string]string{"manifest.json": `[{"Config":"c.json","RepoTags":["r.test/app:1"],"Layers":["x/layer.tar"]}]`, "c.json": config, "y/layer.tar": raw}, map[string]string{"x/layer.tar": "../y/layer.tar"})
	s := open(t, t.TempDir(), nil)
	if _, err := s.Load(t.Context(), good, LoadOptions{}); err != nil {
		t.Error(err)
	}
	for name, to := range map[string]string{"to itself": "layer.tar", "out of the archive": "../../../../etc/passwd"} {
		bad := handmade(t, map[string]string{"manifest.json": `[{"Config":"c.json","Layers":["x/layer.tar"]}]`, "c.json": config}, map[string]string{"x/layer.tar": to})
		if _, err := s.Load(t.Context(), bad, LoadOptions{}); !failure.Is(err, failure.BadArchive) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilesThatHoldNoImagesAreToldApart(t *testing.T) {
	img := build(t, layerOf(t, files(t, "a")))
	two := saved(t, map[string]v1.Image{"r.test/one:1": img, "r.test/two:1": build(t)})
	changed := laidOut(t, func(p layout.Path) error { return p.AppendImage(img, annotated("r.test/a:1")) })
	configFile := filepath.Join(changed, blobFile(must(img.ConfigName())))
	if err := os.WriteFile(configFile, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	lacking := laidOut(t, func(p layout.Path) error { return p.AppendImage(img, annotated("r.test/a:1")) })
	if err := os.Remove(filepath.Join(lacking, blobFile(must(must(img.Layers())[0].Digest())))); err != nil {
		t.Fatal(err)
	}
	outside := laidOut(t, func(p layout.Path) error { return p.AppendImage(img, annotated("r.test/a:1")) })
	if err := os.Remove(filepath.Join(outside, "index.json")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(outside, "index.json")); err != nil {
		t.Fatal(err)
	}
	foreign := laidOut(t, func(p layout.Path) error {
		return p.AppendImage(buildFor(t, "windows", "amd64"), annotated("r.test/w:1"))
	})
	for _, c := range []struct {
		name, path, as string
		kind           Kind
	}{
		{"nothing there", filepath.Join(t.TempDir(), "none"), "", failure.NotFound},
		{"an empty directory", t.TempDir(), "", failure.BadArchive},
		{"no archive", written(t, []byte(strings.Repeat("hello", 1000))), "", failure.BadArchive},
		{"an empty file", written(t, nil), "", failure.BadArchive},
		{"a gzip of no archive", zipped(t, written(t, []byte(strings.Repeat("hello", 1000)))), "", failure.BadArchive},
		{"an archive of something else", handmade(t, map[string]string{"a": "b"}, nil), "", failure.BadArchive},
		{"a manifest.json of something else", handmade(t, map[string]string{"manifest.json": "{}"}, nil), "", failure.BadArchive},
		{"a manifest.json that leads outside", handmade(t, map[string]string{"manifest.json": `[{"Config":"../../../etc/passwd"}]`}, nil), "", failure.BadArchive},
		{"a name for two images", two, "r.test/x:1", failure.Invalid},
		{"a bad name", changed, "App", failure.BadDigest},
		{"a config that changed", changed, "", failure.BadDigest},
		{"a layer that is not there", lacking, "", failure.BadArchive},
		{"a link out of the directory", outside, "", failure.BadArchive},
		{"another platform", foreign, "", failure.NoPlatform},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir(), nil)
			_, err := s.Load(t.Context(), c.path, LoadOptions{Name: c.as})
			if err == nil || failure.Of(err) != c.kind {
				t.Errorf("%v is %v, want %v", err, failure.Of(err), c.kind)
			}
			if left := leftovers(t, s); left != nil {
				t.Error(left)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	img := build(f, layerOf(f, files(f, "a")))
	for _, p := range []string{saved(f, map[string]v1.Image{"r.test/one:1": img}), tarred(f, laidOut(f, func(p layout.Path) error { return p.AppendImage(img) }))} {
		raw, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	s, err := Open(Settings{Dir: f.TempDir(), MaxImageBytes: 1 << 20, MaxEntries: 100})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := s.Load(t.Context(), written(t, b), LoadOptions{}); err == nil {
			if _, err := s.Prune(); err != nil {
				t.Error(err)
			}
		}
		if left := leftovers(t, s); left != nil {
			t.Error(left)
		}
	})
}
