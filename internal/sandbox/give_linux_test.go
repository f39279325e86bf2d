package sandbox

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestASandboxIsGivenToAnotherUserWithAllThatIsInIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIP: only root can give files away")
	}
	box, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	for _, dir := range []string{"a/b", "empty"} {
		if err := os.MkdirAll(filepath.Join(box, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{filepath.Join(box, "a/b/c"), filepath.Join(box, "d"), outside} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(box, "a/link")); err != nil {
		t.Fatal(err)
	}
	owner := func(path string) uint32 {
		st, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Uid*1000 + st.Sys().(*syscall.Stat_t).Gid
	}
	if err := Give(box, 7, 8); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "a", "a/b", "a/b/c", "a/link", "d", "empty"} {
		if got := owner(filepath.Join(box, name)); got != 7008 {
			t.Errorf("%s is %d's", name, got)
		}
	}
	if owner(outside) != 0 {
		t.Error("a link was followed")
	}
	if err := Give(filepath.Join(box, "none"), 7, 8); err == nil {
		t.Error("a sandbox that is not there was given")
	}
}
