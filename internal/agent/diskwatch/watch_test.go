//go:build unix

package diskwatch

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/clock"
)

const kib = 1024

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreCountedAsTheyTakeBlocksAndOnce(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	write(t, filepath.Join(elsewhere, "large"), 512*kib)
	before, err := usage(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a/b/file"), 64*kib)
	if err := os.Link(filepath.Join(dir, "a/b/file"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{filepath.Join(elsewhere, "large"), elsewhere, dir} {
		if err := os.Symlink(link, filepath.Join(dir, "link to "+filepath.Base(link))); err != nil {
			t.Fatal(err)
		}
	}
	hole, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		t.Fatal(err)
	}
	if err := hole.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	hole.Close()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil { // nobody writes, and nobody waits for it
		t.Fatal(err)
	}
	got, err := usage(t.Context(), dir)
	if grown := got - before; err != nil || grown < 64*kib || grown > 64*kib+64*kib {
		t.Errorf("64 KiB take %d bytes, %v", grown, err)
	}
	if n, err := usage(t.Context(), filepath.Join(dir, "none")); n != 0 || err != nil {
		t.Errorf("nothing takes %d, %v", n, err)
	}
	if n, err := usage(t.Context(), filepath.Join(dir, "link to "+filepath.Base(elsewhere))); err == nil {
		t.Errorf("a link in the place of a directory takes %d", n)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := usage(gone, dir); err == nil {
		t.Error("a look that is given up gives an answer")
	}
}

func TestWhatIsTooDeepIsSaidAndTheRestIsCounted(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat("d/", 2*maxDepth)
	if err := root.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	root.Close()
	write(t, filepath.Join(dir, "zz/file"), 64*kib)
	if n, err := usage(t.Context(), dir); n < 64*kib || err == nil || !strings.Contains(err.Error(), "256 directories") {
		t.Errorf("it takes %d, %v", n, err)
	}
}

func TestWhoTakesMoreThanHeHasIsNamedAtEachLook(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"small", "large", "free", "both/one", "both/two"} {
		write(t, filepath.Join(dir, name, "file"), 64*kib)
	}
	at := func(names ...string) (dirs []string) {
		for _, n := range names {
			dirs = append(dirs, filepath.Join(dir, n))
		}
		return dirs
	}
	synctest.Test(t, func(t *testing.T) {
		var places atomic.Pointer[[]Place]
		places.Store(&[]Place{
			{"small", at("small"), 200 * kib},
			{"large", at("large"), 32 * kib},
			{"free", at("free"), 0},
			{"both", at("both/one", "both/two"), 100 * kib},
			{"none", at("none"), 1},
		})
		over := map[string]int{}
		w := &Watch{
			Every: time.Second, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), Places: func() []Place { return *places.Load() },
			Over: func(container string, u Use) {
				if over[container]++; u.Used <= u.Limit {
					t.Errorf("%s is over with %+v", container, u)
				}
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		go w.Run(ctx)
		if _, known := w.Of("small"); known {
			t.Error("it is known before it was looked at")
		}
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if d := cmp.Diff(map[string]int{"large": 2, "both": 2}, over); d != "" {
			t.Errorf("who is over (-want +got):\n%s", d)
		}
		if u, known := w.Of("small"); !known || u.Used < 64*kib || u.Limit != 200*kib {
			t.Errorf("small takes %+v, %t", u, known)
		}
		places.Store(&[]Place{})
		time.Sleep(time.Second)
		synctest.Wait()
		if _, known := w.Of("small"); known {
			t.Error("what has ended is remembered")
		}
		cancel()
		synctest.Wait()
	})
	var none *Watch
	if _, known := none.Of("x"); known {
		t.Error("nobody looks, and something is known")
	}
}
