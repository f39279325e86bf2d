package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, path string, strict bool) ([]string, Damage, error) {
	t.Helper()
	var got []string
	j, d, err := Open(path, strict, func(r []byte) error { got = append(got, string(r)); return nil })
	if err == nil {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return got, d, err
}

func write(t *testing.T, path string, records ...string) {
	t.Helper()
	j, _, err := Open(path, true, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := j.Append([][]byte{[]byte(r)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsAppendedIsReadAgainInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	write(t, path, "a", "bb")
	write(t, path, "ccc")
	got, d, err := read(t, path, true)
	if err != nil || d != (Damage{}) {
		t.Fatal(d, err)
	}
	if diff := cmp.Diff([]string{"a", "bb", "ccc"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReplaceLeavesOnlyTheNewRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, _, err := Open(path, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Append([][]byte{[]byte("old"), []byte("older")}), j.Replace([][]byte{[]byte("new")}), j.Append([][]byte{[]byte("newer")}), j.Close()); err != nil {
		t.Fatal(err)
	}
	got, _, err := read(t, path, true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"new", "newer"}, got); diff != "" {
		t.Error(diff)
	}
}

// A journal cut off anywhere gives a prefix of its records, never an error, and goes on from there.
func TestTruncationAtEveryOffsetLosesOnlyTheTail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	all := []string{"first", "second record", "third"}
	write(t, path, all...)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		cut := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(cut, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := read(t, cut, true)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if len(got) >= len(all) || !slices.Equal(got, all[:len(got)]) {
			t.Fatalf("cut at %d: read %q", n, got)
		}
		write(t, cut, "after")
		again, _, err := read(t, cut, true)
		if err != nil || !slices.Equal(again, append(slices.Clone(got), "after")) {
			t.Fatalf("cut at %d: after appending read %q, %v", n, again, err)
		}
	}
}

// A flipped byte never gives a record that was not written; what is intact is read all the same when not strict.
func TestAFlippedByteLosesOnlyItsRecord(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	all := []string{"first", "second record", "third", "fourth and last"}
	write(t, path, all...)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		bad := bytes.Clone(whole)
		bad[n] ^= 0x55
		flipped := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(flipped, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		strict, _, serr := read(t, flipped, true)
		var corrupt *CorruptError
		if serr != nil && (!errors.As(serr, &corrupt) || corrupt.Path != flipped) {
			t.Fatalf("byte %d: %v", n, serr)
		}
		if serr == nil && !slices.Equal(strict, all[:len(all)-1]) {
			t.Fatalf("byte %d: strictly read %q", n, strict)
		}
		got, _, err := read(t, flipped, false)
		if err != nil {
			t.Fatalf("byte %d: %v", n, err)
		}
		want := len(all) - 1
		if n < len(magic) {
			want = len(all)
		}
		if len(got) != want {
			t.Fatalf("byte %d: read %q", n, got)
		}
		for _, r := range got {
			if !slices.Contains(all, r) {
				t.Fatalf("byte %d: read %q, which nobody wrote", n, r)
			}
		}
	}
}

func FuzzOpenNeverPanicsAndNeverInvents(f *testing.F) {
	f.Add([]byte(magic), true)
	f.Add(frame([]byte(magic), [][]byte{[]byte("a"), []byte("b")}), false)
	f.Fuzz(func(t *testing.T, data []byte, strict bool) {
		var d Damage
		end, err := scan("f", data, strict, &d, func(r []byte) error {
			if len(r) == 0 || !bytes.Contains(data, r) {
				t.Fatalf("invented %q", r)
			}
			return nil
		})
		if err == nil && end > int64(len(data)) {
			t.Fatal("ends behind the end")
		}
	})
}
