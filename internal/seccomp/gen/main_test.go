package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheTablesAreThoseOfTheVersionOfXSysInGoMod(t *testing.T) {
	dir := t.TempDir()
	if err := run(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables() {
		want, err := os.ReadFile(filepath.Join(dir, table.file()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", table.file()))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("go generate ./internal/seccomp is needed: %s: -want +got\n%s", table.file(), d)
		}
	}
}
