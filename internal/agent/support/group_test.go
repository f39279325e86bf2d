package support

import (
	"strings"
	"testing"

	"github.com/pando-os/pando/gen/mesosv1"
)

func TestATaskOfAGroupMayShareAPlaceOfItsExecutorsSandboxAndNothingElse(t *testing.T) {
	inGroup := func(volumes ...*mesosv1.Volume) *mesosv1.TaskInfo {
		x := plain()
		x.Executor = &mesosv1.ExecutorInfo{Type: mesosv1.ExecutorInfo_DEFAULT.Enum()}
		x.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Volumes: volumes}
		return x
	}
	good := func(change func(*mesosv1.Volume)) *mesosv1.Volume {
		v := &mesosv1.Volume{Mode: mesosv1.Volume_RW.Enum(), ContainerPath: new("mine"), Source: &mesosv1.Volume_Source{
			Type:        mesosv1.Volume_Source_SANDBOX_PATH.Enum(),
			SandboxPath: &mesosv1.Volume_Source_SandboxPath{Type: mesosv1.Volume_Source_SandboxPath_PARENT.Enum(), Path: new("theirs")},
		}}
		change(v)
		return v
	}
	for name, c := range map[string]struct {
		change func(*mesosv1.Volume)
		says   string
	}{
		"a place of its executor's": {func(*mesosv1.Volume) {}, ""},
		"a place of its own":        {func(v *mesosv1.Volume) { v.Source.SandboxPath.Type = mesosv1.Volume_Source_SandboxPath_SELF.Enum() }, "PARENT"},
		"a path of the machine": {func(v *mesosv1.Volume) {
			v.Source = &mesosv1.Volume_Source{Type: mesosv1.Volume_Source_HOST_PATH.Enum(), HostPath: &mesosv1.Volume_Source_HostPath{Path: new("/etc")}}
		}, "(container.volumes)"},
		"a path of the machine, as once written": {func(v *mesosv1.Volume) { v.Source, v.HostPath = nil, new("/etc") }, "(container.volumes)"},
		"an image":                               {func(v *mesosv1.Volume) { v.Image = &mesosv1.Image{} }, "(container.volumes)"},
		"one to read":                            {func(v *mesosv1.Volume) { v.Mode = mesosv1.Volume_RO.Enum() }, "RW"},
		"outside of its own":                     {func(v *mesosv1.Volume) { v.ContainerPath = new("/data") }, "absolute"},
		"outside of theirs":                      {func(v *mesosv1.Volume) { v.Source.SandboxPath.Path = new("a/../../b") }, "leads out"},
		"absolutely outside":                     {func(v *mesosv1.Volume) { v.Source.SandboxPath.Path = new("/etc") }, "absolute"},
		"all of their sandbox":                   {func(v *mesosv1.Volume) { v.Source.SandboxPath.Path = new(".") }, "itself"},
	} {
		t.Run(name, func(t *testing.T) {
			words := Lacks(inGroup(good(func(*mesosv1.Volume) {}), good(c.change)))
			if !strings.Contains(words, c.says) || (words == "") != (c.says == "") {
				t.Errorf("the words are %q, want some with %q", words, c.says)
			}
		})
	}
	x := inGroup(good(func(*mesosv1.Volume) {}))
	x.Container.Hostname = new("h")
	if words := Lacks(x); !strings.Contains(words, "(container.hostname)") {
		t.Errorf("what is asked for beside a volume is passed over: %q", words)
	}
	if len(x.GetContainer().GetVolumes()) != 1 {
		t.Error("the task was changed by being looked at")
	}
	x = inGroup()
	x.Container.NetworkInfos = []*mesosv1.NetworkInfo{{Name: new("red")}}
	if words := Lacks(x); !strings.Contains(words, "(container.network_infos)") {
		t.Errorf("networks of a task of a group: %q", words)
	}
	x = inGroup()
	x.Executor.Container = &mesosv1.ContainerInfo{Type: mesosv1.ContainerInfo_MESOS.Enum(), Volumes: []*mesosv1.Volume{good(func(*mesosv1.Volume) {})}}
	if words := Lacks(x); !strings.Contains(words, "(container.volumes)") {
		t.Errorf("a volume of an executor's container: %q", words)
	}
}
