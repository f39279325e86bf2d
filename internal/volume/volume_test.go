package volume

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pando-os/pando/mesos/resource"
)

func disk(role, id string, source resource.Source) *resource.Resource {
	l := resource.New(resource.Resource{Name: "disk", Scalar: resource.One, Traits: &resource.Traits{
		Reservations: []resource.Reservation{{Dynamic: true, Role: role}}, Disk: &resource.Disk{PersistenceID: id, Source: source},
	}})
	return &l[0]
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	must(tb, os.WriteFile(path, []byte(text), 0o600))
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

func TestEachVolumeHasAPlaceOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct{ role, id, want string }{
		{"eng", "v", "volumes/roles/eng/v"},
		{"eng/web", "v", "volumes/roles/eng web/v"},
		{"eng", "web", "volumes/roles/eng/web"},
	} {
		got, err := Path("/w", disk(c.role, c.id, resource.Source{}))
		if err != nil || got != "/w/"+c.want || seen[got] {
			t.Errorf("%s of %s: %s, %v", c.id, c.role, got, err)
		}
		seen[got] = true
	}
	for _, c := range []struct {
		source resource.Source
		want   string
	}{
		{resource.Source{Kind: resource.PathDisk, Root: "/disk1", HasPlace: true}, "/disk1/volumes/roles/eng/v"},
		{resource.Source{Kind: resource.PathDisk, Root: "disk1", HasPlace: true}, "/w/disk1/volumes/roles/eng/v"},
		{resource.Source{Kind: resource.MountDisk, Root: "/mnt", HasPlace: true}, "/mnt"},
		{resource.Source{Kind: resource.BlockDisk}, ""},
		{resource.Source{Kind: resource.PathDisk}, ""},
	} {
		if got, err := Path("/w", disk("eng", "v", c.source)); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%+v: %s, %v", c.source, got, err)
		}
	}
	for _, id := range []string{"..", ".", "", "a/b", "a\x00"} {
		if got, err := Path("/w", disk("eng", id, resource.Source{})); err == nil {
			t.Errorf("%q: %s", id, got)
		}
	}
}

func TestAVolumeAppearsInTheSandboxAndNowhereElse(t *testing.T) {
	work := t.TempDir()
	v := disk("eng", "v", resource.Source{})
	dir, err := Make(work, v, -1, -1)
	must(t, err)
	write(t, dir+"/file", "kept")
	for _, place := range []string{"data", "./other/", "a/b/c", "a//d"} {
		box := t.TempDir()
		must(t, Place(box, place, dir, -1, -1))
		must(t, Place(box, place, dir, -1, -1)) // again
		if got := read(filepath.Join(box, place, "file")); got != "kept" {
			t.Errorf("at %q: %s", place, got)
		}
	}
	outside := t.TempDir()
	for name, prepare := range map[string]func(box string) string{
		"an absolute path":             func(string) string { return "/etc/x" },
		"a path that leads out":        func(string) string { return "../x" },
		"one that leads out and in":    func(box string) string { return "a/../../" + filepath.Base(box) + "/x" },
		"the sandbox itself":           func(string) string { return "./" },
		"nothing":                      func(string) string { return "" },
		"a zero byte":                  func(string) string { return "a\x00" },
		"behind a link that leads out": func(box string) string { must(t, os.Symlink(outside, box+"/l")); return "l/x" },
		"behind a link that stays in":  func(box string) string { must(t, os.Symlink(".", box+"/l")); return "l/x" },
		"behind a file":                func(box string) string { write(t, box+"/f", ""); return "f/x" },
		"where a file is":              func(box string) string { write(t, box+"/f", ""); return "f" },
		"where another link is":        func(box string) string { must(t, os.Symlink(outside, box+"/l")); return "l" },
	} {
		t.Run(name, func(t *testing.T) {
			box := t.TempDir()
			if err := Place(box, prepare(box), dir, -1, -1); err == nil {
				t.Error("it is placed")
			}
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("%v came into being outside", left)
			}
		})
	}
}

func TestASharedDirectoryIsMadeBelowItsTopAndNowhereElse(t *testing.T) {
	outside := t.TempDir()
	for name, c := range map[string]struct {
		prepare func(top string)
		below   string
		fails   bool
	}{
		"one":                        {nil, "a", false},
		"several, one below another": {nil, "a/b/c", false},
		"one that is there":          {func(top string) { must(t, os.MkdirAll(top+"/a/b", 0o755)) }, "a/b", false},
		"a file":                     {func(top string) { write(t, top+"/f", "") }, "f", false},
		"behind a file":              {func(top string) { write(t, top+"/f", "") }, "f/x", true},
		"a link":                     {func(top string) { must(t, os.Symlink(outside, top+"/l")) }, "l", true},
		"behind a link":              {func(top string) { must(t, os.Symlink(outside, top+"/l")) }, "l/x", true},
		"a link to a file":           {func(top string) { write(t, top+"/f", ""); must(t, os.Symlink("f", top+"/l")) }, "l", true},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			if c.prepare != nil {
				c.prepare(top)
			}
			err := MakeShared(top, c.below, -1, -1)
			if (err != nil) != c.fails {
				t.Errorf("%v", err)
			}
			if _, err := os.Lstat(filepath.Join(top, c.below)); err != nil && !c.fails {
				t.Error(err)
			}
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("%v came into being outside", left)
			}
		})
	}
}

