package imaged

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/gen/mesosv1"
	"github.com/pando-os/pando/internal/agent/confine"
	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/agent/dockertask"
)

func TestAContainerWithAnImageHasWhatImagesCountOnAsFarAsItMay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte(`{"defaultAction": "SCMP_ACT_ALLOW"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	most := confine.Numbers([]int{0, 5, 12})
	bounded := &confine.Rules{Bounds: confine.Bounds{Bounding: &most}, Profiles: confine.Profiles{Dir: dir}}
	free := &confine.Rules{Profiles: confine.Profiles{Dir: dir}}
	mine := &mesosv1.SeccompInfo{ProfileName: new("mine")}
	docker := func(privileged bool, add ...string) *dockertask.Task {
		return &dockertask.Task{Privileged: privileged, AddCaps: add}
	}
	list := func(n ...int) *[]int { return &n }
	for name, c := range map[string]struct {
		rules               *confine.Rules
		docker              *dockertask.Task
		effective, bounding *[]int // as they were settled
		seccomp             *mesosv1.SeccompInfo
		uid                 int
		wantE, wantB        *[]int
		filter              *mesosv1.SeccompInfo // whose filter it is to have; unconfined: none
		caps                confine.Set
		words               string
	}{
		"root":                              {rules: free, wantE: list(confine.Numbers([]int{0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}).List()...), caps: confine.Numbers([]int{0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31})},
		"root within a bound":               {rules: bounded, bounding: list(0, 5, 12), wantE: list(0, 5), wantB: list(0, 5, 12), caps: confine.Numbers([]int{0, 5})},
		"another user within a bound":       {rules: bounded, bounding: list(0, 5, 12), uid: 7, wantB: list(0, 5), caps: confine.Numbers([]int{0, 5})},
		"another user who asks":             {rules: bounded, effective: list(12), bounding: list(0, 5, 12), uid: 7, wantE: list(12), wantB: list(0, 5, 12), caps: confine.Numbers([]int{12})},
		"more by docker":                    {rules: bounded, docker: docker(false, "NET_ADMIN"), bounding: list(0, 5, 12), wantE: list(0, 5, 12), wantB: list(0, 5, 12), caps: most},
		"too much by docker":                {rules: bounded, docker: docker(false, "SYS_ADMIN"), bounding: list(0, 5, 12), words: "cap-add: capabilities beyond"},
		"a profile":                         {rules: bounded, seccomp: mine, bounding: list(0), wantE: list(0), wantB: list(0), filter: mine, caps: 1},
		"privileged":                        {rules: free, docker: docker(true), seccomp: nil, filter: &mesosv1.SeccompInfo{Unconfined: new(true)}},
		"privileged with a profile":         {rules: free, docker: docker(true), seccomp: mine, filter: mine, caps: confine.All},
		"privileged beyond a bound":         {rules: bounded, docker: docker(true), words: "privileged: capabilities beyond"},
		"privileged with what there is not": {rules: free, docker: docker(true), seccomp: &mesosv1.SeccompInfo{ProfileName: new("none")}, words: "cannot be read"},
	} {
		p := &Picture{Container: &mesosv1.ContainerInfo{LinuxInfo: &mesosv1.LinuxInfo{Seccomp: c.seccomp}}, docker: c.docker, keeper: &Keeper{rules: c.rules}}
		s := &container.Spec{Effective: c.effective, Bounding: c.bounding, Root: &container.Root{Mounts: standard.Mounts(0)}}
		err := p.confine(s, Place{UID: c.uid, Trusted: true})
		if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		filter, err := c.rules.Profiles.Filter(c.filter, c.caps)
		if err != nil {
			t.Fatal(err)
		}
		sealed := func(m container.Mount) bool { return m.Target == "/sys" && m.Flags&standard.ReadOnly != 0 }
		if open := c.docker != nil && c.docker.Privileged; slices.ContainsFunc(s.Root.Mounts, sealed) == open {
			t.Errorf("%s: that /sys can be written is not %v", name, open)
		}
		if d := cmp.Diff([]any{c.wantE, c.wantB, filter}, []any{s.Effective, s.Bounding, s.Seccomp}); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
