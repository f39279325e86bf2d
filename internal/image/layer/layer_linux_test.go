package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/pando-os/pando/internal/image/failure"
)

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("skipped: unpacking owners, devices and trusted.overlay marks needs root")
	}
}

var epoch = time.Unix(1_600_000_000, 500_000_000)

// The entries of archives, made short.
func dir(name string, perm int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: perm, ModTime: epoch}
}

func file(name, body string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: epoch}, body}
}

func symlink(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777, ModTime: epoch}
}

func hard(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, ModTime: epoch}
}

type entry struct {
	tar.Header
	body string
}

func archive(tb testing.TB, entries ...any) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		var h entry
		switch e := e.(type) {
		case tar.Header:
			h.Header = e
		case entry:
			h = e
		case string: // an empty file, for marks
			h = file(e, "")
		}
		if h.Format == 0 {
			h.Format = tar.FormatPAX
		}
		if err := w.WriteHeader(&h.Header); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, h.body); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func gz(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err = errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func zst(tb testing.TB, b []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// list describes everything below a directory, links not followed.
func list(tb testing.TB, top string) []string {
	tb.Helper()
	var out []string
	err := filepath.WalkDir(top, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); errors.Is(err, unix.ENOENT) {
			return nil // an overlay lists whiteouts of directories that one layer alone has
		} else if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, p)
		line := fmt.Sprintf("%s %o %d:%d", rel, st.Mode&^unix.S_IFMT, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			body, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" file %q", body)
			if st.Nlink > 1 {
				line += fmt.Sprintf(" links %d", st.Nlink)
			}
		case unix.S_IFLNK:
			to, _ := os.Readlink(p)
			line += " -> " + to
		case unix.S_IFCHR:
			line += fmt.Sprintf(" char %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
			if st.Rdev == 0 {
				line = rel + " whiteout"
			}
		case unix.S_IFBLK:
			line += fmt.Sprintf(" block %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case unix.S_IFIFO:
			line += " pipe"
		}
		b := make([]byte, 8)
		if n, err := unix.Lgetxattr(p, opaqueXattr, b); err == nil && string(b[:n]) == "y" {
			line += " opaque"
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// cell is a directory to unpack into, in a directory whose other contents must stay as they are.
type cell struct {
	t      testing.TB
	in     string
	around string
	before []string
}

func newCell(tb testing.TB) *cell {
	tb.Helper()
	around := tb.TempDir()
	in := filepath.Join(around, "in")
	if err := errors.Join(os.Mkdir(in, 0o755), os.Mkdir(filepath.Join(around, "out"), 0o755), os.WriteFile(filepath.Join(around, "out", "secret"), []byte("precious"), 0o600)); err != nil {
		tb.Fatal(err)
	}
	c := &cell{t: tb, in: in, around: around}
	c.before = c.outside()
	return c
}

func (c *cell) outside() []string {
	c.t.Helper()
	var out []string
	for _, line := range list(c.t, c.around) {
		if !strings.HasPrefix(line, "in") {
			out = append(out, line)
		}
	}
	return out
}

// unpack fills the cell and sees that nothing around it changed.
func (c *cell) unpack(packed []byte, l Limits) (Result, error) {
	c.t.Helper()
	r, err := Unpack(context.Background(), c.in, bytes.NewReader(packed), l)
	if diff := cmp.Diff(c.before, c.outside()); diff != "" {
		c.t.Fatalf("something outside of the directory changed:\n%s", diff)
	}
	return r, err
}

func TestALayerBecomesWhatItsArchiveSays(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name    string
		entries []any
		want    []string // without the top, if that is as it was
	}{
		{"files, directories, modes", []any{dir("a/", 0o2750), file("a/f", "hello"), file("./b", "x")}, []string{`a 2750 0:0`, `a/f 644 0:0 file "hello"`, `b 644 0:0 file "x"`}},
		{"a leading slash is dropped", []any{file("/etc/f", "1")}, []string{`etc 755 0:0`, `etc/f 644 0:0 file "1"`}},
		{"the top's own attributes", []any{tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700, Uid: 7, Gid: 8, ModTime: epoch}}, []string{`. 700 7:8`}},
		{"owners and set-id bits", []any{entry{tar.Header{Typeflag: tar.TypeReg, Name: "su", Mode: 0o4755, Uid: 1000, Gid: 2000, Size: 1, ModTime: epoch}, "x"}}, []string{`su 4755 1000:2000 file "x"`}},
		{"symbolic links keep their targets, however absolute", []any{symlink("a", "/etc/passwd"), symlink("b", "../../x")}, []string{`a 777 0:0 -> /etc/passwd`, `b 777 0:0 -> ../../x`}},
		{"hard links", []any{file("a/f", "1"), hard("b/g", "a/f"), hard("h", "/b/g")}, []string{`a 755 0:0`, `a/f 644 0:0 file "1" links 3`, `b 755 0:0`, `b/g 644 0:0 file "1" links 3`, `h 644 0:0 file "1" links 3`}},
		{"a hard link to a symbolic link is a link of its own", []any{symlink("a", "/etc/passwd"), hard("b", "a")}, []string{`a 777 0:0 -> /etc/passwd`, `b 777 0:0 -> /etc/passwd`}},
		{"a hard link to itself changes nothing", []any{file("f", "1"), hard("f", "./f")}, []string{`f 644 0:0 file "1"`}},
		{"devices and pipes", []any{
			tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: epoch},
			tar.Header{Typeflag: tar.TypeBlock, Name: "loop", Mode: 0o660, Devmajor: 7, Devminor: 300, ModTime: epoch},
			tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o622, ModTime: epoch},
		}, []string{`loop 660 0:0 block 7:300`, `null 666 0:0 char 1:3`, `p 622 0:0 pipe`}},
		{"a whiteout", []any{dir("a/", 0o755), "a/.wh.gone"}, []string{`a 755 0:0`, `a/gone whiteout`}},
		{"a whiteout in a directory that is only implied", []any{"a/b/.wh.gone"}, []string{`a 755 0:0`, `a/b 755 0:0`, `a/b/gone whiteout`}},
		{"an opaque directory", []any{dir("a/", 0o711), "a/.wh..wh..opq", file("a/f", "1")}, []string{`a 711 0:0 opaque`, `a/f 644 0:0 file "1"`}},
		{"an opaque mark after the files it does not hide", []any{file("a/f", "1"), "a/.wh..wh..opq"}, []string{`a 755 0:0 opaque`, `a/f 644 0:0 file "1"`}},
		{"a whiteout before the new file", []any{".wh.f", file("f", "1")}, []string{`f 644 0:0 file "1"`}},
		{"a whiteout after the new file", []any{file("f", "1"), ".wh.f"}, []string{`f 644 0:0 file "1"`}},
		{"a whiteout before the new directory", []any{".wh.d", dir("d/", 0o700), file("d/f", "1")}, []string{`d 700 0:0 opaque`, `d/f 644 0:0 file "1"`}},
		{"a whiteout after the new directory", []any{file("d/f", "1"), ".wh.d"}, []string{`d 755 0:0 opaque`, `d/f 644 0:0 file "1"`}},
		{"a whiteout before files of the new directory", []any{".wh.d", file("d/f", "1")}, []string{`d 755 0:0 opaque`, `d/f 644 0:0 file "1"`}},
		{"what belongs to a storage driver is left out", []any{".wh..wh.aufs", ".wh..wh.plnk/1.2", file("f", "1")}, []string{`f 644 0:0 file "1"`}},
		{"the last of two entries holds", []any{file("f", "1"), file("f", "2"), file("d/x", ""), file("d", "3"), symlink("s", "f"), dir("s/", 0o755)}, []string{`d 644 0:0 file "3"`, `f 644 0:0 file "2"`, `s 755 0:0`}},
		{"a file that replaces a link does not write through it", []any{symlink("l", "../out/secret"), file("l", "evil")}, []string{`l 644 0:0 file "evil"`}},
		{"a directory that comes twice keeps its files", []any{dir("d", 0o700), file("d/f", "1"), dir("d/", 0o755)}, []string{`d 755 0:0`, `d/f 644 0:0 file "1"`}},
		{"dots in a path that stay inside", []any{file("a/../b/./f", "1")}, []string{`b 755 0:0`, `b/f 644 0:0 file "1"`}},
		{"an empty archive", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tarball := archive(t, c.entries...)
			for how, packed := range map[string][]byte{"as it is": tarball, "gzip": gz(t, tarball), "zstd": zst(t, tarball)} {
				cell := newCell(t)
				r, err := cell.unpack(packed, Limits{Bytes: 1 << 20, Entries: 100, Ratio: 100})
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				got := list(t, cell.in)
				if got[0] == ". 755 0:0" {
					got = got[1:]
				}
				if diff := cmp.Diff(c.want, append([]string(nil), got...)); diff != "" {
					t.Errorf("%s: %s", how, diff)
				}
				sum := sha256.Sum256(tarball)
				if want := "sha256:" + hex.EncodeToString(sum[:]); r.Digest != want {
					t.Errorf("%s: digest %s, want %s", how, r.Digest, want)
				}
			}
		})
	}
}

