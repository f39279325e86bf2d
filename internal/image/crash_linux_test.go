package image

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The environment of a process that pulls until it is killed: the store's directory and the registry.
const crashEnv = "PANDO_TEST_IMAGE_CRASH"

func TestAStoreSurvivesKillsAtAnyMoment(t *testing.T) {
	if dir, host, ok := strings.Cut(os.Getenv(crashEnv), " "); ok {
		pullForever(t, dir, host)
		return
	}
	h, dir := newHub(t), t.TempDir()
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("d%d/f", i))
	}
	for i := range 4 {
		h.push(t, fmt.Sprintf("app%d:1", i), build(t, layerOf(t, files(t, names...)), layerOf(t, files(t, fmt.Sprint("own", i)))))
	}
	seen := 0
	for round := range 12 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), crashEnv+"="+dir+" "+h.host)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+17*round) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log := &told{}
		s, err := Open(Settings{Dir: dir, PlainHTTP: []string{h.host}, DefaultRegistry: h.host, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		if left := leftovers(t, s); left != nil || log.Len() > 0 {
			t.Errorf("after kill %d: %q, told %q", round, left, log)
		}
		for _, img := range s.List() {
			seen++
			lower, err := s.Lower(img.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if got := contentsOf(t, lower...); len(got) != 41 {
				t.Errorf("after kill %d: an image has %d files", round, len(got))
			}
		}
		s.Close()
	}
	if seen == 0 {
		t.Error("no process lived long enough to pull an image")
	}
}

func pullForever(t *testing.T, dir, host string) {
	t.Helper()
	s, err := Open(Settings{Dir: dir, PlainHTTP: []string{host}, DefaultRegistry: host})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if _, err := s.Pull(t.Context(), fmt.Sprintf("app%d:1", i%4), PullOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			if _, err := s.Prune(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAPulledImageCanBeMounted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounting an overlay, and whiteouts in it, need root")
	}
	h := newHub(t)
	h.push(t, "app:1", build(t,
		layerOf(t, files(t, "etc/a", "etc/b", "old/x")),
		layerOf(t, files(t, "etc/.wh.a", "old/.wh..wh..opq", "old/y")),
		layerOf(t, files(t, "top")),
	))
	s := open(t, t.TempDir(), h)
	if _, err := s.Pull(t.Context(), "app:1", PullOptions{Hold: "c"}); err != nil {
		t.Fatal(err)
	}
	lower, err := s.Lower("app:1")
	if err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	if err := unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lower, ":")); err != nil {
		t.Skipf("skipped: no overlay can be mounted here: %v", err)
	}
	got := contentsOf(t, at)
	if err := unix.Unmount(at, 0); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]string{"etc/b": "etc/b", "old/y": "old/y", "top": "top"}, got); diff != "" {
		t.Error(diff)
	}
}
