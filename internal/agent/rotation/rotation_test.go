package rotation

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/container"
)

func command(lines ...string) *mesosv1.CommandInfo {
	e := &mesosv1.Environment{}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, "=")
		e.Variables = append(e.Variables, &mesosv1.Environment_Variable{Name: &name, Value: &value})
	}
	return &mesosv1.CommandInfo{Environment: e}
}

func TestATaskSaysHowItsOutputIsKept(t *testing.T) {
	agents, err := New("2MB", 3)
	if err != nil {
		t.Fatal(err)
	}
	own := container.Log{Bytes: 2 << 20, Files: 3}
	for name, c := range map[string]struct {
		lines []string
		want  Rule
	}{
		"nothing":          {[]string{"PATH=/bin", "CONTAINER_LOG=x"}, Rule{own, own}},
		"a size":           {[]string{"CONTAINER_LOGGER_MAX_STDOUT_SIZE=512KB"}, Rule{container.Log{Bytes: 512 << 10, Files: 3}, own}},
		"as DC/OS says it": {[]string{"CONTAINER_LOGGER_LOGROTATE_MAX_STDERR_SIZE=1 gb", "CONTAINER_LOGGER_DESTINATION_TYPE=journald+logrotate"}, Rule{own, container.Log{Bytes: 1 << 30, Files: 3}}},
		"options": {
			[]string{"CONTAINER_LOGGER_LOGROTATE_STDOUT_OPTIONS=rotate 9\nmissingok", "CONTAINER_LOGGER_LOGROTATE_STDERR_OPTIONS=notifempty; rotate 0;"},
			Rule{container.Log{Bytes: 2 << 20, Files: 9}, container.Log{Bytes: 2 << 20, Files: container.NoOldLogs}},
		},
	} {
		got, err := agents.Of(command(c.lines...))
		if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
	if got, err := agents.Of(nil); got != agents || err != nil {
		t.Errorf("without a command it is %v, %v", got, err)
	}
}

func TestWhatCannotBeUnderstoodOfRotationIsNamed(t *testing.T) {
	for line, words := range map[string]string{
		"MAX_STDOUT_SIZE=":                            "no size",
		"MAX_STDOUT_SIZE=10":                          "no size",
		"MAX_STDERR_SIZE=1.5MB":                       "MAX_STDERR_SIZE",
		"MAX_STDERR_SIZE=99999999999TB":               "no size",
		"MAX_STDERR_SIZE=-1MB":                        "no size",
		"MAX_STDERR_SIZE=4095B":                       "4KB or more",
		"LOGROTATE_STDOUT_OPTIONS=rotate 1\ncompress": `"compress"`,
		"LOGROTATE_STDOUT_OPTIONS=rotate":             `"rotate"`,
		"LOGROTATE_STDOUT_OPTIONS=rotate nine":        "no number",
		"LOGROTATE_STDERR_OPTIONS=rotate -1":          "0 to 100",
		"LOGROTATE_STDERR_OPTIONS=rotate 101":         "0 to 100",
		"DESTINATION_TYPE=journald":                   "say logrotate",
		"LEVEL=debug":                                 "no such setting",
	} {
		if _, err := (Rule{}).Of(command(prefix + line)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v", line, err)
		}
	}
	for flag, err := range map[string]error{
		"--log-rotate-size":  func() error { _, err := New("large", 1); return err }(),
		"--log-rotate-files": func() error { _, err := New("1MB", -1); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%v lacks %s", err, flag)
		}
	}
	if r, err := New("10MB", 0); r.Stdout.Files != container.NoOldLogs || err != nil {
		t.Errorf("none to be kept: %v, %v", r, err)
	}
}
