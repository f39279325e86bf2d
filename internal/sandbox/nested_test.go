package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestNestedSandboxesAreMadeOnceAndRemoved(t *testing.T) {
	top := filepath.Join(t.TempDir(), "top")
	if err := os.Mkdir(top, 0o755); err != nil {
		t.Fatal(err)
	}
	kid := filepath.Join(top, Containers, "kid")
	low := filepath.Join(kid, Containers, "low")
	if _, _, err := CreateNested(low, 2, -1, -1); err == nil {
		t.Error("one was made below what is not there")
	}
	for i, path := range []string{kid, low} {
		dir, root, err := CreateNested(path, i+1, os.Getuid(), os.Getgid())
		if err != nil || filepath.Base(dir) != filepath.Base(path) {
			t.Fatal(dir, err)
		}
		root.Close()
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o750 {
			t.Errorf("%v %v", st, err)
		}
		if _, _, err := CreateNested(path, i+1, -1, -1); err == nil {
			t.Errorf("%s was made twice", path)
		}
	}
	if err := RemoveNested(low, 2); err != nil {
		t.Error(err)
	}
	if err := errors.Join(RemoveNested(kid, 1), RemoveNested(kid, 1), RemoveNested(low, 2)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(kid); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	alone := filepath.Join(t.TempDir(), "work", Containers, "one")
	dir, root, err := CreateNested(alone, 0, -1, -1)
	if err != nil || filepath.Base(dir) != "one" {
		t.Fatal(dir, err)
	}
	root.Close()
	if err := RemoveNested(alone, 0); err != nil {
		t.Error(err)
	}
	if err := RemoveNested("/one", 1); err == nil {
		t.Error("a path that is too short was taken")
	}
}

func TestALinkInASandboxIsNotFollowedOutOfIt(t *testing.T) {
	outside, top := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(outside, "kid"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(top, Containers)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kid", "new"} {
		if _, _, err := CreateNested(filepath.Join(top, Containers, name), 1, os.Getuid(), os.Getgid()); err == nil {
			t.Errorf("%s was made outside", name)
		}
		if err := RemoveNested(filepath.Join(top, Containers, name), 1); err == nil && name == "kid" {
			t.Error("it was removed outside")
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "kid")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "new")); err == nil {
		t.Error("it is outside")
	}
}
