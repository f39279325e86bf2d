package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/cli/fakecluster"
)

func TestAPodsFileIsReadAsYAMLAndAsJSON(t *testing.T) {
	for _, text := range []string{
		"name: web\nexecutor: {cpus: 0.5}\ntasks:\n- {name: a, command: x, cpus: 2, mem: 1GB, env: {B: c, A: b}, uris: [http://h/f]}\n- {name: b, command: y}\n",
		`{"name":"web","executor":{"cpus":0.5},"tasks":[{"name":"a","command":"x","cpus":2,"mem":"1GB","env":{"A":"b","B":"c"},"uris":["http://h/f"]},{"name":"b","command":"y"}]}`,
	} {
		pod, name, err := parsePod([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		a := pod.Tasks[0]
		got := []string{name, pod.Need.String(), a.Need.String(), pod.Tasks[1].Need.String(), a.Command, a.Env[0].GetName(), a.Env[1].GetValue(), a.URIs[0].GetValue(), pod.Total().String()}
		want := []string{"web", "0.5 cpus, 32 MB and 10 MB of disk", "2 cpus and 1024 MB", "0.1 cpus and 128 MB", "x", "A", "c", "http://h/f", "2.6 cpus, 1184 MB and 10 MB of disk"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAPodsFileThatIsWrongIsRefusedWithTheField(t *testing.T) {
	for text, want := range map[string]string{
		"": "it is empty", "tasks: []": "tasks: there are 0", "tasks: [{command: x}]": "tasks[0].name",
		"tasks: [{name: a b, command: x}]":                     "tasks[0].name",
		"tasks: [{name: a, command: x},{name: a, command: y}]": "tasks[1].name: \"a\" is there already",
		"tasks: [{name: a}]":                                   "tasks[0].command",
		"tasks: [{name: a, command: x, cpus: -1}]":             "tasks[0].cpus",
		"tasks: [{name: a, command: x, mem: much}]":            "tasks[0].mem",
		"tasks: [{name: a, command: x, disk: much}]":           "tasks[0].disk",
		"tasks: [{name: a, command: x, gpu: 1}]":               "gpu",
		"executor: {mem: -1}\ntasks: [{name: a, command: x}]":  "executor.mem",
		"name: a/b\ntasks: [{name: a, command: x}]":            "name: is",
	} {
		if _, _, err := parsePod([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want words of %q", text, err, want)
		}
	}
}

func TestAPodTakesNeitherACommandNorWhatItsFileSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pod.yaml")
	if err := os.WriteFile(file, []byte("tasks: [{name: a, command: x}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShell(t, fakecluster.New(t, recorded, func(*fakecluster.Cluster, *mesosv1.TaskInfo) {}).Address)
	s.expect(2, "run", "--pod", file, "--", "true")
	for _, flag := range []string{"--cpus=1", "--mem=1", "--env=A=b", "--uri=http://h/f", "--instances=2"} {
		s.expect(2, "run", "--pod", file, flag)
		if name, _, _ := strings.Cut(flag, "="); !strings.Contains(s.err.String(), name) {
			t.Errorf("%s: %s", flag, &s.err)
		}
	}
	s.expect(2, "run", "--pod", file+".not")
}
