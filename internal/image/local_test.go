package image

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

func TestNamesOfLocalImagesAreToldFromReferences(t *testing.T) {
	for name, want := range map[string]Local{
		"oci:/d": {Path: "/d", Layout: true}, "oci:/d:1": {Path: "/d", Layout: true, Pick: "1"}, "docker-archive:/f.tar": {Path: "/f.tar"},
		"docker-archive:/f:r.test:5000/a:1": {Path: "/f", Pick: "r.test:5000/a:1"},
	} {
		if got, ok := ParseLocal(name); !ok || cmp.Diff(want, got) != "" || got.String() != name {
			t.Errorf("%s is %+v, %t, %s", name, got, ok, got)
		}
	}
	for _, name := range []string{"oci:1", "oci:", "docker-archive:latest", "oci/app:1", "/d", "", "ocix:/d", "oci-archive:/f"} {
		if got, ok := ParseLocal(name); ok {
			t.Errorf("%q is %+v", name, got)
		}
	}
	if l, ok := SplitLocal("oci:dir/x:1"); !ok || l.Path != "dir/x" || l.Pick != "1" {
		t.Errorf("a relative path: %+v", l)
	}
}

func TestALocalImageIsLoadedHeldAndGivenNoName(t *testing.T) {
	one, two := build(t, layerOf(t, files(t, "one"))), build(t, layerOf(t, files(t, "two")))
	docker := saved(t, map[string]v1.Image{"r.test/one:1": one, "short:2": two})
	single := saved(t, map[string]v1.Image{"r.test/one:1": one})
	laid := laidOut(t, func(p layout.Path) error {
		if err := p.AppendImage(one, annotated("v1")); err != nil {
			return err
		}
		return p.AppendImage(two, annotated("r.test/two:2"))
	})
	bare := laidOut(t, func(p layout.Path) error { return p.AppendImage(two) })
	s := open(t, t.TempDir(), nil)
	for name, want := range map[string]string{
		"docker-archive:" + docker + ":r.test/one:1": "one", "docker-archive:" + docker + ":short:2": "two", "docker-archive:" + single: "one",
		"oci:" + laid + ":v1": "one", "oci:" + laid + ":r.test/two:2": "two", "oci:" + bare: "two",
	} {
		l, ok := ParseLocal(name)
		if !ok {
			t.Fatal(name)
		}
		got, err := s.LoadLocal(t.Context(), l, "c")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got.References) > 0 || got.Holders != 1 {
			t.Errorf("%s has the names %v and %d holders", name, got.References, got.Holders)
		}
		lower, err := s.Lower(got.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(contentsOf(t, lower[0]), map[string]string{want: want}); d != "" {
			t.Errorf("%s (-got +want):\n%s", name, d)
		}
	}
	s.Release("c")
	if _, err := s.Prune(); err != nil {
		t.Error(err)
	}
	if all := s.List(); len(all) > 0 {
		t.Errorf("there is left %v", all)
	}
	for _, c := range [][2]string{
		{"docker-archive:" + docker, "it has 2 images; put behind a colon which is meant: "},
		{"docker-archive:" + docker + ":r.test/one:9", `0 images called "r.test/one:9"`},
		{"oci:" + laid, "v1, r.test/two:2"},
		{"oci:" + laid + ":v9", "v1, r.test/two:2"},
		{"oci:" + bare + ":v9", "none with a name"},
		{"oci:" + docker, "docker-archive:FILE"},
		{"docker-archive:" + laid, "oci:DIR"},
		{"oci:" + filepath.Join(t.TempDir(), "no"), "on the machine of the node"},
		{"docker-archive:" + docker + ":UPPER", "UPPER"},
	} {
		name, words := c[0], c[1]
		l, _ := ParseLocal(name)
		_, err := s.LoadLocal(t.Context(), l, "c")
		if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), l.Path) {
			t.Errorf("%s lacks %q: %v", name, words, err)
		}
	}
	if left := leftovers(t, s); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
}
