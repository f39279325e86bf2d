package gpu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const kind = "example.com/gpu"

func open(t *testing.T, dirs ...string) *Keeper {
	t.Helper()
	k, err := New(kind, dirs)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testdata is the directory with the example.
func testdata(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/cdi")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// described is a directory with one description.
func described(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), text)
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// plain describes gpus by their names, each with a node of its name.
func plain(names ...string) string {
	var b strings.Builder
	b.WriteString("cdiVersion: 0.6.0\nkind: " + kind + "\ndevices:\n")
	for i, n := range names {
		fmt.Fprintf(&b, "  - name: %q\n    containerEdits: {deviceNodes: [{path: \"/dev/gpu-%s\", type: c, major: 240, minor: %d}]}\n", n, n, i+1)
	}
	return b.String()
}

// names are those of a grant's devices, or the words why there is none.
func names(g *Grant, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, d := range g.devices {
		out = append(out, strings.TrimPrefix(d.Name, kind+"="))
	}
	return strings.Join(out, " ")
}

func TestEachContainerHasGPUsOfItsOwn(t *testing.T) {
	k := open(t, testdata(t))
	if n, err := k.Count(); n != 3 || err != nil {
		t.Fatalf("there are %d gpus, %v", n, err)
	}
	const none = "error: it holds 1 gpus, and of the 3 devices example.com/gpu of this machine 0 are free"
	for i, step := range []struct {
		free, take string
		n          int
		want       string
	}{
		{"", "a", 1, "0"},
		{"", "b", 2, "2 10"},
		{"", "c", 1, none},
		{"a", "c", 2, "error: it holds 2 gpus, and of the 3 devices example.com/gpu of this machine 1 are free; see that --resources"},
		{"", "c", 1, "0"},
		{"b", "d", 1, "2"},
		{"nobody", "e", 1, "10"},
		{"", "f", 1, none},
		{"d", "f", 1, "2"},
	} {
		k.Free(step.free)
		if got := names(k.Take(step.take, step.n)); !strings.HasPrefix(got, step.want) || step.want == "" {
			t.Errorf("step %d: %s has %q, want %q", i, step.take, got, step.want)
		}
	}
	both := `  - {name: all, containerEdits: {deviceNodes: [{path: /dev/gpu-gpu0, type: c, major: 240}, {path: /dev/gpu-gpu1, type: c, major: 240}]}}`
	if got := names(open(t, described(t, plain("gpu0", "gpu1")+both)).Take("a", 2)); got != "gpu0 gpu1" {
		t.Errorf("where the name of all is the lowest, two are %q", got)
	}
	if g, err := k.Take("g", 0); g != nil || err != nil {
		t.Errorf("none is %v, %v", g, err)
	}
	var nobodys *Keeper
	nobodys.Free("a")
	n, err := nobodys.Count()
	g, err2 := nobodys.Take("a", 1)
	if n != 0 || err != nil || g != nil || err2 != nil || nobodys.Found("a", nil) != nil {
		t.Errorf("where gpus are only counted: %d, %v, %v, %v", n, err, g, err2)
	}
}

func TestNoTwoContainersHaveTheSameGPUHoweverManyAskAtOnce(t *testing.T) {
	k := open(t, described(t, plain("0", "1", "2", "3")))
	var has [4]atomic.Int32
	var got atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			id := fmt.Sprint("c", i)
			for range 20 {
				g, err := k.Take(id, 1+i%2)
				if err != nil {
					continue
				}
				got.Add(1)
				for _, d := range g.devices {
					n := d.Name[len(d.Name)-1] - '0'
					if has[n].Add(1) != 1 {
						t.Errorf("%s is another's too", d.Name)
					}
				}
				for _, d := range g.devices {
					has[d.Name[len(d.Name)-1]-'0'].Add(-1)
				}
				k.Free(id)
			}
		})
	}
	all.Wait()
	if got.Load() == 0 || len(k.held) != 0 {
		t.Errorf("%d were given, and %v are held", got.Load(), k.held)
	}
}