// FuzzPlace: whatever the path and whatever links a sandbox holds, nothing outside of it changes, and a volume that is placed is
// found there.
func FuzzPlace(f *testing.F) {
	for _, p := range []string{"data", "a/b", "../x", "/etc/x", "l/x", "in/x", "a/../../x", "./.", "a\x00b", strings.Repeat("a/", 3000), "l", "..\\x", "l/../../x"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, place string) {
		top := t.TempDir()
		box, vol := top+"/deep/box", top+"/vol"
		must(t, os.MkdirAll(box, 0o755))
		must(t, os.Mkdir(vol, 0o755))
		must(t, os.Symlink(top, box+"/l"))
		must(t, os.Symlink("../..", box+"/up"))
		must(t, os.Mkdir(box+"/in", 0o755))
		err := Place(box, place, vol, -1, -1)
		if (err == nil) && CheckPlace(place) != nil {
			t.Fatalf("%q is placed, and was to be refused", place)
		}
		must(t, filepath.WalkDir(top, func(p string, _ fs.DirEntry, err error) error {
			switch {
			case err != nil || strings.HasPrefix(p, box+"/"):
				return err
			case p != top && p != top+"/deep" && p != box && p != vol:
				t.Fatalf("%q made %s", place, p)
			}
			return nil
		}))
		if err != nil {
			return
		}
		write(t, vol+"/file", "kept")
		if got := read(filepath.Join(box, place, "file")); got != "kept" {
			t.Fatalf("%q: %s", place, got)
		}
	})
}

func TestADestroyedVolumeIsRemovedAndItsSuccessorIsNotWhateverCrashesWhen(t *testing.T) {
	for name, source := range map[string]resource.Source{
		"of the root disk": {}, "of a path": {Kind: resource.PathDisk, Root: "p", HasPlace: true}, "of a mount": {Kind: resource.MountDisk, Root: "m", HasPlace: true},
	} {
		for crash := range 4 {
			t.Run(name, func(t *testing.T) {
				work := t.TempDir()
				must(t, os.MkdirAll(work+"/m", 0o755))
				v := disk("eng", "v", source)
				dir, err := Make(work, v, -1, -1)
				must(t, err)
				write(t, dir+"/old", "old")
				must(t, os.Symlink("/etc", dir+"/link"))
				const uuid = "0123456789abcdef"
				steps := []func(string, string, *resource.Resource) error{Discard, Delete, Clear}
				for i, step := range steps {
					if i == crash {
						break
					}
					must(t, step(work, uuid, v))
				}
				if crash > 0 { // its place is free: the next one of its name is made and used
					dir, err = Make(work, v, -1, -1)
					must(t, err)
					write(t, dir+"/new", "new")
				}
				if crash < 3 { // and begun anew, since the journal does not say that it is gone
					for _, step := range steps {
						must(t, step(work, uuid, v))
					}
				}
				must(t, Sweep(work, resource.List{*v}, nil))
				if got := read(dir + "/old"); !strings.HasPrefix(got, "error") {
					t.Error("the old data is there")
				}
				if got := read(dir + "/new"); crash > 0 && got != "new" {
					t.Errorf("the new data is not: %s", got)
				}
				left := 0
				must(t, filepath.WalkDir(work, func(p string, _ fs.DirEntry, err error) error {
					if strings.Contains(p, aside+"/") || strings.Contains(p, moving) || strings.Contains(p, moved) {
						left++
					}
					return err
				}))
				if left > 0 {
					t.Errorf("%d things are left over", left)
				}
			})
		}
	}
}

func TestASweepLeavesWhatIsDoomed(t *testing.T) {
	work := t.TempDir()
	v := disk("eng", "v", resource.Source{})
	dir, err := Make(work, v, -1, -1)
	must(t, err)
	write(t, dir+"/old", "old")
	must(t, Discard(work, "0123456789abcdef", v))
	must(t, Sweep(work, nil, []string{"0123456789abcdef"}))
	must(t, Delete(work, "0123456789abcdef", v))
	must(t, Sweep(work, nil, []string{"another"}))
	if err := Delete(work, "0123456789abcdef", v); err == nil {
		t.Error("it is there still")
	}
}
