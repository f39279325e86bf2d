package launcher

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestALauncherIsInstalledOrAskedFor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bin")
	if _, err := fs.Stat(files, "bin/pando-launcher"); err == nil {
		first, err := Install(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(first, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		second, err := Install(dir)
		if err != nil || second != first {
			t.Fatalf("%s, then %s, %v", first, second, err)
		}
		st, err := os.Stat(second)
		if err != nil || st.Mode().Perm() != 0o755 || st.Size() < 1000 {
			t.Errorf("%v, %v", st, err)
		}
		return
	}
	t.Setenv(Variable, "")
	if _, err := Install(dir); !errors.Is(err, ErrMissing) {
		t.Errorf("error %v", err)
	}
	t.Setenv(Variable, filepath.Join(dir, "nothing"))
	if _, err := Install(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	t.Setenv(Variable, "/proc/self/exe")
	if path, err := Install(dir); err != nil || path != "/proc/self/exe" {
		t.Errorf("%s, %v", path, err)
	}
}
