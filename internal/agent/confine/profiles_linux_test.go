package confine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/seccomp"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// deny is a profile that lets everything be but one call, and that only without a capability.
func deny(call, unless string) string {
	return `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["` + call + `"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["` + unless + `"]}}]}`
}

func named(name string) *mesosv1.SeccompInfo { return &mesosv1.SeccompInfo{ProfileName: &name} }

func TestAContainerHasTheProfileThatItNamesOrTheAgents(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "one.json", deny("mkdir", "CAP_KILL"))
	p := &Profiles{Dir: dir}
	filter := func(s *mesosv1.SeccompInfo, caps Set) []byte {
		t.Helper()
		b, err := p.Filter(s, caps)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	builtIn, one := filter(nil, 0), filter(named("one.json"), 0)
	if len(builtIn) == 0 || len(one) == 0 || bytes.Equal(builtIn, one) {
		t.Error("the built-in profile and a named one are not told apart")
	}
	if filter(&mesosv1.SeccompInfo{Unconfined: new(true)}, 0) != nil {
		t.Error("unconfined has a filter")
	}
	if bytes.Equal(one, filter(named("one.json"), *set("KILL"))) || bytes.Equal(builtIn, filter(nil, *set("SYS_ADMIN"))) {
		t.Error("a filter does not follow from the capabilities")
	}
	p.Default = "one.json"
	if !bytes.Equal(one, filter(nil, 0)) {
		t.Error("the agent's default is not used")
	}
	// The names are looked up each time, and what a file says now counts.
	write(t, dir, "two.json", deny("rmdir", "CAP_KILL"))
	two := filter(named("two.json"), 0)
	write(t, dir, "one.json", deny("rmdir", "CAP_KILL"))
	if bytes.Equal(one, two) || !bytes.Equal(two, filter(named("one.json"), 0)) {
		t.Error("a file that came, or changed, does not count")
	}
	if n := len(p.made); n != 5 {
		t.Errorf("%d filters are kept, want one for each profile and set of capabilities", n)
	}
	for n := range maxFilters * 2 {
		filter(named("one.json"), Set(n)<<7)
	}
	if n := len(p.made); n > maxFilters {
		t.Errorf("%d filters are kept", n)
	}
}

func TestAProfileThatCannotBeHadIsNamedWithWhatToDo(t *testing.T) {
	up := t.TempDir()
	dir := filepath.Join(up, "profiles")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, up, "outside", deny("mkdir", "CAP_KILL"))
	write(t, dir, "sub/good", deny("mkdir", "CAP_KILL"))
	write(t, dir, "frob", `{"defaultAction": "SCMP_ACT_FROB"}`)
	write(t, dir, "long", deny("mkdir", "CAP_KILL")+strings.Repeat(" ", seccomp.MaxProfile+1-len(deny("mkdir", "CAP_KILL"))))
	for link, to := range map[string]string{"inside": "sub/good", "out": "../outside", "absolute": filepath.Join(up, "outside"), "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Profiles{Dir: dir}
	for _, name := range []string{"sub/good", "inside", "./sub/good"} {
		if _, err := p.Filter(named(name), 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, words := range map[string]string{
		"none": "cannot be read", "../outside": "without ..", "sub/../sub/good": "without ..", filepath.Join(dir, "sub/good"): "without ..", "": "without ..", "out": "cannot be read",
		"absolute": "cannot be read", "loop": "cannot be read", "sub": "no file", "pipe": "no file", "frob": "SCMP_ACT_FROB", "long": "mend the file", "a\x00b": "cannot be read",
	} {
		b, err := p.Filter(named(name), 0)
		if err == nil || b != nil || !strings.Contains(err.Error(), words) || !strings.HasPrefix(err.Error(), "container.linux_info.seccomp.profile_name") {
			t.Errorf("%q: %v lacks %q", name, err, words)
		}
		if name != "" && (&Profiles{Dir: dir, Default: name}).Check() == nil {
			t.Errorf("%q may be the default", name)
		}
	}
	if _, err := new(Profiles).Filter(named("sub/good"), 0); err == nil || !strings.Contains(err.Error(), "--seccomp-config-dir") {
		t.Errorf("a profile of an agent without any: %v", err)
	}
	p.Default = "sub/good"
	if err := p.Check(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "sub/good")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Filter(nil, 0); err == nil || !strings.Contains(err.Error(), "--seccomp-profile-name") {
		t.Errorf("a default that has gone: %v", err)
	}
	for words, bad := range map[string]*Profiles{
		"--seccomp-config-dir, which is not set": {Default: "x"}, "is not an absolute path": {Dir: "x"}, "is no directory": {Dir: filepath.Join(dir, "frob")},
	} {
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v lacks %q", err, words)
		}
	}
	if err := new(Rules).Check(); err != nil {
		t.Error(err)
	}
}

func FuzzNoNameOfAProfileLeadsOut(f *testing.F) {
	up := f.TempDir()
	dir := filepath.Join(up, "p")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"secret", "p/a", "p/sub/b"} {
		if err := os.WriteFile(filepath.Join(up, name), []byte(name), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	for link, to := range map[string]string{"up": "..", "sub/top": "/", "in": "sub"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			f.Fatal(err)
		}
	}
	for _, name := range []string{"a", "sub/b", "in/b", "up/secret", "../secret", "sub/top" + up + "/secret", up + "/secret", "in/../../secret", "sub//b", "."} {
		f.Add(name)
	}
	p := &Profiles{Dir: dir}
	f.Fuzz(func(t *testing.T, name string) {
		if b, err := p.read(name); err == nil && !strings.HasPrefix(string(b), "p/") {
			t.Errorf("%q leads to %q", name, b)
		}
	})
}
