package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
)

// logsOf are the files of a task's output and their sizes.
func logsOf(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for _, pattern := range []string{"stdout*", "stderr*"} {
		all, err := filepath.Glob(filepath.Join(dir, pattern))
		must(t, err)
		for _, f := range all {
			if st, err := os.Stat(f); err == nil { // it may be renamed just now
				out[filepath.Base(f)] = st.Size()
			}
		}
	}
	return out
}

func TestATaskSaysHowItsOutputIsRotated(t *testing.T) {
	need(t, true)
	n := newNode(t, "up", "--log-rotate-size", "64KB", "--log-rotate-files", "2")
	n.start()
	f := subscribe(t, n.master)
	asks := func(id, script string, lines ...string) *mesosv1.TaskInfo {
		x := task(id, script)
		for _, l := range lines {
			name, value, _ := strings.Cut(l, "=")
			x.Command.Environment.Variables = append(x.Command.Environment.Variables, &mesosv1.Environment_Variable{Name: &name, Value: &value})
		}
		return x
	}
	const mb = 1 << 20
	const write = "head -c 3000000 /dev/zero; head -c 300000 /dev/zero >&2"
	const old = 3_000_000 - 2*mb
	rest := int64(3_000_000 % (64 << 10))
	for id, c := range map[string]struct {
		lines []string
		want  map[string]int64
	}{
		"agents": {nil, map[string]int64{"stdout": rest, "stdout.1": 64 << 10, "stdout.2": 64 << 10, "stderr": 300_000 % (64 << 10), "stderr.1": 64 << 10, "stderr.2": 64 << 10}},
		"own": {
			[]string{"CONTAINER_LOGGER_MAX_STDOUT_SIZE=1MB", "CONTAINER_LOGGER_LOGROTATE_STDOUT_OPTIONS=rotate 1", "CONTAINER_LOGGER_MAX_STDERR_SIZE=256KB", "CONTAINER_LOGGER_LOGROTATE_STDERR_OPTIONS=rotate 0"},
			map[string]int64{"stdout": old, "stdout.1": mb, "stderr": 300_000 - 256<<10},
		},
	} {
		must(t, f.accept(asks(id, write, c.lines...)))
		if e := f.end(id); e.GetState() != finished {
			t.Errorf("%s ended as %v", id, e)
		}
		if d := cmp.Diff(c.want, logsOf(t, sandboxOf(t, n, f, id))); d != "" {
			t.Errorf("%s (-want +got):\n%s", id, d)
		}
	}
	must(t, f.accept(asks("odd", "true", "CONTAINER_LOGGER_LOGROTATE_STDOUT_OPTIONS=compress")))
	if e := f.end("odd"); e.GetReason() != mesosv1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED || !strings.Contains(e.GetMessage(), `"compress" is not supported`) {
		t.Errorf("an option that there is not: %v", e)
	}
	// The rule outlives the agent, since the files are its supervisor's.
	s := scopeOn(t, n, true, asks("top", "exec sleep 1000"))
	must(t, s.launchBox(s.kid("kid"), "until [ -e go ]; do sleep 0.05; done; "+write, nil))
	box := filepath.Join(sandboxOf(t, n, s.f, "top"), "containers/kid")
	n.signal(9)
	must(t, os.WriteFile(filepath.Join(box, "go"), nil, 0o644))
	eventually(t, "a container by call to write its output while the agent is away", func() error {
		if got := logsOf(t, box); got["stdout"] != rest || got["stdout.2"] != 64<<10 || got["stdout.3"] != 0 {
			return fmt.Errorf("there are %v", got)
		}
		return nil
	})
	s.back()
}
