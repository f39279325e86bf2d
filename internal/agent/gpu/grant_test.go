package gpu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pando-os/pando/internal/agent/container"
	"github.com/pando-os/pando/internal/agent/container/standard"
	"github.com/pando-os/pando/internal/host"
)

func TestAContainerGetsWhatItsGPUsDescribe(t *testing.T) {
	k := open(t, testdata(t))
	g, err := k.Take("a", 2)
	if err != nil {
		t.Fatal(err)
	}
	const c, b = 0x2000, 0x6000
	ctl := container.Mount{Kind: container.MountDevice, Target: "/dev/examplectl", Device: 240<<8 | 255, Mode: c | 0o666}
	library := container.Mount{Kind: container.MountBind, Source: "/opt/driver/libexample.so.1.2", Target: "/usr/lib/libexample.so.1.2", Flags: standard.ReadOnly | standard.NoSuid | standard.NoDev | standard.Recurse}
	memory := container.Mount{Kind: container.MountNew, FS: "tmpfs", Target: "/run/example", Flags: standard.NoSuid | standard.NoExec, Data: "size=64k,mode=755"}
	device := func(target string, number uint64, mode uint32) container.Mount {
		return container.Mount{Kind: container.MountDevice, Target: target, Device: number, Mode: mode}
	}
	zero := device("/dev/zero", 1<<8|5, 0o666)
	s := container.Spec{
		Env: []string{"PATH=/bin", "VISIBLE=all", "VISIBLENESS=1"}, As: &host.User{UID: 7, GID: 8, Groups: []uint32{8, 44, 1}[:2]},
		Root: &container.Root{Mounts: []container.Mount{device("/dev/example0", 9, 0o444), zero}},
	}
	as := s.As
	if err := g.Apply(&s); err != nil {
		t.Fatal(err)
	}
	want := container.Spec{
		Env: []string{"PATH=/bin", "VISIBLENESS=1", "DRIVER=example", "VISIBLE=void", "LAST=2"}, As: &host.User{UID: 7, GID: 8, Groups: []uint32{8, 44, 109}},
		Root: &container.Root{Mounts: []container.Mount{
			zero, ctl, device("/dev/example0", 240<<8|1, b|0o666), device("/dev/example2", 240<<8|2, c|0o666), memory, library,
		}},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]uint32{8, 44, 1}, as.Groups[:3]); d != "" {
		t.Errorf("somebody else's user was changed:\n%s", d)
	}
	if g, err = k.Take("b", 1); err != nil {
		t.Fatal(err)
	}
	s = container.Spec{Root: &container.Root{}, User: "4711"}
	if err := g.Apply(&s); err != nil {
		t.Fatal(err)
	}
	want = container.Spec{
		Env: []string{"DRIVER=example", "VISIBLE=void", "LAST=10"}, User: "4711", As: &host.User{UID: 4711, GID: 4711, Groups: []uint32{44}},
		Root: &container.Root{Mounts: []container.Mount{ctl, device("/dev/example10", 240<<8|300&0xff|1<<20, c|0o444), memory, library}},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("of one that may only be read (-want +got):\n%s", d)
	}
	if err := g.Apply(&container.Spec{Root: &container.Root{}, User: "no such user"}); err == nil {
		t.Error("nobody is given groups")
	}
	var none *Grant
	if err := none.Apply(&container.Spec{}); err != nil {
		t.Error(err)
	}
}

// edited describes one gpu that changes something.
func edited(edits string) string {
	return "cdiVersion: 1.1.0\nkind: " + kind + "\ndevices: [{name: \"0\", containerEdits: {" + edits + "}}]\n"
}

