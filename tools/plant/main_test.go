package main

import (
	"path/filepath"
	"testing"
)

// A bug that no longer fits is never planted, and its checker is tried by nothing.
func TestEveryBugFitsTheSource(t *testing.T) {
	t.Chdir("../..")
	list, err := read(filepath.Join(bugs, "bugs.txt"))
	if err != nil {
		t.Fatal(err)
	}
	patches, err := filepath.Glob(filepath.Join(bugs, "*.patch"))
	if err != nil || len(patches) != len(list) || len(list) == 0 {
		t.Errorf("%d bugs are listed, and there are %d patches (%v)", len(list), len(patches), err)
	}
	for _, b := range list {
		if _, err := b.patch(t.Context(), filepath.Join(t.TempDir(), b.name)); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
	}
}
