package secrets

import (
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// memory is a directory on a tmpfs.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pando-vault-") //nolint:usetesting // that would be on a disk
	if err != nil {
		t.Skip("SKIP: there is no tmpfs at /dev/shm: ", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what stays is gone with the machine
	return filepath.Join(dir, "secrets")
}

// files lists what is below a directory, with its mode.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		all[strings.TrimPrefix(path, dir+"/")] = st.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAVaultKeepsSecretsOfLaunchesUntilTheyEnd(t *testing.T) {
	dir := memory(t)
	v := NewVault(dir)
	one, two := Key{"F", "../../t", 1}, Key{"F", "../../t", 2}
	if err := v.Drop(one); err != nil {
		t.Errorf("nothing was kept: %v", err)
	}
	values := [][]byte{[]byte("a\x00b"), {}, []byte(strings.Repeat("c", 300))}
	for _, k := range []Key{one, two} {
		if err := v.Put(k, values); err != nil {
			t.Fatal(err)
		}
	}
	v = NewVault(dir) // the agent was killed meanwhile
	if got, err := v.Get(one); err != nil || cmp.Diff(values, got) != "" {
		t.Errorf("what was kept is %q, %v", got, err)
	}
	want := map[string]string{"launches/" + one.name(): "-rw-------", "launches/" + two.name(): "-rw-------"}
	if d := cmp.Diff(want, files(t, dir)); d != "" {
		t.Errorf("its files (-want +got):\n%s", d)
	}
	for _, d := range []string{dir, filepath.Join(dir, launches)} {
		if st, err := os.Stat(d); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", d, st.Mode(), err)
		}
	}
	if err := v.Put(one, values); err != nil {
		t.Errorf("what comes twice: %v", err)
	}
	if err := v.Drop(one); err != nil {
		t.Error(err)
	}
	if _, err := v.Get(one); err == nil || !strings.Contains(err.Error(), "run the task again") {
		t.Errorf("what was dropped: %v", err)
	}
	if _, err := v.Get(two); err != nil {
		t.Errorf("another launch of the same id went with it: %v", err)
	}
}

func TestAContainersFilesAreItsUsersAloneAndGoWithIt(t *testing.T) {
	dir := memory(t)
	v := NewVault(dir)
	for n := range 2 {
		name, err := v.File("c", n, []byte("x"), -1, -1)
		if err != nil || name != filepath.Join(dir, volumes, "c", string(rune('0'+n))) {
			t.Fatal(name, err)
		}
	}
	if _, err := v.File("c", 0, []byte("y"), -1, -1); err != nil { // it is tried again
		t.Fatal(err)
	}
	if _, err := v.File("d", 0, nil, -1, -1); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "volumes/c/0")); err != nil || string(b) != "y" {
		t.Errorf("%q, %v", b, err)
	}
	if err := v.DropFiles("c"); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(map[string]string{"volumes/d/0": "-r--------"}, files(t, dir)); d != "" {
		t.Errorf("what is left (-want +got):\n%s", d)
	}
}

func TestWhatBelongsToNobodyIsSweptOutAtTheStart(t *testing.T) {
	dir := memory(t)
	v := NewVault(dir)
	if err := v.Retain([]Key{{"F", "t", 1}}, []string{"c"}); err != nil {
		t.Errorf("an empty vault: %v", err)
	}
	for i := range uint64(3) {
		if err := v.Put(Key{"F", "t", i}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []string{"c", "d"} {
		if _, err := v.File(c, 0, nil, -1, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, launches, "half.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v = NewVault(dir)
	if err := v.Retain([]Key{{"F", "t", 1}}, []string{"c"}); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(map[string]string{"launches/" + Key{"F", "t", 1}.name(): "-rw-------", "volumes/c/0": "-r--------"}, files(t, dir)); d != "" {
		t.Errorf("what is left (-want +got):\n%s", d)
	}
	if err := v.Drop(Key{"F", "t", 1}); err != nil || len(files(t, dir)) != 1 {
		t.Errorf("what an earlier run kept is not dropped: %v, %v", err, files(t, dir))
	}
}

func TestAVaultIsNowhereButInMemoryThatIsTheAgentsAlone(t *testing.T) {
	on, err := inMemory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if on {
		t.Skip("SKIP: the directory for temporary files is a tmpfs; set TMPDIR to one on a disk")
	}
	dir := filepath.Join(t.TempDir(), "secrets")
	v := NewVault(dir)
	if err := v.Put(Key{}, [][]byte{[]byte("x")}); err == nil || !strings.Contains(err.Error(), "--runtime-dir") {
		t.Errorf("on a disk: %v", err)
	}
	if _, err := v.File("c", 0, []byte("x"), -1, -1); err == nil {
		t.Error("a file was written on a disk")
	}
	if all := files(t, dir); len(all) > 0 {
		t.Errorf("there is %v", all)
	}
	open := memory(t)
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := NewVault(open).Put(Key{}, nil); err == nil || !strings.Contains(err.Error(), "only the agent's user") {
		t.Errorf("where others may look: %v", err)
	}
	link := memory(t)
	if err := os.Symlink(filepath.Dir(open), link); err != nil {
		t.Fatal(err)
	}
	if err := NewVault(link).Put(Key{}, nil); err == nil {
		t.Error("it went along a link")
	}
}

// The sample is what the first version wrote.
func TestWhatIsKeptIsReadAsItWasFirstWritten(t *testing.T) {
	const sample = "01" + "0161" + "00" + "036263" + "64"
	values := [][]byte{[]byte("a"), {}, []byte("bcd")}
	b, err := hex.DecodeString(sample)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(b); err != nil || cmp.Diff(values, got) != "" {
		t.Errorf("%q, %v", got, err)
	}
	if got := hex.EncodeToString(encode(values)); got != sample {
		t.Errorf("it is written as %s now", got)
	}
	for _, bad := range []string{"", "00", "02", "0102", "010261", "01ff"} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(b); err == nil {
			t.Errorf("%s is read as %q", bad, got)
		}
	}
}