func TestAGPUThatWantsWhatThereIsNotIsRefused(t *testing.T) {
	for words, edits := range map[string]string{
		`a program run as root on the machine (hooks: /opt/setup ["setup" "now"])`: `hooks: [{hookName: createContainer, path: /opt/setup, args: [setup, now]}]`,
		`(hooks: /opt/done [])`: `hooks: [{hookName: poststop, path: /opt/done}]`,
		`(hooks: /usr/bin/nvidia-cdi-hook ["nvidia-cdi-hook" "new-thing"])`: `hooks: [{hookName: createContainer, path: /usr/bin/nvidia-cdi-hook, args: [nvidia-cdi-hook, new-thing]}]`,
		"which is not --link TARGET::/PLACE":                                `hooks: [{hookName: createContainer, path: /x, args: [nvidia-cdi-hook, create-symlinks, --link, "a::b"]}]`,
		"(netDevices): [eth9]":                                              `netDevices: [{hostInterfaceName: eth9, name: eth0}]`,
		"(intelRdt)":                                                        `intelRdt: {closID: a}`,
		`/x has the type "nfs"`:                                             `mounts: [{hostPath: /a, containerPath: /x, type: nfs}]`,
		`/x has the option "shared"`:                                        `mounts: [{hostPath: /a, containerPath: /x, options: [bind, shared]}]`,
		`/x has the option "size=1"`:                                        `mounts: [{hostPath: /a, containerPath: /x, options: [size=1]}]`,
		"/dev/pipe is neither":                                              `deviceNodes: [{path: /dev/pipe, type: p}]`,
		"/dev/odd is neither":                                               `deviceNodes: [{path: /dev/odd, type: u, major: 1, minor: 3}]`,
		"/dev/no-such":                                                      `deviceNodes: [{path: /dev/no-such}]`,
	} {
		k := open(t, described(t, edited(edits)))
		if got := names(k.Take("a", 1)); !strings.Contains(got, words) || !strings.HasPrefix(got, "error: ") {
			t.Errorf("%s: %q lacks %q", edits, got, words)
		}
		if len(k.held) > 0 {
			t.Errorf("%s: it is held", edits)
		}
	}
}

func TestWhatNVIDIAsHooksWouldDoIsDoneWithoutThem(t *testing.T) {
	found, _ := filepath.Glob("/lib/*-linux-gnu/libm.so.6")
	if len(found) == 0 {
		t.Skip("SKIP-HOST: there is no libm.so.6 to look at")
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "libm.so.550.1"), string(b))
	write(t, filepath.Join(dir, "libtext.so.1"), "no library")
	hook := func(args string) string {
		return "{hookName: createContainer, path: /usr/bin/nvidia-cdi-hook, args: [" + args + "]}"
	}
	hooks := strings.Join([]string{
		hook(`nvidia-cdi-hook, create-symlinks, --link, "libm.so.6::/usr/lib/gpu/libm.so", "--link=../x::/usr/lib/gpu//y"`),
		hook("nvidia-ctk, hook, update-ldcache, --folder, /usr/lib/gpu"),
		hook("nvidia-cdi-hook, chmod, --mode, '755', --path, /dev/dri"),
		hook("nvidia-cdi-hook, disable-device-node-modification"),
		hook("nvidia-cdi-hook, enable-cuda-compat, --host-driver-version=550.1"),
	}, ", ")
	mounts := ""
	for _, f := range []string{"libm.so.550.1", "libtext.so.1", "plain"} {
		mounts += "{hostPath: " + dir + "/" + f + ", containerPath: /usr/lib/gpu/" + f + "}, "
	}
	g, err := open(t, described(t, edited("mounts: ["+mounts+"], hooks: ["+hooks+"]"))).Take("a", 1)
	if err != nil {
		t.Fatal(err)
	}
	link := func(target, source string) container.Mount {
		return container.Mount{Kind: container.MountLink, Target: target, Source: source}
	}
	want := []container.Mount{
		link("/usr/lib/gpu/libm.so", "libm.so.6"), link("/usr/lib/gpu/y", "../x"), link("/usr/lib/gpu/libm.so.6", "libm.so.550.1"),
	}
	if d := cmp.Diff(want, g.mounts[3:]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
