package layer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// seen reads a file as a container would whose root a directory is. The error is fs.ErrNotExist when there is none, and another when it
// is no file.
func seen(t *testing.T, root int, name string) (string, error) {
	t.Helper()
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return "", errors.Join(errors.New("no file"), err)
	}
	b, err := io.ReadAll(f)
	return string(b), err
}

func TestAFileOfAnImageIsReadAsAContainerSeesIt(t *testing.T) {
	needRoot(t)
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("the machine's"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := archive(t, dir("etc", 0o755), file("etc/passwd", "1"), file("etc/group", "1"), file("usr/etc/passwd", "usr 1"), file("a/b/c", "1"), file("top", "1"), file("dir/x", "1"), dir("empty", 0o755))
	for name, c := range map[string]struct {
		above [][]byte
		paths string
	}{
		"one layer":                                   {nil, "etc/passwd /etc/passwd etc//./passwd etc/../etc/passwd ../../etc/passwd etc none etc/none etc/passwd/x top/ .. / a/b/c"},
		"the topmost holds":                           {[][]byte{archive(t, file("etc/passwd", "2"))}, "etc/passwd etc/group"},
		"a whiteout hides":                            {[][]byte{archive(t, "etc/.wh.passwd", ".wh.a")}, "etc/passwd etc/group a/b/c a"},
		"a directory made again is empty":             {[][]byte{archive(t, ".wh.etc", dir("etc", 0o755), file("etc/group", "2")), archive(t, file("etc/new", "3"))}, "etc/passwd etc/group etc/new"},
		"an opaque directory":                         {[][]byte{archive(t, "etc/.wh..wh..opq", file("etc/new", "2"))}, "etc/passwd etc/new"},
		"a file for a directory and one again":        {[][]byte{archive(t, file("etc", "2")), archive(t, ".wh.etc", file("etc/new", "3"))}, "etc etc/passwd etc/new"},
		"a file over a directory":                     {[][]byte{archive(t, file("etc", "2"))}, "etc etc/passwd"},
		"a directory over a file":                     {[][]byte{archive(t, ".wh.top", file("top/in", "2"))}, "top top/in"},
		"a directory over a file that nobody removed": {[][]byte{archive(t, file("top/in", "2"))}, "top top/in top/none"},
		"a link within":                               {[][]byte{archive(t, symlink("etc/passwd", "../usr/etc/passwd"))}, "etc/passwd"},
		"an absolute link":                            {[][]byte{archive(t, symlink("etc/passwd", "/usr/etc/passwd"))}, "etc/passwd"},
		"a linked directory":                          {[][]byte{archive(t, ".wh.etc", symlink("etc", "usr/etc")), archive(t, file("usr/etc/group", "3"))}, "etc/passwd etc/group etc/../top etc/../etc/passwd"},
		"links that lead out":                         {[][]byte{archive(t, symlink("etc/passwd", outside), symlink("etc/group", "../../../../../../.."+outside), symlink("up", "/.."), symlink("up2", "../../etc"))}, "etc/passwd etc/group up/top up2/passwd up" + outside},
		"links in a circle":                           {[][]byte{archive(t, symlink("one", "two"), symlink("two", "one"), symlink("self", "self/x"))}, "one self"},
		"a link to nothing and one to a directory":    {[][]byte{archive(t, symlink("gone", "none"), symlink("into", "a/b"))}, "gone into into/c into/../b/c"},
		"a link under a whiteout in a higher layer":   {[][]byte{archive(t, symlink("etc/passwd", "/usr/etc/passwd")), archive(t, "usr/etc/.wh.passwd")}, "etc/passwd"},
		"a link whose way goes through upper layers":  {[][]byte{archive(t, symlink("link", "dir/x")), archive(t, file("dir/x", "3"))}, "link"},
	} {
		t.Run(name, func(t *testing.T) {
			lower, at := overlaid(t, append([][]byte{base}, c.above...)...)
			root, err := unix.Open(at, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(root)
			for p := range strings.FieldsSeq(c.paths) {
				want, wantErr := seen(t, root, p)
				got, err := ReadFile(lower, p, 100)
				if string(got) != want || (err == nil) != (wantErr == nil) || errors.Is(wantErr, fs.ErrNotExist) && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is %q, %v, and a container sees %q, %v", p, got, err, want, wantErr)
				}
			}
		})
	}
}

func TestAFileOfAnImageThatIsNoneIsNotRead(t *testing.T) {
	needRoot(t)
	lower := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(lower, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(lower, "device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lower, "long"), make([]byte, 101), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, words := range map[string]string{"pipe": "no regular file", "device": "no regular file", "long": "more than 100 bytes", ".": "directory"} {
		if _, err := ReadFile([]string{lower}, name, 100); err == nil || !strings.Contains(err.Error(), words) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v lacks %q", name, err, words)
		}
	}
	if b, err := ReadFile([]string{lower}, "long", 101); err != nil || len(b) != 101 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := ReadFile([]string{lower}, "none", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := ReadFile([]string{lower + "/none"}, "none", 100); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a layer that is not there is read: %v", err)
	}
}
