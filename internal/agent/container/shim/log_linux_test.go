package shim

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// openLog starts a log file in a directory of its own.
func openLog(tb rapid.TB, dir string, most, keep int64) *logFile {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	l := &logFile{dir: fd, name: "log", uid: -1, gid: -1, max: most, keep: keep, fd: -1}
	if err := l.open(); err != nil {
		tb.Fatal(err)
	}
	return l
}

func TestRotatedFilesAreTheEndOfWhatWasWritten(t *testing.T) {
	top := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := filepath.Join(top, strconv.Itoa(n))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		most, keep := rapid.Int64Range(1, 50).Draw(t, "max"), rapid.Int64Range(0, 3).Draw(t, "keep")
		l := openLog(t, dir, most, keep)
		var all []byte
		for _, b := range rapid.SliceOf(rapid.SliceOf(rapid.SampledFrom([]byte("ab\n")))).Draw(t, "writes") {
			l.write(b)
			all = append(all, b...)
		}
		l.close()
		unix.Close(l.dir)
		var kept []byte
		for i := keep; i >= 0; i-- {
			name := filepath.Join(dir, "log")
			if i > 0 {
				name += "." + strconv.FormatInt(i, 10)
			}
			b, err := os.ReadFile(name)
			if err != nil && i > 0 {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if int64(len(b)) > most {
				t.Fatalf("%s has %d bytes of %d", name, len(b), most)
			}
			kept = append(kept, b...)
		}
		if !bytes.HasSuffix(all, kept) {
			t.Fatalf("%q is kept of %q", kept, all)
		}
		if int64(len(all)) <= most && !bytes.Equal(all, kept) {
			t.Fatalf("%q is kept of %q, which fits", kept, all)
		}
		if files, _ := os.ReadDir(dir); int64(len(files)) > keep+1 {
			t.Fatalf("%d files are kept", len(files))
		}
	})
}

func TestWhatAFullDiskDoesNotTakeIsCountedAndSaid(t *testing.T) {
	l := openLog(t, t.TempDir(), 0, 0)
	good := l.fd
	full, err := unix.Open("/dev/full", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("SKIP-HOST: there is no /dev/full")
	}
	l.write([]byte("before\n"))
	l.fd = full
	l.write([]byte("12345"))
	l.write([]byte("67890"))
	l.fd = good
	l.write([]byte("after\n"))
	unix.Close(full)
	b, err := os.ReadFile("/proc/self/fd/" + strconv.Itoa(good))
	l.close()
	unix.Close(l.dir)
	want := "before\n[pando: 10 bytes of output were lost: the disk did not take them]\nafter\n"
	if err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
}

func TestWhatATaskPutsInPlaceOfItsLogIsNotFollowed(t *testing.T) {
	for name, put := range map[string]func(path, victim string) error{
		"a link":      func(path, victim string) error { return os.Symlink(victim, path) },
		"a hard link": func(path, victim string) error { return os.Link(victim, path) },
		"a pipe":      func(path, _ string) error { return unix.Mkfifo(path, 0o666) },
		"a directory": func(path, _ string) error { return os.Mkdir(path, 0o755) },
	} {
		dir := t.TempDir()
		victim := filepath.Join(t.TempDir(), "victim")
		if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := put(filepath.Join(dir, "log"), victim); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		l := &logFile{dir: fd, name: "log", uid: -1, gid: -1, fd: -1}
		if l.open() == nil {
			t.Errorf("%s is opened", name)
		}
		unix.Close(fd)
		if b, _ := os.ReadFile(victim); string(b) != "mine" {
			t.Errorf("%s is followed", name)
		}
	}
}

func TestVariablesOfACommandReplaceThoseOfItsContainer(t *testing.T) {
	got := strings.Join(merge([]string{"A=1", "AB=2", "C=3", "D"}, []string{"A=9", "E=5"}), " ")
	if want := "AB=2 C=3 D A=9 E=5"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
