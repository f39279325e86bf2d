package imaged

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/gpu"
)

func TestAContainersGPUsAreItsOwnUntilItEnds(t *testing.T) {
	described := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(described, "gpus.json"), `{"cdiVersion": "0.6.0", "kind": "example.com/gpu", "devices": [
		{"name": "0", "containerEdits": {"env": ["GPU=0"], "deviceNodes": [{"path": "/dev/gpu0", "type": "c", "major": 1, "minor": 5}]}},
		{"name": "1", "containerEdits": {"env": ["GPU=1"], "deviceNodes": [{"path": "/dev/gpu1", "type": "c", "major": 1, "minor": 7}]}}]}`)
	dir := t.TempDir()
	restarted := func() *Keeper {
		gpus, err := gpu.New("example.com/gpu", []string{described})
		if err != nil {
			t.Fatal(err)
		}
		return New(&album{held: map[string]string{}}, dir, Overlay, &confine.Rules{}, gpus, slog.New(slog.DiscardHandler))
	}
	k := restarted()
	// starts gives what a container with gpus finds of them, or the words why it does not start.
	starts := func(id string, gpus int) string {
		t.Helper()
		p, err := k.Provision(t.Context(), id, wants("app:1"), true)
		if err != nil {
			t.Fatal(err)
		}
		s := container.Spec{ID: id}
		if err := p.Furnish(&s, &mesosv1.CommandInfo{Value: new("true")}, Place{Sandbox: t.TempDir(), UID: -1, GID: -1, Trusted: true, GPUs: gpus}); err != nil {
			k.Drop(id)
			return "error: " + err.Error()
		}
		var out []string
		for _, m := range s.Root.Mounts {
			if strings.HasPrefix(m.Target, "/dev/gpu") {
				out = append(out, m.Target)
			}
		}
		return strings.Join(append(out, s.Env...), " ")
	}
	const first, second, none = "/dev/gpu0 GPU=0", "/dev/gpu1 GPU=1", "error: gpus: it holds 1 gpus, and of the 2 devices"
	for i, step := range []struct {
		before func()
		id     string
		gpus   int
		want   string
	}{
		{nil, "bare", 0, ""},
		{nil, "c1", 1, first},
		{nil, "c2", 1, second},
		{nil, "c3", 1, none},
		{func() { k.Ended("c1") }, "c4", 1, first}, // its files are there still
		{func() { k.Drop("c2") }, "c5", 1, second},
		{func() { k = restarted(); k.Found([]string{"bare", "c1", "c4", "c5"}, []string{"bare", "c4", "c5"}) }, "c6", 1, none},
		{func() { k.Ended("c5") }, "c7", 1, second},
		{func() { k = restarted(); k.Found([]string{"c4", "c7"}, []string{"c7"}) }, "c8", 1, first}, // c4 ended meanwhile
		{func() {
			write(filepath.Join(dir, "scratch/c8/gpus"), "?")
			k = restarted()
			k.Found([]string{"c8"}, []string{"c8"})
		}, "c9", 1, "error: gpus: which gpus the container c8 has is not known"},
		{func() { k.Ended("c8") }, "c9", 2, "/dev/gpu0 /dev/gpu1 GPU=1"},
	} {
		if step.before != nil {
			step.before()
		}
		if got := starts(step.id, step.gpus); !strings.HasPrefix(got, step.want) || step.want == "" && got != "" {
			t.Errorf("step %d: %s finds %q, want %q", i, step.id, got, step.want)
		}
	}
	var nobodys *Keeper
	nobodys.Ended("c")
}