func TestTimesAndAttributesAreKept(t *testing.T) {
	needRoot(t)
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	f := file("d/f", "x")
	f.PAXRecords = map[string]string{
		"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.user.note": "a\x00b",
		"SCHILY.xattr.trusted.overlay.redirect": "/x", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "x",
	}
	f.Uid, f.Mode = 5, 0o4755
	link := symlink("d/l", "f")
	link.Uid = 9
	c := newCell(t)
	r, err := c.unpack(archive(t, dir("d/", 0o755), f, link), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Bytes != 1 || r.Entries != 3 || r.Implied != nil || r.Opaque {
		t.Errorf("%+v", r)
	}
	for _, name := range []string{"d", "d/f", "d/l"} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(c.in, name), &st); err != nil {
			t.Fatal(err)
		}
		if got := time.Unix(st.Mtim.Unix()); !got.Equal(epoch) {
			t.Errorf("%s is of %v, want %v", name, got, epoch)
		}
		if name == "d/l" && st.Uid != 9 {
			t.Errorf("the link belongs to %d", st.Uid)
		}
	}
	p := filepath.Join(c.in, "d/f")
	b := make([]byte, 1000)
	n, err := unix.Llistxattr(p, b)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b[:n]), "security.capability\x00user.note\x00"; got != want && got != "user.note\x00security.capability\x00" {
		t.Errorf("attributes %q, want %q", got, want)
	}
	if n, err := unix.Lgetxattr(p, "security.capability", b); err != nil || string(b[:n]) != capability {
		t.Errorf("capability %q, %v", b[:max(n, 0)], err)
	}
	if st, _ := os.Lstat(p); st.Mode()&os.ModeSetuid == 0 {
		t.Error("the set-id bit is gone")
	}
}

