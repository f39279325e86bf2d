package image

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/image/failure"
)

func TestCommandFollowsTheOriginalsRowsForImages(t *testing.T) {
	none := Config{}
	cmd := Config{Cmd: []string{"c0", "c1"}}
	entry := Config{Entrypoint: []string{"e0", "e1"}}
	both := Config{Entrypoint: []string{"e0", "e1"}, Cmd: []string{"c0", "c1"}}
	one, two := []string{"a0"}, []string{"a0", "a1"}
	for _, c := range []struct {
		name  string
		shell bool
		value string
		args  []string
		image Config
		path  string
		argv  []string
	}{
		{"a shell with a value, image without anything", true, "echo hi", nil, none, "/bin/sh", []string{"sh", "-c", "echo hi"}},
		{"a shell with a value drops Entrypoint and Cmd", true, "echo hi", nil, both, "/bin/sh", []string{"sh", "-c", "echo hi"}},
		{"a shell with a value drops arguments", true, "echo hi", two, both, "/bin/sh", []string{"sh", "-c", "echo hi"}},
		{"a shell without a value, none", true, "", nil, none, "", nil},
		{"a shell without a value, Cmd", true, "", nil, cmd, "", nil},
		{"a shell without a value, Entrypoint and arguments", true, "", two, entry, "", nil},
		{"a shell without a value, both", true, "", nil, both, "", nil},

		{"a value, none", false, "/v", nil, none, "/v", []string{"/v"}},
		{"a value, both", false, "/v", nil, both, "/v", []string{"/v"}},
		{"a value with arguments, none", false, "/v", two, none, "/v", []string{"a0", "a1"}},
		{"a value with arguments, Cmd", false, "/v", two, cmd, "/v", []string{"a0", "a1"}},
		{"a value with arguments, Entrypoint", false, "/v", one, entry, "/v", []string{"a0"}},
		{"a value with arguments, both", false, "/v", two, both, "/v", []string{"a0", "a1"}},

		{"nothing, none", false, "", nil, none, "", nil},
		{"nothing, Cmd", false, "", nil, cmd, "c0", []string{"c0", "c1"}},
		{"nothing, Entrypoint", false, "", nil, entry, "e0", []string{"e0", "e1"}},
		{"nothing, both", false, "", nil, both, "e0", []string{"e0", "e1", "c0", "c1"}},

		{"arguments, none", false, "", two, none, "", nil},
		{"arguments, Cmd: its first word stays", false, "", two, cmd, "c0", []string{"c0", "a0", "a1"}},
		{"arguments, Entrypoint", false, "", two, entry, "e0", []string{"e0", "e1", "a0", "a1"}},
		{"arguments, both: Cmd is dropped", false, "", two, both, "e0", []string{"e0", "e1", "a0", "a1"}},

		{"an Entrypoint of an empty word", false, "", nil, Config{Entrypoint: []string{""}}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, argv, err := Command(c.shell, c.value, c.args, c.image)
			if c.path == "" {
				if !failure.Is(err, failure.Invalid) {
					t.Fatalf("%q %q, %v; want an error", path, argv, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{c.path}, c.argv...), append([]string{path}, argv...)); diff != "" {
				t.Error(diff)
			}
			if len(argv) > 0 && len(c.args) > 0 {
				argv[0] = "changed"
				if c.args[0] != "a0" || both.Entrypoint[0] != "e0" || both.Cmd[0] != "c0" {
					t.Error("what came in was changed")
				}
			}
		})
	}
}
