package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/pando-os/pando/internal/image/failure"
)

var links = regexp.MustCompile(` links \d+$`)

// whole lists what is in a directory with times and extended attributes, but for devices and what is overlays' own.
func whole(t *testing.T, top string) []string {
	t.Helper()
	var out []string
	for _, line := range list(t, top) {
		line = strings.TrimSuffix(line, " opaque")
		if strings.Contains(line, " char ") || strings.Contains(line, " block ") {
			continue
		}
		line = links.ReplaceAllString(line, "") // an overlay counts names that are hidden
		name, _, _ := strings.Cut(line, " ")
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(top, name), &st); err != nil {
			t.Fatal(name, err)
		}
		line += fmt.Sprint(" at ", st.Mtim.Nano())
		if k := st.Mode & unix.S_IFMT; k == unix.S_IFREG || k == unix.S_IFDIR {
			attrs, err := xattrsOf(filepath.Join(top, name))
			if err != nil {
				t.Fatal(err)
			}
			line += fmt.Sprintf(" %q", attrs)
		}
		out = append(out, line)
	}
	return out
}

// flat compares copies of layers, bottom first, with an overlay of them.
func flat(t *testing.T, layers ...[]byte) string {
	t.Helper()
	lower, at := overlaid(t, layers...)
	to := t.TempDir()
	if err := Flatten(t.Context(), lower[:len(lower)-1], to); err != nil {
		t.Fatal(err)
	}
	return cmp.Diff(whole(t, at), whole(t, to))
}

// acl encodes an access control list as the kernel has it: the owner, a user, the group, the mask and the others.
func acl(user uint32, rights byte) string {
	b := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm byte
		id        uint32
	}{{1, 7, ^uint32(0)}, {2, rights, user}, {4, 5, ^uint32(0)}, {16, 7, ^uint32(0)}, {32, 5, ^uint32(0)}} {
		b = append(b, e.tag, 0, e.perm, 0, byte(e.id), byte(e.id>>8), byte(e.id>>16), byte(e.id>>24))
	}
	return string(b)
}

func TestCopiedLayersHaveWhatAnOverlayShows(t *testing.T) {
	needRoot(t)
	owned := func(h tar.Header, uid int, mode int64, records ...string) tar.Header {
		h.Uid, h.Gid, h.Mode, h.ModTime = uid, uid+1, mode, epoch.Add(time.Duration(uid)*time.Hour)
		for i := 0; i+1 < len(records); i += 2 {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+records[i]] = records[i+1]
		}
		return h
	}
	ruled := owned(dir("ruled/", 0), 3, 0o2775, "system.posix_acl_default", acl(42, 6), "user.note", "lower")
	capable := file("bin/capable", "program")
	const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	capable.Header = owned(capable.Header, 7, 0o4755, "security.capability", capability, "user.note", "x")
	base := archive(t, owned(dir("./", 0), 1, 0o711), ruled, file("ruled/kept", "1"), capable, file("bin/two", "2"), hard("bin/three", "bin/two"), owned(symlink("link", "/etc/../nowhere"), 9, 0o777),
		tar.Header{Typeflag: tar.TypeFifo, Name: "pipe", Mode: 0o620, Uid: 5}, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, dir("was/a/directory", 0o700), symlink("was-a-link", "bin"), file("big", strings.Repeat("0123456789", 30000)))
	for name, above := range map[string][][]byte{
		"one layer":                       nil,
		"what is replaced by other kinds": {archive(t, file("was", "a file"), file("was-a-link/in", "1"), file("pipe", "1"), symlink("big", "pipe"), tar.Header{Typeflag: tar.TypeFifo, Name: "null", Mode: 0o600})},
		"a device over a file":            {archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "big", Devmajor: 1, Devminor: 3})},
		"whiteouts and opaque directories": {
			archive(t, "bin/.wh.two", ".wh.was", "ruled/.wh..wh..opq", file("ruled/new", "2")), archive(t, file("was/again", "3"), hard("was/too", "was/again"), ".wh.none"),
		},
		"attributes of the topmost":       {archive(t, owned(dir("./", 0), 4, 0o755), owned(dir("ruled/", 0), 8, 0o700), file("ruled/under", "no rule"), dir("ruled/below", 0o755)), archive(t, file("ruled/later", "2"), dir("bin", 0o500))},
		"a rule stays with its directory": {archive(t, file("ruled/new", "2"), dir("ruled/dir", 0o750), tar.Header{Typeflag: tar.TypeFifo, Name: "ruled/pipe", Mode: 0o600})},
	} {
		t.Run(name, func(t *testing.T) {
			if d := flat(t, append([][]byte{base}, above...)...); d != "" {
				t.Errorf("(-overlay +copy):\n%s", d)
			}
		})
	}
	lower, _ := overlaid(t, base)
	to := t.TempDir()
	if err := Flatten(t.Context(), lower, to); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(list(t, to), `bin/three 644 0:0 file "2" links 2`) {
		t.Error("a file with two names is two files")
	}
}