func TestArchivesThatWouldLeaveTheirDirectoryAreRefused(t *testing.T) {
	needRoot(t)
	deep := strings.Repeat("a/", 300) + "f"
	for _, c := range []struct {
		name    string
		entries []any
		words   string
	}{
		{"dots", []any{file("../out/secret", "evil")}, "would leave"},
		{"dots after a directory", []any{file("a/../../out/secret", "evil")}, "would leave"},
		{"dots after a slash", []any{file("/../out/secret", "evil")}, "would leave"},
		{"dots alone", []any{dir("..", 0o700)}, "would leave"},
		{"a file below an absolute link", []any{symlink("l", "/"), file("l/tmp/f", "evil")}, "symbolic link in the same layer"},
		{"a file below a relative link", []any{symlink("l", "../out"), file("l/secret", "evil")}, "symbolic link in the same layer"},
		{"a file below a link that stays inside", []any{dir("d", 0o755), symlink("l", "d"), file("l/f", "x")}, "symbolic link in the same layer"},
		{"a directory below a link", []any{symlink("l", "../out"), dir("l/d", 0o777)}, "symbolic link in the same layer"},
		{"a link below a link", []any{symlink("l", "../out"), symlink("l/d", "x")}, "symbolic link in the same layer"},
		{"a whiteout below a link", []any{symlink("l", "../out"), "l/.wh.secret"}, "symbolic link in the same layer"},
		{"an opaque mark on a link", []any{symlink("l", "../out"), "l/.wh..wh..opq"}, "symbolic link in the same layer"},
		{"a device below a link", []any{symlink("l", "../out"), tar.Header{Typeflag: tar.TypeFifo, Name: "l/p"}}, "symbolic link in the same layer"},
		{"a link put in the place of a directory that was open", []any{file("d/e/f", "1"), symlink("d", "../out"), file("d/e/secret", "evil")}, "symbolic link in the same layer"},
		{"a link put in the place of a parent that was open", []any{file("d/out/f", "1"), symlink("d", ".."), file("d/out/secret", "evil")}, "symbolic link in the same layer"},
		{"a hard link by dots", []any{hard("h", "../out/secret")}, "would leave"},
		{"a hard link through a link", []any{symlink("l", "../out"), hard("h", "l/secret"), file("h", "evil")}, "symbolic link"},
		{"a hard link by an absolute path", []any{hard("h", "/etc/passwd")}, "hard link"},
		{"a hard link to a directory", []any{dir("d", 0o755), hard("h", "d")}, "no file of the same layer"},
		{"a hard link to the top", []any{hard("h", ".")}, "no file of the same layer"},
		{"a hard link to what was removed for it", []any{file("d/f", "1"), hard("d", "d/f")}, "hard link"},
		{"a file below a file", []any{file("f", "1"), file("f/g", "1")}, "no directory in the same layer"},
		{"a whiteout of dots", []any{".wh..."}, "removes nothing"},
		{"a whiteout of a dot", []any{"a/.wh.."}, "removes nothing"},
		{"a whiteout of nothing", []any{"a/.wh."}, "removes nothing"},
		{"the top as a file", []any{file(".", "x")}, "no directory"},
		{"a whole path that is too deep", []any{file(deep, "x")}, "deep"},
		{"a part of a path that is too long", []any{file(strings.Repeat("a", 256), "x")}, "limit is 255"},
		{"a path that is too long", []any{file(strings.Repeat(strings.Repeat("a", 200)+"/", 25)+"f", "x")}, "limit is 4095"},
		{"an owner that no file has", []any{entry{tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: -1}, ""}}, "owner"},
		{"an unknown type", []any{tar.Header{Typeflag: 'Z', Name: "f"}}, "unknown type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newCell(t).unpack(archive(t, c.entries...), Limits{})
			if !failure.Is(err, failure.BadArchive) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v (%v), want words on %q", err, failure.Of(err), c.words)
			}
		})
	}
}