func TestAContainerKeepsItsGPUsOverARestart(t *testing.T) {
	sample, err := os.ReadFile("testdata/record.json")
	if err != nil {
		t.Fatal(err)
	}
	g, err := open(t, testdata(t)).Take("a", 2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := g.Record()
	if d := cmp.Diff(string(sample), string(b)); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	k := open(t, testdata(t))
	if err := k.Found("a", sample); err != nil {
		t.Fatal(err)
	}
	if got := names(k.Take("b", 1)); got != "10" {
		t.Errorf("another has %q beside it", got)
	}
	k.Free("a")
	if got := names(k.Take("c", 2)); got != "0 2" {
		t.Errorf("another has %q after it", got)
	}
	// Meanwhile its gpus were described by other names.
	k = open(t, described(t, strings.NewReplacer("/dev/gpu-u", "/dev/elsewhere/0", "/dev/gpu-v", "/dev/example2").Replace(plain("u", "v", "w"))))
	if err := k.Found("a", sample); err != nil {
		t.Fatal(err)
	}
	if got := names(k.Take("b", 1)); got != "w" {
		t.Errorf("another has %q, by other names", got)
	}
}

func TestNobodyGetsAGPUWhileItIsNotKnownWhoHasWhich(t *testing.T) {
	for name, b := range map[string]string{"broken": "{", "of a later version": `{"version":2,"devices":[{"name":"example.com/gpu=0"}]}`, "empty": ""} {
		k := open(t, testdata(t))
		if err := k.Found("a", []byte(b)); err == nil {
			t.Errorf("%s: it was read", name)
		}
		if got := names(k.Take("b", 1)); !strings.Contains(got, "which gpus the container a has is not known") {
			t.Errorf("%s: another has %q", name, got)
		}
		k.Free("a")
		if got := names(k.Take("b", 1)); got != "0" {
			t.Errorf("%s: once it ended another has %q", name, got)
		}
	}
}

func TestDescriptionsAreReadAtEachLaunch(t *testing.T) {
	low, high := described(t, plain("0")), t.TempDir()
	k := open(t, low, high, "/no/such/directory")
	if got := names(k.Take("a", 1)); got != "0" {
		t.Errorf("the first has %q", got)
	}
	write(t, filepath.Join(low, "broken.json"), `{"cdiVersion": "0.6.0", "kind": "`+kind+`", "devices": 1}`)
	write(t, filepath.Join(low, "other.yaml"), strings.ReplaceAll(plain("5"), "example.com/gpu", "example.com/nic"))
	if got := names(k.Take("b", 1)); !strings.Contains(got, "0 are free") || !strings.Contains(got, "broken.json") {
		t.Errorf("the second has %q", got)
	}
	if _, err := k.Count(); err == nil || !strings.Contains(err.Error(), "broken.json") {
		t.Errorf("of a broken description it is said: %v", err)
	}
	write(t, filepath.Join(high, "a.yaml"), strings.ReplaceAll(plain("0", "1"), "/dev/gpu-", "/dev/new-"))
	if got := names(k.Take("b", 1)); got != "1" {
		t.Errorf("the second has %q of what came later", got)
	}
	k.Free("a")
	g, err := k.Take("a", 1)
	if err != nil || g.mounts[0].Target != "/dev/new-0" {
		t.Errorf("of two directories the earlier one goes first: %v, %v", g, err)
	}
}

func TestAKeeperNeedsAKindAndDirectories(t *testing.T) {
	for words, c := range map[string]struct {
		kind string
		dirs []string
	}{
		`"gpu" is not the kind`:                {"gpu", []string{"/a"}},
		`"a.b/c=d" is not the kind`:            {"a.b/c=d", []string{"/a"}},
		`"etc/cdi" is not an absolute path`:    {kind, []string{"/a", "etc/cdi"}},
		"there is no directory with descripti": {kind, nil},
	} {
		if _, err := New(c.kind, c.dirs); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v lacks %q", err, words)
		}
	}
}

func TestNamesAreInThePeoplesOrder(t *testing.T) {
	ordered := []string{"", "0", "0:1", "0:10", "1", "2", "10", "010x", "GPU-1", "all", "gpu0", "gpu2", "gpu10", "gpu10a"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compare(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
}
