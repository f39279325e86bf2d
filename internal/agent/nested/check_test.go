package nested

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
	genagent "github.com/pando-os/pando/gen/mesosv1/agent"
)

func id(ids ...string) *mesosv1.ContainerID {
	var at *mesosv1.ContainerID
	for _, v := range ids {
		at = &mesosv1.ContainerID{Value: &v, Parent: at}
	}
	return at
}

func TestContainerIDs(t *testing.T) {
	for _, c := range []struct {
		name string
		id   *mesosv1.ContainerID
		path string // empty: refused
	}{
		{"one alone", id("a"), "a"},
		{"one below others", id("a", "b-1", "c_2"), "a.b-1.c_2"},
		{"the longest", id(strings.Repeat("x", 242)), strings.Repeat("x", 242)},
		{"one that is longer", id(strings.Repeat("x", 243)), ""},
		{"none", nil, ""},
		{"an empty one", id(""), ""},
		{"an empty parent", id("", "a"), ""},
		{"a dot", id("a.b"), ""},
		{"two dots", id(".."), ""},
		{"a slash", id("a/b"), ""},
		{"a backslash", id(`a\b`), ""},
		{"a space", id("a b"), ""},
		{"a newline", id("a\n"), ""},
		{"a zero", id("a\x00"), ""},
		{"a slash further up", id("../..", "b"), ""},
		{"too many", id("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, err := pathOf(c.id)
			if path != c.path || (err == nil) != (c.path != "") {
				t.Errorf("%q %v", path, err)
			}
		})
	}
}

func FuzzContainerIDsStayBelowTheirParents(f *testing.F) {
	for _, s := range []string{"a", "..", "a/../..", "a.b", "/", "", "\x00", strings.Repeat("a", 300)} {
		f.Add(s, "b")
		f.Add("b", s)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		path, err := pathOf(id(one, two))
		if err != nil {
			return
		}
		if path != one+"."+two {
			t.Fatalf("%q", path)
		}
		for _, v := range []string{one, two} {
			at := filepath.Join("/top/containers", v)
			if filepath.Dir(at) != "/top/containers" || filepath.Base(at) != v || len(v) > maxID {
				t.Fatalf("%q is at %s", v, at)
			}
		}
	})
}

func TestWhatALaunchMayAskFor(t *testing.T) {
	scalar := func(v float64) *mesosv1.Resource {
		return &mesosv1.Resource{Name: new("cpus"), Type: mesosv1.Value_SCALAR.Enum(), Scalar: &mesosv1.Value_Scalar{Value: &v}}
	}
	apart := &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), LinuxInfo: &mesosv1.LinuxInfo{ShareCgroups: new(false)}}
	limits := func(name string, v float64) map[string]*mesosv1.Value_Scalar {
		return map[string]*mesosv1.Value_Scalar{name: {Value: &v}}
	}
	window := func(rows uint32) *mesosv1.ContainerInfo {
		return &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), TtyInfo: &mesosv1.TTYInfo{WindowSize: &mesosv1.TTYInfo_WindowSize{Rows: &rows, Columns: new(uint32(1))}}}
	}
	reserved, revocable, disk := scalar(1), scalar(1), scalar(1)
	reserved.Reservations = []*mesosv1.Resource_ReservationInfo{{}}
	revocable.Revocable = &mesosv1.Resource_RevocableInfo{}
	disk.Disk = &mesosv1.Resource_DiskInfo{}
	for _, c := range []struct {
		name string
		call *genagent.Call_LaunchContainer
		says string // empty: it may
	}{
		{"resources of one that stands alone", &genagent.Call_LaunchContainer{ContainerId: id("a"), Resources: []*mesosv1.Resource{scalar(1)}}, ""},
		{"limits of a cgroup of its own", &genagent.Call_LaunchContainer{ContainerId: id("a", "b"), Container: apart, Limits: limits("mem", math.Inf(1))}, ""},
		{"resources in its parent's cgroup", &genagent.Call_LaunchContainer{ContainerId: id("a", "b"), Resources: []*mesosv1.Resource{scalar(1)}}, "share_cgroups"},
		{"resources two levels down", &genagent.Call_LaunchContainer{ContainerId: id("a", "b", "c"), Resources: []*mesosv1.Resource{scalar(1)}}, "one level"},
		{"a cgroup of its own two levels down", &genagent.Call_LaunchContainer{ContainerId: id("a", "b", "c"), Container: apart}, "one level"},
		{"reserved ones", &genagent.Call_LaunchContainer{ContainerId: id("a"), Resources: []*mesosv1.Resource{reserved}}, "reserved"},
		{"revocable ones", &genagent.Call_LaunchContainer{ContainerId: id("a"), Resources: []*mesosv1.Resource{revocable}}, "revocable"},
		{"a volume", &genagent.Call_LaunchContainer{ContainerId: id("a"), Resources: []*mesosv1.Resource{disk}}, "disk"},
		{"a negative amount", &genagent.Call_LaunchContainer{ContainerId: id("a"), Resources: []*mesosv1.Resource{scalar(-1)}}, "scalar"},
		{"no number", &genagent.Call_LaunchContainer{ContainerId: id("a"), Resources: []*mesosv1.Resource{scalar(math.NaN())}}, "scalar"},
		{"a limit of what has none", &genagent.Call_LaunchContainer{ContainerId: id("a"), Limits: limits("disk", 1)}, "limits"},
		{"a limit of nothing", &genagent.Call_LaunchContainer{ContainerId: id("a"), Limits: limits("mem", 0)}, "limits"},
		{"the largest terminal", &genagent.Call_LaunchContainer{ContainerId: id("a"), Container: window(65535)}, ""},
		{"a larger terminal", &genagent.Call_LaunchContainer{ContainerId: id("a"), Container: window(65536)}, "window_size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.call.Command = &mesosv1.CommandInfo{Value: new("true")}
			err := check(c.call)
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	none := &genagent.Call_LaunchContainer{ContainerId: id("a"), Container: apart}
	if check(none) == nil {
		t.Error("one without a command may")
	}
	apart.Mesos = &mesosv1.ContainerInfo_MesosInfo{Image: &mesosv1.Image{Type: mesosv1.Image_DOCKER.Enum()}}
	if err := check(none); err != nil {
		t.Errorf("one with the command of its image may not: %v", err)
	}
}