func TestLimitsEndALayerWithTheirName(t *testing.T) {
	needRoot(t)
	zeros := strings.Repeat("\x00", 70<<20)
	many := make([]any, 50)
	for i := range many {
		many[i] = fmt.Sprintf("f%d", i)
	}
	for _, c := range []struct {
		name   string
		packed []byte
		limits Limits
		words  string
	}{
		{"bytes of one file", archive(t, file("f", strings.Repeat("x", 5000))), Limits{Bytes: 4000, BytesSetting: "MaxLayerBytes"}, "MaxLayerBytes"},
		{"bytes of headers alone", archive(t, many...), Limits{Bytes: 10_000, BytesSetting: "MaxLayerBytes"}, "MaxLayerBytes"},
		{"bytes after the archive's end", append(archive(t, file("f", "x")), make([]byte, 100_000)...), Limits{Bytes: 50_000, BytesSetting: "MaxLayerBytes"}, "MaxLayerBytes"},
		{"entries", archive(t, many...), Limits{Entries: 49}, "MaxEntries"},
		{"implied directories", archive(t, file("a/b/c/d/e/f", "x")), Limits{Entries: 5}, "MaxEntries"},
		{"a bomb in gzip", gz(t, archive(t, file("f", zeros))), Limits{Ratio: 200}, "MaxRatio"},
		{"a bomb in zstd", zst(t, archive(t, file("f", zeros))), Limits{Ratio: 200}, "MaxRatio"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newCell(t).unpack(c.packed, c.limits)
			if !failure.Is(err, failure.TooLarge) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v (%v), want words on %q", err, failure.Of(err), c.words)
			}
		})
	}
}