func TestCopiedLayersOfAnyKindHaveWhatAnOverlayShows(t *testing.T) {
	needRoot(t)
	names := []string{"a", "a/b", "a/b/c", "a/d", "b", "b/a", "b/a/b", "c"}
	one := rapid.Custom(func(r *rapid.T) any {
		name, h := rapid.SampledFrom(names).Draw(r, "name"), tar.Header{ModTime: epoch.Add(time.Duration(rapid.IntRange(0, 99).Draw(r, "hours")) * time.Hour)}
		h.Name, h.Mode, h.Uid = name, rapid.SampledFrom([]int64{0o755, 0o600, 0o4711}).Draw(r, "mode"), rapid.IntRange(0, 3).Draw(r, "uid")
		switch rapid.IntRange(0, 7).Draw(r, "kind") {
		case 0:
			return filepath.Join(filepath.Dir(name), ".wh."+filepath.Base(name))
		case 1:
			return name + "/.wh..wh..opq"
		case 2:
			h.Typeflag, h.Linkname = tar.TypeSymlink, rapid.SampledFrom(names).Draw(r, "to")
		case 3:
			h.Typeflag, h.Linkname = tar.TypeLink, rapid.SampledFrom(names).Draw(r, "to")
		case 4, 5:
			h.Typeflag = tar.TypeDir
		default:
			h.Typeflag, h.Size = tar.TypeReg, 4
			return entry{h, rapid.StringMatching("[a-z]{4}").Draw(r, "body")}
		}
		return h
	})
	rapid.Check(t, func(r *rapid.T) {
		var layers [][]byte
		for _, entries := range rapid.SliceOfN(rapid.SliceOfN(one, 1, 10), 1, 4).Draw(r, "layers") {
			b := archive(t, entries...)
			if _, err := Unpack(context.Background(), t.TempDir(), bytes.NewReader(b), Limits{}); err == nil { // many make no sense
				layers = append(layers, b)
			}
		}
		if len(layers) == 0 {
			return
		}
		if d := flat(t, layers...); d != "" {
			r.Errorf("(-overlay +copy):\n%s", d)
		}
	})
}

func TestCopyingThatIsGivenUpEndsAndSaysSo(t *testing.T) {
	needRoot(t)
	lower, _ := overlaid(t, archive(t, file("a", "1")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Flatten(ctx, lower, t.TempDir()); !failure.Is(err, failure.Canceled) {
		t.Errorf("%v", err)
	}
	if err := Flatten(t.Context(), []string{filepath.Join(lower[0], "none")}, t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a layer that is not there: %v", err)
	}
	if left := list(t, lower[0]); !slices.Contains(left, `a 644 0:0 file "1"`) {
		t.Errorf("the layer is %q", left)
	}
}

// An overlay lets nobody make the marks of overlays on it.
func TestLayersOnAnOverlayAreAsElsewhere(t *testing.T) {
	needRoot(t)
	top, at := t.TempDir(), t.TempDir()
	for _, d := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(top, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("overlay", at, "overlay", 0, "lowerdir="+top+"/lower,upperdir="+top+"/upper,workdir="+top+"/work"); err != nil {
		t.Skipf("skipped: no overlay can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	layers := [][]byte{
		archive(t, file("etc/a", "1"), file("etc/b", "1"), file("lib/x", "1"), file("top", "1")),
		archive(t, "etc/.wh.a", "lib/.wh..wh..opq", file("lib/y", "2"), ".wh.top"), archive(t, file("top/in", "3"), ".wh.none"),
	}
	var trees [2][]string
	for i, within := range []string{at, top} {
		var dirs []string
		for n, l := range layers {
			dir := filepath.Join(within, fmt.Sprint("layer", n))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			r, err := Unpack(t.Context(), dir, bytes.NewReader(l), Limits{})
			if err == nil {
				err = Inherit(dir, r.Implied, dirs)
			}
			if err != nil {
				t.Fatal(err)
			}
			dirs = append([]string{dir}, dirs...)
		}
		to := t.TempDir()
		if err := Flatten(t.Context(), dirs, to); err != nil {
			t.Fatal(err)
		}
		trees[i] = list(t, to)[1:]
		if _, err := ReadFile(dirs, "etc/a", 10); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what was removed is read: %v", err)
		}
		if _, err := ReadFile(dirs, "lib/x", 10); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what is hidden is read: %v", err)
		}
	}
	want := []string{`etc 755 0:0`, `etc/b 644 0:0 file "1"`, `lib 755 0:0`, `lib/y 644 0:0 file "2"`, `top 755 0:0`, `top/in 644 0:0 file "3"`}
	if d := cmp.Diff([2][]string{want, want}, trees); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
