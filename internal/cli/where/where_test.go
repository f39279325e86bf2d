package where

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/fault"
)

func place(t *testing.T) Place {
	t.Helper()
	dir := t.TempDir()
	return Place{Own: filepath.Join(dir, "own"), Shared: filepath.Join(dir, "shared")}
}

func TestTheFlagWinsOverTheEnvironmentAndThatOverTheLastUp(t *testing.T) {
	p := place(t)
	if err := (Place{Own: p.Shared}).Remember(Up{Masters: []string{"root:5050"}, PID: 1}); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name, flag, env string
		want            Found
	}{
		{"root's up", "", "", Found{[]string{"root:5050"}, "the last pando up"}},
		{"the environment", "", "env:1", Found{[]string{"env:1"}, "PANDO_MASTER"}},
		{"the flag", "a:1, b:2,", "env:1", Found{[]string{"a:1", "b:2"}, "--master"}},
	}
	for _, s := range steps {
		got, err := p.Masters(s.flag, s.env)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
	}
	if err := p.Remember(Up{Masters: []string{"own:5050"}, PID: 7}); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.Masters("", ""); got.Masters[0] != "own:5050" {
		t.Errorf("the user's own up does not come before root's: %v", got)
	}
}

func TestWithoutAClusterTheErrorSaysPandoUp(t *testing.T) {
	_, err := place(t).Masters("", "")
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "pando up") {
		t.Fatal(err)
	}
}

func TestANoteIsForgottenByItsOwnProcessAlone(t *testing.T) {
	p := place(t)
	if err := p.Forget(7); err != nil {
		t.Fatal(err)
	}
	want := Up{Masters: []string{"a:1"}, Agent: "a:2", PID: 7, DataDir: "/d"}
	if err := p.Remember(want); err != nil {
		t.Fatal(err)
	}
	if err := p.Forget(8); err != nil {
		t.Fatal(err)
	}
	got, err := p.Last()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if err := p.Forget(7); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Last(); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
}

func TestABrokenNoteIsNamed(t *testing.T) {
	p := place(t)
	if err := os.MkdirAll(p.Own, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(p.Own, file)
	if err := os.WriteFile(name, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Masters("", ""); err == nil || !strings.Contains(err.Error(), name) {
		t.Fatal(err)
	}
}