func TestDamagedAndForeignArchivesAreTold(t *testing.T) {
	whole := archive(t, file("f", strings.Repeat("hello", 1000)))
	for name, packed := range map[string][]byte{
		"cut in a file":      whole[:2000],
		"a gzip cut off":     gz(t, whole)[:50],
		"a zstd cut off":     zst(t, whole)[:30],
		"no archive":         bytes.Repeat([]byte("x"), 1024),
		"bzip2":              []byte("BZh91AY&SY"),
		"gzip of no archive": gz(t, bytes.Repeat([]byte("y"), 5000)),
		"damaged gzip":       append(gz(t, whole)[:40], bytes.Repeat([]byte{0xff}, 50)...),
	} {
		if _, err := newCell(t).unpack(packed, Limits{}); !failure.Is(err, failure.BadArchive) {
			t.Errorf("%s: %v is %v", name, err, failure.Of(err))
		}
	}
}

func TestACallThatIsCanceledEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Unpack(ctx, t.TempDir(), bytes.NewReader(archive(t, file("f", "x"))), Limits{})
	if !failure.Is(err, failure.Canceled) {
		t.Error(err)
	}
}

// overlaid unpacks layers, bottom first, and mounts an overlay of them. It gives their directories, topmost first, and the overlay's.
func overlaid(t *testing.T, layers ...[]byte) (lower []string, at string) {
	t.Helper()
	for _, l := range layers {
		d := t.TempDir()
		r, err := Unpack(context.Background(), d, bytes.NewReader(l), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Inherit(d, r.Implied, lower); err != nil {
			t.Fatal(err)
		}
		lower = append([]string{d}, lower...)
		if r.Opaque {
			lower = lower[:1]
		}
	}
	lower = append(lower, t.TempDir()) // an overlay without an upper directory wants two
	at = t.TempDir()
	if err := unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lower, ":")); err != nil {
		t.Skipf("skipped: no overlay can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return lower, at
}

// mounted shows what an overlay of layers, bottom first, shows.
func mounted(t *testing.T, layers ...[]byte) []string {
	t.Helper()
	_, at := overlaid(t, layers...)
	var out []string
	for _, line := range list(t, at)[1:] {
		out = append(out, strings.TrimSuffix(line, " opaque"))
	}
	return out
}

func TestAnOverlayOfLayersShowsTheImage(t *testing.T) {
	needRoot(t)
	base := archive(t, dir("tmp", 0o1777), dir("etc", 0o750), file("etc/a", "1"), file("etc/b", "1"), file("lib/x/y", "1"), file("top", "1"))
	for _, c := range []struct {
		name  string
		above [][]byte
		want  []string
	}{
		{"a whiteout removes", [][]byte{archive(t, "etc/.wh.a", ".wh.lib")}, []string{`etc 750 0:0`, `etc/b 644 0:0 file "1"`, `tmp 1777 0:0`, `top 644 0:0 file "1"`}},
		{"an opaque directory hides", [][]byte{archive(t, "etc/.wh..wh..opq", file("etc/c", "2"))}, []string{`etc 755 0:0`, `etc/c 644 0:0 file "2"`, `lib 755 0:0`, `lib/x 755 0:0`, `lib/x/y 644 0:0 file "1"`, `tmp 1777 0:0`, `top 644 0:0 file "1"`}},
		{"a directory removed and made again is empty", [][]byte{archive(t, ".wh.etc", dir("etc", 0o700))}, []string{`etc 700 0:0`, `lib 755 0:0`, `lib/x 755 0:0`, `lib/x/y 644 0:0 file "1"`, `tmp 1777 0:0`, `top 644 0:0 file "1"`}},
		{"implied directories look as below, across layers", [][]byte{archive(t, file("lib/z", "2")), archive(t, file("tmp/new", "3"), file("etc/d", "3"))}, []string{
			`etc 750 0:0`, `etc/a 644 0:0 file "1"`, `etc/b 644 0:0 file "1"`, `etc/d 644 0:0 file "3"`, `lib 755 0:0`, `lib/x 755 0:0`, `lib/x/y 644 0:0 file "1"`, `lib/z 644 0:0 file "2"`, `tmp 1777 0:0`, `tmp/new 644 0:0 file "3"`, `top 644 0:0 file "1"`,
		}},
		{"what was removed in between is not inherited from", [][]byte{archive(t, ".wh.tmp"), archive(t, file("tmp/new", "3"), ".wh.etc", ".wh.lib", ".wh.top")}, []string{`tmp 755 0:0`, `tmp/new 644 0:0 file "3"`}},
		{"an opaque top hides all", [][]byte{archive(t, ".wh..wh..opq", file("only", "2"))}, []string{`only 644 0:0 file "2"`}},
		{"a file in the place of a directory", [][]byte{archive(t, file("etc", "2"), ".wh.lib", ".wh.tmp")}, []string{`etc 644 0:0 file "2"`, `top 644 0:0 file "1"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, mounted(t, append([][]byte{base}, c.above...)...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzUnpack: whatever the bytes, nothing outside changes, and every failure has a kind.
func FuzzUnpack(f *testing.F) {
	needRoot(f)
	for _, entries := range [][]any{
		{dir("a", 0o755), file("a/f", "1"), hard("g", "a/f"), symlink("l", "../out"), file("l/x", "1")},
		{".wh.f", dir("f", 0o700), "f/.wh..wh..opq", file("f", "2")},
		{symlink("d", "../out"), hard("h", "d/secret")},
		{file("d/e/f", "1"), symlink("d", "../out"), file("d/e/secret", "evil")},
		{tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
	} {
		b := archive(f, entries...)
		f.Add(b)
		f.Add(gz(f, b))
		f.Add(zst(f, b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := newCell(t).unpack(b, Limits{Bytes: 1 << 20, Entries: 200, Ratio: 100})
		if err != nil && failure.Of(err) == failure.Internal {
			t.Errorf("%v has no kind", err)
		}
		if r.Bytes > 1<<20 || r.Entries > 200 {
			t.Errorf("%+v is over the limits", r)
		}
	})
}

// FuzzEntries makes archives of entries that fit together, which bytes by chance do not: the names are few, so links,
// directories and files meet.
func FuzzEntries(f *testing.F) {
	needRoot(f)
	f.Add([]byte("\x02\x08\x00\x00\x30\x00"))
	f.Add([]byte{2, 0, 9, 0, 4, 0, 1, 4, 0})
	names := []string{"a", "a/b", "a/b/c", "b", "b/a", "../out", "../out/secret", "a/../../out", "/.", ".", "/a/b", "a/.wh.b", ".wh.a", "a/.wh..wh..opq", "b/secret", "a/secret"}
	kinds := []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeChar}
	f.Fuzz(func(t *testing.T, b []byte) {
		var entries []any
		for ; len(b) >= 3 && len(entries) < 64; b = b[3:] {
			h := tar.Header{Typeflag: kinds[int(b[0])%len(kinds)], Name: names[int(b[1])%len(names)], Mode: 0o755, ModTime: epoch}
			switch h.Typeflag {
			case tar.TypeSymlink, tar.TypeLink:
				h.Linkname = names[int(b[2])%len(names)]
			case tar.TypeReg:
				h.Size = 4
				entries = append(entries, entry{h, "evil"})
				continue
			}
			entries = append(entries, h)
		}
		if _, err := newCell(t).unpack(archive(t, entries...), Limits{Entries: 300}); err != nil && failure.Of(err) == failure.Internal {
			t.Errorf("%v has no kind", err)
		}
	})
}

// Only root can make what belongs to others, devices that are no whiteouts, and trusted marks: anybody else is told so.
func TestWhoLacksTheRightsIsToldWhichOnes(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("skipped: this is about a process that is not root's")
	}
	mine := func(e entry) entry {
		e.Uid, e.Gid = os.Geteuid(), os.Getegid()
		return e
	}
	for name, e := range map[string]any{
		"an owner":            file("f", "x"),
		"a device":            tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3, Uid: os.Geteuid(), Gid: os.Getegid()},
		"an opaque directory": "d/.wh..wh..opq",
	} {
		_, err := newCell(t).unpack(archive(t, e), Limits{})
		if !failure.Is(err, failure.NotPermitted) || !strings.Contains(err.Error(), "run the agent as root") {
			t.Errorf("%s: %v (%v)", name, err, failure.Of(err))
		}
	}
	if _, err := newCell(t).unpack(archive(t, mine(file("f", "x"))), Limits{}); err != nil {
		t.Error(err)
	}
}
